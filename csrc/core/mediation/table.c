/* core/mediation/table.c - one row a system call, ascending by number: what it is called, what each
 * of its pointers points at, what becomes of it in a client and in a server. Numbers:
 * asm/unistd_64.h; sizes: the manual page of each call.
 *
 * No row: in a client refused with EPERM and reported, unless everything is granted; in a server
 * passed on. */
#include "core/mediation/mediation.h"

#define NONE             MM__ARGUMENT_NONE, 0
#define IN(bytes)        MM__ARGUMENT_IN, bytes
#define OUT(bytes)       MM__ARGUMENT_OUT, bytes
#define IN_OF(argument)  MM__ARGUMENT_IN_OF, argument
#define OUT_OF(argument) MM__ARGUMENT_OUT_OF, argument
#define OUTPUT           1 /* position of MM_GRANT_OUTPUT, + 1 */

#define ROW(name, grant, client, server, ...)                                                      \
  {                                                                                                \
    SYS_##name, grant, #name, client, server, { __VA_ARGS__ }                                      \
  }

#define ZERO    mm__answer_zero
#define PASS    mm__pass
#define MISSING mm__answer_missing

const struct mm__call_row mm__call_rows[] = {
    ROW(read, 0, 0, 0, {NONE}, {OUT_OF(2)}),
    ROW(write, OUTPUT, mm__file_write, 0, {NONE}, {IN_OF(2)}),
    ROW(open, 0, 0, 0, {MM__ARGUMENT_TEXT, 0}),
    ROW(close, 0, 0, 0, {NONE}),
    ROW(stat, 0, 0, 0, {MM__ARGUMENT_TEXT, 0}, {OUT(144)}),
    ROW(fstat, OUTPUT, mm__file_status, 0, {NONE}, {OUT(144)}),
    ROW(lseek, 0, 0, 0, {NONE}),
    ROW(mmap, 0, mm__memory_mmap, mm__memory_mmap, {NONE}),
    ROW(mprotect, 0, mm__memory_mprotect, mm__memory_mprotect, {NONE}),
    ROW(munmap, 0, mm__memory_munmap, mm__memory_munmap, {NONE}),
    ROW(brk, 0, mm__memory_brk, mm__memory_brk, {NONE}),
    ROW(rt_sigaction, 0, mm__signal_action, mm__signal_action, {NONE}, {IN(32)}, {OUT(32)}),
    ROW(rt_sigprocmask, 0, mm__signal_mask, mm__signal_mask, {NONE}, {IN(8)}, {OUT(8)}),
    ROW(rt_sigreturn, 0, mm__signal_sigreturn, mm__signal_sigreturn, {NONE}),
    ROW(ioctl, 0, 0, 0, {NONE}),
    ROW(writev, OUTPUT, mm__file_writev, 0, {NONE}),
    ROW(access, 0, 0, 0, {MM__ARGUMENT_TEXT, 0}),
    ROW(pipe, 0, 0, 0, {OUT(8)}),
    ROW(select, 0, 0, 0, {NONE}),
    ROW(sched_yield, 0, PASS, 0, {NONE}),
    ROW(mremap, 0, mm__memory_mremap, mm__memory_mremap, {NONE}),
    ROW(madvise, 0, mm__memory_madvise, mm__memory_madvise, {NONE}),
    ROW(nanosleep, 0, PASS, 0, {IN(16)}, {OUT(16)}),
    ROW(getpid, 0, PASS, 0, {NONE}),
    ROW(socket, 0, 0, 0, {NONE}),
    ROW(connect, 0, 0, 0, {NONE}, {IN_OF(2)}),
    ROW(clone, 0, mm__process_clone, mm__process_clone, {NONE}),
    ROW(fork, 0, mm__process_clone, mm__process_clone, {NONE}),
    ROW(vfork, 0, mm__process_clone, mm__process_clone, {NONE}),
    ROW(execve, 0, 0, 0, {MM__ARGUMENT_TEXT, 0}),
    ROW(exit, 0, mm__process_exit, mm__process_exit, {NONE}),
    ROW(kill, 0, mm__process_kill, 0, {NONE}),
    ROW(uname, 0, PASS, 0, {OUT(390)}),
    ROW(fcntl, 0, 0, 0, {NONE}),
    ROW(getcwd, 0, 0, 0, {OUT_OF(1)}),
    ROW(unlink, 0, 0, 0, {MM__ARGUMENT_TEXT, 0}),
    ROW(readlink, 0, 0, 0, {MM__ARGUMENT_TEXT, 0}, {OUT_OF(2)}),
    ROW(gettimeofday, 0, PASS, 0, {OUT(16)}, {OUT(8)}),
    ROW(getrlimit, 0, PASS, 0, {NONE}, {OUT(16)}),
    ROW(getrusage, 0, PASS, 0, {NONE}, {OUT(144)}),
    ROW(sysinfo, 0, PASS, 0, {OUT(112)}),
    ROW(times, 0, PASS, 0, {OUT(32)}),
    ROW(ptrace, 0, 0, 0, {NONE}),
    ROW(getuid, 0, PASS, 0, {NONE}),
    ROW(getgid, 0, PASS, 0, {NONE}),
    ROW(geteuid, 0, PASS, 0, {NONE}),
    ROW(getegid, 0, PASS, 0, {NONE}),
    ROW(getppid, 0, PASS, 0, {NONE}),
    ROW(sigaltstack, 0, mm__signal_stack, mm__signal_stack, {IN(24)}, {OUT(24)}),
    ROW(personality, 0, 0, 0, {NONE}),
    ROW(prctl, 0, 0, mm__process_prctl, {NONE}),
    ROW(arch_prctl, 0, mm__process_arch, mm__process_arch, {NONE}),
    ROW(gettid, 0, PASS, 0, {NONE}),
    ROW(tkill, 0, mm__process_tkill, 0, {NONE}),
    ROW(time, 0, PASS, 0, {OUT(8)}),
    ROW(futex, 0, mm__process_futex, mm__process_futex, {NONE}),
    ROW(sched_getaffinity, 0, PASS, 0, {NONE}, {NONE}, {OUT_OF(1)}),
    ROW(set_tid_address, 0, mm__process_tid_address, mm__process_tid_address, {NONE}),
    ROW(clock_gettime, 0, PASS, 0, {NONE}, {OUT(16)}),
    ROW(clock_getres, 0, PASS, 0, {NONE}, {OUT(16)}),
    ROW(clock_nanosleep, 0, PASS, 0, {NONE}, {NONE}, {IN(16)}, {OUT(16)}),
    ROW(exit_group, 0, mm__process_exit, mm__process_exit, {NONE}),
    ROW(tgkill, 0, mm__process_tgkill, 0, {NONE}),
    ROW(openat, 0, 0, 0, {NONE}, {MM__ARGUMENT_TEXT, 0}),
    ROW(newfstatat, 0, 0, 0, {NONE}, {MM__ARGUMENT_TEXT, 0}, {OUT(144)}),
    ROW(set_robust_list, 0, ZERO, ZERO, {NONE}),
    ROW(prlimit64, 0, mm__process_prlimit, 0, {NONE}, {NONE}, {NONE}, {OUT(16)}),
    ROW(getcpu, 0, PASS, 0, {OUT(4)}, {OUT(4)}),
    ROW(getrandom, 0, PASS, 0, {OUT_OF(1)}),
    ROW(rseq, 0, MISSING, MISSING, {NONE}),
    ROW(clone3, 0, mm__process_clone, mm__process_clone, {NONE}),
    {MM__CALL_SNAPSHOT, 0, "mm_snapshot", MISSING, mm__serve_snapshot, {{NONE}}},
    {MM__CALL_PRESENT, 0, "mm_present", MISSING, mm__serve_present, {{NONE}}},
};
const uint32_t mm__call_row_count = sizeof mm__call_rows / sizeof *mm__call_rows;
