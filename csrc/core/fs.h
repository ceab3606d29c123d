/* core/fs.h - FS, by which a thread finds its thread-local storage, and by which we know in which
 * image it is.
 * Owns:    FS during calls.
 * Threads: FS is each thread's own.
 * Signals: safe anywhere; a handler has the FS of what it interrupted.
 * Errors:  none. */
#ifndef MM_CORE_FS_H
#define MM_CORE_FS_H

#include <stdint.h>

/* The kernel lets us switch FS without a system call. */
extern uint32_t mm__has_fsgsbase;

/* FS of code that keeps the convention that %fs:0 holds it, as the gate's callers do. */
static inline uint64_t mm__fs_read(void) {
  uint64_t fs;
  if (mm__has_fsgsbase)
    __asm__ volatile("rdfsbase %0" : "=r"(fs));
  else
    __asm__ volatile("movq %%fs:0, %0" : "=r"(fs));
  return fs;
}

void mm__fs_tell(uint64_t fs); /* by a system call */
static inline void mm__fs_write(uint64_t fs) {
  if (mm__has_fsgsbase)
    __asm__ volatile("wrfsbase %0" : : "r"(fs) : "memory");
  else
    mm__fs_tell(fs);
}

/* FS, as the kernel knows it: right wherever the interrupted code came from. */
uint64_t mm__fs_ask(void);

#endif
