/* core/fork.c - what becomes of calls, locks and timers in a forked child.
 *
 * Only the thread that forked lives on there: fork(2). Its own calls go on, and come back through
 * the gate; the images that other threads were in are put back to their snapshots. A child of a
 * bare clone(2), of which pthread_atfork(3) does not tell, is found at its first crossing. */
#include "core/fault/fault.h"
#include "core/gate/gate.h"
#include "core/guard/guard.h"
#include "core/guard/strict.h"
#include "core/slot/image.h"

static uint64_t forking; /* FS of the thread that holds the locks for a fork */
static uint32_t times;   /* it has said so: once for each copy of the client library */

static bool is_abandoned(const struct mm__state *state, const struct mm__thread_record *thread) {
  return state->lock && (!thread || state->owner != &thread->seen);
}

/* Nobody is in the image any more; what it was doing is not whole. */
static void free_image(uint32_t slot) {
  struct mm__state *state = &mm__states[slot];
  state->frame = 0;
  state->depth = state->holds = state->kept_open = 0;
  state->timeout_ns = state->waited_ns = 0;
  state->guard_open = MM__OPEN_ALL; /* or half open, or half closed */
  state->all_written = 1;
  mm__guard_close(&mm__tables.records[slot], state);
  if (state->dead != MM__LOST) state->dead = MM__ABANDONED;
  state->owner = 0;
  state->lock = 0;
}

void mm__fork_adopt(struct mm__thread_record *thread) {
  for (uint32_t slot = 1; slot < MM__SLOT_COUNT; slot++) {
    if (is_abandoned(&mm__states[slot], thread)) free_image(slot);
    if (mm__states[slot].waiting)
      mm__states[slot].waiting = thread && thread->waits_for == &mm__states[slot];
  }
  for (uint32_t i = 0; i < MM__THREAD_LIMIT; i++)
    if (mm__threads[i].used && &mm__threads[i] != thread) mm__thread_forget(&mm__threads[i]);
  mm__core_lock.word = mm__life_lock.word = mm__turn_lock = 0;
  mm__strict_adopt(thread);
  mm__wiped.is_same_process = 1;
  mm__deferred_adopt(thread);
  if (thread) thread->has_timer = 0; /* timers are not inherited: timer_create(2) */
}

static void unlock(void) {
  forking = times = 0;
  mm__still_unlock(&mm__core_lock);
  mm__still_unlock(&mm__life_lock);
  mm__strict_release();
}

void mm__fork_reset(struct mm__thread_record *thread) {
  for (uint32_t slot = 1; slot < MM__SLOT_COUNT; slot++)
    if (mm__states[slot].dead == MM__ABANDONED) mm__image_reset(slot, thread, 0);
}

static bool any_abandoned(const struct mm__thread_record *thread) {
  for (uint32_t slot = 1; slot < MM__SLOT_COUNT; slot++)
    if (is_abandoned(&mm__states[slot], thread)) return true;
  return false;
}

/* Armed now, if it ever was: it may be inside a call. */
static void start_child(uint64_t fs) {
  struct mm__thread_record *thread = mm__thread_before_fork(mm__thread_anchor(fs));
  if (!thread && !any_abandoned(thread)) return;
  thread = mm__thread_arm(fs, 0);
  if (!thread || !thread->is_limited) return;
  thread->ending = MM_OK;
  mm__deadline_arm(thread, thread->limit_ns);
}

void mm__fork(enum mm__fork when) {
  uint64_t fs = mm__fs_read();
  if (when == MM__FORK_PREPARE) {
    if (forking != fs) {
      mm__strict_hold();
      mm__still_lock(&mm__life_lock);
      mm__still_lock(&mm__core_lock);
      forking = fs;
    }
    times++;
    return;
  }
  if (--times) return;
  unlock();
  if (when == MM__FORK_CHILD) start_child(fs);
}
