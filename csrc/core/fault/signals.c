/* core/fault/signals.c - installs our handlers, and keeps the host's.
 *
 * Of asynchronous signals every handler that we find is wrapped: core/fault/defer.c. When handlers
 * are looked for that were installed since: mm__gate_look.
 *
 * Who installs a handler over ours keeps ours, to call it, or to put it back. So what takes its
 * place in turn is another entry of ours, one level up: each entry stands for the handler that it
 * displaced, and one that is found installed again says that those above it are gone. */
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
/* As the kernel keeps it: it takes from a mask what cannot be blocked. */
#define ASYNCHRONOUS (~(SYNCHRONOUS | MM__SIGNAL_BIT(SIGKILL) | MM__SIGNAL_BIT(SIGSTOP)))

static long get(int signal, struct mm__action *action) {
  *action = (struct mm__action){.handler = 0};
  return mm__call(SYS_rt_sigaction, signal, 0, action, 8);
}

static long set(int signal, const struct mm__action *action) {
  return mm__call(SYS_rt_sigaction, signal, action, 0, 8);
}

static bool is_synchronous(int signal) { return MM__SIGNAL_BIT(signal) & SYNCHRONOUS; }
static bool is_deadline(int signal) { return (uint32_t)signal == mm__tables.deadline_signal; }
static bool is_ours(int signal) { return mm__tables.ours & MM__SIGNAL_BIT(signal); }

static const uint8_t *entries(int signal) {
  if (is_synchronous(signal)) return mm__fault_handlers;
  return is_deadline(signal) ? mm__deadline_handlers : mm__deferred_handlers;
}

/* The level of that entry of ours; MM__HANDLER_LEVELS: it is none. */
static uint32_t level_of(int signal, uint64_t handler) {
  uint64_t place = handler - (uint64_t)entries(signal);
  return place < MM__HANDLER_LEVELS << MM__HANDLER_SHIFT ? (uint32_t)(place >> MM__HANDLER_SHIFT)
                                                         : MM__HANDLER_LEVELS;
}

static bool same(const struct mm__action *a, const struct mm__action *b) {
  return a->handler == b->handler && a->flags == b->flags && a->restorer == b->restorer &&
         a->mask == b->mask;
}

/* What the kernel is told. A wrapper has the host's own flags and mask, but runs on the alternate
 * stack: during a call the other one is the image's, and may be closed. All have our restorer:
 * during a call the host's rt_sigreturn would be trapped where a selector decides. */
static struct mm__action action_of(int signal, uint32_t level) {
  struct mm__action action = {.flags = SA_SIGINFO, .mask = ASYNCHRONOUS};
  if (is_synchronous(signal))
    action.flags |= SA_NODEFER;
  else if (!is_deadline(signal))
    action = mm__tables.previous[level][signal];
  action.handler = (uint64_t)entries(signal) + (level << MM__HANDLER_SHIFT);
  action.flags |= SA_RESTORER_FLAG | SA_ONSTACK;
  action.restorer = (uint64_t)mm__signal_restorer;
  return action;
}

/* The level of what takes the place of that action. One that was put over the last level is the
 * last to be remembered there. */
static uint32_t level_over(int signal, const struct mm__action *now) {
  uint32_t level = mm__tables.level[signal], found = level_of(signal, now->handler);
  if (found < MM__HANDLER_LEVELS) return found;
  if (is_ours(signal) && !same(now, &mm__tables.previous[level][signal]) &&
      level + 1 < MM__HANDLER_LEVELS)
    level++;
  mm__tables.previous[level][signal] = *now;
  return level;
}

long mm__signal_take(int signal) {
  struct mm__action now;
  long result = get(signal, &now);
  if (mm__failed(result)) return result;
  uint32_t level = level_over(signal, &now);
  struct mm__action action = action_of(signal, level);
  result = set(signal, &action);
  if (mm__failed(result)) return result;
  mm__tables.level[signal] = (uint8_t)level;
  mm__tables.ours |= MM__SIGNAL_BIT(signal);
  return 0;
}

/* A system call can only be trapped where SIGSYS is ours, whatever the handler does with it later. */
static bool is_wanted(int signal, const struct mm__action *now) {
  if (is_synchronous(signal) || is_deadline(signal)) return true;
  if (signal == SIGINT && mm__tables.host.interrupt == MM_INTERRUPT_ERROR &&
      now->handler == (uint64_t)SIG_DFL)
    return true;
  return now->handler > (uint64_t)SIG_IGN;
}

/* Whether it should be ours, and is not as we would have it. */
static bool is_displaced(int signal) {
  struct mm__action now;
  if (signal == SIGKILL || signal == SIGSTOP || mm__failed(get(signal, &now))) return false;
  if (!is_wanted(signal, &now)) return false;
  struct mm__action action = action_of(signal, mm__tables.level[signal]);
  return !is_ours(signal) || !same(&now, &action);
}

static void take_displaced(void) {
  for (int signal = 1; signal < MM__SIGNAL_COUNT; signal++)
    if (is_displaced(signal)) mm__signal_take(signal);
}

static void open_and_take(void) {
  mm__still_lock(&mm__core_lock);
  if (mm__tables_open(0) == MM_OK) { /* else the next look finds them */
    take_displaced();
    mm__tables_close();
  }
  mm__still_unlock(&mm__core_lock);
}

/* Looking is cheap, opening the tables is not: first see whether there is anything to do. */
void mm__signals_look(void) {
  for (int signal = 1; signal < MM__SIGNAL_COUNT; signal++)
    if (is_displaced(signal)) {
      open_and_take();
      return;
    }
}

void mm__signals_glance(void) {
  if (is_displaced(SIGSEGV) || is_displaced(SIGSYS)) open_and_take();
}

int mm__signals_install(struct mm_error *error) {
  for (unsigned i = 0; i < sizeof synchronous / sizeof *synchronous; i++) {
    long result = mm__signal_take(synchronous[i]);
    if (mm__failed(result))
      return mm__fail_system(error, MM_ERROR_SYSTEM, (int)-result, "cannot handle %s",
                             mm__signal_name(synchronous[i]));
  }
  mm__deadline_start();
  take_displaced();
  return MM_OK;
}

void mm__signals_serve(void) {
  int signal = (int)mm__tables.deadline_signal;
  if (signal) set(signal, &mm__tables.previous[mm__tables.level[signal]][signal]);
  mm__tables.ours &= SYNCHRONOUS;
  mm__tables.deadline_signal = 0;
}

bool mm__signals_restore(void) {
  bool done = true;
  for (int signal = 1; signal < MM__SIGNAL_COUNT; signal++) {
    struct mm__action now;
    if (!is_ours(signal) || mm__failed(get(signal, &now))) continue;
    uint32_t level = level_of(signal, now.handler);
    if (level < MM__HANDLER_LEVELS)
      done &= !mm__failed(set(signal, &mm__tables.previous[level][signal]));
  }
  if (!done) return false;
  mm__tables.ours = 0;
  mm__tables.deadline_signal = 0;
  memset(mm__tables.level, 0, sizeof mm__tables.level);
  return true;
}

void mm__signal_keep(int signal, uint32_t level) {
  struct mm__action action = action_of(signal, level);
  set(signal, &action);
}
