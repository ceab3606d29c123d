/* unit/attack_image_test.c - what image code tries on its client, and on the kernel: attack.h. */
#include "attack.h"
#include "ring.h"

#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>

#define ASK_ALL(number, a, b, c, d, e)                                                             \
  ((int64_t(*)(int64_t, int64_t, int64_t, int64_t, int64_t, int64_t))stub_of(                      \
      target->image, "ask"))(number, (int64_t)(a), (int64_t)(b), (int64_t)(c), (int64_t)(d),       \
                             (int64_t)(e))
#define ASK(number, a, b, c) ASK_ALL(number, a, b, c, 0, 0)
#define ASK_FOR(number, count)                                                                     \
  ((int64_t(*)(int64_t, int64_t))stub_of(target->image, "ask_for"))(number, count)

static void switches_traps_off(struct target *target) {
  (void)target;
  syscall(SYS_prctl, PR_SET_SYSCALL_USER_DISPATCH, 0, 0, 0, 0);
}

/* --- system calls --- */

static bool asks_the_32_bit_way(struct target *target) {
  return ((int64_t(*)(int64_t))stub_of(target->image, "ask_32"))(20) == getpid();
}

static bool asks_by_an_x32_number(struct target *target) {
  return ASK(0x40000000 | SYS_getpid, 0, 0, 0) == getpid();
}

/* The kernel is to write into the client's memory. */
static bool hands_over_a_pointer(struct target *target) {
  struct timespec time = {0};
  return ASK(SYS_clock_gettime, CLOCK_MONOTONIC, &time, 0) == 0 && (time.tv_sec || time.tv_nsec);
}

static bool forks(struct target *target) {
  int64_t child = ASK(SYS_fork, 0, 0, 0);
  if (child == 0) _exit(0);
  return child > 0;
}

static bool sends_a_signal(struct target *target) { return ASK(SYS_kill, getppid(), 0, 0) == 0; }

static bool opens_a_file(struct target *target) {
  return ASK(SYS_open, target->entry, O_RDONLY, 0) != -EPERM;
}

/* The number is the image's no more: the client has closed it, and opened something else. */
static bool uses_a_descriptor_of_the_clients(struct target *target) {
  int number = (int)ASK(SYS_socket, AF_UNIX, SOCK_STREAM, 0);
  int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
  close(number);
  return number >= 0 && dup2(file, number) == number &&
         ASK(SYS_lseek, number, 0, SEEK_END) == lseek(file, 0, SEEK_END);
}

/* --- by what the kernel does later, or on another's behalf --- */

static volatile uint64_t treasure;

static bool makes_a_ring(struct target *target) { return ASK_FOR(SYS_io_uring_setup, 1) >= 0; }
static bool makes_requests(struct target *target) { return ASK_FOR(SYS_io_setup, 1) >= 0; }
static bool watches_faults(struct target *target) { return ASK(SYS_userfaultfd, 1, 0, 0) >= 0; }

static bool has_watched_faults(void) {
  int file = (int)syscall(SYS_userfaultfd, 1);
  if (file >= 0) close(file);
  return file >= 0;
}

/* Into a pipe that the image may have learned of. */
static bool splices_the_client(struct target *target) {
  int ends[2];
  uint64_t value = 0;
  struct iovec page = {(void *)&treasure, 8};
  treasure = CHANGE;
  return pipe(ends) == 0 && ASK_ALL(SYS_vmsplice, ends[1], &page, 1, 0, 0) == 8 &&
         read(ends[0], &value, 8) == 8 && value == CHANGE;
}

static bool writes_by_process_vm(struct target *target) {
  struct iovec here = {(void *)target->secret, 8}, there = {(void *)&treasure, 8};
  treasure = CHANGE;
  return ASK_ALL(SYS_process_vm_writev, getpid(), &here, 1, &there, 1) == 8 && treasure == SECRET;
}

/* --- the client's memory and code --- */

static bool writes_to_the_client(struct target *target) {
  treasure = 1;
  ((int (*)(volatile uint64_t *, uint64_t))stub_of(target->image, "write_to"))(&treasure, CHANGE);
  return treasure == CHANGE;
}

static bool reads_from_the_client(struct target *target) {
  treasure = CHANGE;
  return ((uint64_t(*)(volatile uint64_t *))stub_of(target->image, "read_from"))(&treasure) ==
         CHANGE;
}

static int answer(void) { return 42; }

static bool jumps_into_the_client(struct target *target) {
  return ((int (*)(int (*)(void)))stub_of(target->image, "jump_to"))(answer) == 42;
}

/* --- calls that do not end well --- */

static bool never_returns(struct target *target) {
  struct mm_error error;
  ((void (*)(void))stub_of(target->image, "loop"))();
  return mm_take_fault(&error) != MM_ERROR_DEADLINE;
}

static bool recurses(struct target *target) {
  struct mm_error error;
  CALL_INT_INT(target->image, "recurse", 0);
  return mm_take_fault(&error) != MM_ERROR_FAULT;
}

static bool eats_memory(struct target *target) {
  int64_t at = ASK(SYS_brk, 0, 0, 0);
  return ASK(SYS_brk, at + (2l << 30), 0, 0) > at; /* the limit is 1 GiB */
}

/* --- callbacks --- */

static int callback_status;

static void fail(void *result, void **arguments, void *user) {
  (void)result, (void)arguments, (void)user;
  mm_callback_fail("no");
}

static bool goes_on_after_a_failed_callback(struct target *target) {
  return call_back(target, fail) != MM_ERROR_CALLBACK;
}

static void pull_the_rug(void *result, void **arguments, void *user) {
  (void)result, (void)arguments, (void)user;
  callback_status = mm_reset(callback_target->image, NULL) == MM_OK ||
                    mm_unmap(callback_target->image, NULL) == MM_OK || mm_finalize(NULL) == MM_OK;
}

static bool pulls_the_rug_in_a_callback(struct target *target) {
  return call_back(target, pull_the_rug) != MM_OK || callback_status;
}

static void leave(void *result, void **arguments, void *user) {
  (void)result, (void)arguments, (void)user;
  exit(42);
}

/* Succeeds if the process does not end as it wanted to. */
static bool ends_in_a_callback(struct target *target) {
  int status;
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) call_back(target, leave);
  waitpid(child, &status, 0);
  return !WIFEXITED(status) || WEXITSTATUS(status) != 42;
}

static const struct attack attacks[] = {
    {.name = "the image asks by int 0x80", .run = asks_the_32_bit_way, .applies = has_32_bit_calls},
    {.name = "the image asks by int 0x80, the traps switched off",
     .run = asks_the_32_bit_way,
     .succeeds = BUT_LOCKDOWN,
     .before = switches_traps_off,
     .applies = has_32_bit_calls},
    {.name = "the image asks by an x32 number", .run = asks_by_an_x32_number},
    {.name = "the image hands over a pointer", .run = hands_over_a_pointer},
    {.name = "the image hands over a pointer, the traps switched off",
     .run = hands_over_a_pointer,
     .succeeds = {[NONE] = true, [PAGES] = true, [STRICT] = true},
     .closes = true,
     .before = switches_traps_off},
    {.name = "the image forks", .run = forks},
    {.name = "the image sends a signal", .run = sends_a_signal},
    {.name = "the image sends a signal, the traps switched off",
     .run = sends_a_signal,
     .succeeds = BUT_LOCKDOWN,
     .before = switches_traps_off},
    {.name = "the image opens a file", .run = opens_a_file},
    {.name = "the image uses a number that the client has taken",
     .run = uses_a_descriptor_of_the_clients,
     .grants = MM_GRANT_SOCKETS},
    {.name = "the image uses a number that the client has taken, the traps switched off",
     .run = uses_a_descriptor_of_the_clients,
     .succeeds = BUT_LOCKDOWN,
     .before = switches_traps_off,
     .grants = MM_GRANT_SOCKETS},
    {.name = "the image makes an io_uring", .run = makes_a_ring, .applies = has_rings},
    {.name = "the image makes an io_uring, the traps switched off",
     .run = makes_a_ring,
     .succeeds = BUT_LOCKDOWN,
     .before = switches_traps_off,
     .applies = has_rings},
    {.name = "the image makes asynchronous requests",
     .run = makes_requests,
     .applies = has_requests},
    {.name = "the image makes asynchronous requests, the traps switched off",
     .run = makes_requests,
     .succeeds = BUT_LOCKDOWN,
     .before = switches_traps_off,
     .applies = has_requests},
    {.name = "the image makes a userfaultfd", .run = watches_faults, .applies = has_watched_faults},
    {.name = "the image makes a userfaultfd, the traps switched off",
     .run = watches_faults,
     .succeeds = BUT_LOCKDOWN,
     .before = switches_traps_off,
     .applies = has_watched_faults},
    {.name = "the image splices the client's memory", .run = splices_the_client},
    {.name = "the image splices the client's memory, the traps switched off",
     .run = splices_the_client,
     .succeeds = BUT_LOCKDOWN,
     .before = switches_traps_off},
    {.name = "the image writes by process_vm_writev", .run = writes_by_process_vm},
    {.name = "the image writes by process_vm_writev, the traps switched off",
     .run = writes_by_process_vm,
     .succeeds = BUT_LOCKDOWN,
     .before = switches_traps_off},
    {.name = "the image writes to the client",
     .run = writes_to_the_client,
     .succeeds = BUT_KEYS,
     .closes = true},
    {.name = "the image reads from the client",
     .run = reads_from_the_client,
     .succeeds = EVERYWHERE},
    {.name = "the image jumps into the client",
     .run = jumps_into_the_client,
     .succeeds = {true, true, true, [LOCKDOWN] = true, [KEYS_LOCKDOWN] = true}},
    {.name = "the image never returns", .run = never_returns, .timeout_ns = 200000000},
    {.name = "the image recurses for ever", .run = recurses},
    {.name = "the image eats memory", .run = eats_memory},
    {.name = "goes on after a failed callback", .run = goes_on_after_a_failed_callback},
    {.name = "pulls the rug in a callback", .run = pulls_the_rug_in_a_callback},
    {.name = "ends in a callback", .run = ends_in_a_callback},
};

int main(int count, char **arguments) {
  return try_attacks(attacks, sizeof attacks / sizeof *attacks, count, arguments);
}
