/* unit/reset_test.c - a reset puts back every byte, whatever became of the pages that a call wrote. */
#include "client.h"
#include "swap.h"

#include <sys/syscall.h>
#include <sys/uio.h>

#define PAGE        4096ul
#define PAGES       2176
#define BYTES       (PAGES * PAGE)
#define STRICT      0x200u /* beside the guard, in `way.guard` */
#define LOCKED_DOWN 0x400u
#define STRIDE      32 /* too far apart to be one piece of the guard `pages` */

static struct mm_image *image;
static char *field, *room; /* of the image's: what is in its file, and what is zero */
static bool can_swap;

static bool is_by_pages(void) { return (way.guard & GUARDS) == MM_GUARD_PAGES; }
static bool is_locked_down(void) { return way.guard & LOCKED_DOWN; }

/* --- what becomes of them --- */

static void change(void) {
  int changed = ((int (*)(int, int))stub_of(image, "change"))(STRIDE - 1, STRIDE);
  CHECK_EQUAL(PAGES / STRIDE * 2, changed);
}

static void by_kernel(void) {
  int changed = ((int (*)(int, int))stub_of(image, "change_by_kernel"))(STRIDE - 1, STRIDE);
  CHECK_EQUAL(PAGES / STRIDE, changed);
}

/* The file's own pages stay in memory: then the written ones are looked for. */
static void advise(void *low) {
  for (unsigned i = STRIDE - 1; i < PAGES; i += STRIDE)
    CHECK_EQUAL(0, madvise((char *)low + i * PAGE, PAGE, ADVISE_PAGE_OUT));
}

static void swaps_out(void) {
  char *lists[] = {field, room};
  for (int i = 0; i < 2; i++) {
    swap_on_each_processor(advise, lists[i]);
    CHECK_EQUAL(PAGES / STRIDE, swapped_pages(lists[i], BYTES));
  }
}

static void swaps_out_and_changes_more(void) {
  swaps_out();
  ((int (*)(int, int))stub_of(image, "change"))(0, 2 * STRIDE);
}

static void forks(void) {
  pid_t child = fork();
  if (child == 0) _exit(0);
  waitpid(child, NULL, 0);
}

static void protect(int protection) {
  CHECK_EQUAL(0, mprotect(field, BYTES, protection));
  CHECK_EQUAL(0, mprotect(room, BYTES, protection));
}

static void makes_read_only(void) { protect(PROT_READ); }
static void makes_writable(void) { protect(PROT_READ | PROT_WRITE); }

/* Touching nothing: a key closes it to the kernel's touch, too. */
static void locks_some(void) {
  CHECK_EQUAL(0, mlock2(field + BYTES / 2, 0x10000, MLOCK_ONFAULT));
  CHECK_EQUAL(0, mlock2(room + BYTES / 2, 0x10000, MLOCK_ONFAULT));
}

/* By itself: ASan makes libc's a call of nothing. */
static void unlocks(void) { CHECK_EQUAL(0, syscall(SYS_munlockall)); }

static void discards_some(void) {
  CHECK_EQUAL(0, madvise(field + BYTES / 3 / PAGE * PAGE, BYTES / 4, MADV_DONTNEED));
  CHECK_EQUAL(0, madvise(room + BYTES / 3 / PAGE * PAGE, BYTES / 4, MADV_DONTNEED));
}

/* Memory of a file is not freed: madvise(2). */
static void frees(void) { CHECK_EQUAL(0, madvise(room, BYTES, MADV_FREE)); }

static long huge_kilobytes(void) {
  long sum = 0, kilobytes;
  char line[256];
  FILE *file = fopen("/proc/self/smaps", "re");
  while (file && fgets(line, sizeof line, file))
    if (sscanf(line, "AnonHugePages: %ld kB", &kilobytes) == 1) sum += kilobytes;
  if (file) fclose(file);
  return sum;
}

static void is_huge(void) { CHECK(huge_kilobytes() >= 4096); }

/* Small ones that were read are in the way. */
static void wants_huge(void) {
  CHECK_EQUAL(0, madvise(room, BYTES, MADV_DONTNEED));
  CHECK_EQUAL(0, madvise(room, BYTES, MADV_HUGEPAGE));
}

static void wants_small(void) { CHECK_EQUAL(0, madvise(room, BYTES, MADV_NOHUGEPAGE)); }

static void write_from_a_child(void) {
  uint64_t value = 0x123456789abcdef;
  struct iovec here = {&value, 8}, there[2] = {{field + PAGE * 100, 8}, {room + PAGE * 200, 8}};
  for (int i = 0; i < 2; i++)
    if (process_vm_writev(getppid(), &here, 1, &there[i], 1, 0) != 8) _exit(1);
  _exit(0);
}

static void is_written_by_another_process(void) {
  int status;
  pid_t child = fork();
  if (child == 0) write_from_a_child();
  waitpid(child, &status, 0);
  CHECK_EQUAL(is_by_pages() || is_locked_down() ? 1 << 8 : 0, status);
}

static void reads_into_it(void) {
  int zero = open("/dev/zero", O_RDONLY | O_CLOEXEC);
  for (unsigned i = STRIDE - 1; i < PAGES; i += STRIDE)
    CHECK_EQUAL(PAGE, read(zero, field + i * PAGE, PAGE));
  close(zero);
}

static void image_frees(void) { CHECK_EQUAL(0, CALL_INT_INT(image, "advise", MADV_FREE)); }
static void image_discards(void) { CHECK_EQUAL(0, CALL_INT_INT(image, "advise", MADV_DONTNEED)); }
static void image_closes(void) { CHECK_EQUAL(0, CALL_INT_INT(image, "protect", PROT_NONE)); }
static void image_moves(void) { CHECK_EQUAL(0, CALL_INT_INT(image, "move", 0)); }

static void image_makes_read_only(void) {
  CHECK_EQUAL(0, CALL_INT_INT(image, "protect", PROT_READ));
}

static void image_makes_read_only_and_back(void) {
  image_makes_read_only();
  CHECK_EQUAL(0, CALL_INT_INT(image, "protect", PROT_READ | PROT_WRITE));
}

static void changes_nothing(void) {}

/* --- the trials --- */

static bool anywhere(void) { return true; }
static bool where_the_client_may(void) { return !is_by_pages() && !is_locked_down(); }
static bool where_nothing_is_refused(void) { return !is_locked_down(); }
static bool where_nothing_is_guarded(void) { return way.guard == MM_GUARD_OPEN; }
static bool where_there_is_swap(void) { return can_swap && !is_locked_down(); }

/* Not with pages: the pieces that are open keep them small. */
static bool where_pages_can_be_huge(void) {
  char line[128] = "[never]";
  FILE *file = fopen("/sys/kernel/mm/transparent_hugepage/enabled", "re");
  if (file && !fgets(line, sizeof line, file)) line[0] = 0;
  if (file) fclose(file);
  return where_the_client_may() && !strstr(line, "[never]");
}

static const struct trial {
  const char *name;
  void (*before)(void), (*write)(void), (*after)(void), (*undo)(void);
  bool (*applies)(void);
} trials[] = {
    {"nothing more happened", NULL, change, changes_nothing, NULL, anywhere},
    {"the kernel wrote for the image", NULL, by_kernel, changes_nothing, NULL, anywhere},
    {"the kernel wrote for the client", NULL, reads_into_it, changes_nothing, NULL,
     where_nothing_is_guarded},
    {"another process wrote, if it could", NULL, change, is_written_by_another_process, NULL,
     anywhere},
    {"it was swapped out", NULL, change, swaps_out, NULL, where_there_is_swap},
    {"it was swapped out, and more was written", NULL, change, swaps_out_and_changes_more, NULL,
     where_there_is_swap},
    {"it was huge", wants_huge, change, is_huge, wants_small, where_pages_can_be_huge},
    {"the client forked", NULL, change, forks, NULL, anywhere},
    {"the client made it read-only", NULL, change, makes_read_only, makes_writable,
     where_the_client_may},
    {"the client locked some of it", NULL, change, locks_some, unlocks, anywhere},
    {"the client discarded some of it", NULL, change, discards_some, NULL,
     where_nothing_is_refused},
    {"the client freed it", NULL, change, frees, NULL, where_nothing_is_refused},
    {"the image discarded some of it", NULL, change, image_discards, NULL, anywhere},
    {"the image freed some of it", NULL, change, image_frees, NULL, anywhere},
    {"the image made some read-only", NULL, change, image_makes_read_only, NULL, anywhere},
    {"the image made some read-only and back", NULL, change, image_makes_read_only_and_back, NULL,
     anywhere},
    {"the image closed some", NULL, change, image_closes, NULL, anywhere},
    {"the image moved some", NULL, change, image_moves, NULL, anywhere},
};

static void read_all(char *to) {
  struct mm_error error;
  must(mm_read(image, field, to, BYTES, &error), &error);
  must(mm_read(image, room, to + BYTES, BYTES, &error), &error);
}

static void try(const struct trial *trial) {
  static char snapshot[2 * BYTES], now[2 * BYTES];
  int before = failures;
  read_all(snapshot);
  if (trial->before) trial->before();
  trial->write();
  trial->after();
  CHECK_EQUAL(MM_OK, mm_reset(image, NULL));
  read_all(now);
  CHECK(memcmp(now, snapshot, sizeof now) == 0);
  if (trial->undo) trial->undo();
  printf("%s a reset is exact when %s, %s\n", failures == before ? "ok" : "not ok", trial->name,
         way.name);
  fflush(stdout);
}

static void all_tests(void) {
  struct mm_error error;
  connect_client();
  image = map_with("written", &(struct mm_map_options){.guard = way.guard & (GUARDS | SEALED),
                                                       .strict = (way.guard & STRICT) != 0});
  field = ((char *(*)(void))stub_of(image, "field_address"))();
  room = ((char *(*)(void))stub_of(image, "room_address"))();
  if (is_locked_down()) must(mm_lockdown(&error), &error);
  for (unsigned i = 0; i < sizeof trials / sizeof *trials; i++)
    if (trials[i].applies()) try(&trials[i]);
  mm_image_release(image);
  CHECK_EQUAL(MM_OK, mm_finalize(NULL));
}

int main(int count, char **arguments) {
  static const struct way ways[] = {
      {"open", MM_GUARD_OPEN, {0}},
      {"pages", MM_GUARD_PAGES, {0}},
      {"strict", MM_GUARD_PAGES | STRICT, {0}},
      {"lockdown", MM_GUARD_PAGES | LOCKED_DOWN, {0}},
      {"keys and lockdown", MM_GUARD_KEYS | LOCKED_DOWN, {0}},
      {"keys", MM_GUARD_KEYS, {0}},
      {"keys, sealed", MM_GUARD_KEYS | SEALED, {0}},
  };
  find_folders(count, arguments);
  can_swap = swap_begin();
  if (!can_swap) printf("# no swap space is to be had here\n");
  int status = run_ways(ways, sizeof ways / sizeof *ways, all_tests);
  swap_end();
  return status;
}
