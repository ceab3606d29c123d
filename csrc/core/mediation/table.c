/* core/mediation/table.c - one row a system call, ascending by number: what it is called, what each
 * of its pointers points at, what becomes of it in a client and in a server. Numbers:
 * asm/unistd_64.h; sizes: the manual page of each call.
 *
 * No row: in a client refused with EPERM and reported, unless everything is granted; in a server
 * passed on. */
#include "core/mediation/mediation.h"

#define NONE               MM__ARGUMENT_NONE, 0
#define IN(bytes)          MM__ARGUMENT_IN, bytes
#define OUT(bytes)         MM__ARGUMENT_OUT, bytes
#define IN_OF(argument)    MM__ARGUMENT_IN_OF, argument
#define OUT_OF(argument)   MM__ARGUMENT_OUT_OF, argument
#define IN_LIST(argument)  MM__ARGUMENT_IN_LIST, argument
#define OUT_LIST(argument) MM__ARGUMENT_OUT_LIST, argument
#define TEXT               MM__ARGUMENT_TEXT, 0
#define OUTPUT             MM_GRANT_OUTPUT
#define FILES              MM_GRANT_FILES
#define SOCKETS            MM_GRANT_SOCKETS
#define HOLDS              (MM_GRANT_FILES | MM_GRANT_SOCKETS) /* may have descriptors of its own */

#define ROW(name, grants, client, server, ...)                                                     \
  {                                                                                                \
    SYS_##name, grants, false, #name, client, server, { __VA_ARGS__ }                              \
  }
/* One that may wait in the kernel for as long as it likes. */
#define WAITS(name, grants, client, server, ...)                                                   \
  {                                                                                                \
    SYS_##name, grants, true, #name, client, server, { __VA_ARGS__ }                               \
  }

#define ZERO    mm__answer_zero
#define PASS    mm__pass
#define MISSING mm__answer_missing

const struct mm__call_row mm__call_rows[] = {
    WAITS(read, HOLDS, mm__file_use, 0, {NONE}, {OUT_OF(2)}),
    WAITS(write, OUTPUT | HOLDS, mm__file_write, 0, {NONE}, {IN_OF(2)}),
    ROW(open, FILES, mm__path_open, 0, {TEXT}),
    ROW(close, HOLDS, mm__file_close, 0, {NONE}),
    ROW(stat, FILES, mm__path_stat, 0, {TEXT}, {OUT(144)}),
    ROW(fstat, OUTPUT | HOLDS, mm__file_output, 0, {NONE}, {OUT(144)}),
    ROW(lstat, FILES, mm__path_lstat, 0, {TEXT}, {OUT(144)}),
    WAITS(poll, HOLDS, mm__ready_poll, 0, {NONE}),
    ROW(lseek, HOLDS, mm__file_use, 0, {NONE}),
    ROW(mmap, 0, mm__memory_mmap, mm__memory_mmap, {NONE}),
    ROW(mprotect, 0, mm__memory_mprotect, mm__memory_mprotect, {NONE}),
    ROW(munmap, 0, mm__memory_munmap, mm__memory_munmap, {NONE}),
    ROW(brk, 0, mm__memory_brk, mm__memory_brk, {NONE}),
    ROW(rt_sigaction, 0, mm__signal_action, mm__signal_action, {NONE}, {IN(32)}, {OUT(32)}),
    ROW(rt_sigprocmask, 0, mm__signal_mask, mm__signal_mask, {NONE}, {IN(8)}, {OUT(8)}),
    ROW(rt_sigreturn, 0, mm__signal_sigreturn, mm__signal_sigreturn, {NONE}),
    ROW(ioctl, OUTPUT | HOLDS, mm__file_ask, 0, {NONE}),
    ROW(pread64, FILES, mm__file_use, 0, {NONE}, {OUT_OF(2)}),
    ROW(pwrite64, FILES, mm__file_use, 0, {NONE}, {IN_OF(2)}),
    WAITS(readv, HOLDS, mm__file_use, 0, {NONE}, {OUT_LIST(2)}),
    WAITS(writev, OUTPUT | HOLDS, mm__file_write, 0, {NONE}, {IN_LIST(2)}),
    ROW(access, FILES, mm__path_access, 0, {TEXT}),
    ROW(pipe, 0, 0, 0, {OUT(8)}),
    WAITS(select, HOLDS, mm__ready_select, 0, {NONE}),
    ROW(sched_yield, 0, PASS, 0, {NONE}),
    ROW(mremap, 0, mm__memory_mremap, mm__memory_mremap, {NONE}),
    ROW(madvise, 0, mm__memory_madvise, mm__memory_madvise, {NONE}),
    ROW(dup, HOLDS, mm__file_duplicate, 0, {NONE}),
    WAITS(nanosleep, 0, PASS, 0, {IN(16)}, {OUT(16)}),
    ROW(getpid, 0, PASS, 0, {NONE}),
    ROW(sendfile, 0, 0, 0, {NONE}),
    ROW(socket, SOCKETS, mm__socket_make, 0, {NONE}),
    WAITS(connect, SOCKETS, mm__socket_connect, 0, {NONE}),
    WAITS(accept, SOCKETS, mm__socket_accept, 0, {NONE}),
    WAITS(sendto, SOCKETS, mm__socket_send, 0, {NONE}, {IN_OF(2)}),
    WAITS(recvfrom, SOCKETS, mm__socket_receive, 0, {NONE}, {OUT_OF(2)}),
    WAITS(sendmsg, SOCKETS, mm__socket_send_message, 0, {NONE}),
    WAITS(recvmsg, SOCKETS, mm__socket_receive_message, 0, {NONE}),
    ROW(shutdown, SOCKETS, mm__file_use, 0, {NONE}),
    ROW(bind, SOCKETS, mm__socket_bind, 0, {NONE}),
    ROW(listen, SOCKETS, mm__file_use, 0, {NONE}),
    ROW(getsockname, SOCKETS, mm__socket_name, 0, {NONE}),
    ROW(getpeername, SOCKETS, mm__socket_name, 0, {NONE}),
    ROW(socketpair, SOCKETS, mm__socket_pair, 0, {NONE}, {NONE}, {NONE}, {OUT(8)}),
    ROW(setsockopt, SOCKETS, mm__socket_set_option, 0, {NONE}),
    ROW(getsockopt, SOCKETS, mm__socket_option, 0, {NONE}),
    ROW(clone, 0, mm__process_clone, mm__process_clone, {NONE}),
    ROW(fork, 0, mm__process_clone, mm__process_clone, {NONE}),
    ROW(vfork, 0, mm__process_clone, mm__process_clone, {NONE}),
    ROW(execve, 0, 0, 0, {TEXT}),
    ROW(exit, 0, mm__process_exit, mm__process_exit, {NONE}),
    ROW(kill, 0, mm__process_kill, 0, {NONE}),
    ROW(uname, 0, PASS, 0, {OUT(390)}),
    ROW(fcntl, HOLDS, mm__file_control, 0, {NONE}),
    WAITS(flock, FILES, mm__file_use, 0, {NONE}),
    ROW(fsync, FILES, mm__file_use, 0, {NONE}),
    ROW(fdatasync, FILES, mm__file_use, 0, {NONE}),
    ROW(ftruncate, FILES, mm__file_use, 0, {NONE}),
    ROW(getcwd, FILES, PASS, 0, {OUT_OF(1)}),
    ROW(rename, FILES, mm__path_rename, 0, {TEXT}, {TEXT}),
    ROW(mkdir, FILES, mm__path_mkdir, 0, {TEXT}),
    ROW(rmdir, FILES, mm__path_rmdir, 0, {TEXT}),
    ROW(creat, FILES, mm__path_create, 0, {TEXT}),
    ROW(unlink, FILES, mm__path_unlink, 0, {TEXT}),
    ROW(readlink, FILES, mm__path_read_link, 0, {TEXT}, {OUT_OF(2)}),
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
    WAITS(futex, 0, mm__process_futex, mm__process_futex, {NONE}),
    ROW(sched_getaffinity, 0, PASS, 0, {NONE}, {NONE}, {OUT_OF(1)}),
    ROW(io_setup, 0, 0, 0, {NONE}),
    ROW(io_submit, 0, 0, 0, {NONE}),
    ROW(epoll_create, 0, 0, 0, {NONE}),
    ROW(getdents64, FILES, mm__file_use, 0, {NONE}, {OUT_OF(2)}),
    ROW(set_tid_address, 0, mm__process_tid_address, mm__process_tid_address, {NONE}),
    ROW(fadvise64, FILES, mm__file_use, 0, {NONE}),
    ROW(clock_gettime, 0, PASS, 0, {NONE}, {OUT(16)}),
    ROW(clock_getres, 0, PASS, 0, {NONE}, {OUT(16)}),
    WAITS(clock_nanosleep, 0, PASS, 0, {NONE}, {NONE}, {IN(16)}, {OUT(16)}),
    ROW(exit_group, 0, mm__process_exit, mm__process_exit, {NONE}),
    ROW(tgkill, 0, mm__process_tgkill, 0, {NONE}),
    ROW(openat, FILES, mm__path_openat, 0, {NONE}, {TEXT}),
    ROW(mkdirat, FILES, mm__path_mkdirat, 0, {NONE}, {TEXT}),
    ROW(newfstatat, OUTPUT | HOLDS, mm__path_statat, 0, {NONE}, {TEXT}, {OUT(144)}),
    ROW(unlinkat, FILES, mm__path_unlinkat, 0, {NONE}, {TEXT}),
    ROW(renameat, FILES, mm__path_renameat, 0, {NONE}, {TEXT}, {NONE}, {TEXT}),
    ROW(readlinkat, FILES, mm__path_read_linkat, 0, {NONE}, {TEXT}, {OUT_OF(3)}),
    ROW(faccessat, FILES, mm__path_accessat, 0, {NONE}, {TEXT}),
    WAITS(pselect6, HOLDS, mm__ready_select, 0, {NONE}),
    WAITS(ppoll, HOLDS, mm__ready_poll, 0, {NONE}),
    ROW(set_robust_list, 0, ZERO, ZERO, {NONE}),
    WAITS(vmsplice, 0, 0, 0, {NONE}),
    ROW(fallocate, FILES, mm__file_use, 0, {NONE}),
    WAITS(accept4, SOCKETS, mm__socket_accept, 0, {NONE}),
    ROW(eventfd2, 0, 0, 0, {NONE}),
    ROW(epoll_create1, 0, 0, 0, {NONE}),
    ROW(preadv, FILES, mm__file_use, 0, {NONE}, {OUT_LIST(2)}),
    ROW(pwritev, FILES, mm__file_use, 0, {NONE}, {IN_LIST(2)}),
    WAITS(recvmmsg, SOCKETS, mm__socket_receive_messages, 0, {NONE}),
    ROW(prlimit64, 0, mm__process_prlimit, 0, {NONE}, {NONE}, {NONE}, {OUT(16)}),
    WAITS(sendmmsg, SOCKETS, mm__socket_send_messages, 0, {NONE}),
    ROW(getcpu, 0, PASS, 0, {OUT(4)}, {OUT(4)}),
    ROW(process_vm_readv, 0, 0, 0, {NONE}),
    ROW(process_vm_writev, 0, 0, 0, {NONE}),
    ROW(renameat2, FILES, mm__path_renameat, 0, {NONE}, {TEXT}, {NONE}, {TEXT}),
    ROW(getrandom, 0, PASS, 0, {OUT_OF(1)}),
    ROW(userfaultfd, 0, 0, 0, {NONE}),
    ROW(statx, OUTPUT | HOLDS, mm__path_statx, 0, {NONE}, {TEXT}, {NONE}, {NONE}, {OUT(256)}),
    ROW(rseq, 0, MISSING, MISSING, {NONE}),
    ROW(io_uring_setup, 0, 0, 0, {NONE}),
    ROW(clone3, 0, mm__process_clone, mm__process_clone, {NONE}),
    ROW(faccessat2, FILES, mm__path_accessat, 0, {NONE}, {TEXT}),
    {MM__CALL_SNAPSHOT, 0, false, "mm_snapshot", MISSING, mm__serve_snapshot, {{NONE}}},
    {MM__CALL_PRESENT, 0, false, "mm_present", MISSING, mm__serve_present, {{NONE}}},
    {MM__CALL_FAIL, 0, false, "mm_fail", mm__process_fail, MISSING, {{MM__ARGUMENT_TEXT, 0}}},
};
const uint32_t mm__call_row_count = sizeof mm__call_rows / sizeof *mm__call_rows;
