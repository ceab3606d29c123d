/* core/fault/fault.h - signals: faults of image code, strays of the client, and what is none of
 * ours.
 * Owns:    the handlers of SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP and SIGSYS while the Matchmaker
 *          is mapped, and, around the host's own asynchronous handlers, wrappers that put them off
 *          until a call has ended.
 * Threads: handlers touch only the interrupted thread's record and the image it is in.
 * Signals: this is the code that runs in them: no libc, no allocation.
 * Errors:  an image's fault ends its call; everything else goes where it would have gone without
 *          us. */
#ifndef MM_CORE_FAULT_FAULT_H
#define MM_CORE_FAULT_FAULT_H

#include "core/state.h"

#include <ucontext.h>

/* What the kernel calls (gate/x86_64/handler.S): MM__HANDLER_LEVELS entries of each, which go on to
 * its `handle` with AC clear. `level`: the host's handler that was displaced by that entry. */
extern const uint8_t mm__fault_handlers[], mm__deferred_handlers[], mm__deadline_handlers[];
void mm__fault_handle(int signal, siginfo_t *info, void *context, uint32_t level);
void mm__deferred_handle(int signal, siginfo_t *info, void *context, uint32_t level);
void mm__deadline_handle(int signal, siginfo_t *info, void *context, uint32_t level);

/* Installs our handlers, and puts the previous ones back where ours still are; false: the kernel
 * refused. Under mm__core_lock, tables open. */
int mm__signals_install(struct mm_error *error);
bool mm__signals_restore(void);
/* For a server: all but the synchronous signals are its own. Tables open. */
void mm__signals_serve(void);
/* Looks for handlers that the host installed since the last look, and wraps or replaces them. Takes
 * mm__core_lock. */
void mm__signals_look(void);
/* The same, if SIGSEGV or SIGSYS has another handler than ours; the others are not looked at. */
void mm__signals_glance(void);
/* Makes our handler the signal's. Tables open. */
long mm__signal_take(int signal);
/* Installs an entry of ours again, where the kernel has taken it away: SA_RESETHAND. */
void mm__signal_keep(int signal, uint32_t level);

/* --- defer.c --- */

/* A signal of the host: put off during a call, else on to its handler. */
void mm__asynchronous(int signal, siginfo_t *info, ucontext_t *context, uint32_t level);
/* Raises what was put off during a call. */
void mm__deferred_raise(struct mm__thread_record *thread);
/* It is not to come. */
void mm__deferred_drop(struct mm__thread_record *thread, int signal);
/* In a child: pending signals are not inherited, nor are these. */
void mm__deferred_adopt(struct mm__thread_record *thread);

/* --- deadline.c --- */

/* Chooses a real-time signal that nobody uses. Tables open. */
void mm__deadline_start(void);
/* Whether calls can be limited. MM_ERROR_UNSUPPORTED: every real-time signal was in use. */
int mm__deadline_check(uint64_t timeout_ns, struct mm_error *error);
/* Around a thread's outermost call. False: the kernel has no timer left. */
bool mm__deadline_arm(struct mm__thread_record *thread, uint64_t timeout_ns);
void mm__deadline_disarm(struct mm__thread_record *thread);
/* In a handler: the signal comes soon, and again and again, to end the call as `ending` says. */
void mm__deadline_hasten(struct mm__thread_record *thread, ucontext_t *context);
/* The thread's timer goes. */
void mm__deadline_forget(struct mm__thread_record *thread);

/* --- interrupt.c --- */

/* Whether SIGINT ends calls; else it is a signal like any other. */
bool mm__interrupt_ends(void);
/* A SIGINT in a call: ends it, or sees to it that it ends soon. True: and that is all. */
bool mm__interrupt(uint32_t slot, struct mm__thread_record *thread, ucontext_t *context);
/* One outside of image code, in the thread with this FS: if that waits for an image, the wait ends.
 * True: and that is all. */
bool mm__interrupt_wait(uint64_t fs);
/* Whether a call that was interrupted there is in a state in which it can be ended: what the
 * Matchmaker is changing for it must be whole. */
bool mm__may_end(uint32_t slot, const struct mm__thread_record *thread, uint64_t instruction);
/* Ends it with the status that `ending` says. */
void mm__end_now(uint32_t slot, struct mm__thread_record *thread, ucontext_t *context);
/* The status with which a call ends that is marked so; the interrupt is used up. */
int32_t mm__ending_take(struct mm__thread_record *thread);

/* Ends the current call of image `slot` from within a handler: fills the outcome, redirects
 * `context` to the gate. */
void mm__fault_end(uint32_t slot, ucontext_t *context, const struct mm__outcome *outcome);
/* The part of it that needs no context: `mask` is the signal mask that the caller of the call gets
 * back. Returns the frame to be ended. */
struct mm__frame *mm__fault_keep(uint32_t slot, const struct mm__outcome *outcome, uint64_t mask);

/* Hands a signal on to the handler that was there before ours, exactly as the kernel would have. */
void mm__forward(int signal, siginfo_t *info, ucontext_t *context, uint32_t level);

/* Runs the host's handler as the kernel would have: on the alternate stack if it asked for that,
 * else on the stack of what was interrupted. Does not return then. */
void mm__deliver(const struct mm__action *host, int signal, siginfo_t *info, ucontext_t *context);

/* Whether it is not the kernel that calls our handler, but a handler of the host, which found ours
 * there. The kernel puts the context right behind the return address (x64_setup_rt_frame), and on
 * the alternate stack, if there is one; a frame that mm__deliver moved lies elsewhere. */
static inline bool mm__is_chained(const ucontext_t *context, const void *handler_frame) {
  const stack_t *alternate = &context->uc_stack;
  bool has_alternate = !(alternate->ss_flags & SS_DISABLE) && alternate->ss_size;
  bool on_alternate = (uint64_t)context - (uint64_t)alternate->ss_sp < alternate->ss_size;
  return (uint64_t)context != (uint64_t)handler_frame + 16 || (has_alternate && !on_alternate);
}
#define MM__IS_CHAINED(context) mm__is_chained(context, __builtin_frame_address(0))
/* Then it is the turn of the handler that this entry of ours displaced. */
void mm__chained(int signal, siginfo_t *info, void *context, uint32_t level);

/* Says what a stray access of the client was, before it is forwarded. */
void mm__reject(uint64_t address, uint64_t instruction, uint32_t access);

/* What happened, for people: "SIGSEGV writing 0x0". */
void mm__outcome_text(const struct mm__outcome *outcome, char *text, size_t size);

void mm__trace_enter(const struct mm__frame *frame);
void mm__trace_leave(const struct mm__frame *frame);

#endif
