/* Signals of the client while an image runs, handlers that were there before, and faults that are nobody's but the
 * client's. Usage: signal_test FOLDER; prints one line per test, exit status 1 when one failed. */
#include "client.h"

#include <pthread.h>
#include <setjmp.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <ucontext.h>

#define ARENA_LOW   0x200000000000ul
#define ARENA_BYTES 0x300000000000ul

static uint64_t fs(void) {
  uint64_t base = 0;
  syscall(SYS_arch_prctl, 0x1003 /* ARCH_GET_FS */, &base);
  return base;
}

/* --- what the handlers saw --- */

static __thread volatile int own = 5;
static volatile int runs, on_the_images_fs, wrong_thread_locals, values[64];
static volatile int not_queued_by_us;
static volatile int inside; /* an image is: a handler that runs now is early */
static volatile int early;

static void note(int signal, siginfo_t *info, void *context) {
  (void)context;
  char text[64];
  int kept = errno;
  on_the_images_fs += fs() - ARENA_LOW < ARENA_BYTES;
  wrong_thread_locals += own != 5;
  snprintf(text, sizeof text, "%f", runs * 1.5); /* the C library, with its locks and buffers */
  free(malloc((size_t)(100 + runs)));
  early += inside;
  if (runs < 64) values[runs] = info->si_value.sival_int;
  not_queued_by_us += info->si_code != SI_QUEUE || info->si_pid != getpid() ||
                      info->si_uid != getuid() || info->si_signo != signal;
  runs++;
  errno = kept;
}

static void forget(void) {
  runs = on_the_images_fs = wrong_thread_locals = early = not_queued_by_us = 0;
  memset((void *)values, 0, sizeof values);
}

static void handle(int signal, int flags) {
  struct sigaction action = {.sa_sigaction = note, .sa_flags = SA_SIGINFO | flags};
  sigfillset(&action.sa_mask);
  sigaction(signal, &action, NULL);
}

/* --- a call that lasts until it is let go --- */

struct meeting {
  pthread_t thread;
  int (*stub)(uint64_t);
  volatile int at[2];
  volatile int done;
  uint64_t mask_before, mask_after;
};

static uint64_t mask_now(void) {
  uint64_t mask = 0;
  syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, &mask, 8);
  return mask;
}

static void *meeting_body(void *meeting_) {
  struct meeting *meeting = meeting_;
  meeting->mask_before = mask_now();
  meeting->stub((uint64_t)meeting->at);
  meeting->mask_after = mask_now();
  inside = 0;
  return NULL;
}

static void meet(struct meeting *meeting, struct mm_image *image, const char *export) {
  *meeting = (struct meeting){.stub = stub_of(image, export)};
  pthread_create(&meeting->thread, NULL, meeting_body, meeting);
  while (!meeting->at[0]) usleep(100);
  inside = 1;
}

static void part(struct meeting *meeting) {
  inside = 0; /* from here on a handler is right */
  meeting->at[1] = 1;
  pthread_join(meeting->thread, NULL);
  CHECK_EQUAL(meeting->mask_before, meeting->mask_after);
}

static void a_handler_waits_for_the_end_of_the_call(void) {
  struct mm_image *image = map_image("gate");
  struct meeting meeting;
  for (int i = 0; i < 2; i++) {
    forget();
    meet(&meeting, image, i == 0 ? "meet" : "meet_then_crash");
    for (int j = 0; j < 3; j++) {
      pthread_kill(meeting.thread, SIGUSR1); /* one that is blocked already is raised once */
      usleep(2000);
    }
    CHECK_EQUAL(0, runs);
    part(&meeting);
    CHECK_EQUAL(1, runs);
    CHECK_EQUAL(0, early + on_the_images_fs + wrong_thread_locals);
  }
  mm_take_fault(NULL);
  mm_image_release(image);
}

#define QUEUED 20

static void block_in_this_thread(int how) {
  sigset_t queued;
  sigemptyset(&queued);
  sigaddset(&queued, SIGRTMIN + 3);
  sigaddset(&queued, SIGRTMIN + 4);
  pthread_sigmask(how, &queued, NULL);
}

/* Some while the thread has just been interrupted, the rest in a row. */
static void queue_to(const struct meeting *meeting, bool to_the_process) {
  for (int i = 0; i < QUEUED; i++) {
    union sigval value = {.sival_int = i};
    int number = SIGRTMIN + (i % 2 ? 3 : 4);
    if (to_the_process)
      sigqueue(getpid(), number, value);
    else
      pthread_sigqueue(meeting->thread, number, value);
    if (i < 6) usleep(1000);
  }
  usleep(2000);
}

/* What was put off comes once, with all that it has, and before what was queued after it; of two
 * numbers the lower one comes first: signal(7). */
static void check_the_queue(struct mm_image *image, bool to_the_process) {
  struct meeting meeting;
  forget();
  meet(&meeting, image, "meet");
  if (to_the_process) block_in_this_thread(SIG_BLOCK); /* for the other one alone */
  queue_to(&meeting, to_the_process);
  CHECK_EQUAL(0, runs);
  part(&meeting);
  block_in_this_thread(SIG_UNBLOCK);
  CHECK_EQUAL(QUEUED, runs);
  CHECK_EQUAL(0, early + on_the_images_fs + wrong_thread_locals + not_queued_by_us);
  for (int i = 0; i < QUEUED; i++)
    CHECK_EQUAL(i < QUEUED / 2 ? 2 * i + 1 : 2 * i - QUEUED, values[i]);
}

static void queued_signals_arrive_once_and_in_their_order(void) {
  struct mm_image *image = map_image("gate");
  for (int i = 0; i < 6; i++) check_the_queue(image, i % 2);
  mm_image_release(image);
}

static bool looks_always(void) { return way.config.look == MM_LOOK_ALWAYS; }
static bool has_pages(void) { return (way.guard & ~SEALED) == MM_GUARD_PAGES; }

/* Looks take no more than a part in a hundred of a thread's time, and the clock is asked at each 16th call. */
static void call_until_a_look(struct mm_image *image) {
  usleep(120000);
  for (int i = 0; i < 16; i++) CALL_INT(image, "counter_get");
}

static void check_that_a_handler_waits(struct mm_image *image, int signal) {
  struct meeting meeting;
  forget();
  meet(&meeting, image, "meet");
  pthread_kill(meeting.thread, signal);
  usleep(2000);
  CHECK_EQUAL(0, runs);
  part(&meeting);
  CHECK_EQUAL(1, runs);
  CHECK_EQUAL(0, early + on_the_images_fs + wrong_thread_locals);
}

/* Putting off knows the handlers of the last look; masking needs to know none. */
static void a_handler_that_is_new_waits_too_when_signals_are_masked_or_looked_for(void) {
  struct mm_image *image = map_image("gate");
  CALL_INT(image, "counter_get");
  handle(SIGWINCH, 0);
  check_that_a_handler_waits(image, SIGWINCH);
  signal(SIGWINCH, SIG_DFL);
  mm_image_release(image);
}

static void a_mappings_first_call_looks_for_new_handlers_and_so_does_one_by_and_by(void) {
  struct mm_image *image = map_image("gate"), *other = map_image("tls");
  CALL_INT(image, "counter_get");
  handle(SIGURG, 0);
  CALL_INT(other, "errno_get");
  check_that_a_handler_waits(image, SIGURG);
  handle(SIGURG, 0);
  call_until_a_look(image);
  check_that_a_handler_waits(image, SIGURG);
  signal(SIGURG, SIG_DFL);
  mm_image_release(image);
  mm_image_release(other);
}

/* Often, but not so often that nothing else happens. */
static int timer_us(void) { return emulated ? 20000 : 300; }

static void a_timer_may_fire_at_any_moment(void) {
  struct mm_image *image = map_image("gate");
  int (*next)(void) = stub_of(image, "counter_next");
  struct itimerval timer = {{0, timer_us()}, {0, timer_us()}}, off = {{0, 0}, {0, 0}};
  int expected = 100, wrong = 0;
  forget();
  errno = 3;
  setitimer(ITIMER_REAL, &timer, NULL);
  for (int i = 0; i < 20000 && (runs < 60 || i < 200); i++) wrong += next() != ++expected;
  setitimer(ITIMER_REAL, &off, NULL);
  CHECK_EQUAL(0, wrong);
  CHECK_EQUAL(3, errno);
  CHECK(runs >= 1);
  CHECK_EQUAL(0, on_the_images_fs + wrong_thread_locals);
  mm_image_release(image);
}

static void a_timer_may_fire_while_calls_fault(void) {
  struct mm_image *image = map_image("crash");
  struct itimerval timer = {{0, timer_us()}, {0, timer_us()}}, off = {{0, 0}, {0, 0}};
  uint64_t mask = mask_now();
  forget();
  setitimer(ITIMER_REAL, &timer, NULL);
  for (int i = 0; i < 100; i++) {
    CALL_INT(image, "read_null");
    CHECK_EQUAL(MM_ERROR_FAULT, mm_take_fault(NULL));
  }
  setitimer(ITIMER_REAL, &off, NULL);
  CHECK_EQUAL(mask, mask_now());
  CHECK(runs >= 1);
  CHECK_EQUAL(0, on_the_images_fs + wrong_thread_locals);
  mm_image_release(image);
}

/* --- faults of the client, and what its handlers are promised by sigaction(2) --- */

struct wanted {
  int signal, flags;
};

static struct {
  int count, signal;
  siginfo_t info;
  uint64_t mask, stack, instruction;
  int flags_of_stack;
} saw;
static char alternate[0x10000];

static void see(int signal, siginfo_t *info, void *context_) {
  ucontext_t *context = context_;
  saw.count++;
  saw.signal = signal;
  saw.info = *info;
  saw.mask = mask_now();
  saw.stack = (uint64_t)__builtin_frame_address(0);
  saw.instruction = (uint64_t)context->uc_mcontext.gregs[REG_RIP];
  if (info->si_code > 0)
    context->uc_mcontext.gregs[REG_RIP] += 2; /* every faulting one is two bytes */
}

__attribute__((noinline)) static uint64_t fault_of(int signal) {
  uint64_t at = 0;
  switch (signal) {
  case SIGSEGV:
    __asm__ volatile("lea 1f(%%rip), %0\n\tmov $0x5000, %%ecx\n1:\tmov %%eax, (%%rcx)"
                     : "=&r"(at)
                     :
                     : "rcx", "rax", "memory");
    break;
  case SIGFPE:
    __asm__ volatile("lea 1f(%%rip), %0\n\txor %%ecx, %%ecx\n\txor %%edx, %%edx\n1:\tdiv %%ecx"
                     : "=&r"(at)
                     :
                     : "rcx", "rdx", "rax", "cc");
    break;
  case SIGILL:
    __asm__ volatile("lea 1f(%%rip), %0\n1:\tud2" : "=&r"(at));
    break;
  default:
    break;
  }
  return at;
}

static void fault_body(void *wanted_) {
  const struct wanted *wanted = wanted_;
  struct sigaction action = {.sa_sigaction = see, .sa_flags = SA_SIGINFO | wanted->flags}, now;
  sigaddset(&action.sa_mask, SIGWINCH);
  sigaction(wanted->signal, &action, NULL);
  stack_t stack = {.ss_sp = alternate, .ss_size = sizeof alternate};
  sigaltstack(&stack, NULL);
  connect_client();
  struct mm_image *image = map_image("crash");
  uint64_t blocked = 1ul << (SIGURG - 1);
  syscall(SYS_rt_sigprocmask, SIG_BLOCK, &blocked, NULL, 8);
  for (int i = 0; i < 2; i++) {
    memset(&saw, 0, sizeof saw);
    CALL_INT(image, "read_null"); /* the image's own faults do not get there */
    CHECK_EQUAL(0, saw.count);
    uint64_t at = fault_of(wanted->signal);
    CHECK_EQUAL(1, saw.count);
    CHECK_EQUAL(wanted->signal, saw.signal);
    CHECK_EQUAL(at, saw.instruction);
    CHECK_EQUAL(wanted->signal == SIGSEGV ? 0x5000 : at, saw.info.si_addr);
    CHECK(saw.info.si_code > 0);
    uint64_t own_bit = wanted->flags & SA_NODEFER ? 0 : 1ul << (wanted->signal - 1);
    CHECK_EQUAL(1ul << (SIGWINCH - 1) | own_bit | blocked, saw.mask);
    bool on_alternate = saw.stack - (uint64_t)alternate < sizeof alternate;
    CHECK_EQUAL((wanted->flags & SA_ONSTACK) != 0, on_alternate);
    CHECK_EQUAL(blocked, mask_now());
    if (wanted->flags & SA_RESETHAND) {
      fault_of(wanted->signal); /* now the default: the end */
      _exit(9);
    }
  }
  CHECK_EQUAL(100, CALL_INT(image, "counter_get"));
  mm_image_release(image);
  CHECK_EQUAL(MM_OK, mm_finalize(NULL));
  sigaction(wanted->signal, NULL, &now);
  CHECK(now.sa_sigaction == see && (now.sa_flags & ~0x04000000) == action.sa_flags);
  CHECK_EQUAL(1, sigismember(&now.sa_mask, SIGWINCH));
  if (failures) _exit(1);
}

static void a_fault_of_the_client_gets_to_its_handler_as_it_asked(void) {
  static const struct wanted all[] = {{SIGSEGV, 0},          {SIGSEGV, SA_ONSTACK},
                                      {SIGSEGV, SA_NODEFER}, {SIGFPE, SA_ONSTACK | SA_NODEFER},
                                      {SIGILL, 0},           {SIGSEGV, SA_RESETHAND}};
  for (unsigned i = 0; i < sizeof all / sizeof *all; i++) {
    char output[4096];
    int status = in_child(fault_body, (void *)&all[i], output, sizeof output);
    if (all[i].flags & (int)SA_RESETHAND)
      CHECK(WIFSIGNALED(status) && WTERMSIG(status) == all[i].signal);
    else
      CHECK_EQUAL(0, status);
    CHECK(strstr(output, "#") == NULL);
    if (output[0])
      printf("# %s with flags %x:\n%s", strsignal(all[i].signal), all[i].flags, output);
  }
}

/* --- handlers that are installed over ours --- */

static volatile int first_runs, second_runs, third_runs;
static struct sigaction before_second, before_third;

static void go_past(void *context) { ((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP] += 2; }

static void first_handler(int signal, siginfo_t *info, void *context) {
  (void)signal, (void)info;
  first_runs++;
  go_past(context);
}

/* Each hands on what it has seen to whoever was there before. */
static void second_handler(int signal, siginfo_t *info, void *context) {
  before_second.sa_sigaction(signal, info, context);
  second_runs++;
}

static void third_handler(int signal, siginfo_t *info, void *context) {
  before_third.sa_sigaction(signal, info, context);
  third_runs++;
}

static void install(void (*handler)(int, siginfo_t *, void *), struct sigaction *before) {
  struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_ONSTACK};
  sigaction(SIGSEGV, &action, before);
}

/* Whether the image's fault is contained, and no handler has seen it. */
static bool is_contained(struct mm_image *image) {
  int before = first_runs + second_runs + third_runs + saw.count;
  CALL_INT(image, "read_null");
  return mm_take_fault(NULL) == MM_ERROR_FAULT &&
         before == first_runs + second_runs + third_runs + saw.count;
}

/* What the client's fault runs: how often each, as decimal digits. */
static int handlers_of_a_fault(void) {
  first_runs = second_runs = third_runs = 0;
  fault_of(SIGSEGV);
  return first_runs * 100 + second_runs * 10 + third_runs;
}

static void let_it_be_noticed(struct mm_image *image) {
  if (!has_pages() && !looks_always()) call_until_a_look(image);
}

static struct mm_image *connect_and_crash(void) {
  install(first_handler, NULL);
  connect_client();
  struct mm_image *image = map_image("crash");
  if (!is_contained(image) || handlers_of_a_fault() != 100) _exit(1);
  return image;
}

static void over_ours_body(void *unused) {
  (void)unused;
  struct mm_image *image = connect_and_crash();
  install(second_handler, &before_second);
  let_it_be_noticed(image);
  if (!is_contained(image)) _exit(2);
  if (handlers_of_a_fault() != 110) _exit(3);
  install(third_handler, &before_third);
  let_it_be_noticed(image);
  if (!is_contained(image)) _exit(4);
  if (handlers_of_a_fault() != 111) _exit(5);
  /* And each back again, in its turn. */
  sigaction(SIGSEGV, &before_third, NULL);
  if (handlers_of_a_fault() != 110) _exit(6);
  let_it_be_noticed(image);
  if (!is_contained(image)) _exit(7);
  if (handlers_of_a_fault() != 110) _exit(8);
  sigaction(SIGSEGV, &before_second, NULL);
  let_it_be_noticed(image);
  if (!is_contained(image)) _exit(9);
  if (handlers_of_a_fault() != 100) _exit(10);
  struct sigaction now;
  if (mm_finalize(NULL) != MM_OK) _exit(11);
  sigaction(SIGSEGV, NULL, &now);
  if (now.sa_sigaction != first_handler) _exit(12);
}

static void a_handler_over_ours_is_noticed_at_the_next_call(void) {
  char output[1024];
  CHECK_EQUAL(0, in_child(over_ours_body, NULL, output, sizeof output));
  if (output[0]) printf("# %s\n", output);
}

/* More often than anybody has handlers: the newest is the one that counts. */
static void over_and_over_body(void *unused) {
  (void)unused;
  struct mm_image *image = connect_and_crash();
  for (int i = 0; i < 30; i++) {
    install(i % 2 ? see : first_handler, NULL);
    if (i == 29) let_it_be_noticed(image);
    if (has_pages() || looks_always()) CHECK(is_contained(image));
  }
  CHECK(is_contained(image));
  saw.count = 0;
  CHECK_EQUAL(0, handlers_of_a_fault());
  CHECK_EQUAL(1, saw.count);
  if (failures) _exit(1);
}

static void handlers_may_be_installed_over_ours_any_number_of_times(void) {
  char output[2048];
  CHECK_EQUAL(0, in_child(over_and_over_body, NULL, output, sizeof output));
  if (output[0]) printf("# %s\n", output);
}

/* As crash reporters do: the handler puts back what was there, and raises the signal again. */
static void report_and_die(int signal, siginfo_t *info, void *context) {
  (void)info, (void)context;
  if (second_runs++) _exit(9);
  sigaction(signal, &before_second, NULL);
  raise(signal);
}

static void reporter_body(void *unused) {
  (void)unused;
  connect_client();
  struct mm_image *image = map_image("crash");
  CALL_INT(image, "counter_get");
  install(report_and_die, &before_second);
  let_it_be_noticed(image);
  if (!is_contained(image)) _exit(2);
  fault_of(SIGSEGV);
  _exit(3);
}

static void a_handler_that_puts_ours_back_and_raises_again_ends_the_process(void) {
  char output[1024];
  int status = in_child(reporter_body, NULL, output, sizeof output);
  CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
}

/* One that nobody has noticed gets the image's fault: to hand it on is enough. */
static void *install_second(void *unused) {
  install(second_handler, &before_second);
  return unused;
}

static void handed_on_body(void *unused) {
  struct mm_image *gate = map_image("gate");
  struct meeting meeting;
  pthread_t thread;
  first_runs = second_runs = 0;
  meet(&meeting, gate, "meet_then_crash");
  pthread_create(&thread, NULL, install_second, unused);
  pthread_join(thread, NULL);
  part(&meeting);
  if (first_runs != 0 || second_runs != 1) _exit(1);
  if (CALL_INT(gate, "counter_get") != 100) _exit(2);
}

static void a_handler_that_nobody_noticed_may_hand_a_fault_of_the_image_on(void) {
  char output[1024];
  CHECK_EQUAL(0, in_child(handed_on_body, NULL, output, sizeof output));
}

static void default_body(void *signal) {
  connect_client();
  map_image("crash");
  if (*(int *)signal > 0)
    fault_of(*(int *)signal);
  else
    raise(-*(int *)signal);
  _exit(7);
}

static void without_a_handler_it_kills_as_it_would_have(void) {
  int signals[] = {SIGSEGV, SIGFPE, SIGILL, -SIGSEGV, -SIGTRAP, -SIGBUS, -SIGSYS, -SIGTERM};
  for (unsigned i = 0; i < sizeof signals / sizeof *signals; i++) {
    char output[1024];
    int status = in_child(default_body, &signals[i], output, sizeof output);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == abs(signals[i]));
    CHECK(output[0] == 0);
  }
}

static void ignored_body(void *unused) {
  (void)unused;
  signal(SIGFPE, SIG_IGN);
  signal(SIGUSR1, SIG_IGN);
  connect_client();
  map_image("crash");
  raise(SIGFPE);
  raise(SIGUSR1);
  printf("alive");
  fflush(stdout);
  if (fault_of(SIGFPE)) _exit(7); /* what the processor raises cannot be ignored */
}

static void what_was_ignored_stays_so(void) {
  char output[1024];
  int status = in_child(ignored_body, NULL, output, sizeof output);
  CHECK(strstr(output, "alive") != NULL);
  CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGFPE);
}

/* Worker threads often block everything; that must not keep an image from being contained or mediated. */
static void *blocked_thread(void *unused) {
  (void)unused;
  struct mm_image *crash = map_image("crash"), *calls = map_image("syscall");
  uint64_t mask = mask_now();
  if (CALL_LONG(calls, "process") != (uint64_t)getpid()) _exit(1);
  CALL_INT(crash, "read_null");
  if (mm_take_fault(NULL) != MM_ERROR_FAULT) _exit(2);
  if (CALL_INT(crash, "counter_get") != 100) _exit(3);
  if (mask_now() != mask) _exit(4);
  kill(getpid(), SIGTERM); /* nor does what is blocked end what waits */
  if (CALL_LONG_INT(calls, "nap", 1)) _exit(5);
  return NULL;
}

static void blocked_body(void *unused) {
  pthread_t thread;
  sigset_t all;
  connect_client();
  sigfillset(&all);
  sigprocmask(SIG_BLOCK, &all, NULL);
  pthread_create(&thread, NULL, blocked_thread, unused);
  pthread_join(thread, NULL);
}

static volatile sig_atomic_t terminated;
static void on_terminate(int signal) { terminated = signal == SIGTERM; }

static void *terminate_soon(void *thread) {
  usleep(30000);
  pthread_kill(*(pthread_t *)thread, SIGTERM);
  return NULL;
}

static void waits_body(void *unused) {
  (void)unused;
  pthread_t sender, self = pthread_self();
  signal(SIGTERM, on_terminate);
  connect_client();
  struct mm_image *image = map_image("syscall");
  pthread_create(&sender, NULL, terminate_soon, &self);
  if (CALL_LONG_INT(image, "nap", 200)) _exit(1);
  pthread_join(sender, NULL);
  if (!terminated) _exit(2);
}

static void what_the_host_handles_does_not_end_what_waits(void) {
  char output[1024];
  CHECK_EQUAL(0, in_child(waits_body, NULL, output, sizeof output));
}

static void once_body(void *unused) {
  struct sigaction action = {.sa_handler = on_terminate, .sa_flags = SA_RESETHAND};
  pthread_t sender, self = pthread_self();
  (void)unused;
  sigaction(SIGTERM, &action, NULL);
  connect_client();
  struct mm_image *image = map_image("syscall");
  pthread_create(&sender, NULL, terminate_soon, &self);
  CALL_LONG_INT(image, "nap", 200);
  pthread_join(sender, NULL);
  if (terminated && write(1, "once", 4) == 4) raise(SIGTERM);
}

/* SA_RESETHAND: once, when the call has ended; the next one ends the process. */
static void a_handler_for_once_that_was_put_off_runs_once(void) {
  char output[1024];
  int status = in_child(once_body, NULL, output, sizeof output);
  CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
  CHECK(strstr(output, "once"));
}

static void a_thread_that_blocks_every_signal_may_call(void) {
  char output[1024];
  CHECK_EQUAL(0, in_child(blocked_body, NULL, output, sizeof output));
}

/* The same looks put right what a thread has done to itself since it was armed. */
static void puts_itself_out_body(void *later) {
  sigset_t all;
  connect_client();
  /* The guard `pages` may fault at any call. */
  struct mm_image *crash = map_with("crash", &(struct mm_map_options){.guard = MM_GUARD_OPEN}),
                  *other = map_with("tls", &(struct mm_map_options){.guard = MM_GUARD_OPEN});
  CALL_INT(crash, "counter_get");
  sigfillset(&all);
  sigprocmask(SIG_BLOCK, &all, NULL);
  sigaltstack(&(stack_t){.ss_flags = SS_DISABLE}, NULL);
  if (later)
    call_until_a_look(crash);
  else
    CALL_INT(other, "errno_get");
  CALL_INT_INT(crash, "overflow", 0);
  if (mm_take_fault(NULL) != MM_ERROR_FAULT) _exit(1);
}

static void a_thread_that_blocks_its_faults_later_is_put_right(void) {
  char output[1024];
  CHECK_EQUAL(0, in_child(puts_itself_out_body, NULL, output, sizeof output));
  CHECK_EQUAL(0, in_child(puts_itself_out_body, "", output, sizeof output));
}

/* A signal without a handler is not put off: it kills the process in the middle of a call. */
static void kill_inside_body(void *unused) {
  (void)unused;
  connect_client();
  struct meeting meeting;
  meet(&meeting, map_image("gate"), "meet");
  pthread_kill(meeting.thread, SIGTERM);
  pthread_join(meeting.thread, NULL);
}

static void a_call_does_not_keep_the_process_from_being_killed(void) {
  char output[1024];
  if (way.config.signals == MM_SIGNALS_MASK) return; /* it waits there */
  int status = in_child(kill_inside_body, NULL, output, sizeof output);
  CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
}

/* --- finalize --- */

struct actions {
  struct {
    uint64_t handler, flags, restorer, mask;
  } of[65];
};

static void look(struct actions *actions) {
  memset(actions, 0, sizeof *actions);
  for (int signal = 1; signal < 65; signal++)
    syscall(SYS_rt_sigaction, signal, NULL, &actions->of[signal], 8);
}

static void finalize_puts_every_handler_back(void) {
  static struct actions before, after;
  CHECK_EQUAL(MM_OK, mm_finalize(NULL));
  handle(SIGUSR2, SA_RESTART);
  handle(SIGINT, SA_ONSTACK | SA_NODEFER);
  handle(SIGTRAP, SA_ONSTACK);
  look(&before);
  for (int i = 0; i < 3; i++) {
    connect_client();
    struct mm_image *image = map_image("crash");
    CALL_INT(image, "read_null");
    forget();
    raise(SIGUSR2);
    raise(SIGINT);
    raise(SIGTRAP);
    CHECK_EQUAL(3, runs);
    mm_image_release(image);
    CHECK_EQUAL(MM_OK, mm_finalize(NULL));
    look(&after);
    CHECK(memcmp(&before, &after, sizeof before) == 0);
  }
  stack_t stack;
  sigaltstack(NULL, &stack);
  CHECK_EQUAL(SS_DISABLE, stack.ss_flags);
  /* What the client installed over ours stays. */
  connect_client();
  signal(SIGUSR2, SIG_IGN);
  signal(SIGFPE, SIG_IGN);
  CHECK_EQUAL(MM_OK, mm_finalize(NULL));
  CHECK(signal(SIGUSR2, SIG_DFL) == SIG_IGN);
  CHECK(signal(SIGFPE, SIG_DFL) == SIG_IGN);
  connect_client();
}

static void all_tests(void) {
  RUN(a_fault_of_the_client_gets_to_its_handler_as_it_asked);
  RUN(a_handler_over_ours_is_noticed_at_the_next_call);
  RUN(handlers_may_be_installed_over_ours_any_number_of_times);
  RUN(a_handler_that_puts_ours_back_and_raises_again_ends_the_process);
  RUN(without_a_handler_it_kills_as_it_would_have);
  RUN(what_was_ignored_stays_so);
  RUN(a_call_does_not_keep_the_process_from_being_killed);
  RUN(a_thread_that_blocks_every_signal_may_call);
  RUN(what_the_host_handles_does_not_end_what_waits);
  RUN(a_handler_for_once_that_was_put_off_runs_once);
  RUN(a_thread_that_blocks_its_faults_later_is_put_right);
  handle(SIGUSR1, 0);
  handle(SIGRTMIN + 3, 0);
  handle(SIGRTMIN + 4, 0);
  handle(SIGALRM, SA_RESTART);
  connect_client();
  RUN(a_handler_waits_for_the_end_of_the_call);
  RUN(queued_signals_arrive_once_and_in_their_order);
  if (way.config.signals == MM_SIGNALS_MASK || looks_always())
    RUN(a_handler_that_is_new_waits_too_when_signals_are_masked_or_looked_for);
  RUN(a_handler_that_nobody_noticed_may_hand_a_fault_of_the_image_on);
  RUN(a_mappings_first_call_looks_for_new_handlers_and_so_does_one_by_and_by);
  RUN(a_timer_may_fire_at_any_moment);
  RUN(a_timer_may_fire_while_calls_fault);
  RUN(finalize_puts_every_handler_back);
  CHECK_EQUAL(MM_OK, mm_finalize(NULL));
}

int main(int count, char **arguments) {
  static const struct way ways[] = {
      {"putting off", MM_GUARD_OPEN, {0}},
      {"putting off, looking always", MM_GUARD_OPEN, {.look = MM_LOOK_ALWAYS}},
      {"masking", MM_GUARD_OPEN, {.signals = MM_SIGNALS_MASK}},
      {"putting off, pages, with a selector", MM_GUARD_PAGES, {.without = MM_WITHOUT_INCLUSIVE}},
      {"putting off, without FSGSBASE", MM_GUARD_OPEN, {.without = MM_WITHOUT_FSGSBASE}},
      {"pages, sealed", MM_GUARD_PAGES | SEALED, {0}},
      /* Images write to memory of the client's here, to meet it. */
      {"keys", MM_GUARD_KEYS, {.without = MM_WITHOUT_CLOSING}},
      {"keys, sealed, without FSGSBASE", MM_GUARD_KEYS | SEALED, {.without = MM_WITHOUT_FSGSBASE}},
  };
  find_folders(count, arguments);
  return run_ways(ways, sizeof ways / sizeof *ways, all_tests);
}
