/* image/plan.c - cuts regions into segments at long runs of zeros, as long as there are not too
 * many. */
#include "image/plan.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/error.h"
#include "image/arena.h"
#include "image/content.h"

#define ZERO_RUN_BYTES (256ul << 10) /* zeros as long as this are worth a mapping of their own */
#define GAP_BYTES      (64ul << 10)  /* unmapped holes of a module that are filled with zeros */
#define SPARE_SEGMENTS 32u /* how many more segments zeros may cost: each costs 2 us to map */

/* Source: Documentation/admin-guide/mm/pagemap.rst. */
#define PAGEMAP_PRESENT (1ull << 63)
#define PAGEMAP_SWAPPED (1ull << 62)
#define PAGEMAP_BATCH   2048u

/* The list with room for one more, perhaps elsewhere; NULL when there is no memory: the old one is
 * still good then. */
static void *with_room(void *list, uint32_t count, uint32_t *capacity, size_t item) {
  if (count < *capacity) return list;
  uint32_t wanted = *capacity ? *capacity * 2 : 64;
  void *larger = wanted > *capacity ? realloc(list, wanted * item) : NULL;
  if (larger) *capacity = wanted;
  return larger;
}

/* A run never goes on into the next region, whose protection may differ. */
static bool add_page(struct mm__plan *plan, const struct mm__region *region, uint64_t page) {
  struct mm__run *last = plan->run_count ? &plan->runs[plan->run_count - 1] : NULL;
  if (last && last->high == page && page > region->low) {
    last->high += MM__PAGE;
    return true;
  }
  struct mm__run *runs =
      with_room(plan->runs, plan->run_count, &plan->run_capacity, sizeof *plan->runs);
  if (!runs) return false;
  plan->runs = runs;
  plan->runs[plan->run_count++] = (struct mm__run){page, page + MM__PAGE};
  return true;
}

/* Only resident pages are looked at: reading others could bring them in, or fault (past a file's
 * end, at a guard). */
static bool has_data(const struct mm__region *region, uint64_t page, uint64_t entry) {
  if ((entry & PAGEMAP_PRESENT) != 0 && (region->protection & PROT_READ) != 0)
    return !mm__is_zero((const void *)page, MM__PAGE);
  return (entry & (PAGEMAP_PRESENT | PAGEMAP_SWAPPED)) != 0 ||
         (region->flags & MM__REGION_FILE) != 0;
}

/* Without a pagemap every page counts as one that may hold data. */
static void read_pagemap(int pagemap, uint64_t page, uint64_t *entries, uint32_t count) {
  ssize_t wanted = (ssize_t)(count * sizeof *entries);
  if (pread(pagemap, entries, (size_t)wanted, (off_t)(page / MM__PAGE * sizeof *entries)) != wanted)
    for (uint32_t i = 0; i < count; i++) entries[i] = PAGEMAP_SWAPPED;
}

static bool scan(struct mm__plan *plan, const struct mm__region *region, int pagemap) {
  uint64_t entries[PAGEMAP_BATCH];
  if ((region->flags & MM__REGION_ZERO) != 0) return true;
  for (uint64_t page = region->low; page < region->high;) {
    uint64_t left = (region->high - page) / MM__PAGE;
    uint32_t count = left < PAGEMAP_BATCH ? (uint32_t)left : PAGEMAP_BATCH;
    read_pagemap(pagemap, page, entries, count);
    for (uint32_t i = 0; i < count; i++, page += MM__PAGE)
      if (has_data(region, page, entries[i]) && !add_page(plan, region, page)) return false;
  }
  return true;
}

static bool in_one_module(const struct mm__source *source, uint64_t low, uint64_t high) {
  for (uint32_t i = 0; i < source->module_count; i++)
    if (source->modules[i].low <= low && high <= source->modules[i].high) return true;
  return false;
}

/* Of memory that is written to nobody needs to know. */
static bool is_anonymous(const struct mm__region *region) {
  return (region->protection & PROT_WRITE) == 0 && (region->flags & MM__REGION_FILE) == 0;
}

/* Whether one segment can hold both regions: nothing that was a guard may become accessible. */
static bool joins(const struct mm__source *source, const struct mm__region *a,
                  const struct mm__region *b) {
  if (a->protection != b->protection || is_anonymous(a) != is_anonymous(b)) return false;
  return a->high == b->low ||
         (b->low - a->high <= GAP_BYTES && in_one_module(source, a->low, b->high));
}

static bool add_segment(struct mm__plan *plan, struct mm__segment segment) {
  struct mm__segment *segments = with_room(plan->segments, plan->segment_count,
                                           &plan->segment_capacity, sizeof *plan->segments);
  if (!segments) return false;
  plan->segments = segments;
  plan->segments[plan->segment_count++] = segment;
  return true;
}

/* Cuts [low, high), which has one protection, where zeros are at least `threshold` long. */
static bool cut(struct mm__plan *plan, uint64_t low, uint64_t high, uint32_t protection,
                uint64_t threshold, uint32_t *run) {
  struct mm__segment segment = {low, low, high, 0, protection, *run, 0, 0};
  for (; *run < plan->run_count && plan->runs[*run].low < high; (*run)++) {
    const struct mm__run *next = &plan->runs[*run];
    if (next->low - segment.data_high >= threshold) {
      segment.high = next->low;
      if (!add_segment(plan, segment)) return false;
      segment = (struct mm__segment){next->low, next->low, high, 0, protection, *run, 0, 0};
    }
    segment.data_high = next->high;
    segment.run_count++;
  }
  if (segment.run_count > 0 && high - segment.data_high < threshold) segment.data_high = high;
  return add_segment(plan, segment);
}

/* Returns the number of segments there would be without regard to zeros; 0: out of memory. */
static uint32_t make_segments(struct mm__plan *plan, const struct mm__source *source,
                              uint64_t threshold) {
  uint32_t run = 0, spans = 0;
  plan->segment_count = 0;
  for (uint32_t i = 0; i < source->region_count;) {
    const struct mm__region *first = &source->regions[i], *last = first;
    for (i++; i < source->region_count && joins(source, last, &source->regions[i]); i++)
      last = &source->regions[i];
    if (first->protection == PROT_NONE) continue;
    uint32_t made = plan->segment_count;
    if (!cut(plan, first->low, last->high, first->protection, threshold, &run)) return 0;
    for (; made < plan->segment_count; made++)
      plan->segments[made].header_flags = is_anonymous(first) ? MM__PF_ANONYMOUS : 0;
    spans++;
  }
  return spans ? spans : 1;
}

int mm__plan_make(struct mm__plan *plan, const struct mm__source *source, struct mm_error *error) {
  int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
  bool enough = true;
  uint32_t spans, limit;
  memset(plan, 0, sizeof *plan);
  for (uint32_t i = 0; enough && i < source->region_count; i++)
    if (source->regions[i].protection != PROT_NONE)
      enough = scan(plan, &source->regions[i], pagemap);
  if (pagemap >= 0) close(pagemap);
  uint64_t threshold = ZERO_RUN_BYTES;
  do {
    spans = enough ? make_segments(plan, source, threshold) : 0;
    limit = spans + SPARE_SEGMENTS;
    threshold *= 2;
  } while (spans != 0 && plan->segment_count > limit && threshold < MM__SLOT_BYTES);
  if (spans == 0) {
    mm__plan_free(plan);
    return mm__fail(error, MM_ERROR_MEMORY, "out of memory while looking for the image's data");
  }
  if (plan->segment_count > MM__SEGMENT_LIMIT) {
    uint32_t count = plan->segment_count;
    mm__plan_free(plan);
    return mm__fail(error, MM_ERROR_LIMIT, "the memory is in %u pieces; an image has at most %u",
                    count, MM__SEGMENT_LIMIT);
  }
  return MM_OK;
}

void mm__plan_free(struct mm__plan *plan) {
  free(plan->runs);
  free(plan->segments);
  memset(plan, 0, sizeof *plan);
}
