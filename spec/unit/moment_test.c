/* unit/moment_test.c - a signal at each single instruction of a call: its handler finds its own
 * thread's memory, may make system calls, may fork, and runs once.
 * Usage: moment_test FOLDER; prints one line per test, exit status 1 when one failed. */
#include "client.h"

#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <ucontext.h>

#define ARENA_LOW   0x200000000000ul
#define ARENA_BYTES 0x300000000000ul
#define STRIDE      97 /* from one moment on the image's FS to the next: each takes a call of its own */
#define FORK_EVERY  29 /* signals */
#define TRAP_FLAG   0x100

/* --- the client that is stepped through --- */

static struct counts { volatile int runs, wrong, calls_wrong; } * counts;
static __thread volatile int own = 77;
static pid_t process;

/* The child goes on with the call. */
static void fork_here(void) {
  int ending = -1;
  pid_t forked = fork();
  if (forked == 0) limit_time();
  if (forked > 0) counts->wrong += waitpid(forked, &ending, 0) != forked || ending != 0;
}

/* Whoever traces it sees its return: at the instruction behind the one that was interrupted. */
static void on_signal(int signal, siginfo_t *info, void *context) {
  (void)signal, (void)info;
  counts->wrong += own != 77 || syscall(SYS_getpid) != process;
  if (counts->runs++ % FORK_EVERY == 0) fork_here();
  if (getpid() != process) return;
  ((ucontext_t *)context)->uc_mcontext.gregs[REG_EFL] |= TRAP_FLAG;
}

static struct mm_image *callback_image, *calls_image;
static void *pointer;

static void one_more(void *result, void **args, void *user) {
  (void)user;
  *(int *)result = *(int *)args[0] + 1;
}

static bool calls_back(void) {
  return ((int (*)(void *, int))stub_of(callback_image, "apply"))(pointer, 5) == 7;
}

static bool crashes(void) {
  return CALL_INT(callback_image, "crash") == 0 && mm_take_fault(NULL) == MM_ERROR_FAULT;
}

/* A child whose system calls are not trapped gets one. */
static bool wants_a_socket(void) {
  return (int64_t)CALL_LONG(calls_image, "open_socket") == -EPERM;
}

/* One call between two stops, as often as it is let go on. */
static void child(bool (*call)(void)) {
  struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO};
  struct mm_callback *callback;
  process = getpid();
  sigaction(SIGUSR1, &action, NULL);
  connect_client();
  callback_image = map_image("callback");
  calls_image = map_image("syscall");
  must(mm_callback(callback_image, "int (int)", one_more, NULL, &callback, NULL), NULL);
  pointer = mm_callback_pointer(callback);
  for (int i = 0; i < 3; i++) call();
  ptrace(PTRACE_TRACEME, 0, 0, 0);
  for (;;) {
    raise(SIGSTOP);
    bool is_right = call();
    if (getpid() != process) _exit(!(is_right && call()));
    counts->calls_wrong += !is_right;
    raise(SIGSTOP);
  }
}

/* --- who traces it --- */

static pid_t traced;
static int status;

static bool is_stopped_by(int signal) { return WIFSTOPPED(status) && WSTOPSIG(status) == signal; }
/* It ended, or its call did. */
static bool is_over(void) { return !WIFSTOPPED(status) || is_stopped_by(SIGSTOP); }

/* What the program itself raises goes its way. */
static void go_on(enum __ptrace_request how, int with) {
  int signal = WSTOPSIG(status);
  bool its_own = signal != SIGTRAP && signal != SIGSTOP;
  ptrace(how, traced, 0, its_own ? signal : with);
  waitpid(traced, &status, 0);
}

static struct user_regs_struct registers(void) {
  struct user_regs_struct now = {0};
  ptrace(PTRACE_GETREGS, traced, 0, &now);
  return now;
}

/* The handler has set it; or the program itself, which pushes and pops its flags while it is stepped
 * through. */
static void clear_trap_flag(void) {
  struct user_regs_struct now = registers();
  now.eflags &= ~(unsigned long long)TRAP_FLAG;
  ptrace(PTRACE_SETREGS, traced, 0, &now);
}

/* With the signal, until its handler has returned. */
static void interrupt(void) {
  clear_trap_flag();
  go_on(PTRACE_CONT, SIGUSR1);
  while (!is_over() && !is_stopped_by(SIGTRAP)) go_on(PTRACE_CONT, 0);
  clear_trap_flag();
}

static void start(bool (*call)(void)) {
  fflush(stdout);
  traced = fork();
  if (traced == 0) child(call);
  waitpid(traced, &status, 0);
  memset((void *)counts, 0, sizeof *counts);
}

static void finish(int tried) {
  CHECK(is_stopped_by(SIGSTOP));
  if (WIFSIGNALED(status)) printf("# killed by signal %d\n", WTERMSIG(status));
  CHECK_EQUAL(tried, counts->runs);
  CHECK_EQUAL(0, counts->wrong);
  CHECK_EQUAL(0, counts->calls_wrong);
  kill(traced, SIGKILL);
  waitpid(traced, &status, 0);
}

static bool is_inside(const struct user_regs_struct *now) {
  return now->fs_base - ARENA_LOW < ARENA_BYTES;
}

/* On the client's FS its handler runs at once: at each instruction of ours, in one call. */
static void a_signal_at_each_instruction_outside_of_the_image(bool (*call)(void)) {
  int tried = 0;
  start(call);
  go_on(PTRACE_SINGLESTEP, 0);
  while (!is_over()) {
    struct user_regs_struct now = registers();
    if (is_stopped_by(SIGTRAP) && !is_inside(&now) && now.rip - ARENA_LOW < SLOT_BYTES) {
      tried++;
      interrupt();
    } else {
      go_on(PTRACE_SINGLESTEP, 0);
    }
  }
  CHECK(tried > 100);
  finish(tried);
}

/* Steps to the nth moment on the image's FS; false: the call has ended before it. */
static bool reach(int moment) {
  for (go_on(PTRACE_SINGLESTEP, 0); !is_over(); go_on(PTRACE_SINGLESTEP, 0)) {
    struct user_regs_struct now = registers();
    if (is_stopped_by(SIGTRAP) && is_inside(&now) && moment-- == 0) return true;
  }
  return false;
}

static void a_signal_at_moments_inside_of_it(bool (*call)(void)) {
  int tried = 0;
  start(call);
  while (reach(tried * STRIDE)) {
    tried++;
    interrupt();
    CHECK_EQUAL(tried, counts->runs);
    while (!is_over()) go_on(PTRACE_CONT, 0);
    if (!is_stopped_by(SIGSTOP)) break;
    go_on(PTRACE_CONT, 0); /* to where the next one begins */
  }
  CHECK(tried > 3);
  finish(tried);
}

static void all_tests(void) {
  static const struct {
    const char *name;
    bool (*call)(void);
  } calls[] = {{"a callback", calls_back}, {"a fault", crashes}, {"a trap", wants_a_socket}};
  counts = mmap(NULL, sizeof *counts, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  for (unsigned i = 0; i < sizeof calls / sizeof *calls; i++) {
    printf("# %s\n", calls[i].name);
    RUN(a_signal_at_each_instruction_outside_of_the_image, calls[i].call);
    RUN(a_signal_at_moments_inside_of_it, calls[i].call);
  }
}

int main(int count, char **arguments) {
  static const struct way ways[] = {
      {"open", MM_GUARD_OPEN, {0}},
      {"pages, with a selector", MM_GUARD_PAGES, {.without = MM_WITHOUT_INCLUSIVE}},
      {"open, without FSGSBASE", MM_GUARD_OPEN, {.without = MM_WITHOUT_FSGSBASE}},
      {"keys", MM_GUARD_KEYS, {0}},
  };
  find_folders(count, arguments);
  return run_ways(ways, sizeof ways / sizeof *ways, all_tests);
}
