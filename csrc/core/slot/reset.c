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

/* Every mapping the image made goes; every segment has the protection it rests with. */
static void restore_mappings(const struct mm__record *record, struct mm__state *state) {
  for (uint32_t i = 0; i < state->map.count; i++) {
    const struct mm__range *range = &state->map.ranges[i];
    if (!(range->flags & MM__RANGE_IMAGE)) mm__slot_reserve(range->low, range->high - range->low);
  }
  for (uint32_t i = 0; i < record->head.load_count; i++) {
    const Elf64_Phdr *load = &record->head.loads[i];
    mm__call(SYS_mprotect, load->p_vaddr, mm__load_bytes(load),
             mm__at_rest(state, mm__load_protection(load)));
  }
  mm__place_list(state, &record->head);
  mm__guard_adopt(record, state, MM__SLOT_BASE(state - mm__states),
                  MM__SLOT_BASE(state - mm__states + 1));
  state->heap_high = record->head.facts->heap_high;
  state->memory_bytes = 0;
}

int mm__image_reset_held(uint32_t slot, struct mm__thread_record *thread, struct mm_error *error) {
  struct mm__record *record = &mm__tables.records[slot];
  struct mm__state *state = &mm__states[slot];
  state->kept_open = 0;
  mm__guard_close(record, state);
  mm__guard_empty_mailbox(record, state);
  mm__descriptors_close(record);
  mm__area_empty(record, state);
  bool done = mm__guard_reset(record, state);
  if (state->map_changed) restore_mappings(record, state);
  state->map_changed = 0;
  state->generation++;
  state->dead = 0;
  if (mm__tables.host.trace & MM__TRACE_IMAGE)
    mm__say("image: reset %s, generation %u", record->path, state->generation);
  int status = done ? mm__image_hooks(slot, thread, 1, error)
                    : mm__fail(error, MM_ERROR_SYSTEM,
                               "%s: the kernel does not give its memory back", record->path);
  state->is_used = 0; /* hooks are part of it */
  if (status != MM_OK) state->dead = MM__DEAD;
  return status;
}

int mm__image_reset(uint32_t slot, struct mm__thread_record *thread, struct mm_error *error) {
  struct mm__state *state = &mm__states[slot];
  int status = mm__image_enter(state, thread, 1);
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
    mm__guard_open_mailbox(record, state, low + MM__PAGE);
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
