/* core/gate/gate.c - prepares and finishes crossings. docs/gate.md argues the order of the steps.
 * What is on every call's way is inlined there, and asks before it calls what few calls need. */
#include "core/gate/gate.h"

#include "core/fault/fault.h"
#include "core/gate/batch.h"
#include "core/gate/callback.h"
#include "core/guard/guard.h"
#include "core/guard/keys.h"
#include "core/guard/strict.h"
#include "core/slot/image.h"

#include <sys/mman.h>

struct mm__state mm__states[MM__SLOT_COUNT];

#define ASK_EVERY    16ul       /* crossings between two looks at the clock */
#define LOOK_SHARE   100ul      /* of a thread's time looks take one part in so many */
#define LOOK_LONGEST 0x100000ul /* ticks; who takes longer was interrupted */
#define CALLER_ROOM  0x4000ul /* that the end of a call takes, with a reset, on its caller's stack */

const uint64_t mm__asynchronous_mask =
    ~(MM__SIGNAL_BIT(SIGSEGV) | MM__SIGNAL_BIT(SIGBUS) | MM__SIGNAL_BIT(SIGFPE) |
      MM__SIGNAL_BIT(SIGILL) | MM__SIGNAL_BIT(SIGTRAP) | MM__SIGNAL_BIT(SIGSYS));

int mm__image_enter(struct mm__state *state, struct mm__thread_record *thread, uint64_t wait_ns) {
  if (__atomic_load_n(&state->owner, __ATOMIC_RELAXED) == &thread->seen) {
    state->holds++;
    return MM_OK;
  }
  if (!mm__turn_try(state)) {
    int status = wait_ns ? mm__turn_wait(state, thread, wait_ns) : MM_ERROR_BUSY;
    if (status != MM_OK) return status;
  }
  __atomic_store_n(&state->owner, &thread->seen, __ATOMIC_RELAXED);
  state->holds = 1;
  uint32_t key = mm__tables.records[state - mm__states].key;
  if (key) mm__key_open(thread, key);
  return MM_OK;
}

void mm__image_settle(struct mm__state *state) {
  uint32_t slot = (uint32_t)(state - mm__states);
  struct mm__thread_record *thread = (struct mm__thread_record *)state->owner;
  if (!state->is_used || !mm__tables.records[slot].stateless || state->depth || state->dead) return;
  struct mm__outcome outcome = thread->seen.outcome;
  uint32_t kept_open = state->kept_open;
  mm__image_reset_held(slot, thread, 0);
  state->kept_open = kept_open;
  thread->seen.outcome = outcome;
}

void mm__image_leave(struct mm__state *state) {
  const struct mm__record *record = &mm__tables.records[state - mm__states];
  if (record->stateless && state->holds == 1) mm__image_settle(state);
  if (--state->holds) return;
  state->timeout_ns = state->waited_ns = 0;
  if (state->kept_open) {
    state->kept_open = 0;
    mm__guard_close(record, state);
  }
  if (state->mailbox_used || state->mailbox_open) mm__guard_empty_mailbox(record, state);
  struct mm__thread_record *thread = (struct mm__thread_record *)state->owner;
  if (record->key) mm__key_close(thread, record->key);
  __atomic_store_n(&state->owner, 0, __ATOMIC_RELAXED);
  mm__turn_end(state);
  if (__atomic_load_n(&state->retired, __ATOMIC_RELAXED))
    mm__image_unmap_retired((uint32_t)(state - mm__states), thread);
}

static const char *refusal_text(uint32_t slot, int32_t status) {
  if (status == MM_ERROR_BUSY) return mm__turn_circle;
  if (status == MM_ERROR_MEMORY) return mm__guard_refused;
  if (status == MM_ERROR_SYSTEM) return "the kernel refused what the call needs";
  return status == MM_ERROR_DEAD ? mm__guard_dead_text(mm__states[slot].dead) : 0;
}

static uint64_t refuse(struct mm__thread_record *thread, uint32_t slot, uint32_t index,
                       int32_t status) {
  const char *text = refusal_text(slot, status);
  if (thread)
    thread->seen.outcome =
        (struct mm__outcome){.status = status, .slot = slot, .export_index = index, .text = text};
  return 0;
}

/* The turn of `frame`'s call did not come. If that is because the call that this one was to be made
 * in has to end, it ends here: of zeros its image would make what it likes. So it does when it is strict,
 * and the client's code could not be closed again after the wait. */
static uint64_t give_up(struct mm__thread_record *thread, const struct mm__frame *frame,
                        int32_t status) {
  bool is_open = status == MM_ERROR_SYSTEM || status == MM_ERROR_LIMIT;
  if (MM__IN_ARENA(frame->host_fs) && (thread->ending || is_open)) {
    int32_t ends = thread->ending ? mm__ending_take(thread) : status;
    uint64_t caller = *(const uint64_t *)(frame->caller_stack - 8);
    mm__gate_end(MM__SLOT_OF(frame->host_fs),
                 &(struct mm__outcome){.status = ends, .instruction = caller - 1});
  }
  return refuse(thread, frame->slot, frame->export_index, status);
}

/* The thread that calls: from its anchor, or, when the caller is itself an image, from who is
 * inside that image. */
static struct mm__thread_record *caller(uint64_t fs) {
  if (MM__IN_ARENA(fs)) return (struct mm__thread_record *)mm__states[MM__SLOT_OF(fs)].owner;
  if (!fs) return 0;
  struct mm__thread_record *thread = mm__thread_known(fs);
  return thread ? thread : mm__thread_arm(fs, 0);
}

static void link_frame(struct mm__frame *frame, struct mm__state *state,
                       struct mm__thread_record *thread) {
  frame->self = (uint64_t)frame;
  frame->thread = &thread->seen;
  frame->outer = thread->frame;
  frame->outer_here = state->frame;
  frame->outer_stack = state->stack;
  thread->frame = frame;
  state->frame = frame;
  state->depth++;
  thread->seen.depth++;
}

/* The outermost call of a thread that has a limit decides how long it may take, since before its
 * turn came; nothing is left of that behind it. */
static bool limit(struct mm__thread_record *thread, const struct mm__record *record,
                  struct mm__state *state) {
  uint64_t timeout_ns = state->timeout_ns ? state->timeout_ns : record->timeout_ns;
  if (thread->is_limited || timeout_ns == 0) return true;
  uint64_t waited_ns = state->waited_ns;
  state->waited_ns = 0;
  thread->limited_depth = thread->seen.depth;
  return mm__deadline_arm(thread, timeout_ns > waited_ns ? timeout_ns - waited_ns : 1);
}

static void unlimit(struct mm__thread_record *thread) {
  if (thread->is_limited && thread->seen.depth == thread->limited_depth)
    mm__deadline_disarm(thread);
}

static bool look_at_all(struct mm__thread_record *thread) {
  uint64_t start = __builtin_ia32_rdtsc();
  mm__signals_look();
  bool ready = mm__thread_ready(thread);
  thread->looked_at = __builtin_ia32_rdtsc();
  uint64_t took = thread->looked_at - start;
  thread->look_pause = LOOK_SHARE * (took < LOOK_LONGEST ? took : LOOK_LONGEST);
  return ready;
}

bool mm__gate_look(struct mm__thread_record *thread, bool first, bool always) {
  bool ask = thread->crossings % ASK_EVERY == 0;
  if (first || mm__tables.host.look == MM_LOOK_ALWAYS ||
      (ask && __builtin_ia32_rdtsc() - thread->looked_at >= thread->look_pause))
    return look_at_all(thread);
  if (always) {
    mm__signals_glance();
    mm__thread_unblock();
  }
  return true;
}

/* To ask takes system calls: where a call makes some anyway, it asks for what it cannot do without. */
__attribute__((noinline)) static bool look(const struct mm__record *record,
                                           const struct mm__state *state,
                                           struct mm__thread_record *thread) {
  bool is_open = state->guard_open && state->owner == &thread->seen;
  return mm__gate_look(thread, state->calls == 0, record->is_watched && !is_open);
}

__attribute__((noinline)) static void mask_signals(struct mm__frame *frame) {
  uint64_t mask = mm__asynchronous_mask;
  if (mm__tables.deadline_signal) mask &= ~MM__SIGNAL_BIT(mm__tables.deadline_signal);
  if (mm__interrupt_ends()) mask &= ~MM__SIGNAL_BIT(SIGINT);
  mm__call(SYS_rt_sigprocmask, SIG_SETMASK, &mask, &frame->host_mask, 8);
}

void mm__gate_probe(const void *frame, uint32_t slot) {
  uint64_t low = mm__tables.records[slot].head.facts->stack_low;
  if ((uint64_t)frame - low < CALLER_ROOM) (void)*(const volatile uint8_t *)(low - 1);
}

/* An image may have other stacks, as of coroutines, and only what lies below says where one ends. What
 * the image may not write to faults, as the guard page of its own stack does. */
static void probe_any_stack(const struct mm__frame *frame, uint32_t slot) {
  const struct mm__slot_map *map = &mm__states[slot].map;
  uint64_t at = (uint64_t)frame, low = at;
  if (MM__SLOT_OF(at) != slot || mm__slot_map_covers(map, at - CALLER_ROOM, at, PROT_WRITE)) return;
  for (uint32_t i = mm__slot_map_find(map, low - 1);
       i < map->count && mm__slot_map_covers(map, low - 1, low, PROT_WRITE); i--)
    low = map->ranges[i].low;
  *(volatile uint8_t *)(low - 1) = 0;
}

static void probe(const struct mm__frame *frame, uint32_t slot) {
  mm__gate_probe(frame, slot);
  probe_any_stack(frame, slot);
}

/* Calls are noted where the Matchmaker may write and the image may read, or nowhere. */
static bool is_noted(const struct mm__record *record, const struct mm__frame *frame) {
  const struct mm__facts *facts = record->head.facts;
  return frame->rdi >= facts->mailbox_low && frame->rdi < facts->mailbox_high &&
         frame->rdi % 16 == 0 && frame->rsi != 0;
}

/* Whether the image that was taken may be called so. */
static int32_t admit(const struct mm__record *record, const struct mm__state *state,
                     struct mm__frame *frame) {
  if (!record->serial) return MM_ERROR_UNMAPPED;
  if (frame->export_index >= record->stub_count) return MM_ERROR_NO_EXPORT;
  const struct mm__entry *entry = &record->entries[frame->export_index];
  if (entry->is_forbidden) return MM_ERROR_POLICY;
  if (frame->is_batch && !is_noted(record, frame)) return MM_ERROR_ARGUMENT;
  if (!frame->is_batch) frame->x87_result = entry->x87_result;
  return state->dead ? MM_ERROR_DEAD : MM_OK;
}

/* The image is opened, and the client's code closed to one that is strict. */
static int32_t open_up(const struct mm__record *record, struct mm__state *state,
                       struct mm__thread_record *thread, uint32_t index) {
  int32_t status = MM_OK;
  if (state->depth == 0 && record->guard == MM_GUARD_PAGES && !mm__guard_open(record, state, index))
    status = MM_ERROR_MEMORY;
  if (status == MM_OK && record->strict) status = mm__strict_enter(thread);
  if (status != MM_OK && state->depth == 0) mm__guard_close(record, state);
  return status;
}

/* What batch.S reads in the frame, beside the batch and its count. */
static void run_batch(struct mm__frame *frame, const struct mm__thread_record *thread) {
  frame->rdx = frame->entry;
  frame->rcx = (uint64_t)&thread->deferred;
  frame->r8 = (uint64_t)frame;
  frame->entry = (uint64_t)mm__batch_run;
  frame->stack_bytes = 0;
}

/* Over to the image's FS: from then on a fault is the call's. */
static void cross(struct mm__frame *frame, const struct mm__record *record,
                  struct mm__state *state) {
  const struct mm__entry *entry = &record->entries[frame->export_index];
  frame->entry = entry->address;
  frame->image_mxcsr = record->mxcsr;
  frame->image_x87 = record->x87_control;
  if (!frame->stack_bytes) frame->stack_bytes = entry->stack_bytes;
  struct mm__thread_record *thread = (struct mm__thread_record *)frame->thread;
  if (frame->is_batch) run_batch(frame, thread);
  frame->rights = record->key ? mm__keys_keep(thread) : 0;
  mm__fs_write(record->tls_base);
  frame->image_stack = (state->stack - frame->stack_bytes) & ~15ul;
  state->stack = frame->image_stack;
  thread->anchor->selector = 1;
  state->calls++;
  state->is_used = 1;
}

__attribute__((flatten)) uint64_t mm__gate_prepare(struct mm__frame *frame, uint64_t stub) {
  uint64_t place = stub - (MM__ARENA_LOW + MM__STUBS_OFFSET);
  uint64_t fs = mm__fs_read();
  frame->slot = (uint32_t)(place >> MM__STUBS_SLOT_SHIFT);
  frame->export_index =
      (uint32_t)(place >> MM__STUB_SHIFT) & (MM__STUB_LIMIT + MM__STUBS_PER_PAGE - 1);
  frame->host_fs = fs;
  frame->is_batch = stub & 1; /* batch.S; a stub's address is even */
  frame->x87_result = 0;
  struct mm__thread_record *thread = caller(fs);
  if (!thread) return 0;
  if (MM__IN_ARENA(fs) && !thread->in_hook) probe(frame, MM__SLOT_OF(fs));
  if (thread->seen.depth && !MM__IN_ARENA(fs)) mm__callback_check(thread, frame);
  const struct mm__record *record = &mm__tables.records[frame->slot];
  struct mm__state *state = &mm__states[frame->slot];
  bool may_look = ++thread->crossings % ASK_EVERY == 0 || state->calls == 0 || record->is_watched ||
                  mm__tables.host.look;
  if (may_look && !MM__IN_ARENA(fs) && !look(record, state, thread))
    return refuse(thread, frame->slot, frame->export_index, MM_ERROR_SYSTEM);
  int32_t status = mm__image_enter(state, thread, mm__gate_patience(thread, record, 0));
  if (status != MM_OK) return give_up(thread, frame, status);
  frame->stack_bytes = state->stack_bytes;
  state->stack_bytes = 0;
  status = admit(record, state, frame);
  if (status == MM_OK && !limit(thread, record, state)) status = MM_ERROR_SYSTEM;
  if (status == MM_OK) status = open_up(record, state, thread, frame->export_index);
  if (status != MM_OK) {
    unlimit(thread);
    mm__image_leave(state);
    return refuse(thread, frame->slot, frame->export_index, status);
  }
  frame->masked = mm__tables.host.signals == MM_SIGNALS_MASK && !MM__IN_ARENA(fs);
  if (frame->masked) mask_signals(frame);
  if (state->depth == 0) {
    thread->seen.outcome.refused_count = 0;
    state->stack = record->stack_pointer - MM__CALLEE_GAP;
  }
  link_frame(frame, state, thread);
  if (MM__IN_ARENA(fs)) mm__states[MM__SLOT_OF(fs)].stack = (uint64_t)frame - MM__CALLEE_GAP;
  cross(frame, record, state);
  if (mm__tables.host.trace & MM__TRACE_GATE) mm__trace_enter(frame);
  return 1;
}

/* Undoes prepare, in its order backwards. */
static void unwind(struct mm__frame *frame, struct mm__state *state,
                   struct mm__thread_record *thread) {
  if (mm__tables.records[frame->slot].strict) mm__strict_leave(thread);
  thread->anchor->selector = MM__IN_ARENA(frame->host_fs);
  mm__fs_write(frame->host_fs);
  state->stack = frame->outer_stack;
  state->frame = frame->outer_here;
  thread->frame = frame->outer;
  thread->seen.depth--;
  state->depth--;
  frame->self = 0;
}

/* How many calls of a batch have returned; the image may say what it likes. */
static uint64_t returned(const struct mm__frame *frame, uint64_t done) {
  return done < frame->rsi ? done : frame->rsi;
}

static void leave(struct mm__frame *frame, struct mm__state *state,
                  struct mm__thread_record *thread) {
  unlimit(thread);
  if (thread->seen.depth == 0) thread->ending = MM_OK;
  mm__image_leave(state);
  if (frame->masked) mm__call(SYS_rt_sigprocmask, SIG_SETMASK, &frame->host_mask, 0, 8);
  if (thread->deferred && !MM__IN_ARENA(frame->host_fs)) mm__deferred_raise(thread);
}

__attribute__((flatten)) void mm__gate_finish(struct mm__frame *frame) {
  struct mm__thread_record *thread = (struct mm__thread_record *)frame->thread;
  struct mm__state *state = &mm__states[frame->slot];
  const struct mm__record *record = &mm__tables.records[frame->slot];
  unwind(frame, state, thread);
  if (frame->is_batch) {
    frame->rax = returned(frame, frame->rax ? frame->rax : 1);
    state->calls += frame->rax - 1;
  }
  if (mm__tables.host.trace & MM__TRACE_GATE) mm__trace_leave(frame);
  if (state->depth == 0 && state->guard_open) {
    mm__guard_close(record, state);
    if (state->dead >= MM__SHUT) /* what it returned may point into it */
      frame->rax = frame->rdx = refuse(thread, frame->slot, frame->export_index, MM_ERROR_DEAD);
  }
  leave(frame, state, thread);
}

struct mm__frame *mm__gate_finish_fault(struct mm__frame *frame) {
  struct mm__thread_record *thread = (struct mm__thread_record *)frame->thread;
  struct mm__state *state = &mm__states[frame->slot];
  const struct mm__record *record = &mm__tables.records[frame->slot];
  bool from_image = MM__IN_ARENA(frame->host_fs);
  struct mm__frame *outer = frame->outer;
  unwind(frame, state, thread);
  if (mm__tables.host.trace & MM__TRACE_GATE) mm__trace_leave(frame);
  const struct mm__batch_head *batch = (const struct mm__batch_head *)frame->rdi;
  thread->seen.outcome.done =
      frame->is_batch && state->dead < MM__SHUT ? returned(frame, batch->done) : 0;
  state->calls += thread->seen.outcome.done;
  /* Between two of its own calls an image cannot be put back: the outer one ends when its callback
   * returns. */
  if (state->depth && !state->dead) state->dead = MM__DEAD;
  if (state->depth == 0) {
    state->faults++;
    if (record->dead_on_fault || thread->in_hook) {
      state->kept_open = 0;
      mm__guard_close(record, state);
      if (!state->dead) state->dead = MM__DEAD;
    } else {
      struct mm__outcome outcome = thread->seen.outcome;
      bool was_reset = mm__image_reset_held(frame->slot, thread, 0) == MM_OK;
      if (outcome.slot == frame->slot) outcome.was_reset = was_reset;
      thread->seen.outcome = outcome;
    }
  }
  /* The mask of the interrupted code comes back with everything else. */
  if (!from_image && !frame->masked)
    mm__call(SYS_rt_sigprocmask, SIG_SETMASK, &frame->host_mask, 0, 8);
  leave(frame, state, thread);
  return from_image ? outer : 0;
}

_Noreturn void mm__gate_lost(void) {
  mm__say("the gate lost its frame: FS is %lx on the way back from an image", mm__fs_ask());
  mm__call(SYS_kill, mm__call(SYS_getpid), SIGKILL);
  __builtin_unreachable();
}
