/* core/guard/guard.c - `open` toggles nothing; `pages` opens in a call what the call needs. */
#include "core/guard/guard.h"

#include "base/error.h"
#include "core/guard/discard.h"
#include "core/guard/pieces.h"
#include "core/slot/place.h"

#include <sys/mman.h>

#define MAILBOX_KEEP 0x10000ul /* bytes of used mailbox that stay resident between calls */

uint32_t mm__guard_rest(uint32_t guard, bool sealed) {
  if (guard != MM_GUARD_PAGES) return PROT_READ | PROT_WRITE | PROT_EXEC;
  return sealed ? PROT_NONE : PROT_READ;
}

const char mm__guard_refused[] = "the kernel refused to open its pages";
const char mm__guard_shut[] = "the kernel refused to close its pages: it is dead until it is reset";

const char *mm__guard_dead_text(uint32_t dead) {
  if (dead == MM__SHUT) return mm__guard_shut;
  if (dead == MM__LOST) return "the kernel refused to close its memory, which is gone: unmap it";
  return "the image is dead after a fault, until it is reset";
}

int mm__guard_failed(const struct mm__state *state, struct mm_error *error) {
  if (state->dead) return mm__fail(error, MM_ERROR_DEAD, "%s", mm__guard_dead_text(state->dead));
  return mm__fail_system(error, MM_ERROR_MEMORY, (int)state->refused, "%s", mm__guard_refused);
}

static bool is_shut(const struct mm__state *state) { return state->dead >= MM__SHUT; }

/* Whole mappings in one call: the kernel needs none of what it may have lacked, unless somebody
 * forbids the call itself. */
static void shut(struct mm__state *state) {
  if (is_shut(state)) return;
  uint64_t low = MM__SLOT_BASE(state - mm__states);
  state->dead = MM__SHUT;
  if (mm__failed(mm__call(SYS_mprotect, low, MM__SLOT_BYTES, PROT_NONE))) {
    state->dead = MM__LOST;
    long result = mm__slot_reserve(low, MM__SLOT_BYTES);
    if (mm__failed(result)) {
      mm__say("mmap(%lx, %lx) failed with %ld: the guard cannot keep its word", low, MM__SLOT_BYTES,
              -result);
      mm__call(SYS_kill, mm__call(SYS_getpid), SIGKILL);
    }
  }
  state->map_changed = 1; /* all that a reset puts back */
  state->piece_count = 0;
  state->mailbox_open = 0;
}

void mm__guard_shut_down(struct mm__state *state, long result) {
  state->refused = (uint32_t)-result;
  shut(state);
}

void mm__guard_protect(uint64_t low, uint64_t high, uint32_t protection) {
  mm__states[MM__SLOT_OF(low)].guard_changes++;
  if (mm__tables.host.trace & MM__TRACE_GUARD)
    mm__say("guard: 0x%lx-0x%lx %c%c%c", low, high, protection & PROT_READ ? 'r' : '-',
            protection & PROT_WRITE ? 'w' : '-', protection & PROT_EXEC ? 'x' : '-');
  long result = mm__call(SYS_mprotect, low, high - low, protection);
  if (mm__failed(result)) mm__states[MM__SLOT_OF(low)].refused = (uint32_t)-result;
}

static long give_key(const struct mm__slot_map *map, uint32_t key, uint64_t low, uint64_t high) {
  long result = 0;
  for (uint32_t i = mm__slot_map_find(map, low);
       i < map->count && map->ranges[i].low < high && !mm__failed(result); i++) {
    const struct mm__range *range = &map->ranges[i];
    uint64_t from = mm__larger(low, range->low), to = mm__smaller(high, range->high);
    result = mm__call(SYS_pkey_mprotect, from, to - from, range->protection, key);
  }
  return result;
}

void mm__guard_adopt(const struct mm__record *record, struct mm__state *state, uint64_t low,
                     uint64_t high) {
  long result = 0;
  if (record->sealed) result = mm__call(SYS_madvise, low, high - low, MADV_DONTDUMP);
  if (record->key && !mm__failed(result)) result = give_key(&state->map, record->key, low, high);
  if (mm__failed(result)) mm__guard_shut_down(state, result);
}

static void toggle_all(const struct mm__state *state, bool open) {
  const struct mm__slot_map *map = &state->map;
  for (uint32_t i = 0; i < map->count; i++) {
    const struct mm__range *range = &map->ranges[i];
    uint32_t rest = mm__at_rest(state, range->protection);
    if (range->protection != rest)
      mm__guard_protect(range->low, range->high, open ? range->protection : rest);
  }
}

/* At the price of not knowing any more what was written. */
static void forget_pieces(struct mm__state *state) {
  state->piece_count = 0;
  state->all_written = 1;
}

void mm__guard_need_all(const struct mm__record *record, struct mm__state *state) {
  if (record->guard != MM_GUARD_PAGES || state->guard_open == MM__OPEN_ALL || is_shut(state))
    return;
  toggle_all(state, true);
  state->guard_open = MM__OPEN_ALL;
  forget_pieces(state);
}

bool mm__guard_open(const struct mm__record *record, struct mm__state *state,
                    uint32_t export_index) {
  state->refused = 0;
  if (record->guard != MM_GUARD_PAGES || state->guard_open) return true;
  if (mm__pieces_open(state, export_index))
    state->guard_open = MM__OPEN_PIECES;
  else
    mm__guard_need_all(record, state);
  return !state->refused;
}

static void close_pieces(const struct mm__record *record, struct mm__state *state) {
  uint64_t low = record->head.facts->mailbox_low;
  state->refused = 0;
  mm__pieces_close(state, low, mm__larger(low, state->mailbox_open));
  state->mailbox_open = 0;
  if (state->refused) shut(state);
}

static void close_everything(struct mm__state *state) {
  state->refused = 0;
  toggle_all(state, false);
  state->piece_count = 0;
  state->mailbox_open = 0;
  if (state->refused) shut(state);
}

void mm__guard_close(const struct mm__record *record, struct mm__state *state) {
  if (record->guard != MM_GUARD_PAGES || !state->guard_open || state->kept_open) return;
  bool all = state->guard_open == MM__OPEN_ALL;
  state->guard_open = MM__CLOSED;
  if (is_shut(state)) return;
  if (all)
    close_everything(state);
  else
    close_pieces(record, state);
}

/* Opens one page that the slot map lets the image touch so. */
static bool open_page(const struct mm__record *record, struct mm__state *state, uint64_t address,
                      uint32_t protection) {
  if (is_shut(state)) return false;
  if (!mm__slot_map_covers(&state->map, address, address + 1, protection)) return false;
  const struct mm__range *range = &state->map.ranges[mm__slot_map_find(&state->map, address)];
  if ((mm__at_rest(state, range->protection) & protection) == protection) return false;
  if (!mm__pieces_learn(state, range, address)) {
    state->wide_classes |= state->piece_class;
    mm__guard_need_all(record, state);
  }
  return !state->refused;
}

bool mm__guard_fault(const struct mm__record *record, struct mm__state *state, uint64_t address,
                     uint32_t protection) {
  state->refused = 0;
  if (record->guard != MM_GUARD_PAGES || state->guard_open != MM__OPEN_PIECES) return false;
  /* A fault on an open page is the image's own. */
  return !mm__pieces_cover(state, address) && open_page(record, state, address, protection);
}

bool mm__guard_need(const struct mm__record *record, struct mm__state *state, uint64_t low,
                    uint64_t high, uint32_t protection) {
  state->refused = 0;
  if (is_shut(state)) return false;
  if (record->guard != MM_GUARD_PAGES) return true;
  for (uint64_t page = low & ~(MM__PAGE - 1ul); page < high && !state->refused; page += MM__PAGE) {
    if (state->guard_open != MM__OPEN_PIECES) break;
    if (!mm__pieces_cover(state, page)) open_page(record, state, page, protection);
  }
  return !state->refused;
}

void mm__guard_changed(const struct mm__record *record, struct mm__state *state, uint64_t low,
                       uint64_t high) {
  mm__guard_adopt(record, state, low, high);
  if (record->guard != MM_GUARD_PAGES || state->guard_open != MM__OPEN_PIECES) return;
  if (!mm__pieces_changed(state, low, high)) mm__guard_need_all(record, state);
}

void mm__guard_removed(const struct mm__record *record, struct mm__state *state, uint64_t low,
                       uint64_t high) {
  if (record->guard != MM_GUARD_PAGES || mm__pieces_changed(state, low, high)) return;
  if (state->guard_open == MM__OPEN_PIECES)
    mm__guard_need_all(record, state);
  else
    forget_pieces(state);
}

bool mm__guard_begin(const struct mm__record *record, struct mm__state *state) {
  if (record->guard != MM_GUARD_PAGES || state->guard_open) return false;
  state->guard_open = MM__OPEN_PIECES;
  state->piece_class = 0;
  return true;
}

bool mm__guard_read(const struct mm__record *record, struct mm__state *state, uint64_t from,
                    void *to, uint64_t bytes) {
  bool begun = mm__guard_begin(record, state);
  bool is_open = mm__guard_need(record, state, from, from + bytes, PROT_READ);
  if (is_open) memcpy(to, (const void *)from, bytes);
  if (begun) mm__guard_close(record, state);
  return is_open;
}

/* For one copy: what is lent is in no piece. */
static bool write_lent(struct mm__state *state, uint64_t low, uint64_t high, uint64_t to,
                       const void *from, uint64_t bytes) {
  state->refused = 0;
  mm__guard_protect(low, high, PROT_READ | PROT_WRITE);
  uint32_t refused = state->refused;
  if (!refused) memcpy((void *)to, from, bytes);
  state->refused = 0;
  mm__guard_protect(low, high, mm__at_rest(state, PROT_READ | PROT_WRITE));
  if (state->refused) shut(state);
  state->refused |= refused;
  return !refused;
}

bool mm__guard_write(const struct mm__record *record, struct mm__state *state, uint64_t to,
                     const void *from, uint64_t bytes, bool lent) {
  uint64_t low = to & ~(MM__PAGE - 1ul), high = (to + bytes + MM__PAGE - 1) & ~(MM__PAGE - 1ul);
  if (lent && record->guard == MM_GUARD_PAGES && !state->guard_open && !is_shut(state))
    return write_lent(state, low, high, to, from, bytes);
  /* Pieces remember what is written, and stay for the next time. */
  bool begun = mm__guard_begin(record, state);
  bool is_open = mm__guard_need(record, state, low, high, PROT_WRITE);
  if (is_open) memcpy((void *)to, from, bytes);
  if (begun) mm__guard_close(record, state);
  return is_open;
}

static void discard_written(struct mm__discards *discards, const struct mm__head *head) {
  uint64_t file_bytes = 0;
  for (uint32_t i = 0; i < head->load_count; i++)
    if (head->loads[i].p_flags & PF_W) file_bytes += head->loads[i].p_filesz;
  long scanner = mm__discard_scanner(file_bytes);
  for (uint32_t i = 0; i < head->load_count; i++) {
    const Elf64_Phdr *load = &head->loads[i];
    if (load->p_flags & PF_W)
      mm__discard_written(discards, scanner, load->p_vaddr, mm__page_up(load->p_filesz),
                          mm__load_bytes(load));
  }
  if (!mm__failed(scanner)) mm__call(SYS_close, scanner);
}

static void discard_all(struct mm__discards *discards, const struct mm__head *head) {
  for (uint32_t i = 0; i < head->load_count; i++)
    mm__discard(discards, head->loads[i].p_vaddr, mm__load_bytes(&head->loads[i]));
}

bool mm__guard_reset(const struct mm__record *record, struct mm__state *state) {
  struct mm__discards discards = {0};
  uint64_t low = record->head.facts->mailbox_low;
  if (record->guard == MM_GUARD_PAGES && !state->map_changed && !state->all_written) {
    mm__discard(&discards, low, state->mailbox_high - low);
    mm__pieces_reset(state, &discards);
  } else {
    state->piece_count = 0;
    if (state->map_changed)
      discard_all(&discards, &record->head);
    else
      discard_written(&discards, &record->head);
  }
  state->all_written = 0;
  return mm__discard_end(&discards);
}

void mm__guard_empty_mailbox(const struct mm__record *record, struct mm__state *state) {
  if (state->mailbox_open) close_pieces(record, state);
  mm__guard_trim_mailbox(record, state, 0);
}

void mm__guard_trim_mailbox(const struct mm__record *record, struct mm__state *state,
                            uint64_t mark) {
  uint64_t low = record->head.facts->mailbox_low, from = mark > MAILBOX_KEEP ? mark : MAILBOX_KEEP;
  from = (from + MM__PAGE - 1) & ~(MM__PAGE - 1ul);
  if (state->mailbox_used > from)
    mm__call(SYS_madvise, low + from, state->mailbox_used - from, MADV_DONTNEED);
  state->mailbox_used = mark;
}

bool mm__guard_open_mailbox(const struct mm__record *record, struct mm__state *state,
                            uint64_t high) {
  const struct mm__facts *facts = record->head.facts;
  uint64_t low = facts->mailbox_low;
  bool pages = record->guard == MM_GUARD_PAGES;
  high = high < low + MAILBOX_KEEP ? low + MAILBOX_KEEP : (high + MM__PAGE - 1) & ~(MM__PAGE - 1ul);
  if (high > facts->mailbox_high) high = facts->mailbox_high;
  if (state->mailbox_high < high) {
    state->mailbox_high = high;
    if (pages) mm__call(SYS_madvise, low, high - low, MADV_RANDOM); /* see pieces.c */
  }
  state->refused = 0;
  if (is_shut(state)) return false;
  if (!pages || state->guard_open == MM__OPEN_ALL || state->mailbox_open >= high) return true;
  /* The stack lies right below. */
  mm__guard_protect(mm__pieces_open_below(state, low), high, PROT_READ | PROT_WRITE);
  state->mailbox_open = high; /* also half of it has to be closed again */
  if (!state->refused) return true;
  close_pieces(record, state);
  return false;
}
