/* unit/lockdown_test.c - what a lockdown refuses, which works without it, and what works all the same. */
#include "client.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <ucontext.h>

#ifndef SYS_map_shadow_stack
#define SYS_map_shadow_stack 453
#endif
#define SYS_seal  462
#define FAR_BELOW ((1ul << 45) - (1ul << 40))

static struct mm_image *image;
static uint64_t inside; /* an address in the image */

/* --- what is refused --- */

#define CALL(name, ...)                                                                            \
  static long name(void) { return syscall(__VA_ARGS__) == -1 ? -errno : 0; }

CALL(mprotect_into, SYS_mprotect, FAR_BELOW, (1ul << 40) + 4096, PROT_NONE)
CALL(pkey_mprotect_into, SYS_pkey_mprotect, FAR_BELOW, (1ul << 40) + 4096, PROT_NONE, -1)
CALL(munmap_there, SYS_munmap, 0x4fff00000000, 4096)
CALL(munmap_just_into, SYS_munmap, (1ul << 45) - 4096, 8192)
CALL(madvise_there, SYS_madvise, inside, 4096, MADV_NORMAL)
CALL(mmap_at_a_hint, SYS_mmap, 0x4fff00000000, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
CALL(mremap_grows_into, SYS_mremap, FAR_BELOW, 4096, 1ul << 41, 0, 0)
CALL(mremap_onto, SYS_mremap, FAR_BELOW, 4096, 4096, MREMAP_MAYMOVE | MREMAP_FIXED, inside)
CALL(mremap_beside, SYS_mremap, FAR_BELOW, 4096, 4096, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, inside)
CALL(remap_file_pages_there, SYS_remap_file_pages, inside, 4096, 0, 0, 0)
CALL(mseal_there, SYS_seal, inside, 4096, 0)
CALL(shadow_stack_there, SYS_map_shadow_stack, 0x4fff00000000, 4096, 0)
CALL(brk_there, SYS_brk, inside)
CALL(shmat_somewhere, SYS_shmat, -1, 0x700000000000, 0)
CALL(process_madvise_anywhere, SYS_process_madvise, -1, NULL, 0, 0, 0)
CALL(process_vm_writev_anywhere, SYS_process_vm_writev, -1, NULL, 0, NULL, 0, 0)
CALL(ptrace_anything, SYS_ptrace, PTRACE_ATTACH, -1, 0, 0)
CALL(pidfd_getfd_anything, SYS_pidfd_getfd, -1, -1, 0)
CALL(modify_ldt_read, SYS_modify_ldt, 0, NULL, 0)
CALL(userfaultfd_at_all, SYS_userfaultfd, 1)
CALL(io_uring_setup_at_all, SYS_io_uring_setup, 1, NULL)
CALL(io_uring_enter_at_all, SYS_io_uring_enter, -1, 0, 0, 0, NULL, 0)
CALL(io_uring_register_at_all, SYS_io_uring_register, -1, 0, NULL, 0)
CALL(io_setup_at_all, SYS_io_setup, 0, NULL)
CALL(io_submit_at_all, SYS_io_submit, 0, 0, NULL)
CALL(vmsplice_at_all, SYS_vmsplice, -1, NULL, 0, 0)
CALL(seccomp_at_all, SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &(uint32_t){SECCOMP_RET_ALLOW})
CALL(prctl_seccomp, SYS_prctl, PR_SET_SECCOMP, SECCOMP_MODE_FILTER, NULL, 0, 0)
CALL(prctl_dispatch, SYS_prctl, PR_SET_SYSCALL_USER_DISPATCH, 0, 0, 0, 0)
CALL(prctl_dumpable, SYS_prctl, PR_SET_DUMPABLE, 1, 0, 0, 0)
CALL(prctl_ptracer, SYS_prctl, PR_SET_PTRACER, 0, 0, 0, 0)
CALL(personality_executes, SYS_personality, READ_IMPLIES_EXEC)
CALL(x32_getpid, SYS_getpid | 0x40000000)

static long int_0x80(void) {
  long result = 20; /* getpid of 32-bit programs */
  __asm__ volatile("int $0x80" : "+a"(result) : : "memory");
  return (int)result;
}

static long takes(int signal) {
  return sigaction(signal, &(struct sigaction){.sa_handler = SIG_DFL}, NULL) ? -errno : 0;
}
static long sigaction_SIGSEGV(void) { return takes(SIGSEGV); }
static long sigaction_SIGBUS(void) { return takes(SIGBUS); }
static long sigaction_SIGFPE(void) { return takes(SIGFPE); }
static long sigaction_SIGILL(void) { return takes(SIGILL); }
static long sigaction_SIGTRAP(void) { return takes(SIGTRAP); }
static long sigaction_SIGSYS(void) { return takes(SIGSYS); }

static long sigaltstack_away(void) {
  return sigaltstack(&(stack_t){.ss_flags = SS_DISABLE}, NULL) ? -errno : 0;
}

#define REFUSAL(name)                                                                              \
  { #name, name }
static const struct refusal {
  const char *name;
  long (*call)(void);
} refusals[] = {
    REFUSAL(mprotect_into),
    REFUSAL(pkey_mprotect_into),
    REFUSAL(munmap_there),
    REFUSAL(munmap_just_into),
    REFUSAL(madvise_there),
    REFUSAL(mmap_at_a_hint),
    REFUSAL(mremap_grows_into),
    REFUSAL(mremap_onto),
    REFUSAL(mremap_beside),
    REFUSAL(remap_file_pages_there),
    REFUSAL(mseal_there),
    REFUSAL(shadow_stack_there),
    REFUSAL(brk_there),
    REFUSAL(shmat_somewhere),
    REFUSAL(process_madvise_anywhere),
    REFUSAL(process_vm_writev_anywhere),
    REFUSAL(ptrace_anything),
    REFUSAL(pidfd_getfd_anything),
    REFUSAL(modify_ldt_read),
    REFUSAL(userfaultfd_at_all),
    REFUSAL(io_uring_setup_at_all),
    REFUSAL(io_uring_enter_at_all),
    REFUSAL(io_uring_register_at_all),
    REFUSAL(io_setup_at_all),
    REFUSAL(io_submit_at_all),
    REFUSAL(vmsplice_at_all),
    REFUSAL(seccomp_at_all),
    REFUSAL(prctl_seccomp),
    REFUSAL(prctl_dispatch),
    REFUSAL(prctl_dumpable),
    REFUSAL(prctl_ptracer),
    REFUSAL(personality_executes),
    REFUSAL(x32_getpid),
    REFUSAL(sigaction_SIGSEGV),
    REFUSAL(sigaction_SIGBUS),
    REFUSAL(sigaction_SIGFPE),
    REFUSAL(sigaction_SIGILL),
    REFUSAL(sigaction_SIGTRAP),
    REFUSAL(sigaction_SIGSYS),
    REFUSAL(sigaltstack_away),
    REFUSAL(int_0x80), /* the last: where there is none, it ends the child */
};
#define REFUSALS (sizeof refusals / sizeof *refusals)

static void must_lock_down(void) {
  struct mm_error error;
  must(mm_lockdown(&error), &error);
}

static void try_refusals(void *unused) {
  (void)unused;
  for (unsigned i = 0; i < REFUSALS; i++) {
    printf("%s %ld;", refusals[i].name, refusals[i].call());
    fflush(stdout);
  }
}

static void try_locked_down(void *unused) {
  must_lock_down();
  try_refusals(unused);
}

/* Without the lockdown nobody else may answer EPERM, or the test would show nothing. */
static void is_told_and_leaves_no_dump(void) {
  struct mm_image_info info;
  struct mm_error error;
  must(mm_image_info(image, &info, &error), &error);
  CHECK_EQUAL(1, info.locked_down);
  CHECK_EQUAL(0, prctl(PR_GET_DUMPABLE));
}

static void refuses_everybody(void) {
  char before[4096], after[4096], refused[64], tried[48];
  in_child(try_refusals, NULL, before, sizeof before);
  in_child(try_locked_down, NULL, after, sizeof after);
  for (unsigned i = 0; i < REFUSALS; i++) {
    snprintf(tried, sizeof tried, "%s ", refusals[i].name);
    snprintf(refused, sizeof refused, "%s%d;", tried, -EPERM);
    if (refusals[i].call == int_0x80 && !strstr(before, tried)) continue; /* the kernel has none */
    bool right = strstr(before, tried) && !strstr(before, refused) && strstr(after, refused);
    CHECK(right);
    printf("%s refused %s, %s\n", right ? "ok" : "not ok", refusals[i].name, way.name);
  }
}

/* --- what works --- */

static void leaves_other_memory_alone(void) {
  char *memory = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(memory != MAP_FAILED);
  CHECK_EQUAL(0, mprotect(memory, 1 << 20, PROT_READ));
  CHECK_EQUAL(0, madvise(memory, 1 << 20, MADV_DONTNEED));
  memory = mremap(memory, 1 << 20, 2 << 20, MREMAP_MAYMOVE);
  CHECK(memory != MAP_FAILED);
  CHECK(mmap(memory, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == memory);
  CHECK(mmap(NULL, 1ul << 44, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0) !=
        MAP_FAILED);
  CHECK_EQUAL(0, munmap(memory, 2 << 20));
  CHECK(sbrk(65536) != (void *)-1);
  CHECK(personality(0xffffffff) >= 0);
  CHECK_EQUAL(0, sigaction(SIGSEGV, NULL, &(struct sigaction){0}));
  CHECK_EQUAL(0, sigaltstack(NULL, &(stack_t){0}));
  CHECK(signal(SIGUSR1, SIG_IGN) != SIG_ERR);
}

static void calls_faults_and_resets(void) {
  struct mm_error error;
  struct mm_image *crash = map_image("crash");
  for (int i = 0; i < 3; i++) {
    CALL_INT(crash, "read_null");
    CHECK_EQUAL(MM_ERROR_FAULT, mm_take_fault(&error));
  }
  CALL_INT_INT(crash, "counter_set", 5);
  CHECK_EQUAL(5, CALL_INT(crash, "counter_get"));
  CHECK_EQUAL(MM_OK, mm_reset(crash, &error));
  CHECK_EQUAL(100, CALL_INT(crash, "counter_get"));
  void *memory;
  CHECK_EQUAL(MM_OK, mm_allocate(crash, 100000, &memory, &error));
  CHECK_EQUAL(MM_OK, mm_write(crash, memory, "there", 6, &error));
  CHECK_EQUAL(MM_OK, mm_unmap(crash, &error));
  mm_image_release(crash);
}

static void a_call_ends_at_its_deadline(void) {
  struct mm_error error;
  struct mm_map_options options = {.guard = way.guard, .timeout_ns = 20000000};
  struct mm_image *endless = map_with("crash", &options);
  int status = mm_request_call(function_of(endless, "spin"), &(int){0}, NULL, &error);
  CHECK_EQUAL(MM_ERROR_DEADLINE, status);
  mm_image_release(endless);
}

static void *call_once(void *result) {
  *(int *)result = CALL_INT(image, "counter_next");
  return NULL;
}

static void new_threads_call(void) {
  int result = 0;
  for (int i = 0; i < 3; i++) {
    pthread_t thread;
    CHECK_EQUAL(0, pthread_create(&thread, NULL, call_once, &result));
    pthread_join(thread, NULL);
    CHECK_EQUAL(101 + i, result);
  }
}

static void call_in_a_child(void *unused) {
  (void)unused;
  printf("%d", CALL_INT(image, "counter_next"));
  struct mm_image *other = map_image("text");
  mm_image_release(other);
  printf(" %ld", mprotect_into());
}

static void a_forked_child_calls_and_is_locked_down(void) {
  char output[256];
  CHECK_EQUAL(0, in_child(call_in_a_child, NULL, output, sizeof output));
  CHECK(strcmp(output, "104 -1") == 0);
}

static void execute(void *unused) {
  (void)unused;
  execlp("sh", "sh", "-c", "echo alive", (char *)NULL);
}

static void executes_programs(void) {
  char output[256];
  CHECK_EQUAL(0, in_child(execute, NULL, output, sizeof output));
  CHECK(strcmp(output, "alive\n") == 0);
}

/* Of another program nobody's instruction pointer is the Matchmaker's. */
static void execute_this(void *unused) {
  (void)unused;
  execl("/proc/self/exe", "executed", (char *)NULL);
}

static int be_executed(void) {
  printf("%ld %ld", mmap_at_a_hint(), process_madvise_anywhere());
  return 0;
}

static void programs_that_it_executes_are_locked_down(bool is_locked) {
  char output[256], wanted[256];
  snprintf(wanted, sizeof wanted, "%d %d", is_locked ? -EPERM : 0, is_locked ? -EPERM : -EBADF);
  CHECK_EQUAL(0, in_child(execute_this, NULL, output, sizeof output));
  CHECK(strcmp(output, wanted) == 0);
}

static void connects_again_after_the_last_finalize(void) {
  struct mm_error error;
  mm_image_release(image);
  for (int i = 0; i < 3; i++) {
    CHECK_EQUAL(MM_OK, mm_finalize(&error));
    CHECK_EQUAL(MM_ERROR_NOT_CONNECTED, mm_finalize(&error));
    CHECK_EQUAL(MM_ERROR_NOT_CONNECTED, mm_lockdown(&error));
    connect_client();
    image = map_image("math");
    CHECK_EQUAL(101, CALL_INT(image, "counter_next"));
    CHECK_EQUAL(MM_OK, mm_lockdown(&error));
    mm_image_release(image);
    calls_faults_and_resets();
  }
}

/* --- threads that were there, and those that stand in the way --- */

static pthread_barrier_t step;

static void *try_in_a_thread(void *answer) {
  pthread_barrier_wait(&step);
  pthread_barrier_wait(&step);
  *(long *)answer = mprotect_into();
  CHECK_EQUAL(101, CALL_INT(image, "counter_next"));
  return NULL;
}

static void lock_a_thread_down(void *unused) {
  pthread_t thread;
  long answer = 0;
  (void)unused;
  pthread_barrier_init(&step, NULL, 2);
  pthread_create(&thread, NULL, try_in_a_thread, &answer);
  pthread_barrier_wait(&step);
  must_lock_down();
  pthread_barrier_wait(&step);
  pthread_join(thread, NULL);
  printf("%ld %d", answer, failures);
}

static void threads_that_were_there_are_locked_down(void) {
  char output[256];
  CHECK_EQUAL(0, in_child(lock_a_thread_down, NULL, output, sizeof output));
  CHECK(strcmp(output, "-1 0") == 0);
}

static void *filter_itself(void *unused) {
  struct sock_filter all = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
  (void)unused;
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  CHECK_EQUAL(0, prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &(struct sock_fprog){1, &all}));
  pthread_barrier_wait(&step);
  pthread_barrier_wait(&step);
  return NULL;
}

static void lock_down_beside_a_filter(void *unused) {
  pthread_t thread;
  struct mm_error error;
  (void)unused;
  pthread_barrier_init(&step, NULL, 2);
  pthread_create(&thread, NULL, filter_itself, NULL);
  pthread_barrier_wait(&step);
  CHECK_EQUAL(MM_ERROR_SYSTEM, mm_lockdown(&error));
  CHECK(strstr(error.message, "has a seccomp filter of its own") != NULL);
  CHECK(mprotect_into() != -EPERM);
  pthread_barrier_wait(&step);
  pthread_join(thread, NULL);
  /* It is gone, but to the kernel perhaps not yet: it wakes who joins before the thread's end. */
  for (int i = 0; i < 1000 && mm_lockdown(&error) != MM_OK; i++) usleep(1000);
  CHECK_EQUAL(MM_OK, mm_lockdown(&error));
  printf("%d", failures);
}

static void a_thread_with_a_filter_of_its_own_is_named(void) {
  char output[512];
  CHECK_EQUAL(0, in_child(lock_down_beside_a_filter, NULL, output, sizeof output));
  CHECK(strcmp(output, "0") == 0);
}

static void all_tests(void) {
  CHECK_EQUAL(MM_ERROR_NOT_CONNECTED, mm_lockdown(NULL));
  connect_client();
  image = map_image("math");
  inside = base_of(image) + 4096;
  refuses_everybody();
  RUN(threads_that_were_there_are_locked_down);
  RUN(a_thread_with_a_filter_of_its_own_is_named);
  programs_that_it_executes_are_locked_down(false);
  must_lock_down();
  must_lock_down();
  RUN(is_told_and_leaves_no_dump);
  RUN(leaves_other_memory_alone);
  RUN(new_threads_call);
  RUN(a_forked_child_calls_and_is_locked_down);
  RUN(calls_faults_and_resets);
  RUN(a_call_ends_at_its_deadline);
  RUN(executes_programs);
  RUN(programs_that_it_executes_are_locked_down, true);
  RUN(connects_again_after_the_last_finalize);
}

int main(int count, char **arguments) {
  static const struct way ways[] = {
      {"pages", MM_GUARD_PAGES, {0}},
      {"pages, without either, masking",
       MM_GUARD_PAGES,
       {.signals = MM_SIGNALS_MASK, .without = MM_WITHOUT_INCLUSIVE | MM_WITHOUT_FSGSBASE}},
      {"keys", MM_GUARD_KEYS, {0}},
  };
  if (strcmp(arguments[0], "executed") == 0) return be_executed();
  find_folders(count, arguments);
  return run_ways(ways, sizeof ways / sizeof *ways, all_tests);
}
