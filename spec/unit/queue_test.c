/* Queued signals that come during a call: more numbers than are remembered with their siginfo, and none that the
 * kernel would queue again. Usage: queue_test FOLDER; prints one line per test, exit status 1 when one failed. */
#include "client.h"

#include <pthread.h>

#define REMEMBERED 8 /* docs/gate.md */
#define NUMBERS    10
#define FIRST      (SIGRTMIN + 2)

static volatile int runs, numbers[NUMBERS], values[NUMBERS], codes[NUMBERS];

static void note(int signal, siginfo_t *info, void *context) {
  (void)context;
  if (runs < NUMBERS) {
    numbers[runs] = signal;
    codes[runs] = info->si_code;
    values[runs] = info->si_value.sival_int;
  }
  runs++;
}

static void handle(int signal) {
  struct sigaction action = {.sa_sigaction = note, .sa_flags = SA_SIGINFO};
  sigfillset(&action.sa_mask);
  sigaction(signal, &action, NULL);
}

/* --- two calls of a thread, each of which lasts until it is let go --- */

static int (*meet)(uint64_t);
static volatile int at[2][2], caller, calls;

static void *call_twice(void *unused) {
  caller = gettid();
  for (int i = 0; i < 2; i++) {
    meet((uint64_t)at[i]);
    calls++; /* what it put off has come */
  }
  return unused;
}

static pthread_t begin(struct mm_image *image) {
  pthread_t thread;
  memset((void *)at, 0, sizeof at);
  calls = 0;
  meet = stub_of(image, "meet");
  pthread_create(&thread, NULL, call_twice, NULL);
  return thread;
}

static void enter(void) {
  while (!at[calls][0]) usleep(100);
  runs = 0;
}

static void leave(void) {
  int before = calls;
  CHECK_EQUAL(0, runs);
  at[before][1] = 1;
  while (calls == before) usleep(100);
}

static bool is_pending(int signal) {
  char path[64], line[128];
  unsigned long pending = 0;
  snprintf(path, sizeof path, "/proc/self/task/%d/status", caller);
  FILE *file = fopen(path, "re");
  while (file && fgets(line, sizeof line, file))
    if (sscanf(line, "SigPnd: %lx", &pending) == 1) break;
  if (file) fclose(file);
  return pending >> (signal - 1) & 1;
}

static void queue(pthread_t thread, int signal, int value) {
  pthread_sigqueue(thread, signal, (union sigval){.sival_int = value});
  while (is_pending(signal)) usleep(100); /* until it is put off */
}

static void check(int run, int signal, int value) {
  CHECK_EQUAL(signal, numbers[run]);
  CHECK_EQUAL(SI_QUEUE, codes[run]);
  CHECK_EQUAL(value, values[run]);
}

static void eight_numbers_keep_their_siginfo(void) {
  struct mm_image *image = map_image("gate");
  pthread_t thread = begin(image);
  for (int call = 0; call < 2; call++) {
    enter();
    /* The highest comes first, so that what is remembered and what is delivered differ in their order. */
    for (int i = NUMBERS - 1; i >= 0; i--) queue(thread, FIRST + i, 100 * call + i);
    leave();
    CHECK_EQUAL(NUMBERS, runs);
    for (int i = 0; i < NUMBERS - REMEMBERED; i++) {
      CHECK_EQUAL(FIRST + i, numbers[i]);
      CHECK_EQUAL(SI_TKILL, codes[i]);
    }
    for (int i = NUMBERS - REMEMBERED; i < NUMBERS; i++) check(i, FIRST + i, 100 * call + i);
  }
  pthread_join(thread, NULL);
  mm_image_release(image);
}

/* Of a signal that is no real-time signal one is there at a time: the first, with what it has. */
static void others_are_merged_and_nothing_is_left_of_them(void) {
  struct mm_image *image = map_image("gate");
  pthread_t thread = begin(image);
  enter();
  queue(thread, SIGUSR1, 1);
  for (int value = 2; value < 5; value++)
    pthread_sigqueue(thread, SIGUSR1, (union sigval){.sival_int = value});
  leave();
  CHECK_EQUAL(1, runs);
  check(0, SIGUSR1, 1);
  enter();
  queue(thread, SIGUSR1, 5);
  leave();
  CHECK_EQUAL(1, runs);
  check(0, SIGUSR1, 5);
  pthread_join(thread, NULL);
  mm_image_release(image);
}

static void where_nothing_can_be_queued_only_real_time_signals_are_lost(void) {
  struct rlimit before, none = {0};
  struct mm_image *image = map_image("gate");
  pthread_t thread = begin(image);
  enter();
  queue(thread, SIGUSR1, 7);
  queue(thread, FIRST, 8);
  getrlimit(RLIMIT_SIGPENDING, &before);
  none.rlim_max = before.rlim_max;
  setrlimit(RLIMIT_SIGPENDING, &none);
  leave();
  setrlimit(RLIMIT_SIGPENDING, &before);
  CHECK_EQUAL(1, runs);
  check(0, SIGUSR1, 7);
  enter();
  queue(thread, SIGUSR1, 17);
  queue(thread, FIRST, 18);
  leave();
  CHECK_EQUAL(2, runs);
  check(0, SIGUSR1, 17);
  check(1, FIRST, 18);
  pthread_join(thread, NULL);
  mm_image_release(image);
}

static void all_tests(void) {
  for (int i = 0; i < NUMBERS; i++) handle(FIRST + i);
  handle(SIGUSR1);
  connect_client();
  RUN(eight_numbers_keep_their_siginfo);
  RUN(others_are_merged_and_nothing_is_left_of_them);
  RUN(where_nothing_can_be_queued_only_real_time_signals_are_lost);
  CHECK_EQUAL(MM_OK, mm_finalize(NULL));
}

int main(int count, char **arguments) {
  static const struct way ways[] = {
      {"pages", MM_GUARD_PAGES, {0}},
      {"open, without FSGSBASE", MM_GUARD_OPEN, {.without = MM_WITHOUT_FSGSBASE}},
  };
  find_folders(count, arguments);
  return run_ways(ways, sizeof ways / sizeof *ways, all_tests);
}
