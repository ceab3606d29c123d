/* core/gate/callback.c - what the reverse gate does in C. docs/gate.md argues the order of the
 * steps. */
#include "core/gate/callback.h"

#include "base/format.h"
#include "core/fault/fault.h"
#include "core/gate/gate.h"
#include "core/gate/stub_ring.h"
#include "core/guard/keys.h"
#include "core/guard/strict.h"

const char mm__callback_freed[] = "called a callback that was freed";

_Noreturn void mm__gate_end(uint32_t slot, const struct mm__outcome *outcome) {
  uint64_t mask = 0;
  mm__call(SYS_rt_sigprocmask, SIG_SETMASK, &mm__asynchronous_mask, &mask, 8);
  mm__callback_end(mm__fault_keep(slot, outcome, mask));
}

static _Noreturn void refuse(const struct mm__callback_frame *frame, const char *why) {
  uint64_t caller = *(const uint64_t *)(frame->caller_stack - 8);
  mm__gate_end(
      frame->slot,
      &(struct mm__outcome){.status = MM_ERROR_CALLBACK, .instruction = caller - 1, .text = why});
}

/* FS, though an image may have written over what says it: then the kernel is asked. */
static uint64_t find_fs(void) {
  uint64_t fs = mm__fs_read();
  bool sure = mm__has_fsgsbase || (MM__IN_ARENA(fs) && mm__states[MM__SLOT_OF(fs)].tls_base == fs);
  return sure ? fs : mm__fs_ask();
}

/* The newest call that the host made: below its frame the host's stack is free. */
static const struct mm__frame *newest_of_host(const struct mm__frame *frame) {
  while (MM__IN_ARENA(frame->host_fs)) frame = frame->outer;
  return frame;
}

struct mm__callback_frame *mm__callback_prepare(struct mm__callback_frame *here, uint64_t stub) {
  uint64_t fs = find_fs();
  const struct mm__callback *callback = mm__callback_at(stub);
  here->function = callback->is_freed ? 0 : (uint64_t)callback->target.function;
  if (!MM__IN_ARENA(fs)) return 0;
  here->slot = MM__SLOT_OF(fs);
  mm__gate_probe(here, here->slot);
  const struct mm__frame *host = newest_of_host(mm__states[here->slot].frame);
  uint64_t place = ((uint64_t)host - sizeof *here) & ~15ul;
  here->index = (uint32_t)(callback - mm__callbacks);
  here->stack_bytes = callback->target.stack_bytes;
  here->host_stack = (place - here->stack_bytes) & ~15ul;
  here->host_mxcsr = host->host_mxcsr;
  here->host_x87 = host->host_x87;
  here->image_fs = fs;
  here->host_fs = host->host_fs;
  here->call = mm__states[here->slot].frame;
  here->thread = (struct mm__thread_record *)here->call->thread;
  here->image_mark = (uint64_t)here - MM__CALLEE_GAP;
  memcpy((void *)place, here, sizeof *here);
  return (struct mm__callback_frame *)place;
}

/* Whether the image may call it; from here on it is running. */
static const char *admit(struct mm__callback *callback, uint32_t slot) {
  __atomic_fetch_add(&callback->running, 1, __ATOMIC_SEQ_CST);
  if (__atomic_load_n(&callback->is_freed, __ATOMIC_SEQ_CST) || !callback->serial)
    return mm__callback_freed;
  return callback->serial == mm__tables.records[slot].serial ? 0
                                                             : "called a callback of another image";
}

static void leave(struct mm__callback *callback) {
  __atomic_fetch_sub(&callback->running, 1, __ATOMIC_SEQ_CST);
}

void mm__callback_cross(struct mm__callback_frame *frame) {
  struct mm__callback *callback = &mm__callbacks[frame->index];
  struct mm__thread_record *thread = frame->thread;
  struct mm__state *state = &mm__states[frame->slot];
  const char *why = admit(callback, frame->slot);
  if (why) {
    leave(callback);
    refuse(frame, why);
  }
  if (mm__tables.host.trace & MM__TRACE_GATE)
    mm__say("gate: slot %u calls back 0x%lx", frame->slot, frame->function);
  frame->outer = thread->callback;
  thread->callback = frame;
  state->stack = frame->image_mark;
  frame->failed = 0;
  thread->anchor->selector = 0;
  frame->strict_depth = mm__strict_pause(thread);
  mm__fs_write(frame->host_fs);
  if (thread->deferred) mm__deferred_raise(thread);
}

_Noreturn void mm__callback_lost(void) {
  mm__say(
      "a callback was not left by its return, or not in the thread and in the order in which it "
      "was called: the call that it was for cannot end");
  mm__call(SYS_kill, mm__call(SYS_getpid), SIGKILL);
  __builtin_unreachable();
}

static bool is_whole(const struct mm__callback_frame *callback,
                     const struct mm__thread_record *thread) {
  return callback->thread == thread && callback->call->self == (uint64_t)callback->call;
}

/* A host may have stacks of its own making, on which we can tell nothing from addresses. */
void mm__callback_check(const struct mm__thread_record *thread, const struct mm__frame *frame) {
  const struct mm__anchor *anchor = thread->anchor;
  uint64_t here = (uint64_t)frame, callback = (uint64_t)thread->callback;
  if (!callback) return; /* a signal handler, between two steps of the gate */
  bool is_above = here > callback && here < anchor->own_high && callback >= anchor->own_low;
  if (is_above || !is_whole(thread->callback, thread)) mm__callback_lost();
}

/* In a child that was forked meanwhile, the thread has no record until it crosses again. */
static struct mm__thread_record *who_returns(const struct mm__callback_frame *frame) {
  uint64_t fs = mm__fs_read();
  if (fs != frame->host_fs) mm__callback_lost();
  struct mm__thread_record *thread = mm__thread_known(fs);
  if (!thread) thread = mm__thread_arm(fs, 0);
  if (thread != frame->thread || thread->callback != frame || thread->frame != frame->call)
    mm__callback_lost();
  return thread;
}

void mm__callback_finish(struct mm__callback_frame *frame) {
  struct mm__thread_record *thread = who_returns(frame);
  struct mm__state *state = &mm__states[frame->slot];
  struct mm__outcome outcome = {.status = MM_OK};
  mm__keys_apply(thread); /* the client may have left a signal handler by a jump */
  mm__keys_keep(thread);
  thread->crossings++;
  bool ready = mm__gate_look(thread, false, mm__tables.records[frame->slot].strict);
  thread->callback = frame->outer;
  mm__fs_write(frame->image_fs); /* first: on the host's FS its handlers may run */
  thread->anchor->selector = 1;
  leave(&mm__callbacks[frame->index]);
  int32_t strict = mm__strict_resume(thread, frame->strict_depth);
  if (!ready)
    outcome = (struct mm__outcome){.status = MM_ERROR_SYSTEM};
  else if (strict != MM_OK)
    outcome = (struct mm__outcome){.status = strict};
  else if (frame->failed)
    outcome = (struct mm__outcome){.status = MM_ERROR_CALLBACK, .text = thread->callback_text};
  else if (state->dead)
    outcome = (struct mm__outcome){.status = MM_ERROR_CALLBACK,
                                   .text = "a call into it from its callback ended in a fault"};
  else if (thread->ending)
    outcome = (struct mm__outcome){.status = mm__ending_take(thread)};
  if (outcome.status != MM_OK) mm__gate_end(frame->slot, &outcome);
}

void mm__callback_fail(const char *text) {
  struct mm__thread_record *thread;
  if (mm__thread_find(&thread, 0) != MM_OK || !thread->callback) return;
  mm__format(thread->callback_text, sizeof thread->callback_text, "%s",
             text && *text ? text : "a callback failed");
  thread->callback->failed = 1;
}
