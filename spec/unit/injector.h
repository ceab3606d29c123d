/* unit/injector.h - makes the kernel refuse one system call of a child, the nth of what is tried.
 *
 * A seccomp filter in the child reports the calls that may be refused to its tracer, the test
 * program, which lets them go on or skips them with a result of its own: seccomp(2),
 * SECCOMP_RET_TRACE ("by changing the system call number to -1", and the value in the return
 * register is what the call returns); ptrace(2), PTRACE_O_TRACESECCOMP. What the child has of memory
 * from malloc(3) is refused likewise, by a malloc of our own. */
#ifndef SPEC_UNIT_INJECTOR_H
#define SPEC_UNIT_INJECTOR_H

#include "client.h"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>

/* What may be refused, and how: an error that its manual page names, for a reason that has nothing to
 * do with the arguments. Not here: calls that only fail for wrong arguments (arch_prctl(2),
 * rt_sigprocmask(2), timer_settime(2), close(2), fstat(2) of an open descriptor). */
static const struct refusable {
  int number, error;
  const char *name;
} refusable[] = {
    {SYS_mmap, ENOMEM, "mmap"},
    {SYS_mprotect, ENOMEM, "mprotect"},
    {SYS_pkey_mprotect, ENOMEM, "pkey_mprotect"},
    {SYS_munmap, ENOMEM, "munmap"},
    {SYS_mremap, ENOMEM, "mremap"},
    {SYS_madvise, EAGAIN, "madvise"},
    {SYS_openat, EMFILE, "openat"},
    {SYS_openat2, EMFILE, "openat2"},
    {SYS_read, EIO, "read"},
    {SYS_pread64, EIO, "pread64"},
    {SYS_write, ENOSPC, "write"},
    {SYS_newfstatat, ENOMEM, "newfstatat"},
    {SYS_fstatfs, EIO, "fstatfs"},
    {SYS_readlink, ENOMEM, "readlink"},
    {SYS_getdents64, EIO, "getdents64"},
    {SYS_mkdir, ENOSPC, "mkdir"},
    {SYS_process_vm_readv, EPERM, "process_vm_readv"},
    {SYS_prctl, EPERM, "prctl"}, /* as these by a seccomp filter of the host's */
    {SYS_rt_sigaction, EPERM, "rt_sigaction"},
    {SYS_sigaltstack, ENOMEM, "sigaltstack"},
    {SYS_timer_create, EAGAIN, "timer_create"},
    {SYS_userfaultfd, EPERM, "userfaultfd"},
    {SYS_ioctl, ENOMEM, "ioctl"},
};
#define REFUSABLE_COUNT (sizeof refusable / sizeof *refusable)

/* Between the child and who traces it. */
static struct orders {
  volatile bool is_armed;
  volatile bool goes_on;      /* and all calls of the same kind after it */
  volatile unsigned at, seen; /* the nth is refused, counted from 1; 0: none */
  volatile unsigned first;    /* where the child begins */
  volatile int kind;          /* what was refused: an index in `refusable`, -1 malloc(3) */
  volatile unsigned long arguments[4], instruction;
  volatile unsigned refused, operation; /* how many, all in all; which operation is tried */
} * orders;

static UNUSED bool is_due(void) {
  return orders && orders->is_armed && ++orders->seen == orders->at;
}

#ifndef __SANITIZE_ADDRESS__
void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t count, size_t bytes);
void *__libc_realloc(void *block, size_t bytes);

static bool is_out_of_memory(void) {
  if (!is_due()) return false;
  orders->kind = -1;
  orders->refused++;
  errno = ENOMEM;
  return true;
}

void *malloc(size_t bytes) { return is_out_of_memory() ? NULL : __libc_malloc(bytes); }
void *calloc(size_t count, size_t bytes) {
  return is_out_of_memory() ? NULL : __libc_calloc(count, bytes);
}
void *realloc(void *block, size_t bytes) {
  return is_out_of_memory() ? NULL : __libc_realloc(block, bytes);
}
#endif

static UNUSED void share_orders(void) {
  orders = mmap(NULL, sizeof *orders, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (orders == MAP_FAILED) abort();
}

static void report_calls(void) {
  struct sock_filter program[REFUSABLE_COUNT + 3];
  unsigned length = 0;
  program[length++] =
      (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
  for (unsigned i = 0; i < REFUSABLE_COUNT; i++)
    program[length++] =
        (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)refusable[i].number,
                                     (uint8_t)(REFUSABLE_COUNT - i), 0);
  program[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
  program[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRACE);
  struct sock_fprog filter = {(unsigned short)length, program};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter))
    abort();
}

static void on_call(pid_t child) {
  struct user_regs_struct registers;
  if (!orders->is_armed || ptrace(PTRACE_GETREGS, child, NULL, &registers)) return;
  int kind = 0;
  while (refusable[kind].number != (int)registers.orig_rax) kind++;
  bool only_asks = (registers.orig_rax == SYS_rt_sigaction && !registers.rsi) ||
                   (registers.orig_rax == SYS_sigaltstack && !registers.rdi);
  if (only_asks) return;
  bool again = orders->goes_on && orders->seen >= orders->at && kind == orders->kind;
  if (!is_due() && !again) return;
  orders->kind = kind;
  orders->instruction = registers.rip;
  orders->arguments[0] = registers.rdi, orders->arguments[1] = registers.rsi;
  orders->arguments[2] = registers.rdx, orders->arguments[3] = registers.r10;
  orders->refused++;
  registers.orig_rax = ~0ull;
  registers.rax = (unsigned long long)-(long long)refusable[kind].error;
  ptrace(PTRACE_SETREGS, child, NULL, &registers);
}

/* Runs `body` in a child that is traced; returns its wait status. */
static UNUSED int run_traced(void (*body)(void)) {
  int status = -1, signal = 0;
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    limit_time();
    if (ptrace(PTRACE_TRACEME, 0, NULL, NULL)) abort();
    raise(SIGSTOP);
    report_calls();
    body();
    fflush(stdout);
    _exit(failures != 0);
  }
  waitpid(child, &status, 0);
  ptrace(PTRACE_SETOPTIONS, child, NULL, PTRACE_O_TRACESECCOMP | PTRACE_O_EXITKILL);
  while (!ptrace(PTRACE_CONT, child, NULL, signal) && waitpid(child, &status, 0) == child &&
         WIFSTOPPED(status)) {
    signal = WSTOPSIG(status);
    if (status >> 8 == (SIGTRAP | PTRACE_EVENT_SECCOMP << 8)) {
      signal = 0;
      on_call(child);
    }
  }
  return status;
}

static UNUSED void arm(unsigned at) {
  orders->at = at;
  orders->seen = 0;
  orders->is_armed = true;
}

static UNUSED void disarm(void) { orders->is_armed = false; }

/* "mprotect(7f0000000000, 1000, 3) from 20000000123c" */
static UNUSED const char *refused_text(void) {
  static char text[160];
  if (orders->kind < 0) return "malloc";
  snprintf(text, sizeof text, "%s(%lx, %lx, %lx, %lx) from %lx", refusable[orders->kind].name,
           orders->arguments[0], orders->arguments[1], orders->arguments[2], orders->arguments[3],
           orders->instruction);
  return text;
}

#endif
