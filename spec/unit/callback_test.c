/* Functions of the client that images call: registers both ways, nesting, and what must not be done.
 * Usage: callback_test FOLDER; prints one line per test, exit status 1 when one failed. */
#include "client.h"

#include <pthread.h>
#include <setjmp.h>
#include <ucontext.h>
#include <unwind.h>

static struct mm_callback *make(struct mm_image *image, const char *prototype,
                                mm_callback_function *function, void *user) {
  struct mm_callback *callback;
  struct mm_error error;
  must(mm_callback(image, prototype, function, user, &callback, &error), &error);
  return callback;
}

#define POINTER_OF(image, prototype, function, user)                                               \
  mm_callback_pointer(make(image, prototype, function, user))

typedef int apply_function(void *function, int x);

static void add_user(void *result, void **args, void *user) {
  *(int *)result = *(int *)args[0] + *(int *)user;
}

static void calls_the_client_and_gets_its_result(void) {
  struct mm_image *image = map_image("callback");
  int ten = 10, *user = &ten;
  apply_function *apply = stub_of(image, "apply");
  void *pointer = POINTER_OF(image, "int (int)", add_user, user);
  for (int x = -3; x < 3; x++) CHECK_EQUAL(1 + x + 10, apply(pointer, x));
  int result = 0, x = 31;
  void *arguments[] = {&pointer, &x};
  CHECK_EQUAL(MM_OK, mm_request_call(function_of(image, "apply"), &result, arguments, NULL));
  CHECK_EQUAL(42, result);
  CHECK_EQUAL(17, ((int (*)(int))pointer)(7)); /* the client itself may call it, too */
  CHECK_EQUAL(MM_OK, mm_take_fault(NULL));
  mm_image_release(image);
}

static int compared;

static void compare(void *result, void **args, void *user) {
  const int *a = *(const int **)args[0], *b = *(const int **)args[1];
  (void)user;
  compared++;
  *(int *)result = (*a > *b) - (*a < *b);
}

static void sorts_image_memory_by_a_function_of_the_client(void) {
  struct mm_image *image = map_image("callback");
  int *base = ((int *(*)(int))stub_of(image, "fill"))(1000);
  int (*number)(int) = stub_of(image, "number");
  ((void (*)(int *, size_t, void *))stub_of(image, "sort"))(
      base, 1000, POINTER_OF(image, "compare_t", compare, NULL));
  CHECK(compared > 1000);
  int wrong = 0;
  for (int i = 1; i < 1000; i++) wrong += number(i - 1) > number(i);
  CHECK_EQUAL(0, wrong);
  mm_image_release(image);
}

/* --- registers --- */

static uint32_t seen_mxcsr;
static uint16_t seen_x87[14];
static uint64_t seen_flags;

static void look(void *result, void **args, void *user) {
  (void)user;
  __asm__ volatile("stmxcsr %0\n\tfnstenv %1\n\tfldenv %1\n\tpushfq\n\tpop %2"
                   : "=m"(seen_mxcsr), "=m"(seen_x87), "=r"(seen_flags));
  *(int *)result = *(int *)args[0];
}

static void each_side_keeps_its_registers_whatever_the_image_spoils(void) {
  struct mm_image *image = map_image("callback");
  apply_function *hostile = stub_of(image, "hostile");
  void *pointer = POINTER_OF(image, "int (int)", look, NULL);
  uint32_t down = 0x1f80 | 1 << 13, normal = 0x1f80;
  uint16_t x87_down = 0x037f | 1 << 10, x87_normal = 0x037f;
  __asm__ volatile("ldmxcsr %0\n\tfldcw %1" : : "m"(down), "m"(x87_down));
  int result = hostile(pointer, 5);
  __asm__ volatile("ldmxcsr %0\n\tfldcw %1" : : "m"(normal), "m"(x87_normal));
  CHECK_EQUAL(5, result);
  CHECK_EQUAL(down, seen_mxcsr & ~0x3fu);
  CHECK_EQUAL(x87_down, seen_x87[0]);
  CHECK_EQUAL(0xffff, seen_x87[4]); /* all registers empty */
  CHECK_EQUAL(0, seen_flags & 0x44400);
  CHECK_EQUAL(0, CALL_INT(image, "hostile_kept"));
  CHECK_EQUAL(MM_OK, mm_take_fault(NULL));
  mm_image_release(image);
}

static void shows_the_image_none_of_the_clients_registers(void) {
  struct mm_image *image = map_image("callback");
  uint64_t (*seen_after)(void *) = stub_of(image, "seen_after");
  CHECK_EQUAL(0, seen_after(POINTER_OF(image, "int (int)", look, NULL)));
  mm_image_release(image);
}

static void spoil(void *result, void **args, void *user) {
  uint32_t mxcsr = 0x1f80 | 3 << 13;
  uint16_t x87 = 0x037f | 3 << 10;
  (void)user;
  __asm__ volatile("ldmxcsr %0\n\tfldcw %1" : : "m"(mxcsr), "m"(x87));
  *(int *)result = *(int *)args[0];
}

static void the_image_keeps_its_rounding_when_the_client_changes_its_own(void) {
  struct mm_image *image = map_image("callback");
  apply_function *hostile = stub_of(image, "hostile");
  CHECK_EQUAL(6, hostile(POINTER_OF(image, "int (int)", spoil, NULL), 6));
  CHECK_EQUAL(0, CALL_INT(image, "hostile_kept"));
  mm_image_release(image);
}

static void an_x87_exception_that_waits_is_the_images_own(void) {
  struct mm_image *image = map_image("callback");
  struct mm_error error;
  int (*pending)(void *) = stub_of(image, "pending");
  CHECK_EQUAL(0, pending(POINTER_OF(image, "int (int)", look, NULL)));
  CHECK_EQUAL(MM_ERROR_FAULT, mm_take_fault(&error));
  CHECK_EQUAL(SIGFPE, error.signal);
  mm_image_release(image);
}

static void an_x87_exception_that_the_image_masks_is_not_raised_in_the_client(void) {
  struct mm_image *image = map_image("callback");
  apply_function *flagged = stub_of(image, "flagged");
  uint16_t unmasked = 0x037b, normal = 0x037f;
  void *pointer = POINTER_OF(image, "int (int)", look, NULL);
  __asm__ volatile("fldcw %0" : : "m"(unmasked));
  int result = flagged(pointer, 5);
  __asm__ volatile("fldcw %0" : : "m"(normal));
  CHECK_EQUAL(5, result);
  CHECK_EQUAL(unmasked, seen_x87[0]);
  CHECK_EQUAL(0, seen_x87[2] & 0x80);
  mm_image_release(image);
}

static void see_all(void *result, void **args, void *user) {
  (void)user;
  CHECK_EQUAL(-128, *(int8_t *)args[0]);
  CHECK_EQUAL(255, *(uint8_t *)args[1]);
  CHECK_EQUAL(-32768, *(int16_t *)args[2]);
  CHECK_EQUAL(65535, *(uint16_t *)args[3]);
  CHECK_EQUAL(INT32_MIN, *(int32_t *)args[4]);
  CHECK_EQUAL(UINT32_MAX, *(uint32_t *)args[5]);
  CHECK_EQUAL(-(1l << 53), *(int64_t *)args[6]);
  CHECK_EQUAL(1ul << 52, *(uint64_t *)args[7]);
  CHECK(*(float *)args[8] == 0.5f);
  CHECK(*(double *)args[9] == -0.25);
  CHECK(*(long double *)args[10] == 3.5L);
  CHECK_EQUAL(1, *(bool *)args[11]);
  CHECK(strcmp(*(const char **)args[12], "text") == 0);
  CHECK_EQUAL(-7, *(int *)args[13]);
  CHECK(*(double *)args[14] == 1e100);
  *(double *)result = 2.5;
}

static void answer_narrow(void *result, void **args, void *user) {
  (void)args;
  memcpy(result, user, 1);
  if (*(uint8_t *)user == 3) *(int16_t *)result = -300;
}

static void double_long(void *result, void **args, void *user) {
  (void)user;
  *(long double *)result = 2 * *(long double *)args[0];
}

static void negate(void *result, void **args, void *user) {
  (void)user;
  *(float *)result = -*(float *)args[0];
}

static void passes_every_type_both_ways(void) {
  struct mm_image *image = map_image("callback");
  double (*mix)(void *) = stub_of(image, "mix");
  CHECK(mix(POINTER_OF(image,
                       "double (int8_t, uint8_t, int16_t, uint16_t, int32_t, uint32_t, int64_t,"
                       "uint64_t, float, double, long double, bool, const char *, int, double)",
                       see_all, NULL)) == 2.5);
  int64_t (*narrow)(void *, void *, void *, void *) = stub_of(image, "narrow");
  uint8_t bytes[] = {0x80, 0xff, 3, 1};
  CHECK_EQUAL(-128 + 255 - 300 + 1,
              narrow(POINTER_OF(image, "int8_t (void)", answer_narrow, &bytes[0]),
                     POINTER_OF(image, "uint8_t (void)", answer_narrow, &bytes[1]),
                     POINTER_OF(image, "int16_t (void)", answer_narrow, &bytes[2]),
                     POINTER_OF(image, "bool (void)", answer_narrow, &bytes[3])));
  long double (*half)(void *, long double) = stub_of(image, "half");
  void *twice = POINTER_OF(image, "long double (long double)", double_long, NULL);
  volatile long double number = 0x1.fffffffffffffffep+16000L;
  for (int i = 0; i < 20; i++) CHECK(half(twice, number) == number);
  float (*single)(void *, float) = stub_of(image, "single");
  CHECK(single(POINTER_OF(image, "float (float)", negate, NULL), 1.5f) == -1.5f);
  mm_image_release(image);
}

static void swap_point(void *result, void **args, void *user) {
  const double *point = args[0];
  (void)user;
  ((double *)result)[0] = 10 * point[1];
  ((double *)result)[1] = point[0];
}

static void passes_structs_by_value(void) {
  struct mm_image *image = map_image("callback");
  double (*by_value)(void *, double, double) = stub_of(image, "by_value");
  CHECK(by_value(POINTER_OF(image, "struct point (struct point)", swap_point, NULL), 3, 4) == 43);
  mm_image_release(image);
}

static void quote(void *result, void **args, void *user) {
  char *text = user;
  snprintf(text, 100, "<%s>", *(const char **)args[0]);
  *(const char **)result = text;
}

static void passes_strings_both_ways(void) {
  struct mm_image *image = map_image("callback");
  struct mm_error error;
  char text[100];
  size_t (*measure)(void *) = stub_of(image, "measure");
  CHECK_EQUAL(5006, measure(POINTER_OF(image, "const char *(const char *)", quote, text)));
  int (*bad_string)(void *) = stub_of(image, "bad_string");
  CHECK_EQUAL(0, bad_string(POINTER_OF(image, "int (const char *)", look, NULL)));
  CHECK_EQUAL(MM_ERROR_CALLBACK, mm_take_fault(&error));
  CHECK(strstr(error.message, "argument 1 of a callback, 0x8, is no string") != NULL);
  mm_image_release(image);
}

/* --- nesting --- */

struct nest {
  apply_function *apply, *other;
  void *pointer, *other_pointer;
  int depth, most, fail_at;
};

static void go_deeper(void *result, void **args, void *user) {
  struct nest *nest = user;
  int x = *(int *)args[0];
  if (++nest->depth > nest->most) nest->most = nest->depth;
  bool other = nest->other && x % 2;
  if (x == 0 && nest->fail_at == 0) mm_callback_fail("at the bottom");
  *(int *)result =
      x == 0
          ? 0
          : (other ? nest->other : nest->apply)(other ? nest->other_pointer : nest->pointer, x - 1);
  if (x > 0 && mm_take_fault(NULL) != MM_OK) mm_callback_fail("passed on");
  nest->depth--;
}

static void calls_to_and_fro_two_hundred_deep(void) {
  struct mm_image *image = map_image("callback"), *other = map_image("callback_other");
  struct nest nest = {.apply = stub_of(image, "with_stack"), .fail_at = -1};
  struct mm_error error;
  nest.pointer = POINTER_OF(image, "int (int)", go_deeper, &nest);
  CHECK_EQUAL(0, nest.apply(nest.pointer, 200));
  CHECK_EQUAL(201, nest.most);
  nest.other = stub_of(other, "with_stack");
  nest.other_pointer = POINTER_OF(other, "int (int)", go_deeper, &nest);
  CHECK_EQUAL(0, nest.apply(nest.pointer, 200));
  CHECK_EQUAL(MM_OK, mm_take_fault(&error));
  CHECK_EQUAL(0, nest.depth);
  CALL_INT(image, "counter_next");
  CALL_INT(other, "counter_next");
  nest.fail_at = 0;
  CHECK_EQUAL(0, nest.apply(nest.pointer, 21));
  CHECK_EQUAL(MM_ERROR_CALLBACK, mm_take_fault(&error));
  CHECK(strstr(error.message, "passed on") != NULL);
  CHECK_EQUAL(1, error.was_reset);
  CHECK_EQUAL(0, nest.depth);
  CHECK_EQUAL(101, CALL_INT(image, "counter_next"));
  CHECK_EQUAL(101, CALL_INT(other, "counter_next"));
  mm_image_release(image);
  mm_image_release(other);
}

/* An image calls another one directly, and that one calls back. */
static void calls_back_from_an_image_that_an_image_called(void) {
  struct mm_image *image = map_image("callback"), *other = map_image("callback_other");
  struct mm_error error;
  int ten = 10;
  int (*call_stub)(void *, void *, int) = stub_of(other, "call_stub");
  void *apply = stub_of(image, "apply");
  CHECK_EQUAL(16, call_stub(apply, POINTER_OF(image, "int (int)", add_user, &ten), 5));
  CHECK_EQUAL(MM_OK, mm_take_fault(&error));
  /* It is the image's, not the other's. */
  CHECK_EQUAL(0, call_stub(apply, POINTER_OF(other, "int (int)", add_user, &ten), 5));
  CHECK_EQUAL(MM_ERROR_CALLBACK, mm_take_fault(&error));
  CHECK(strstr(error.message, "called a callback of another image") != NULL);
  mm_image_release(image);
  mm_image_release(other);
}

/* --- what ends a call --- */

static void fail(void *result, void **args, void *user) {
  (void)result, (void)args;
  mm_callback_fail(user);
}

static void ends_the_call_of_a_callback_that_failed(void) {
  struct mm_image *image = map_image("callback");
  struct mm_error error;
  int (*times)(void *, int) = stub_of(image, "times");
  CHECK_EQUAL(101, CALL_INT(image, "counter_next"));
  CHECK_EQUAL(0, times(POINTER_OF(image, "void (void)", fail, (void *)"no more"), 3));
  CHECK_EQUAL(MM_ERROR_CALLBACK, mm_take_fault(&error));
  CHECK(strcmp(error.message, "times: no more; the image was reset") == 0);
  CHECK_EQUAL(1, error.was_reset);
  CHECK_EQUAL(101, CALL_INT(image, "counter_next"));
  mm_callback_fail("nobody hears that");
  CHECK_EQUAL(3, times(POINTER_OF(image, "void (void)", look, NULL)
                           ? POINTER_OF(image, "void (void)", answer_narrow, &(int){0})
                           : NULL,
                       3));
  mm_image_release(image);
}

static void a_freed_callback_is_a_fault_of_the_image(void) {
  struct mm_image *image = map_image("callback");
  struct mm_error error;
  int byte = 0;
  struct mm_callback *callback = make(image, "void (void)", answer_narrow, &byte);
  ((void (*)(void *))stub_of(image, "keep"))(mm_callback_pointer(callback));
  CHECK_EQUAL(1, CALL_INT(image, "call_kept"));
  mm_callback_release(callback);
  for (int i = 0; i < 3; i++) mm_callback_release(make(image, "void (void)", answer_narrow, &byte));
  make(image, "void (void)", answer_narrow, &byte);
  CHECK_EQUAL(0, CALL_INT(image, "call_kept"));
  CHECK_EQUAL(MM_ERROR_CALLBACK, mm_take_fault(&error));
  CHECK(strstr(error.message, "call_kept: called a callback that was freed in call_kept+") != NULL);
  CHECK_EQUAL(1, error.was_reset);
  mm_image_release(image);
}

/* All that were near it are gone, too: its stub is not even mapped any more. */
static void so_is_one_whose_stub_is_gone(void) {
  struct mm_image *image = map_image("callback");
  struct mm_error error;
  int byte = 0;
  struct mm_callback *callback = make(image, "void (void)", answer_narrow, &byte);
  ((void (*)(void *))stub_of(image, "keep"))(mm_callback_pointer(callback));
  mm_callback_release(callback);
  for (int i = 0; i < 5000; i++)
    mm_callback_release(make(image, "void (void)", answer_narrow, &byte));
  CHECK_EQUAL(0, CALL_INT(image, "call_kept"));
  CHECK_EQUAL(MM_ERROR_CALLBACK, mm_take_fault(&error));
  CHECK(strstr(error.message, "called a callback that was freed in call_kept+") != NULL);
  mm_image_release(image);
}

static void release_itself(void *result, void **args, void *callback) {
  (void)args;
  mm_callback_release(*(struct mm_callback **)callback);
  *(int *)result = 7;
}

static void a_callback_may_free_itself(void) {
  struct mm_image *image = map_image("callback");
  apply_function *apply = stub_of(image, "apply");
  struct mm_callback *callback = make(image, "int (int)", release_itself, &callback);
  CHECK_EQUAL(8, apply(mm_callback_pointer(callback), 1));
  CHECK_EQUAL(0, apply(mm_callback_pointer(make(image, "int (int)", look, NULL)), 1) - 2);
  CHECK_EQUAL(MM_OK, mm_take_fault(NULL));
  mm_image_release(image);
}

static void call_crash(void *result, void **args, void *stub) {
  struct mm_error error;
  (void)args;
  *(int *)result = ((int (*)(void))stub)();
  CHECK_EQUAL(MM_ERROR_FAULT, mm_take_fault(&error));
  CHECK_EQUAL(SIGSEGV, error.signal);
}

static void a_crash_inside_a_callback_unwinds_to_the_callback(void) {
  struct mm_image *image = map_image("callback"), *other = map_image("callback_other");
  struct mm_error error;
  apply_function *apply = stub_of(image, "apply");
  const char *const names[] = {"crash", "overflow"};
  for (int i = 0; i < 2; i++) {
    /* In another image: the call goes on. */
    CHECK_EQUAL(101, CALL_INT(other, "counter_next"));
    void *pointer = POINTER_OF(image, "int (int)", call_crash, stub_of(other, names[i]));
    CHECK_EQUAL(1, apply(pointer, 1));
    CHECK_EQUAL(MM_OK, mm_take_fault(&error));
    CHECK_EQUAL(101, CALL_INT(other, "counter_next"));
    mm_reset(other, NULL);
    /* In the same: it cannot go on with what the crash left of it. */
    pointer = POINTER_OF(image, "int (int)", call_crash, stub_of(image, names[i]));
    CHECK_EQUAL(101, CALL_INT(image, "counter_next"));
    CHECK_EQUAL(0, apply(pointer, 1));
    CHECK_EQUAL(MM_ERROR_CALLBACK, mm_take_fault(&error));
    CHECK(strstr(error.message, "a call into it from its callback ended in a fault") != NULL);
    CHECK_EQUAL(1, error.was_reset);
    CHECK_EQUAL(101, CALL_INT(image, "counter_next"));
    mm_reset(image, NULL);
  }
  mm_image_release(image);
  mm_image_release(other);
}

static void an_image_without_stack_cannot_call_back(void) {
  struct mm_image *image = map_image("callback");
  struct mm_error error;
  int (*at_the_end)(void *) = stub_of(image, "at_the_end");
  CHECK_EQUAL(0, at_the_end(POINTER_OF(image, "int (int)", look, NULL)));
  CHECK_EQUAL(MM_ERROR_FAULT, mm_take_fault(&error));
  CHECK(strstr(error.message, "stack overflow") != NULL);
  mm_image_release(image);
}

/* --- what is refused --- */

static void try_everything(void *result, void **args, void *image) {
  struct mm_error error;
  (void)args;
  CHECK_EQUAL(MM_ERROR_BUSY, mm_unmap(image, &error));
  CHECK(strstr(error.message, "a call is running") != NULL);
  CHECK_EQUAL(MM_ERROR_BUSY, mm_reset(image, &error));
  CHECK_EQUAL(MM_ERROR_BUSY, mm_finalize(&error));
  struct mm_image *other = map_image("callback_other");
  CHECK_EQUAL(101, CALL_INT(other, "counter_next"));
  CHECK_EQUAL(MM_OK, mm_reset(other, &error));
  CHECK_EQUAL(MM_OK, mm_unmap(other, &error));
  mm_image_release(other);
  *(int *)result = 3;
}

static void the_image_that_called_back_cannot_go(void) {
  struct mm_image *image = map_image("callback");
  apply_function *apply = stub_of(image, "apply");
  CHECK_EQUAL(4, apply(POINTER_OF(image, "int (int)", try_everything, image), 1));
  CHECK_EQUAL(MM_OK, mm_take_fault(NULL));
  mm_image_release(image);
}

static void give_pointer(void *result, void **args, void *user) {
  (void)args;
  *(void **)result = user;
}

static void give_three(void *result, void **args, void *user) {
  (void)args;
  memcpy(result, user, 3 * sizeof(void *));
}

static int call_with(struct mm_image *image, const char *name, void *pointer, int *result,
                     struct mm_error *error) {
  void *arguments[] = {&pointer};
  return mm_request_call(function_of(image, name), result, arguments, error);
}

static void gives_the_image_no_pointer_of_the_client(void) {
  struct mm_image *image = map_image("callback");
  struct mm_error error;
  int mine = 5, result = 77, *theirs = ((int *(*)(int))stub_of(image, "fill"))(3);
  void *three[] = {theirs, NULL, theirs};
  void *pointer = POINTER_OF(image, "int *(void)", give_pointer, &mine);
  CHECK_EQUAL(MM_ERROR_CALLBACK, call_with(image, "first_of", pointer, &result, &error));
  CHECK(strstr(error.message, "the result of a callback is a pointer of the client"));
  CHECK_EQUAL(77, result); /* of a call that failed there is none */
  pointer = POINTER_OF(image, "int *(void)", give_pointer, NULL);
  must(call_with(image, "first_of", pointer, &result, &error), &error);
  CHECK_EQUAL(-1, result);
  theirs = ((int *(*)(int))stub_of(image, "fill"))(3);
  pointer = POINTER_OF(image, "int *(void)", give_pointer, theirs);
  must(call_with(image, "first_of", pointer, &result, &error), &error);
  CHECK_EQUAL(((int (*)(int))stub_of(image, "number"))(0), result);
  pointer = POINTER_OF(image, "struct three (void)", give_three, three);
  must(call_with(image, "count_three", pointer, &result, &error), &error);
  CHECK_EQUAL(2, result);
  three[2] = &mine;
  CHECK_EQUAL(MM_ERROR_CALLBACK, call_with(image, "count_three", pointer, &result, &error));
  CHECK(strstr(error.message, "holds in `at` a pointer of the client"));
  mm_image_release(image);
}

static void says_what_is_wrong_with_a_callback(void) {
  struct mm_image *image = map_image("callback");
  struct mm_callback *callback;
  struct mm_error error;
  CHECK_EQUAL(MM_ERROR_NULL, mm_callback(image, "int (int)", NULL, NULL, &callback, &error));
  CHECK_EQUAL(MM_ERROR_PROTOTYPE, mm_callback(image, "int (", look, NULL, &callback, &error));
  CHECK_EQUAL(MM_ERROR_UNSUPPORTED,
              mm_callback(image, "int (int, ...)", look, NULL, &callback, &error));
  CHECK_EQUAL(MM_OK, mm_unmap(image, NULL));
  CHECK_EQUAL(MM_ERROR_UNMAPPED, mm_callback(image, "int (int)", look, NULL, &callback, &error));
  mm_callback_release(NULL);
  mm_image_release(image);
}

static void ten_thousand_live_at_once(void) {
  struct mm_image *image = map_image("callback");
  apply_function *apply = stub_of(image, "apply");
  static struct mm_callback *callbacks[10000];
  static int numbers[10000];
  int wrong = 0;
  for (int i = 0; i < 10000; i++) {
    numbers[i] = i;
    callbacks[i] = make(image, "int (int)", add_user, &numbers[i]);
  }
  for (int i = 0; i < 10000; i += 7) wrong += apply(mm_callback_pointer(callbacks[i]), 1) != i + 2;
  CHECK_EQUAL(0, wrong);
  for (int i = 0; i < 10000; i += 2) mm_callback_release(callbacks[i]);
  for (int i = 1; i < 10000; i += 14) wrong += apply(mm_callback_pointer(callbacks[i]), 1) != i + 2;
  CHECK_EQUAL(0, wrong);
  CHECK_EQUAL(MM_OK, mm_take_fault(NULL));
  mm_image_release(image); /* and the rest goes with it */
}

/* --- time, signals, forks, threads --- */

#define AT_ONCE 65536u

static void more_than_there_can_be_are_a_limit(void) {
  struct mm_image *image = map_image("callback");
  static struct mm_callback *callbacks[AT_ONCE];
  struct mm_callback *more;
  struct mm_error error;
  int three = 3;
  for (unsigned i = 0; i < AT_ONCE; i++) callbacks[i] = make(image, "int (int)", add_user, &three);
  for (int i = 0; i < 2; i++) {
    CHECK_EQUAL(MM_ERROR_LIMIT, mm_callback(image, "int (int)", add_user, &three, &more, &error));
    CHECK(strstr(error.message, "more than 65536 callbacks at once") != NULL);
    mm_callback_release(callbacks[i * 40000]);
    callbacks[i * 40000] = make(image, "int (int)", add_user, &three);
    CHECK_EQUAL(1 + 3 + 4, ((apply_function *)stub_of(image, "apply"))(
                               mm_callback_pointer(callbacks[i * 40000]), 4));
  }
  CHECK_EQUAL(MM_OK, mm_take_fault(NULL));
  mm_image_release(image);
}

static void wait_long(void *result, void **args, void *user) {
  (void)result, (void)args, (void)user;
  usleep(150000);
}

static void a_deadline_ends_the_call_after_its_callback(void) {
  struct mm_map_options options = {.guard = way.guard, .timeout_ns = 50000000};
  struct mm_image *image = map_with("callback", &options);
  struct mm_error error;
  int (*times)(void *, int) = stub_of(image, "times"),
                       (*spin)(void *) = stub_of(image, "spin_after");
  CHECK_EQUAL(0, times(POINTER_OF(image, "void (void)", wait_long, NULL), 1));
  CHECK_EQUAL(MM_ERROR_DEADLINE, mm_take_fault(&error));
  spin(POINTER_OF(image, "void (void)", answer_narrow, &(int){0}));
  CHECK_EQUAL(MM_ERROR_DEADLINE, mm_take_fault(&error));
  mm_image_release(image);
}

static volatile sig_atomic_t signals;
static void count_signal(int signal) {
  (void)signal;
  signals++;
}

static void signal_itself(void *result, void **args, void *user) {
  (void)result, (void)args, (void)user;
  raise(SIGUSR1);
  if (way.config.signals == MM_SIGNALS_DEFER) CHECK_EQUAL(1, signals);
}

static void signals_come_in_during_a_callback(void) {
  struct sigaction action = {.sa_handler = count_signal}, before;
  sigaction(SIGUSR1, &action, &before);
  struct mm_image *image = map_image("callback");
  int (*times)(void *, int) = stub_of(image, "times");
  signals = 0;
  CHECK_EQUAL(1, times(POINTER_OF(image, "void (void)", signal_itself, NULL), 1));
  CHECK_EQUAL(1, signals);
  sigset_t mask;
  sigprocmask(SIG_BLOCK, NULL, &mask);
  CHECK_EQUAL(0, sigismember(&mask, SIGUSR1));
  mm_image_release(image);
  sigaction(SIGUSR1, &before, NULL);
}

static void fault_in_client(void *image_) {
  struct mm_image *image = image_;
  int (*times)(void *, int) = stub_of(image, "times");
  times(POINTER_OF(image, "void (void)", (mm_callback_function *)8, NULL), 1);
}

static void a_fault_of_the_callback_itself_is_the_clients(void) {
  struct mm_image *image = map_image("callback");
  char output[1024];
  int status = in_child(fault_in_client, image, output, sizeof output);
  CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
  mm_image_release(image);
}

/* --- ways out that are none --- */

static struct mm_image *left_image;
static jmp_buf outside;

static void jump_out(void *result, void **args, void *user) {
  (void)result, (void)args, (void)user;
  longjmp(outside, 1);
}

static void end_the_thread(void *result, void **args, void *user) {
  (void)result, (void)args, (void)user;
  pthread_exit(NULL);
}

static void call_back_from(int depth, mm_callback_function *function) {
  volatile char frame[512];
  frame[0] = (char)depth;
  if (depth)
    call_back_from(depth - 1, function);
  else
    ((int (*)(void *, int))stub_of(left_image, "times"))(
        POINTER_OF(left_image, "void (void)", function, NULL), 1);
  frame[1] = frame[0];
}

static void call_after_a_jump(void *depth) {
  if (setjmp(outside) == 0) call_back_from(*(int *)depth, jump_out);
  printf("left ");
  fflush(stdout);
  printf("goes on with %d\n", CALL_INT(left_image, "counter_next"));
}

static void *call_back_in_a_thread(void *unused) {
  call_back_from(1, end_the_thread);
  return unused;
}

static void join_who_ended_in_a_callback(void *unused) {
  pthread_t thread;
  (void)unused;
  printf("left ");
  fflush(stdout);
  pthread_create(&thread, NULL, call_back_in_a_thread, NULL);
  pthread_join(thread, NULL);
  printf("goes on\n");
}

static void stops(void (*body)(void *), void *argument) {
  char output[1024];
  int status = in_child(body, argument, output, sizeof output);
  CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
  CHECK(strncmp(output, "left matchmaker: a callback was not left by its return", 54) == 0);
  CHECK(strstr(output, "goes on") == NULL);
}

static void a_callback_that_is_left_by_a_jump_stops_the_program(void) {
  left_image = map_image("callback");
  for (int depth = 0; depth <= 100; depth += 50) stops(call_after_a_jump, &depth);
  stops(join_who_ended_in_a_callback, NULL);
  mm_image_release(left_image);
}

/* Nobody's handler is found beyond the callback: for C++ that is std::terminate. */
static void raise_exception(void *result, void **args, void *user) {
  struct _Unwind_Exception exception = {.exception_class = 1};
  (void)args, (void)user;
  *(int *)result = (int)_Unwind_RaiseException(&exception);
}

static void no_exception_leaves_a_callback(void) {
  struct mm_image *image = map_image("callback");
  apply_function *apply = stub_of(image, "apply");
  CHECK_EQUAL(1 + _URC_END_OF_STACK,
              apply(POINTER_OF(image, "int (int)", raise_exception, NULL), 0));
  mm_image_release(image);
}

static ucontext_t callback_context, fiber_context;

static void fiber(void) {
  CHECK_EQUAL(101, CALL_INT(left_image, "counter_next"));
  swapcontext(&fiber_context, &callback_context);
}

static void jump_inside(void *result, void **args, void *stack) {
  jmp_buf inside;
  volatile int times = 0;
  if (setjmp(inside) < 3) longjmp(inside, ++times);
  getcontext(&fiber_context);
  fiber_context.uc_stack = (stack_t){.ss_sp = stack, .ss_size = 1 << 18};
  makecontext(&fiber_context, fiber, 0);
  swapcontext(&callback_context, &fiber_context);
  *(int *)result = times + *(int *)args[0];
}

/* And goes on on stacks of its own making. */
static void within_a_callback_the_client_jumps_as_it_likes(void) {
  static char in_the_program[1 << 18];
  char *stacks[] = {in_the_program, malloc(1 << 18)};
  for (int i = 0; i < 2; i++) {
    left_image = map_image("callback");
    apply_function *apply = stub_of(left_image, "apply");
    CHECK_EQUAL(1 + 3 + 5, apply(POINTER_OF(left_image, "int (int)", jump_inside, stacks[i]), 5));
    CHECK_EQUAL(102, CALL_INT(left_image, "counter_next"));
    mm_image_release(left_image);
  }
  free(stacks[1]);
}

static struct mm_image *forked_image;

static void fork_here(void *result, void **args, void *status) {
  *(int *)result = *(int *)args[0];
  pid_t child = fork();
  if (child == 0) {
    limit_time();
    *(int *)status = -1;
    *(int *)result = 100 + CALL_INT(forked_image, "counter_next");
    return;
  }
  while (waitpid(child, status, 0) < 0 && errno == EINTR) {
  }
}

static void fork_and_go_on(void *result, void **args, void *child) {
  (void)result, (void)args;
  *(pid_t *)child = fork();
  if (*(pid_t *)child == 0) limit_time();
}

/* Timers are not inherited: timer_create(2). */
static void a_deadline_holds_in_a_child_that_was_forked_in_a_callback(void) {
  struct mm_map_options options = {.guard = way.guard, .timeout_ns = 100000000};
  struct mm_image *image = map_with("callback", &options);
  int (*spin)(void *) = stub_of(image, "spin_after"), status = 0;
  pid_t child = -1;
  spin(POINTER_OF(image, "void (void)", fork_and_go_on, &child));
  CHECK_EQUAL(MM_ERROR_DEADLINE, mm_take_fault(NULL));
  if (child == 0) _exit(failures ? 9 : 7);
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 7);
  mm_image_release(image);
}

static void a_process_may_fork_in_a_callback(void) {
  struct mm_image *image = forked_image = map_image("callback");
  apply_function *apply = stub_of(image, "apply");
  int status = 0;
  void *pointer = POINTER_OF(image, "int (int)", fork_here, &status);
  int result = apply(pointer, 5);
  if (status == -1) { /* the child: its own call came back, and it can go on */
    CHECK_EQUAL(1 + 100 + 101, result);
    CHECK_EQUAL(102, CALL_INT(image, "counter_next"));
    CHECK_EQUAL(MM_OK, mm_take_fault(NULL));
    mm_image_release(image);
    CHECK_EQUAL(MM_OK, mm_finalize(NULL));
    fflush(stdout);
    _exit(failures ? 9 : 7);
  }
  CHECK_EQUAL(6, result);
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 7);
  CHECK_EQUAL(101, CALL_INT(image, "counter_next"));
  mm_image_release(image);
}

struct worker {
  const char *name;
  pthread_t thread;
  int wrong;
};

static void *work(void *worker_) {
  struct worker *worker = worker_;
  struct mm_image *image = map_image(worker->name);
  apply_function *apply = stub_of(image, "apply");
  for (int i = 0; i < 500; i++) {
    struct mm_callback *callback = make(image, "int (int)", add_user, &i);
    worker->wrong += apply(mm_callback_pointer(callback), 3) != 4 + i;
    mm_callback_release(callback);
  }
  mm_image_release(image);
  return NULL;
}

static void two_threads_have_an_image_and_callbacks_each(void) {
  struct worker workers[] = {{.name = "callback"}, {.name = "callback_other"}};
  for (int i = 0; i < 2; i++) pthread_create(&workers[i].thread, NULL, work, &workers[i]);
  for (int i = 0; i < 2; i++) pthread_join(workers[i].thread, NULL);
  CHECK_EQUAL(0, workers[0].wrong + workers[1].wrong);
}

static void all_tests(void) {
  connect_client();
  RUN(calls_the_client_and_gets_its_result);
  RUN(sorts_image_memory_by_a_function_of_the_client);
  RUN(each_side_keeps_its_registers_whatever_the_image_spoils);
  RUN(shows_the_image_none_of_the_clients_registers);
  RUN(the_image_keeps_its_rounding_when_the_client_changes_its_own);
  RUN(an_x87_exception_that_waits_is_the_images_own);
  RUN(an_x87_exception_that_the_image_masks_is_not_raised_in_the_client);
  RUN(passes_every_type_both_ways);
  RUN(passes_structs_by_value);
  RUN(passes_strings_both_ways);
  RUN(calls_to_and_fro_two_hundred_deep);
  RUN(calls_back_from_an_image_that_an_image_called);
  RUN(ends_the_call_of_a_callback_that_failed);
  RUN(a_freed_callback_is_a_fault_of_the_image);
  RUN(so_is_one_whose_stub_is_gone);
  RUN(a_callback_may_free_itself);
  RUN(a_crash_inside_a_callback_unwinds_to_the_callback);
  RUN(an_image_without_stack_cannot_call_back);
  RUN(the_image_that_called_back_cannot_go);
  RUN(gives_the_image_no_pointer_of_the_client);
  RUN(says_what_is_wrong_with_a_callback);
  RUN(ten_thousand_live_at_once);
  if (!emulated) RUN(more_than_there_can_be_are_a_limit);
  RUN(a_deadline_ends_the_call_after_its_callback);
  RUN(signals_come_in_during_a_callback);
  RUN(a_fault_of_the_callback_itself_is_the_clients);
  RUN(a_callback_that_is_left_by_a_jump_stops_the_program);
  RUN(no_exception_leaves_a_callback);
  RUN(within_a_callback_the_client_jumps_as_it_likes);
  RUN(a_process_may_fork_in_a_callback);
  RUN(a_deadline_holds_in_a_child_that_was_forked_in_a_callback);
  RUN(two_threads_have_an_image_and_callbacks_each);
  CHECK_EQUAL(MM_OK, mm_finalize(NULL));
}
int main(int count, char **arguments) {
  static const struct way ways[] = {
      {"pages", MM_GUARD_PAGES, {0}},
      {"open", MM_GUARD_OPEN, {0}},
      {"pages, with a selector", MM_GUARD_PAGES, {.without = MM_WITHOUT_INCLUSIVE}},
      {"open, with a selector", MM_GUARD_OPEN, {.without = MM_WITHOUT_INCLUSIVE}},
      {"open, without FSGSBASE", MM_GUARD_OPEN, {.without = MM_WITHOUT_FSGSBASE}},
      {"pages, without either, masking",
       MM_GUARD_PAGES,
       {.signals = MM_SIGNALS_MASK, .without = MM_WITHOUT_INCLUSIVE | MM_WITHOUT_FSGSBASE}},
  };
  find_folders(count, arguments);
  return run_ways(ways, sizeof ways / sizeof *ways, all_tests);
}
