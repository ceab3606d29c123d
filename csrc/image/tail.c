/* image/tail.c - section headers that give debuggers names for segments, and the symbol table
 * behind them. */
#include "image/tail.h"

#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/error.h"
#include "image/arena.h"
#include "image/symbols.h"

/* null, notes, two a segment, symbols and two string tables. */
#define SECTION_LIMIT (2 * MM__SEGMENT_LIMIT + 5)
#define NAME_LIMIT    96 /* bytes of a section's name */

_Static_assert(SECTION_LIMIT < SHN_LORESERVE, "section indices need no extension");

struct sections {
  Elf64_Shdr headers[SECTION_LIMIT];
  char names[SECTION_LIMIT * NAME_LIMIT];
  uint32_t count, name_bytes;
};

static Elf64_Shdr *add_section(struct sections *sections, const char *kind, const char *where,
                               Elf64_Shdr header) {
  char *name = sections->names + sections->name_bytes;
  int length = snprintf(name, NAME_LIMIT, "%s%s%s", kind, where ? "@" : "", where ? where : "");
  if (length >= NAME_LIMIT) length = NAME_LIMIT - 1;
  header.sh_name = sections->name_bytes;
  sections->name_bytes += (uint32_t)length + 1;
  sections->headers[sections->count] = header;
  return &sections->headers[sections->count++];
}

/* What lies at `low`, for people: a module's file name, or the use of the memory. */
static const char *place_name(const struct mm__source *source, uint64_t low) {
  const struct mm__facts *facts = &source->facts;
  for (uint32_t i = 0; i < source->module_count; i++)
    if (low >= source->modules[i].low && low < source->modules[i].high) {
      const char *slash = strrchr(source->modules[i].path, '/');
      return slash ? slash + 1 : source->modules[i].path;
    }
  if (low >= (facts->heap_low & -(uint64_t)MM__PAGE) && low < facts->heap_high) return "heap";
  if (low >= facts->stack_low && low < facts->stack_high) return "stack";
  if (low >= facts->mailbox_low && low < facts->mailbox_high) return "mailbox";
  return "memory";
}

static void add_segment(struct sections *sections, const struct mm__source *source,
                        const struct mm__segment *segment) {
  const char *where = place_name(source, segment->low);
  bool executes = (segment->protection & PROT_EXEC) != 0;
  bool writes = (segment->protection & PROT_WRITE) != 0;
  Elf64_Shdr header = {.sh_type = SHT_PROGBITS,
                       .sh_flags =
                           SHF_ALLOC | (executes ? SHF_EXECINSTR : 0u) | (writes ? SHF_WRITE : 0u),
                       .sh_addr = segment->low,
                       .sh_offset = segment->offset,
                       .sh_size = segment->data_high - segment->low,
                       .sh_addralign = MM__PAGE};
  if (header.sh_size != 0)
    add_section(sections, executes ? ".text" : writes ? ".data" : ".rodata", where, header);
  header.sh_type = SHT_NOBITS;
  header.sh_addr = segment->data_high;
  header.sh_offset += header.sh_size;
  header.sh_size = segment->high - segment->data_high;
  if (header.sh_size != 0) add_section(sections, ".bss", where, header);
}

/* The section that holds `address`: they are ascending from number 2 on. 0: none. */
static uint16_t section_of(const struct sections *sections, uint64_t address) {
  uint32_t low = 2, high = sections->count;
  while (low < high) {
    uint32_t middle = low + (high - low) / 2;
    if (sections->headers[middle].sh_addr + sections->headers[middle].sh_size <= address)
      low = middle + 1;
    else
      high = middle;
  }
  return low < sections->count && address >= sections->headers[low].sh_addr ? (uint16_t)low : 0;
}

/* Gives every symbol its section, and drops those that lie in none. */
static void place_symbols(struct mm__symbols *symbols, const struct sections *sections) {
  size_t kept = 0, locals = 0;
  for (size_t i = 0; i < symbols->count; i++) {
    Elf64_Sym symbol = symbols->list[i];
    if (i > 0 && symbol.st_shndx != SHN_ABS)
      symbol.st_shndx = section_of(sections, symbol.st_value);
    if (i > 0 && symbol.st_shndx == SHN_UNDEF) continue;
    if (i < symbols->local_count) locals++;
    symbols->list[kept++] = symbol;
  }
  symbols->count = kept;
  symbols->local_count = locals;
}

static int read_symbols(struct mm__symbols *symbols, const struct mm__source *source,
                        const struct mm__registry *registry, struct mm_error *error) {
  int status = mm__symbols_start(symbols, error);
  for (uint32_t i = 0; status == MM_OK && i < source->module_count; i++)
    status = mm__symbols_add_module(symbols, &source->modules[i], error);
  for (uint32_t i = 0; status == MM_OK && i < registry->export_count; i++) {
    const struct mm__export *export = &registry->exports[i];
    status =
        mm__symbols_add_export(symbols, registry->strings + export->name, export->address, error);
  }
  return status;
}

/* Appends at the next multiple of 8, and says where in the file that is. */
static uint64_t append(struct mm__tail *tail, const void *bytes, size_t size, uint64_t offset) {
  tail->size = (tail->size + 7) & ~(size_t)7;
  uint64_t place = offset + tail->size;
  if (size > 0) memcpy(tail->bytes + tail->size, bytes, size);
  tail->size += size;
  return place;
}

static void lay_out(struct mm__tail *tail, struct sections *sections, struct mm__symbols *symbols,
                    uint64_t offset) {
  size_t symbol_bytes = symbols->count * sizeof(Elf64_Sym);
  uint64_t symbols_at = append(tail, symbols->list, symbol_bytes, offset);
  uint64_t strings_at = append(tail, symbols->strings, symbols->string_bytes, offset);
  add_section(sections, ".symtab", NULL,
              (Elf64_Shdr){.sh_type = SHT_SYMTAB,
                           .sh_offset = symbols_at,
                           .sh_size = symbol_bytes,
                           .sh_link = sections->count + 1,
                           .sh_info = (Elf64_Word)symbols->local_count,
                           .sh_addralign = 8,
                           .sh_entsize = sizeof(Elf64_Sym)});
  add_section(sections, ".strtab", NULL,
              (Elf64_Shdr){.sh_type = SHT_STRTAB,
                           .sh_offset = strings_at,
                           .sh_size = symbols->string_bytes,
                           .sh_addralign = 1});
  Elf64_Shdr *names = add_section(sections, ".shstrtab", NULL,
                                  (Elf64_Shdr){.sh_type = SHT_STRTAB, .sh_addralign = 1});
  names->sh_size = sections->name_bytes;
  names->sh_offset = append(tail, sections->names, sections->name_bytes, offset);
  tail->headers_offset =
      append(tail, sections->headers, sections->count * sizeof(Elf64_Shdr), offset);
  tail->section_count = (uint16_t)sections->count;
  tail->names_section = (uint16_t)(sections->count - 1);
}

int mm__tail_make(struct mm__tail *tail, const struct mm__source *source,
                  const struct mm__registry *registry, const struct mm__plan *plan,
                  uint64_t notes_offset, uint64_t notes_bytes, uint64_t offset,
                  struct mm_error *error) {
  struct mm__symbols symbols = {0};
  struct sections *sections = calloc(1, sizeof *sections);
  int status = sections ? read_symbols(&symbols, source, registry, error) : MM_ERROR_MEMORY;
  memset(tail, 0, sizeof *tail);
  if (status) goto fail;
  add_section(sections, "", NULL, (Elf64_Shdr){.sh_type = SHT_NULL});
  add_section(sections, ".note.matchmaker", NULL,
              (Elf64_Shdr){.sh_type = SHT_NOTE,
                           .sh_offset = notes_offset,
                           .sh_size = notes_bytes,
                           .sh_addralign = 8});
  for (uint32_t i = 0; i < plan->segment_count; i++)
    add_segment(sections, source, &plan->segments[i]);
  place_symbols(&symbols, sections);
  tail->bytes = calloc(1, symbols.count * sizeof(Elf64_Sym) + symbols.string_bytes +
                              sizeof *sections + 4 * sizeof(uint64_t));
  if (!tail->bytes) goto fail;
  lay_out(tail, sections, &symbols, offset);
  free(sections);
  mm__symbols_free(&symbols);
  return MM_OK;
fail:
  free(sections);
  mm__symbols_free(&symbols);
  return mm__fail(error, MM_ERROR_MEMORY, "out of memory for the image's symbols");
}

void mm__tail_free(struct mm__tail *tail) {
  free(tail->bytes);
  memset(tail, 0, sizeof *tail);
}
