/* launch/process.c - what is mapped in a slot, and which modules it came from. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/error.h"
#include "launch/launch.h"

#define HEADER_LIMIT   128u
#define BUILD_ID_LIMIT 64u

/* --- what the kernel says: proc_pid_maps(5) --- */

static uint32_t protection_of(const char *letters) {
  return (letters[0] == 'r' ? PROT_READ : 0u) | (letters[1] == 'w' ? PROT_WRITE : 0u) |
         (letters[2] == 'x' ? PROT_EXEC : 0u);
}

static bool parse(char *line, struct mm__mapping *mapping) {
  char letters[5];
  unsigned major, minor;
  int path = 0;
  memset(mapping, 0, sizeof *mapping);
  if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s %" SCNx64 " %x:%x %" SCNu64 " %n", &mapping->low,
             &mapping->high, letters, &mapping->offset, &major, &minor, &mapping->inode, &path) < 7)
    return false;
  line[strcspn(line, "\n")] = 0;
  mapping->device = (uint64_t)major << 32 | minor;
  mapping->protection = protection_of(letters);
  mapping->path = path ? line + path : line + strlen(line);
  return true;
}

static bool add_mapping(struct mm__process *process, const struct mm__mapping *mapping) {
  uint32_t count = process->mapping_count;
  if ((count & (count - 1)) == 0) { /* full at every power of two */
    struct mm__mapping *larger =
        realloc(process->mappings, (count ? 2 * (size_t)count : 1) * sizeof *larger);
    if (!larger) return false;
    process->mappings = larger;
  }
  process->mappings[count] = *mapping;
  process->mappings[count].path = strdup(mapping->path);
  if (!process->mappings[count].path) return false;
  process->mapping_count++;
  return true;
}

static int read_mappings(struct mm__process *process, uint32_t slot, struct mm_error *error) {
  FILE *maps = fopen("/proc/self/maps", "re");
  char *line = NULL;
  size_t size = 0;
  bool enough = true;
  if (!maps) return mm__fail_system(error, MM_ERROR_SYSTEM, errno, "cannot read /proc/self/maps");
  while (enough && getline(&line, &size, maps) > 0) {
    struct mm__mapping mapping;
    if (parse(line, &mapping) && mapping.low >= MM__SLOT_BASE(slot) &&
        mapping.low < MM__SLOT_BASE(slot) + MM__SLOT_BYTES)
      enough = add_mapping(process, &mapping);
  }
  free(line);
  fclose(maps);
  return enough ? MM_OK
                : mm__fail(error, MM_ERROR_MEMORY, "out of memory for the list of mappings");
}

/* --- what the modules' own headers say, read where they were mapped --- */

static bool same_file(const struct mm__mapping *a, const struct mm__mapping *b) {
  return a->inode == b->inode && a->device == b->device;
}

/* The program headers of the ELF file whose first bytes are mapped here, or NULL. */
static const Elf64_Phdr *headers_of(const struct mm__mapping *mapping) {
  const Elf64_Ehdr *elf = (const Elf64_Ehdr *)mapping->low;
  if (mapping->inode == 0 || mapping->offset != 0 || (mapping->protection & PROT_READ) == 0)
    return NULL;
  if (memcmp(elf->e_ident, ELFMAG, SELFMAG) != 0 || elf->e_ident[EI_CLASS] != ELFCLASS64 ||
      elf->e_type != ET_DYN || elf->e_phnum == 0 || elf->e_phnum > HEADER_LIMIT ||
      elf->e_phoff % 8 != 0 ||
      elf->e_phoff > mapping->high - mapping->low - elf->e_phnum * sizeof(Elf64_Phdr))
    return NULL;
  return (const Elf64_Phdr *)(mapping->low + elf->e_phoff);
}

/* Sets a module's addresses. False: the file is not laid out as a program is, but mapped as data.
 */
static bool set_span(const struct mm__process *process, uint32_t index, const Elf64_Phdr *headers,
                     struct mm__source_module *module) {
  const struct mm__mapping *first = &process->mappings[index];
  uint64_t low = UINT64_MAX, high = 0;
  for (uint32_t i = 0; i < ((const Elf64_Ehdr *)first->low)->e_phnum; i++) {
    if (headers[i].p_type != PT_LOAD || headers[i].p_vaddr > MM__SLOT_BYTES ||
        headers[i].p_memsz > MM__SLOT_BYTES)
      continue;
    if (low == UINT64_MAX) low = headers[i].p_vaddr & -(uint64_t)MM__PAGE;
    high = (headers[i].p_vaddr + headers[i].p_memsz + MM__PAGE - 1) & -(uint64_t)MM__PAGE;
  }
  if (high <= low || first->low + (high - low) > MM__SLOT_BASE(MM__SLOT_OF(first->low) + 1))
    return false;
  module->low = first->low;
  module->high = first->low + (high - low);
  module->bias = first->low - low;
  for (uint32_t i = index; i < process->mapping_count && process->mappings[i].low < module->high;
       i++)
    if (same_file(first, &process->mappings[i]) &&
        (process->mappings[i].protection & PROT_EXEC) != 0)
      return true;
  return false;
}

/* Source: gABI, "Note Section"; the build id's type is NT_GNU_BUILD_ID. Only the first mapping is
 * looked at: linkers put it there. */
static void find_build_id(const struct mm__mapping *mapping, const Elf64_Phdr *notes, uint64_t bias,
                          char text[2 * BUILD_ID_LIMIT + 1]) {
  uint64_t at = bias + notes->p_vaddr, end = at + notes->p_filesz;
  if (at < mapping->low || end < at || end > mapping->high || at % 4 != 0) return;
  while (end - at >= sizeof(Elf64_Nhdr)) {
    const Elf64_Nhdr *note = (const Elf64_Nhdr *)at;
    uint64_t name = ((uint64_t)note->n_namesz + 3) & ~3ul;
    uint64_t padded = ((uint64_t)note->n_descsz + 3) & ~3ul;
    const uint8_t *bytes = (const uint8_t *)(note + 1) + name;
    if (name + padded > end - at - sizeof *note) return;
    if (note->n_type == NT_GNU_BUILD_ID && note->n_namesz == 4 && memcmp(note + 1, "GNU", 4) == 0 &&
        note->n_descsz <= BUILD_ID_LIMIT)
      for (uint32_t i = 0; i < note->n_descsz; i++) sprintf(text + 2ul * i, "%02x", bytes[i]);
    at += sizeof *note + name + padded;
  }
}

static char *build_id_of(const struct mm__mapping *mapping, const Elf64_Phdr *headers,
                         uint64_t bias) {
  char text[2 * BUILD_ID_LIMIT + 1] = "";
  for (uint32_t i = 0; i < ((const Elf64_Ehdr *)mapping->low)->e_phnum; i++)
    if (headers[i].p_type == PT_NOTE) find_build_id(mapping, &headers[i], bias, text);
  return strdup(text);
}

static int read_modules(struct mm__process *process, struct mm_error *error) {
  process->modules = calloc(process->mapping_count + 1u, sizeof *process->modules);
  if (!process->modules)
    return mm__fail(error, MM_ERROR_MEMORY, "out of memory for the list of modules");
  for (uint32_t i = 0; i < process->mapping_count; i++) {
    struct mm__source_module module = {0};
    const struct mm__mapping *mapping = &process->mappings[i];
    const Elf64_Phdr *headers = headers_of(mapping);
    if (!headers || !set_span(process, i, headers, &module)) continue;
    module.path = mapping->path; /* lives as long as the list of mappings */
    module.build_id = build_id_of(mapping, headers, module.bias);
    if (!module.build_id)
      return mm__fail(error, MM_ERROR_MEMORY, "out of memory for the list of modules");
    process->modules[process->module_count++] = module;
  }
  return MM_OK;
}

int mm__process_read(struct mm__process *process, uint32_t slot, struct mm_error *error) {
  memset(process, 0, sizeof *process);
  int status = read_mappings(process, slot, error);
  if (status == MM_OK) status = read_modules(process, error);
  if (status != MM_OK) mm__process_free(process);
  return status;
}

void mm__process_free(struct mm__process *process) {
  for (uint32_t i = 0; i < process->mapping_count; i++) free(process->mappings[i].path);
  for (uint32_t i = 0; i < process->module_count; i++) free((char *)process->modules[i].build_id);
  free(process->mappings);
  free(process->modules);
  memset(process, 0, sizeof *process);
}
