/* Calls that may take only so long, as a C client sees them: every way to keep signals away, with
 * and without what the machine has. */
#include <pthread.h>
#include <semaphore.h>
#include <time.h>

#include "client.h"
#include "client/client.h"

#define MILLISECOND 1000000ul

static struct mm_image *map_image_with(const char *name, struct mm_map_options options) {
  struct mm_image *image;
  options.guard = way.guard;
  struct mm_error error;
  char path[1024];
  snprintf(path, sizeof path, "%s/image/%s.mmi", build_folder, name);
  must(mm_request_map(path, &options, &image, &error), &error);
  return image;
}

static struct mm_image *map_limited(const char *name, uint64_t timeout_ns) {
  return map_image_with(name, (struct mm_map_options){.timeout_ns = timeout_ns});
}

static int call(struct mm_image *image, const char *name, struct mm_error *error) {
  struct mm_function *function;
  must(mm_bind(image, name, NULL, &function, error), error);
  int result;
  return mm_request_call(function, &result, NULL, error);
}

static int timers(void) {
  char line[256];
  int count = 0;
  FILE *file = fopen("/proc/self/timers", "r");
  while (file && fgets(line, sizeof line, file)) count += strncmp(line, "ID:", 3) == 0;
  if (file) fclose(file);
  return count;
}

static void ends_a_call_that_never_ends(void) {
  struct mm_image *image = map_limited("crash", 20 * MILLISECOND);
  struct mm_error error;
  for (int i = 0; i < 5; i++) {
    CHECK_EQUAL(MM_ERROR_DEADLINE, call(image, "spin", &error));
    CHECK_EQUAL(1, error.was_reset);
    CHECK_EQUAL(0, strcmp(error.symbol, "spin"));
    CHECK_EQUAL(MM_OK, call(image, "counter_get", &error));
  }
  mm_image_release(image);
}

static void leaves_the_mask_as_it_was(void) {
  struct mm_image *image = map_limited("crash", 20 * MILLISECOND);
  struct mm_error error;
  sigset_t before, after;
  call(image, "counter_get", &error);
  sigprocmask(SIG_BLOCK, NULL, &before);
  CHECK_EQUAL(MM_ERROR_DEADLINE, call(image, "spin", &error));
  sigprocmask(SIG_BLOCK, NULL, &after);
  for (int signal = 1; signal < 65; signal++)
    CHECK_EQUAL(sigismember(&before, signal), sigismember(&after, signal));
  mm_image_release(image);
}

static void *spin_in_a_thread(void *image) {
  struct mm_error error;
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, NULL);
  return (void *)(intptr_t)call(image, "spin", &error);
}

static void reaches_a_thread_that_blocks_every_signal(void) {
  struct mm_image *image = map_limited("crash", 20 * MILLISECOND);
  pthread_t thread;
  void *status;
  for (int i = 0; i < 10; i++) {
    pthread_create(&thread, NULL, spin_in_a_thread, image);
    pthread_join(thread, &status);
    CHECK_EQUAL(MM_ERROR_DEADLINE, (intptr_t)status);
  }
  CHECK(timers() <= 1); /* this thread's own */
  mm_image_release(image);
}

static void does_not_disturb_the_clients_own_sleep(void) {
  struct mm_image *image = map_limited("crash", 5 * MILLISECOND);
  struct mm_error error;
  struct timespec nap = {0, 60 * (long)MILLISECOND};
  CHECK_EQUAL(MM_ERROR_DEADLINE, call(image, "spin", &error));
  CHECK_EQUAL(0, nanosleep(&nap, NULL));
  mm_image_release(image);
}

/* A strict call needs a descriptor. */
static void goes_with_a_call_that_is_refused(void) {
  struct mm_image *image =
      map_image_with("crash", (struct mm_map_options){.timeout_ns = 5 * MILLISECOND, .strict = 1});
  struct timespec nap = {0, 60 * (long)MILLISECOND};
  struct rlimit before, none;
  struct mm_error error;
  getrlimit(RLIMIT_NOFILE, &before);
  none = (struct rlimit){0, before.rlim_max};
  setrlimit(RLIMIT_NOFILE, &none);
  CHECK_EQUAL(MM_ERROR_SYSTEM, call(image, "counter_get", &error));
  setrlimit(RLIMIT_NOFILE, &before);
  CHECK_EQUAL(0, nanosleep(&nap, NULL));
  mm_image_release(image);
}

static void is_that_of_the_outermost_call(void) {
  struct mm_image *outer = map_limited("nested", 20 * MILLISECOND),
                  *inner = map_limited("crash", 1000000 * MILLISECOND);
  uint64_t spin = (uint64_t)stub_of(inner, "spin");
  void *arguments[] = {&spin, &(int){0}};
  struct mm_error error;
  CHECK_EQUAL(MM_ERROR_DEADLINE,
              mm_request_call(function_of(outer, "call_at"), &(int){0}, arguments, &error));
  mm_image_release(outer);
  mm_image_release(inner);
}

/* What is called in a callback of an image's call that has no deadline. */
struct target {
  struct mm_image *image;
  const char *name;
};

static void call_target(void *result, void **arguments, void *target_) {
  const struct target *target = target_;
  struct mm_error error;
  (void)arguments;
  *(int *)result = mm_request_call(function_of(target->image, target->name), NULL, NULL, &error);
}

static int call_inside(struct mm_image *outer, struct target target) {
  struct mm_callback *callback;
  int result = 0;
  CHECK_EQUAL(MM_OK, mm_callback(outer, "int (int)", call_target, &target, &callback, NULL));
  void *pointer = mm_callback_pointer(callback), *arguments[] = {&pointer, &(int){0}};
  CHECK_EQUAL(MM_OK, mm_request_call(function_of(outer, "apply"), &result, arguments, NULL));
  mm_callback_release(callback);
  return result - 1;
}

static void is_that_of_a_call_inside_one_that_has_none(void) {
  struct mm_image *outer = map_image("callback"), *inner = map_limited("crash", 20 * MILLISECOND);
  for (int i = 0; i < 3; i++)
    CHECK_EQUAL(MM_ERROR_DEADLINE, call_inside(outer, (struct target){inner, "spin"}));
  mm_image_release(outer);
  mm_image_release(inner);
}

/* --- while another thread is in the image: in a callback, until it is let go --- */

static sem_t is_inside, may_leave;

static void stay(void *result, void **arguments, void *user) {
  (void)result, (void)arguments, (void)user;
  sem_post(&is_inside);
  while (sem_wait(&may_leave)) {
  }
}

static void *call_in_a_thread(void *image) {
  struct mm_error error;
  struct mm_callback *callback;
  must(mm_callback(image, "void (void)", stay, NULL, &callback, &error), &error);
  void *function = mm_callback_pointer(callback);
  void *arguments[] = {&function, &(int){1}};
  int status = mm_request_call(function_of(image, "times"), &(int){0}, arguments, NULL);
  mm_callback_release(callback);
  return (void *)(intptr_t)status;
}

static pthread_t occupy(struct mm_image *image) {
  pthread_t thread;
  sem_init(&is_inside, 0, 0);
  sem_init(&may_leave, 0, 0);
  pthread_create(&thread, NULL, call_in_a_thread, image);
  while (sem_wait(&is_inside)) {
  }
  return thread;
}

static int vacate(pthread_t thread) {
  void *status;
  sem_post(&may_leave);
  pthread_join(thread, &status);
  return (int)(intptr_t)status;
}

static void never(void *user) {
  (void)user;
  CHECK(false);
}

static void ends_a_call_that_waits_for_its_turn(void) {
  struct mm_image *image = map_limited("callback", 20 * MILLISECOND);
  struct mm_error error;
  pthread_t other = occupy(image);
  for (int i = 0; i < 3; i++) {
    CHECK_EQUAL(MM_ERROR_DEADLINE, call(image, "counter_next", &error));
    CHECK(strcmp(error.message, "counter_next: the call took longer than it may") == 0);
    CHECK_EQUAL(0, error.was_reset);
    CHECK_EQUAL(0, CALL_INT(image, "counter_next"));
    CHECK_EQUAL(MM_ERROR_DEADLINE, mm_take_fault(&error));
    CHECK(strcmp(error.message, "counter_next: the call took longer than it may") == 0);
  }
  CHECK_EQUAL(MM_ERROR_DEADLINE, mm_open(image, never, NULL, NULL));
  CHECK_EQUAL(MM_ERROR_DEADLINE,
              mm_request_batch(function_of(image, "counter_next"), 3, NULL, NULL, NULL, &error));
  CHECK(strcmp(error.message, "counter_next: the call took longer than it may") == 0);
  CHECK_EQUAL(MM_ERROR_DEADLINE, vacate(other));
  CHECK_EQUAL(101, CALL_INT(image, "counter_next"));
  mm_image_release(image);
}

static void of_one_call_ends_its_wait(void) {
  struct mm_image *image = map_image("callback");
  struct mm_error error;
  struct mm__value result;
  pthread_t other = occupy(image);
  struct mm_function *next = function_of(image, "counter_next");
  CHECK_EQUAL(MM_ERROR_DEADLINE,
              mm__function_call_within(next, 20 * MILLISECOND, NULL, &result, &error));
  CHECK_EQUAL(MM_OK, vacate(other));
  CHECK_EQUAL(101, CALL_INT(image, "counter_next"));
  mm_image_release(image);
}

static void ends_the_wait_inside_a_call_that_has_none(void) {
  struct mm_image *outer = map_image("callback_other");
  struct mm_image *inner = map_limited("callback", 20 * MILLISECOND);
  pthread_t other = occupy(inner);
  for (int i = 0; i < 3; i++)
    CHECK_EQUAL(MM_ERROR_DEADLINE, call_inside(outer, (struct target){inner, "counter_next"}));
  CHECK_EQUAL(MM_ERROR_DEADLINE, vacate(other));
  CHECK_EQUAL(MM_OK, call_inside(outer, (struct target){inner, "counter_next"}));
  mm_image_release(outer);
  mm_image_release(inner);
}

static void ends_a_call_whose_inner_call_waits(void) {
  struct mm_image *outer = map_limited("nested", 20 * MILLISECOND), *image = map_image("callback");
  struct mm_error error;
  uint64_t next = (uint64_t)stub_of(image, "counter_next");
  void *arguments[] = {&next, &(int){0}};
  pthread_t other = occupy(image);
  CHECK_EQUAL(MM_ERROR_DEADLINE,
              mm_request_call(function_of(outer, "call_at"), &(int){0}, arguments, &error));
  CHECK_EQUAL(1, error.was_reset);
  CHECK_EQUAL(MM_OK, vacate(other));
  CHECK_EQUAL(101, CALL_INT(image, "counter_next"));
  mm_image_release(image);
  mm_image_release(outer);
}

/* A timer of the client's own, by the very signal that the deadline has. */
static void alarmed_body(void *unused) {
  struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMAX};
  struct itimerspec soon = {.it_value = {0, 30 * MILLISECOND}};
  struct mm_error error;
  timer_t timer;
  int milliseconds = 200;
  int64_t result;
  (void)unused;
  connect_client();
  struct mm_image *image = map_limited("syscall", 60000 * MILLISECOND);
  timer_create(CLOCK_MONOTONIC, &event, &timer);
  timer_settime(timer, 0, &soon, NULL);
  int status =
      mm_request_call(function_of(image, "nap"), &result, (void *[]){&milliseconds}, &error);
  _exit(status == MM_OK ? 0 : 1);
}

static void what_others_send_by_its_signal_is_none(void) {
  char output[512];
  int status = in_child(alarmed_body, NULL, output, sizeof output);
  CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGRTMAX); /* the default, which it had */
}

static void crowded_body(void *unused) {
  struct mm_map_options options = {.guard = way.guard, .timeout_ns = MILLISECOND};
  struct mm_image *image;
  char path[1024];
  (void)unused;
  for (int signal = SIGRTMIN; signal <= SIGRTMAX; signal++)
    sigaction(signal, &(struct sigaction){.sa_handler = SIG_IGN}, NULL);
  connect_client();
  snprintf(path, sizeof path, "%s/image/crash.mmi", build_folder);
  int status = mm_request_map(path, &options, &image, NULL);
  options.timeout_ns = 0;
  _exit(status == MM_ERROR_UNSUPPORTED && mm_request_map(path, &options, &image, NULL) == MM_OK
            ? 0
            : 1);
}

static void wants_a_signal_that_nobody_has(void) {
  char output[512];
  CHECK_EQUAL(0, in_child(crowded_body, NULL, output, sizeof output));
}

static void all_tests(void) {
  RUN(what_others_send_by_its_signal_is_none);
  RUN(wants_a_signal_that_nobody_has);
  connect_client();
  RUN(ends_a_call_that_never_ends);
  RUN(is_that_of_the_outermost_call);
  RUN(is_that_of_a_call_inside_one_that_has_none);
  RUN(leaves_the_mask_as_it_was);
  RUN(reaches_a_thread_that_blocks_every_signal);
  RUN(does_not_disturb_the_clients_own_sleep);
  RUN(ends_a_call_that_waits_for_its_turn);
  RUN(of_one_call_ends_its_wait);
  RUN(ends_the_wait_inside_a_call_that_has_none);
  RUN(ends_a_call_whose_inner_call_waits);
  RUN(goes_with_a_call_that_is_refused);
  CHECK_EQUAL(MM_OK, mm_finalize(NULL));
  CHECK_EQUAL(0, timers());
}

int main(int count, char **arguments) {
  static const struct way ways[] = {
      {"pages", MM_GUARD_PAGES, {0}},
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
