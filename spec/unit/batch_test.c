/* Many calls in one crossing: each is as it would be alone, whatever the one before it has left, and
 * the first that does not return is told. */
#include <math.h>
#include <pthread.h>
#include <time.h>

#include "client.h"
#include "client/client.h"

#define MOST 300

static int64_t results[MOST];
static uint32_t done;

/* The calls of `name` with these values, `each` for one call; false: they do not suit. */
static bool batch(struct mm_image *image, const char *name, const struct mm__value *values,
                  uint32_t each, uint32_t count, int *status, struct mm_error *error) {
  struct mm_function *function = function_of(image, name);
  struct mm__hold hold;
  struct mm__batch *noted;
  done = 0;
  must(mm__image_keep_open(image, &hold, error), error);
  bool suits = mm__batch_suits(function, &hold);
  if (suits) {
    must(mm__batch_make(function, count, &noted, error), error);
    for (uint32_t i = 0; i < count; i++)
      must(mm__batch_note(noted, values + (size_t)i * each, error), error);
    CHECK_EQUAL(count, mm__batch_count(noted));
    *status = mm__batch_call(noted, &done, error);
    for (uint32_t i = 0; i < done; i++) {
      struct mm__value value;
      mm__batch_result(noted, i, &value);
      results[i] = value.as.integer;
    }
    mm__batch_free(noted);
  }
  mm__image_let_go(&hold);
  return suits;
}

/* The same with one integer for each call; it has to suit, and to return. */
static void batch_of(struct mm_image *image, const char *name, uint32_t each, uint32_t count) {
  struct mm__value values[MOST] = {0};
  struct mm_error error;
  int status;
  for (uint32_t i = 0; i < each * count; i++) values[i].as.integer = (int64_t)i * 1000003 - 77;
  CHECK(batch(image, name, values, each, count, &status, &error));
  must(status, &error);
  CHECK_EQUAL(count, done);
}

static void each_call_has_its_own_arguments_and_result(void) {
  struct mm_image *image = map_image("math");
  struct mm_image_info before, after;
  must(mm_image_info(image, &before, NULL), NULL);
  batch_of(image, "i64", 1, 256);
  for (int i = 0; i < 256; i++) CHECK_EQUAL((int64_t)i * 1000003 - 77, results[i]);
  batch_of(image, "nothing", 0, 3);
  batch_of(image, "counter_next", 0, 100);
  for (int i = 0; i < 100; i++) CHECK_EQUAL(101 + i, results[i]);
  must(mm_image_info(image, &after, NULL), NULL);
  CHECK_EQUAL(before.calls + 359, after.calls);
  mm_image_release(image);
}

/* What image code may leave to whoever runs next. */
static void what_a_call_leaves_does_not_reach_the_next(void) {
  static const char *const spoilers[] = {
      "spoil_registers", "spoil_stack_pointer", "spoil_direction",
      "spoil_mxcsr",     "spoil_x87_control",   "spoil_x87_pending",
      "spoil_x87_stack", "spoil_x87_flags",     "spoil_all"};
  struct mm_image *image = map_image("crash");
  for (size_t s = 0; s < sizeof spoilers / sizeof *spoilers; s++) {
    batch_of(image, spoilers[s], 0, 5);
    for (int i = 0; i < 5; i++) CHECK_EQUAL(7, results[i]);
  }
  mm_image_release(image);
  image = map_image("rounding");
  batch_of(image, "look_then_spoil", 0, 5);
  for (int i = 0; i < 5; i++) CHECK_EQUAL(4 * 2 + 2, results[i]);
  mm_image_release(image);
  image = map_image("gate");
  batch_of(image, "spoil_nested_task", 0, 5);
  batch_of(image, "spoil_alignment", 0, 5);
  for (int i = 0; i < 5; i++) CHECK_EQUAL(7, results[i]);
  mm_image_release(image);
}

static void the_first_that_does_not_return_is_told(void) {
  struct mm_image *image = map_image("crash");
  struct mm__value values[20] = {0};
  struct mm_error error;
  int status;
  for (int i = 0; i < 20; i++) values[i].as.integer = i % 2 ? (i == 15 ? 0 : 1) : 84;
  CHECK(batch(image, "divide", values, 2, 10, &status, &error));
  CHECK_EQUAL(MM_ERROR_FAULT, status);
  CHECK_EQUAL(SIGFPE, error.signal);
  CHECK_EQUAL(7, done);
  CHECK_EQUAL(1, error.was_reset);
  CHECK(strcmp(error.export_name, "divide") == 0);
  CHECK(batch(image, "divide", values, 2, 7, &status, &error));
  CHECK_EQUAL(MM_OK, status);
  CHECK_EQUAL(84, results[6]);
  for (int i = 0; i < 3; i++) values[i].as.integer = 5 - i;
  CHECK(batch(image, "call_exit_now", values, 1, 3, &status, &error));
  CHECK_EQUAL(MM_ERROR_EXIT, status);
  CHECK_EQUAL(0, done);
  CHECK_EQUAL(5, error.exit_status);
  mm_image_release(image);
}

/* The calls are noted in the image's own memory. */
static void an_image_that_writes_over_the_rest_harms_only_itself(void) {
  static const int bytes[] = {0, 1, 0x20, 0x7f, 0x80, 0xff};
  struct mm_image *image = map_image("hostile");
  for (size_t b = 0; b < sizeof bytes / sizeof *bytes; b++) {
    struct mm__value values[40] = {0};
    struct mm_error error;
    int status;
    for (int i = 0; i < 40; i += 2) {
      values[i].as.string = "where";
      values[i].length = 5;
      values[i + 1].as.integer = bytes[b];
    }
    CHECK(batch(image, "scribble", values, 2, 20, &status, &error));
    CHECK(status == MM_OK || status == MM_ERROR_FAULT);
    CHECK(done <= 20);
    CHECK_EQUAL(9, CALL_INT(image, "constant_get"));
  }
  mm_image_release(image);
}

static void only_what_lies_in_the_mailbox_is_taken_for_calls(void) {
  struct mm_image *image = map_image("math");
  const struct mm__core_table *core = mm__core(NULL);
  struct mm__hold hold;
  uint64_t mine[40] = {0}, address;
  void *stub = stub_of(image, "i64");
  must(mm__image_keep_open(image, &hold, NULL), NULL);
  must(core->stage(&hold, mine, sizeof mine, &address, NULL), NULL);
  const uint64_t wrong[][2] = {{(uint64_t)mine, 1},
                               {base_of(image) + 0x10000, 1},
                               {address + 8, 1},
                               {address, 0},
                               {address + MM__MAILBOX_BYTES, 1}};
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    hold.thread->outcome.status = MM_OK;
    CHECK_EQUAL(0, core->batch(stub, wrong[i][0], wrong[i][1]));
    CHECK_EQUAL(MM_ERROR_ARGUMENT, hold.thread->outcome.status);
  }
  hold.thread->outcome.status = MM_OK;
  CHECK_EQUAL(1, core->batch(stub, address, 1));
  CHECK_EQUAL(MM_OK, hold.thread->outcome.status);
  mm__image_let_go(&hold);
  mm_image_release(image);
}

/* Where calls of `meet` wait, and what the last ones return at once. */
static volatile int places[3][2];

static void on_signal(int signal) {
  places[1][1] = signal;
  places[2][1] = signal;
}

/* The signal finds the thread in its first call, which waits for a while longer; a handler that ran
 * then would be seen here. */
static void *send_inside(void *thread) {
  while (!places[0][0]) usleep(1000);
  pthread_kill(*(pthread_t *)thread, SIGUSR1);
  usleep(20000);
  bool is_early = places[1][1] == SIGUSR1;
  places[0][1] = 1;
  return (void *)(intptr_t)is_early;
}

/* The image writes to the client's memory. */
static void a_signal_of_the_host_waits_for_one_call_only(void) {
  if (way.guard == MM_GUARD_KEYS && !(way.config.without & MM_WITHOUT_CLOSING)) return;
  struct mm_error error;
  struct mm__value values[3] = {0};
  pthread_t sender, self = pthread_self();
  void *is_early;
  int status;
  signal(SIGUSR1, on_signal);
  struct mm_image *image = map_image("gate");
  memset((void *)places, 0, sizeof places);
  places[1][1] = places[2][1] = -1;
  for (int i = 0; i < 3; i++) values[i].as.integer = (int64_t)places[i];
  pthread_create(&sender, NULL, send_inside, &self);
  CHECK(batch(image, "meet", values, 1, 3, &status, &error));
  must(status, &error);
  pthread_join(sender, &is_early);
  CHECK(!is_early);
  CHECK_EQUAL(1, results[0]);
  CHECK_EQUAL(SIGUSR1, results[1]);
  CHECK_EQUAL(SIGUSR1, results[2]);
  mm_image_release(image);
  signal(SIGUSR1, SIG_DFL);
}

static void strings_are_so_many_bytes_at_a_time(void) {
  enum { PIECE = 300000 };
  struct mm_image *image = map_image("text");
  struct mm_function *length = function_of(image, "length");
  char *text = calloc(PIECE + 1, 1);
  struct mm__value value = {.as.string = memset(text, 'x', PIECE), .length = PIECE};
  struct mm__hold hold;
  struct mm__batch *noted;
  struct mm_error error;
  must(mm__image_keep_open(image, &hold, &error), &error);
  must(mm__batch_make(length, 20, &noted, &error), &error);
  for (int round = 0; round < 2; round++) {
    for (int i = 0; i < 3; i++) {
      CHECK(mm__batch_takes(noted, &value));
      must(mm__batch_note(noted, &value, &error), &error);
    }
    CHECK(!mm__batch_takes(noted, &value)); /* over a MiB */
    mm__batch_forget(noted);
  }
  mm__batch_free(noted);
  mm__image_let_go(&hold);
  free(text);
  mm_image_release(image);
}

/* A fault that nobody has asked for is none of the next calls'. */
static void a_fault_before_is_not_told(void) {
  struct mm_image *image = map_image("crash");
  ((void (*)(void))stub_of(image, "write_null"))();
  struct mm__value values[2] = {{.as.integer = 84}, {.as.integer = 2}};
  struct mm_error error;
  int status;
  CHECK(batch(image, "divide", values, 2, 1, &status, &error));
  CHECK_EQUAL(MM_OK, status);
  CHECK_EQUAL(42, results[0]);
  mm_image_release(image);
}

static void calls_that_are_timed_or_masked_are_made_alone(void) {
  struct mm__value value = {0};
  struct mm_error error;
  int status;
  struct mm_image *image =
      map_with("math", &(struct mm_map_options){.guard = way.guard, .timeout_ns = 1000000000});
  CHECK(!batch(image, "i64", &value, 1, 1, &status, &error));
  mm_image_release(image);
  image = map_with("math", &(struct mm_map_options){.guard = way.guard, .stateless = 1});
  CHECK(!batch(image, "i64", &value, 1, 1, &status, &error));
  mm_image_release(image);
  mm_finalize(NULL);
  struct mm_config config = way.config;
  config.signals = MM_SIGNALS_MASK;
  must(mm_init(&config, &error), &error);
  image = map_image("math");
  CHECK(!batch(image, "i64", &value, 1, 1, &status, &error));
  mm_image_release(image);
}

static void all_tests(void) {
  connect_client();
  RUN(each_call_has_its_own_arguments_and_result);
  RUN(what_a_call_leaves_does_not_reach_the_next);
  RUN(the_first_that_does_not_return_is_told);
  RUN(an_image_that_writes_over_the_rest_harms_only_itself);
  RUN(only_what_lies_in_the_mailbox_is_taken_for_calls);
  RUN(a_signal_of_the_host_waits_for_one_call_only);
  RUN(strings_are_so_many_bytes_at_a_time);
  RUN(a_fault_before_is_not_told);
  RUN(calls_that_are_timed_or_masked_are_made_alone);
  CHECK_EQUAL(MM_OK, mm_finalize(NULL));
}

int main(int count, char **arguments) {
  static const struct way ways[] = {
      {"pages", MM_GUARD_PAGES, {0}},
      {"open", MM_GUARD_OPEN, {0}},
      {"keys", MM_GUARD_KEYS, {0}},
      {"keys, the client open", MM_GUARD_KEYS, {.without = MM_WITHOUT_CLOSING}},
      {"pages, with a selector, without FSGSBASE",
       MM_GUARD_PAGES,
       {.without = MM_WITHOUT_INCLUSIVE | MM_WITHOUT_FSGSBASE}},
  };
  find_folders(count, arguments);
  return run_ways(ways, sizeof ways / sizeof *ways, all_tests);
}
