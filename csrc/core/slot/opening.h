/* core/slot/opening.h - what is at hand while an image is being mapped, and whether it may be.
 * Owns:    nothing; who maps owns the file and our copy of the head.
 * Threads: under mm__core_lock.
 * Signals: not for handlers.
 * Errors:  those of mm_request_map, with the file's name before them. */
#ifndef MM_CORE_SLOT_OPENING_H
#define MM_CORE_SLOT_OPENING_H

#include "core/state.h"

#include <sys/stat.h>

struct mm__image_opening {
  const char *path;
  const char *name; /* the path, for messages */
  const struct mm_map_options *options;
  struct mm__thread_record *thread;
  struct mm_error *error;
  uint32_t mapped_count; /* other images */
  int file;              /* -1: not open */
  struct stat facts;
  struct mm__kept kept;
  struct mm__head head;
  struct mm__permission permission;
  uint32_t slot;
  uint32_t guard, key; /* in force */
};

/* --- admit.c --- */

/* Whether the options make sense, of themselves. */
int mm__admit_options(const char *name, const struct mm_map_options *options,
                      struct mm_error *error);
/* Opens the file, reads and checks its head, asks the policy. Also after a failure the caller
 * closes `file` and releases `kept`. */
int mm__admit(struct mm__image_opening *opening);

/* The lower of the two limits; 0 permitted: there is but one. */
static inline uint64_t mm__lower_limit(uint64_t limit, uint64_t permitted) {
  return permitted && permitted < limit ? permitted : limit;
}

#endif
