/* core/gate/turn.c - waiting for an image that another thread is in.
 *
 * A thread that holds one image and waits for another may be what the other's thread waits for. So
 * each says what it waits for, and first looks whether the way from there comes back to itself.
 * Under one lock, so that of those that close a circle exactly the last one finds it; whom the way
 * passes waits, and lets go of nothing meanwhile.
 *
 * To let go of an image takes no locked instruction, which would cost a call 5 ns. So who lets go
 * may look for waiting threads before these see the lock free: then nobody wakes them, and they
 * look again by themselves.
 *
 * A strict call keeps out all others, and is no image that could be seen on that way. So who waits in
 * one lets others make theirs meanwhile. */
#include "core/gate/gate.h"

#include "base/error.h"
#include "core/guard/strict.h"

#include <linux/futex.h>
#include <time.h>

const char mm__turn_circle[] = "two images wait for each other";

#define SLEEP_NS 10000000ul

uint32_t mm__turn_lock;

int mm__turn_failed(const char *path, int status, struct mm_error *error) {
  const char *why = status == MM_ERROR_BUSY ? mm__turn_circle : mm_error_text(status);
  return mm__fail(error, status, "%s: %s", path, why);
}

static bool is_circle(const struct mm__thread_record *thread, const struct mm__state *state) {
  while (state) {
    const struct mm__thread *owner = __atomic_load_n(&state->owner, __ATOMIC_RELAXED);
    if (owner == &thread->seen) return true;
    state = owner ? ((const struct mm__thread_record *)owner)->waits_for : 0;
  }
  return false;
}

static bool announce(struct mm__thread_record *thread, const struct mm__state *state) {
  mm__lock(&mm__turn_lock);
  bool circle = is_circle(thread, state);
  thread->waits_for = circle ? 0 : state;
  mm__unlock(&mm__turn_lock);
  return !circle;
}

/* Before it is the owner: nobody is found to wait for itself. */
static void renounce(struct mm__thread_record *thread) {
  mm__lock(&mm__turn_lock);
  thread->waits_for = 0;
  mm__unlock(&mm__turn_lock);
}

static void sleep_until_passed(struct mm__state *state, uint64_t longest_ns) {
  struct timespec longest = {0, (long)(longest_ns < SLEEP_NS ? longest_ns : SLEEP_NS)};
  mm__call(SYS_futex, &state->lock, FUTEX_WAIT_PRIVATE, 1, &longest);
}

static int32_t wait(struct mm__state *state, struct mm__thread_record *thread, uint64_t wait_ns) {
  if (!announce(thread, state)) return MM_ERROR_BUSY;
  uint64_t start = wait_ns == MM__FOR_EVER ? 0 : mm__now_ns(), waited_ns = 0;
  int32_t status = MM_OK;
  bool taken;
  __atomic_fetch_add(&state->waiting, 1, __ATOMIC_SEQ_CST);
  /* The end of the call that this one is for ends the wait, too; and so does an interrupt. */
  while (!(taken = mm__turn_try(state)) && status == MM_OK) {
    sleep_until_passed(state, wait_ns - waited_ns);
    if (start) waited_ns = mm__now_ns() - start;
    status = __atomic_load_n(&thread->ending, __ATOMIC_RELAXED);
    if (status == MM_OK && waited_ns >= wait_ns) status = MM_ERROR_DEADLINE;
  }
  __atomic_fetch_sub(&state->waiting, 1, __ATOMIC_RELAXED);
  renounce(thread);
  if (!thread->seen.depth) thread->ending = MM_OK; /* which was this wait's alone */
  if (taken && status != MM_OK) mm__turn_end(state);
  if (status != MM_OK) return status;
  state->waited_ns = waited_ns;
  return MM_OK;
}

int mm__turn_wait(struct mm__state *state, struct mm__thread_record *thread, uint64_t wait_ns) {
  uint32_t depth = mm__strict_pause(thread);
  int32_t status = wait(state, thread, wait_ns), resumed = mm__strict_resume(thread, depth);
  if (resumed == MM_OK) return status;
  if (status == MM_OK) mm__turn_end(state);
  return resumed;
}

void mm__turn_pass(struct mm__state *state) {
  mm__call(SYS_futex, &state->lock, FUTEX_WAKE_PRIVATE, 1);
}
