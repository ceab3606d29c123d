/* unit/attack_test.c - ways in, tried at every level of protection: each has to succeed where it is said to.
 *
 * An attack runs in a child of its own, against an image that holds a secret. It succeeds if it returns true, or if the
 * image is changed afterwards. docs/guarantees.md is compared with what is printed here. */
#include "client.h"

#include <fcntl.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <ucontext.h>

#define SECRET 0x5ec2e7a11ba5e5ull
#define CHANGE 0x1234567ull
#define PAGE   4096ul
#define NOBODY 65534
enum { LINGERS = 1, GO_ON = 2 }; /* what `linger` says, and waits for */

enum level { NONE, PAGES, KEYS, STRICT, LOCKDOWN, LEVELS };
static const char *const level_names[] = {"none", "pages", "keys", "strict", "lockdown"};

struct target {
  struct mm_image *image;
  volatile uint64_t *secret;
  void *hidden, *middle;
  volatile int *go_on;
  char path[700]; /* of the image, where it may be changed */
  int memory;     /* /proc/self/mem, opened before the lockdown */
  pid_t sibling;  /* that waits for a byte, then attacks the parent */
  int wake;
};

enum user { ANYBODY, NOBODY_IN_PARTICULAR /* without capabilities */, ROOT };

struct attack {
  const char *name;
  bool (*run)(struct target *target);
  bool succeeds[LEVELS];
  bool sealed; /* the image is, where there is a guard */
  enum user user;
  void (*before)(struct target *target);
};

static bool lock_down(void) { return mm_lockdown(NULL) == MM_OK; }

static uint64_t secret_now(const struct target *target) {
  uint64_t value = 0;
  mm_read(target->image, (const void *)target->secret, &value, sizeof value, NULL);
  return value;
}

/* --- from plain code --- */

static bool calls_hidden_code(struct target *target) {
  return ((uint64_t(*)(void))target->hidden)() == SECRET;
}

static bool calls_the_middle(struct target *target) {
  return ((uint64_t(*)(void))target->middle)() == SECRET;
}

static bool writes(struct target *target) {
  *target->secret = CHANGE;
  return true;
}

static bool reads(struct target *target) { return *target->secret == SECRET; }

static bool lets_the_kernel_write(struct target *target) {
  int zero = open("/dev/zero", O_RDONLY | O_CLOEXEC);
  return read(zero, (void *)target->secret, 8) == 8;
}

static bool lets_the_kernel_read(struct target *target) {
  int ends[2];
  uint64_t value = 0;
  if (pipe(ends) || write(ends[1], (const void *)target->secret, 8) != 8) return false;
  return read(ends[0], &value, 8) == 8 && value == SECRET;
}

/* --- by the arena's mappings --- */

static bool protects(struct target *target) {
  return mprotect((void *)target->secret, PAGE, PROT_READ | PROT_WRITE) == 0 && writes(target);
}

/* With the key that all other memory has. */
static bool protects_with_a_key(struct target *target) {
  int key = has_keys() ? 0 : -1;
  return pkey_mprotect((void *)target->secret, PAGE, PROT_READ | PROT_WRITE, key) == 0 &&
         writes(target);
}

static bool unmaps(struct target *target) { return munmap((void *)target->secret, PAGE) == 0; }

static bool maps_over(struct target *target) {
  return mmap((void *)target->secret, PAGE, PROT_READ | PROT_WRITE,
              MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != MAP_FAILED;
}

static bool maps_over_from_below(struct target *target) {
  uint64_t low = 0x1fff00000000;
  (void)target;
  return mmap((void *)low, (1ul << 45) + (1ul << 36) - low, PROT_NONE,
              MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0) != MAP_FAILED;
}

static bool moves_away(struct target *target) {
  uint64_t *moved = mremap((void *)target->secret, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED,
                           (void *)0x700000000000);
  return moved != MAP_FAILED && mprotect(moved, PAGE, PROT_READ) == 0 && *moved == SECRET;
}

static bool moves_over(struct target *target) {
  void *other = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return mremap(other, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, target->secret) != MAP_FAILED;
}

static bool attaches_over(struct target *target) {
  int segment = shmget(IPC_PRIVATE, PAGE, 0600);
  void *at = shmat(segment, (void *)target->secret, SHM_REMAP);
  shmctl(segment, IPC_RMID, NULL);
  return at != (void *)-1;
}

static void keeps_another(struct target *target) {
  ((uint64_t(*)(uint64_t))stub_of(target->image, "keep"))(CHANGE);
}

/* Brings back what an earlier call changed. */
static bool throws_away(struct target *target) {
  return madvise((void *)target->secret, PAGE, MADV_DONTNEED) == 0 && secret_now(target) == SECRET;
}

/* --- by other ways to memory --- */

static bool writes_by_descriptor(struct target *target) {
  uint64_t value = CHANGE;
  return pwrite(target->memory, &value, 8, (off_t)target->secret) == 8;
}

static bool writes_by_proc(struct target *target) {
  target->memory = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
  return target->memory >= 0 && writes_by_descriptor(target);
}

static bool writes_by_process_vm(struct target *target) {
  uint64_t value = CHANGE;
  struct iovec here = {&value, 8}, there = {(void *)target->secret, 8};
  return process_vm_writev(getpid(), &here, 1, &there, 1, 0) == 8;
}

static bool reads_by_process_vm(struct target *target) {
  uint64_t value = 0;
  struct iovec here = {&value, 8}, there = {(void *)target->secret, 8};
  return process_vm_readv(getpid(), &here, 1, &there, 1, 0) == 8 && value == SECRET;
}

static void poke(const struct target *target) {
  pid_t parent = getppid();
  if (ptrace(PTRACE_ATTACH, parent, 0, 0)) return;
  waitpid(parent, NULL, 0);
  ptrace(PTRACE_POKEDATA, parent, target->secret, CHANGE);
  ptrace(PTRACE_DETACH, parent, 0, 0);
}

static bool is_poked_by_a_child(struct target *target) {
  pid_t child = fork();
  if (child == 0) {
    poke(target);
    _exit(0);
  }
  waitpid(child, NULL, 0);
  return false; /* the oracle tells */
}

static void starts_a_sibling(struct target *target) {
  int ends[2];
  char byte;
  if (pipe(ends)) _exit(1);
  target->wake = ends[1];
  target->sibling = fork();
  if (target->sibling) return;
  if (read(ends[0], &byte, 1) == 1) poke(target);
  _exit(0);
}

static bool is_poked_by_a_sibling(struct target *target) {
  if (write(target->wake, "", 1) != 1) return false;
  waitpid(target->sibling, NULL, 0);
  return false;
}

/* The image lies in a copy of its own. */
static bool changes_the_file(struct target *target) {
  static const uint64_t value = CHANGE;
  static char bytes[4 << 20];
  int file = open(target->path, O_RDWR | O_CLOEXEC);
  ssize_t size = read(file, bytes, sizeof bytes);
  for (ssize_t at = 0; at + 8 <= size; at += 8)
    if (*(uint64_t *)(bytes + at) == SECRET && pwrite(file, &value, 8, at) != 8) return false;
  return secret_now(target) == CHANGE;
}

/* --- from other threads, and by what threads have --- */

static void *call_linger(void *image) {
  return (void *)(uint64_t)CALL_INT_INT((struct mm_image *)image, "linger", 10000000);
}

static bool writes_during_a_call(struct target *target) {
  pthread_t thread;
  void *noticed;
  pthread_create(&thread, NULL, call_linger, target->image);
  while (*target->go_on != LINGERS) usleep(1000);
  *target->go_on = GO_ON;
  pthread_join(thread, &noticed);
  return noticed != NULL;
}

static void *hidden_code;
static volatile uint64_t answer;

static void call_it(void) {
  answer = ((uint64_t(*)(void))hidden_code)();
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

static bool calls_untrapped(struct target *target) {
  if (syscall(SYS_prctl, PR_SET_SYSCALL_USER_DISPATCH, 0, 0, 0, 0)) return false;
  return CALL_INT(target->image, "make_pipe") == 1;
}

static void switches_traps_off(struct target *target) {
  (void)target;
  syscall(SYS_prctl, PR_SET_SYSCALL_USER_DISPATCH, 0, 0, 0, 0);
}

static bool calls_untrapped_already(struct target *target) {
  return CALL_INT(target->image, "make_pipe") == 1;
}

static bool calls_in_a_child(struct target *target) {
  pid_t child = fork();
  if (child == 0) _exit(calls_untrapped_already(target) ? 77 : 0);
  int status;
  waitpid(child, &status, 0);
  return WEXITSTATUS(status) == 77;
}

static void *call_in_a_thread(void *target) {
  return calls_untrapped_already(target) ? target : NULL;
}

static bool calls_in_a_new_thread(struct target *target) {
  pthread_t thread;
  void *untrapped = NULL;
  pthread_create(&thread, NULL, call_in_a_thread, target);
  pthread_join(thread, &untrapped);
  return untrapped != NULL;
}

/* The Matchmaker's own system-call instruction, with registers of the attacker's choice; what comes behind it runs on. */
static void find_text(const struct mapping *mapping, void *at_) {
  const uint8_t **at = at_;
  if (mapping->protection[2] != 'x' || mapping->protection[0] != 'r' || *at) return;
  *at = memmem((const void *)mapping->low, mapping->high - mapping->low, "\x0f\x05\xc3", 3);
}

static bool jumps_to_a_system_call(struct target *target) {
  const uint8_t *at = NULL;
  long result = SYS_mprotect;
  each_mapping(1ul << 45, (1ul << 45) + SLOT_BYTES, find_text, (void *)&at);
  if (!at) return false;
  __asm__ volatile("call *%1"
                   : "+a"(result)
                   : "r"(at), "D"(target->secret), "S"(PAGE), "d"(PROT_READ | PROT_WRITE)
                   : "rcx", "r11", "memory");
  return result == 0 && writes(target);
}

#define NOWHERE                                                                                    \
  { false }
#define UP_TO_GUARD                                                                                \
  { [NONE] = true }
#define BUT_LOCKDOWN                                                                               \
  { [NONE] = true, [PAGES] = true, [KEYS] = true, [STRICT] = true }
#define EVERYWHERE                                                                                 \
  { true, true, true, true, true }
#define NONE_AND_KEYS                                                                              \
  { [NONE] = true, [KEYS] = true }

static const struct attack attacks[] = {
    {"calls code that is not exported", calls_hidden_code, NONE_AND_KEYS, false, ANYBODY, NULL},
    {"jumps behind a check", calls_the_middle, NONE_AND_KEYS, true, ANYBODY, NULL},
    {"writes", writes, UP_TO_GUARD, false, ANYBODY, NULL},
    {"reads", reads, EVERYWHERE, false, ANYBODY, NULL},
    {"reads what is sealed", reads, UP_TO_GUARD, true, ANYBODY, NULL},
    {"lets the kernel write", lets_the_kernel_write, UP_TO_GUARD, false, ANYBODY, NULL},
    {"lets the kernel read what is sealed", lets_the_kernel_read, UP_TO_GUARD, true, ANYBODY, NULL},
    {"mprotect", protects, {[NONE] = true, [PAGES] = true, [STRICT] = true}, false, ANYBODY, NULL},
    {"pkey_mprotect", protects_with_a_key, BUT_LOCKDOWN, false, ANYBODY, NULL},
    {"munmap", unmaps, BUT_LOCKDOWN, false, ANYBODY, NULL},
    {"mmap", maps_over, BUT_LOCKDOWN, false, ANYBODY, NULL},
    {"mmap from below the arena", maps_over_from_below, BUT_LOCKDOWN, false, ANYBODY, NULL},
    {"mremap out of the image",
     moves_away,
     {[NONE] = true, [PAGES] = true, [STRICT] = true},
     true,
     false,
     NULL},
    {"mremap into the image", moves_over, BUT_LOCKDOWN, false, ANYBODY, NULL},
    {"shmat", attaches_over, BUT_LOCKDOWN, false, ANYBODY, NULL},
    {"madvise", throws_away, BUT_LOCKDOWN, false, ANYBODY, keeps_another},
    {"/proc/self/mem", writes_by_proc, BUT_LOCKDOWN, false, NOBODY_IN_PARTICULAR, NULL},
    {"/proc/self/mem as root", writes_by_proc, EVERYWHERE, false, ROOT, NULL},
    {"/proc/self/mem opened before", writes_by_descriptor, EVERYWHERE, false, ANYBODY, NULL},
    {"process_vm_writev", writes_by_process_vm, NONE_AND_KEYS, false, ANYBODY, NULL},
    {"process_vm_readv of what is sealed", reads_by_process_vm, NONE_AND_KEYS, true, ANYBODY, NULL},
    {"ptrace by a child", is_poked_by_a_child, BUT_LOCKDOWN, false, NOBODY_IN_PARTICULAR, NULL},
    {"ptrace by a child, as root", is_poked_by_a_child, BUT_LOCKDOWN, false, ROOT, NULL},
    {"ptrace by an older process", is_poked_by_a_sibling, BUT_LOCKDOWN, false, NOBODY_IN_PARTICULAR,
     starts_a_sibling},
    {"ptrace by an older process, as root", is_poked_by_a_sibling, EVERYWHERE, false, ROOT,
     starts_a_sibling},
    {"a forged signal frame", returns_by_a_forged_frame, NONE_AND_KEYS, false, ANYBODY, NULL},
    {"a jump to a system call of the Matchmaker",
     jumps_to_a_system_call,
     {[NONE] = true, [PAGES] = true, [STRICT] = true, [LOCKDOWN] = true},
     false,
     false,
     NULL},
    {"writes during another thread's call",
     writes_during_a_call,
     {[NONE] = true, [PAGES] = true, [LOCKDOWN] = true},
     false,
     false,
     NULL},
    {"switches the traps off", calls_untrapped, BUT_LOCKDOWN, false, ANYBODY, NULL},
    {"switched the traps off before", calls_untrapped_already, BUT_LOCKDOWN, false, ANYBODY,
     switches_traps_off},
    {"calls in a child", calls_in_a_child, NOWHERE, false, ANYBODY, NULL},
    {"calls in a new thread", calls_in_a_new_thread, NOWHERE, false, ANYBODY, NULL},
    {"changes the image's file", changes_the_file, EVERYWHERE, false, ANYBODY, NULL},
};

struct trial {
  const struct attack *attack;
  enum level level;
};

static void copy_image(const char *from, const char *path) {
  static char bytes[4 << 20];
  int file = open(from, O_RDONLY | O_CLOEXEC);
  ssize_t length = read(file, bytes, sizeof bytes);
  close(file);
  file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (length <= 0 || write(file, bytes, (size_t)length) != length) _exit(1);
  close(file);
}

static void become_nobody(void) {
  if (getuid() == 0 && (setgid(NOBODY) || setuid(NOBODY) || prctl(PR_SET_DUMPABLE, 1))) _exit(1);
}

static void try(void *trial_) {
  const struct trial *trial = trial_;
  const struct attack *attack = trial->attack;
  static const uint32_t guards[] = {MM_GUARD_OPEN, MM_GUARD_PAGES, MM_GUARD_KEYS, MM_GUARD_PAGES,
                                    MM_GUARD_PAGES};
  struct mm_map_options options = {.guard = guards[trial->level],
                                   .sealed = attack->sealed && trial->level != NONE,
                                   .strict = trial->level == STRICT};
  struct target target = {.memory = open("/proc/self/mem", O_RDWR | O_CLOEXEC)};
  struct mm_error error;
  char original[640];
  snprintf(original, sizeof original, "%s/image/secret.mmi", build_folder);
  snprintf(target.path, sizeof target.path, "%s/secret.mmi", folder);
  bool copied = attack->run == changes_the_file;
  if (copied) copy_image(original, target.path);
  connect_client();
  must(mm_request_map(copied ? target.path : original, &options, &target.image, &error), &error);
#define ADDRESS(name) ((void *(*)(void))stub_of(target.image, name))()
  target.secret = ADDRESS("secret_address");
  target.hidden = ADDRESS("hidden_address");
  target.middle = ADDRESS("middle_address");
  target.go_on = ADDRESS("go_on_address");
  if (attack->user == NOBODY_IN_PARTICULAR) become_nobody();
  prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0); /* where Yama would help */
  if (attack->before) attack->before(&target);
  uint64_t before = secret_now(&target);
  if (trial->level == LOCKDOWN && !lock_down()) printf("cannot lock down\n");
  printf("begun ");
  fflush(stdout);
  bool succeeded = attack->run(&target);
  if (succeeded || secret_now(&target) != before) printf("SUCCEEDED");
}

static void try_all(const struct attack *attack) {
  char output[4096];
  for (unsigned level = 0; level < LEVELS; level++) {
    struct trial trial = {attack, level};
    if (level == KEYS && !has_keys()) continue;
    if (attack->user == ROOT && getuid()) continue;
    int status = in_child(try, &trial, output, sizeof output);
    bool succeeded =
        strstr(output, "SUCCEEDED") || (WIFEXITED(status) && WEXITSTATUS(status) == 77);
    bool right = succeeded == attack->succeeds[level] && strstr(output, "begun");
    CHECK(right);
    if (!right) printf("# status %x: %.200s\n", (unsigned)status, output);
    printf("%s attack %s, %s: %s\n", right ? "ok" : "not ok", attack->name, level_names[level],
           attack->succeeds[level] ? "not stopped" : "stopped");
    fflush(stdout);
  }
}

int main(int count, char **arguments) {
  find_folders(count, arguments);
  for (unsigned i = 0; i < sizeof attacks / sizeof *attacks; i++)
    if (count < 3 || strcmp(arguments[2], attacks[i].name) == 0) try_all(&attacks[i]);
  return failures != 0;
}
