/* core/thread.c - the threads that ever crossed: FS, Syscall User Dispatch, the alternate signal stack.
 * A thread is known by a word of its own thread-local storage, which a new thread finds zero; its record lies in memory
 * that fork wipes, because a forked child inherits neither SUD nor our right to its alternate stack. */
#include "base/error.h"
#include "core/state.h"

#include <asm/prctl.h>
#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#ifndef PR_SYS_DISPATCH_INCLUSIVE_ON
#define PR_SYS_DISPATCH_INCLUSIVE_ON 2 /* Documentation/admin-guide/syscall-user-dispatch.rst */
#endif

__attribute__((section(".threads"),
               aligned(4096))) struct mm__thread_record mm__threads[MM__THREAD_LIMIT];
uint32_t mm__has_fsgsbase;
uint32_t mm__inclusive;

uint64_t mm__fs_read(void) {
  uint64_t fs = 0;
  if (mm__has_fsgsbase)
    __asm__ volatile("rdfsbase %0" : "=r"(fs));
  else
    mm__call(SYS_arch_prctl, ARCH_GET_FS, &fs);
  return fs;
}

void mm__fs_write(uint64_t fs) {
  if (mm__has_fsgsbase)
    __asm__ volatile("wrfsbase %0" : : "r"(fs) : "memory");
  else
    mm__call(SYS_arch_prctl, ARCH_SET_FS, fs);
}

/* Everything that runs in the slots above ours is dispatched. Where the kernel can say so, no selector is needed; before
 * that, all but our own text is dispatched while the selector says block. */
static long dispatch_on(struct mm__thread_record *thread) {
  uint64_t low = MM__SLOT_BASE(1);
  long result = mm__call(SYS_prctl, PR_SET_SYSCALL_USER_DISPATCH, PR_SYS_DISPATCH_INCLUSIVE_ON, low,
                         MM__ARENA_HIGH - low, 0);
  mm__inclusive = !mm__failed(result);
  if (mm__inclusive) return result;
  return mm__call(SYS_prctl, PR_SET_SYSCALL_USER_DISPATCH, PR_SYS_DISPATCH_ON, mm__text_start,
                  mm__text_end - mm__text_start, &thread->seen.selector);
}

static struct mm__thread_record *claim(void) {
  for (uint32_t i = 0; i < MM__THREAD_LIMIT; i++) {
    uint32_t unused = 0;
    if (!mm__threads[i].used && __atomic_compare_exchange_n(&mm__threads[i].used, &unused, 1, 0,
                                                            __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
      return &mm__threads[i];
  }
  return 0;
}

/* Faults of the image must not need the image's stack. A host's own alternate stack will do when it is big enough. */
static long ensure_stack(struct mm__thread_record *thread) {
  stack_t stack;
  long result = mm__call(SYS_sigaltstack, 0, &stack);
  if (mm__failed(result)) return result;
  uint64_t bytes = mm__tables.serve.snapshot ? MM__SERVER_STACK_BYTES : MM__ALTERNATE_STACK_BYTES;
  if (!(stack.ss_flags & SS_DISABLE) && stack.ss_size >= bytes / 2) return 0;
  if (stack.ss_flags & SS_ONSTACK) return -EBUSY;
  thread->host_stack = stack;
  long low = mm__call(SYS_mmap, 0, bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mm__failed(low)) return low;
  stack = (stack_t){.ss_sp = (void *)low, .ss_size = bytes};
  result = mm__call(SYS_sigaltstack, &stack, 0);
  if (mm__failed(result)) {
    mm__call(SYS_munmap, low, bytes);
    return result;
  }
  thread->stack_low = (uint64_t)low;
  return 0;
}

struct mm__thread_record *mm__thread_arm(uint64_t fs, struct mm_error *error) {
  if (fs == 0) {
    mm__fail(error, MM_ERROR_UNSUPPORTED, "this thread has no thread-local storage");
    return 0;
  }
  /* After a fork the word still points to the (wiped) record of the parent's thread. */
  struct mm__thread_record **word = mm__thread_word(fs), *thread = *word;
  if (!thread) thread = claim();
  if (!thread) {
    mm__fail(error, MM_ERROR_LIMIT, "more than %d threads have called images", MM__THREAD_LIMIT);
    return 0;
  }
  thread->used = 1;
  thread->fs = fs;
  thread->seen.id = (uint32_t)mm__call(SYS_gettid);
  long result = ensure_stack(thread);
  if (!mm__failed(result)) result = dispatch_on(thread);
  if (mm__failed(result)) {
    mm__fail_system(error, result == -EINVAL ? MM_ERROR_UNSUPPORTED : MM_ERROR_SYSTEM, (int)-result,
                    "cannot arm this thread");
    thread->used = 0;
    *word = 0;
    return 0;
  }
  thread->seen.armed = 1;
  *word = thread;
  if (mm__tables.host.thread_started) mm__tables.host.thread_started(thread);
  return thread;
}

struct mm__thread_record *mm__thread_here(struct mm_error *error) {
  uint64_t fs = mm__fs_read();
  if (fs == 0 || MM__IN_ARENA(fs)) {
    mm__fail(error, MM_ERROR_UNSUPPORTED, "called from inside an image");
    return 0;
  }
  struct mm__thread_record *thread = *mm__thread_word(fs);
  return thread && thread->seen.armed ? thread : mm__thread_arm(fs, error);
}

static void release_stack(struct mm__thread_record *thread) {
  if (!thread->stack_low) return;
  stack_t stack;
  if (!mm__failed(mm__call(SYS_sigaltstack, 0, &stack)) &&
      (uint64_t)stack.ss_sp == thread->stack_low) {
    mm__call(SYS_sigaltstack, &thread->host_stack, 0);
  }
  mm__call(SYS_munmap, thread->stack_low, MM__ALTERNATE_STACK_BYTES);
  thread->stack_low = 0;
}

void mm__thread_disarm(struct mm__thread_record *thread) {
  mm__call(SYS_prctl, PR_SET_SYSCALL_USER_DISPATCH, PR_SYS_DISPATCH_OFF);
  release_stack(thread);
  *mm__thread_word(thread->fs) = 0;
  memset(thread, 0, sizeof *thread);
}

void mm__thread_ended(void *record) {
  struct mm__thread_record *thread = record;
  uint64_t index = (uint64_t)(thread - mm__threads);
  if (index < MM__THREAD_LIMIT && thread->used && thread->fs == mm__fs_read())
    mm__thread_disarm(thread);
}
