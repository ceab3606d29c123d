/* core/gate/gate.h - the C half of the gate: who may cross, and what is switched.
 * Owns:    the chain of frames, per thread and per image.
 * Threads: an image runs one call at a time; a thread that already is inside may call again.
 * Signals: prepare and finish run in ordinary context; the fault handler only redirects into
 *          mm__gate_fault.
 * Errors:  a call that may not happen returns zero and leaves an outcome in the thread's record. */
#ifndef MM_CORE_GATE_GATE_H
#define MM_CORE_GATE_GATE_H

#include "core/state.h"

/* Below an image's stack pointer where it calls out: its red zone (psABI 3.2.2) and our distance. */
#define MM__CALLEE_GAP 256ul

/* Called by the assembly. prepare: 1 to go on, 0 refused. finish_fault: the next frame to end, or
 * NULL. */
uint64_t mm__gate_prepare(struct mm__frame *frame, uint64_t stub);
void mm__gate_finish(struct mm__frame *frame);
struct mm__frame *mm__gate_finish_fault(struct mm__frame *frame);
_Noreturn void mm__gate_lost(void);
void mm__gate_fault(void);
/* As interface.h says of `batch`; and what runs the calls then, in the image. */
uint64_t mm__batch_enter(void *stub, uint64_t batch, uint64_t count);
void mm__batch_run(void);
/* Every signal that is not raised by what the thread itself does. */
extern const uint64_t mm__asynchronous_mask;
_Noreturn void mm__gate_serve(uint64_t entry, uint64_t stack);
_Noreturn void mm__signal_return(uint64_t stack);
void mm__signal_restorer(void);
extern const uint8_t mm__stub_page[MM__PAGE];

/* An image that calls out with little stack left has run out of it: this faults, in its own call,
 * while there still is room to end the call that it wants to make. `frame` is on its stack. */
void mm__gate_probe(const void *frame, uint32_t slot);

/* Before a thread crosses from the client: whether its handlers, its mask and its alternate stack are
 * as calls need them; what the host changed is put right. All of it at the `first` call of a mapping,
 * and now and then; `always` what no fault of a call gets by without: the handlers of SIGSEGV and
 * SIGSYS, and the mask. False: the kernel refused. */
bool mm__gate_look(struct mm__thread_record *thread, bool first, bool always);

/* Takes an image for this thread, waiting for `wait_ns` at most, and lets go of it; counted. Errors
 * of enter: MM_ERROR_BUSY, when that is 0, or the thread that is inside waits for an image that this
 * one holds; MM_ERROR_DEADLINE, when it was not enough; the status with which the call that this
 * thread is in has to end, when that came up meanwhile. */
int mm__image_enter(struct mm__state *state, struct mm__thread_record *thread, uint64_t wait_ns);
void mm__image_leave(struct mm__state *state);
/* How long a call that may take `timeout_ns` (0: as long as the image's may) waits for its turn: a
 * call inside of one that is limited as long as that one may take, which ends the wait itself. */
static inline uint64_t mm__gate_patience(const struct mm__thread_record *thread,
                                         const struct mm__record *record, uint64_t timeout_ns) {
  if (!timeout_ns) timeout_ns = record->timeout_ns;
  return timeout_ns && !thread->is_limited ? timeout_ns : MM__FOR_EVER;
}
/* --- turn.c --- */
static inline bool mm__turn_try(struct mm__state *state) {
  uint32_t unlocked = 0;
  return __atomic_compare_exchange_n(&state->lock, &unlocked, 1, 0, __ATOMIC_ACQUIRE,
                                     __ATOMIC_RELAXED);
}
/* Waits for an image's lock, and takes it. Errors: as mm__image_enter. In a strict call those of
 * core/guard/strict.h, too: then the client's code is not closed any more. */
int mm__turn_wait(struct mm__state *state, struct mm__thread_record *thread, uint64_t wait_ns);
/* Lets go of it. */
void mm__turn_pass(struct mm__state *state);
static inline void mm__turn_end(struct mm__state *state) {
  __atomic_store_n(&state->lock, 0, __ATOMIC_RELEASE);
  __atomic_signal_fence(__ATOMIC_SEQ_CST);
  if (__atomic_load_n(&state->waiting, __ATOMIC_RELAXED)) mm__turn_pass(state);
}
/* What MM_ERROR_BUSY means then; and the error that says so of an image. */
extern const char mm__turn_circle[];
int mm__turn_failed(const char *path, int status, struct mm_error *error);
/* After a call whose results have been copied: resets the image if it was mapped stateless. */
void mm__image_settle(struct mm__state *state);

#endif
