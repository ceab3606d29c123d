/* core/slot/image.c - maps an image and unmaps it: every step of it is here, most are elsewhere. */
#include "core/slot/image.h"

#include "base/error.h"
#include "base/format.h"
#include "core/fault/fault.h"
#include "core/gate/gate.h"
#include "core/guard/guard.h"
#include "core/guard/keys.h"
#include "core/mediation/outside.h"
#include "core/slot/head.h"
#include "core/slot/opening.h"
#include "core/slot/place.h"

#include <time.h>

#define DEFAULT_MEMORY (1ull << 30)

/* Counters: nothing is permitted or forbidden by them, so they need not be closed at rest. */
static uint64_t last_serial;
static uint32_t mapped_count;

/* Serials are never used twice, also not by the next Matchmaker of this process: handles outlive
 * both. */
void mm__image_start(void) { last_serial = mm__now_ns(); }

/* Nothing changed yet since the snapshot. The first fields stay: the thread that maps holds the
 * image, and others with a stale stub may be waiting at its lock. */
static int start_state(const struct mm__image_opening *opening) {
  struct mm__state *state = &mm__states[opening->slot];
  const struct mm__facts *facts = opening->head.facts;
  uint64_t kept = __builtin_offsetof(struct mm__state, guard_open);
  memset((uint8_t *)state + kept, 0, sizeof *state - kept);
  state->tls_base = facts->tls_base;
  state->map.ranges = mm__kept_ranges(&opening->kept);
  state->map.capacity = MM__RANGE_LIMIT;
  state->rest = mm__guard_rest(opening->guard, opening->options->sealed);
  state->pieces = mm__kept_pieces(&opening->kept);
  struct mm__outside *outside = (struct mm__outside *)mm__kept_outside(&opening->kept);
  outside->descriptor_count = outside->refusal_count = 0;
  state->mailbox_high = facts->mailbox_low;
  state->heap_high = facts->heap_high;
  state->generation = 1;
  if (mm__place_list(state, &opening->head) == MM_OK) return MM_OK;
  return mm__fail(opening->error, MM_ERROR_LIMIT, "%s: too many segments", opening->name);
}

static int seal_head(const struct mm__image_opening *opening) {
  struct mm__granted *granted = mm__granted_of(&opening->kept);
  granted->longest_ns = opening->permission.timeout_ns;
  mm__format(granted->rule, sizeof granted->rule, "%s", opening->permission.rule);
  long result = mm__head_seal(&opening->kept, &opening->head, opening->permission.forbidden);
  if (!mm__failed(result)) return MM_OK;
  return mm__fail_system(opening->error, MM_ERROR_MEMORY, (int)-result, "%s", opening->name);
}

static void record_image(const struct mm__image_opening *opening, uint32_t stub_count) {
  struct mm__record *record = &mm__tables.records[opening->slot];
  record->guard = opening->guard;
  record->key = (uint8_t)opening->key;
  record->sealed = opening->options->sealed != 0;
  record->stateless = opening->options->stateless != 0;
  record->strict = opening->options->strict != 0;
  record->is_watched = record->strict || record->guard == MM_GUARD_PAGES;
  record->grants = opening->options->grants;
  record->folder_count = (uint16_t)opening->options->file_count;
  record->dead_on_fault = opening->options->dead_on_fault != 0;
  record->timeout_ns =
      opening->options->timeout_ns ? opening->options->timeout_ns : opening->permission.timeout_ns;
  record->memory_limit = opening->options->memory_bytes
                             ? opening->options->memory_bytes
                             : mm__lower_limit(DEFAULT_MEMORY, opening->permission.memory_bytes);
  record->stub_count = stub_count;
  record->file_bytes = (uint64_t)opening->facts.st_size;
  record->head = opening->head;
  record->entries = mm__kept_entries(&opening->kept);
  record->stack_pointer = opening->head.facts->stack_pointer;
  record->tls_base = opening->head.facts->tls_base;
  record->mxcsr = opening->head.facts->mxcsr;
  record->x87_control = (uint16_t)opening->head.facts->x87_control;
  mm__format(record->path, sizeof record->path, "%s", opening->path);
  record->kept = opening->kept;
  record->serial = ++last_serial;
  mapped_count++;
}

/* Keys where there are any; without one that is left, pages. */
static void choose_guard(struct mm__image_opening *opening) {
  uint32_t guard = opening->options->guard;
  if (guard == MM_GUARD_DEFAULT) guard = mm__tables.has_keys ? MM_GUARD_KEYS : MM_GUARD_PAGES;
  if (guard == MM_GUARD_KEYS) opening->key = mm__key_take(opening->options->sealed);
  opening->guard = guard == MM_GUARD_KEYS && !opening->key ? MM_GUARD_PAGES : guard;
}

/* Everything that can fail comes first; then the tables learn of it. The image is held then: nobody
 * calls before its hooks ran. */
static int build(struct mm__image_opening *opening) {
  opening->mapped_count = mapped_count;
  int status = mm__admit(opening);
  if (status != MM_OK) return status;
  opening->slot = opening->head.facts->slot;
  status = mm__folders_record(mm__granted_of(&opening->kept), opening->options, opening->name,
                              opening->error);
  if (status == MM_OK) status = mm__place_reserve(opening);
  if (status != MM_OK) return status;
  status = mm__image_enter(&mm__states[opening->slot], opening->thread, MM__FOR_EVER);
  if (status != MM_OK) {
    mm__place_release(opening->slot, 0);
    return mm__turn_failed(opening->name, status, opening->error);
  }
  uint32_t stub_count = opening->head.registry.export_count + opening->head.facts->hook_count;
  choose_guard(opening);
  status = mm__place_loads(opening);
  if (status == MM_OK) status = mm__place_stubs(opening, stub_count);
  if (status == MM_OK) status = seal_head(opening);
  if (status == MM_OK) status = start_state(opening);
  if (status == MM_OK) status = mm__record_open(&mm__tables.records[opening->slot], opening->error);
  if (status != MM_OK) {
    mm__place_release(opening->slot, stub_count);
    mm__key_give_back(opening->key);
    mm__image_leave(&mm__states[opening->slot]);
    return status;
  }
  record_image(opening, stub_count);
  mm__record_close(&mm__tables.records[opening->slot]);
  mm__key_open(opening->thread, opening->key);
  mm__guard_adopt(&mm__tables.records[opening->slot], &mm__states[opening->slot],
                  MM__SLOT_BASE(opening->slot), MM__SLOT_BASE(opening->slot + 1));
  return MM_OK;
}

int mm__image_map(const char *path, const struct mm_map_options *options, uint32_t *slot,
                  uint64_t *serial, struct mm_error *error) {
  struct mm_map_options chosen = {0};
  if (options) chosen = *options;
  char room[MM__BRIEF_BYTES];
  const char *name = mm__brief(path ? path : "", room);
  int status = mm__admit_options(name, &chosen, error);
  if (status != MM_OK) return status;
  struct mm__thread_record *thread;
  status = mm__thread_find(&thread, error);
  if (status != MM_OK) return status;
  status = mm__deadline_check(chosen.timeout_ns, error);
  if (status != MM_OK) return status;
  struct mm__image_opening opening = {
      .path = path, .name = name, .options = &chosen, .thread = thread, .error = error, .file = -1};
  mm__still_lock(&mm__core_lock);
  status = build(&opening);
  if (status != MM_OK) mm__head_release(&opening.kept);
  if (opening.file >= 0) mm__call(SYS_close, opening.file);
  if (status == MM_OK) {
    *slot = opening.slot;
    *serial = mm__tables.records[opening.slot].serial;
  }
  mm__still_unlock(&mm__core_lock);
  if (status != MM_OK) return status;
  if (mm__tables.host.trace & MM__TRACE_IMAGE)
    mm__say("image: mapped %s in slot %u, %u segments, %lu bytes", path, opening.slot,
            opening.head.load_count, opening.head.memory_bytes);
  struct mm__state *state = &mm__states[opening.slot];
  status = state->dead ? mm__guard_failed(state, error)
                       : mm__image_hooks(opening.slot, thread, 0, error);
  state->is_used = 0;
  mm__image_leave(state);
  if (status != MM_OK) mm__image_unmap(opening.slot, thread, 0);
  return status;
}

/* Everything that can be refused comes first, and then nothing has changed. */
static int take_out(struct mm__record *record, uint32_t slot, struct mm_error *error) {
  int status = mm__record_open(record, error);
  if (status != MM_OK) return status;
  long result = mm__place_release(slot, record->stub_count);
  if (mm__failed(result))
    status = mm__fail_system(error, MM_ERROR_MEMORY, (int)-result, "%s: cannot be unmapped",
                             record->path);
  else
    memset(record, 0, sizeof *record);
  mm__record_close(record);
  return status;
}

/* Under mm__core_lock. */
static int unmap(uint32_t slot, struct mm__thread_record *thread, struct mm_error *error) {
  struct mm__record *record = &mm__tables.records[slot];
  struct mm__state *state = &mm__states[slot];
  int status = mm__image_enter(state, thread, 0);
  if (status == MM_OK && state->holds > 1) {
    mm__image_leave(state);
    status = MM_ERROR_BUSY;
  }
  if (status != MM_OK) return mm__fail(error, status, "%s: a call is running", record->path);
  struct mm__record before = *record;
  mm__descriptors_close(record);
  status = take_out(record, slot, error);
  if (status == MM_OK) {
    if (mm__tables.host.trace & MM__TRACE_IMAGE)
      mm__say("image: unmapped %s from slot %u", before.path, slot);
    mm__key_close(thread, before.key);
    mm__key_give_back(before.key);
    mapped_count--;
    mm__head_release(&before.kept);
  }
  __atomic_store_n(&state->retired, 0, __ATOMIC_SEQ_CST);
  mm__image_leave(state);
  return status;
}

int mm__image_unmap(uint32_t slot, struct mm__thread_record *thread, struct mm_error *error) {
  mm__still_lock(&mm__core_lock);
  int status = unmap(slot, thread, error);
  mm__still_unlock(&mm__core_lock);
  return status;
}

static int try_to_retire(uint32_t slot, uint64_t serial, struct mm__thread_record *thread,
                         struct mm_error *error) {
  int status = MM_ERROR_UNMAPPED;
  mm__still_lock(&mm__core_lock);
  if (mm__record_of(slot, serial)) {
    __atomic_store_n(&mm__states[slot].retired, 1, __ATOMIC_SEQ_CST);
    status = unmap(slot, thread, error);
  }
  mm__still_unlock(&mm__core_lock);
  return status;
}

/* Said first, tried then: who is inside looks when it has let go of the lock. It may have looked just
 * before its letting go is seen here (gate/turn.c); a moment later that is seen, too. */
int mm__image_retire(uint32_t slot, uint64_t serial, struct mm__thread_record *thread,
                     struct mm_error *error) {
  const struct timespec moment = {0, 1000000};
  int status = try_to_retire(slot, serial, thread, error);
  bool by_others = __atomic_load_n(&mm__states[slot].owner, __ATOMIC_RELAXED) != &thread->seen;
  if (status != MM_ERROR_BUSY || !by_others) return status;
  mm__call(SYS_nanosleep, &moment, 0);
  return try_to_retire(slot, serial, thread, error);
}

void mm__image_unmap_retired(uint32_t slot, struct mm__thread_record *thread) {
  mm__still_lock(&mm__core_lock);
  if (mm__states[slot].retired && mm__tables.records[slot].serial) unmap(slot, thread, 0);
  mm__still_unlock(&mm__core_lock);
}
