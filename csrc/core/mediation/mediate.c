/* core/mediation/mediate.c - looks a trapped call up, checks its pointers, does what its row says,
 * traces it. */
#include "core/mediation/mediation.h"

#include "base/error.h"
#include "base/format.h"
#include "core/fault/fault.h"
#include "core/guard/guard.h"
#include "core/mediation/outside.h"

#include <errno.h>
#include <signal.h>
#include <sys/mman.h>

#define VECTOR_LIMIT 1024u /* UIO_MAXIOV: readv(2) */
#include <sys/uio.h>

#define TEXT_LIMIT 4096u

const struct mm__call_row *mm__call_row(long number) {
  uint32_t low = 0, high = mm__call_row_count;
  while (low < high) {
    uint32_t middle = low + (high - low) / 2;
    if (mm__call_rows[middle].number == number) return &mm__call_rows[middle];
    if (mm__call_rows[middle].number < number)
      low = middle + 1;
    else
      high = middle;
  }
  return 0;
}

const char *mm__call_name(long number) {
  const struct mm__call_row *row = mm__call_row(number);
  return row ? row->name : 0;
}

long mm__pass(struct mm__trap *trap) {
  const long *a = trap->arguments;
  return mm__system(trap->number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

long mm__answer_zero(struct mm__trap *trap) {
  (void)trap;
  return 0;
}

long mm__answer_missing(struct mm__trap *trap) {
  (void)trap;
  return -ENOSYS;
}

void mm__trap_end(struct mm__trap *trap, int32_t status, int32_t signal, int32_t exit_status) {
  struct mm__outcome outcome = {.status = status, .signal = signal, .exit_status = exit_status};
  outcome.instruction = (uint64_t)trap->context->uc_mcontext.gregs[REG_RIP];
  mm__fault_end(trap->slot, trap->context, &outcome);
  trap->ended = true;
}

static bool text_readable(const struct mm__trap *trap, uint64_t low) {
  for (uint64_t i = 0; i < TEXT_LIMIT; i++) {
    if ((i == 0 || (low + i) % MM__PAGE == 0) &&
        !mm__slot_map_covers(&trap->state->map, low + i, low + i + 1, PROT_READ))
      return false;
    if (*(const char *)(low + i) == 0) return true;
  }
  return false;
}

bool mm__memory_usable(const struct mm__trap *trap, uint64_t low, uint64_t bytes,
                       uint32_t protection) {
  if (low + bytes < low || !mm__slot_map_covers(&trap->state->map, low, low + bytes, protection))
    return false;
  return mm__guard_need(trap->record, trap->state, low, low + bytes, protection);
}

/* readv(2): the list, and the memory that each of its entries names. */
static bool list_allowed(const struct mm__trap *trap, uint64_t low, uint64_t count,
                         uint32_t protection) {
  const struct iovec *list = (const struct iovec *)low;
  if (count > VECTOR_LIMIT) return true; /* EINVAL, before anything is read */
  if (!mm__memory_usable(trap, low, count * sizeof *list, PROT_READ)) return false;
  for (uint64_t i = 0; i < count; i++)
    if (!mm__memory_usable(trap, (uint64_t)list[i].iov_base, list[i].iov_len, protection))
      return false;
  return true;
}

/* A pointer may only name memory that the image itself could touch that way. */
static bool argument_allowed(const struct mm__trap *trap, const struct mm__argument *argument,
                             uint64_t low) {
  uint64_t counted = (uint64_t)trap->arguments[argument->bytes % 6];
  switch (argument->kind) {
  case MM__ARGUMENT_NONE:
    return true;
  case MM__ARGUMENT_IN_OF:
    return mm__memory_usable(trap, low, counted, PROT_READ);
  case MM__ARGUMENT_OUT_OF:
    return mm__memory_usable(trap, low, counted, PROT_WRITE);
  case MM__ARGUMENT_IN_LIST:
    return list_allowed(trap, low, counted, PROT_READ);
  case MM__ARGUMENT_OUT_LIST:
    return list_allowed(trap, low, counted, PROT_WRITE);
  default:
    break;
  }
  if (low == 0) return true; /* the kernel knows which pointers may be null */
  if (argument->kind == MM__ARGUMENT_TEXT) return text_readable(trap, low);
  return mm__memory_usable(trap, low, argument->bytes,
                           argument->kind == MM__ARGUMENT_OUT ? PROT_WRITE : PROT_READ);
}

static bool arguments_allowed(const struct mm__trap *trap, const struct mm__call_row *row) {
  for (int i = 0; i < 6; i++)
    if (!argument_allowed(trap, &row->arguments[i], (uint64_t)trap->arguments[i])) return false;
  return true;
}

/* What a call without a row of its own touches is not known. */
static long pass_blindly(struct mm__trap *trap) {
  mm__guard_need_all(trap->record, trap->state);
  return mm__pass(trap);
}

static long act_for_client(struct mm__trap *trap, const struct mm__call_row *row) {
  uint32_t grants = trap->record->grants;
  bool everything = grants & MM_GRANT_EVERYTHING;
  bool granted = row && row->client && (!row->grants || row->grants & grants);
  if (!granted && !everything) return mm__refuse(trap, 0, -EPERM);
  if (row && !arguments_allowed(trap, row)) return -EFAULT;
  return row && row->client ? row->client(trap) : pass_blindly(trap);
}

static void trace(const struct mm__trap *trap, const struct mm__call_row *row, long result) {
  char name[32], answer[64];
  const long *a = trap->arguments;
  if (row)
    mm__format(name, sizeof name, "%s", row->name);
  else
    mm__format(name, sizeof name, "syscall_%d", trap->number);
  if (trap->ended)
    mm__format(answer, sizeof answer, "the call ends");
  else if (mm__failed(result))
    mm__format(answer, sizeof answer, "-1 %s (%s)", mm__errno_name((int)-result),
               mm__errno_text((int)-result));
  else
    mm__format(answer, sizeof answer, "0x%lx", result);
  mm__say("syscall: %s(0x%lx, 0x%lx, 0x%lx, 0x%lx, 0x%lx, 0x%lx) = %s", name, a[0], a[1], a[2],
          a[3], a[4], a[5], answer);
}

/* A call that is only passed because everything is may do whatever it likes. */
static bool may_wait(const struct mm__trap *trap, const struct mm__call_row *row) {
  return row ? row->waits : (trap->record->grants & MM_GRANT_EVERYTHING) != 0;
}

/* Those by which somebody ends the process, where it has no handler. */
static uint64_t ending(const struct mm__trap *trap) {
  static const int known[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM};
  uint64_t signals = 0, blocked = *(const uint64_t *)&trap->context->uc_sigmask;
  struct mm__action now;
  for (unsigned i = 0; i < sizeof known / sizeof *known; i++)
    if (!mm__failed(mm__call(SYS_rt_sigaction, known[i], 0, &now, 8)) &&
        now.handler == (uint64_t)SIG_DFL)
      signals |= MM__SIGNAL_BIT(known[i]);
  return signals & ~blocked;
}

static uint64_t deadline_of(const struct mm__trap *trap) {
  return trap->thread->is_limited ? MM__SIGNAL_BIT(mm__tables.deadline_signal) : 0;
}

/* What waits in the kernel for a limited call must not wait for ever; Ctrl-C ends it; and whoever
 * ends the process need not wait for it. */
static uint64_t may_come(const struct mm__trap *trap, const struct mm__call_row *row) {
  uint64_t signals = deadline_of(trap);
  if (trap->serving || !may_wait(trap, row)) return signals;
  if (mm__interrupt_ends()) signals |= MM__SIGNAL_BIT(SIGINT);
  return signals | ending(trap);
}

static void let_come(uint64_t signals, bool come) {
  if (signals) mm__call(SYS_rt_sigprocmask, come ? SIG_UNBLOCK : SIG_BLOCK, &signals, 0, 8);
}

void mm__mediate(uint32_t slot, ucontext_t *context) {
  greg_t *registers = context->uc_mcontext.gregs;
  struct mm__trap trap = {.slot = slot,
                          .number = (int)registers[REG_RAX],
                          .arguments = {registers[REG_RDI], registers[REG_RSI], registers[REG_RDX],
                                        registers[REG_R10], registers[REG_R8], registers[REG_R9]},
                          .record = &mm__tables.records[slot],
                          .state = &mm__states[slot],
                          .thread = (struct mm__thread_record *)mm__states[slot].owner,
                          .context = context,
                          .serving = mm__tables.serve.snapshot != 0};
  const struct mm__call_row *row = mm__call_row(trap.number);
  long result;
  uint64_t signals = may_come(&trap, row);
  let_come(signals, true);
  if (trap.serving)
    result = row && row->server ? row->server(&trap) : mm__pass(&trap);
  else
    result = act_for_client(&trap, row);
  /* An interrupt may have set the deadline's timer meanwhile. */
  let_come(signals | deadline_of(&trap), false);
  if (trap.thread->ending && !trap.ended) mm__trap_end(&trap, mm__ending_take(trap.thread), 0, 0);
  if (mm__tables.host.trace & MM__TRACE_SYSCALL) trace(&trap, row, result);
  if (!trap.ended) registers[REG_RAX] = result;
}
