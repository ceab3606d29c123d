/* launch/debug.c - the functions that the modules' debug information knows, found by name, by
 * pattern and by address. libdwfl finds the information, wherever it lies. */
#include "launch/debug.h"

#include <dwarf.h>
#include <elfutils/libdwfl.h>
#include <fnmatch.h>
#include <gelf.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "launch/spelling/spelling.h"

struct function {
  const char *name; /* libdw's */
  uint64_t address;
  Dwarf_Die die;
  uint32_t module;
  bool is_symbol; /* other files may call it by its name */
};

struct mm__debug {
  const struct mm__process *process;
  struct mm__builder *builder;
  struct mm__spelling *spelling;
  Dwfl *dwfl;
  struct module {
    Dwfl_Module *found; /* NULL: the file cannot be read */
    bool carries;       /* the file has debug information in itself */
    bool was_read, has_information;
  } * modules; /* one for each of the process */
  struct function *functions;
  size_t count, capacity;
  uint32_t reading; /* the module whose functions are being listed */
  bool is_split;
  int status;
};

static const char *path_of(const struct mm__debug *debug, uint32_t module) {
  return debug->process->modules[module].path;
}

/* --- reading --- */

static uint64_t address_of(Dwarf_Die *function, uint64_t bias) {
  Dwarf_Addr base, end, address = 0;
  /* A function in several pieces starts with the first. */
  if (dwarf_entrypc(function, &address) != 0 &&
      dwarf_ranges(function, 0, &base, &address, &end) < 1)
    return 0;
  return address + bias;
}

static bool has_symbol(Dwfl_Module *module, const char *name, uint64_t address) {
  int count = dwfl_module_getsymtab(module);
  for (int i = 1; i < count; i++) {
    GElf_Sym symbol;
    GElf_Addr at;
    const char *found = dwfl_module_getsym_info(module, i, &symbol, &at, NULL, NULL, NULL);
    if (found && at == address && strcmp(found, name) == 0) return true;
  }
  return false;
}

/* Not `static`, and in C++ extern "C". */
static bool is_symbol(Dwarf_Die *function, const char *name) {
  Dwarf_Attribute attribute;
  bool is_external = false;
  if (!dwarf_attr_integrate(function, DW_AT_external, &attribute) ||
      dwarf_formflag(&attribute, &is_external) != 0 || !is_external)
    return false;
  if (!dwarf_attr_integrate(function, DW_AT_linkage_name, &attribute)) return true;
  const char *linkage = dwarf_formstring(&attribute);
  return linkage && strcmp(linkage, name) == 0;
}

static int add_function(Dwarf_Die *die, void *argument) {
  struct mm__debug *debug = argument;
  const struct mm__source_module *module = &debug->process->modules[debug->reading];
  const char *name = dwarf_diename(die);
  uint64_t address = address_of(die, module->bias);
  /* What the linker left out has no address of the module's. */
  if (!name || address < module->low || address >= module->high) return DWARF_CB_OK;
  if (debug->count == debug->capacity) {
    size_t capacity = debug->capacity ? 2 * debug->capacity : 256;
    struct function *larger = realloc(debug->functions, capacity * sizeof *larger);
    if (!larger) {
      debug->status = MM_ERROR_MEMORY;
      return DWARF_CB_ABORT;
    }
    debug->functions = larger;
    debug->capacity = capacity;
  }
  debug->functions[debug->count++] =
      (struct function){name, address, *die, debug->reading, is_symbol(die, name)};
  return DWARF_CB_OK;
}

static void read_units(struct mm__debug *debug, Dwarf *dwarf) {
  Dwarf_CU *unit = NULL;
  Dwarf_Die whole, split;
  uint8_t kind;
  while (debug->status == MM_OK &&
         dwarf_get_units(dwarf, unit, &unit, NULL, &kind, &whole, &split) == 0) {
    bool is_skeleton = kind == DW_UT_skeleton;
    if (is_skeleton && !split.addr) debug->is_split = true;
    if (kind == DW_UT_compile || (is_skeleton && split.addr))
      dwarf_getfuncs(is_skeleton ? &split : &whole, add_function, debug, 0);
  }
}

/* Whether the information is in the file, not beside it. */
static bool carries_information(Dwfl_Module *module) {
  GElf_Addr bias;
  size_t names;
  Elf *elf = module ? dwfl_module_getelf(module, &bias) : NULL;
  if (!elf || elf_getshdrstrndx(elf, &names) != 0) return false;
  for (Elf_Scn *section = NULL; (section = elf_nextscn(elf, section)) != NULL;) {
    GElf_Shdr header;
    const char *name =
        gelf_getshdr(section, &header) ? elf_strptr(elf, names, header.sh_name) : NULL;
    if (name && header.sh_type != SHT_NOBITS &&
        (strcmp(name, ".debug_info") == 0 || strcmp(name, ".zdebug_info") == 0))
      return true;
  }
  return false;
}

static void find_modules(struct mm__debug *debug) {
  dwfl_report_begin(debug->dwfl);
  for (uint32_t i = 0; i < debug->process->module_count; i++) {
    const struct mm__source_module *module = &debug->process->modules[i];
    debug->modules[i].found =
        dwfl_report_elf(debug->dwfl, module->path, module->path, -1, module->bias, true);
  }
  dwfl_report_end(debug->dwfl, NULL, NULL);
  for (uint32_t i = 0; i < debug->process->module_count; i++)
    debug->modules[i].carries = carries_information(debug->modules[i].found);
}

/* Lists the functions of a module, the first time. */
static int read_module(struct mm__debug *debug, uint32_t index, struct mm_error *error) {
  struct module *module = &debug->modules[index];
  Dwarf_Addr bias;
  if (module->was_read) return MM_OK;
  module->was_read = true;
  Dwarf *dwarf = module->found ? dwfl_module_getdwarf(module->found, &bias) : NULL;
  if (!dwarf || bias != debug->process->modules[index].bias) return MM_OK;
  module->has_information = true;
  debug->reading = index;
  read_units(debug, dwarf);
  return debug->status == MM_OK
             ? MM_OK
             : mm__fail(error, debug->status, "out of memory for the debug information");
}

static int read_modules(struct mm__debug *debug, bool carrying, struct mm_error *error) {
  int status = read_module(debug, 0, error); /* the program: the lowest */
  for (uint32_t i = 1; i < debug->process->module_count && status == MM_OK; i++)
    if (debug->modules[i].carries == carrying) status = read_module(debug, i, error);
  return status;
}

int mm__debug_open(struct mm__debug **result, const struct mm__process *process,
                   struct mm__builder *builder, struct mm_error *error) {
  static const Dwfl_Callbacks callbacks = {.find_elf = dwfl_build_id_find_elf,
                                           .find_debuginfo = dwfl_standard_find_debuginfo,
                                           .section_address = dwfl_offline_section_address};
  struct mm__debug *debug = calloc(1, sizeof *debug);
  if (!debug) goto fail;
  unsetenv("DEBUGINFOD_URLS"); /* libdwfl would ask the network */
  *debug = (struct mm__debug){.process = process,
                              .builder = builder,
                              .spelling = mm__spelling_new(builder),
                              .dwfl = dwfl_begin(&callbacks),
                              .modules = calloc(process->module_count + 1u, sizeof(struct module))};
  if (!debug->spelling || !debug->dwfl || !debug->modules) goto fail;
  find_modules(debug);
  *result = debug;
  return MM_OK;
fail:
  mm__debug_close(debug);
  *result = NULL;
  return mm__fail(error, MM_ERROR_MEMORY, "out of memory for the debug information");
}

void mm__debug_close(struct mm__debug *debug) {
  if (!debug) return;
  mm__spelling_free(debug->spelling);
  if (debug->dwfl) dwfl_end(debug->dwfl);
  free(debug->modules);
  free(debug->functions);
  free(debug);
}

/* --- exporting --- */

static int export_function(struct mm__debug *debug, struct function *function, const char *name,
                           const char *doc, struct mm_error *error) {
  struct mm_error why;
  char *prototype;
  int status = mm__spelling_prototype(debug->spelling, &function->die, name, &prototype, &why);
  if (status == MM_OK)
    status = mm__builder_export(debug->builder, prototype, doc, function->address, &why);
  free(prototype);
  return status == MM_OK
             ? MM_OK
             : mm__fail(error, status, "cannot export `%s` from its debug information: %s", name,
                        why.message);
}

static const char *split_hint(const struct mm__debug *debug) {
  return debug->is_split ? " (the .dwo files of some are not where they were made)" : "";
}

static int no_information(const struct mm__debug *debug, const char *what, const char *path,
                          struct mm_error *error) {
  return mm__fail(error, MM_ERROR_PROTOTYPE,
                  "cannot export `%s`: %s has no debug information%s; build it with -g, or use "
                  "MM_EXPORT",
                  what, path, split_hint(debug));
}

int mm__debug_export_at(struct mm__debug *debug, uint64_t address, const char *name,
                        const char *doc, struct mm_error *error) {
  const struct mm__process *process = debug->process;
  uint32_t module = 0;
  char shown[32];
  if (!name) snprintf(shown, sizeof shown, "0x%lx", address);
  while (module < process->module_count &&
         (address < process->modules[module].low || address >= process->modules[module].high))
    module++;
  if (module == process->module_count)
    return mm__fail(error, MM_ERROR_PROTOTYPE, "cannot export `%s`: 0x%lx is in no module",
                    name ? name : shown, address);
  int status = read_module(debug, module, error);
  if (status != MM_OK) return status;
  for (size_t i = 0; i < debug->count; i++) {
    struct function *function = &debug->functions[i];
    if (function->address == address)
      return export_function(debug, function, name ? name : function->name, doc, error);
  }
  if (!debug->modules[module].has_information)
    return no_information(debug, name ? name : shown, path_of(debug, module), error);
  return mm__fail(error, MM_ERROR_PROTOTYPE,
                  "cannot export `%s`: no function starts at 0x%lx in the debug information%s",
                  name ? name : shown, address, split_hint(debug));
}

/* Two copies of a function that a compiler made for itself have one name, but not one symbol. */
static bool is_called(const struct mm__debug *debug, const struct function *function,
                      const char *name) {
  return function->is_symbol && strcmp(function->name, name) == 0 &&
         has_symbol(debug->modules[function->module].found, name, function->address);
}

/* NULL in `found`: nowhere. */
static int find_name(struct mm__debug *debug, const char *name, struct function **found,
                     struct mm_error *error) {
  *found = NULL;
  for (size_t i = 0; i < debug->count; i++) {
    struct function *function = &debug->functions[i];
    if (!is_called(debug, function, name)) continue;
    if (*found && (*found)->module != 0 && (*found)->address != function->address)
      return mm__fail(error, MM_ERROR_PROTOTYPE,
                      "cannot export `%s`: it is in %s and in %s; say which with MM_EXPORT_NAME",
                      name, path_of(debug, (*found)->module), path_of(debug, function->module));
    if (!*found || function->module == 0) *found = function;
  }
  return MM_OK;
}

static int export_name(struct mm__debug *debug, const char *name, struct mm_error *error) {
  struct function *found = NULL;
  int status = MM_OK;
  /* What is beside its module is looked at last: much of it has nothing to do with the server. */
  for (int carrying = 1; carrying >= 0 && !found && status == MM_OK; carrying--)
    if ((status = read_modules(debug, carrying, error)) == MM_OK)
      status = find_name(debug, name, &found, error);
  if (status != MM_OK) return status;
  if (found) return export_function(debug, found, name, NULL, error);
  if (!debug->modules[0].has_information)
    return no_information(debug, name, path_of(debug, 0), error);
  return mm__fail(error, MM_ERROR_PROTOTYPE,
                  "cannot export `%s`: no function of that name is in the debug information of %s "
                  "and its libraries%s; is it built with -g?",
                  name, path_of(debug, 0), split_hint(debug));
}

/* What every server has, and no client calls. */
static bool is_servers_own(const char *name) {
  static const char *const names[] = {"main",      "mm_snapshot", "mm_export",
                                      "mm_on_map", "mm_fail",     "mm_register"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (strcmp(names[i], name) == 0) return true;
  return false;
}

static bool is_exported(struct mm__debug *debug, const char *name) {
  struct mm__registry view;
  return mm__builder_view(debug->builder, &view, NULL) == MM_OK && mm__registry_find(&view, name);
}

/* A pattern is not meant for the C library, whose information a distribution may have beside it. */
static bool is_covered(const struct mm__debug *debug, const struct function *function) {
  return function->module == 0 || debug->modules[function->module].carries;
}

static int export_matching(struct mm__debug *debug, const char *pattern, struct mm_error *error) {
  size_t matched = 0;
  int status = read_modules(debug, true, error);
  if (status != MM_OK) return status;
  for (size_t i = 0; i < debug->count; i++) {
    struct function *function = &debug->functions[i];
    struct mm_error why;
    if (fnmatch(pattern, function->name, 0) != 0 || !is_covered(debug, function) ||
        is_servers_own(function->name) || !is_called(debug, function, function->name))
      continue;
    matched++;
    if (is_exported(debug, function->name)) continue;
    status = export_function(debug, function, function->name, NULL, &why);
    if (status == MM_ERROR_MEMORY) return mm__fail(error, status, "%s", why.message);
    if (status != MM_OK) mm__say("left out: %s", why.message);
  }
  if (matched != 0) return MM_OK;
  if (!debug->modules[0].has_information)
    return no_information(debug, pattern, path_of(debug, 0), error);
  return mm__fail(error, MM_ERROR_PROTOTYPE,
                  "cannot export `%s`: it matches no function in the debug information of %s and "
                  "its libraries%s",
                  pattern, path_of(debug, 0), split_hint(debug));
}

int mm__debug_export(struct mm__debug *debug, const char *list, struct mm_error *error) {
  int status = MM_OK;
  while (status == MM_OK && *list) {
    size_t length = strcspn(list, ",");
    char *word = strndup(list, length);
    if (!word) return mm__fail(error, MM_ERROR_MEMORY, "out of memory for a name");
    if (length != 0)
      status = strpbrk(word, "*?[") ? export_matching(debug, word, error)
                                    : export_name(debug, word, error);
    free(word);
    list += length + (list[length] == ',');
  }
  return status;
}
