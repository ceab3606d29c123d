/* core/lock.c - a futex lock (Drepper, "Futexes Are Tricky", mutex 2), and the tables' own page
 * permissions. */
#include "base/error.h"
#include "base/format.h"
#include "core/gate/gate.h"

#include <linux/futex.h>
#include <stdarg.h>
#include <sys/mman.h>

struct mm__still_lock mm__core_lock;

void mm__lock(uint32_t *lock) {
  uint32_t seen = 0;
  if (__atomic_compare_exchange_n(lock, &seen, 1, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) return;
  if (seen != 2) seen = __atomic_exchange_n(lock, 2, __ATOMIC_ACQUIRE);
  while (seen != 0) {
    mm__call(SYS_futex, lock, FUTEX_WAIT_PRIVATE, 2);
    seen = __atomic_exchange_n(lock, 2, __ATOMIC_ACQUIRE);
  }
}

void mm__unlock(uint32_t *lock) {
  if (__atomic_exchange_n(lock, 0, __ATOMIC_RELEASE) == 2)
    mm__call(SYS_futex, lock, FUTEX_WAKE_PRIVATE, 1);
}

/* A handler that forks would wait, for a fork, for the very thread that it has interrupted. */
void mm__still_lock(struct mm__still_lock *lock) {
  uint64_t before;
  mm__call(SYS_rt_sigprocmask, SIG_BLOCK, &mm__asynchronous_mask, &before, 8);
  mm__lock(&lock->word);
  lock->blocked = mm__asynchronous_mask & ~before;
}

void mm__still_unlock(struct mm__still_lock *lock) {
  uint64_t blocked = lock->blocked;
  mm__unlock(&lock->word);
  mm__call(SYS_rt_sigprocmask, SIG_UNBLOCK, &blocked, 0, 8);
}

static long protect(uint64_t low, uint64_t high, int protection) {
  return mm__call(SYS_mprotect, low, high - low, protection);
}

static int open_for_writing(uint64_t low, uint64_t high, struct mm_error *error) {
  long result = protect(low, high, PROT_READ | PROT_WRITE);
  if (!mm__failed(result)) return MM_OK;
  return mm__fail_system(error, MM_ERROR_MEMORY, (int)-result,
                         "the Matchmaker cannot write to its tables");
}

int mm__tables_open(struct mm_error *error) {
  return open_for_writing((uint64_t)mm__tables_start, (uint64_t)mm__tables_end, error);
}

/* Of one piece again, which needs no new mapping; so trying once more may help. */
void mm__tables_close(void) {
  uint64_t low = (uint64_t)mm__tables_start, high = (uint64_t)mm__tables_end;
  for (int tries = 0; tries < 2; tries++)
    if (!mm__failed(protect(low, high, PROT_READ))) return;
  mm__say("the kernel refuses to close the Matchmaker's tables");
  mm__call(SYS_kill, mm__call(SYS_getpid), SIGKILL);
}

int mm__record_open(const struct mm__record *record, struct mm_error *error) {
  uint64_t page = (uint64_t)record & ~(MM__PAGE - 1ul);
  return open_for_writing(page, page + MM__PAGE, error);
}

void mm__record_close(const struct mm__record *record) {
  uint64_t page = (uint64_t)record & ~(MM__PAGE - 1ul);
  if (mm__failed(protect(page, page + MM__PAGE, PROT_READ))) mm__tables_close();
}

void mm__say(const char *format, ...) {
  char line[1024] = "matchmaker: ";
  va_list list;
  va_start(list, format);
  size_t length = 12 + mm__format_list(line + 12, sizeof line - 13, format, list);
  va_end(list);
  mm__format_line(line);
  line[length++] = '\n';
  mm__call(SYS_write, 2, line, length);
}
