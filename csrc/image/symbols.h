/* image/symbols.h - the symbols of the modules that were loaded in a server, at the addresses where
 * they were.
 * Owns:    the lists, until mm__symbols_free.
 * Threads: one.
 * Signals: not for handlers; allocates.
 * Errors:  MM_ERROR_MEMORY. A module whose file cannot be read, or has no symbols, adds none: that
 *          is no error. */
#ifndef MM_IMAGE_SYMBOLS_H
#define MM_IMAGE_SYMBOLS_H

#include <elf.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "image/writer.h"

struct mm__symbols {
  Elf64_Sym *list; /* local ones first; st_shndx is 0 */
  char *strings;
  size_t count, capacity, local_count;
  size_t string_bytes, string_capacity;
};

/* Puts the empty symbol in, which every table starts with. */
int mm__symbols_start(struct mm__symbols *symbols, struct mm_error *error);
/* Adds the functions and objects of one module, the file's local ones too, all as local symbols. */
int mm__symbols_add_module(struct mm__symbols *symbols, const struct mm__source_module *module,
                           struct mm_error *error);
/* Adds a global function, which replaces the local symbol of the same name and address. After all
 * modules. */
int mm__symbols_add_export(struct mm__symbols *symbols, const char *name, uint64_t address,
                           struct mm_error *error);
/* The function or object at or next below `address`: its name, valid until the list changes, or
 * NULL. */
const char *mm__symbols_find(const struct mm__symbols *symbols, uint64_t address, uint64_t *offset);
void mm__symbols_free(struct mm__symbols *symbols);

#endif
