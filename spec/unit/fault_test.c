/* Ends calls in every way there is, and compares the image's memory, byte for byte, and the process's own state before
 * and after. Usage: fault_test FOLDER; prints one line per test, exit status 1 when one failed. */
#include "process.h"

#define PAGE      4096ul
#define FNV_START 0xcbf29ce484222325u
#define FNV_PRIME 0x100000001b3u

/* --- what must be as it was --- */

static void add_pages(uint64_t low, uint64_t high, uint64_t *sum) {
  const uint64_t *words = (const uint64_t *)low;
  for (uint64_t i = 0; i < (high - low) / 8; i++)
    if (words[i]) *sum = (*sum ^ words[i] ^ (low + i)) * FNV_PRIME;
}

/* What lies in no file is zero where there is no page yet: proc_pid_pagemap(5). */
static void add_contents(const struct mapping *piece, uint64_t *sum) {
  static uint64_t entries[512];
  static int pagemap = -1;
  if (pagemap < 0) pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
  if (piece->inode) add_pages(piece->low, piece->high, sum);
  for (uint64_t low = piece->low; low < piece->high && !piece->inode; low += 512 * PAGE) {
    uint64_t count = (piece->high - low) / PAGE < 512 ? (piece->high - low) / PAGE : 512;
    if (pread(pagemap, entries, count * 8, (off_t)(low / PAGE * 8)) != (ssize_t)count * 8) {
      add_pages(low, low + count * PAGE, sum);
      continue;
    }
    for (uint64_t i = 0; i < count; i++)
      if (entries[i] >> 62) add_pages(low + i * PAGE, low + (i + 1) * PAGE, sum);
  }
}

static uint64_t sum_of(struct mm_image *image) {
  static struct layout layout;
  uint64_t base = base_of(image), sum = FNV_START;
  layout.count = 0;
  each_mapping(base, base + SLOT_BYTES, add_piece, &layout);
  for (unsigned i = 0; i < layout.count; i++) {
    const struct mapping *piece = &layout.pieces[i];
    for (const char *c = piece->protection; *c; c++) sum = (sum ^ (uint8_t)*c) * FNV_PRIME;
    sum = (sum ^ piece->low ^ piece->high ^ piece->inode) * FNV_PRIME;
    if (piece->protection[0] == 'r') add_contents(piece, &sum);
  }
  return sum;
}

/* --- the ends --- */

struct end {
  const char *export;
  int argument; /* of exports that take one */
  int status, signal;
  enum mm_access access;
  uint64_t address; /* 1: any */
  const char *symbol;
};

static const struct end ends[] = {
    {"write_null", 0, MM_ERROR_FAULT, SIGSEGV, MM_ACCESS_WRITE, 0, "write_null"},
    {"read_null", 0, MM_ERROR_FAULT, SIGSEGV, MM_ACCESS_READ, 0, "read_null"},
    {"execute_null", 0, MM_ERROR_FAULT, SIGSEGV, MM_ACCESS_EXECUTE, 0, "execute_null"},
    {"execute_data", 0, MM_ERROR_FAULT, SIGSEGV, MM_ACCESS_EXECUTE, 1, "execute_data"},
    {"write_code", 0, MM_ERROR_FAULT, SIGSEGV, MM_ACCESS_WRITE, 1, "write_code"},
    {"not_canonical", 0, MM_ERROR_FAULT, SIGSEGV, MM_ACCESS_NONE, 0, "not_canonical"},
    {"privileged", 0, MM_ERROR_FAULT, SIGSEGV, MM_ACCESS_NONE, 0, "privileged"},
    {"divide", 0, MM_ERROR_FAULT, SIGFPE, MM_ACCESS_NONE, 1, "divide"},
    {"illegal", 0, MM_ERROR_FAULT, SIGILL, MM_ACCESS_NONE, 1, "illegal"},
    {"trap", 0, MM_ERROR_FAULT, SIGTRAP, MM_ACCESS_NONE, 1, "trap"},
    {"unaligned", 0, MM_ERROR_FAULT, SIGBUS, MM_ACCESS_NONE, 1, "unaligned"},
    {"lost_stack", 0, MM_ERROR_FAULT, SIGBUS, MM_ACCESS_NONE, 1, "lost_stack"},
    {"null_stack", 0, MM_ERROR_FAULT, SIGSEGV, MM_ACCESS_WRITE, 0xfffffffffffffff8, "null_stack"},
    {"overflow", 0, MM_ERROR_FAULT, SIGSEGV, MM_ACCESS_WRITE, 1, "overflow"},
    {"call_abort", 0, MM_ERROR_FAULT, SIGABRT, MM_ACCESS_NONE, 0, NULL},
    {"free_twice", 0, MM_ERROR_FAULT, SIGABRT, MM_ACCESS_NONE, 0, NULL},
    {"call_raise", SIGTERM, MM_ERROR_FAULT, SIGTERM, MM_ACCESS_NONE, 0, NULL},
    {"call_raise", SIGSEGV, MM_ERROR_FAULT, SIGSEGV, MM_ACCESS_NONE, 0, NULL},
    {"call_kill", SIGKILL, MM_ERROR_FAULT, SIGKILL, MM_ACCESS_NONE, 0, NULL},
    {"call_exit", 3, MM_ERROR_EXIT, 0, MM_ACCESS_NONE, 0, NULL},
    {"call_exit_now", 200, MM_ERROR_EXIT, 0, MM_ACCESS_NONE, 0, NULL},
    {"crash_in_libc", 0, MM_ERROR_FAULT, SIGSEGV, MM_ACCESS_READ, 0, NULL},
    {"deep", 10, MM_ERROR_FAULT, SIGSEGV, MM_ACCESS_WRITE, 0, "innermost"},
    {"dirty_then_crash", 64, MM_ERROR_FAULT, SIGSEGV, MM_ACCESS_WRITE, 0, "dirty_then_crash"},
    {"spoil_all_then_crash", 0, MM_ERROR_FAULT, SIGSEGV, MM_ACCESS_WRITE, 0,
     "spoil_all_then_crash"},
};

static void check_facts(const struct end *end, struct mm_image *image,
                        const struct mm_error *error) {
  uint64_t base = base_of(image);
  CHECK_EQUAL(end->status, error->status);
  CHECK_EQUAL(end->signal, error->signal);
  CHECK_EQUAL(end->access, error->access);
  if (end->address != 1) CHECK_EQUAL(end->address, error->address);
  CHECK_EQUAL(end->status == MM_ERROR_EXIT ? end->argument : 0, error->exit_status);
  CHECK(strcmp(error->export_name, end->export) == 0);
  CHECK(error->instruction - base < SLOT_BYTES);
  CHECK_EQUAL(1, error->was_reset);
  if (end->symbol) {
    CHECK(strcmp(error->symbol, end->symbol) == 0);
    CHECK(strcmp(error->module, "crash") == 0);
    CHECK(error->offset < 512);
  } else if (end->status == MM_ERROR_FAULT) {
    CHECK(strncmp(error->module, "libc.so", 7) == 0);
  }
}

static void puts_everything_back(void) {
  static struct process before, after;
  struct mm_image *image = map_image("crash");
  uint64_t sum = sum_of(image);
  int zero = 0;
  CHECK_EQUAL(100, CALL_INT(image, "counter_get"));
  for (unsigned i = 0; i < sizeof ends / sizeof *ends; i++) {
    const struct end *end = &ends[i];
    if (emulated && end->signal == SIGBUS) continue;
    int failed = failures, number = strcmp(end->export, "divide") == 0 ? 9 : end->argument;
    void *arguments[] = {&number, &zero};
    uint64_t result = 0;
    struct mm_error error = {0};
    CALL_INT_INT(image, "counter_set", 7);
    look_at_process(&before);
    int status = mm_request_call(function_of(image, end->export), &result, arguments, &error);
    look_at_process(&after);
    CHECK_EQUAL(end->status, status);
    check_facts(end, image, &error);
    CHECK(memcmp(&before, &after, sizeof before) == 0);
    CHECK_EQUAL(sum, sum_of(image));
    CHECK_EQUAL(100, CALL_INT(image, "counter_get"));
    if (failures != failed) printf("# in %s: %s\n", end->export, error.message);
  }
  mm_image_release(image);
}

static int call_two(struct mm_image *image, const char *name, uint64_t a, uint64_t b) {
  int result = -100;
  void *arguments[] = {&a, &b};
  mm_request_call(function_of(image, name), &result, arguments, NULL);
  return result;
}

/* Everything that changes the map of an image's memory, then a fault. */
static void puts_back_memory_that_was_taken_thrown_away_and_protected(void) {
  struct mm_image *image = map_image("memory");
  struct mm_error error;
  uint64_t sum = sum_of(image);
  for (int round = 0; round < 2; round++) {
    CHECK(call_two(image, "keep", 3 << 20, 5) >= 0);
    CHECK(call_two(image, "keep", 100, 6) >= 0);
    CHECK_EQUAL(1, call_two(image, "grow_brk", 1 << 20, 0));
    CHECK_EQUAL(1, call_two(image, "grow_remap_snapshot", 0, 0));
    CHECK_EQUAL(1, call_two(image, "make_writable", 0, 0));
    CHECK_EQUAL(0, CALL_LONG(image, "discard"));
    CHECK_EQUAL(0, CALL_LONG(image, "map_over"));
    CHECK_EQUAL(0, CALL_LONG(image, "unmap_and_map"));
    CHECK_EQUAL(1000, call_two(image, "dirty", 1000, 0));
    CHECK_EQUAL(0, CALL_INT(image, "parts_are_new"));
    CHECK_EQUAL(101, CALL_INT(image, "counter_next"));
    CHECK(sum_of(image) != sum);
    int status = MM_OK;
    if (round == 0) {
      CALL_INT(image, "unmap_and_read");
      status = mm_take_fault(&error);
      CHECK_EQUAL(MM_ACCESS_READ, error.access);
    } else {
      CALL_INT(image, "protect_and_write");
      status = mm_take_fault(&error);
      CHECK_EQUAL(MM_ACCESS_WRITE, error.access);
    }
    CHECK_EQUAL(MM_ERROR_FAULT, status);
    CHECK_EQUAL(sum, sum_of(image));
    CHECK_EQUAL(1, CALL_INT(image, "parts_are_new"));
    CHECK_EQUAL(101, CALL_INT(image, "counter_next"));
    CHECK_EQUAL(MM_OK, mm_reset(image, &error));
    CHECK_EQUAL(sum, sum_of(image));
  }
  mm_image_release(image);
}

static void puts_back_brk_shrunk_below_the_snapshot(void) {
  struct mm_image *image = map_image("memory");
  uint64_t sum = sum_of(image);
  CHECK_EQUAL(1, call_two(image, "shrink_brk", 0x10000, 0));
  CHECK_EQUAL(1, call_two(image, "grow_brk", 0x4000, 0)); /* and its memory is zero */
  CHECK(sum_of(image) != sum);
  CHECK_EQUAL(MM_OK, mm_reset(image, NULL));
  CHECK_EQUAL(sum, sum_of(image));
  CHECK_EQUAL(1, call_two(image, "allocate", 1 << 20, 9));
  mm_image_release(image);
}

static void gives_a_string_argument_back_to_nobody(void) {
  struct mm_image *image = map_image("text");
  uint64_t sum = sum_of(image);
  size_t bytes = 3 << 20;
  char *text = malloc(bytes);
  memset(text, 'x', bytes - 1);
  text[bytes - 1] = 0;
  uint64_t length = 0;
  void *arguments[] = {&text};
  CHECK_EQUAL(MM_OK, mm_request_call(function_of(image, "length"), &length, arguments, NULL));
  CHECK_EQUAL(bytes - 1, length);
  CHECK_EQUAL(MM_OK, mm_reset(image, NULL));
  CHECK_EQUAL(sum, sum_of(image));
  free(text);
  mm_image_release(image);
}

static void leaves_a_dead_image_as_the_fault_left_it(void) {
  struct mm_map_options options = {.guard = way.guard, .dead_on_fault = 1};
  struct mm_image *image = map_with("crash", &options);
  struct mm_error error;
  uint64_t sum = sum_of(image);
  int pages = 3, counter = 0;
  void *arguments[] = {&pages};
  CHECK_EQUAL(MM_ERROR_FAULT,
              mm_request_call(function_of(image, "dirty_then_crash"), NULL, arguments, &error));
  CHECK_EQUAL(0, error.was_reset);
  CHECK(strstr(error.message, "the image is dead") != NULL);
  CHECK(sum_of(image) != sum);
  if (way.guard == MM_GUARD_PAGES) {
    struct openness openness = openness_of(base_of(image));
    CHECK_EQUAL(0, openness.writable + openness.executable);
  }
  CHECK_EQUAL(MM_ERROR_DEAD,
              mm_request_call(function_of(image, "counter_get"), &counter, NULL, &error));
  CHECK_EQUAL(MM_OK, mm_reset(image, &error));
  CHECK_EQUAL(sum, sum_of(image));
  CHECK_EQUAL(MM_OK, mm_request_call(function_of(image, "counter_get"), &counter, NULL, &error));
  CHECK_EQUAL(100, counter);
  mm_image_release(image);
}

/* write(2) of memory that is not there answers, like the kernel, with EFAULT; the call goes on. */
static void does_not_fault_inside_a_system_call(void) {
  struct mm_map_options options = {.guard = way.guard, .grants = MM_GRANT_OUTPUT};
  struct mm_image *image = map_with("syscall", &options);
  int64_t (*raw)(int64_t, int64_t, int64_t, int64_t, int64_t, int64_t, int64_t) =
      stub_of(image, "raw");
  int64_t base = (int64_t)base_of(image);
  int64_t addresses[] = {0, 8, -1, base, base + (int64_t)SLOT_BYTES - 8, 0x8000000000000000 + 5};
  for (unsigned i = 0; i < sizeof addresses / sizeof *addresses; i++) {
    CHECK_EQUAL(-EFAULT, raw(SYS_write, 1, addresses[i], 64, 0, 0, 0));
    CHECK_EQUAL(-EFAULT, raw(SYS_writev, 1, addresses[i] | 16, 2, 0, 0, 0));
    CHECK_EQUAL(-EFAULT, raw(SYS_getrandom, addresses[i], 64, 0, 0, 0, 0));
    CHECK_EQUAL(-EFAULT, raw(SYS_uname, addresses[i] | 16, 0, 0, 0, 0, 0));
    CHECK_EQUAL(-EFAULT, raw(SYS_rt_sigprocmask, SIG_BLOCK, 0, addresses[i] | 16, 8, 0, 0));
    CHECK_EQUAL(-EFAULT, raw(SYS_rt_sigaction, SIGINT, 0, addresses[i] | 16, 8, 0, 0));
    CHECK_EQUAL(-EFAULT, raw(SYS_sigaltstack, 0, addresses[i] | 16, 0, 0, 0, 0));
    CHECK_EQUAL(-EFAULT, raw(SYS_futex, addresses[i] & ~3l, 0, 0, 0, 0, 0));
    CHECK_EQUAL(-EFAULT, raw(SYS_nanosleep, addresses[i] | 16, 0, 0, 0, 0, 0));
  }
  CHECK_EQUAL(MM_OK, mm_take_fault(NULL));
  CHECK_EQUAL(getpid(), raw(SYS_getpid, 0, 0, 0, 0, 0, 0));
  mm_image_release(image);
}

static void can_fault_a_hundred_times_and_leaves_nothing(void) {
  struct mm_image *image = map_image("crash");
  void (*crash)(int) = stub_of(image, "dirty_then_crash");
  crash(1);
  mm_take_fault(NULL);
  int mappings = mapping_count();
  for (int i = 0; i < 100; i++) {
    crash(i % 64);
    CHECK_EQUAL(MM_ERROR_FAULT, mm_take_fault(NULL));
  }
  CHECK(mapping_count() <= mappings + 4);
  struct mm_image_info info;
  CHECK_EQUAL(MM_OK, mm_image_info(image, &info, NULL));
  CHECK_EQUAL(101, info.faults);
  CHECK_EQUAL(102, info.generation);
  mm_image_release(image);
}

/* What nobody has asked for is no fault of the next call's. */
static void tells_a_fault_of_its_own_call_only(void) {
  struct mm_image *image = map_image("crash");
  struct mm_function *divide = function_of(image, "divide");
  struct mm_error error;
  int a = 84, b = 2, result = 0;
  ((void (*)(void))stub_of(image, "write_null"))();
  must(mm_request_call(divide, &result, (void *[]){&a, &b}, &error), &error);
  CHECK_EQUAL(42, result);
  CHECK_EQUAL(MM_OK, mm_take_fault(NULL));
  CHECK_EQUAL(MM_ERROR_NULL, mm_request_call(divide, &result, (void *[]){&a, NULL}, &error));
  CHECK(strstr(error.message, "divide: argument 2 is not given"));
  mm_image_release(image);
  image = map_image("text");
  const char *nothing = NULL; /* the image's own fault, not the client's */
  CHECK_EQUAL(MM_ERROR_FAULT,
              mm_request_call(function_of(image, "length"), &result, (void *[]){&nothing}, &error));
  mm_image_release(image);
}

static void all_tests(void) {
  sigset_t blocked;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGUSR2); /* the client has a mask that must come back */
  sigprocmask(SIG_BLOCK, &blocked, NULL);
  connect_client();
  RUN(puts_everything_back);
  RUN(puts_back_memory_that_was_taken_thrown_away_and_protected);
  RUN(puts_back_brk_shrunk_below_the_snapshot);
  RUN(gives_a_string_argument_back_to_nobody);
  RUN(leaves_a_dead_image_as_the_fault_left_it);
  RUN(does_not_fault_inside_a_system_call);
  RUN(can_fault_a_hundred_times_and_leaves_nothing);
  RUN(tells_a_fault_of_its_own_call_only);
  CHECK_EQUAL(MM_OK, mm_finalize(NULL));
}

int main(int count, char **arguments) {
  static const struct way ways[] = {
      {"pages", MM_GUARD_PAGES, {0}},
      {"open", MM_GUARD_OPEN, {0}},
      {"open, with a selector", MM_GUARD_OPEN, {.without = MM_WITHOUT_INCLUSIVE}},
      {"pages, masking, without FSGSBASE",
       MM_GUARD_PAGES,
       {.signals = MM_SIGNALS_MASK, .without = MM_WITHOUT_FSGSBASE}},
      {"keys", MM_GUARD_KEYS, {0}},
      {"keys, without FSGSBASE", MM_GUARD_KEYS, {.without = MM_WITHOUT_FSGSBASE}},
  };
  find_folders(count, arguments);
  return run_ways(ways, sizeof ways / sizeof *ways, all_tests);
}
