/* core/slot/head.h - our copy of an image's head, with what is made from it: the gate's entries,
 * and room for the slot map's ranges, the guard's pieces, and what the image holds outside.
 * Owns:    the memory of slot 0 in which heads lie, one place each.
 * Threads: under mm__core_lock.
 * Signals: not for handlers.
 * Errors:  MM_ERROR_MEMORY, MM_ERROR_UNREADABLE, and those of image/check.h. The message is a
 *          predicate, as there: the caller puts the file's name before it. */
#ifndef MM_CORE_SLOT_HEAD_H
#define MM_CORE_SLOT_HEAD_H

#include "core/guard/pieces.h"
#include "core/state.h"

/* What lies in a place, in this order: what changes, then what is read-only once it is sealed. */
#define MM__PLACE_RANGES  (MM__RANGE_LIMIT * sizeof(struct mm__range))
#define MM__PLACE_PIECES  (MM__PIECE_CAPACITY * sizeof(struct mm__piece))
#define MM__PLACE_OUTSIDE (4ul * MM__PAGE)
#define MM__PLACE_GRANTED (2ul * MM__PAGE)
_Static_assert(MM__PLACE_RANGES % MM__PAGE == 0 && MM__PLACE_PIECES % MM__PAGE == 0,
               "the head starts a page");

/* Prepares the first place: memory that is at hand costs an image less than new memory. */
int mm__heads_start(struct mm_error *error);
void mm__heads_stop(void);

/* Reads the head of the file once, and checks that copy. On failure nothing is kept. */
int mm__head_load(int file, uint64_t file_bytes, struct mm__kept *kept, struct mm__head *head,
                  struct mm_error *error);
/* Makes the entries, then all of it read-only. `forbidden` tells by export which may not be called;
 * NULL: all may. Returns 0 or a negated errno. */
long mm__head_seal(const struct mm__kept *kept, const struct mm__head *head,
                   const uint8_t *forbidden);
void mm__head_release(const struct mm__kept *kept);

static inline struct mm__range *mm__kept_ranges(const struct mm__kept *kept) {
  return (struct mm__range *)kept->low;
}
static inline struct mm__piece *mm__kept_pieces(const struct mm__kept *kept) {
  return (struct mm__piece *)(kept->low + MM__PLACE_RANGES);
}
/* What it holds of the outside world changes; what it was granted is read-only:
 * core/mediation/outside.h */
static inline uint64_t mm__kept_outside(const struct mm__kept *kept) {
  return kept->low + MM__PLACE_RANGES + MM__PLACE_PIECES;
}
static inline uint64_t mm__kept_granted(const struct mm__kept *kept) {
  return mm__kept_outside(kept) + MM__PLACE_OUTSIDE;
}
static inline uint64_t mm__kept_head(const struct mm__kept *kept) {
  return mm__kept_granted(kept) + MM__PLACE_GRANTED;
}
static inline struct mm__entry *mm__kept_entries(const struct mm__kept *kept) {
  return (struct mm__entry *)(mm__kept_head(kept) + kept->head_bytes);
}

#endif
