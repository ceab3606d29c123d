/* Calls of which one in ten ends badly, in every way there is, from several threads on several images, with callbacks,
 * nested calls, held guards, deadlines, memory, resets, maps and unmaps between them: every answer is right, and nothing
 * is left behind. Usage: soak_test FOLDER; MM_SOAK_CALLS and MM_SOAK_SEED in the environment say how many calls, in each
 * way, and which ones. Prints one line per test, exit status 1 when one failed. */
#define TEST_SECONDS soak_seconds()
static unsigned soak_seconds(void);
#include "client.h"
#include "footprint.h"

#include <pthread.h>

#include "client/client.h"

#define THREADS        4
#define ROUNDS         4
#define QUICK_CALLS    2000ul
#define CALLS_A_SECOND 100 /* at the very least */

/* Images that all threads use. In this order, so that no two threads wait for each other. */
enum { CALLBACK, NESTED, CRASH, SHARED_COUNT };
static const char *const shared_names[] = {"callback", "nested", "crash"};
static struct mm_image *shared[SHARED_COUNT];
/* And one that each has for itself, of which it knows what it counted. */
static const char *const own_names[THREADS] = {"math", "gate", "gate_other", "callback_other"};

struct worker {
  pthread_t thread;
  unsigned number, wrong;
  uint64_t random, calls;
  struct mm_image *own;
  struct mm_function *next;
  int counted;
  struct mm_callback *add, *fails, *nests, *spoils;
};

static uint64_t seed = 1, calls_wanted = QUICK_CALLS;

static unsigned soak_seconds(void) { return 100 + (unsigned)(calls_wanted / CALLS_A_SECOND); }

/* xorshift64*: Vigna, "An experimental exploration of Marsaglia's xorshift generators" */
static unsigned pick(struct worker *worker, unsigned below) {
  uint64_t x = worker->random;
  x ^= x >> 12, x ^= x << 25, x ^= x >> 27;
  worker->random = x;
  return (unsigned)(x * 0x2545f4914f6cdd1dul >> 33) % below;
}

static void expect(struct worker *worker, const char *what, int64_t wanted, int64_t got) {
  if (wanted == got || worker->wrong++ > 3) return;
  printf("# seed %lu, thread %u, call %lu: %s: %ld, not %ld\n", seed, worker->number, worker->calls,
         what, got, wanted);
}

/* Calls an export that takes ints and returns one. */
static int call(struct worker *worker, struct mm_image *image, const char *name, int a, int b,
                int *result, struct mm_error *error) {
  struct mm_function *function;
  void *arguments[] = {&a, &b};
  worker->calls++;
  int status = mm_bind(image, name, NULL, &function, error);
  if (status == MM_OK) status = mm_request_call(function, result, arguments, error);
  return status;
}

static void call_right(struct worker *worker, struct mm_image *image, const char *name, int a,
                       int b, int wanted) {
  struct mm_error error = {0};
  int result = -1;
  int status = call(worker, image, name, a, b, &result, &error);
  if (status != MM_OK) printf("# %s\n", error.message);
  expect(worker, name, MM_OK, status);
  expect(worker, name, wanted, result);
}

/* --- calls that end badly --- */

static const struct bad {
  const char *name;
  int argument, status, signal; /* or the exit status */
} bads[] = {
    {"write_null", 0, MM_ERROR_FAULT, SIGSEGV},
    {"read_null", 0, MM_ERROR_FAULT, SIGSEGV},
    {"execute_null", 0, MM_ERROR_FAULT, SIGSEGV},
    {"execute_data", 0, MM_ERROR_FAULT, SIGSEGV},
    {"write_code", 0, MM_ERROR_FAULT, SIGSEGV},
    {"not_canonical", 0, MM_ERROR_FAULT, SIGSEGV},
    {"divide", 1, MM_ERROR_FAULT, SIGFPE},
    {"illegal", 0, MM_ERROR_FAULT, SIGILL},
    {"trap", 0, MM_ERROR_FAULT, SIGTRAP},
    {"privileged", 0, MM_ERROR_FAULT, SIGSEGV},
    {"unaligned", 0, MM_ERROR_FAULT, SIGBUS},
    {"lost_stack", 0, MM_ERROR_FAULT, SIGBUS},
    {"null_stack", 0, MM_ERROR_FAULT, SIGSEGV},
    {"overflow", 0, MM_ERROR_FAULT, SIGSEGV},
    {"call_abort", 0, MM_ERROR_FAULT, SIGABRT},
    {"free_twice", 0, MM_ERROR_FAULT, SIGABRT},
    {"call_raise", SIGTERM, MM_ERROR_FAULT, SIGTERM},
    {"call_raise", SIGSEGV, MM_ERROR_FAULT, SIGSEGV},
    {"call_kill", SIGKILL, MM_ERROR_FAULT, SIGKILL},
    {"call_exit", 3, MM_ERROR_EXIT, 3},
    {"call_exit_now", 200, MM_ERROR_EXIT, 200},
    {"crash_in_libc", 0, MM_ERROR_FAULT, SIGSEGV},
    {"deep", 100, MM_ERROR_FAULT, SIGSEGV},
    {"dirty_then_crash", 64, MM_ERROR_FAULT, SIGSEGV},
    {"spoil_all_then_crash", 0, MM_ERROR_FAULT, SIGSEGV},
};

static void end_badly(struct worker *worker) {
  const struct bad *bad = &bads[pick(worker, sizeof bads / sizeof *bads)];
  struct mm_error error = {0};
  int64_t result = 0;
  int status = call(worker, shared[CRASH], bad->name, bad->argument, 0, (int *)&result, &error);
  expect(worker, bad->name, bad->status, status);
  expect(worker, bad->name, bad->signal,
         bad->status == MM_ERROR_EXIT ? error.exit_status : error.signal);
  expect(worker, bad->name, 1, (int64_t)error.was_reset);
}

static void run_out_of_time(struct worker *worker) {
  struct mm__value result;
  worker->calls++;
  int status =
      mm__function_call_within(function_of(shared[CRASH], "spin"), 1000000, NULL, &result, NULL);
  expect(worker, "spin", MM_ERROR_DEADLINE, status);
}

/* --- calls that end well, and leave the image as it was --- */

static void end_well(struct worker *worker) {
  static const char *const spoils[] = {
      "spoil_registers",   "spoil_stack_pointer", "spoil_direction",   "spoil_mxcsr",
      "spoil_x87_control", "spoil_x87_stack",     "spoil_x87_pending", "spoil_all"};
  int b = 1 + (int)pick(worker, 1000), a = (int)pick(worker, 1000000);
  switch (pick(worker, 8)) {
  case 0:
    call_right(worker, shared[CRASH], spoils[pick(worker, sizeof spoils / sizeof *spoils)], 0, 0,
               7);
    return;
  case 1: /* whatever the others did to it */
    call_right(worker, shared[CRASH], "counter_get", 0, 0, 100);
    return;
  case 2:
    call_right(worker, shared[NESTED], "recurse", b % 64, 0, b % 64);
    return;
  case 3: { /* through the stub, as LuaJIT does */
    int (*twice)(int) = stub_of(shared[NESTED], "twice");
    worker->calls++;
    expect(worker, "twice", 2 * a, twice(a));
    expect(worker, "twice", MM_OK, mm_take_fault(NULL));
    return;
  }
  default:
    call_right(worker, shared[CRASH], "divide", a, b, a / b);
  }
}

/* --- callbacks --- */

static void add_one_more(void *result, void **args, void *user) {
  (void)user;
  *(int *)result = *(int *)args[0] + 1;
}

static void fail(void *result, void **args, void *user) {
  (void)result, (void)args, (void)user;
  mm_callback_fail("on purpose");
}

/* Calls other images from inside, and sees one of them end badly. */
static void nest(void *result, void **args, void *worker_) {
  struct worker *worker = worker_;
  int x = *(int *)args[0];
  end_badly(worker);
  call_right(worker, shared[NESTED], "twice", x, 0, 2 * x);
  *(int *)result = x;
}

/* A fault in a call of the image that called back ends that one, too. */
static void spoil(void *result, void **args, void *worker_) {
  struct worker *worker = worker_;
  struct mm_error error;
  int unused;
  (void)result, (void)args;
  expect(worker, "crash", MM_ERROR_FAULT,
         call(worker, shared[CALLBACK], "crash", 0, 0, &unused, &error));
}

static void call_back(struct worker *worker) {
  const unsigned which = pick(worker, 8);
  struct mm_callback *callback = which == 0   ? worker->fails
                                 : which == 1 ? worker->nests
                                 : which == 2 ? worker->spoils
                                              : worker->add;
  int wanted = which == 0 || which == 2 ? MM_ERROR_CALLBACK : MM_OK;
  int x = (int)pick(worker, 1000), result = -1;
  void *pointer = mm_callback_pointer(callback), *arguments[] = {&pointer, &x};
  struct mm_error error = {0};
  worker->calls++;
  int status = mm_request_call(function_of(shared[CALLBACK], "apply"), &result, arguments, &error);
  if (status != wanted) printf("# %s\n", error.message);
  expect(worker, "apply", wanted, status);
  if (status == MM_OK) expect(worker, "apply", x + 1 + (which != 1), result);
}

static struct mm_callback *callback_of(struct worker *worker, mm_callback_function *function) {
  struct mm_callback *callback;
  struct mm_error error;
  must(mm_callback(shared[CALLBACK], "int (int)", function, worker, &callback, &error), &error);
  return callback;
}

static void renew_callbacks(struct worker *worker) {
  mm_callback_release(worker->add);
  mm_callback_release(worker->nests);
  worker->add = callback_of(worker, add_one_more);
  worker->nests = callback_of(worker, nest);
}

/* --- many calls through one opening --- */

static void call_held(struct worker *worker) {
  struct mm__hold hold;
  struct mm_image *image = shared[CRASH];
  expect(worker, "hold", MM_OK, mm__image_keep_open(image, &hold, NULL));
  for (unsigned i = pick(worker, 8); i > 0; i--)
    call_right(worker, image, "divide", (int)i * 6, 3, (int)i * 2);
  if (pick(worker, 4) == 0) end_badly(worker);
  mm__image_let_go(&hold);
}

/* --- an image of its own --- */

static void map_own(struct worker *worker) {
  static const uint32_t guards[] = {MM_GUARD_DEFAULT, MM_GUARD_PAGES, MM_GUARD_OPEN};
  struct mm_map_options options = {.guard = guards[pick(worker, 3)],
                                   .verify = pick(worker, 8) == 0,
                                   .dead_on_fault = pick(worker, 2)};
  if (options.guard != MM_GUARD_OPEN && pick(worker, 2)) options.guard |= SEALED;
  worker->own = map_with(own_names[worker->number], &options);
  worker->next = function_of(worker->own, "counter_next");
  worker->counted = 100;
}

static void use_memory(struct worker *worker) {
  static __thread unsigned char bytes[20000], back[sizeof bytes];
  size_t size = 1 + pick(worker, sizeof bytes);
  void *memory = NULL;
  memset(bytes, (int)pick(worker, 256), size);
  expect(worker, "allocate", MM_OK, mm_allocate(worker->own, size, &memory, NULL));
  expect(worker, "write", MM_OK, mm_write(worker->own, memory, bytes, size, NULL));
  expect(worker, "read", MM_OK, mm_read(worker->own, memory, back, size, NULL));
  expect(worker, "what was written", 0, memcmp(bytes, back, size));
  if (pick(worker, 4)) expect(worker, "free", MM_OK, mm_free(worker->own, memory, NULL));
}

static void use_own(struct worker *worker) {
  int result = -1;
  switch (pick(worker, 32)) {
  case 0:
    expect(worker, "unmap", MM_OK, mm_unmap(worker->own, NULL));
    expect(worker, "a call of it", MM_ERROR_UNMAPPED,
           mm_request_call(worker->next, &result, NULL, NULL));
    mm_image_release(worker->own);
    map_own(worker);
    return;
  case 1:
  case 2:
    expect(worker, "reset", MM_OK, mm_reset(worker->own, NULL));
    worker->counted = 100;
    return;
  case 3:
  case 4:
    use_memory(worker);
    return;
  default:
    worker->calls++;
    expect(worker, "counter_next", MM_OK, mm_request_call(worker->next, &result, NULL, NULL));
    expect(worker, "counter_next", ++worker->counted, result);
  }
}

/* --- all of it --- */

static void step(struct worker *worker) {
  unsigned which = pick(worker, 1000);
  if (which < 100)
    end_badly(worker);
  else if (which < 102)
    run_out_of_time(worker);
  else if (which < 110)
    expect(worker, "reset", MM_OK, mm_reset(shared[pick(worker, 2) ? CRASH : NESTED], NULL));
  else if (which < 120)
    renew_callbacks(worker);
  else if (which < 200)
    call_back(worker);
  else if (which < 220)
    call_held(worker);
  else if (which < 500)
    use_own(worker);
  else
    end_well(worker);
}

static void *work(void *worker_) {
  struct worker *worker = worker_;
  map_own(worker);
  worker->add = callback_of(worker, add_one_more);
  worker->fails = callback_of(worker, fail);
  worker->nests = callback_of(worker, nest);
  worker->spoils = callback_of(worker, spoil);
  while (worker->calls < calls_wanted / ROUNDS / THREADS && worker->wrong == 0) step(worker);
  mm_callback_release(worker->add);
  mm_callback_release(worker->fails);
  mm_callback_release(worker->nests);
  mm_callback_release(worker->spoils);
  mm_image_release(worker->own);
  return NULL;
}

/* --- all threads --- */

static unsigned round_of_calls(unsigned number) {
  static struct worker workers[THREADS];
  unsigned wrong = 0;
  connect_client();
  for (int i = 0; i < SHARED_COUNT; i++) shared[i] = map_image(shared_names[i]);
  for (unsigned i = 0; i < THREADS; i++) {
    workers[i] = (struct worker){.number = i, .random = (seed * ROUNDS + number) * THREADS + i + 1};
    pthread_create(&workers[i].thread, NULL, work, &workers[i]);
  }
  for (unsigned i = 0; i < THREADS; i++) {
    pthread_join(workers[i].thread, NULL);
    wrong += workers[i].wrong;
  }
  for (int i = 0; i < SHARED_COUNT; i++) mm_image_release(shared[i]);
  CHECK_EQUAL(MM_OK, mm_finalize(NULL));
  return wrong;
}

/* Threads, images and Matchmaker of each round are new; the first one warms up what the C library keeps. */
static void every_answer_is_right_and_nothing_is_left(void) {
  struct footprint before = {0}, after;
  for (unsigned i = 0; i < ROUNDS && failures == 0; i++) {
    CHECK_EQUAL(0, round_of_calls(i));
    after = footprint();
    if (i == 0) before = after;
  }
  compare(&before, &after);
}

static void all_tests(void) { RUN(every_answer_is_right_and_nothing_is_left); }

static uint64_t number_from(const char *name, uint64_t otherwise) {
  const char *text = getenv(name);
  return text && *text ? strtoull(text, NULL, 10) : otherwise;
}

int main(int count, char **arguments) {
  static const struct way ways[] = {
      {"pages", MM_GUARD_PAGES, {0}},
      {"open", MM_GUARD_OPEN, {0}},
      {"pages, with a selector, masking",
       MM_GUARD_PAGES,
       {.signals = MM_SIGNALS_MASK, .without = MM_WITHOUT_INCLUSIVE}},
      {"keys", MM_GUARD_KEYS, {0}},
  };
  mallopt(M_ARENA_MAX, 1); /* what threads keep each for themselves goes up and down by MiB */
  find_folders(count, arguments);
  setenv("XDG_RUNTIME_DIR", folder, 1);
  seed = number_from("MM_SOAK_SEED", seed);
  calls_wanted = number_from("MM_SOAK_CALLS", calls_wanted);
  return run_ways(ways, sizeof ways / sizeof *ways, all_tests);
}
