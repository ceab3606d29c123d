/* unit/guard_test.c - what the guards keep from the client at rest, with the map options `sealed` and `stateless`. */
#include "client.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/rseq.h>
#include <sys/stat.h>
#include <sys/syscall.h>

static uint32_t guard_of(struct mm_image *image) {
  struct mm_image_info info;
  struct mm_error error;
  must(mm_image_info(image, &info, &error), &error);
  return info.guard;
}

static bool is_sealed(void) { return way.guard & SEALED; }
static bool has_guard(void) { return (way.guard & ~SEALED) != MM_GUARD_OPEN; }

/* --- raw accesses --- */

static void write_raw(void *at) { *(volatile char *)at = 1; }

static void read_raw(void *at) {
  (void)*(volatile char *)at;
  printf("read it");
}

static void expect_rejected(void (*access)(void *), void *at, const char *what) {
  char output[1024];
  int status = in_child(access, at, output, sizeof output);
  CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
  CHECK(strstr(output, "rejected: client code at 0x") && strstr(output, what));
}

static void rejects_stray_writes_and_reads_where_it_is_sealed(void) {
  struct mm_image *image = map_image("math");
  void *memory;
  char output[1024];
  CHECK_EQUAL(101, CALL_INT(image, "counter_next"));
  CHECK_EQUAL(MM_OK, mm_allocate(image, 100, &memory, NULL));
  if (has_guard()) expect_rejected(write_raw, memory, "was writing");
  if (is_sealed())
    expect_rejected(read_raw, memory, "was reading");
  else
    CHECK_EQUAL(0, in_child(read_raw, memory, output, sizeof output));
  CHECK_EQUAL(102, CALL_INT(image, "counter_next"));
  mm_image_release(image);
}

static void the_kernel_does_not_write_for_the_client_either(void) {
  struct mm_image *image = map_image("math");
  void *memory;
  int zero = open("/dev/zero", O_RDONLY | O_CLOEXEC);
  CHECK_EQUAL(MM_OK, mm_allocate(image, 100, &memory, NULL));
  errno = 0;
  if (has_guard()) CHECK(read(zero, memory, 100) == -1 && errno == EFAULT);
  close(zero);
  mm_image_release(image);
}

static void the_interface_reads_and_writes_all_the_same(void) {
  struct mm_image *image = map_image("text");
  struct mm_error error;
  char text[] = "what is written here", back[sizeof text];
  const char *a = "one", *b = "two", *joined = NULL;
  void *memory, *arguments[] = {&a, &b};
  CHECK_EQUAL(MM_OK, mm_allocate(image, sizeof text, &memory, &error));
  CHECK_EQUAL(MM_OK, mm_write(image, memory, text, sizeof text, &error));
  CHECK_EQUAL(MM_OK, mm_read(image, memory, back, sizeof back, &error));
  CHECK(memcmp(text, back, sizeof text) == 0);
  CHECK_EQUAL(MM_OK, mm_request_call(function_of(image, "join"), &joined, arguments, &error));
  CHECK(joined && strcmp(joined, "onetwo") == 0);
  CHECK_EQUAL(MM_OK, mm_reset(image, &error));
  CHECK_EQUAL(MM_OK, mm_request_call(function_of(image, "join"), &joined, arguments, &error));
  CHECK(joined && strcmp(joined, "onetwo") == 0);
  mm_image_release(image);
}

/* --- core dumps --- */

static char *find_file(const char *path, const char *bytes, size_t size) {
  int file = open(path, O_RDONLY | O_CLOEXEC);
  struct stat facts;
  if (file < 0 || fstat(file, &facts)) return NULL;
  char *all = mmap(NULL, (size_t)facts.st_size, PROT_READ, MAP_PRIVATE, file, 0);
  close(file);
  return all == MAP_FAILED ? NULL : memmem(all, (size_t)facts.st_size, bytes, size);
}

static void dump_core(void *unused) {
  (void)unused;
  struct rlimit unlimited = {RLIM_INFINITY, RLIM_INFINITY};
  setrlimit(RLIMIT_CORE, &unlimited);
  signal(SIGQUIT, SIG_DFL);
  if (chdir(folder)) _exit(1);
  raise(SIGQUIT);
}

/* The secret is nowhere but in the image: what is searched for is its complement. */
static void a_core_dump_holds_the_image_only_when_it_is_not_sealed(void) {
  struct mm_image *image = map_image("math");
  char secret[64], path[700], output[256];
  void *memory;
  if (!dumps_to_a_file()) return;
  for (size_t i = 0; i < sizeof secret; i++) secret[i] = (char)(i * 37 + 5);
  CHECK_EQUAL(MM_OK, mm_allocate(image, sizeof secret, &memory, NULL));
  CHECK_EQUAL(MM_OK, mm_write(image, memory, secret, sizeof secret, NULL));
  explicit_bzero(secret, sizeof secret);
  int status = in_child(dump_core, NULL, output, sizeof output);
  CHECK(WIFSIGNALED(status) && WCOREDUMP(status));
  for (size_t i = 0; i < sizeof secret; i++) secret[i] = (char)(i * 37 + 5);
  snprintf(path, sizeof path, "%s/core", folder);
  CHECK((find_file(path, secret, sizeof secret) == NULL) == is_sealed());
  unlink(path);
  mm_image_release(image);
}

static void every_mapping_of_a_sealed_image_is_left_out_of_dumps(void) {
  struct mm_image *image = map_image("memory");
  uint64_t base = base_of(image), low = 0, start, high;
  char line[512], protection[5];
  int dumped = 0, seen = 0;
  void *memory, *arguments[] = {&(uint64_t){1 << 20}, &(int){7}};
  CHECK_EQUAL(MM_OK, mm_request_call(function_of(image, "keep"), &memory, arguments, NULL));
  CHECK_EQUAL(MM_OK, mm_allocate(image, 100000, &memory, NULL));
  FILE *maps = fopen("/proc/self/smaps", "re");
  while (maps && fgets(line, sizeof line, maps)) {
    if (sscanf(line, "%lx-%lx %4s", &start, &high, protection) == 3) low = start;
    if (low < base || low >= base + SLOT_BYTES) continue;
    bool is_reserve = strstr(line, "Rss:                   0 kB") != NULL;
    if (is_reserve) low = 0; /* what is not there cannot be dumped */
    if (strncmp(line, "VmFlags:", 8)) continue;
    seen++;
    dumped += strstr(line, " dd") == NULL;
  }
  if (maps) fclose(maps);
  CHECK(seen > 3);
  CHECK(is_sealed() ? dumped == 0 : dumped > 0);
  mm_image_release(image);
}

/* --- stateless --- */

static struct mm_image *map_stateless(const char *name) {
  return map_with(name, &(struct mm_map_options){.guard = way.guard, .stateless = 1});
}

static void a_stateless_image_forgets_every_call(void) {
  struct mm_image *image = map_stateless("math");
  struct mm_image_info info;
  struct mm_error error;
  struct mm_function *next = function_of(image, "counter_next");
  for (int i = 0; i < 5; i++) {
    int result = 0;
    CHECK_EQUAL(MM_OK, mm_request_call(next, &result, NULL, &error));
    CHECK_EQUAL(101, result);
    CHECK_EQUAL(101, CALL_INT(image, "counter_next"));
  }
  CHECK_EQUAL(MM_OK, mm_image_info(image, &info, &error));
  CHECK_EQUAL(1, info.stateless);
  CHECK_EQUAL(11, info.generation);
  mm_image_release(image);
}

static void its_results_and_arguments_are_there_all_the_same(void) {
  struct mm_image *image = map_stateless("text");
  struct mm_error error;
  const char *a = "one", *b = "two", *joined = NULL;
  void *memory, *arguments[] = {&a, &b};
  for (int i = 0; i < 3; i++) {
    CHECK_EQUAL(MM_OK, mm_allocate(image, 100, &memory, &error));
    CHECK_EQUAL(MM_OK, mm_write(image, memory, "there", 6, &error));
    char back[6] = "";
    CHECK_EQUAL(MM_OK, mm_read(image, memory, back, 6, &error));
    CHECK(strcmp(back, "there") == 0);
    CHECK_EQUAL(MM_OK, mm_request_call(function_of(image, "join"), &joined, arguments, &error));
    CHECK(joined && strcmp(joined, "onetwo") == 0);
  }
  mm_image_release(image);
}

static void a_fault_and_a_hook_are_no_exception(void) {
  struct mm_image *image = map_stateless("crash"), *hook = map_stateless("hook");
  struct mm_error error;
  CALL_INT(image, "read_null");
  CHECK_EQUAL(MM_ERROR_FAULT, mm_take_fault(&error));
  CHECK_EQUAL(1, error.was_reset);
  CALL_INT_INT(image, "counter_set", 5);
  CHECK_EQUAL(100, CALL_INT(image, "counter_get"));
  int result = 0;
  CHECK_EQUAL(MM_OK, mm_request_call(function_of(hook, "map_count"), &result, NULL, &error));
  CHECK_EQUAL(1, result);
  for (int i = 0; i < 2; i++) {
    CHECK_EQUAL(MM_OK, mm_request_call(function_of(hook, "reset_count"), &result, NULL, &error));
    CHECK_EQUAL(1, result);
  }
  mm_image_release(image);
  mm_image_release(hook);
}

/* --- what a reset costs --- */

static uint64_t resident_pages(struct mm_image *image) {
  uint64_t base = base_of(image), low = 0, high, kilobytes, pages = 0;
  char line[512], protection[5];
  FILE *maps = fopen("/proc/self/smaps", "re");
  while (maps && fgets(line, sizeof line, maps)) {
    uint64_t start;
    if (sscanf(line, "%lx-%lx %4s", &start, &high, protection) == 3) low = start;
    if (low >= base && low < base + SLOT_BYTES && sscanf(line, "Rss: %lu kB", &kilobytes) == 1)
      pages += kilobytes / 4;
  }
  if (maps) fclose(maps);
  return pages;
}

/* How many pages a reset gives back, after a call that wrote to `pages` of 2,048. */
static uint64_t pages_given_back(uint64_t pages, bool stateless) {
  struct mm_image *image =
      map_with("memory", &(struct mm_map_options){.guard = way.guard, .stateless = stateless});
  int (*scatter)(int, int) = stub_of(image, "scatter");
  CHECK_EQUAL(pages, scatter(0, (int)(2048 / pages)));
  if (!stateless) CHECK_EQUAL(MM_OK, mm_reset(image, NULL));
  CALL_LONG(image, "field_mark"); /* reads all of them */
  uint64_t before = resident_pages(image);
  CHECK(before > 2048);
  CHECK_EQUAL(pages, scatter(0, (int)(2048 / pages)));
  if (!stateless) CHECK_EQUAL(MM_OK, mm_reset(image, NULL));
  uint64_t after = resident_pages(image);
  mm_image_release(image);
  return before > after ? before - after : 0;
}

/* An ioctl(2) that the kernel does not know answers ENOTTY. */
static bool can_scan(void) {
  int file = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
  bool can = ioctl(file, _IOC(_IOC_READ | _IOC_WRITE, 'f', 16, 96), NULL) == -1 && errno != ENOTTY;
  close(file);
  return can;
}

static void a_reset_discards_no_more_than_what_was_written(void) {
  for (int stateless = 0; stateless < 2; stateless++)
    for (uint64_t pages = 4; pages <= 64; pages *= 4) {
      uint64_t given_back = pages_given_back(pages, stateless);
      CHECK(given_back >= pages && given_back <= pages + 2);
    }
}

static void a_reset_of_a_large_image_leaves_the_files_pages_in_memory(void) {
  uint64_t given_back = pages_given_back(16, false);
  CHECK(given_back >= 16);
  CHECK_EQUAL(can_scan(), given_back < 100);
}

/* --- keys --- */

static void there_are_keys_or_an_error_that_says_so(void) {
  struct mm_image *image;
  struct mm_error error;
  char path[640];
  snprintf(path, sizeof path, "%s/image/math.mmi", build_folder);
  struct mm_map_options options = {.guard = MM_GUARD_KEYS};
  int status = mm_request_map(path, &options, &image, &error);
  CHECK_EQUAL(has_keys() ? MM_OK : MM_ERROR_UNSUPPORTED, status);
  if (status == MM_OK) {
    CHECK_EQUAL(MM_GUARD_KEYS, guard_of(image));
    mm_image_release(image);
  } else {
    CHECK(strstr(error.message, "lack protection keys") != NULL);
  }
  options = (struct mm_map_options){0};
  CHECK_EQUAL(MM_OK, mm_request_map(path, &options, &image, &error));
  CHECK_EQUAL(has_keys() ? MM_GUARD_KEYS : MM_GUARD_PAGES, guard_of(image));
  mm_image_release(image);
  options = (struct mm_map_options){.guard = MM_GUARD_OPEN, .sealed = 1};
  CHECK_EQUAL(MM_ERROR_ARGUMENT, mm_request_map(path, &options, &image, &error));
}

static const char *const many[] = {
    "crash",    "export_run_time", "gate",          "gate_other", "hook",         "many",
    "math",     "memory",          "memory_script", "nested",     "nested_other", "pointer",
    "rounding", "sparse",          "surroundings",  "syscall",    "text",         "tls"};
#define MANY (sizeof many / sizeof *many)

static void images_beyond_the_last_key_are_guarded_by_pages(void) {
  struct mm_image *images[MANY];
  unsigned with_keys = 0;
  for (int round = 0; round < 2; round++) {
    with_keys = 0;
    for (unsigned i = 0; i < MANY; i++) {
      images[i] = map_image(many[i]);
      with_keys += guard_of(images[i]) == MM_GUARD_KEYS;
      CHECK(i < 15 || guard_of(images[i]) == MM_GUARD_PAGES);
    }
    CHECK_EQUAL(15, with_keys);
    CHECK_EQUAL(101, CALL_INT(images[6], "counter_next"));
    CHECK_EQUAL(0, CALL_INT(images[0], "read_null"));
    CHECK_EQUAL(MM_ERROR_FAULT, mm_take_fault(NULL));
    for (unsigned i = 0; i < MANY; i++) mm_image_release(images[i]);
  }
}

static void *call_and_read(void *image) {
  int sum = CALL_INT(image, "counter_next");
  char output[1024];
  void *memory;
  mm_allocate(image, 100, &memory, NULL);
  expect_rejected(write_raw, memory, "was writing");
  if (!is_sealed()) CHECK_EQUAL(0, in_child(read_raw, memory, output, sizeof output));
  return (void *)(uint64_t)sum;
}

static pthread_barrier_t mapped;

static void *wait_and_call(void *image) {
  pthread_barrier_wait(&mapped);
  return call_and_read(*(struct mm_image **)image);
}

static void threads_older_and_younger_than_the_mapping_call(void) {
  struct mm_image *image = NULL;
  pthread_t older, younger;
  void *result;
  pthread_barrier_init(&mapped, NULL, 2);
  pthread_create(&older, NULL, wait_and_call, &image);
  image = map_image("math");
  pthread_barrier_wait(&mapped);
  pthread_join(older, &result);
  CHECK_EQUAL(101, (uint64_t)result);
  pthread_create(&younger, NULL, call_and_read, image);
  pthread_join(younger, &result);
  CHECK_EQUAL(102, (uint64_t)result);
  pthread_barrier_destroy(&mapped);
  mm_image_release(image);
}

struct jumps {
  const uint8_t *to[8];
  int count;
};

static void find_wrpkru(const struct mapping *mapping, void *jumps_) {
  struct jumps *jumps = jumps_;
  if (strcmp(mapping->protection, "r-xp") != 0) return;
  const uint8_t *at = (const uint8_t *)mapping->low;
  while (jumps->count < 8 &&
         (at = memmem(at, mapping->high - (uint64_t)at, "\x0f\x01\xef", 3)) != NULL)
    jumps->to[jumps->count++] = at++;
}

static void jump_there(void *at) {
  __asm__ volatile("jmp *%0" : : "r"(at), "a"(0), "c"(0), "d"(0));
}

static void a_jump_to_an_instruction_that_opens_ends_the_process(void) {
  struct mm_image *image = map_image("math");
  struct jumps jumps = {0};
  char output[256];
  CALL_INT(image, "counter_next");
  each_mapping(1ul << 45, (1ul << 45) + SLOT_BYTES, find_wrpkru, &jumps);
  CHECK(jumps.count > 2); /* opens and closes an image, closes the client, opens it */
  for (int i = 0; i < jumps.count; i++) {
    int status = in_child(jump_there, (void *)jumps.to[i], output, sizeof output);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    CHECK(strstr(output, "somebody else opened it") != NULL);
  }
  mm_image_release(image);
}

/* --- strict --- */

static struct mm_image *map_strict(void) {
  return map_with("jump", &(struct mm_map_options){.guard = way.guard, .strict = 1});
}

static int answer(void) { return 42; }

static void code_of_the_client_does_not_run_in_a_strict_call(void) {
  struct mm_image *image = map_strict(),
                  *lax = map_with("math", &(struct mm_map_options){.guard = MM_GUARD_OPEN});
  struct mm_error error;
  uint64_t address = (uint64_t)answer, rounds = 10;
  void *arguments[] = {&address}, *count[] = {&rounds};
  for (int i = 0; i < 3; i++) {
    int result = 0;
    CHECK_EQUAL(MM_ERROR_FAULT,
                mm_request_call(function_of(image, "jump"), &result, arguments, &error));
    CHECK(strstr(error.message, "executing client code") != NULL);
    CHECK(strcmp(error.symbol, "jump") == 0);
    CHECK_EQUAL(1, error.was_reset);
    CHECK_EQUAL(42, answer());
    CHECK_EQUAL(MM_OK, mm_request_call(function_of(image, "wait_long"), &result, count, &error));
    CHECK_EQUAL(7, result);
    CHECK_EQUAL(101 + i, CALL_INT(lax, "counter_next"));
  }
  mm_image_release(image);
  mm_image_release(lax);
}

static int started;

static void *work(void *stop) {
  uint64_t rounds = 0;
  __atomic_fetch_add(&started, 1, __ATOMIC_SEQ_CST);
  while (!__atomic_load_n((int *)stop, __ATOMIC_RELAXED)) rounds += (uint64_t)answer() + 1;
  return (void *)rounds;
}

static void other_threads_wait_for_the_end_of_a_strict_call(void) {
  struct mm_image *image = map_strict();
  int (*wait_long)(uint64_t) = stub_of(image, "wait_long");
  pthread_t workers[3];
  int stop = 0;
  started = 0;
  for (int i = 0; i < 3; i++) pthread_create(&workers[i], NULL, work, &stop);
  while (__atomic_load_n(&started, __ATOMIC_SEQ_CST) < 3) usleep(1000);
  for (int i = 0; i < 50; i++) CHECK_EQUAL(7, wait_long(20000));
  __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
  for (int i = 0; i < 3; i++) {
    void *rounds = NULL;
    pthread_join(workers[i], &rounds);
    CHECK(rounds != NULL);
  }
  mm_image_release(image);
}

struct others {
  struct mm_image *strict, *lax;
  void *lax_callback;
};

static void add_one_to(void *result, void **args, void *user) {
  (void)user;
  *(int *)result = *(int *)args[0] + 1;
}

/* What the strict call left open is closed in the strict one inside, and open in the other. */
static void call_others(void *result, void **args, void *others_) {
  const struct others *others = others_;
  struct mm_error error;
  uint64_t address = (uint64_t)answer;
  void *arguments[] = {&address, &(int){1}};
  (void)args;
  CHECK_EQUAL(MM_ERROR_FAULT,
              mm_request_call(function_of(others->strict, "call_at"), result, arguments, &error));
  CHECK(strstr(error.message, "executing client code") != NULL);
  int (*apply)(void *, int) = stub_of(others->lax, "apply");
  CHECK_EQUAL(12, apply(others->lax_callback, 10));
  *(int *)result = answer();
}

static void *callback_to(struct mm_image *image, const char *prototype,
                         mm_callback_function *function, void *user) {
  struct mm_callback *callback;
  struct mm_error error;
  must(mm_callback(image, prototype, function, user, &callback, &error), &error);
  return mm_callback_pointer(callback);
}

static void a_callback_runs_in_a_strict_call_and_is_closed_after(void) {
  struct mm_image *image = map_strict();
  struct others others = {
      .strict = map_with("nested", &(struct mm_map_options){.guard = way.guard, .strict = 1}),
      .lax = map_image("callback")};
  others.lax_callback = callback_to(others.lax, "int (int)", add_one_to, NULL);
  void *callback = callback_to(image, "int (void)", call_others, &others);
  uint64_t address = 0;
  void *arguments[] = {&callback, &address};
  struct mm_function *call_and_jump = function_of(image, "call_and_jump");
  struct mm_error error;
  int result = 0;
  CHECK_EQUAL(MM_OK, mm_request_call(call_and_jump, &result, arguments, &error));
  CHECK_EQUAL(42, result);
  address = (uint64_t)answer;
  CHECK_EQUAL(MM_ERROR_FAULT, mm_request_call(call_and_jump, &result, arguments, &error));
  CHECK(strstr(error.message, "executing client code") && strcmp(error.symbol, "jump") == 0);
  mm_image_release(image);
  mm_image_release(others.strict);
  mm_image_release(others.lax);
}

static void *call_until_stopped(void *stop) {
  struct mm_image *image = map_strict();
  int (*wait_long)(uint64_t) = stub_of(image, "wait_long");
  uint64_t wrong = 0;
  pthread_barrier_wait(&mapped); /* libc blocks signals while it creates a thread */
  while (!__atomic_load_n((int *)stop, __ATOMIC_RELAXED)) wrong += wait_long(3000) != 7;
  mm_image_release(image);
  return (void *)wrong;
}

/* Another thread is in a strict call, or on its way. */
static void a_forked_child_has_its_code_back(void) {
  struct mm_image *image =
      map_with("nested", &(struct mm_map_options){.guard = way.guard, .strict = 1});
  int stop = 0;
  pthread_t worker;
  pthread_barrier_init(&mapped, NULL, 2);
  pthread_create(&worker, NULL, call_until_stopped, &stop);
  pthread_barrier_wait(&mapped);
  for (int i = 0; i < 60; i++) {
    pid_t child = i % 2 ? fork() : (pid_t)syscall(SYS_fork);
    if (child == 0) {
      alarm(20);
      _exit(CALL_INT_INT(image, "twice", answer()) != 84);
    }
    int status = -1;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    CHECK_EQUAL(0, status);
  }
  __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
  void *wrong;
  pthread_join(worker, &wrong);
  CHECK_EQUAL(0, wrong);
  pthread_barrier_destroy(&mapped);
  mm_image_release(image);
}

static volatile int stop_calling;

static void *add_until_stopped(void *add_) {
  int (*add)(int, int) = (int (*)(int, int))add_;
  uint64_t wrong = 0;
  for (int i = 0; !stop_calling; i++) wrong += add(i % 1000, 1) != i % 1000 + 1;
  return (void *)wrong;
}

static void keys_come_and_go_while_threads_call(void) {
  struct mm_image *image = map_image("math");
  pthread_t threads[2];
  void *wrong;
  stop_calling = 0;
  for (int i = 0; i < 2; i++)
    pthread_create(&threads[i], NULL, add_until_stopped, stub_of(image, "add"));
  for (int i = 0; i < 500; i++) mm_image_release(map_image("tls"));
  stop_calling = 1;
  for (int i = 0; i < 2; i++) {
    CHECK_EQUAL(0, pthread_join(threads[i], &wrong));
    CHECK_EQUAL(0, wrong);
  }
  mm_image_release(image);
}

/* The kernel says EBUSY of what is registered: rseq(2). */
static bool has_restartable_sequences(void) {
  void *area = (char *)__builtin_thread_pointer() + __rseq_offset;
  if (syscall(SYS_rseq, area, 32, 0, RSEQ_SIG)) return errno == EBUSY;
  syscall(SYS_rseq, area, 32, RSEQ_FLAG_UNREGISTER, RSEQ_SIG);
  return false;
}

static void check_processors(void) {
  cpu_set_t all, one;
  sched_getaffinity(0, sizeof all, &all);
  for (int i = 0; i < CPU_SETSIZE; i++) {
    if (!CPU_ISSET(i, &all)) continue;
    CPU_ZERO(&one);
    CPU_SET(i, &one);
    sched_setaffinity(0, sizeof one, &one);
    CHECK_EQUAL(i, sched_getcpu());
  }
  sched_setaffinity(0, sizeof all, &all);
}

/* Whether images with keys find their client's memory closed here. */
static bool can_close_client(void) {
  struct mm_image_info info = {0};
  if (!has_keys()) return false;
  struct mm_image *image = map_with("crash", &(struct mm_map_options){.guard = MM_GUARD_KEYS});
  must(mm_image_info(image, &info, NULL), NULL);
  mm_image_release(image);
  return info.closes_client;
}

/* It gives up what libc has registered where image code might find that closed. */
static void a_thread_knows_its_processor_all_the_same(void) {
  bool had = has_restartable_sequences();
  connect_client();
  bool gives_up = can_close_client();
  struct mm_image *image = map_image("crash");
  CALL_INT(image, "counter_get");
  CHECK_EQUAL(had && !gives_up, has_restartable_sequences());
  check_processors();
  CALL_INT(image, "read_null");
  CHECK_EQUAL(MM_ERROR_FAULT, mm_take_fault(NULL));
  check_processors();
  mm_image_release(image);
  CHECK_EQUAL(MM_OK, mm_finalize(NULL));
  CHECK_EQUAL(had, has_restartable_sequences());
}

static void all_tests(void) {
  RUN(a_thread_knows_its_processor_all_the_same);
  connect_client();
  RUN(rejects_stray_writes_and_reads_where_it_is_sealed);
  RUN(the_kernel_does_not_write_for_the_client_either);
  RUN(the_interface_reads_and_writes_all_the_same);
  RUN(a_core_dump_holds_the_image_only_when_it_is_not_sealed);
  RUN(every_mapping_of_a_sealed_image_is_left_out_of_dumps);
  RUN(a_stateless_image_forgets_every_call);
  RUN(its_results_and_arguments_are_there_all_the_same);
  RUN(a_fault_and_a_hook_are_no_exception);
  RUN(code_of_the_client_does_not_run_in_a_strict_call);
  RUN(other_threads_wait_for_the_end_of_a_strict_call);
  RUN(a_callback_runs_in_a_strict_call_and_is_closed_after);
  RUN(a_forked_child_has_its_code_back);
  if (way.guard == MM_GUARD_PAGES) RUN(a_reset_discards_no_more_than_what_was_written);
  if ((way.guard & ~SEALED) != MM_GUARD_PAGES)
    RUN(a_reset_of_a_large_image_leaves_the_files_pages_in_memory);
  if (way.guard == MM_GUARD_PAGES) RUN(there_are_keys_or_an_error_that_says_so);
  if ((way.guard & ~SEALED) == MM_GUARD_KEYS) {
    RUN(images_beyond_the_last_key_are_guarded_by_pages);
    RUN(threads_older_and_younger_than_the_mapping_call);
    RUN(keys_come_and_go_while_threads_call);
    RUN(a_jump_to_an_instruction_that_opens_ends_the_process);
  }
  CHECK_EQUAL(MM_OK, mm_finalize(NULL));
}

int main(int count, char **arguments) {
  static const struct way ways[] = {
      {"pages", MM_GUARD_PAGES, {0}},
      {"pages, sealed", MM_GUARD_PAGES | SEALED, {0}},
      {"pages, sealed, without either",
       MM_GUARD_PAGES | SEALED,
       {.without = MM_WITHOUT_INCLUSIVE | MM_WITHOUT_FSGSBASE}},
      {"open", MM_GUARD_OPEN, {0}},
      {"keys", MM_GUARD_KEYS, {0}},
      {"keys, sealed", MM_GUARD_KEYS | SEALED, {0}},
  };
  find_folders(count, arguments);
  return run_ways(ways, sizeof ways / sizeof *ways, all_tests);
}
