/* core/fault/deadline.c - ends calls that take longer than they may.
 *
 * Each thread that makes a limited call has a timer of its own, which sends a signal to just this
 * thread, again and again until the call has ended: a signal that comes while the Matchmaker works
 * for the call is not acted upon, because what it is changing must be whole; the next one is. In a
 * trapped system call it is remembered, and ends what waits in the kernel with EINTR.
 * Source: timer_create(2), SIGEV_THREAD_ID; signal(7), "Interruption of system calls". */
#include "base/error.h"
#include "core/fault/fault.h"
#include "core/gate/gate.h"

#include <errno.h>
#include <signal.h>
#include <time.h>

#define AGAIN_NS  10000000ul /* from one signal to the next */
#define FIRST_RT  34         /* libc keeps 32 and 33 for itself: signal(7) */
#define THREAD_ID 4          /* SIGEV_THREAD_ID */

static const char marker; /* by its address the signal is known to be ours */

static uint32_t free_signal(void) {
  for (int signal = MM__SIGNAL_COUNT - 1; signal >= FIRST_RT; signal--) {
    struct mm__action now;
    long result = mm__call(SYS_rt_sigaction, signal, 0, &now, 8);
    if (!mm__failed(result) && now.handler == (uint64_t)SIG_DFL) return (uint32_t)signal;
  }
  return 0;
}

void mm__deadline_start(void) {
  mm__tables.deadline_signal = free_signal();
  if (mm__tables.deadline_signal) mm__signal_take((int)mm__tables.deadline_signal);
}

int mm__deadline_check(uint64_t timeout_ns, struct mm_error *error) {
  if (!timeout_ns || mm__tables.deadline_signal) return MM_OK;
  return mm__fail(error, MM_ERROR_UNSUPPORTED, "no signal was left to limit calls with");
}

static bool make_timer(struct mm__thread_record *thread) {
  struct sigevent event = {.sigev_signo = (int)mm__tables.deadline_signal,
                           .sigev_notify = THREAD_ID,
                           .sigev_value = {.sival_ptr = (void *)&marker}};
  uint64_t unblocked = MM__SIGNAL_BIT(mm__tables.deadline_signal);
  event._sigev_un._tid = (int)thread->seen.id;
  long result = mm__call(SYS_timer_create, CLOCK_MONOTONIC, &event, &thread->timer);
  thread->has_timer = !mm__failed(result);
  mm__call(SYS_rt_sigprocmask, SIG_UNBLOCK, &unblocked, 0, 8);
  return thread->has_timer;
}

static void set_timer(const struct mm__thread_record *thread, uint64_t first, uint64_t again) {
  struct itimerspec when = {{0, (long)again},
                            {(long)(first / MM__SECOND_NS), (long)(first % MM__SECOND_NS)}};
  mm__call(SYS_timer_settime, thread->timer, 0, &when, 0);
}

bool mm__deadline_arm(struct mm__thread_record *thread, uint64_t timeout_ns) {
  if (!thread->has_timer && !make_timer(thread)) return false;
  thread->is_limited = 1;
  thread->limit_ns = timeout_ns;
  set_timer(thread, timeout_ns, AGAIN_NS);
  return true;
}

void mm__deadline_hasten(struct mm__thread_record *thread, ucontext_t *context) {
  if (!mm__tables.deadline_signal || (!thread->has_timer && !make_timer(thread))) return;
  *(uint64_t *)&context->uc_sigmask &= ~MM__SIGNAL_BIT(mm__tables.deadline_signal);
  if (!thread->is_limited) thread->limited_depth = 0; /* the interrupt is for the outermost call */
  thread->is_limited = 1;
  set_timer(thread, AGAIN_NS, AGAIN_NS);
}

void mm__deadline_disarm(struct mm__thread_record *thread) {
  set_timer(thread, 0, 0);
  thread->is_limited = 0;
  if (thread->ending == MM_ERROR_DEADLINE) thread->ending = MM_OK;
}

void mm__deadline_forget(struct mm__thread_record *thread) {
  if (thread->has_timer) mm__call(SYS_timer_delete, thread->timer);
  thread->has_timer = 0;
}

void mm__deadline_handle(int signal, siginfo_t *info, void *context_, uint32_t level) {
  ucontext_t *context = context_;
  uint64_t fs = mm__fs_ask();
  uint64_t instruction = (uint64_t)context->uc_mcontext.gregs[REG_RIP];
  if (info->si_code != SI_TIMER || info->si_ptr != (void *)&marker) {
    mm__asynchronous(signal, info, context, level);
    return;
  }
  if (!MM__IN_ARENA(fs)) { /* in a callback, which the call ends after */
    struct mm__thread_record *thread = fs ? mm__thread_known(fs) : 0;
    if (thread && thread->is_limited && thread->ending == MM_OK) thread->ending = MM_ERROR_DEADLINE;
    return;
  }
  uint32_t slot = MM__SLOT_OF(fs);
  struct mm__thread_record *thread = (struct mm__thread_record *)mm__states[slot].owner;
  if (!thread || !thread->is_limited) return;
  if (thread->ending == MM_OK) thread->ending = MM_ERROR_DEADLINE;
  if (mm__may_end(slot, thread, instruction)) mm__end_now(slot, thread, context);
}
