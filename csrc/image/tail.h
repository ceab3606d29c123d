/* image/tail.h - what debuggers read at the end of an image: symbols, strings, section headers.
 * Clients believe none of it.
 * Owns:    the bytes, until mm__tail_free.
 * Threads: one.
 * Signals: not for handlers; allocates.
 * Errors:  MM_ERROR_MEMORY. */
#ifndef MM_IMAGE_TAIL_H
#define MM_IMAGE_TAIL_H

#include <stddef.h>
#include <stdint.h>

#include "image/plan.h"
#include "image/writer.h"
#include "signature/registry.h"

struct mm__tail {
  uint8_t *bytes;
  size_t size;
  uint64_t headers_offset; /* in the file */
  uint16_t section_count, names_section;
};

/* `notes_offset` and `notes_bytes` say where the notes are, `offset` (8-aligned) where the tail
 * will be. */
int mm__tail_make(struct mm__tail *tail, const struct mm__source *source,
                  const struct mm__registry *registry, const struct mm__plan *plan,
                  uint64_t notes_offset, uint64_t notes_bytes, uint64_t offset,
                  struct mm_error *error);
void mm__tail_free(struct mm__tail *tail);

#endif
