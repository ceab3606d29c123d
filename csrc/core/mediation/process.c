/* core/mediation/process.c - exit, threads and children, signals to oneself, FS, futexes. */
#include "core/mediation/mediation.h"

#include <asm/prctl.h>
#include <errno.h>
#include <linux/futex.h>
#include <linux/sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>

/* Calls into the launcher's own C library: on its FS, with its system calls let through. */
static void enter_launcher(const struct mm__trap *trap) {
  trap->thread->anchor->selector = 0;
  mm__fs_write(mm__tables.host_fs);
}

long mm__process_exit(struct mm__trap *trap) {
  int status = (int)trap->arguments[0] & 0xff;
  if (trap->serving) {
    enter_launcher(trap);
    mm__tables.serve.ended(status, 0, 0, 0);
  }
  mm__trap_end(trap, MM_ERROR_EXIT, 0, status);
  return 0;
}

/* That the message is one line, with nothing in it that a terminal obeys, mm__fail sees to. */
long mm__process_fail(struct mm__trap *trap) {
  const char *message = (const char *)trap->arguments[0];
  char *said = mm__states[trap->slot].frame->thread->outcome.said;
  uint32_t most = sizeof trap->thread->seen.outcome.said - 1, length = 0;
  mm__trap_end(trap, MM_ERROR_SERVER, 0, 0);
  for (; message && message[length] && length < most; length++) said[length] = message[length];
  said[length] = 0;
  return 0;
}

/* An image has one thread. What wants another is told to try again later, and remembered. A server
 * may fork: the child has no Syscall User Dispatch (it is not inherited) and does what it likes;
 * CLONE_VM would put it on our stack, so a vfork is a fork here. */
long mm__process_clone(struct mm__trap *trap) {
  unsigned long flags = (unsigned long)trap->arguments[0];
  uint64_t stack = (uint64_t)trap->arguments[1];
  if (trap->number == SYS_clone3) return -ENOSYS;
  if (trap->number == SYS_fork || trap->number == SYS_vfork) flags = SIGCHLD, stack = 0;
  bool thread =
      flags & (CLONE_THREAD | CLONE_SIGHAND) || (flags & (CLONE_VM | CLONE_VFORK)) == CLONE_VM;
  if (thread || !trap->serving) {
    trap->state->refused_threads++;
    return -EAGAIN;
  }
  flags &= ~(unsigned long)(CLONE_VM | CLONE_SETTLS);
  long child = mm__call(SYS_clone, flags, 0, trap->arguments[2], trap->arguments[3], 0);
  if (child == 0 && stack) trap->context->uc_mcontext.gregs[REG_RSP] = (greg_t)stack;
  return child;
}

long mm__process_tid_address(struct mm__trap *trap) {
  (void)trap;
  return mm__call(SYS_gettid);
}

/* The value is the interrupted code's own: a trap does not change FS, so setting it here is setting
 * it there. */
long mm__process_arch(struct mm__trap *trap) {
  uint64_t address = (uint64_t)trap->arguments[1];
  if (trap->arguments[0] == ARCH_GET_FS) {
    if (!mm__slot_map_covers(&trap->state->map, address, address + 8, 2)) return -EFAULT;
    *(uint64_t *)address = mm__fs_ask();
    return 0;
  }
  if (!trap->serving) return -EPERM;
  if (trap->arguments[0] != ARCH_SET_FS) return mm__pass(trap);
  if (MM__SLOT_OF(address) != trap->slot) return -EPERM;
  mm__fs_write(address);
  return 0;
}

static long signal_self(struct mm__trap *trap, long process, int signal) {
  if (process != 0 && process != mm__call(SYS_getpid) && process != mm__call(SYS_gettid))
    return -EPERM;
  if (signal < 0 || signal >= MM__SIGNAL_COUNT) return -EINVAL;
  if (signal == 0) return 0;
  mm__trap_end(trap, MM_ERROR_FAULT, signal, 0);
  return 0;
}

long mm__process_kill(struct mm__trap *trap) {
  return signal_self(trap, trap->arguments[0], (int)trap->arguments[1]);
}

long mm__process_tkill(struct mm__trap *trap) { return mm__process_kill(trap); }

long mm__process_tgkill(struct mm__trap *trap) {
  return signal_self(trap, trap->arguments[1], (int)trap->arguments[2]);
}

/* Reading limits is harmless, setting them is not. */
long mm__process_prlimit(struct mm__trap *trap) {
  return trap->arguments[0] == 0 && trap->arguments[2] == 0 ? mm__pass(trap) : -EPERM;
}

/* Nobody else runs in an image: waking finds no one, and waiting without a time limit would be for
 * ever. */
long mm__process_futex(struct mm__trap *trap) {
  long command = trap->arguments[1] & FUTEX_CMD_MASK;
  uint64_t word = (uint64_t)trap->arguments[0], limit = (uint64_t)trap->arguments[3];
  if (trap->serving) return mm__pass(trap);
  if (command == FUTEX_WAKE || command == FUTEX_WAKE_BITSET) return 0;
  if (command != FUTEX_WAIT && command != FUTEX_WAIT_BITSET) return -ENOSYS;
  if (word % 4 || !mm__memory_usable(trap, word, 4, PROT_READ)) return -EFAULT;
  if (*(const uint32_t *)word != (uint32_t)trap->arguments[2]) return -EAGAIN;
  if (limit)
    return mm__memory_usable(trap, limit, sizeof(struct timespec), PROT_READ) ? mm__pass(trap)
                                                                              : -EFAULT;
  mm__trap_end(trap, MM_ERROR_FAULT, SIGABRT, 0);
  return 0;
}

long mm__process_prctl(struct mm__trap *trap) {
  long option = trap->arguments[0];
  if (option == PR_SET_SYSCALL_USER_DISPATCH || option == PR_SET_SECCOMP) return -EPERM;
  return mm__pass(trap);
}
