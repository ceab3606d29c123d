/* image/check.h - decides whether bytes are an image, before anything in them is believed.
 * Owns:    nothing; the result points into the head it was given.
 * Threads: pure.
 * Signals: no allocation, no libc: runs inside the Matchmaker.
 * Errors:  a negative mm_status. The message is a predicate ("is an ELF file but not an image"):
 *          the caller puts the file's name before it. */
#ifndef MM_IMAGE_CHECK_H
#define MM_IMAGE_CHECK_H

#include "image/format.h"
#include "matchmaker.h"
#include "signature/registry.h"

/* A head that was found sound. Pointers point into the caller's bytes. */
struct mm__head {
  const Elf64_Ehdr *elf;
  const Elf64_Phdr *loads; /* PT_LOAD entries, adjacent, ascending by address */
  uint32_t load_count;
  const struct mm__facts *facts;
  struct mm__registry registry;
  const struct mm__module *modules;
  uint32_t module_count;
  const char *module_strings;
  const char *needs;     /* text of the needs note, "" when there is none */
  uint64_t memory_bytes; /* sum of p_memsz */
};

/* Looks at the first bytes of a file and says how many bytes its head has, before the rest of it is
 * read: the caller reads that much (at most MM__HEAD_LIMIT) and calls mm__head_check. `bytes` >=
 * 4096 or the whole file. Errors: MM_ERROR_NOT_AN_IMAGE (also for other ELF files),
 * MM_ERROR_DAMAGED. */
int mm__head_bytes(const void *start, uint64_t bytes, uint64_t file_bytes, uint64_t *head_bytes,
                   struct mm_error *error);

/* Checks a whole head: ELF header, program headers (bounds, order, overlap, alignment, inside one
 * slot), notes, version, digest, facts, registry, exports and hooks inside executable segments,
 * modules. `head` is 8-aligned. Errors: MM_ERROR_NOT_AN_IMAGE, MM_ERROR_VERSION, MM_ERROR_DAMAGED.
 * CPU, page size, needs and limits are the caller's. */
int mm__head_check(const void *head, uint64_t head_bytes, uint64_t file_bytes,
                   struct mm__head *result, struct mm_error *error);

#endif
