/* core/fault/forward.c - a signal that is none of ours reaches the handler that was there before,
 * or the default.
 * Source: sigaction(2), signal(7): what SA_ONSTACK, SA_NODEFER, SA_RESETHAND and sa_mask mean to a
 *         handler. */
#include "core/fault/fault.h"
#include "core/gate/gate.h"

#include <signal.h>

#define SA_RESTORER_FLAG 0x04000000ul /* asm/signal.h */

static void set_default(int signal) {
  struct mm__action action = {.handler = (uint64_t)SIG_DFL,
                              .flags = SA_RESTORER_FLAG,
                              .restorer = (uint64_t)mm__signal_restorer};
  mm__call(SYS_rt_sigaction, signal, &action, 0, 8);
}

/* The default action happens by itself: a fault's instruction faults again, a sent signal is sent
 * again. */
static void take_default(int signal, const siginfo_t *info) {
  set_default(signal);
  if (info->si_code <= 0) mm__call(SYS_tgkill, mm__call(SYS_getpid), mm__call(SYS_gettid), signal);
}

void mm__forward(int signal, siginfo_t *info, ucontext_t *context, uint32_t level) {
  const struct mm__action *previous = &mm__tables.previous[level][signal];
  if (previous->handler == (uint64_t)SIG_IGN && info->si_code <= 0) return;
  if (previous->handler == (uint64_t)SIG_DFL || previous->handler == (uint64_t)SIG_IGN) {
    take_default(signal, info);
    return;
  }
  uint64_t mask = *(uint64_t *)&context->uc_sigmask | previous->mask;
  if (!(previous->flags & SA_NODEFER)) mask |= MM__SIGNAL_BIT(signal);
  if (previous->flags & SA_RESETHAND) {
    set_default(signal);
  }
  mm__call(SYS_rt_sigprocmask, SIG_SETMASK, &mask, 0, 8);
  mm__deliver(previous, signal, info, context);
}

void mm__chained(int signal, siginfo_t *info, void *context, uint32_t level) {
  const struct mm__action *previous = &mm__tables.previous[level][signal];
  if (previous->handler > (uint64_t)SIG_IGN)
    ((void (*)(int, siginfo_t *, void *))previous->handler)(signal, info, context);
  else if (previous->handler == (uint64_t)SIG_DFL)
    take_default(signal, info);
}
