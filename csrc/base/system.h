/* base/system.h - system calls without libc: no errno, no thread-local storage, usable in handlers.
 * Owns:    nothing.
 * Threads: any.
 * Signals: safe anywhere.
 * Errors:  the kernel's own: a value in -4095..-1 is a negated errno.
 * Source:  syscall(2); psABI x86-64 A.2.1: arguments in rdi rsi rdx r10 r8 r9, rcx and r11
 *          clobbered. */
#ifndef MM_BASE_SYSTEM_H
#define MM_BASE_SYSTEM_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>

#define MM__SECOND_NS 1000000000ul

static inline long mm__system(long number, long a, long b, long c, long d, long e, long f) {
  register long r10 __asm__("r10") = d;
  register long r8 __asm__("r8") = e;
  register long r9 __asm__("r9") = f;
  long result;
  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                   : "rcx", "r11", "memory");
  return result;
}

#define MM__SYSTEM6(n, a, b, c, d, e, f, ...)                                                      \
  mm__system(n, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))
/* mm__call(SYS_close, fd): missing arguments are zero. */
#define mm__call(...) MM__SYSTEM6(__VA_ARGS__, 0, 0, 0, 0, 0, 0, 0)

static inline bool mm__failed(long result) { return (unsigned long)result > -4096ul; }

/* CLOCK_MONOTONIC, in ns. */
static inline uint64_t mm__now_ns(void) {
  struct timespec now = {0, 0};
  mm__call(SYS_clock_gettime, CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * MM__SECOND_NS + (uint64_t)now.tv_nsec;
}

#endif
