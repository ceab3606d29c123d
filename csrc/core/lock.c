/* core/lock.c - a futex lock (Drepper, "Futexes Are Tricky", mutex 2), and the tables' own page
 * permissions. */
#include "base/format.h"
#include "core/state.h"

#include <linux/futex.h>
#include <stdarg.h>
#include <sys/mman.h>

uint32_t mm__core_lock;

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

static void protect_tables(int protection) {
  mm__call(SYS_mprotect, mm__tables_start, mm__tables_end - mm__tables_start, protection);
}

static void protect_record(const struct mm__record *record, int protection) {
  mm__call(SYS_mprotect, (uint64_t)record & ~(MM__PAGE - 1ul), MM__PAGE, protection);
}

void mm__record_open(const struct mm__record *record) {
  protect_record(record, PROT_READ | PROT_WRITE);
}

void mm__record_close(const struct mm__record *record) { protect_record(record, PROT_READ); }

void mm__tables_open(void) { protect_tables(PROT_READ | PROT_WRITE); }
void mm__tables_close(void) { protect_tables(PROT_READ); }

void mm__say(const char *format, ...) {
  char line[1024] = "matchmaker: ";
  va_list list;
  va_start(list, format);
  size_t length = 12 + mm__format_list(line + 12, sizeof line - 13, format, list);
  va_end(list);
  line[length++] = '\n';
  mm__call(SYS_write, 2, line, length);
}
