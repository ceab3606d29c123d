/* unit/attack_process_test.c - ways in by what a process has: signals, registers, filters, rings: attack.h. */
#include "attack.h"

#include <asm/ldt.h>
#include <asm/prctl.h>
#include <cpuid.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/personality.h>
#include <sys/rseq.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <ucontext.h>

static bool change(struct target *target) {
  *target->secret = CHANGE;
  return true;
}

/* --- frames of signals, and PKRU --- */

static void *hidden_code;

static void call_it(void) {
  volatile uint64_t answer = ((uint64_t(*)(void))hidden_code)();
  _exit(answer == SECRET ? 77 : 0);
}

static void jump_by_frame(int signal, siginfo_t *info, void *context) {
  (void)signal, (void)info;
  ((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP] = (greg_t)call_it;
}

/* A frame that goes to a function of ours shows that frames are believed; it then calls the image. */
static bool returns_by_a_forged_frame(struct target *target) {
  struct sigaction action = {.sa_sigaction = jump_by_frame, .sa_flags = SA_SIGINFO};
  hidden_code = target->hidden;
  sigaction(SIGUSR1, &action, NULL);
  raise(SIGUSR1);
  return false;
}

/* PKRU is component 9 of the extended state: Intel SDM vol. 1, 13.4.1 and 13.4.3. */
static void open_every_key(int signal, siginfo_t *info, void *context) {
  uint32_t size, offset, c, d;
  (void)signal, (void)info;
  char *registers = (char *)((ucontext_t *)context)->uc_mcontext.fpregs;
  __cpuid_count(0xd, 9, size, offset, c, d);
  *(uint64_t *)(registers + 512) |= 1 << 9;
  *(uint32_t *)(registers + offset) = 0;
}

static bool opens_keys_by_a_frame(struct target *target) {
  struct sigaction action = {.sa_sigaction = open_every_key, .sa_flags = SA_SIGINFO};
  sigaction(SIGUSR1, &action, NULL);
  raise(SIGUSR1);
  return change(target);
}

static bool opens_keys_itself(struct target *target) {
  __asm__ volatile("wrpkru" : : "a"(0), "c"(0), "d"(0));
  return change(target);
}

/* --- a frame of the gate's, forged --- */

static void find_call(const struct mapping *mapping, void *at_) {
  const uint8_t **at = at_;
  if (strcmp(mapping->protection, "r-xp") != 0 || *at) return;
  /* xor %ebx, %ebx; call *%r11 */
  *at = memmem((const void *)mapping->low, mapping->high - mapping->low, "\x31\xdb\x41\xff\xd3", 5);
}

/* Into the gate, behind all its checks: it calls what the frame says. */
static bool jumps_into_the_gate(struct target *target) {
  static uint64_t frame[64] __attribute__((aligned(16))), stack[8192] __attribute__((aligned(16)));
  const uint8_t *at = NULL;
  each_mapping(1ul << 45, (1ul << 45) + SLOT_BYTES, find_call, (void *)&at);
  while (at && memcmp(at, "\x48\x8b\x3b", 3))
    at--; /* the first argument is loaded: mov (%rbx), %rdi */
  hidden_code = target->hidden;
  frame[7] = (uint64_t)call_it;
  frame[8] = (uint64_t)(stack + 8000);
  if (!at) return false;
  __asm__ volatile("jmp *%0" : : "r"(at), "b"(frame) : "memory");
  return false;
}

/* --- handlers and masks --- */

static bool takes_the_handler(struct target *target) {
  signal(SIGSEGV, SIG_DFL);
  CALL_INT(target->image, "crash");
  return false;
}

static bool takes_the_stack(struct target *target) {
  sigaltstack(&(stack_t){.ss_flags = SS_DISABLE}, NULL);
  CALL_INT_INT(target->image, "recurse", 0);
  return false;
}

static void *block_and_crash(void *target) {
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, NULL);
  CALL_INT(((struct target *)target)->image, "crash");
  return NULL;
}

static bool blocks_after_a_call(struct target *target) {
  block_and_crash(target);
  return false;
}

static bool blocks_before_a_call(struct target *target) {
  pthread_join(start_thread(block_and_crash, target), NULL);
  return false;
}

static volatile bool came_inside;

/* In an image's call it runs on the image's FS. */
static void note_where(int signal) {
  (void)signal;
  uint64_t fs;
  __asm__ volatile("movq %%fs:0, %0" : "=r"(fs));
  came_inside |= fs >> 45 == 1;
}

static bool comes_inside(struct target *target) {
  struct itimerval soon = {{0, 20000}, {0, 20000}}, never = {{0, 0}, {0, 0}};
  setitimer(ITIMER_REAL, &soon, NULL);
  CALL_INT_INT(target->image, "linger", 10000000);
  setitimer(ITIMER_REAL, &never, NULL);
  return came_inside;
}

static void handle_alarm(struct target *target) {
  (void)target;
  sigaction(SIGALRM, &(struct sigaction){.sa_handler = note_where, .sa_flags = SA_ONSTACK}, NULL);
}

/* A mapping's first call looks for handlers. */
static void handle_alarm_in_time(struct target *target) {
  handle_alarm(target);
  CALL_INT(map_image("math"), "counter_next");
}

static bool handles_alarm_now(struct target *target) {
  handle_alarm(target);
  return comes_inside(target);
}

/* --- other ways to the kernel --- */

static bool switches_traps_off_by(struct target *target, bool by_int_0x80) {
  long number = by_int_0x80 ? 172 : 0x40000000 | SYS_prctl;
  if (by_int_0x80)
    __asm__ volatile("int $0x80"
                     : "+a"(number)
                     : "b"(PR_SET_SYSCALL_USER_DISPATCH), "c"(0), "d"(0), "S"(0), "D"(0)
                     : "memory", "r8", "r9", "r10", "r11");
  else
    number = syscall(number, PR_SET_SYSCALL_USER_DISPATCH, 0, 0, 0, 0);
  return (int)number == 0 && CALL_INT(target->image, "make_pipe") == 1;
}

static bool switches_traps_off_by_int_0x80(struct target *target) {
  return switches_traps_off_by(target, true);
}

static bool switches_traps_off_by_x32(struct target *target) {
  return switches_traps_off_by(target, false);
}

static bool asks_by_x32(struct target *target) {
  (void)target;
  return syscall(0x40000000 | SYS_getpid) == getpid();
}

static bool has_x32_calls(void) { return syscall(0x40000000 | SYS_getpid) == getpid(); }

static bool lacks_x32_calls(void) { return !has_x32_calls(); }

static bool asks_by_int_0x80(struct target *target) {
  long number = 20; /* getpid */
  (void)target;
  __asm__ volatile("int $0x80" : "+a"(number) : : "memory", "r8", "r9", "r10", "r11");
  return (int)number == getpid();
}

/* A filter that says that closing has been done: mprotect(2) to what pages have at rest. */
static struct sock_filter lies[] = {
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mprotect, 0, 3),
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[2])),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PROT_READ, 0, 1),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
};

static bool lies_about_closing(struct target *target, bool by_prctl) {
  struct sock_fprog program = {sizeof lies / sizeof *lies, lies};
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  if (by_prctl ? prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program)
               : syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program))
    return false;
  ((uint64_t(*)(uint64_t))stub_of(target->image, "keep"))(SECRET);
  return change(target);
}

static bool lies_by_seccomp(struct target *target) { return lies_about_closing(target, false); }
static bool lies_by_prctl(struct target *target) { return lies_about_closing(target, true); }

/* Pages that are closed as readable stay executable. */
static bool reads_imply_execution(struct target *target) {
  personality((unsigned long)personality(0xffffffff) | READ_IMPLIES_EXEC);
  CALL_LONG(target->image, "hidden_address");
  return ((uint64_t(*)(void))target->hidden)() == SECRET;
}

static bool has_an_ldt(void) {
  struct user_desc segment;
  return syscall(SYS_modify_ldt, 0, &segment, sizeof segment) >= 0;
}

static bool makes_a_segment(struct target *target) {
  struct user_desc segment = {.limit = 0xfffff, .seg_32bit = 1, .limit_in_pages = 1};
  (void)target;
  return syscall(SYS_modify_ldt, 1, &segment, sizeof segment) == 0;
}

/* --- FS and GS --- */

static long set_base(int which, uint64_t base) {
  long result = SYS_arch_prctl;
  __asm__ volatile("syscall" : "+a"(result) : "D"((long)which), "S"(base) : "rcx", "r11", "memory");
  return result;
}

/* No libc in between: it would not find its thread. */
__attribute__((optimize("no-stack-protector"))) static bool calls_with_fs(struct target *target,
                                                                          uint64_t fs) {
  uint64_t own;
  set_base(ARCH_GET_FS, (uint64_t)&own);
  uint64_t (*keep)(uint64_t) = (uint64_t(*)(uint64_t))stub_of(target->image, "keep");
  if (set_base(ARCH_SET_FS, fs)) return false;
  keep(CHANGE);
  set_base(ARCH_SET_FS, own);
  return false;
}

static bool calls_with_its_own_fs(struct target *target) {
  return calls_with_fs(target, (uint64_t)__builtin_thread_pointer());
}

static bool calls_with_the_images_fs(struct target *target) {
  return calls_with_fs(target, CALL_LONG(target->image, "thread_pointer"));
}

static bool calls_with_no_fs(struct target *target) { return calls_with_fs(target, 0); }

/* Succeeds if the call does not leave it as it is. */
static bool loses_gs(struct target *target) {
  uint64_t mine = (uint64_t)target, after = 0;
  set_base(ARCH_SET_GS, mine);
  CALL_INT_INT(target->image, "crash", 0);
  set_base(ARCH_GET_GS, (uint64_t)&after);
  return after != mine;
}

/* --- core dumps --- */

static _Noreturn void dump(struct target *target) {
  struct rlimit unlimited = {RLIM_INFINITY, RLIM_INFINITY};
  CALL_INT(target->image, "scramble");
  setrlimit(RLIMIT_CORE, &unlimited);
  signal(SIGQUIT, SIG_DFL);
  if (chdir(folder) == 0) raise(SIGQUIT);
  _exit(1);
}

/* What is searched for is known only to the image, when the core is dumped. */
static bool is_in_a_core(struct target *target) {
  char path[700];
  struct stat facts;
  pid_t child = fork();
  if (child == 0) dump(target);
  waitpid(child, NULL, 0);
  snprintf(path, sizeof path, "%s/core", folder);
  int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0 || fstat(file, &facts)) return false;
  char *core = mmap(NULL, (size_t)facts.st_size, PROT_READ, MAP_PRIVATE, file, 0);
  uint64_t scrambled = SECRET * 0x9e3779b97f4a7c15;
  unlink(path);
  return core != MAP_FAILED &&
         memmem(core, (size_t)facts.st_size, &scrambled, sizeof scrambled) != NULL;
}

/* --- arguments that change --- */

#define SHORT 30000
#define LONG  60000

static char text[LONG + 2];

static void *toggle(void *end) {
  for (;;) {
    *(volatile char *)end = 'b';
    *(volatile char *)end = 0;
  }
  return NULL;
}

/* The end of a string is gone by the time that it is copied: does the image read on? */
static bool changes_an_argument(struct target *target) {
  struct mm_function *length_of = function_of(target->image, "length_of");
  const char *argument = text;
  void *arguments[] = {&argument};
  uint64_t length = 0;
  memset(text, 'a', LONG);
  mm_request_call(length_of, &length, arguments, NULL); /* lies in the mailbox from now on */
  text[SHORT + 1] = 0;
  start_thread(toggle, text + SHORT);
  for (int i = 0; i < 3000; i++) {
    mm_request_call(length_of, &length, arguments, NULL);
    if (length > SHORT + 1) return true;
  }
  return false;
}

/* --- restartable sequences: rseq(2) --- */

#define TRAP_FLAG 0x100

static volatile uint64_t *volatile rseq_secret UNUSED;
static struct rseq_cs section __attribute__((aligned(32)));
extern char mm_rseq_abort[];

/* Where the kernel goes on if the thread was interrupted in the section: in the middle of the Matchmaker. */
__asm__(".pushsection .text\n"
        "\t.long 0x53053053\n"
        "mm_rseq_abort:\n"
        "\tmovq rseq_secret(%rip), %rax\n"
        "\tmovq $0x1234567, (%rax)\n"
        "\tmovl $231, %eax\n"
        "\tmovl $77, %edi\n"
        "\tsyscall\n"
        ".popsection");

static void find_code(const struct mapping *mapping, void *unused) {
  (void)unused;
  if (strcmp(mapping->protection, "r-xp") != 0 || section.start_ip) return;
  section.start_ip = mapping->low;
  section.post_commit_offset = mapping->high - mapping->low;
}

static struct rseq *rseq_area;
static int rseq_steps;

/* Each instruction traps. Before the chosen one of the Matchmaker the section is announced: the next trap is a signal
 * within it. Nothing traps any more where the image's FS is loaded. */
static void announce(int signal, siginfo_t *info, void *context) {
  greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
  uint64_t fs;
  (void)signal, (void)info;
  __asm__ volatile("movq %%fs:0, %0" : "=r"(fs));
  bool is_inside = registers[REG_RIP] >> 45 == 1;
  if (is_inside && --rseq_steps == 0) rseq_area->rseq_cs = (uint64_t)&section;
  if (fs >> 45 == 1 || rseq_steps < 0 || (!is_inside && rseq_steps == 0))
    registers[REG_EFL] &= ~TRAP_FLAG;
}

static void handle_traps(struct target *target) {
  (void)target;
  sigaction(SIGTRAP,
            &(struct sigaction){.sa_sigaction = announce, .sa_flags = SA_SIGINFO | SA_ONSTACK},
            NULL);
}

/* Its exit status is 77 if the secret could be changed, 1 if the call has got to the image. */
static _Noreturn void call_interrupted(struct target *target, int steps) {
  uint64_t (*keep)(uint64_t) = (uint64_t(*)(uint64_t))stub_of(target->image, "keep");
  dup2(open("/dev/null", O_WRONLY | O_CLOEXEC), 2);
  for (int i = 0; i < 3; i++) keep(SECRET); /* what it needs is known from now on */
  rseq_area = (struct rseq *)((char *)__builtin_thread_pointer() + __rseq_offset);
  rseq_steps = steps;
  __asm__ volatile("pushfq\n\torq %0, (%%rsp)\n\tpopfq" : : "i"(TRAP_FLAG) : "memory", "cc");
  keep(SECRET);
  _exit(rseq_steps > 0);
}

static bool is_interrupted(struct target *target) {
  int status = 0;
  rseq_secret = target->secret;
  section.abort_ip = (uint64_t)mm_rseq_abort;
  each_mapping(1ul << 45, (1ul << 45) + SLOT_BYTES, find_code, NULL);
  for (int steps = 1; status != 1 << 8 && steps < 5000; steps += 16) {
    pid_t child = fork();
    if (child == 0) call_interrupted(target, steps);
    waitpid(child, &status, 0);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77) return true;
  }
  return false;
}

static bool has_rseq(void) { return __rseq_size > 0; }

static const struct attack attacks[] = {
    {.name = "a forged signal frame", .run = returns_by_a_forged_frame, .succeeds = NONE_AND_KEYS},
    {.name = "a signal frame with another PKRU",
     .run = opens_keys_by_a_frame,
     .succeeds = EVERYWHERE,
     .with_keys = true},
    {.name = "WRPKRU", .run = opens_keys_itself, .succeeds = EVERYWHERE, .with_keys = true},
    {.name = "a jump into the gate", .run = jumps_into_the_gate, .succeeds = NONE_AND_KEYS},
    {.name = "another handler of SIGSEGV",
     .kills = true,
     .run = takes_the_handler,
     .succeeds = {[NONE] = true, [KEYS] = true}},
    {.name = "no alternate stack", .kills = true, .run = takes_the_stack, .succeeds = BUT_LOCKDOWN},
    {.name = "a thread that blocks all signals, then calls",
     .kills = true,
     .run = blocks_before_a_call},
    {.name = "a thread that has called, and blocks all signals",
     .run = blocks_after_a_call,
     .kills = true,
     .succeeds = {[NONE] = true, [KEYS] = true, [KEYS_LOCKDOWN] = true}},
    {.name = "a signal comes during a call", .run = comes_inside, .before = handle_alarm_in_time},
    {.name = "a signal comes during a call, its handler new",
     .run = handles_alarm_now,
     .succeeds = {[NONE] = true, [PAGES] = true, [LOCKDOWN] = true}},
    {.name = "int 0x80",
     .run = asks_by_int_0x80,
     .succeeds = BUT_LOCKDOWN,
     .applies = has_32_bit_calls},
    {.name = "switches the traps off by int 0x80",
     .run = switches_traps_off_by_int_0x80,
     .succeeds = BUT_LOCKDOWN,
     .applies = has_32_bit_calls},
    {.name = "an x32 number", .run = asks_by_x32, .applies = lacks_x32_calls},
    {.name = "switches the traps off by an x32 number",
     .run = switches_traps_off_by_x32,
     .succeeds = BUT_LOCKDOWN,
     .applies = has_x32_calls},
    {.name = "a filter that lies, by seccomp",
     .run = lies_by_seccomp,
     .succeeds = {[NONE] = true, [PAGES] = true, [STRICT] = true}},
    {.name = "a filter that lies, by prctl",
     .run = lies_by_prctl,
     .succeeds = {[NONE] = true, [PAGES] = true, [STRICT] = true}},
    {.name = "personality",
     .run = reads_imply_execution,
     .succeeds = {true, true, true, true, [KEYS_LOCKDOWN] = true}},
    {.name = "modify_ldt", .run = makes_a_segment, .succeeds = BUT_LOCKDOWN, .applies = has_an_ldt},
    {.name = "calls with its own FS", .run = calls_with_its_own_fs, .succeeds = EVERYWHERE},
    {.name = "calls with the image's FS", .run = calls_with_the_images_fs},
    {.name = "calls with no FS", .run = calls_with_no_fs},
    {.name = "loses its GS", .run = loses_gs},
    {.name = "changes an argument while it is copied", .run = changes_an_argument},
    {.name = "a core dump shows what is sealed",
     .run = is_in_a_core,
     .succeeds = UP_TO_GUARD,
     .sealed = true,
     .applies = dumps_to_a_file},
    {.name = "a restartable sequence in the Matchmaker",
     .run = is_interrupted,
     .succeeds = BUT_KEYS,
     .closes = true,
     .before = handle_traps,
     .applies = has_rseq},
};

int main(int count, char **arguments) {
  return try_attacks(attacks, sizeof attacks / sizeof *attacks, count, arguments);
}
