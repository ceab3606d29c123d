/* core/thread.c - the threads that ever crossed: FS, Syscall User Dispatch, the alternate signal
 * stack.
 * A thread is known by its anchor, a piece of its own thread-local storage, which a new thread
 * finds zero. That it is armed stands in memory that fork wipes, because a forked child does not
 * inherit Syscall User Dispatch; its record stays, because the child may be inside a call. What the kernel may still look at when the Matchmaker has gone (selector,
 * alternate stack) belongs to the anchor. */
#include "base/error.h"
#include "core/fault/fault.h"
#include "core/gate/callback.h"
#include "core/gate/gate.h"
#include "core/guard/keys.h"

#include <asm/prctl.h>
#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#ifndef PR_SYS_DISPATCH_INCLUSIVE_ON
#define PR_SYS_DISPATCH_INCLUSIVE_ON 2 /* Documentation/admin-guide/syscall-user-dispatch.rst */
#endif

struct mm__thread_record mm__threads[MM__THREAD_LIMIT + 1];
__attribute__((section(".wiped"), aligned(4096))) struct mm__wiped mm__wiped;
uint32_t mm__has_fsgsbase;
uint32_t mm__inclusive;

_Static_assert(sizeof(stack_t) == sizeof(((struct mm__anchor *)0)->host_stack), "a stack_t fits");

uint64_t mm__fs_ask(void) {
  uint64_t fs = 0;
  if (mm__has_fsgsbase)
    __asm__ volatile("rdfsbase %0" : "=r"(fs));
  else
    mm__call(SYS_arch_prctl, ARCH_GET_FS, &fs);
  return fs;
}

void mm__fs_tell(uint64_t fs) { mm__call(SYS_arch_prctl, ARCH_SET_FS, fs); }

/* Everything that runs in the slots above ours is dispatched. Where the kernel can say so, no
 * selector is needed; before that, all but our own text is dispatched while the selector says
 * block. */
static long dispatch_on(struct mm__anchor *anchor) {
  uint64_t low = MM__SLOT_BASE(1);
  long result = -EINVAL;
  if (!(mm__tables.host.without & MM_WITHOUT_INCLUSIVE))
    result = mm__call(SYS_prctl, PR_SET_SYSCALL_USER_DISPATCH, PR_SYS_DISPATCH_INCLUSIVE_ON, low,
                      MM__ARENA_HIGH - low, 0);
  mm__inclusive = !mm__failed(result);
  if (mm__inclusive) return result;
  return mm__call(SYS_prctl, PR_SET_SYSCALL_USER_DISPATCH, PR_SYS_DISPATCH_ON, mm__text_start,
                  mm__text_end - mm__text_start, &anchor->selector);
}

static struct mm__thread_record *claim(void) {
  for (uint32_t i = 0; i < MM__THREAD_LIMIT; i++) {
    uint32_t unused = 0;
    if (!mm__threads[i].used && __atomic_compare_exchange_n(&mm__threads[i].used, &unused, 1, 0,
                                                            __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) {
      mm__threads[i].number = i;
      return &mm__threads[i];
    }
  }
  return 0;
}

void mm__thread_forget(struct mm__thread_record *thread) {
  mm__wiped.armed[thread->number] = 0;
  memset(&thread->seen, 0, sizeof *thread - sizeof thread->used);
  __atomic_store_n(&thread->used, 0, __ATOMIC_RELEASE);
}
_Static_assert(__builtin_offsetof(struct mm__thread_record, used) ==
                   sizeof(struct mm__thread_record) - sizeof(uint64_t),
               "`used` comes last, but for the number");

struct mm__thread_record *mm__thread_before_fork(const struct mm__anchor *anchor) {
  struct mm__thread_record *thread = anchor->record;
  bool ours = (uint64_t)thread - (uint64_t)mm__threads < sizeof mm__threads;
  return ours && thread->anchor == anchor ? thread : 0;
}

/* Faults of the image must not need the image's stack. A host's own alternate stack will do when it
 * is big enough. */
static long ensure_stack(struct mm__anchor *anchor) {
  stack_t stack;
  long result = mm__call(SYS_sigaltstack, 0, &stack);
  if (mm__failed(result)) return result;
  uint64_t bytes = mm__tables.serve.snapshot ? MM__SERVER_STACK_BYTES : MM__ALTERNATE_STACK_BYTES;
  if (!(stack.ss_flags & SS_DISABLE) && stack.ss_size >= bytes / 2) return 0;
  if (stack.ss_flags & SS_ONSTACK) return -EBUSY;
  if (anchor->stack_low) { /* it has one, which the host took away */
    stack = (stack_t){.ss_sp = (void *)anchor->stack_low, .ss_size = anchor->stack_bytes};
    return mm__call(SYS_sigaltstack, &stack, 0);
  }
  stack_t host = stack;
  long low = mm__call(SYS_mmap, 0, bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mm__failed(low)) return low;
  stack = (stack_t){.ss_sp = (void *)low, .ss_size = bytes};
  result = mm__call(SYS_sigaltstack, &stack, 0);
  if (mm__failed(result)) {
    mm__call(SYS_munmap, low, bytes);
    return result;
  }
  memcpy(anchor->host_stack, &host, sizeof host);
  anchor->stack_low = (uint64_t)low;
  anchor->stack_bytes = bytes;
  return 0;
}

/* Worker threads block every signal they can; blocked, a fault or a trapped call would kill. */
void mm__thread_unblock(void) {
  const uint64_t synchronous = ~mm__asynchronous_mask;
  mm__call(SYS_rt_sigprocmask, SIG_UNBLOCK, &synchronous, 0, 8);
}

bool mm__thread_ready(struct mm__thread_record *thread) {
  mm__thread_unblock();
  return !mm__failed(ensure_stack(thread->anchor));
}

/* Where the kernel does not take it back, the thread goes on to have it. */
static void release_stack(struct mm__anchor *anchor) {
  stack_t stack;
  if (!anchor->stack_low) return;
  if (!mm__failed(mm__call(SYS_sigaltstack, 0, &stack)) &&
      (uint64_t)stack.ss_sp == anchor->stack_low) {
    memcpy(&stack, anchor->host_stack, sizeof stack);
    if (mm__failed(mm__call(SYS_sigaltstack, &stack, 0))) return;
  }
  if (mm__failed(mm__call(SYS_munmap, anchor->stack_low, anchor->stack_bytes))) return;
  anchor->stack_low = 0;
}

struct mm__thread_record *mm__thread_arm(uint64_t fs, struct mm_error *error) {
  if (fs == 0) {
    mm__fail(error, MM_ERROR_UNSUPPORTED, "this thread has no thread-local storage");
    return 0;
  }
  struct mm__anchor *anchor = mm__thread_anchor(fs);
  struct mm__thread_record *thread = mm__thread_before_fork(anchor);
  bool is_child = !mm__wiped.is_same_process;
  if (is_child) mm__fork_adopt(thread);
  if (!thread) thread = claim();
  if (!thread) {
    anchor->refused = MM_ERROR_LIMIT;
    mm__fail(error, MM_ERROR_LIMIT, "more than %d threads have called images", MM__THREAD_LIMIT);
    return 0;
  }
  thread->fs = fs;
  thread->seen.id = (uint32_t)mm__call(SYS_gettid);
  long result = ensure_stack(anchor);
  if (!mm__failed(result)) result = dispatch_on(anchor);
  if (mm__failed(result)) {
    anchor->refused = result == -EINVAL ? MM_ERROR_UNSUPPORTED : MM_ERROR_SYSTEM;
    mm__fail_system(error, anchor->refused, (int)-result,
                    "cannot trap the system calls of this thread");
    mm__thread_forget(thread);
    release_stack(anchor);
    return 0;
  }
  mm__thread_unblock();
  thread->anchor = anchor;
  mm__wiped.armed[thread->number] = 1;
  anchor->record = thread;
  anchor->refused = MM_OK;
  mm__keys_adopt(thread);
  if (mm__tables.host.thread_started) mm__tables.host.thread_started(anchor);
  if (is_child) mm__fork_reset(thread);
  return thread;
}

int mm__thread_find(struct mm__thread_record **thread, struct mm_error *error) {
  struct mm_error why;
  uint64_t fs = mm__fs_read();
  if (!error) error = &why;
  if (MM__IN_ARENA(fs)) return mm__fail(error, MM_ERROR_UNSUPPORTED, "called from inside an image");
  *thread = fs ? mm__thread_known(fs) : 0;
  if (!*thread) *thread = mm__thread_arm(fs, error);
  return *thread ? MM_OK : error->status;
}

void mm__thread_disarm(struct mm__thread_record *thread) {
  struct mm__anchor *anchor = thread->anchor;
  mm__deadline_forget(thread);
  mm__call(SYS_prctl, PR_SET_SYSCALL_USER_DISPATCH, PR_SYS_DISPATCH_OFF, 0, 0, 0);
  release_stack(anchor);
  mm__keys_forsake(thread);
  anchor->record = 0;
  mm__thread_forget(thread);
}

void mm__thread_ended(struct mm__anchor *anchor) {
  uint64_t fs = mm__fs_read();
  struct mm__thread_record *thread = anchor->record;
  bool ours = (uint64_t)thread - (uint64_t)mm__threads < sizeof mm__threads && thread->fs == fs &&
              mm__thread_known(fs) == thread;
  if (ours && thread->seen.depth) mm__callback_lost();
  if (ours)
    mm__thread_disarm(thread);
  else
    release_stack(anchor);
}
