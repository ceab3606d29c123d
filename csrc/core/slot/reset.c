/* core/slot/reset.c - puts an image back to its snapshot, and runs its on-map hooks. */
#include "base/error.h"
#include "core/fault/fault.h"
#include "core/gate/gate.h"
#include "core/guard/guard.h"
#include "core/mediation/outside.h"
#include "core/slot/area.h"
#include "core/slot/image.h"
#include "core/slot/place.h"

#include <matchmaker/server.h>

/* Every mapping the image made goes; every segment has the protection it rests with. False: the
 * kernel refused, and all of it is to be done again. */
static bool restore_mappings(const struct mm__record *record, struct mm__state *state) {
  long result = 0;
  for (uint32_t i = 0; i < state->map.count && !mm__failed(result); i++) {
    const struct mm__range *range = &state->map.ranges[i];
    if (!(range->flags & MM__RANGE_IMAGE))
      result = mm__slot_reserve(range->low, range->high - range->low);
  }
  for (uint32_t i = 0; i < record->head.load_count && !mm__failed(result); i++) {
    const Elf64_Phdr *load = &record->head.loads[i];
    result = mm__call(SYS_mprotect, load->p_vaddr, mm__load_bytes(load),
                      mm__at_rest(state, mm__load_protection(load)));
  }
  if (mm__failed(result)) return false;
  state->dead = state->map_changed = state->refused = 0;
  mm__place_list(state, &record->head);
  mm__guard_adopt(record, state, MM__SLOT_BASE(state - mm__states),
                  MM__SLOT_BASE(state - mm__states + 1));
  state->heap_high = record->head.facts->heap_high;
  state->memory_bytes = 0;
  return !state->dead;
}

/* Whether all of its memory is as the snapshot has it. */
static bool restore(const struct mm__record *record, struct mm__state *state) {
  bool done = mm__area_empty(record, state);
  done &= mm__guard_reset(record, state);
  if (!done) state->all_written = 1; /* the next one has to put all of it back */
  return state->map_changed ? restore_mappings(record, state) && done : done;
}

int mm__image_reset_held(uint32_t slot, struct mm__thread_record *thread, struct mm_error *error) {
  struct mm__record *record = &mm__tables.records[slot];
  struct mm__state *state = &mm__states[slot];
  state->kept_open = 0;
  mm__guard_close(record, state);
  mm__guard_empty_mailbox(record, state);
  mm__descriptors_close(record);
  if (state->dead == MM__LOST)
    return mm__fail(error, MM_ERROR_DEAD, "%s: %s", record->path, mm__guard_dead_text(MM__LOST));
  bool done = restore(record, state);
  state->generation++;
  if (done) state->dead = 0;
  if (mm__tables.host.trace & MM__TRACE_IMAGE)
    mm__say("image: reset %s, generation %u", record->path, state->generation);
  int status = done ? mm__image_hooks(slot, thread, 1, error)
                    : mm__fail(error, MM_ERROR_SYSTEM,
                               "%s: the kernel does not give its memory back", record->path);
  state->is_used = 0; /* hooks are part of it */
  if (status != MM_OK && !state->dead) state->dead = MM__DEAD;
  return status;
}

int mm__image_reset(uint32_t slot, struct mm__thread_record *thread, struct mm_error *error) {
  struct mm__state *state = &mm__states[slot];
  int status = mm__image_enter(state, thread, MM__FOR_EVER);
  if (status != MM_OK) return mm__turn_failed(mm__tables.records[slot].path, status, error);
  status = MM_ERROR_BUSY;
  if (state->depth)
    mm__fail(error, status, "%s: a call is running", mm__tables.records[slot].path);
  else
    status = mm__image_reset_held(slot, thread, error);
  mm__image_leave(state);
  return status;
}

int mm__image_hooks(uint32_t slot, struct mm__thread_record *thread, uint32_t reason,
                    struct mm_error *error) {
  const struct mm__record *record = &mm__tables.records[slot];
  struct mm__state *state = &mm__states[slot];
  uint32_t exports = record->head.registry.export_count;
  struct mm__outcome untold = thread->seen.outcome;
  for (uint32_t i = 0; i < record->head.facts->hook_count; i++) {
    struct mm_map_info info = {sizeof info, reason, state->generation, 0};
    uint64_t low = record->head.facts->mailbox_low;
    if (!mm__guard_open_mailbox(record, state, low + MM__PAGE))
      return mm__guard_failed(state, error);
    memcpy((void *)low, &info, sizeof info);
    state->mailbox_used = sizeof info;
    thread->seen.outcome.status = MM_OK;
    /* A hook that fails must not be reset by running hooks again. */
    thread->in_hook = 1;
    ((void (*)(uint64_t))mm__stub_address(slot, exports + i))(low);
    thread->in_hook = 0;
    if (thread->seen.outcome.status == MM_OK) continue;
    char text[160];
    mm__outcome_text(&thread->seen.outcome, text, sizeof text);
    thread->seen.outcome.status = MM_OK;
    return mm__fail(error, MM_ERROR_FAULT, "%s: its on-map hook ended in %s", record->path, text);
  }
  thread->seen.outcome = untold;
  return MM_OK;
}
