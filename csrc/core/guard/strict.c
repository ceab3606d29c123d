/* core/guard/strict.c - takes execution from all code of the client, and gives it back.
 *
 * What is executable is read from /proc/self/maps each time: a list that is older than a dlopen(3) or
 * a munmap(2) would close too little, or open what it must not. That and a call of mprotect(2) for
 * each mapping, twice, is the price. Source: proc(5), mprotect(2). */
#include "core/guard/strict.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <sys/mman.h>

#define RANGE_LIMIT 4096u
#define USER_HIGH   (1ul << 47) /* above it lies only [vsyscall], which nobody can close */

static struct closed_range {
  uint64_t low, high;
  uint32_t protection;
} ranges[RANGE_LIMIT];
static uint32_t range_count, lock, owner;
static uint64_t times; /* that it was closed */
static volatile uint32_t closed;

/* One line of /proc/self/maps; what follows the permissions is not looked at. */
struct line {
  uint64_t numbers[2];
  uint32_t field, protection;
};

static void take_character(struct line *line, char c) {
  uint64_t *number = &line->numbers[line->field & 1];
  if (line->field < 2 && (c == '-' || c == ' '))
    line->field++;
  else if (line->field < 2)
    *number = *number * 16 + (uint64_t)(c <= '9' ? c - '0' : c - 'a' + 10);
  else if (line->field == 2 && c == ' ')
    line->field++;
  else if (line->field == 2)
    line->protection |= c == 'r' ? PROT_READ : c == 'w' ? PROT_WRITE : c == 'x' ? PROT_EXEC : 0;
}

typedef int32_t visit_line(const struct line *line, uint64_t detail);

static int32_t each_line(visit_line *visit, uint64_t detail) {
  char buffer[2048];
  struct line line = {0};
  int32_t status = MM_OK;
  long count, file = mm__call(SYS_openat, AT_FDCWD, "/proc/self/maps", O_RDONLY | O_CLOEXEC);
  if (mm__failed(file)) return MM_ERROR_SYSTEM;
  while (status == MM_OK && (count = mm__call(SYS_read, file, buffer, sizeof buffer)) > 0)
    for (long i = 0; i < count && status == MM_OK; i++) {
      if (buffer[i] != '\n') {
        take_character(&line, buffer[i]);
        continue;
      }
      status = visit(&line, detail);
      line = (struct line){0};
    }
  mm__call(SYS_close, file);
  return status;
}

static int32_t keep_code(const struct line *line, uint64_t unused) {
  (void)unused;
  uint64_t low = line->numbers[0];
  if (!(line->protection & PROT_EXEC) || MM__IN_ARENA(low) || low >= USER_HIGH) return MM_OK;
  if (range_count == RANGE_LIMIT) return MM_ERROR_LIMIT;
  ranges[range_count++] = (struct closed_range){low, line->numbers[1], line->protection};
  return MM_OK;
}

static bool protect_all(uint32_t mask) {
  bool done = true;
  for (uint32_t i = 0; i < range_count; i++)
    done &= !mm__failed(mm__call(SYS_mprotect, ranges[i].low, ranges[i].high - ranges[i].low,
                                 ranges[i].protection & mask));
  return done;
}

/* Of whole mappings, which needs no new one; so trying once more may help. */
static void open_all(void) {
  for (int tries = 0; tries < 2; tries++)
    if (protect_all(~0u)) return;
  mm__say("the kernel refuses to give the client's code back");
  mm__call(SYS_kill, mm__call(SYS_getpid), SIGKILL);
}

static void open_code(void) {
  open_all();
  owner = 0;
  __atomic_store_n(&closed, 0, __ATOMIC_SEQ_CST);
  mm__call(SYS_futex, &closed, FUTEX_WAKE_PRIVATE, 0x7fffffff);
  mm__unlock(&lock);
}

static int32_t close_code(void) {
  mm__lock(&lock);
  range_count = 0;
  int32_t status = each_line(keep_code, 0);
  if (status != MM_OK) {
    mm__unlock(&lock);
    return status;
  }
  owner = (uint32_t)mm__call(SYS_gettid);
  __atomic_store_n(&closed, 1, __ATOMIC_SEQ_CST);
  __atomic_fetch_add(&times, 1, __ATOMIC_SEQ_CST);
  if (protect_all(~(uint32_t)PROT_EXEC)) return MM_OK;
  open_code();
  return MM_ERROR_SYSTEM;
}

int32_t mm__strict_enter(struct mm__thread_record *thread) {
  if (!thread->strict_depth) return mm__strict_resume(thread, 1);
  thread->strict_depth++;
  return MM_OK;
}

/* Nothing is closed when closing failed after a callback, or in a child of that thread. */
void mm__strict_leave(struct mm__thread_record *thread) {
  if (thread->strict_depth && --thread->strict_depth == 0) open_code();
}

uint32_t mm__strict_pause(struct mm__thread_record *thread) {
  uint32_t depth = thread->strict_depth;
  thread->strict_depth = 0;
  if (depth) open_code();
  return depth;
}

int32_t mm__strict_resume(struct mm__thread_record *thread, uint32_t depth) {
  int32_t status = depth ? close_code() : MM_OK;
  thread->strict_depth = status == MM_OK ? depth : 0;
  return status;
}

/* Only a handler of the host can fork in a strict call of its own thread. */
static bool is_mine(void) { return owner == (uint32_t)mm__call(SYS_gettid); }

void mm__strict_hold(void) {
  if (!is_mine()) mm__lock(&lock);
}

void mm__strict_release(void) {
  if (!owner) mm__unlock(&lock);
}

void mm__strict_adopt(struct mm__thread_record *thread) {
  if (closed) open_all();
  closed = owner = lock = 0;
  if (thread) thread->strict_depth = 0;
}

static int32_t find_code(const struct line *line, uint64_t address) {
  bool here = line->numbers[0] <= address && address < line->numbers[1];
  return here && line->protection & PROT_EXEC ? MM_ERROR_BUSY : MM_OK;
}

bool mm__strict_wait(uint64_t address) {
  uint64_t before;
  do {
    before = __atomic_load_n(&times, __ATOMIC_SEQ_CST);
    if (!before) return false;
    /* A child of a bare clone(2), and nobody is left to open it. */
    if (!mm__wiped.is_same_process) mm__strict_adopt(0);
    /* In the thread that closed it only a handler of the host can be called: it may run. */
    if (closed && is_mine()) open_all();
    while (closed && !is_mine()) mm__call(SYS_futex, &closed, FUTEX_WAIT_PRIVATE, 1);
    if (each_line(find_code, address) == MM_ERROR_BUSY) return true;
  } while (__atomic_load_n(&times, __ATOMIC_SEQ_CST) != before);
  return false;
}
