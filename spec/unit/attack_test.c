/* unit/attack_test.c - ways to an image's memory and code, past the gate: attack.h. */
#include "attack.h"

#include <sys/ptrace.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>

/* --- from plain code --- */

/* Its answer is the thread pointer that it finds. */
static bool calls_an_entry(struct target *target) {
  return ((uint64_t(*)(void))target->entry)() == (uint64_t)__builtin_thread_pointer();
}

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

static bool remaps_file_pages(struct target *target) {
  return syscall(SYS_remap_file_pages, target->secret, PAGE, 0, 1, 0) == 0;
}

static bool moves_the_break(struct target *target) {
  uint64_t high = (uint64_t)target->secret + PAGE;
  return (uint64_t)syscall(SYS_brk, high) == high;
}

static void keeps_another(struct target *target) {
  ((uint64_t(*)(uint64_t))stub_of(target->image, "keep"))(CHANGE);
}

/* Brings back what an earlier call changed. */
static bool throws_away(struct target *target) {
  return madvise((void *)target->secret, PAGE, MADV_DONTNEED) == 0 && secret_now(target) == SECRET;
}

#define MADVISE_SELF(address)                                                                      \
  syscall(SYS_process_madvise, pidfd, &(struct iovec){address, PAGE}, 1, MADV_DONTNEED, 0)

/* Kernels before 6.13 have it for harmless advice only. */
static bool may_advise_itself(void) {
  void *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  int pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0);
  bool may = MADVISE_SELF(page) == (long)PAGE;
  close(pidfd);
  munmap(page, PAGE);
  return may;
}

static bool throws_away_by_pidfd(struct target *target) {
  int pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0);
  return MADVISE_SELF((void *)target->secret) == (long)PAGE && secret_now(target) == SECRET;
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

/* Its own copy of the descriptor is gone: it takes that of the process that has the image. */
static void poke_by_descriptor(const struct target *target, pid_t victim) {
  uint64_t value = CHANGE;
  close(target->memory);
  int pidfd = (int)syscall(SYS_pidfd_open, victim, 0);
  int memory = (int)syscall(SYS_pidfd_getfd, pidfd, target->memory, 0);
  if (memory >= 0 && pwrite(memory, &value, 8, (off_t)target->secret) != 8) _exit(1);
}

static bool loses_a_descriptor(struct target *target) {
  pid_t child = fork();
  if (child == 0) {
    poke_by_descriptor(target, getppid());
    _exit(0);
  }
  waitpid(child, NULL, 0);
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

static void truncate_it(const struct target *target) {
  if (truncate(target->path, PAGE)) printf("cannot truncate\n");
}

/* Succeeds if the call is not contained. */
static bool truncates_before_a_call(struct target *target) {
  truncate_it(target);
  pid_t child = fork();
  int status;
  if (child == 0) {
    CALL_LONG(target->image, "thread_pointer");
    _exit(0);
  }
  waitpid(child, &status, 0);
  return status != 0;
}

static bool truncates_before_a_read(struct target *target) {
  truncate_it(target);
  pid_t child = fork();
  int status;
  if (child == 0) _exit(secret_now(target) != 0);
  waitpid(child, &status, 0);
  return status != 0;
}

/* --- from other threads, and by what threads have --- */

static void *call_linger(void *image) {
  return (void *)(uint64_t)CALL_INT_INT((struct mm_image *)image, "linger", 10000000);
}

static bool writes_during_a_call(struct target *target) {
  void *noticed;
  pthread_t thread = start_thread(call_linger, target->image);
  while (*target->go_on != LINGERS) usleep(1000);
  *target->go_on = GO_ON;
  pthread_join(thread, &noticed);
  return noticed != NULL;
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
  void *untrapped = NULL;
  pthread_join(start_thread(call_in_a_thread, target), &untrapped);
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

static const struct attack attacks[] = {
    {.name = "calls an entry past the gate", .run = calls_an_entry, .succeeds = NONE_AND_KEYS},
    {.name = "calls code that is not exported",
     .run = calls_hidden_code,
     .succeeds = NONE_AND_KEYS},
    {.name = "jumps behind a check",
     .run = calls_the_middle,
     .succeeds = NONE_AND_KEYS,
     .sealed = true},
    {.name = "writes", .run = writes, .succeeds = UP_TO_GUARD},
    {.name = "reads", .run = reads, .succeeds = EVERYWHERE},
    {.name = "reads what is sealed", .run = reads, .succeeds = UP_TO_GUARD, .sealed = true},
    {.name = "lets the kernel write", .run = lets_the_kernel_write, .succeeds = UP_TO_GUARD},
    {.name = "lets the kernel read what is sealed",
     .run = lets_the_kernel_read,
     .succeeds = UP_TO_GUARD,
     .sealed = true},
    {.name = "mprotect",
     .run = protects,
     .succeeds = {[NONE] = true, [PAGES] = true, [STRICT] = true}},
    {.name = "pkey_mprotect", .run = protects_with_a_key, .succeeds = BUT_LOCKDOWN},
    {.name = "munmap", .run = unmaps, .succeeds = BUT_LOCKDOWN},
    {.name = "mmap", .run = maps_over, .succeeds = BUT_LOCKDOWN},
    {.name = "mmap from below the arena", .run = maps_over_from_below, .succeeds = BUT_LOCKDOWN},
    {.name = "mremap out of the image",
     .run = moves_away,
     .succeeds = {[NONE] = true, [PAGES] = true, [STRICT] = true},
     .sealed = true},
    {.name = "mremap into the image", .run = moves_over, .succeeds = BUT_LOCKDOWN},
    {.name = "shmat", .run = attaches_over, .succeeds = BUT_LOCKDOWN},
    {.name = "madvise", .run = throws_away, .succeeds = BUT_LOCKDOWN, .before = keeps_another},
    {.name = "process_madvise",
     .run = throws_away_by_pidfd,
     .succeeds = BUT_LOCKDOWN,
     .before = keeps_another,
     .applies = may_advise_itself},
    {.name = "remap_file_pages", .run = remaps_file_pages},
    {.name = "brk", .run = moves_the_break},
    {.name = "/proc/self/mem",
     .run = writes_by_proc,
     .succeeds = BUT_LOCKDOWN,
     .user = NOBODY_IN_PARTICULAR},
    {.name = "/proc/self/mem as root", .run = writes_by_proc, .succeeds = EVERYWHERE, .user = ROOT},
    {.name = "/proc/self/mem opened before", .run = writes_by_descriptor, .succeeds = EVERYWHERE},
    {.name = "process_vm_writev",
     .run = writes_by_process_vm,
     .succeeds = {[NONE] = true, [KEYS] = true}},
    {.name = "process_vm_readv of what is sealed",
     .run = reads_by_process_vm,
     .succeeds = NONE_AND_KEYS,
     .sealed = true},
    {.name = "ptrace by a child",
     .run = is_poked_by_a_child,
     .succeeds = BUT_LOCKDOWN,
     .user = NOBODY_IN_PARTICULAR},
    {.name = "ptrace by a child, as root",
     .run = is_poked_by_a_child,
     .succeeds = BUT_LOCKDOWN,
     .user = ROOT},
    {.name = "ptrace by an older process",
     .run = is_poked_by_a_sibling,
     .succeeds = BUT_LOCKDOWN,
     .user = NOBODY_IN_PARTICULAR,
     .before = starts_a_sibling},
    {.name = "ptrace by an older process, as root",
     .run = is_poked_by_a_sibling,
     .succeeds = EVERYWHERE,
     .user = ROOT,
     .before = starts_a_sibling},
    {.name = "pidfd_getfd of a descriptor of /proc/self/mem",
     .run = loses_a_descriptor,
     .succeeds = BUT_LOCKDOWN},
    {.name = "a jump to a system call of the Matchmaker",
     .run = jumps_to_a_system_call,
     .succeeds = BUT_KEYS},
    {.name = "writes during another thread's call",
     .run = writes_during_a_call,
     .succeeds = {[NONE] = true, [PAGES] = true, [LOCKDOWN] = true}},
    {.name = "switches the traps off", .run = calls_untrapped, .succeeds = BUT_LOCKDOWN},
    {.name = "switched the traps off before",
     .run = calls_untrapped_already,
     .succeeds = BUT_LOCKDOWN,
     .before = switches_traps_off},
    {.name = "calls in a child", .run = calls_in_a_child},
    {.name = "calls in a new thread", .run = calls_in_a_new_thread},
    {.name = "changes the image's file",
     .run = changes_the_file,
     .succeeds = EVERYWHERE,
     .copied = true},
    {.name = "truncates the image's file, then calls",
     .run = truncates_before_a_call,
     .copied = true},
    {.name = "truncates the image's file, then reads",
     .run = truncates_before_a_read,
     .succeeds = EVERYWHERE,
     .copied = true},
};

int main(int count, char **arguments) {
  return try_attacks(attacks, sizeof attacks / sizeof *attacks, count, arguments);
}
