/* core/guard/pieces.h - the pages guard's memory of what calls need: few pieces, each opened and
 * closed by one call of mprotect(2).
 * Owns:    the list of pieces of each image, in memory that its slot map lies beside.
 * Threads: under the image's lock, by the thread that is inside.
 * Signals: a piece is learned in the fault handler; nothing that changes the list touches image
 *          memory, so no fault comes in between.
 * Errors:  none; what does not fit in the list opens the whole image for the call. */
#ifndef MM_CORE_GUARD_PIECES_H
#define MM_CORE_GUARD_PIECES_H

#include "core/state.h"

/* More would cost a call more than opening everything, and the process its mappings. */
#define MM__PIECE_LIMIT    256u
#define MM__PIECE_CAPACITY (2ul * MM__PIECE_LIMIT)

struct mm__discards; /* core/guard/discard.h */

struct mm__piece {
  uint64_t low, high;  /* whole pages, within one range of the slot map */
  uint64_t users;      /* bit per class of exports whose calls need it; none: for this call only */
  uint32_t protection; /* while it is open */
  uint8_t is_open;
  uint8_t is_written; /* it was open for writing since the last reset */
  uint16_t reserved;
};

static inline uint64_t mm__larger(uint64_t a, uint64_t b) { return a > b ? a : b; }
static inline uint64_t mm__smaller(uint64_t a, uint64_t b) { return a < b ? a : b; }

/* Opens what earlier calls of this export's class needed. False: they need everything. */
bool mm__pieces_open(struct mm__state *state, uint32_t export_index);
/* Whether an open piece holds the address. */
bool mm__pieces_cover(const struct mm__state *state, uint64_t address);
/* Opens the pages around `address`, and remembers them. `range` is the slot map's, and changes
 * when open. False: the list is full. */
bool mm__pieces_learn(struct mm__state *state, const struct mm__range *range, uint64_t address);
/* [low, high) was mapped, unmapped or protected anew, and is open as the slot map has it. False:
 * the list is full. */
bool mm__pieces_changed(struct mm__state *state, uint64_t low, uint64_t high);
/* Closes all that is open, and with it [low, high) of the mailbox. */
void mm__pieces_close(struct mm__state *state, uint64_t low, uint64_t high);
/* The caller opens from here to `address`, and on: the piece that ends there, if calls have needed
 * it, is taken for open. */
uint64_t mm__pieces_open_below(struct mm__state *state, uint64_t address);
/* What was written since the last reset goes back to the snapshot. */
void mm__pieces_reset(struct mm__state *state, struct mm__discards *discards);

/* What the kernel is told, by a call that must not fail. */
void mm__guard_protect(uint64_t low, uint64_t high, uint32_t protection);

#endif
