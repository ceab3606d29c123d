/* core/fault/defer.c - puts signals of the host off during calls.
 *
 * A host handler must not run on an image's FS: it would find the image's thread-local storage.
 * Blocking all signals around each call costs two system calls. Instead every asynchronous handler
 * that we find is wrapped: outside of a call the wrapper goes straight on to it; inside, it blocks
 * the signal, remembers it, and the gate raises it again when the call has ended.
 *
 * What is raised again comes behind those of its number that were queued meanwhile: signal(7),
 * "Real-time signals". So it is only a stand-in. Of a number of which one is remembered the oldest
 * is delivered, whichever comes, and what came is remembered in its stead; a stand-in takes one
 * away. Then each has come, in the order in which they were sent. The other signals do not queue:
 * one that came meanwhile and the stand-in are one. */
#include "core/fault/fault.h"
#include "core/gate/gate.h"

#include <signal.h>

#define FIRST_REAL_TIME 32 /* the kernel's SIGRTMIN */

static const char stand_in; /* by its address the stand-ins are known */
static uint32_t remembered; /* by all threads */

static bool is_stand_in(const siginfo_t *info) {
  return info->si_code == SI_QUEUE && info->si_ptr == (const void *)&stand_in;
}

static uint32_t find(const struct mm__thread_record *thread, int signal) {
  uint32_t i = 0;
  while (i < thread->deferred_count && thread->deferred_info[i].si_signo != signal) i++;
  return i;
}

static void forget(struct mm__thread_record *thread, uint32_t i) {
  siginfo_t *list = thread->deferred_info;
  thread->deferred_count--;
  for (; i < thread->deferred_count; i++) list[i] = list[i + 1];
  __atomic_fetch_sub(&remembered, 1, __ATOMIC_RELAXED);
}

static void remember(struct mm__thread_record *thread, const siginfo_t *info) {
  if (thread->deferred_count == MM__DEFERRED_LIMIT) return;
  thread->deferred_info[thread->deferred_count++] = *info;
  __atomic_fetch_add(&remembered, 1, __ATOMIC_RELAXED);
}

void mm__deferred_drop(struct mm__thread_record *thread, int signal) {
  uint32_t i = find(thread, signal);
  thread->deferred &= ~MM__SIGNAL_BIT(signal);
  if (i < thread->deferred_count) forget(thread, i);
}

static void defer(struct mm__thread_record *thread, int signal, const siginfo_t *info,
                  ucontext_t *context, uint32_t level) {
  const struct mm__action *previous = &mm__tables.previous[level][signal];
  if (previous->flags & SA_RESETHAND) mm__signal_keep(signal, level);
  *(uint64_t *)&context->uc_sigmask |= MM__SIGNAL_BIT(signal);
  thread->deferred |= MM__SIGNAL_BIT(signal);
  if (previous->flags & SA_SIGINFO && !is_stand_in(info)) remember(thread, info);
}

/* The thread with this FS, which need not be one that ever crossed. */
static struct mm__thread_record *who_remembers(uint64_t fs) {
  for (uint32_t i = 0; i < MM__THREAD_LIMIT; i++)
    if (mm__threads[i].deferred_count && mm__threads[i].fs == fs) return &mm__threads[i];
  return 0;
}

/* Makes `info` what is to be delivered now. False: nothing is. */
static bool take_turn(int signal, siginfo_t *info, uint64_t fs) {
  bool stands_in = is_stand_in(info);
  if (!__atomic_load_n(&remembered, __ATOMIC_RELAXED)) return !stands_in;
  struct mm__thread_record *thread = who_remembers(fs);
  uint32_t i = thread ? find(thread, signal) : 0;
  if (!thread || i == thread->deferred_count) return !stands_in;
  siginfo_t oldest = thread->deferred_info[i];
  forget(thread, i);
  if (!stands_in && signal >= FIRST_REAL_TIME) remember(thread, info);
  *info = oldest;
  return true;
}

void mm__asynchronous(int signal, siginfo_t *info, ucontext_t *context, uint32_t level) {
  uint64_t fs = mm__fs_ask();
  if (MM__IN_ARENA(fs)) {
    uint32_t slot = MM__SLOT_OF(fs);
    struct mm__thread_record *thread = (struct mm__thread_record *)mm__states[slot].owner;
    if (signal == SIGINT && mm__interrupt_ends() && mm__interrupt(slot, thread, context)) return;
    defer(thread, signal, info, context, level);
    return;
  }
  if (signal == SIGINT && mm__interrupt_ends() && mm__interrupt_wait(fs)) return;
  const struct mm__action *previous = &mm__tables.previous[level][signal];
  if (previous->flags & SA_SIGINFO && !take_turn(signal, info, fs)) return;
  if (previous->handler == (uint64_t)SIG_DFL)
    mm__forward(signal, info, context, level);
  else
    mm__deliver(previous, signal, info, context);
}

void mm__deferred_handle(int signal, siginfo_t *info, void *context, uint32_t level) {
  if (MM__IS_CHAINED(context))
    mm__chained(signal, info, context, level);
  else
    mm__asynchronous(signal, info, context, level);
}

static bool send_stand_in(const struct mm__thread_record *thread, int signal, long process,
                          long id) {
  siginfo_t info = {.si_signo = signal, .si_code = SI_QUEUE};
  info.si_ptr = (void *)&stand_in;
  return find(thread, signal) < thread->deferred_count &&
         !mm__failed(mm__call(SYS_rt_tgsigqueueinfo, process, id, signal, &info));
}

/* One number after the other, the lowest first, as the kernel would. */
void mm__deferred_raise(struct mm__thread_record *thread) {
  uint64_t waiting = thread->deferred;
  long process = mm__call(SYS_getpid), id = mm__call(SYS_gettid);
  thread->deferred = 0; /* a handler may call images */
  for (int signal = 1; signal < MM__SIGNAL_COUNT; signal++) {
    uint64_t bit = MM__SIGNAL_BIT(signal);
    if (!(waiting & bit)) continue;
    if (!send_stand_in(thread, signal, process, id)) {
      mm__deferred_drop(thread, signal);
      mm__call(SYS_tgkill, process, id, signal);
    }
    mm__call(SYS_rt_sigprocmask, SIG_UNBLOCK, &bit, 0, 8);
  }
}

void mm__deferred_adopt(struct mm__thread_record *thread) {
  remembered = 0;
  if (thread) thread->deferred = thread->deferred_count = 0;
}
