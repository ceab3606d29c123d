/* core/guard/guard.c - `open` toggles nothing; `pages` opens what the slot map holds, piece by
 * piece. */
#include "core/guard/guard.h"

#include <sys/mman.h>

#define MAILBOX_KEEP 0x10000ul /* bytes of used mailbox that stay resident between calls */

uint32_t mm__guard_rest(uint32_t guard, uint32_t protection) {
  return guard == MM_GUARD_PAGES ? protection & PROT_READ : protection;
}

static void protect(uint64_t low, uint64_t high, uint32_t protection) {
  long result = mm__call(SYS_mprotect, low, high - low, protection);
  if (!mm__failed(result)) return;
  mm__say("mprotect(%lx, %lx, %u) failed with %ld: the guard cannot keep its word", low, high - low,
          protection, -result);
  mm__call(SYS_kill, mm__call(SYS_getpid), SIGKILL);
}

/* Neighbours that get the same protection are told to the kernel together. */
static void toggle(const struct mm__slot_map *map, bool open) {
  for (uint32_t i = 0; i < map->count;) {
    const struct mm__range *first = &map->ranges[i];
    uint32_t protection = open ? first->protection : first->protection & PROT_READ;
    uint64_t high = first->high;
    bool changes = first->protection != (first->protection & PROT_READ);
    for (i++; changes && i < map->count; i++) {
      const struct mm__range *next = &map->ranges[i];
      uint32_t wanted = open ? next->protection : next->protection & PROT_READ;
      if (next->low != high || wanted != protection ||
          next->protection == (next->protection & PROT_READ))
        break;
      high = next->high;
    }
    if (changes) protect(first->low, high, protection);
  }
}

void mm__guard_open(const struct mm__record *record, struct mm__state *state) {
  if (record->guard == MM_GUARD_PAGES && !state->guard_open) toggle(&state->map, true);
  state->guard_open = 1;
}

void mm__guard_close(const struct mm__record *record, struct mm__state *state) {
  if (record->guard == MM_GUARD_PAGES && state->guard_open) {
    toggle(&state->map, false);
    state->mailbox_open = 0;
  }
  state->guard_open = 0;
}

void mm__guard_empty_mailbox(const struct mm__record *record, struct mm__state *state) {
  uint64_t low = record->head.facts->mailbox_low;
  if (state->mailbox_open) protect(low, record->head.facts->mailbox_high, PROT_READ);
  state->mailbox_open = 0;
  if (state->mailbox_used > MAILBOX_KEEP)
    mm__call(SYS_madvise, low + MAILBOX_KEEP, state->mailbox_used - MAILBOX_KEEP, MADV_DONTNEED);
  state->mailbox_used = 0;
}

void mm__guard_open_mailbox(const struct mm__record *record, struct mm__state *state,
                            uint64_t high) {
  if (record->guard != MM_GUARD_PAGES || state->guard_open || state->mailbox_open >= high) return;
  protect(record->head.facts->mailbox_low, record->head.facts->mailbox_high,
          PROT_READ | PROT_WRITE);
  state->mailbox_open = record->head.facts->mailbox_high;
}
