/* What comes between: threads that wait for each other's images, forks and signals at any moment.
 * Usage: storm_test FOLDER; prints one line per test, exit status 1 when one failed. */
#include "client.h"

#include <execinfo.h>
#include <pthread.h>
#include <time.h>
#include <ucontext.h>

#include "client/client.h"

#define LARGEST_CIRCLE   3
#define CIRCLES          50
#define STRICT_PINGS     100
#define PINGS            300
#define STORM_SIGNALS    600
#define FORKS            60
#define QUICK_FORKS      8 /* while threads call: each takes a while */
#define HANDLER_FORKS    30
#define SMALL_STACK      0x10000
#define REAL_TIME_SIGNAL 40

/* --- threads that wait for each other --- */

static pthread_barrier_t all_inside;

/* One of a circle: is in its image, and from there calls the next one's. */
struct member {
  pthread_t thread;
  struct mm_image *image;
  const char *calls_back;
  struct mm_function *next;
  void *pointer;
  int status, result, answer;
  struct mm_error error;
};

static void call_next(void *result, void **args, void *member_) {
  struct member *member = member_;
  pthread_barrier_wait(&all_inside);
  member->status = mm_request_call(member->next, &member->answer, args, &member->error);
  *(int *)result = *(int *)args[0];
}

static void *enter_circle(void *member_) {
  struct member *member = member_;
  int (*calls_back)(void *, int) = stub_of(member->image, member->calls_back);
  member->result = calls_back(member->pointer, 10);
  return NULL;
}

static void run_circle(struct member *members, unsigned count) {
  unsigned busy = 0;
  pthread_barrier_init(&all_inside, NULL, count);
  for (unsigned i = 0; i < count; i++) {
    members[i].answer = -1;
    pthread_create(&members[i].thread, NULL, enter_circle, &members[i]);
  }
  for (unsigned i = 0; i < count; i++) {
    pthread_join(members[i].thread, NULL);
    CHECK(members[i].result == 10 || members[i].result == 11);
    if (members[i].status == MM_ERROR_BUSY) {
      busy++;
      CHECK(strstr(members[i].error.message, "two images wait for each other"));
    } else {
      CHECK_EQUAL(MM_OK, members[i].status);
      CHECK(members[i].answer >= 0);
    }
  }
  CHECK_EQUAL(1, busy);
  pthread_barrier_destroy(&all_inside);
}

static void of_threads_that_wait_for_each_other_one_is_told_so(void) {
  static const char *const names[][3] = {{"nested", "call_at", "twice"},
                                         {"nested_other", "call_at", "twice"},
                                         {"callback", "apply", "number"}};
  struct member members[LARGEST_CIRCLE] = {0};
  for (unsigned count = 2; count <= LARGEST_CIRCLE; count++) {
    for (unsigned i = 0; i < count; i++) {
      struct mm_callback *callback;
      members[i] = (struct member){.image = map_image(names[i][0]), .calls_back = names[i][1]};
      must(mm_callback(members[i].image, "int (int)", call_next, &members[i], &callback, NULL),
           NULL);
      members[i].pointer = mm_callback_pointer(callback);
    }
    for (unsigned i = 0; i < count; i++)
      members[i].next = function_of(members[(i + 1) % count].image, names[(i + 1) % count][2]);
    for (int i = 0; i < CIRCLES; i++) run_circle(members, count);
    for (unsigned i = 0; i < count; i++) mm_image_release(members[i].image);
  }
}

/* Straight from image to image, to and fro: whoever is refused gets zeros, and its client is told.
 * Where threads start and end libc blocks all signals, and a strict call would kill them: so all are
 * there before the first call, and until the last. */
static pthread_barrier_t all_there, both_done;

struct pinger {
  pthread_t thread;
  int pings;
  int (*ping)(uint64_t, uint64_t, int);
  uint64_t other;
  int right, busy;
};

static void *ping_often(void *pinger_) {
  struct pinger *pinger = pinger_;
  pthread_barrier_wait(&all_there);
  for (int i = 0; i < pinger->pings; i++) {
    int result = pinger->ping(pinger->other, (uint64_t)pinger->ping, 8);
    int status = mm_take_fault(NULL);
    pinger->right += status == MM_OK && result == 8;
    pinger->busy += status == MM_ERROR_BUSY;
  }
  pthread_barrier_wait(&both_done);
  return NULL;
}

static void two_images_that_call_each_other_do_not_wait_for_ever(bool strict, int pings) {
  struct mm_map_options options = {.guard = way.guard, .strict = strict};
  struct mm_image *images[] = {map_with("nested", &options), map_with("nested_other", &options)};
  struct pinger pingers[2] = {{.ping = stub_of(images[0], "ping"), .pings = pings},
                              {.ping = stub_of(images[1], "ping"), .pings = pings}};
  pthread_barrier_init(&all_there, NULL, 3);
  pthread_barrier_init(&both_done, NULL, 2);
  for (int i = 0; i < 2; i++) {
    pingers[i].other = (uint64_t)pingers[!i].ping;
    pthread_create(&pingers[i].thread, NULL, ping_often, &pingers[i]);
  }
  pthread_barrier_wait(&all_there);
  for (int i = 0; i < 2; i++) pthread_join(pingers[i].thread, NULL);
  for (int i = 0; i < 2; i++) {
    CHECK_EQUAL(pings, pingers[i].right + pingers[i].busy);
    mm_image_release(images[i]);
  }
}

/* --- a deadline passes while a call waits for another image --- */

struct guest {
  pthread_t thread;
  int (*meet)(uint64_t);
  volatile int at[2];
};

static void *visit(void *guest_) {
  struct guest *guest = guest_;
  guest->meet((uint64_t)guest->at);
  return NULL;
}

static void a_deadline_ends_a_wait_for_an_image_that_is_taken(void) {
  struct mm_image *taken = map_image("gate"), *waiting = map_image("nested");
  struct guest guest = {.meet = stub_of(taken, "meet")};
  struct mm_error error = {0};
  struct mm__value arguments[2] = {{.as.integer = (int64_t)stub_of(taken, "counter_get")}}, result;
  pthread_create(&guest.thread, NULL, visit, &guest);
  while (!guest.at[0]) usleep(100);
  int status = mm__function_call_within(function_of(waiting, "call_at"), 20000000, arguments,
                                        &result, &error);
  CHECK_EQUAL(MM_ERROR_DEADLINE, status);
  guest.at[1] = 1;
  pthread_join(guest.thread, NULL);
  CHECK_EQUAL(100, CALL_INT(taken, "counter_get"));
  mm_image_release(taken);
  mm_image_release(waiting);
}

/* --- signals that come at any moment --- */

static volatile sig_atomic_t signals_seen, handler_forks, forks_done, wrong_children;
static __thread volatile int handlers_own = 77; /* a handler has its thread's own memory */
static volatile int handlers_wrong;

static void walk_frames(void) {
  void *places[64];
  if (backtrace(places, 64) < 1) handlers_wrong++;
}

static void fork_once(void) {
  int status = 0;
  pid_t child = fork();
  if (child == 0) _exit(handlers_own == 77 ? 0 : 3);
  while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  wrong_children += child < 0 || status != 0;
  forks_done++;
}

/* Forks where it has interrupted the Matchmaker: elsewhere it may be malloc(3), which a child of that
 * moment cannot use. */
static void on_signal(int signal, siginfo_t *info, void *context) {
  char text[32];
  int before = errno;
  signals_seen++;
  if (handlers_own != 77) handlers_wrong++;
  snprintf(text, sizeof text, "%d %f", signal, signal / 2.0);
  if (signal == SIGPROF) walk_frames();
  uint64_t instruction = (uint64_t)((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];
  (void)info;
  if (handler_forks && MM__IN_ARENA(instruction)) fork_once();
  errno = before;
}

static void storm_begins(int signal, int clock, timer_t *timer, long period_ns) {
  struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_RESTART | SA_SIGINFO};
  struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = signal};
  struct itimerspec period = {{0, period_ns}, {0, period_ns}};
  sigaction(signal, &action, NULL);
  CHECK_EQUAL(0, timer_create(clock, &event, timer));
  timer_settime(*timer, 0, &period, NULL);
}

static void storm_ends(int number, timer_t timer) {
  timer_delete(timer);
  signal(number, number == SIGCHLD ? SIG_DFL : SIG_IGN);
}

static void add_one_more(void *result, void **args, void *user) {
  (void)user;
  *(int *)result = *(int *)args[0] + 1;
}

/* Everything that the Matchmaker does, once. */
static void do_everything(void) {
  struct mm_callback *callback;
  struct mm_error error;
  connect_client();
  struct mm_image *image = map_image("callback");
  must(mm_callback(image, "int (int)", add_one_more, NULL, &callback, &error), &error);
  void *pointer = mm_callback_pointer(callback), *memory;
  for (int i = 0; i < 20; i++) {
    CHECK_EQUAL(i + 2, ((int (*)(void *, int))stub_of(image, "apply"))(pointer, i));
    CHECK_EQUAL(101, CALL_INT(image, "counter_next"));
    CHECK_EQUAL(MM_OK, mm_take_fault(NULL));
    CALL_INT(image, "crash");
    CHECK_EQUAL(MM_ERROR_FAULT, mm_take_fault(NULL));
    CHECK_EQUAL(MM_OK, mm_allocate(image, 100, &memory, NULL));
    CHECK_EQUAL(MM_OK, mm_reset(image, NULL));
  }
  mm_callback_release(callback);
  CHECK_EQUAL(MM_OK, mm_unmap(image, NULL));
  mm_image_release(image);
  CHECK_EQUAL(MM_OK, mm_finalize(NULL));
}

static void signals_may_come_at_any_moment(void) {
  static const struct {
    int signal, clock;
    long period_ns;
  } storms[] = {{SIGALRM, CLOCK_MONOTONIC, 300000},
                {SIGPROF, CLOCK_PROCESS_CPUTIME_ID, 500000},
                {SIGCHLD, CLOCK_MONOTONIC, 700000},
                {REAL_TIME_SIGNAL, CLOCK_MONOTONIC, 400000}};
  timer_t timers[4];
  signals_seen = 0;
  walk_frames(); /* loads what it needs: backtrace(3) */
  for (unsigned i = 0; i < 4; i++)
    storm_begins(storms[i].signal, storms[i].clock, &timers[i], storms[i].period_ns);
  while (signals_seen < STORM_SIGNALS) do_everything();
  for (unsigned i = 0; i < 4; i++) storm_ends(storms[i].signal, timers[i]);
  CHECK_EQUAL(0, handlers_wrong);
}

/* The handler may have interrupted this very thread where it holds what a fork waits for. */
static void a_signal_handler_may_fork_at_any_moment(void) {
  timer_t timer;
  signals_seen = 0;
  handler_forks = 1;
  storm_begins(SIGPROF, CLOCK_PROCESS_CPUTIME_ID, &timer, 300000);
  while (forks_done < HANDLER_FORKS) do_everything();
  storm_ends(SIGPROF, timer);
  handler_forks = 0;
  CHECK_EQUAL(0, wrong_children);
}

/* --- forks while other threads call, map and reset --- */

static volatile int forking_is_over;
static struct mm_image *common_image;

static void *call_until_over(void *number_) {
  static const char *const own[] = {"math", "gate", "gate_other"};
  int number = (int)(intptr_t)number_, wrong = 0, unused = 0;
  while (!forking_is_over) {
    struct mm_image *image = map_image(own[number]);
    for (int i = 0; i < 10; i++) {
      wrong += CALL_INT(image, "counter_next") != 101;
      wrong += mm_reset(image, NULL) != MM_OK;
      unused += CALL_INT(common_image, "crash");
      wrong += mm_take_fault(&(struct mm_error){0}) != MM_ERROR_FAULT;
    }
    mm_image_release(image);
  }
  return (void *)(intptr_t)(wrong + unused);
}

static void call_in_child(void) {
  struct mm_error error;
  struct mm_callback *callback;
  limit_time();
  if (CALL_INT(common_image, "counter_next") < 101) _exit(1);
  CALL_INT(common_image, "crash");
  if (mm_take_fault(&error) != MM_ERROR_FAULT) _exit(2);
  if (mm_callback(common_image, "int (int)", add_one_more, NULL, &callback, &error) != MM_OK)
    _exit(3);
  int (*apply)(void *, int) = stub_of(common_image, "apply");
  if (apply(mm_callback_pointer(callback), 5) != 7) _exit(4);
  struct mm_image *image = map_image("hook");
  mm_image_release(image);
  _exit(0);
}

static void a_process_may_fork_while_its_threads_call(void) {
  pthread_t threads[3];
  void *wrong;
  connect_client();
  common_image = map_image("callback");
  forking_is_over = 0;
  for (intptr_t i = 0; i < 3; i++) pthread_create(&threads[i], NULL, call_until_over, (void *)i);
  for (int i = getenv("MM_SOAK_CALLS") ? 0 : FORKS - QUICK_FORKS; i < FORKS; i++) {
    int status = -1;
    pid_t child = fork();
    if (child == 0) call_in_child();
    waitpid(child, &status, 0);
    CHECK_EQUAL(0, status);
  }
  forking_is_over = 1;
  for (int i = 0; i < 3; i++) {
    pthread_join(threads[i], &wrong);
    CHECK_EQUAL(0, (intptr_t)wrong);
  }
  mm_image_release(common_image);
  CHECK_EQUAL(MM_OK, mm_finalize(NULL));
}

/* --- a thread with a small stack --- */

static void *live_in_little(void *unused) {
  struct mm_image *images[] = {map_image("nested"), map_image("nested_other")};
  int (*ping)(uint64_t, uint64_t, int) = stub_of(images[0], "ping");
  uint64_t other = (uint64_t)stub_of(images[1], "ping");
  (void)unused;
  CHECK_EQUAL(30, ping(other, (uint64_t)ping, 30));
  CALL_INT_INT(images[0], "crash_at", 1);
  CHECK_EQUAL(MM_ERROR_FAULT, mm_take_fault(NULL));
  CHECK_EQUAL(1000, CALL_INT_INT(images[0], "recurse", 1000));
  struct mm_image *callback = map_image("callback");
  CALL_INT(callback, "overflow");
  CHECK_EQUAL(MM_ERROR_FAULT, mm_take_fault(NULL));
  mm_image_release(callback);
  for (int i = 0; i < 2; i++) mm_image_release(images[i]);
  return NULL;
}

static void a_thread_with_a_small_stack_calls(void) {
  pthread_attr_t attributes;
  pthread_t thread;
  pthread_attr_init(&attributes);
  CHECK_EQUAL(0, pthread_attr_setstacksize(&attributes, SMALL_STACK));
  CHECK_EQUAL(0, pthread_create(&thread, &attributes, live_in_little, NULL));
  pthread_join(thread, NULL);
}

static void all_tests(void) {
  RUN(signals_may_come_at_any_moment);
  RUN(a_signal_handler_may_fork_at_any_moment);
  RUN(a_process_may_fork_while_its_threads_call);
  connect_client();
  RUN(of_threads_that_wait_for_each_other_one_is_told_so);
  RUN(two_images_that_call_each_other_do_not_wait_for_ever, false, PINGS);
  RUN(two_images_that_call_each_other_do_not_wait_for_ever, true, STRICT_PINGS);
  RUN(a_deadline_ends_a_wait_for_an_image_that_is_taken);
  RUN(a_thread_with_a_small_stack_calls);
  CHECK_EQUAL(MM_OK, mm_finalize(NULL));
}

int main(int count, char **arguments) {
  static const struct way ways[] = {
      {"pages", MM_GUARD_PAGES, {0}},
      {"open, with a selector, masking",
       MM_GUARD_OPEN,
       {.signals = MM_SIGNALS_MASK, .without = MM_WITHOUT_INCLUSIVE}},
  };
  find_folders(count, arguments);
  return run_ways(ways, sizeof ways / sizeof *ways, all_tests);
}
