/* core/entry.c - the call table: what the world outside may ask of the Matchmaker. */
#include "base/error.h"
#include "base/format.h"
#include "core/fault/fault.h"
#include "core/gate/callback.h"
#include "core/gate/gate.h"
#include "core/guard/guard.h"
#include "core/guard/keys.h"
#include "core/lockdown.h"
#include "core/mediation/mediation.h"
#include "core/mediation/outside.h"
#include "core/slot/area.h"
#include "core/slot/head.h"
#include "core/slot/image.h"
#include "image/cpu.h"

#include <errno.h>
#include <sys/mman.h>

__attribute__((section(".tables"), aligned(4096))) struct mm__tables mm__tables;
uint32_t mm__users;
struct mm__still_lock mm__life_lock;

int mm__serve_start(const struct mm__serve *serve, struct mm_error *error);

static int gone(struct mm_error *error) {
  return mm__fail(error, MM_ERROR_UNMAPPED, "the image is not mapped any more");
}

static void configure(const struct mm__host *host) {
  struct mm__host *kept = &mm__tables.host;
  bool first = mm__users == 0;
  struct mm__host before = *kept;
  if (!first && !host->configured) return;
  *kept = *host;
  if (!first) { /* what threads were armed with stays */
    kept->anchor_offset = before.anchor_offset;
    kept->thread_started = before.thread_started;
    kept->without = before.without;
    kept->rseq_offset = before.rseq_offset;
  }
  if (!kept->image_limit) kept->image_limit = 256;
  if (!kept->export_limit) kept->export_limit = 4096;
  if (!kept->image_bytes_limit) kept->image_bytes_limit = 16ull << 30;
}

static void unmap_stub_page(void) {
  mm__call(SYS_munmap, MM__ARENA_LOW + MM__STUBS_OFFSET, MM__PAGE);
}

static int map_stub_page(struct mm_error *error) {
  long page = mm__call(SYS_mmap, MM__ARENA_LOW + MM__STUBS_OFFSET, MM__PAGE, PROT_READ | PROT_WRITE,
                       MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
  if (mm__failed(page))
    return mm__fail_system(error, MM_ERROR_MEMORY, (int)-page, "cannot map the page of stubs");
  memcpy((void *)page, mm__stub_page, MM__PAGE);
  long result = mm__call(SYS_mprotect, page, MM__PAGE, PROT_READ | PROT_EXEC);
  if (!mm__failed(result)) return MM_OK;
  unmap_stub_page();
  return mm__fail_system(error, MM_ERROR_MEMORY, (int)-result, "cannot map the page of stubs");
}

static int start(const struct mm__host *host, struct mm_error *error) {
  mm__cpu_features(mm__tables.cpu);
  mm__has_fsgsbase = host->has_fsgsbase && !(host->without & MM_WITHOUT_FSGSBASE);
  mm__keys_start();
  mm__image_start();
  /* Before Linux 4.14, which cannot, there is no Syscall User Dispatch either. */
  long result =
      mm__call(SYS_madvise, mm__wiped_start, mm__wiped_end - mm__wiped_start, MADV_WIPEONFORK);
  if (mm__failed(result))
    return mm__fail_system(error, MM_ERROR_MEMORY, (int)-result, "cannot prepare for forks");
  mm__wiped.is_same_process = 1;
  int status = mm__heads_start(error);
  if (status != MM_OK) return status;
  status = map_stub_page(error);
  if (status == MM_OK) {
    status = mm__signals_install(error);
    if (status == MM_OK) return MM_OK;
    mm__signals_restore();
    unmap_stub_page();
  }
  mm__heads_stop();
  return status;
}

static int stop(struct mm__thread_record *thread, struct mm_error *error) {
  for (uint32_t slot = 1; slot < MM__SLOT_COUNT; slot++) {
    if (!mm__tables.records[slot].serial) continue;
    int status = mm__image_unmap(slot, thread, error);
    if (status != MM_OK) return status;
  }
  mm__still_lock(&mm__core_lock);
  int status = mm__tables_open(error);
  if (status == MM_OK) {
    if (!mm__signals_restore())
      status = mm__fail(error, MM_ERROR_SYSTEM, "cannot put the signal handlers back");
    mm__tables_close();
  }
  if (status == MM_OK) {
    mm__callbacks_stop();
    unmap_stub_page();
    mm__heads_stop();
  }
  mm__still_unlock(&mm__core_lock);
  return status;
}

/* One user less. Under mm__life_lock. */
static int release(struct mm__thread_record *thread, int *last, struct mm_error *error) {
  if (mm__users == 1) {
    if (thread && thread->seen.depth)
      return mm__fail(error, MM_ERROR_BUSY, "a call is running in this thread");
    int status = stop(thread ? thread : &mm__threads[MM__THREAD_LIMIT], error);
    if (status != MM_OK) return status;
    if (thread) mm__thread_disarm(thread);
    for (uint32_t i = 0; i < MM__THREAD_LIMIT; i++) mm__deadline_forget(&mm__threads[i]);
    *last = !mm__tables.locked_down;
  }
  mm__users--;
  return MM_OK;
}

static int init(const struct mm__host *host, int *last, struct mm_error *error) {
  *last = 0;
  if (host->size_bytes != sizeof *host)
    return mm__fail(
        error, MM_ERROR_VERSION,
        "this process holds a Matchmaker of another version; use one library in a process");
  mm__still_lock(&mm__life_lock);
  mm__still_lock(&mm__core_lock);
  int status = mm__tables_open(error);
  if (status == MM_OK) {
    configure(host);
    if (mm__users == 0) status = start(host, error);
    mm__tables_close();
  }
  if (status == MM_OK) mm__users++;
  mm__still_unlock(&mm__core_lock);
  /* Armed now, so that a machine that cannot do it says so here. */
  struct mm__thread_record *thread;
  bool counted = status == MM_OK;
  if (counted) status = mm__thread_find(&thread, error);
  if (counted && status != MM_OK) release(0, last, 0);
  *last = status != MM_OK && mm__users == 0 && !mm__tables.locked_down;
  mm__still_unlock(&mm__life_lock);
  return status;
}

static int finalize(int *last, struct mm_error *error) {
  uint64_t fs = mm__fs_read();
  *last = 0;
  if (MM__IN_ARENA(fs)) return mm__fail(error, MM_ERROR_BUSY, "called from inside an image");
  mm__still_lock(&mm__life_lock);
  *last = mm__users == 0 && !mm__tables.locked_down;
  int status = mm__users == 0
                   ? mm__fail(error, MM_ERROR_NOT_CONNECTED, "the Matchmaker is not mapped")
                   : release(fs ? mm__thread_known(fs) : 0, last, error);
  mm__still_unlock(&mm__life_lock);
  return status;
}

static int head(uint32_t slot, uint64_t serial, const struct mm__head **result,
                struct mm_error *error) {
  const struct mm__record *record = mm__record_of(slot, serial);
  if (!record) return gone(error);
  *result = &record->head;
  return MM_OK;
}

static int bind(uint32_t slot, uint64_t serial, uint32_t index, const struct mm__registry *expected,
                uint32_t type, void **stub, struct mm_error *error) {
  const struct mm__record *record = mm__record_of(slot, serial);
  if (!record) return gone(error);
  const struct mm__registry *registry = &record->head.registry;
  if (index >= registry->export_count)
    return mm__fail(error, MM_ERROR_NO_EXPORT, "%s has no export number %u", record->path, index);
  const struct mm__export *export = &registry->exports[index];
  if (type >= expected->type_count || expected->types[type].kind != MM__FUNCTION ||
      !(mm__type_equal(expected, type, registry, export->type) ||
        mm__type_calls(expected, type, registry, export->type))) {
    char wanted[256] = "?";
    if (type < expected->type_count)
      mm__type_text(expected, type, registry->strings + export->name, wanted, sizeof wanted);
    return mm__fail(error, MM_ERROR_SIGNATURE, "%s: expected `%s`, the image has `%s`",
                    registry->strings + export->name, wanted,
                    registry->strings + export->prototype);
  }
  *stub = (void *)mm__stub_address(slot, index);
  return MM_OK;
}

/* Whether what is done around each call cannot be done around many. */
static uint32_t one_by_one(const struct mm__record *record, const struct mm__state *state) {
  return record->stateless || record->timeout_ns || state->timeout_ns ||
         mm__tables.host.signals == MM_SIGNALS_MASK;
}

static int enter(uint32_t slot, uint64_t serial, uint64_t wait_ns, struct mm__hold *hold,
                 struct mm_error *error) {
  struct mm__thread_record *thread;
  int status = mm__thread_find(&thread, error);
  if (status != MM_OK) return status;
  const struct mm__record *record = mm__record_of(slot, serial);
  if (!record) return gone(error);
  struct mm__state *state = &mm__states[slot];
  status = mm__image_enter(state, thread, mm__gate_patience(thread, record, wait_ns));
  if (status != MM_OK) return mm__turn_failed(record->path, status, error);
  if (record->serial != serial)
    status = gone(error);
  else if (state->dead)
    status = mm__fail(error, MM_ERROR_DEAD, "%s", mm__guard_dead_text(state->dead));
  if (status != MM_OK)
    mm__image_leave(state);
  else
    *hold = (struct mm__hold){&thread->seen, slot, state->generation, state->mailbox_used,
                              one_by_one(record, state)};
  return status;
}

static void leave(const struct mm__hold *hold) {
  struct mm__state *state = &mm__states[hold->slot];
  mm__image_settle(state);
  mm__guard_trim_mailbox(&mm__tables.records[hold->slot], state, hold->mailbox_mark);
  mm__image_leave(state);
}

static void keep_open(const struct mm__hold *hold) { mm__states[hold->slot].kept_open = 1; }

static int limit(const struct mm__hold *hold, uint64_t timeout_ns, struct mm_error *error) {
  const struct mm__granted *granted = mm__granted_of(&mm__tables.records[hold->slot].kept);
  int status = mm__deadline_check(timeout_ns, error);
  if (status == MM_OK && granted->longest_ns && timeout_ns > granted->longest_ns)
    status = mm__fail(error, MM_ERROR_LIMIT, "a call may take %lu ms by %s, not %lu",
                      granted->longest_ns / 1000000, granted->rule, timeout_ns / 1000000);
  if (status == MM_OK) mm__states[hold->slot].timeout_ns = timeout_ns;
  return status;
}

static int stack(const struct mm__hold *hold, uint64_t bytes, struct mm_error *error) {
  if (bytes > MM__STACK_ARGUMENTS_LIMIT || bytes % 8)
    return mm__fail(error, MM_ERROR_LIMIT, "%lu bytes of arguments on the stack", bytes);
  mm__states[hold->slot].stack_bytes = (uint32_t)bytes;
  return MM_OK;
}

static int stage(const struct mm__hold *hold, const void *bytes, uint64_t size, uint64_t *address,
                 struct mm_error *error) {
  const struct mm__record *record = &mm__tables.records[hold->slot];
  struct mm__state *state = &mm__states[hold->slot];
  uint64_t low = record->head.facts->mailbox_low, room = record->head.facts->mailbox_high - low;
  uint64_t start_at = (state->mailbox_used + 15) & ~15ul;
  if (start_at > room || size > room - start_at)
    return mm__fail(error, MM_ERROR_LIMIT,
                    "the arguments are %lu bytes long, the mailbox holds %lu", start_at + size,
                    room);
  if (!mm__guard_open_mailbox(record, state, low + start_at + size))
    return mm__guard_failed(state, error);
  char *to = (char *)low + start_at;
  memset(bytes ? to + size - 1 : to, 0, bytes ? 1 : size);
  if (bytes) memcpy(to, bytes, size - 1); /* its end may have changed by now */
  state->mailbox_used = start_at + size;
  *address = low + start_at;
  return MM_OK;
}

static size_t call_text(uint32_t number, char *text, size_t size) {
  const char *name = mm__call_name(number);
  return name ? mm__format(text, size, "%s", name) : mm__format(text, size, "syscall_%u", number);
}

static void name_refused(const struct mm__outcome *outcome, struct mm_error *error) {
  size_t length = 0, size = sizeof error->refused;
  uint32_t most = sizeof outcome->refused / sizeof *outcome->refused;
  for (uint32_t i = 0; i < outcome->refused_count && i < most; i++) {
    if (length) length += mm__format(error->refused + length, size - length, ", ");
    length += call_text(outcome->refused[i], error->refused + length, size - length);
  }
}

/* Of a thread that could not be made ready for calls. */
static int refusal_of(uint64_t fs, struct mm_error *error) {
  if (!fs || MM__IN_ARENA(fs)) return MM_OK;
  struct mm__anchor *anchor = mm__thread_anchor(fs);
  int status = anchor->refused;
  anchor->refused = MM_OK;
  if (status == MM_OK) return MM_OK;
  return mm__fail(error, status, "the call was not made: %s", mm_error_text(status));
}

static int outcome_of(struct mm_error *error) {
  uint64_t fs = mm__fs_read();
  struct mm__thread_record *thread = fs && !MM__IN_ARENA(fs) ? mm__thread_known(fs) : 0;
  if (!thread) return refusal_of(fs, error);
  struct mm__outcome outcome = thread->seen.outcome;
  memset(&thread->seen.outcome, 0, sizeof thread->seen.outcome);
  if (outcome.status == MM_OK || !error) return outcome.status;
  char text[sizeof outcome.said];
  mm__outcome_text(&outcome, text, sizeof text);
  mm__fail(error, outcome.status, "%s", text);
  error->signal = outcome.signal;
  error->access = outcome.access;
  error->exit_status = outcome.exit_status;
  error->slot = outcome.slot;
  error->address = outcome.address;
  error->instruction = outcome.instruction;
  error->was_reset = outcome.was_reset;
  name_refused(&outcome, error);
  const struct mm__record *record = &mm__tables.records[outcome.slot];
  if (record->serial) {
    if (outcome.status == MM_ERROR_POLICY)
      mm__format(error->message, sizeof error->message, "%s does not allow this call",
                 mm__granted_of(&record->kept)->rule);
    mm__format(error->image, sizeof error->image, "%s", record->path);
    const struct mm__registry *registry = &record->head.registry;
    if (outcome.export_index < registry->export_count)
      mm__format(error->export_name, sizeof error->export_name, "%s",
                 registry->strings + registry->exports[outcome.export_index].name);
  }
  return outcome.status;
}

/* Looks for the NUL, page by page as far as the image could read. */
static int find_end(const struct mm__record *record, struct mm__state *state, uint64_t address,
                    uint64_t limit, uint64_t *length, struct mm_error *error) {
  for (uint64_t i = 0; i < limit;) {
    uint64_t page = (address + i) & ~(MM__PAGE - 1ul);
    if (!mm__slot_map_covers(&state->map, page, page + MM__PAGE, PROT_READ))
      return mm__fail(error, MM_ERROR_RESULT, "0x%lx is not a string in the image", address);
    if (!mm__guard_need(record, state, page, page + MM__PAGE, PROT_READ))
      return mm__guard_failed(state, error);
    for (; i < limit && address + i < page + MM__PAGE; i++)
      if (*(const char *)(address + i) == 0) {
        *length = i;
        return MM_OK;
      }
  }
  return mm__fail(error, MM_ERROR_RESULT, "0x%lx is a string without end", address);
}

static int string(const struct mm__hold *hold, uint64_t address, uint64_t limit, uint64_t *length,
                  struct mm_error *error) {
  const struct mm__record *record = &mm__tables.records[hold->slot];
  struct mm__state *state = &mm__states[hold->slot];
  bool begun = mm__guard_begin(record, state);
  int status = find_end(record, state, address, limit, length, error);
  if (begun) mm__guard_close(record, state);
  return status;
}

static int reset(uint32_t slot, uint64_t serial, struct mm_error *error) {
  struct mm__thread_record *thread;
  int status = mm__thread_find(&thread, error);
  if (status != MM_OK) return status;
  return mm__record_of(slot, serial) ? mm__image_reset(slot, thread, error) : gone(error);
}

static int unmap(uint32_t slot, uint64_t serial, struct mm_error *error) {
  struct mm__thread_record *thread;
  int status = mm__thread_find(&thread, error);
  if (status != MM_OK) return status;
  return mm__record_of(slot, serial) ? mm__image_unmap(slot, thread, error) : gone(error);
}

/* A thread that never crossed will, where it can. */
static bool closes_client(const struct mm__record *record) {
  uint64_t fs = mm__fs_read();
  const struct mm__thread_record *thread = fs ? mm__thread_known(fs) : 0;
  return record->key && (thread ? thread->closes : mm__closing);
}

static int retire(uint32_t slot, uint64_t serial, struct mm_error *error) {
  struct mm__thread_record *thread;
  int status = mm__thread_find(&thread, error);
  return status == MM_OK ? mm__image_retire(slot, serial, thread, error) : status;
}

static int list(uint32_t slot, struct mm_image_info *info, struct mm_error *error) {
  if (slot == 0 || slot >= MM__SLOT_COUNT || !mm__tables.records[slot].serial)
    return mm__fail(error, MM_ERROR_UNMAPPED, "no image is mapped in slot %u", slot);
  const struct mm__record *record = &mm__tables.records[slot];
  const struct mm__state *state = &mm__states[slot];
  memset(info, 0, sizeof *info);
  mm__format(info->path, sizeof info->path, "%s", record->path);
  info->slot = slot;
  info->guard = record->guard;
  info->generation = state->generation;
  info->export_count = record->head.registry.export_count;
  info->segment_count = record->head.load_count;
  info->dead = state->dead != 0;
  info->sealed = record->sealed;
  info->stateless = record->stateless;
  info->strict = record->strict;
  info->locked_down = mm__tables.locked_down;
  info->closes_client = closes_client(record);
  info->base = MM__SLOT_BASE(slot);
  info->mapped_bytes = record->head.memory_bytes;
  info->file_bytes = record->file_bytes;
  info->calls = state->calls;
  info->faults = state->faults;
  info->guard_changes = state->guard_changes;
  return MM_OK;
}

static int refused(uint32_t slot, uint64_t serial, uint32_t index, struct mm_refusal *refusal,
                   struct mm_error *error) {
  const struct mm__record *record = mm__record_of(slot, serial);
  if (!record) return gone(error);
  const struct mm__outside *outside = mm__outside_of(record);
  if (index >= outside->refusal_count)
    return mm__fail(error, MM_ERROR_ARGUMENT, "%s was refused less", record->path);
  const struct mm__refusal *known = &outside->refusals[index];
  call_text(known->number, refusal->call, sizeof refusal->call);
  mm__format(refusal->path, sizeof refusal->path, "%s", known->path);
  refusal->count = known->count;
  return MM_OK;
}

__attribute__((section(".core_table"), used)) const struct mm__core_table mm__core_table = {
    .magic = MM__CORE_MAGIC,
    .version = MM__CORE_VERSION,
    .size_bytes = sizeof(struct mm__core_table),
    .init = init,
    .finalize = finalize,
    .thread_ended = mm__thread_ended,
    .fork = mm__fork,
    .map = mm__image_map,
    .head = head,
    .bind = bind,
    .enter = enter,
    .leave = leave,
    .keep_open = keep_open,
    .limit = limit,
    .stack = stack,
    .stage = stage,
    .batch = mm__batch_enter,
    .string = string,
    .claim = mm__area_claim,
    .release = mm__area_release,
    .read = mm__area_read,
    .write = mm__area_write,
    .callback_make = mm__callback_make,
    .callback_free = mm__callback_free,
    .callback_fail = mm__callback_fail,
    .outcome = outcome_of,
    .reset = reset,
    .unmap = unmap,
    .retire = retire,
    .list = list,
    .refused = refused,
    .lockdown = mm__lockdown,
    .serve = mm__serve_start,
};
