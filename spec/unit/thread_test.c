/* Calls images from many threads: one at a time in one image, side by side in several, from threads that come and go,
 * and across a finalize. Usage: thread_test FOLDER; prints one line per test, exit status 1 when one failed. */
#include "client.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <spawn.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "core/state.h"

#define THREADS 4
#define CALLS   60
#define MANY    (MM__THREAD_LIMIT + 60)

/* --- one image, many threads --- */

typedef int next_function(void);

struct caller {
  pthread_t thread;
  next_function *next;
  uint32_t values[CALLS];
  int wrong;
};

static __thread int own;

static void *call_often(void *caller_) {
  struct caller *caller = caller_;
  own = (int)(uintptr_t)caller;
  for (int i = 0; i < CALLS; i++) {
    errno = i;
    caller->values[i] = (uint32_t)caller->next();
    caller->wrong += errno != i || own != (int)(uintptr_t)caller;
  }
  return NULL;
}

static void an_image_runs_one_call_at_a_time(void) {
  static struct caller callers[THREADS];
  static uint8_t seen[THREADS * CALLS + 1];
  struct mm_image *image = map_image("gate");
  memset(seen, 0, sizeof seen);
  for (int i = 0; i < THREADS; i++) {
    callers[i] = (struct caller){.next = stub_of(image, "counter_next")};
    pthread_create(&callers[i].thread, NULL, call_often, &callers[i]);
  }
  for (int i = 0; i < THREADS; i++) {
    pthread_join(callers[i].thread, NULL);
    CHECK_EQUAL(0, callers[i].wrong);
    for (int j = 0; j < CALLS; j++) {
      uint32_t value = callers[i].values[j] - 100;
      CHECK(value >= 1 && value <= THREADS * CALLS);
      CHECK(j == 0 || callers[i].values[j] > callers[i].values[j - 1]);
      if (value <= THREADS * CALLS) seen[value]++;
    }
  }
  for (int i = 1; i <= THREADS * CALLS; i++) CHECK_EQUAL(1, seen[i]);
  CHECK_EQUAL(100 + THREADS * CALLS, CALL_INT(image, "counter_get"));
  mm_image_release(image);
}

/* Faults of one thread reset the image between the calls of the others, and are told to that thread alone. */
struct crasher {
  pthread_t thread;
  next_function *function;
  int faults, others;
};

static void *crash_often(void *crasher_) {
  struct crasher *crasher = crasher_;
  for (int i = 0; i < CALLS / 2; i++) {
    int result = crasher->function();
    int status = mm_take_fault(NULL);
    crasher->faults += status == MM_ERROR_FAULT && result == 0;
    crasher->others += status == MM_OK && result == 100;
  }
  return NULL;
}

static void a_fault_is_told_to_the_thread_that_made_the_call(void) {
  static struct crasher crashers[THREADS];
  struct mm_image *image = map_image("crash");
  for (int i = 0; i < THREADS; i++) {
    crashers[i] = (struct crasher){.function = stub_of(image, i % 2 ? "read_null" : "counter_get")};
    pthread_create(&crashers[i].thread, NULL, crash_often, &crashers[i]);
  }
  for (int i = 0; i < THREADS; i++) {
    pthread_join(crashers[i].thread, NULL);
    CHECK_EQUAL(i % 2 ? CALLS / 2 : 0, crashers[i].faults);
    CHECK_EQUAL(i % 2 ? 0 : CALLS / 2, crashers[i].others);
  }
  CHECK_EQUAL(MM_OK, mm_take_fault(NULL));
  mm_image_release(image);
}

/* --- a thread that stays inside until it is let go --- */

struct meeting {
  pthread_t thread;
  int (*stub)(uint64_t);
  volatile int at[2];
  int result;
};

static void *meeting_body(void *meeting_) {
  struct meeting *meeting = meeting_;
  meeting->result = meeting->stub((uint64_t)meeting->at);
  return NULL;
}

static void meet(struct meeting *meeting, struct mm_image *image) {
  *meeting = (struct meeting){.stub = stub_of(image, "meet")};
  pthread_create(&meeting->thread, NULL, meeting_body, meeting);
  while (!meeting->at[0]) usleep(100);
}

static void part(struct meeting *meeting) {
  meeting->at[1] = 77;
  pthread_join(meeting->thread, NULL);
  CHECK_EQUAL(77, meeting->result);
}

struct waiter {
  pthread_t thread;
  next_function *next;
  volatile int done, result;
};

static void *wait_body(void *waiter_) {
  struct waiter *waiter = waiter_;
  waiter->result = waiter->next();
  waiter->done = 1;
  return NULL;
}

static void a_call_waits_for_the_one_that_is_inside(void) {
  struct mm_image *image = map_image("gate");
  struct meeting meeting;
  struct waiter waiter = {.next = stub_of(image, "counter_next")};
  meet(&meeting, image);
  pthread_create(&waiter.thread, NULL, wait_body, &waiter);
  usleep(20000);
  CHECK_EQUAL(0, waiter.done);
  part(&meeting);
  pthread_join(waiter.thread, NULL);
  CHECK_EQUAL(101, waiter.result);
  mm_image_release(image);
}

static void images_run_side_by_side(void) {
  struct mm_image *a = map_image("gate"), *b = map_image("gate_other");
  struct meeting meeting, other;
  meet(&meeting, a);
  CHECK_EQUAL(101, CALL_INT(b, "counter_next"));
  meet(&other, b);
  struct mm_image *c = map_image("math"); /* and others are mapped, reset and unmapped meanwhile */
  CHECK_EQUAL(101, CALL_INT(c, "counter_next"));
  CHECK_EQUAL(MM_OK, mm_reset(c, NULL));
  CHECK_EQUAL(MM_OK, mm_unmap(c, NULL));
  part(&meeting);
  CHECK_EQUAL(101, CALL_INT(a, "counter_next"));
  part(&other);
  mm_image_release(a);
  mm_image_release(b);
  mm_image_release(c);
}

/* --- threads come and go --- */

static void *call_once(void *next) { return (void *)(intptr_t)((next_function *)next)(); }

static void a_thread_that_ends_leaves_nothing(void) {
  struct mm_image *image = map_image("math");
  next_function *next = stub_of(image, "counter_next");
  void *result;
  pthread_t thread;
  pthread_create(&thread, NULL, call_once, next);
  pthread_join(thread, NULL);
  int mappings = mapping_count();
  for (int i = 0; i < MANY; i++) {
    CHECK_EQUAL(0, pthread_create(&thread, NULL, call_once, next));
    pthread_join(thread, &result);
    CHECK_EQUAL(102 + i, (intptr_t)result);
  }
  CHECK(mapping_count() <= mappings + 2);
  CHECK_EQUAL(MM_OK, mm_take_fault(NULL));
  mm_image_release(image);
}

#define AT_ONCE 2048 /* <matchmaker.h>, of mm_request_call */

static pthread_barrier_t all_called;
static struct mm_function *next_of_all;
static int called;

static void *call_and_stay(void *unused) {
  int result = 0;
  __atomic_fetch_add(&called, mm_request_call(next_of_all, &result, NULL, NULL) == MM_OK,
                     __ATOMIC_SEQ_CST);
  pthread_barrier_wait(&all_called);
  pthread_barrier_wait(&all_called);
  return unused;
}

static void *call_in_vain(void *next) {
  struct mm_error error;
  int result = 0;
  CHECK_EQUAL(MM_ERROR_LIMIT, mm_request_call(next_of_all, &result, NULL, &error));
  CHECK(strstr(error.message, "more than 2048 threads") != NULL);
  CHECK_EQUAL(0, ((next_function *)next)());
  CHECK_EQUAL(MM_ERROR_LIMIT, mm_take_fault(&error));
  CHECK(strstr(error.message, "the call was not made") != NULL);
  CHECK_EQUAL(MM_OK, mm_take_fault(&error));
  return NULL;
}

static void so_many_threads_call_and_no_more(void) {
  struct mm_image *image = map_image("math");
  static pthread_t threads[AT_ONCE - 1]; /* and this one */
  next_function *next = stub_of(image, "counter_next");
  pthread_attr_t small;
  pthread_t more;
  void *result;
  next_of_all = function_of(image, "counter_next");
  called = 0;
  pthread_barrier_init(&all_called, NULL, AT_ONCE);
  pthread_attr_init(&small);
  pthread_attr_setstacksize(&small, 0x10000);
  for (int i = 0; i < AT_ONCE - 1; i++)
    CHECK_EQUAL(0, pthread_create(&threads[i], &small, call_and_stay, NULL));
  pthread_barrier_wait(&all_called);
  CHECK_EQUAL(AT_ONCE - 1, called);
  pthread_create(&more, &small, call_in_vain, next);
  pthread_join(more, NULL);
  pthread_barrier_wait(&all_called);
  for (int i = 0; i < AT_ONCE - 1; i++) pthread_join(threads[i], NULL);
  pthread_create(&more, &small, call_once, next);
  pthread_join(more, &result);
  CHECK_EQUAL(100 + AT_ONCE, (intptr_t)result);
  mm_image_release(image);
}

static void *with_own_stack(void *next) {
  static char memory[0x10000];
  stack_t own_stack = {.ss_sp = memory, .ss_size = sizeof memory}, now;
  sigaltstack(&own_stack, NULL);
  intptr_t wrong = ((next_function *)next)() == 0;
  sigaltstack(NULL, &now);
  return (void *)(wrong | (now.ss_sp != memory ? 2 : 0));
}

static void a_threads_own_alternate_stack_is_used(void) {
  struct mm_image *image = map_image("math");
  void *wrong;
  pthread_t thread;
  pthread_create(&thread, NULL, with_own_stack, stub_of(image, "counter_next"));
  pthread_join(thread, &wrong);
  CHECK_EQUAL(0, (uintptr_t)wrong);
  mm_image_release(image);
}

/* --- a thread lives through finalize and init --- */

struct turns {
  pthread_t thread;
  pthread_mutex_t lock;
  pthread_cond_t changed;
  int wanted, done;    /* turns */
  next_function *next; /* NULL: end */
  int result;
};

static void *take_turns(void *turns_) {
  struct turns *turns = turns_;
  for (bool ended = false; !ended;) {
    pthread_mutex_lock(&turns->lock);
    while (turns->wanted == turns->done) pthread_cond_wait(&turns->changed, &turns->lock);
    if (turns->next) turns->result = turns->next();
    ended = !turns->next;
    turns->done = turns->wanted;
    pthread_cond_broadcast(&turns->changed);
    pthread_mutex_unlock(&turns->lock);
  }
  return NULL;
}

static int turn(struct turns *turns, next_function *next) {
  pthread_mutex_lock(&turns->lock);
  turns->next = next;
  turns->wanted++;
  pthread_cond_broadcast(&turns->changed);
  while (turns->wanted != turns->done) pthread_cond_wait(&turns->changed, &turns->lock);
  pthread_mutex_unlock(&turns->lock);
  return turns->result;
}

static void start_turns(struct turns *turns) {
  *turns = (struct turns){.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
  pthread_create(&turns->thread, NULL, take_turns, turns);
}

static void reconnect(void) {
  CHECK_EQUAL(MM_OK, mm_finalize(NULL));
  connect_client();
}

static void a_thread_calls_again_after_a_finalize_and_an_init(void) {
  struct turns turns[3];
  struct mm_image *image = map_image("gate");
  for (int i = 0; i < 3; i++) start_turns(&turns[i]);
  for (int i = 0; i < 3; i++) CHECK_EQUAL(101 + i, turn(&turns[i], stub_of(image, "counter_next")));
  mm_image_release(image);
  reconnect();
  image = map_image("crash");
  /* In another order, so that a record of before would be somebody else's now. */
  for (int i = 2; i >= 0; i--) {
    CHECK_EQUAL(100, turn(&turns[i], stub_of(image, "counter_get")));
    CHECK_EQUAL(0, turn(&turns[i], stub_of(image, "read_null")));
    CHECK_EQUAL(7, turn(&turns[i], stub_of(image, "spoil_all")));
  }
  mm_take_fault(NULL);
  mm_image_release(image);
  for (int i = 0; i < 3; i++) {
    turn(&turns[i], NULL);
    pthread_join(turns[i].thread, NULL);
  }
}

static void a_thread_may_end_after_finalize(void) {
  struct turns turns;
  struct mm_image *image = map_image("gate");
  start_turns(&turns);
  turn(&turns, NULL);
  pthread_join(turns.thread, NULL);
  for (int round = 0; round < 4; round++) {
    int mappings = mapping_count();
    start_turns(&turns);
    CHECK_EQUAL(101, turn(&turns, stub_of(image, "counter_next")));
    mm_image_release(image);
    CHECK_EQUAL(MM_OK, mm_finalize(NULL));
    if (round %
        2) { /* the thread ends while there is no Matchmaker; else while there is another one */
      turn(&turns, NULL);
      pthread_join(turns.thread, NULL);
    }
    connect_client();
    if (round % 2 == 0) {
      turn(&turns, NULL);
      pthread_join(turns.thread, NULL);
    }
    image = map_image("gate");
    CHECK(mapping_count() <= mappings + 2);
  }
  mm_image_release(image);
}

/* --- a fork in a second thread --- */

static void child_body(void *image_) {
  struct mm_image *image = image_;
  if (CALL_INT(image, "counter_next") != 102) _exit(1);
  pthread_t thread; /* and has threads of its own */
  void *result;
  pthread_create(&thread, NULL, call_once, stub_of(image, "counter_next"));
  pthread_join(thread, &result);
  if ((intptr_t)result != 103) _exit(2);
}

static void *fork_body(void *image) {
  char output[512];
  return (void *)(intptr_t)in_child(child_body, image, output, sizeof output);
}

static void a_child_of_a_second_thread_calls(void) {
  struct mm_image *image = map_image("math");
  void *status;
  pthread_t thread;
  CHECK_EQUAL(101, CALL_INT(image, "counter_next"));
  pthread_create(&thread, NULL, fork_body, image);
  pthread_join(thread, &status);
  CHECK_EQUAL(0, (intptr_t)status);
  CHECK_EQUAL(102, CALL_INT(image, "counter_next"));
  mm_image_release(image);
}

/* --- a fork while another thread is inside --- */

static struct mm_image *inside, *free_one;

static void other_child_body(void *unused) {
  (void)unused;
  struct mm_image_info info;
  if (CALL_INT(inside, "counter_get") != 100) _exit(1); /* put back */
  if (CALL_INT(inside, "counter_next") != 101) _exit(2);
  mm_image_info(inside, &info, NULL);
  if (info.dead || info.generation != 2) _exit(3);
  if (CALL_INT(free_one, "entered_count") != 0) _exit(4);
  mm_image_info(free_one, &info, NULL);
  if (info.generation != 1) _exit(5);
  if (mm_reset(inside, NULL) != MM_OK || mm_unmap(inside, NULL) != MM_OK) _exit(6);
  if (mm_finalize(NULL) != MM_OK) _exit(7);
}

/* A child that nobody told of: no handler of pthread_atfork(3) runs. */
static int in_bare_child(void (*body)(void *)) {
  int status = -1;
  pid_t child = (pid_t)syscall(SYS_fork);
  if (child == 0) {
    limit_time();
    body(NULL);
    _exit(0);
  }
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return status;
}

static void a_child_finds_the_image_that_another_thread_was_in(void) {
  struct meeting meeting;
  char output[512];
  inside = map_image("gate");
  free_one = map_image("nested_other");
  CALL_INT(inside, "counter_next");
  CALL_INT(free_one, "entered_count");
  for (int i = 0; i < 4; i++) {
    meet(&meeting, inside);
    if (i % 2)
      CHECK_EQUAL(0, in_bare_child(other_child_body) >> 8);
    else
      CHECK_EQUAL(0, in_child(other_child_body, NULL, output, sizeof output));
    part(&meeting);
  }
  CHECK_EQUAL(101, CALL_INT(inside, "counter_get"));
  mm_image_release(inside);
  mm_image_release(free_one);
}

/* --- children of other kinds: of which pthread_atfork(3) does not tell, or that share this memory --- */

static struct mm_image *calling_back;

/* Nobody told of it; and it goes on with the call that it was made in. */
static pid_t bare(void) { return (pid_t)syscall(SYS_fork); }

static pid_t spawned(void) {
  char *arguments[] = {"true", NULL}, *environment[] = {NULL};
  pid_t child = -1;
  return posix_spawnp(&child, "true", NULL, NULL, arguments, environment) ? -1 : child;
}

static int exit_soon(void *unused) {
  (void)unused;
  syscall(SYS_getpid);
  return 0;
}

static pid_t cloned(void) {
  static char stack[0x10000] __attribute__((aligned(16)));
  return clone(exit_soon, stack + sizeof stack, CLONE_VM | CLONE_VFORK | SIGCHLD, NULL);
}

static int exit_status_of(pid_t child) {
  int status = -1;
  while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return status;
}

/* In a callback: the child returns from it, too. */
static bool in_the_child;

static void fork_inside(void *result, void **args, void *how) {
  pid_t child = (*(pid_t(**)(void))how)();
  in_the_child = child == 0;
  *(int *)result = in_the_child ? *(int *)args[0] : 100 * exit_status_of(child);
}

static void make_a_child(pid_t (**how)(void)) {
  struct mm_callback *callback;
  must(mm_callback(calling_back, "int (int)", fork_inside, how, &callback, NULL), NULL);
  int (*apply)(void *, int) = stub_of(calling_back, "apply");
  int result = apply(mm_callback_pointer(callback), 5);
  if (in_the_child) {
    limit_time();
    if (result != 6 || CALL_INT(calling_back, "crash") != 0) _exit(1);
    if (mm_take_fault(NULL) != MM_ERROR_FAULT) _exit(2);
    if (CALL_INT(calling_back, "counter_next") != 101) _exit(3);
    _exit(0);
  }
  CHECK_EQUAL(1, result);
  mm_callback_release(callback);
}

static void a_callback_may_make_any_kind_of_child(void) {
  pid_t (*kinds[])(void) = {fork, _Fork, bare, spawned, cloned};
  for (uint32_t strict = 0; strict < 2; strict++) {
    calling_back =
        map_with("callback", &(struct mm_map_options){.guard = way.guard, .strict = strict});
    for (unsigned i = 0; i < sizeof kinds / sizeof *kinds; i++) make_a_child(&kinds[i]);
    mm_image_release(calling_back);
  }
}

/* Beside strict calls: code of the client that the child runs into while it is closed. */
static volatile bool enough, begun;

static pid_t vforked(void) {
  pid_t child = vfork();
  if (child != 0) return child;
  usleep(2000);
  _exit(0);
}

static void *make_children(void *unused) {
  (void)unused;
  intptr_t wrong = 0;
  begun = true;
  for (unsigned i = 0; !enough; i++) wrong += exit_status_of(i % 2 ? vforked() : cloned()) != 0;
  return (void *)wrong;
}

static void a_child_that_shares_the_memory_waits_for_the_end_of_a_strict_call(void) {
  struct mm_image *image =
      map_with("math", &(struct mm_map_options){.guard = way.guard, .strict = 1});
  pthread_t thread;
  void *wrong;
  enough = begun = false;
  pthread_create(&thread, NULL, make_children, NULL);
  while (!begun) usleep(100); /* a thread that starts blocks SIGSEGV */
  for (int i = 0; i < CALLS; i++) CHECK_EQUAL(101 + i, CALL_INT(image, "counter_next"));
  enough = true;
  pthread_join(thread, &wrong);
  CHECK_EQUAL(0, (intptr_t)wrong);
  mm_image_release(image);
}

/* --- a thread that cannot be armed --- */

/* Keeps Syscall User Dispatch from the calling thread alone. */
static void *connect_in_vain(void *error) {
  struct sock_filter rules[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_prctl, 0, 3),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PR_SET_SYSCALL_USER_DISPATCH, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  struct sock_fprog filter = {sizeof rules / sizeof *rules, rules};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter))
    return (void *)1;
  return (void *)(intptr_t)mm_init(NULL, error);
}

static void body_of_a_failing_user(void *unused) {
  (void)unused;
  struct mm_image *image = map_image("gate");
  struct mm_error error;
  pthread_t thread;
  void *status;
  CALL_INT(image, "counter_next");
  pthread_create(&thread, NULL, connect_in_vain, &error);
  pthread_join(thread, &status);
  if ((intptr_t)status != MM_ERROR_SYSTEM || error.system_error != EPERM) _exit(1);
  if (CALL_INT(image, "counter_get") != 101) _exit(2);
  mm_image_release(image);
  if (mm_finalize(NULL) != MM_OK) _exit(3); /* this process's one user is there still */
  if (mm_finalize(NULL) != MM_ERROR_NOT_CONNECTED) _exit(4);
}

static void a_user_that_cannot_connect_takes_nothing_from_others(void) {
  char output[512];
  CHECK_EQUAL(0, in_child(body_of_a_failing_user, NULL, output, sizeof output));
}

/* --- whose handle is let go of while calls run --- */

struct visitor {
  pthread_t thread;
  struct mm_function *function;
  int (*stub)(uint64_t); /* NULL: by the interface */
  volatile int at[2];
  int status, result;
};

static void *visit(void *visitor_) {
  struct visitor *visitor = visitor_;
  uint64_t at = (uint64_t)visitor->at;
  void *arguments[] = {&at};
  if (visitor->stub)
    visitor->result = visitor->stub(at);
  else
    visitor->status = mm_request_call(visitor->function, &visitor->result, arguments, NULL);
  return NULL;
}

static bool is_mapped(uint32_t slot) {
  struct mm_image_info info;
  for (uint32_t i = 0; mm_mapped(i, &info, NULL) == MM_OK; i++)
    if (info.slot == slot) return true;
  return false;
}

static void release_under(bool by_stub) {
  struct mm_image *image = map_image("gate");
  uint32_t slot = (uint32_t)(base_of(image) / SLOT_BYTES - MM__ARENA_LOW / SLOT_BYTES);
  struct visitor visitor = {.function = function_of(image, "meet"), .result = -1};
  if (by_stub) visitor.stub = mm_function_pointer(visitor.function);
  pthread_create(&visitor.thread, NULL, visit, &visitor);
  while (!visitor.at[0]) usleep(100);
  mm_image_release(image);
  CHECK(is_mapped(slot));
  visitor.at[1] = 7;
  pthread_join(visitor.thread, NULL);
  CHECK_EQUAL(MM_OK, visitor.status);
  CHECK_EQUAL(7, visitor.result);
  CHECK(!is_mapped(slot));
  image = map_image("gate");
  CHECK_EQUAL(100, CALL_INT(image, "counter_get"));
  mm_image_release(image);
  CHECK(!is_mapped(slot));
}

static void an_image_that_is_let_go_of_ends_with_the_call_of_another_thread(void) {
  int before = mapping_count();
  release_under(false);
  release_under(true);
  CHECK(mapping_count() <= before + 4); /* threads' stacks may stay */
}

static void let_go(void *result, void **args, void *image) {
  *(int *)result = *(int *)args[0];
  mm_image_release(*(struct mm_image **)image);
}

static void an_image_that_its_callback_lets_go_of_ends_with_the_call(void) {
  struct mm_image *image = map_image("callback");
  uint32_t slot = (uint32_t)(base_of(image) / SLOT_BYTES - MM__ARENA_LOW / SLOT_BYTES);
  struct mm_callback *callback;
  must(mm_callback(image, "int (int)", let_go, &image, &callback, NULL), NULL);
  int (*apply)(void *, int) = stub_of(image, "apply");
  CHECK_EQUAL(6, apply(mm_callback_pointer(callback), 5));
  CHECK_EQUAL(MM_OK, mm_take_fault(NULL));
  CHECK(!is_mapped(slot));
}

static void all_tests(void) {
  connect_client();
  RUN(an_image_runs_one_call_at_a_time);
  RUN(a_fault_is_told_to_the_thread_that_made_the_call);
  RUN(a_call_waits_for_the_one_that_is_inside);
  RUN(images_run_side_by_side);
  if (way.guard == MM_GUARD_OPEN) RUN(a_thread_that_ends_leaves_nothing);
  if (!emulated) RUN(so_many_threads_call_and_no_more);
  RUN(a_threads_own_alternate_stack_is_used);
  RUN(a_thread_calls_again_after_a_finalize_and_an_init);
  RUN(a_thread_may_end_after_finalize);
  RUN(a_child_of_a_second_thread_calls);
  RUN(a_child_finds_the_image_that_another_thread_was_in);
  RUN(a_callback_may_make_any_kind_of_child);
  RUN(a_child_that_shares_the_memory_waits_for_the_end_of_a_strict_call);
  RUN(an_image_that_is_let_go_of_ends_with_the_call_of_another_thread);
  RUN(an_image_that_its_callback_lets_go_of_ends_with_the_call);
  RUN(a_user_that_cannot_connect_takes_nothing_from_others);
  CHECK_EQUAL(MM_OK, mm_finalize(NULL));
}

int main(int count, char **arguments) {
  static const struct way ways[] = {
      {"pages", MM_GUARD_PAGES, {0}},
      {"open", MM_GUARD_OPEN, {0}},
      {"pages, with a selector", MM_GUARD_PAGES, {.without = MM_WITHOUT_INCLUSIVE}},
      {"open, without either, masking",
       MM_GUARD_OPEN,
       {.signals = MM_SIGNALS_MASK, .without = MM_WITHOUT_INCLUSIVE | MM_WITHOUT_FSGSBASE}},
      {"pages, sealed", MM_GUARD_PAGES | SEALED, {0}},
      /* Images write to memory of the client's here, to meet it. */
      {"keys", MM_GUARD_KEYS, {.without = MM_WITHOUT_CLOSING}},
      {"keys, sealed, without FSGSBASE", MM_GUARD_KEYS | SEALED, {.without = MM_WITHOUT_FSGSBASE}},
  };
  find_folders(count, arguments);
  return run_ways(ways, sizeof ways / sizeof *ways, all_tests);
}
