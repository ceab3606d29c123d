/* The C interface's calls that share an opening of the guard: mm_request_batch is as so many calls of
 * mm_request_call, up to the first that fails; mm_open leaves open what calls have opened, and no
 * longer than it runs.
 * Usage: many_test FOLDER; prints one line per test, exit status 1 when one failed. */
#include <malloc.h>

#include "client.h"

#define MOST 600 /* more than two crossings hold */

struct pair {
  int a, b;
};

/* For `count` calls with two integers each. */
static void point_at(struct pair *pairs, size_t count, void *arguments[][2], void **calls) {
  for (size_t i = 0; i < count; i++) {
    arguments[i][0] = &pairs[i].a;
    arguments[i][1] = &pairs[i].b;
    calls[i] = arguments[i];
  }
}

static struct pair pairs[MOST];
static void *arguments[MOST][2], *calls[MOST], *places[MOST];
static int results[MOST];

static int batch_of_pairs(struct mm_image *image, const char *name, size_t count, size_t *done,
                          struct mm_error *error) {
  point_at(pairs, count, arguments, calls);
  for (size_t i = 0; i < count; i++) {
    results[i] = -1;
    places[i] = &results[i];
  }
  return mm_request_batch(function_of(image, name), count, places, (void ***)calls, done, error);
}

static void every_call_has_its_result(void) {
  struct mm_image *image = map_image("math");
  struct mm_image_info before, after;
  struct mm_error error;
  size_t done = 99;
  for (int i = 0; i < MOST; i++) pairs[i] = (struct pair){i * 1000, -7 * i};
  must(mm_image_info(image, &before, NULL), NULL);
  must(batch_of_pairs(image, "add", MOST, &done, &error), &error);
  must(mm_image_info(image, &after, NULL), NULL);
  CHECK_EQUAL(MOST, done);
  CHECK_EQUAL(before.calls + MOST, after.calls);
  for (int i = 0; i < MOST; i++) CHECK_EQUAL(i * 993, results[i]);
  must(batch_of_pairs(image, "add", 1, &done, &error), &error);
  CHECK_EQUAL(1, done);
  must(batch_of_pairs(image, "add", 0, &done, &error), &error);
  CHECK_EQUAL(0, done);
  struct mm_function *add = function_of(image, "add");
  size_t used = mallinfo2().uordblks;
  for (int i = 0; i < 100; i++)
    must(mm_request_batch(add, MOST, NULL, (void ***)calls, &done, &error), &error);
  CHECK(mallinfo2().uordblks < used + 0x10000); /* what is noted takes half of that */
  mm_image_release(image);
}

/* Each result has its exact type, and nothing beside it is written. */
static void results_are_as_wide_as_they_are(void) {
  struct mm_image *image = map_image("math");
  struct mm_error error;
  int8_t bytes[5] = {-128, -1, 0, 1, 127}, back[7] = {42, 0, 0, 0, 0, 0, 42};
  long double wide[2] = {1.0L / 3, -2.5L}, wide_back[2] = {0};
  void *of_bytes[5][1], *lists[5], *to[5];
  for (int i = 0; i < 5; i++) {
    of_bytes[i][0] = &bytes[i];
    lists[i] = of_bytes[i];
    to[i] = i == 2 ? NULL : &back[i + 1];
  }
  back[3] = 99;
  must(mm_request_batch(function_of(image, "i8"), 5, to, (void ***)lists, NULL, &error), &error);
  CHECK_EQUAL(-128, back[1]);
  CHECK_EQUAL(-1, back[2]);
  CHECK_EQUAL(99, back[3]); /* not wanted */
  CHECK_EQUAL(1, back[4]);
  CHECK_EQUAL(127, back[5]);
  CHECK_EQUAL(42, back[0]);
  CHECK_EQUAL(42, back[6]);
  for (int i = 0; i < 2; i++) {
    of_bytes[i][0] = &wide[i];
    to[i] = &wide_back[i];
  }
  must(mm_request_batch(function_of(image, "f80"), 2, to, (void ***)lists, NULL, &error), &error);
  CHECK(wide_back[0] == wide[0] && wide_back[1] == wide[1]);
  must(mm_request_batch(function_of(image, "counter_next"), 9, NULL, NULL, NULL, &error), &error);
  int next = 0;
  must(mm_request_call(function_of(image, "counter_next"), &next, NULL, &error), &error);
  CHECK_EQUAL(110, next);
  mm_image_release(image);
}

/* Strings are the client's; more of them than one crossing takes, and one that takes it alone. */
static void strings_are_copied_in(void) {
  struct mm_image *image = map_image("hostile");
  struct mm_error error;
  enum { LONG = 0x180000, EACH = 0x30000 };
  char *text = malloc(LONG + 1);
  memset(text, 'x', LONG);
  text[LONG] = 0;
  static const int lengths[] = {0, 5, LONG, EACH, EACH, EACH, EACH, EACH, EACH, EACH, 3};
  enum { COUNT = sizeof lengths / sizeof *lengths };
  const char *texts[COUNT];
  for (int i = 0; i < COUNT; i++) {
    texts[i] = text + LONG - lengths[i];
    arguments[i][0] = &texts[i];
    calls[i] = arguments[i];
    places[i] = &results[i];
  }
  must(mm_request_batch(function_of(image, "length"), COUNT, places, (void ***)calls, NULL, &error),
       &error);
  for (int i = 0; i < COUNT; i++) CHECK_EQUAL(lengths[i], results[i]);
  free(text);
  mm_image_release(image);
}

static void the_first_that_fails_ends_it(void) {
  struct mm_image *image = map_image("crash");
  struct mm_error error;
  size_t done = 0;
  for (int i = 0; i < MOST; i++) pairs[i] = (struct pair){84, i == 300 ? 0 : 2};
  CHECK_EQUAL(MM_ERROR_FAULT, batch_of_pairs(image, "divide", MOST, &done, &error));
  CHECK_EQUAL(300, done);
  CHECK_EQUAL(SIGFPE, error.signal);
  CHECK(strcmp(error.export_name, "divide") == 0);
  for (int i = 0; i < MOST; i++) CHECK_EQUAL(i < 256 ? 42 : -1, results[i]);
  CHECK_EQUAL(MM_ERROR_FAULT, batch_of_pairs(image, "divide", MOST, NULL, NULL));
  /* A call that is wrong: those before it are made. */
  point_at(pairs, 10, arguments, calls);
  arguments[6][1] = NULL;
  mm_request_batch(function_of(image, "divide"), 10, places, (void ***)calls, &done, &error);
  CHECK_EQUAL(6, done);
  CHECK_EQUAL(MM_ERROR_NULL, error.status);
  CHECK_EQUAL(2, error.argument);
  /* One before it is the first. */
  pairs[3].b = 0;
  CHECK_EQUAL(MM_ERROR_FAULT, mm_request_batch(function_of(image, "divide"), 10, places,
                                               (void ***)calls, &done, &error));
  CHECK_EQUAL(3, done);
  CHECK_EQUAL(MM_ERROR_FAULT, error.status);
  calls[1] = NULL;
  CHECK_EQUAL(MM_ERROR_NULL, mm_request_batch(function_of(image, "divide"), 10, places,
                                              (void ***)calls, &done, &error));
  CHECK_EQUAL(1, done);
  mm_image_release(image);
}

static void what_cannot_share_a_crossing_is_called_alone(void) {
  struct mm_error error;
  size_t done;
  for (int i = 0; i < 9; i++) pairs[i] = (struct pair){i, 1};
  struct mm_image *image =
      map_with("math", &(struct mm_map_options){.guard = way.guard, .stateless = 1});
  must(batch_of_pairs(image, "add", 9, &done, &error), &error);
  for (int i = 0; i < 9; i++) CHECK_EQUAL(i + 1, results[i]);
  must(mm_request_batch(function_of(image, "counter_next"), 9, places, NULL, &done, &error),
       &error);
  for (int i = 0; i < 9; i++) CHECK_EQUAL(101, results[i]);
  struct mm_function *names = function_of(image, "color_name");
  CHECK_EQUAL(MM_ERROR_ARGUMENT,
              mm_request_batch(names, 9, places, (void ***)calls, &done, &error));
  CHECK_EQUAL(0, done);
  CHECK(strstr(error.message, "color_name") != NULL);
  must(mm_request_batch(names, 9, NULL, (void ***)calls, &done, &error), &error);
  CHECK_EQUAL(9, done);
  mm_image_release(image);
  image = map_with("crash", &(struct mm_map_options){.guard = way.guard, .timeout_ns = 1000000000});
  for (int i = 0; i < 9; i++) pairs[i] = (struct pair){i, i == 4 ? 0 : 1};
  CHECK_EQUAL(MM_ERROR_FAULT, batch_of_pairs(image, "divide", 9, &done, &error));
  CHECK_EQUAL(4, done);
  for (int i = 0; i < 9; i++) CHECK_EQUAL(i < 4 ? i : -1, results[i]);
  mm_image_release(image);
}

static void exit_now(void *user) {
  (void)user;
  _exit(9);
}

static void wrong_arguments_are_errors(void) {
  struct mm_image *image = map_image("math");
  struct mm_function *add = function_of(image, "add");
  struct mm_error error;
  size_t done = 5;
  CHECK_EQUAL(MM_ERROR_NULL, mm_request_batch(NULL, 1, NULL, NULL, &done, NULL));
  CHECK_EQUAL(0, done);
  CHECK_EQUAL(MM_ERROR_NULL, mm_request_batch(add, 1, NULL, NULL, NULL, NULL));
  CHECK_EQUAL(MM_ERROR_NULL, mm_open(NULL, exit_now, NULL, NULL));
  CHECK_EQUAL(MM_ERROR_NULL, mm_open(image, NULL, NULL, NULL));
  must(mm_unmap(image, NULL), NULL);
  CHECK_EQUAL(MM_ERROR_UNMAPPED, mm_request_batch(add, 3, NULL, (void ***)calls, &done, &error));
  CHECK(strstr(error.message, "add") != NULL);
  CHECK_EQUAL(MM_ERROR_UNMAPPED, mm_open(image, exit_now, NULL, NULL));
  mm_image_release(image);
}

/* --- mm_open --- */

struct visit {
  struct mm_image *image;
  uint64_t open_pages[2]; /* within, after one call and after two */
  int results[2];
};

static uint64_t open_bytes(struct mm_image *image) {
  struct openness openness = openness_of(base_of(image));
  return openness.writable + openness.executable;
}

static void call_twice(void *visit_) {
  struct visit *visit = visit_;
  struct mm_function *next = function_of(visit->image, "counter_next");
  for (int i = 0; i < 2; i++) {
    CHECK_EQUAL(MM_OK, mm_request_call(next, &visit->results[i], NULL, NULL));
    visit->open_pages[i] = open_bytes(visit->image);
  }
}

static void what_calls_open_stays_open_until_it_returns(void) {
  struct visit visit = {map_image("math"), {0}, {0}};
  struct mm_error error;
  uint64_t at_rest = open_bytes(visit.image);
  must(mm_open(visit.image, call_twice, &visit, &error), &error);
  CHECK_EQUAL(101, visit.results[0]);
  CHECK_EQUAL(102, visit.results[1]);
  CHECK(visit.open_pages[0] > 0);
  CHECK_EQUAL(visit.open_pages[0], visit.open_pages[1]);
  if (way.guard == MM_GUARD_PAGES) CHECK_EQUAL(0, at_rest);
  CHECK_EQUAL(at_rest, open_bytes(visit.image));
  must(mm_open(visit.image, call_twice, &visit, &error), &error);
  CHECK_EQUAL(104, visit.results[1]);
  mm_image_release(visit.image);
}

static void crash(void *image) {
  CHECK_EQUAL(MM_ERROR_FAULT, mm_request_call(function_of(image, "write_null"), NULL, NULL, NULL));
  if (way.guard == MM_GUARD_PAGES) CHECK_EQUAL(0, open_bytes(image));
  int value = 0;
  CHECK_EQUAL(MM_OK, mm_request_call(function_of(image, "counter_get"), &value, NULL, NULL));
  CHECK_EQUAL(100, value);
  CHECK_EQUAL(MM_ERROR_BUSY, mm_unmap(image, NULL));
}

static void a_fault_within_closes_it(void) {
  struct mm_image *image = map_image("crash");
  struct mm_error error;
  must(mm_open(image, crash, image, &error), &error);
  if (way.guard == MM_GUARD_PAGES) CHECK_EQUAL(0, open_bytes(image));
  must(mm_unmap(image, &error), &error);
  mm_image_release(image);
}

static void release(void *image) { mm_image_release(image); }

static void an_image_released_within_goes_when_it_returns(void) {
  struct mm_image *image = map_image("math");
  must(mm_open(image, release, image, NULL), NULL);
  CHECK_EQUAL(MM_ERROR_ARGUMENT, mm_mapped(0, &(struct mm_image_info){0}, NULL));
}

static void all_tests(void) {
  connect_client();
  RUN(every_call_has_its_result);
  RUN(results_are_as_wide_as_they_are);
  RUN(strings_are_copied_in);
  RUN(the_first_that_fails_ends_it);
  RUN(what_cannot_share_a_crossing_is_called_alone);
  RUN(wrong_arguments_are_errors);
  RUN(what_calls_open_stays_open_until_it_returns);
  RUN(a_fault_within_closes_it);
  RUN(an_image_released_within_goes_when_it_returns);
  CHECK_EQUAL(MM_OK, mm_finalize(NULL));
}

int main(int count, char **arguments_) {
  static const struct way ways[] = {
      {"pages", MM_GUARD_PAGES, {0}},
      {"open", MM_GUARD_OPEN, {0}},
      {"keys", MM_GUARD_KEYS, {0}},
  };
  find_folders(count, arguments_);
  return run_ways(ways, sizeof ways / sizeof *ways, all_tests);
}
