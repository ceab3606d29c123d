/* image/symbols.c - reads the modules' own symbol tables with libelf. */
#include "image/symbols.h"

#include <fcntl.h>
#include <gelf.h>
#include <libelf.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"

static size_t doubled(size_t capacity, size_t wanted) {
  size_t larger = capacity ? capacity : 1024;
  while (larger < wanted) larger *= 2;
  return larger;
}

/* Room for one more symbol with a name of `length`. */
static bool make_room(struct mm__symbols *symbols, size_t length) {
  if (symbols->count + 2 > symbols->capacity) {
    size_t capacity = doubled(symbols->capacity, symbols->count + 2);
    Elf64_Sym *list = realloc(symbols->list, capacity * sizeof *list);
    if (!list) return false;
    symbols->list = list;
    symbols->capacity = capacity;
  }
  if (symbols->string_bytes + length + 2 > symbols->string_capacity) {
    size_t capacity = doubled(symbols->string_capacity, symbols->string_bytes + length + 2);
    char *strings = realloc(symbols->strings, capacity);
    if (!strings) return false;
    symbols->strings = strings;
    symbols->string_capacity = capacity;
  }
  return true;
}

static int add(struct mm__symbols *symbols, const char *name, Elf64_Sym symbol,
               struct mm_error *error) {
  size_t length = strlen(name);
  if (symbols->string_bytes + length + 2 > UINT32_MAX || !make_room(symbols, length))
    return mm__fail(error, MM_ERROR_MEMORY, "out of memory for symbols");
  symbol.st_name = (Elf64_Word)symbols->string_bytes;
  symbols->list[symbols->count++] = symbol;
  memcpy(symbols->strings + symbols->string_bytes, name, length + 1);
  symbols->string_bytes += length + 1;
  return MM_OK;
}

int mm__symbols_start(struct mm__symbols *symbols, struct mm_error *error) {
  int status = add(symbols, "", (Elf64_Sym){0}, error); /* gABI, "Symbol Table": index 0 */
  symbols->local_count = symbols->count;
  return status;
}

/* The symbol table of the linker if the file still has it, else the dynamic linker's. */
static Elf_Scn *symbol_section(Elf *elf, GElf_Shdr *header) {
  Elf_Scn *section = NULL, *dynamic = NULL;
  while ((section = elf_nextscn(elf, section)) != NULL) {
    if (!gelf_getshdr(section, header)) continue;
    if (header->sh_type == SHT_SYMTAB && header->sh_entsize == sizeof(Elf64_Sym)) return section;
    if (header->sh_type == SHT_DYNSYM && header->sh_entsize == sizeof(Elf64_Sym)) dynamic = section;
  }
  return dynamic && gelf_getshdr(dynamic, header) ? dynamic : NULL;
}

/* Whether a symbol names code or data in memory, and not a thread-local, a file or something
 * elsewhere. */
static bool is_wanted(const GElf_Sym *symbol, const struct mm__source_module *module) {
  unsigned type = GELF_ST_TYPE(symbol->st_info);
  uint64_t address = symbol->st_value + module->bias;
  return (type == STT_FUNC || type == STT_OBJECT || type == STT_GNU_IFUNC) &&
         symbol->st_shndx != SHN_UNDEF && symbol->st_shndx != SHN_ABS &&
         symbol->st_shndx != SHN_COMMON && address >= module->low && address < module->high;
}

static int add_section(struct mm__symbols *symbols, const struct mm__source_module *module,
                       Elf *elf, struct mm_error *error) {
  GElf_Shdr header;
  Elf_Scn *section = symbol_section(elf, &header);
  Elf_Data *data = section ? elf_getdata(section, NULL) : NULL;
  size_t count = data ? data->d_size / sizeof(Elf64_Sym) : 0;
  for (size_t i = 1; i < count && i < INT32_MAX; i++) {
    GElf_Sym symbol;
    if (!gelf_getsym(data, (int)i, &symbol) || !is_wanted(&symbol, module)) continue;
    const char *name = elf_strptr(elf, header.sh_link, symbol.st_name);
    if (!name || name[0] == 0) continue;
    unsigned type = GELF_ST_TYPE(symbol.st_info) == STT_OBJECT ? STT_OBJECT : STT_FUNC;
    Elf64_Sym local = {0,
                       (unsigned char)ELF64_ST_INFO(STB_LOCAL, type),
                       STV_DEFAULT,
                       0,
                       symbol.st_value + module->bias,
                       symbol.st_size};
    int status = add(symbols, name, local, error);
    if (status) return status;
  }
  return MM_OK;
}

int mm__symbols_add_module(struct mm__symbols *symbols, const struct mm__source_module *module,
                           struct mm_error *error) {
  int status = MM_OK;
  elf_version(EV_CURRENT);
  int descriptor = open(module->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  Elf *elf = descriptor >= 0 ? elf_begin(descriptor, ELF_C_READ_MMAP, NULL) : NULL;
  if (elf && elf_kind(elf) == ELF_K_ELF && gelf_getclass(elf) == ELFCLASS64) {
    const char *slash = strrchr(module->path, '/');
    Elf64_Sym file = {0, ELF64_ST_INFO(STB_LOCAL, STT_FILE), STV_DEFAULT, SHN_ABS, 0, 0};
    status = add(symbols, slash ? slash + 1 : module->path, file, error);
    if (status == MM_OK) status = add_section(symbols, module, elf, error);
  }
  elf_end(elf);
  if (descriptor >= 0) close(descriptor);
  symbols->local_count = symbols->count;
  return status;
}

/* The first local symbol of that name and address, or NULL. */
static Elf64_Sym *find_local(struct mm__symbols *symbols, const char *name, uint64_t address) {
  for (size_t i = 1; i < symbols->local_count; i++)
    if (symbols->list[i].st_value == address && symbols->list[i].st_shndx != SHN_ABS &&
        strcmp(symbols->strings + symbols->list[i].st_name, name) == 0)
      return &symbols->list[i];
  return NULL;
}

int mm__symbols_add_export(struct mm__symbols *symbols, const char *name, uint64_t address,
                           struct mm_error *error) {
  Elf64_Sym export = {0, ELF64_ST_INFO(STB_GLOBAL, STT_FUNC), STV_DEFAULT, 0, address, 0};
  Elf64_Sym *local = find_local(symbols, name, address);
  if (local) {
    export.st_size = local->st_size;
    memmove(local, local + 1,
            (size_t)(symbols->list + symbols->count - (local + 1)) * sizeof *local);
    symbols->count--;
    symbols->local_count--;
  }
  return add(symbols, name, export, error);
}

const char *mm__symbols_find(const struct mm__symbols *symbols, uint64_t address,
                             uint64_t *offset) {
  const Elf64_Sym *best = NULL;
  for (size_t i = 1; i < symbols->count; i++) {
    const Elf64_Sym *symbol = &symbols->list[i];
    if (symbol->st_shndx == SHN_ABS || symbol->st_value > address) continue;
    if (symbol->st_size != 0 && address - symbol->st_value >= symbol->st_size) continue;
    if (!best || symbol->st_value > best->st_value) best = symbol;
  }
  if (!best) return NULL;
  *offset = address - best->st_value;
  return symbols->strings + best->st_name;
}

void mm__symbols_free(struct mm__symbols *symbols) {
  free(symbols->list);
  free(symbols->strings);
  memset(symbols, 0, sizeof *symbols);
}
