/* core/mediation/signal.c - signal calls. In a client they are answered but not carried out: the
 * process's signals are the client's. In a server they are real, except that nothing may come
 * between us and SIGSYS. */
#include "core/mediation/mediation.h"

#include "core/gate/gate.h"

#include <errno.h>
#include <signal.h>

#define OURS MM__SIGNAL_BIT(SIGSYS)

static bool readable(const struct mm__trap *trap, uint64_t low, uint64_t bytes) {
  return mm__slot_map_covers(&trap->state->map, low, low + bytes, 1);
}

long mm__signal_action(struct mm__trap *trap) {
  long signal = trap->arguments[0];
  uint64_t wanted = (uint64_t)trap->arguments[1], old = (uint64_t)trap->arguments[2];
  if (!trap->serving || signal == SIGSYS) {
    if (old) memset((void *)old, 0, sizeof(struct mm__action));
    return 0;
  }
  if (!wanted) return mm__pass(trap);
  if (!readable(trap, wanted, sizeof(struct mm__action))) return -EFAULT;
  struct mm__action action = *(const struct mm__action *)wanted;
  action.mask &= ~OURS;
  return mm__call(SYS_rt_sigaction, signal, &action, old, trap->arguments[3]);
}

/* The mask that counts is the one that the end of the trap restores. */
long mm__signal_mask(struct mm__trap *trap) {
  uint64_t wanted = (uint64_t)trap->arguments[1], old = (uint64_t)trap->arguments[2];
  uint64_t *mask = (uint64_t *)&trap->context->uc_sigmask;
  uint64_t before = trap->serving ? *mask : 0;
  if (trap->arguments[3] != 8) return -EINVAL;
  if (wanted && trap->serving) {
    if (!readable(trap, wanted, 8)) return -EFAULT;
    uint64_t set = *(const uint64_t *)wanted & ~OURS;
    switch (trap->arguments[0]) {
    case SIG_BLOCK:
      *mask |= set;
      break;
    case SIG_UNBLOCK:
      *mask &= ~set;
      break;
    case SIG_SETMASK:
      *mask = set;
      break;
    default:
      return -EINVAL;
    }
  }
  if (old) {
    if (!mm__slot_map_covers(&trap->state->map, old, old + 8, 2)) return -EFAULT;
    *(uint64_t *)old = before;
  }
  return 0;
}

/* Traps run on our alternate stack, so nobody else may choose it. */
long mm__signal_stack(struct mm__trap *trap) {
  uint64_t old = (uint64_t)trap->arguments[1];
  if (old) {
    if (!mm__slot_map_covers(&trap->state->map, old, old + sizeof(stack_t), 2)) return -EFAULT;
    *(stack_t *)old = (stack_t){.ss_flags = SS_DISABLE};
  }
  return 0;
}

long mm__signal_sigreturn(struct mm__trap *trap) {
  if (trap->serving) mm__signal_return((uint64_t)trap->context->uc_mcontext.gregs[REG_RSP]);
  mm__trap_end(trap, MM_ERROR_FAULT, SIGSYS, 0);
  return 0;
}
