/* unit/attack_reset_test.c - changes that are to outlive a reset of the image: attack.h. */
#include "attack.h"
#include "swap.h"

#include <sys/syscall.h>
#include <sys/uio.h>

static void change_it(const struct target *target) {
  ((uint64_t(*)(uint64_t))stub_of(target->image, "keep"))(CHANGE);
}

static bool outlives_a_reset(const struct target *target) {
  return mm_reset(target->image, NULL) != MM_OK || secret_now(target) != SECRET;
}

static bool changes(struct target *target) {
  change_it(target);
  return secret_now(target) == CHANGE;
}

static bool changes_and_resets(struct target *target) {
  change_it(target);
  return outlives_a_reset(target);
}

/* --- swapped out --- */

static int sibling_done[2];

static void advise_parent(void *secret) {
  struct iovec page = {secret, PAGE};
  int parent = (int)syscall(SYS_pidfd_open, getppid(), 0);
  syscall(SYS_process_madvise, parent, &page, 1, ADVISE_PAGE_OUT, 0);
  close(parent);
}

/* It was there before the lockdown. */
static void starts_a_swapper(struct target *target) {
  int ends[2];
  char byte;
  if (pipe(ends) || pipe(sibling_done)) _exit(1);
  target->wake = ends[1];
  if (fork()) return;
  if (read(ends[0], &byte, 1) == 1) swap_on_each_processor(advise_parent, (void *)target->secret);
  _exit(write(sibling_done[1], "", 1) != 1);
}

static void swap_it_out(const struct target *target) {
  char byte;
  change_it(target);
  if (write(target->wake, "", 1) != 1 || read(sibling_done[0], &byte, 1) != 1) _exit(1);
  if (swapped_pages((const void *)target->secret, PAGE) != 1) printf("not ok: still in memory ");
}

static bool swaps_out(struct target *target) {
  swap_it_out(target);
  return secret_now(target) == CHANGE;
}

static bool swaps_out_and_resets(struct target *target) {
  swap_it_out(target);
  return outlives_a_reset(target);
}

/* --- written by others --- */

static void be_written(void *result, void **arguments, void *user) {
  const uint64_t value = CHANGE;
  struct iovec here = {(void *)&value, 8}, there = {(void *)callback_target->secret, 8};
  (void)result, (void)arguments, (void)user;
  pid_t child = fork();
  if (child == 0) _exit(process_vm_writev(getppid(), &here, 1, &there, 1, 0) != 8);
  waitpid(child, NULL, 0);
}

static bool is_written_in_a_call(struct target *target) {
  call_back(target, be_written);
  return secret_now(target) == CHANGE;
}

static bool is_written_in_a_call_and_resets(struct target *target) {
  call_back(target, be_written);
  return outlives_a_reset(target);
}

static bool writes_by_descriptor_and_resets(struct target *target) {
  const uint64_t value = CHANGE;
  return pwrite(target->memory, &value, 8, (off_t)target->secret) == 8 && outlives_a_reset(target);
}

static const struct attack attacks[] = {
    {.name = "a change, without a reset", .run = changes, .succeeds = EVERYWHERE},
    {.name = "a change outlives a reset", .run = changes_and_resets},
    {.name = "a change that is swapped out, without a reset",
     .run = swaps_out,
     .succeeds = EVERYWHERE,
     .user = ROOT,
     .before = starts_a_swapper,
     .applies = swap_begin},
    {.name = "a change that is swapped out outlives a reset",
     .run = swaps_out_and_resets,
     .user = ROOT,
     .before = starts_a_swapper,
     .applies = swap_begin},
    {.name = "another process writes during a call, without a reset",
     .run = is_written_in_a_call,
     .succeeds = BUT_LOCKDOWN},
    {.name = "what another process writes during a call outlives a reset",
     .run = is_written_in_a_call_and_resets},
    {.name = "what is written by /proc/self/mem outlives a reset",
     .run = writes_by_descriptor_and_resets,
     .succeeds = {[PAGES] = true, [STRICT] = true, [LOCKDOWN] = true}},
};

int main(int count, char **arguments) {
  int status = try_attacks(attacks, sizeof attacks / sizeof *attacks, count, arguments);
  swap_end();
  return status;
}
