/* core/guard/pieces.c - learns which pages calls need, by the faults of the first ones.
 *
 * A fault, its handler and an mprotect cost some 5 us; an mprotect alone 1 us and as much again for
 * every 15 resident pages, where virtual machines do not make pages dearer still, and 2 us more when
 * it splits or merges a mapping. So what was needed once is opened ahead, page by page, code like
 * data; the pieces are kept apart from their surroundings by a flag of their own (MADV_RANDOM, which
 * says something only to file pages that are not in memory yet); pieces that lie close together are
 * one; and what rests alike is closed by one call over all that lies between. Exports are told apart
 * in 64 classes, so that a small one does not pay for a big one. */
#include "core/guard/pieces.h"

#include "core/guard/discard.h"
#include "core/guard/guard.h"

#include <sys/mman.h>

#define CLASSES 64u
/* Pieces this close become one: what another piece costs, these pages cost, too, where all are
 * resident; and code mostly is, because the kernel maps 16 pages around a fault (fault_around_bytes). */
#define GAP_BYTES (16 * (uint64_t)MM__PAGE)
#define GROWTH_BYTES                                                                               \
  (64 * (uint64_t)MM__PAGE) /* the most that is opened ahead of a growing piece */
/* So many pages are flushed one by one; for more the kernel empties the TLB (Linux, arch/x86/mm/tlb.c:
 * tlb_single_page_flush_ceiling). */
#define FLUSHED_BY_PAGE (33 * (uint64_t)MM__PAGE)
#define SMALL_BYTES     (4 * (uint64_t)MM__PAGE)
#define SPAN_RANGES     16u   /* how many mappings one call closes at most */
#define RELEARN         1021u /* every so many calls a class starts anew, so that it forgets */

static uint64_t class_of(uint32_t export_index) { return 1ul << export_index % CLASSES; }

/* The first piece that ends above `address`. */
static uint32_t find(const struct mm__state *state, uint64_t address) {
  uint32_t low = 0, high = state->piece_count;
  while (low < high) {
    uint32_t middle = low + (high - low) / 2;
    if (state->pieces[middle].high <= address)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

static void insert(struct mm__state *state, uint32_t index, struct mm__piece piece) {
  memmove(&state->pieces[index + 1], &state->pieces[index],
          (state->piece_count - index) * sizeof piece);
  state->pieces[index] = piece;
  state->piece_count++;
}

static void erase(struct mm__state *state, uint32_t index) {
  state->piece_count--;
  memmove(&state->pieces[index], &state->pieces[index + 1],
          (state->piece_count - index) * sizeof *state->pieces);
}

static void open_piece(struct mm__piece *piece) {
  piece->is_open = 1;
  if (piece->protection & PROT_WRITE) piece->is_written = 1;
}

static bool is_wanted(const struct mm__state *state, uint32_t index) {
  return state->pieces[index].users & state->piece_class && !state->pieces[index].is_open;
}

/* Opens what the class of the call needs; neighbours that get the same, in one call. */
static void open_wanted(struct mm__state *state) {
  for (uint32_t i = 0; i < state->piece_count;) {
    struct mm__piece *first = &state->pieces[i], *last = first;
    if (!is_wanted(state, i++)) continue;
    open_piece(first);
    for (; i < state->piece_count && is_wanted(state, i); i++) {
      struct mm__piece *next = &state->pieces[i];
      if (next->low != last->high || next->protection != first->protection) break;
      open_piece(next);
      last = next;
    }
    mm__guard_protect(first->low, last->high, first->protection);
  }
}

/* Whether all of [low, high) rests with this protection, in few mappings: then the kernel may be
 * told so of what is closed already, which costs it less than another call. */
static bool rests_alike(const struct mm__state *state, uint64_t low, uint64_t high,
                        uint32_t protection) {
  const struct mm__slot_map *map = &state->map;
  uint32_t first = mm__slot_map_find(map, low);
  for (uint32_t i = first; low < high; i++) {
    if (i == map->count || i - first > SPAN_RANGES || map->ranges[i].low > low ||
        mm__at_rest(state, map->ranges[i].protection) != protection)
      return false;
    low = map->ranges[i].high;
  }
  return true;
}

/* The index of the next open piece, from `index` on. */
static uint32_t next_open(const struct mm__state *state, uint32_t index) {
  while (index < state->piece_count && !state->pieces[index].is_open) index++;
  return index;
}

bool mm__pieces_cover(const struct mm__state *state, uint64_t address) {
  uint32_t index = find(state, address);
  return index < state->piece_count && state->pieces[index].low <= address &&
         state->pieces[index].is_open;
}

static void forget_class(struct mm__state *state) {
  for (uint32_t i = 0; i < state->piece_count; i++) state->pieces[i].users &= ~state->piece_class;
  state->wide_classes &= ~state->piece_class;
}

bool mm__pieces_open(struct mm__state *state, uint32_t export_index) {
  state->piece_class = class_of(export_index);
  if (state->calls % RELEARN == RELEARN - 1) forget_class(state);
  if (state->wide_classes & state->piece_class) return false;
  open_wanted(state);
  return true;
}

uint64_t mm__pieces_open_below(struct mm__state *state, uint64_t address) {
  uint32_t index = find(state, address);
  struct mm__piece *below = index > 0 ? &state->pieces[index - 1] : 0;
  if (!below || below->high != address || below->is_open || !below->users ||
      below->protection != (PROT_READ | PROT_WRITE))
    return address;
  open_piece(below);
  return below->low;
}

/* Two small pieces that lie far apart: closing them by one call would empty all of the TLB. */
static bool is_cheaper_apart(const struct mm__piece *a, const struct mm__piece *b) {
  return b->high - a->low > FLUSHED_BY_PAGE &&
         (a->high - a->low) + (b->high - b->low) <= SMALL_BYTES;
}

/* Where the run of open pieces that starts at `*index` ends, with all that rests like them between;
 * `*index` becomes the next run's. */
static uint64_t run_end(const struct mm__state *state, uint32_t *index, uint32_t protection) {
  uint32_t first = *index, second = next_open(state, first + 1), i = second, count = 1;
  uint64_t end = state->pieces[first].high;
  for (; i < state->piece_count && i - first <= SPAN_RANGES; i = next_open(state, i + 1)) {
    if (!rests_alike(state, end, state->pieces[i].high, protection)) break;
    end = state->pieces[i].high;
    count++;
  }
  bool apart = count == 2 && is_cheaper_apart(&state->pieces[first], &state->pieces[second]);
  *index = apart ? second : i;
  return apart ? state->pieces[first].high : end;
}

/* Closes all open pieces, and [low, high), which lies in one mapping. */
static void close_open(struct mm__state *state, uint64_t low, uint64_t high) {
  uint32_t resting = mm__at_rest(state, PROT_READ | PROT_WRITE);
  for (uint32_t i = next_open(state, 0); i < state->piece_count;) {
    uint32_t protection = mm__at_rest(state, state->pieces[i].protection);
    uint64_t from = state->pieces[i].low, to = run_end(state, &i, protection);
    if (from <= low && low <= to && protection == resting) {
      to = mm__larger(to, high);
      high = low;
    }
    mm__guard_protect(from, to, protection);
  }
  if (low < high) mm__guard_protect(low, high, resting);
}

void mm__pieces_close(struct mm__state *state, uint64_t low, uint64_t high) {
  close_open(state, low, high);
  uint32_t kept = 0;
  for (uint32_t i = 0; i < state->piece_count; i++) {
    struct mm__piece piece = state->pieces[i];
    piece.is_open = 0;
    if (piece.users || piece.is_written) state->pieces[kept++] = piece;
  }
  state->piece_count = kept;
}

void mm__pieces_reset(struct mm__state *state, struct mm__discards *discards) {
  for (uint32_t i = 0; i < state->piece_count; i++) {
    struct mm__piece *piece = &state->pieces[i];
    if (piece->is_written) mm__discard(discards, piece->low, piece->high - piece->low);
    piece->is_written = 0;
  }
}

/* --- learning --- */

static bool is_near(const struct mm__piece *piece, const struct mm__range *range, uint64_t gap) {
  return piece->low >= range->low && piece->high <= range->high &&
         piece->protection == range->protection && gap <= GAP_BYTES;
}

/* How far to go beyond a page that a growing piece has reached: as far as it has come. Code jumps
 * about instead. */
static uint64_t growth(const struct mm__piece *piece) {
  if (!piece->is_open || piece->protection & PROT_EXEC) return 0;
  return mm__smaller(piece->high - piece->low, GROWTH_BYTES);
}

/* One page, but joined with pieces close by, and ahead of one that grows. */
static void spread(const struct mm__state *state, const struct mm__range *range, uint32_t index,
                   struct mm__piece *span) {
  const struct mm__piece *below = index > 0 ? &state->pieces[index - 1] : 0;
  const struct mm__piece *above = index < state->piece_count ? &state->pieces[index] : 0;
  uint64_t low = span->low, high = span->high;
  if (below && is_near(below, range, low - below->high)) {
    span->high = mm__smaller(range->high, high + growth(below));
    span->low = below->high;
  }
  if (above && is_near(above, range, above->low - high)) {
    span->low =
        mm__larger(range->low, mm__smaller(span->low, low - mm__smaller(low, growth(above))));
    span->high = mm__larger(span->high, above->low);
  }
}

/* No piece may overlap another one. */
static void keep_apart(const struct mm__state *state, uint32_t index, struct mm__piece *span) {
  if (index > 0) span->low = mm__larger(span->low, state->pieces[index - 1].high);
  if (index < state->piece_count) span->high = mm__smaller(span->high, state->pieces[index].low);
}

static bool joins(const struct mm__piece *a, const struct mm__piece *b) {
  return a->high == b->low && a->protection == b->protection && a->is_open == b->is_open &&
         !a->users == !b->users;
}

static void join_above(struct mm__state *state, uint32_t index) {
  if (index + 1 >= state->piece_count) return;
  struct mm__piece *piece = &state->pieces[index], *next = piece + 1;
  if (!joins(piece, next)) return;
  piece->high = next->high;
  piece->users |= next->users;
  piece->is_written |= next->is_written;
  erase(state, index + 1);
}

static void add(struct mm__state *state, uint32_t index, struct mm__piece piece) {
  open_piece(&piece);
  insert(state, index, piece);
  join_above(state, index);
  if (index > 0) join_above(state, index - 1);
}

/* Room for pieces that are in use, at the price of not knowing any more what was written. */
static void prune(struct mm__state *state) {
  uint32_t kept = 0;
  for (uint32_t i = 0; i < state->piece_count; i++) {
    const struct mm__piece *piece = &state->pieces[i];
    if (piece->users || piece->is_open)
      state->pieces[kept++] = *piece;
    else
      state->all_written = 1;
  }
  state->piece_count = kept;
}

/* A piece that another class has learned, or one that this call needs for itself only. */
static void use_again(struct mm__state *state, struct mm__piece *piece) {
  piece->users |= state->piece_class;
  if (piece->is_open) return;
  mm__guard_protect(piece->low, piece->high, piece->protection);
  open_piece(piece);
}

bool mm__pieces_learn(struct mm__state *state, const struct mm__range *range, uint64_t address) {
  if (state->piece_count >= MM__PIECE_LIMIT) prune(state);
  uint32_t index = find(state, address);
  if (index < state->piece_count && state->pieces[index].low <= address) {
    use_again(state, &state->pieces[index]);
    return true;
  }
  if (state->piece_count >= MM__PIECE_LIMIT) return false;
  struct mm__piece piece = {.low = address & ~(MM__PAGE - 1ul),
                            .high = (address & ~(MM__PAGE - 1ul)) + MM__PAGE,
                            .users = state->piece_class,
                            .protection = range->protection};
  spread(state, range, index, &piece);
  keep_apart(state, index, &piece);
  mm__guard_protect(piece.low, piece.high, piece.protection);
  mm__call(SYS_madvise, piece.low, piece.high - piece.low, MADV_RANDOM);
  add(state, index, piece);
  return true;
}

/* --- changes of the slot map --- */

/* Takes [low, high) out of all pieces. */
static void cut_out(struct mm__state *state, uint64_t low, uint64_t high) {
  for (uint32_t i = find(state, low); i < state->piece_count && state->pieces[i].low < high;) {
    struct mm__piece piece = state->pieces[i];
    erase(state, i);
    struct mm__piece below = piece, above = piece;
    below.high = low;
    above.low = high;
    if (piece.low < low) insert(state, i++, below);
    if (piece.high > high) insert(state, i++, above);
  }
}

bool mm__pieces_changed(struct mm__state *state, uint64_t low, uint64_t high) {
  const struct mm__slot_map *map = &state->map;
  if (state->piece_count >= MM__PIECE_LIMIT) prune(state);
  cut_out(state, low, high);
  for (uint32_t r = mm__slot_map_find(map, low); r < map->count && map->ranges[r].low < high; r++) {
    const struct mm__range *range = &map->ranges[r];
    if (range->protection == mm__at_rest(state, range->protection)) continue;
    if (state->piece_count >= MM__PIECE_LIMIT) return false;
    struct mm__piece piece = {.low = mm__larger(low, range->low),
                              .high = mm__smaller(high, range->high),
                              .protection = range->protection,
                              .is_written = 1};
    add(state, find(state, piece.low), piece);
  }
  return state->piece_count < MM__PIECE_LIMIT;
}
