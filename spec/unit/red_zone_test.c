/* What a leaf function keeps below its stack pointer (psABI 3.2.2) outlives signals: in an image, where they
 * are put off, and in the client, where a handler's frame is moved to the stack that was interrupted.
 * Usage: red_zone_test FOLDER; prints one line per test, exit status 1 when one failed. */
#include "client.h"

#include <pthread.h>

#include "../fixture/red_zone.h"

#define SIGNALS 60 /* of each kind, at least */
#define ROUNDS  10000
#define ASKS    40

/* Handlers that ask for siginfo, for the alternate stack, for nothing. */
static const struct {
  int signal, flags;
} kinds[] = {{SIGUSR1, 0}, {SIGUSR2, SA_ONSTACK}, {SIGALRM, SA_SIGINFO | SA_RESTART}};
#define KINDS (sizeof kinds / sizeof *kinds)

static volatile int handled[KINDS], enough;
static pthread_t target;

static void handle(int signal) {
  volatile char scratch[4096];
  for (unsigned i = 0; i < sizeof scratch; i++) scratch[i] = (char)0xa5;
  for (unsigned i = 0; i < KINDS; i++) handled[i] += kinds[i].signal == signal;
}

static void *send(void *unused) {
  for (unsigned i = 0; !enough; i++) pthread_kill(target, kinds[i % KINDS].signal);
  return unused;
}

static int fewest(void) {
  int fewest = handled[0];
  for (unsigned i = 1; i < KINDS; i++)
    if (handled[i] < fewest) fewest = handled[i];
  return fewest;
}

typedef uint64_t red_zone_function(uint64_t rounds, uint64_t asks);

/* Signals wait for the end of a call: each call gets one of a kind. */
static void keeps_its_red_zone(red_zone_function *function, uint64_t rounds, uint64_t asks) {
  pthread_t sender;
  target = pthread_self();
  enough = 0;
  for (unsigned i = 0; i < KINDS; i++) handled[i] = 0;
  pthread_create(&sender, NULL, send, NULL);
  int most = emulated ? SIGNALS / 6 : SIGNALS;
  uint64_t wrong = 0;
  while (fewest() < most) wrong += function(rounds, asks);
  enough = 1;
  pthread_join(sender, NULL);
  CHECK_EQUAL(0, wrong);
  CHECK_EQUAL(MM_OK, mm_take_fault(NULL));
}

static struct mm_image *image;

static void image_code_keeps_its_red_zone(void) {
  keeps_its_red_zone(stub_of(image, "red_zone"), ROUNDS, 0);
}

static void so_it_does_around_trapped_system_calls(void) {
  keeps_its_red_zone(stub_of(image, "red_zone"), ASKS, 1);
}

static void the_client_keeps_its_own(void) { keeps_its_red_zone(use_red_zone, ROUNDS, 0); }

static void call_red_zone(void *result, void **args, void *user) {
  (void)args, (void)user;
  *(int *)result = (int)use_red_zone(ROUNDS, 0);
}

static int (*apply_stub)(void *function, int x);
static void *apply_pointer;

static uint64_t call_back(uint64_t rounds, uint64_t asks) {
  (void)rounds, (void)asks;
  return (uint64_t)(apply_stub(apply_pointer, 0) - 1);
}

static void a_callback_keeps_its_own(void) {
  struct mm_image *calls = map_image("callback");
  struct mm_callback *callback;
  struct mm_error error;
  must(mm_callback(calls, "int (int)", call_red_zone, NULL, &callback, &error), &error);
  apply_stub = stub_of(calls, "apply");
  apply_pointer = mm_callback_pointer(callback);
  keeps_its_red_zone(call_back, 0, 0);
  mm_callback_release(callback);
  mm_image_release(calls);
}

static void all_tests(void) {
  for (unsigned i = 0; i < KINDS; i++)
    sigaction(kinds[i].signal,
              &(struct sigaction){.sa_handler = handle, .sa_flags = kinds[i].flags}, NULL);
  connect_client();
  image = map_image("gate");
  RUN(image_code_keeps_its_red_zone);
  RUN(so_it_does_around_trapped_system_calls);
  RUN(the_client_keeps_its_own);
  RUN(a_callback_keeps_its_own);
  mm_image_release(image);
  CHECK_EQUAL(MM_OK, mm_finalize(NULL));
}

int main(int count, char **arguments) {
  static const struct way ways[] = {
      {"pages", MM_GUARD_PAGES, {0}},
      {"open, with a selector", MM_GUARD_OPEN, {.without = MM_WITHOUT_INCLUSIVE}},
      {"open, without FSGSBASE", MM_GUARD_OPEN, {.without = MM_WITHOUT_FSGSBASE}},
      {"pages, masking", MM_GUARD_PAGES, {.signals = MM_SIGNALS_MASK}},
      {"keys", MM_GUARD_KEYS, {0}},
  };
  find_folders(count, arguments);
  return run_ways(ways, sizeof ways / sizeof *ways, all_tests);
}
