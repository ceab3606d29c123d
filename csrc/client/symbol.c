/* client/symbol.c - reads an image's own symbol table with libelf. The file is not trusted: what is
 * read serves only to name places in messages. */
#include "base/error.h"
#include "client/client.h"

#include <fcntl.h>
#include <gelf.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define REACH_BYTES 0x10000u /* how far behind its start an unsized symbol still names a place */

struct symbol {
  uint64_t address, size;
  uint32_t name;
};

struct mm__symbol_table {
  struct symbol *list; /* ascending */
  size_t count;
  char *strings;
};

static int by_address(const void *a, const void *b) {
  const struct symbol *left = a, *right = b;
  return left->address < right->address ? -1 : left->address > right->address;
}

static Elf_Scn *find_section(Elf *elf, GElf_Shdr *header) {
  for (Elf_Scn *section = NULL; (section = elf_nextscn(elf, section)) != NULL;)
    if (gelf_getshdr(section, header) && header->sh_type == SHT_SYMTAB) return section;
  return NULL;
}

static bool add_symbols(struct mm__symbol_table *table, Elf_Data *data, size_t string_bytes) {
  size_t count = data->d_size / sizeof(Elf64_Sym);
  table->list = malloc((count ? count : 1) * sizeof *table->list);
  if (!table->list) return false;
  for (size_t i = 0; i < count; i++) {
    GElf_Sym symbol;
    if (!gelf_getsym(data, (int)i, &symbol) || GELF_ST_TYPE(symbol.st_info) != STT_FUNC) continue;
    if (symbol.st_name == 0 || symbol.st_name >= string_bytes) continue;
    table->list[table->count++] = (struct symbol){symbol.st_value, symbol.st_size, symbol.st_name};
  }
  qsort(table->list, table->count, sizeof *table->list, by_address);
  return true;
}

static bool fill(struct mm__symbol_table *table, Elf *elf) {
  GElf_Shdr header;
  Elf_Scn *section = find_section(elf, &header);
  Elf_Data *data = section ? elf_getdata(section, NULL) : NULL;
  Elf_Scn *strings = section ? elf_getscn(elf, header.sh_link) : NULL;
  Elf_Data *text = strings ? elf_getdata(strings, NULL) : NULL;
  if (!data || !data->d_buf || !text || !text->d_buf || text->d_size == 0) return false;
  table->strings = malloc(text->d_size + 1);
  if (!table->strings) return false;
  memcpy(table->strings, text->d_buf, text->d_size);
  table->strings[text->d_size] = 0;
  return add_symbols(table, data, text->d_size);
}

/* Another file may have come to the path: only the head that is mapped proves this one. */
static bool is_same(int file, const struct mm__head *head) {
  uint64_t bytes = head->facts->head_bytes;
  uint8_t *copy = malloc(bytes);
  bool same =
      copy && pread(file, copy, bytes, 0) == (ssize_t)bytes && memcmp(copy, head->elf, bytes) == 0;
  free(copy);
  return same;
}

struct mm__symbol_table *mm__symbols_read(const char *path, const struct mm__head *head) {
  struct mm__symbol_table *table = NULL;
  int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (file < 0) return NULL;
  Elf *elf = NULL;
  if (is_same(file, head) && elf_version(EV_CURRENT) != EV_NONE)
    elf = elf_begin(file, ELF_C_READ, NULL);
  if (elf) table = calloc(1, sizeof *table);
  if (table && !fill(table, elf)) {
    mm__symbol_table_free(table);
    table = NULL;
  }
  elf_end(elf);
  close(file);
  return table;
}

const char *mm__symbols_name(const struct mm__symbol_table *table, uint64_t address,
                             uint64_t *offset) {
  size_t low = 0, high = table->count;
  while (low < high) { /* the first symbol above the address */
    size_t middle = low + (high - low) / 2;
    if (table->list[middle].address <= address)
      low = middle + 1;
    else
      high = middle;
  }
  for (size_t i = low; i-- > 0 && address - table->list[i].address < REACH_BYTES;) {
    const struct symbol *symbol = &table->list[i];
    *offset = address - symbol->address;
    if (symbol->size == 0 || *offset < symbol->size) return table->strings + symbol->name;
  }
  return NULL;
}

void mm__symbol_table_free(struct mm__symbol_table *table) {
  if (!table) return;
  free(table->list);
  free(table->strings);
  free(table);
}
