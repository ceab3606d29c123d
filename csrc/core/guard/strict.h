/* core/guard/strict.h - during a call of a `strict` image the client's code is not executable.
 * Owns:    the permissions of the client's executable mappings while they are closed.
 * Threads: one at a time; others that run into closed code wait in their fault handler.
 * Signals: waits in the handler of SIGSEGV.
 * Errors:  MM_ERROR_LIMIT (too many mappings), MM_ERROR_SYSTEM (/proc cannot be read). */
#ifndef MM_CORE_GUARD_STRICT_H
#define MM_CORE_GUARD_STRICT_H

#include "core/state.h"

/* Around a call; they nest. */
int32_t mm__strict_enter(struct mm__thread_record *thread);
void mm__strict_leave(struct mm__thread_record *thread);
/* Around a callback in such a call: how deep it was, and as deep again. */
uint32_t mm__strict_pause(struct mm__thread_record *thread);
int32_t mm__strict_resume(struct mm__thread_record *thread, uint32_t depth);
/* Around fork(2): the child has the permissions of its parent, and nobody else in it to give them
 * back. */
void mm__strict_hold(void);
void mm__strict_release(void);
/* In a child: everything is open, and nobody in such a call. `thread` is the caller's, or none. */
void mm__strict_adopt(struct mm__thread_record *thread);
/* Client code could not be executed at `address`. True: now it can. */
bool mm__strict_wait(uint64_t address);

#endif
