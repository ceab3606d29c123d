/* core/fault/interrupt.c - Ctrl-C ends the call that it comes into.
 *
 * In image code the call ends at once. While the Matchmaker works for it, the thread is marked, and
 * the deadlines' timer brings the next opportunity; a system call that waits in the kernel ends with
 * EINTR by the timer's signal, because a host's own handler may have asked for SA_RESTART. So does
 * the wait for an image that another thread is in. */
#include "core/fault/fault.h"
#include "core/gate/gate.h"
#include "core/guard/keys.h"

#include <signal.h>

bool mm__interrupt_ends(void) {
  return mm__tables.host.interrupt != MM_INTERRUPT_WAIT &&
         (mm__tables.ours & MM__SIGNAL_BIT(SIGINT));
}

bool mm__interrupt_wait(uint64_t fs) {
  struct mm__thread_record *thread = fs ? mm__thread_known(fs) : 0;
  if (!thread || !thread->waits_for) return false;
  thread->ending = MM_ERROR_INTERRUPTED;
  return mm__tables.host.interrupt == MM_INTERRUPT_ERROR;
}

bool mm__may_end(uint32_t slot, const struct mm__thread_record *thread, uint64_t instruction) {
  bool working = MM__IN_ARENA(instruction) && MM__SLOT_OF(instruction) == 0;
  return !thread->trap && !working && mm__states[slot].frame;
}

int32_t mm__ending_take(struct mm__thread_record *thread) {
  int32_t status = thread->ending;
  if (status == MM_ERROR_INTERRUPTED && mm__tables.host.interrupt == MM_INTERRUPT_ERROR)
    mm__deferred_drop(thread, SIGINT);
  return status;
}

void mm__end_now(uint32_t slot, struct mm__thread_record *thread, ucontext_t *context) {
  mm__keys_apply(thread); /* the frame of a call that an image made lies on that image's stack */
  struct mm__outcome outcome = {.status = mm__ending_take(thread),
                                .instruction = (uint64_t)context->uc_mcontext.gregs[REG_RIP]};
  mm__fault_end(slot, context, &outcome);
}

bool mm__interrupt(uint32_t slot, struct mm__thread_record *thread, ucontext_t *context) {
  bool now = mm__may_end(slot, thread, (uint64_t)context->uc_mcontext.gregs[REG_RIP]);
  thread->ending = MM_ERROR_INTERRUPTED;
  if (!now) {
    mm__deadline_hasten(thread, context);
    return false;
  }
  mm__end_now(slot, thread, context);
  thread->ending = MM_OK;
  return mm__tables.host.interrupt == MM_INTERRUPT_ERROR;
}
