/* image/plan.h - decides which memory becomes which segment of an image, and which pages hold data.
 * Owns:    the lists, until mm__plan_free.
 * Threads: one.
 * Signals: not for handlers; allocates.
 * Errors:  MM_ERROR_MEMORY, MM_ERROR_LIMIT. */
#ifndef MM_IMAGE_PLAN_H
#define MM_IMAGE_PLAN_H

#include "image/writer.h"

/* Pages that hold something, [low, high). */
struct mm__run {
  uint64_t low, high;
};

/* [low, data_high) comes from the file, [data_high, high) is zero. `offset` is the writer's to
 * fill. */
struct mm__segment {
  uint64_t low, data_high, high;
  uint64_t offset;
  uint32_t protection;
  uint32_t first_run, run_count;
  uint32_t header_flags; /* of its program header, beyond its protection */
};

struct mm__plan {
  struct mm__run *runs;
  struct mm__segment *segments;
  uint32_t run_count, run_capacity;
  uint32_t segment_count, segment_capacity;
};

/* Looks at every page of the source's regions, without bringing in pages that were never touched.
 */
int mm__plan_make(struct mm__plan *plan, const struct mm__source *source, struct mm_error *error);
void mm__plan_free(struct mm__plan *plan);

#endif
