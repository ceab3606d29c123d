/* core/fault/signals.c - installs our handlers, keeps the host's, and puts asynchronous ones off
 * during calls.
 *
 * A host handler must not run on an image's FS: it would find the image's thread-local storage.
 * Blocking all signals around each call costs two system calls. Instead every asynchronous handler
 * that we find is wrapped: outside of a call the wrapper goes straight on to it; inside, it blocks
 * the signal, remembers it, and the gate raises it again when the call has ended.
 * A handler installed after the last look (at init, at the first call of each mapping, and at every
 * 1,024th) is found at the next one; a host for which that is not enough chooses MM_SIGNALS_MASK.
 * */
#include "base/error.h"
#include "core/fault/fault.h"
#include "core/gate/gate.h"

#include <errno.h>
#include <signal.h>

#define SA_RESTORER_FLAG 0x04000000ul

static const int synchronous[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS};
#define SYNCHRONOUS                                                                                \
  (MM__SIGNAL_BIT(SIGSEGV) | MM__SIGNAL_BIT(SIGBUS) | MM__SIGNAL_BIT(SIGFPE) |                     \
   MM__SIGNAL_BIT(SIGILL) | MM__SIGNAL_BIT(SIGTRAP) | MM__SIGNAL_BIT(SIGSYS))

static long get(int signal, struct mm__action *action) {
  return mm__call(SYS_rt_sigaction, signal, 0, action, 8);
}

static long set(int signal, const struct mm__action *action) {
  return mm__call(SYS_rt_sigaction, signal, action, 0, 8);
}

/* Who is displaced may have kept our handler, and call it: then it is the turn of who was displaced
 * before. */
static void remember(int signal, const struct mm__action *displaced) {
  if (mm__tables.ours & MM__SIGNAL_BIT(signal))
    mm__tables.older[signal] = mm__tables.previous[signal];
  mm__tables.previous[signal] = *displaced;
  mm__tables.ours |= MM__SIGNAL_BIT(signal);
}

static long install_synchronous(int signal) {
  struct mm__action now;
  long result = get(signal, &now);
  if (mm__failed(result) || now.handler == (uint64_t)mm__fault_handler) return result;
  /* A system call can only be trapped where SIGSYS is ours, whatever the handler does with it
   * later. */
  struct mm__action action = {.handler = (uint64_t)mm__fault_handler,
                              .flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER | SA_RESTORER_FLAG,
                              .restorer = (uint64_t)mm__signal_restorer,
                              .mask = ~SYNCHRONOUS};
  result = set(signal, &action);
  if (mm__failed(result)) return result;
  remember(signal, &now);
  return 0;
}

long mm__signal_take(int signal) {
  struct mm__action now;
  long result = get(signal, &now);
  if (mm__failed(result) || now.handler == (uint64_t)mm__deadline_handler) return result;
  struct mm__action action = {.handler = (uint64_t)mm__deadline_handler,
                              .flags = SA_SIGINFO | SA_ONSTACK | SA_RESTORER_FLAG,
                              .restorer = (uint64_t)mm__signal_restorer,
                              .mask = ~SYNCHRONOUS};
  result = set(signal, &action);
  if (mm__failed(result)) return result;
  remember(signal, &now);
  return 0;
}

static bool is_deadline(int signal) { return (uint32_t)signal == mm__tables.deadline_signal; }

static bool wraps(int signal, struct mm__action *now) {
  if ((MM__SIGNAL_BIT(signal) & SYNCHRONOUS) || is_deadline(signal) || signal == SIGKILL ||
      signal == SIGSTOP)
    return false;
  if (mm__failed(get(signal, now))) return false;
  if (signal == SIGINT && mm__tables.host.interrupt == MM_INTERRUPT_ERROR &&
      now->handler == (uint64_t)SIG_DFL)
    return true;
  return now->handler > (uint64_t)SIG_IGN && now->handler != (uint64_t)mm__deferred_handler;
}

/* The host's action with our handler. On the alternate stack: during a call the other one is the
 * image's, and may be closed. With our restorer: during a call the host's own rt_sigreturn would be
 * trapped where a selector decides. */
static long set_wrapper(int signal, const struct mm__action *host) {
  struct mm__action action = *host;
  action.handler = (uint64_t)mm__deferred_handler;
  action.restorer = (uint64_t)mm__signal_restorer;
  action.flags |= SA_RESTORER_FLAG | SA_ONSTACK;
  return set(signal, &action);
}

static void wrap(int signal, const struct mm__action *now) {
  if (mm__failed(set_wrapper(signal, now))) return;
  remember(signal, now);
}

static void look(void) {
  for (unsigned i = 0; i < sizeof synchronous / sizeof *synchronous; i++)
    install_synchronous(synchronous[i]);
  struct mm__action now;
  for (int signal = 1; signal < MM__SIGNAL_COUNT; signal++)
    if (wraps(signal, &now)) wrap(signal, &now);
  if (mm__tables.deadline_signal) mm__signal_take((int)mm__tables.deadline_signal);
}

void mm__signals_look(void) {
  /* Looking is cheap, opening the tables is not: first see whether there is anything to do. */
  bool changed = false;
  struct mm__action now;
  for (unsigned i = 0; i < sizeof synchronous / sizeof *synchronous; i++)
    changed |= !mm__failed(get(synchronous[i], &now)) && now.handler != (uint64_t)mm__fault_handler;
  for (int signal = 1; signal < MM__SIGNAL_COUNT && !changed; signal++)
    changed = wraps(signal, &now) || (is_deadline(signal) && !mm__failed(get(signal, &now)) &&
                                      now.handler != (uint64_t)mm__deadline_handler);
  if (!changed) return;
  mm__still_lock(&mm__core_lock);
  if (mm__tables_open(0) == MM_OK) { /* else the next look finds them */
    look();
    mm__tables_close();
  }
  mm__still_unlock(&mm__core_lock);
}

int mm__signals_install(struct mm_error *error) {
  for (unsigned i = 0; i < sizeof synchronous / sizeof *synchronous; i++) {
    long result = install_synchronous(synchronous[i]);
    if (mm__failed(result))
      return mm__fail_system(error, MM_ERROR_SYSTEM, (int)-result, "cannot handle %s",
                             mm__signal_name(synchronous[i]));
  }
  mm__deadline_start();
  look();
  return MM_OK;
}

void mm__signals_serve(void) {
  int signal = (int)mm__tables.deadline_signal;
  if (signal) set(signal, &mm__tables.previous[signal]);
  mm__tables.ours &= SYNCHRONOUS;
  mm__tables.deadline_signal = 0;
}

bool mm__signals_restore(void) {
  bool done = true;
  for (int signal = 1; signal < MM__SIGNAL_COUNT; signal++) {
    struct mm__action now;
    if (!(mm__tables.ours & MM__SIGNAL_BIT(signal)) || mm__failed(get(signal, &now))) continue;
    if (now.handler == (uint64_t)mm__fault_handler ||
        now.handler == (uint64_t)mm__deferred_handler ||
        now.handler == (uint64_t)mm__deadline_handler)
      done &= !mm__failed(set(signal, &mm__tables.previous[signal]));
  }
  if (!done) return false;
  mm__tables.ours = 0;
  mm__tables.deadline_signal = 0;
  memset(mm__tables.older, 0, sizeof mm__tables.older);
  return true;
}

static void defer(struct mm__thread_record *thread, int signal, const siginfo_t *info,
                  ucontext_t *context) {
  const struct mm__action *previous = &mm__tables.previous[signal];
  if (previous->flags & SA_RESETHAND) set_wrapper(signal, previous);
  uint64_t *mask = (uint64_t *)&context->uc_sigmask;
  *mask |= MM__SIGNAL_BIT(signal);
  thread->deferred |= MM__SIGNAL_BIT(signal);
  if (thread->deferred_count < MM__DEFERRED_LIMIT && (previous->flags & SA_SIGINFO))
    memcpy(&thread->deferred_info[thread->deferred_count++], info, sizeof *info);
}

void mm__deferred_handle(int signal, siginfo_t *info, void *context) {
  if (MM__IS_CHAINED(context)) {
    mm__chained(signal, info, context);
    return;
  }
  mm__asynchronous(signal, info, context);
}

void mm__asynchronous(int signal, siginfo_t *info, ucontext_t *context) {
  uint64_t fs = mm__fs_ask();
  if (MM__IN_ARENA(fs)) {
    uint32_t slot = MM__SLOT_OF(fs);
    struct mm__thread_record *thread = (struct mm__thread_record *)mm__states[slot].owner;
    if (signal == SIGINT && mm__interrupt_ends() && mm__interrupt(slot, thread, context)) return;
    defer(thread, signal, info, context);
    return;
  }
  if (mm__tables.previous[signal].handler == (uint64_t)SIG_DFL)
    mm__forward(signal, info, context);
  else
    mm__deliver(&mm__tables.previous[signal], signal, info, context);
}

void mm__deferred_raise(struct mm__thread_record *thread) {
  uint64_t waiting = thread->deferred, sent = 0;
  long process = mm__call(SYS_getpid), id = mm__call(SYS_gettid);
  for (uint32_t i = 0; i < thread->deferred_count; i++) {
    int signal = thread->deferred_info[i].si_signo;
    if (!mm__failed(
            mm__call(SYS_rt_tgsigqueueinfo, process, id, signal, &thread->deferred_info[i])))
      sent |= MM__SIGNAL_BIT(signal);
  }
  for (int signal = 1; signal < MM__SIGNAL_COUNT; signal++)
    if (waiting & ~sent & MM__SIGNAL_BIT(signal)) mm__call(SYS_tgkill, process, id, signal);
  thread->deferred = 0;
  thread->deferred_count = 0;
  mm__call(SYS_rt_sigprocmask, SIG_UNBLOCK, &waiting, 0, 8);
}
