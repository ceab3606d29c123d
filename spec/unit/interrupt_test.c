/* SIGINT in a call: it ends the call, is handed on to the client's handler or is used up, and
 * outside of calls does what it always did. */
#include <pthread.h>
#include <time.h>

#include "client.h"

static volatile sig_atomic_t handled;

static void on_interrupt(int signal) { handled += signal == SIGINT; }

static void handle(void (*handler)(int), int flags) {
  struct sigaction action = {.sa_handler = handler, .sa_flags = flags};
  sigaction(SIGINT, &action, NULL);
  handled = 0;
}

/* Interrupts the thread when it is inside, or when it waits in the kernel. */
struct interrupter {
  pthread_t thread, target;
  pid_t waits; /* the target's, if it is to be seen to sleep */
  volatile int at[2];
};

static char state_of(pid_t thread) {
  char path[64], state = 0;
  snprintf(path, sizeof path, "/proc/self/task/%d/stat", thread);
  FILE *file = fopen(path, "r");
  if (file && fscanf(file, "%*d (%*[^)]) %c", &state) != 1) state = 0;
  if (file) fclose(file);
  return state;
}

static void *interrupt(void *interrupter_) {
  struct interrupter *interrupter = interrupter_;
  while (!interrupter->waits && !interrupter->at[0]) usleep(100);
  while (interrupter->waits && state_of(interrupter->waits) != 'S') usleep(100);
  pthread_kill(interrupter->target, SIGINT);
  return NULL;
}

static void start(struct interrupter *interrupter, bool waits) {
  *interrupter = (struct interrupter){.target = pthread_self(), .waits = waits ? gettid() : 0};
  pthread_create(&interrupter->thread, NULL, interrupt, interrupter);
}

static int call_with(struct mm_image *image, const char *name, void *argument,
                     struct mm_error *error) {
  long result;
  memset(error, 0, sizeof *error);
  return mm_request_call(function_of(image, name), &result, &argument, error);
}

static int interrupt_meeting(struct mm_image *image, struct mm_error *error) {
  struct interrupter interrupter;
  uint64_t at = (uint64_t)interrupter.at;
  start(&interrupter, false);
  int status = call_with(image, "meet", &at, error);
  pthread_join(interrupter.thread, NULL);
  return status;
}

static void configure(uint32_t interrupt) {
  struct mm_config config = way.config;
  struct mm_error error;
  config.interrupt = interrupt;
  must(mm_init(&config, &error), &error);
}

static void ends_the_call_and_runs_the_clients_handler(void) {
  struct mm_error error;
  handle(on_interrupt, SA_RESTART);
  configure(MM_INTERRUPT_DELIVER);
  struct mm_image *image = map_image("gate");
  for (int i = 1; i <= 3; i++) {
    CALL_INT(image, "counter_next");
    CHECK_EQUAL(MM_ERROR_INTERRUPTED, interrupt_meeting(image, &error));
    CHECK_EQUAL(i, handled);
    CHECK_EQUAL(1, error.was_reset);
    CHECK_EQUAL(100, CALL_INT(image, "counter_get"));
  }
  raise(SIGINT);
  CHECK_EQUAL(4, handled);
  mm_image_release(image);
  mm_finalize(NULL);
}

static int interrupt_nap(struct mm_image *image, struct mm_error *error) {
  struct interrupter interrupter;
  int milliseconds = 3600000;
  start(&interrupter, true);
  int status = call_with(image, "nap", &milliseconds, error);
  pthread_join(interrupter.thread, NULL);
  return status;
}

static void ends_a_call_that_waits_in_the_kernel(void) {
  struct mm_error error;
  handle(on_interrupt, SA_RESTART);
  configure(MM_INTERRUPT_DELIVER);
  struct mm_image *image = map_image("syscall");
  for (int i = 1; i <= 3; i++) {
    CHECK_EQUAL(MM_ERROR_INTERRUPTED, interrupt_nap(image, &error));
    CHECK_EQUAL(i, handled);
  }
  mm_image_release(image);
  mm_finalize(NULL);
}

/* --- a call that waits for another thread's --- */

static volatile int *occupied;

static void *occupy(void *image) {
  ((int (*)(uint64_t))stub_of(image, "meet"))((uint64_t)occupied);
  return NULL;
}

static void try_to_wait(uint32_t interrupt) {
  struct mm_error error;
  struct interrupter interrupter;
  pthread_t other;
  volatile int at[2] = {0, 0};
  occupied = at;
  handle(on_interrupt, SA_RESTART);
  configure(interrupt);
  struct mm_image *image = map_image("gate");
  pthread_create(&other, NULL, occupy, image);
  while (!at[0]) usleep(100);
  for (int i = 1; i <= 3; i++) {
    start(&interrupter, true);
    CHECK_EQUAL(MM_ERROR_INTERRUPTED, call_with(image, "counter_next", NULL, &error));
    CHECK(strcmp(error.message, "counter_next: the call was interrupted") == 0);
    pthread_join(interrupter.thread, NULL);
    CHECK_EQUAL(interrupt == MM_INTERRUPT_ERROR ? 0 : i, handled);
  }
  at[1] = 1;
  pthread_join(other, NULL);
  CHECK_EQUAL(101, CALL_INT(image, "counter_next"));
  CHECK_EQUAL(MM_OK, mm_take_fault(NULL));
  mm_image_release(image);
  mm_finalize(NULL);
}

static void ends_a_call_that_waits_for_its_turn(void) {
  try_to_wait(MM_INTERRUPT_DELIVER);
  try_to_wait(MM_INTERRUPT_ERROR);
}

static void is_an_error_and_nothing_else(void) {
  struct mm_error error;
  handle(SIG_DFL, 0); /* which would be death */
  configure(MM_INTERRUPT_ERROR);
  struct mm_image *image = map_image("gate");
  CHECK_EQUAL(MM_ERROR_INTERRUPTED, interrupt_meeting(image, &error));
  CHECK_EQUAL(MM_ERROR_INTERRUPTED, interrupt_meeting(image, &error));
  handle(on_interrupt, 0);
  mm_image_release(image);
  image = map_image("gate");
  CHECK_EQUAL(MM_ERROR_INTERRUPTED, interrupt_meeting(image, &error));
  CHECK_EQUAL(0, handled);
  mm_image_release(image);
  image = map_image("syscall");
  CHECK_EQUAL(MM_ERROR_INTERRUPTED, interrupt_nap(image, &error));
  CHECK_EQUAL(0, handled);
  mm_image_release(image);
  mm_finalize(NULL);
}

static void raise_outside(void *unused) {
  (void)unused;
  raise(SIGINT);
}

static void kills_outside_of_a_call_as_ever(void) {
  char output[256];
  handle(SIG_DFL, 0);
  configure(MM_INTERRUPT_ERROR);
  int status = in_child(raise_outside, NULL, output, sizeof output);
  CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGINT);
  mm_finalize(NULL);
}

static void *let_go(void *interrupter_) {
  struct interrupter *interrupter = interrupter_;
  interrupt(interrupter);
  usleep(20000);
  interrupter->at[1] = handled ? 2 : 77;
  return NULL;
}

static void waits_for_the_end_of_the_call(void) {
  struct interrupter interrupter = {.target = pthread_self()};
  struct mm_error error;
  uint64_t at = (uint64_t)interrupter.at;
  handle(on_interrupt, 0);
  configure(MM_INTERRUPT_WAIT);
  struct mm_image *image = map_image("gate");
  pthread_create(&interrupter.thread, NULL, let_go, &interrupter);
  CHECK_EQUAL(MM_OK, call_with(image, "meet", &at, &error));
  pthread_join(interrupter.thread, NULL);
  CHECK_EQUAL(77, interrupter.at[1]);
  CHECK_EQUAL(1, handled);
  mm_image_release(image);
  mm_finalize(NULL);
}

/* At whatever moment of a call it comes: the call ends so, or as it would have. */
static void may_come_at_any_moment(void) {
  struct mm_error error;
  handle(on_interrupt, SA_RESTART);
  configure(MM_INTERRUPT_DELIVER);
  struct mm_image *image = map_image("gate");
  timer_t timer;
  struct sigevent event = {.sigev_signo = SIGINT, .sigev_notify = SIGEV_SIGNAL};
  CHECK_EQUAL(0, timer_create(CLOCK_MONOTONIC, &event, &timer));
  for (int i = 0; i < 400; i++) {
    struct itimerspec when = {{0, 0}, {0, 1000 + 700 * i % 90000}};
    uint32_t value = 0;
    timer_settime(timer, 0, &when, NULL);
    int status = mm_request_call(function_of(image, "counter_get"), &value, NULL, &error);
    CHECK(status == MM_OK ? value == 100 : status == MM_ERROR_INTERRUPTED);
  }
  timer_delete(timer);
  CHECK(handled > 0);
  handled = 0;
  CHECK_EQUAL(MM_ERROR_INTERRUPTED, interrupt_meeting(image, &error));
  CHECK_EQUAL(1, handled);
  mm_image_release(image);
  mm_finalize(NULL);
}

static void all_tests(void) {
  connect_client();
  RUN(ends_the_call_and_runs_the_clients_handler);
  RUN(ends_a_call_that_waits_in_the_kernel);
  RUN(ends_a_call_that_waits_for_its_turn);
  RUN(is_an_error_and_nothing_else);
  RUN(kills_outside_of_a_call_as_ever);
  RUN(waits_for_the_end_of_the_call);
  RUN(may_come_at_any_moment);
  CHECK_EQUAL(MM_OK, mm_finalize(NULL));
}

int main(int count, char **arguments) {
  static const struct way ways[] = {
      {"pages", MM_GUARD_PAGES, {0}},
      {"open, with a selector", MM_GUARD_OPEN, {.without = MM_WITHOUT_INCLUSIVE}},
      {"pages, masking, without FSGSBASE",
       MM_GUARD_PAGES,
       {.signals = MM_SIGNALS_MASK, .without = MM_WITHOUT_FSGSBASE}},
  };
  find_folders(count, arguments);
  return run_ways(ways, sizeof ways / sizeof *ways, all_tests);
}
