/* core/guard/keys.h - protection keys: which of its threads may touch an image's memory, with no
 * system call on the way in and out. Source: pkeys(7); Intel SDM vol. 3, 4.6.2.
 * Owns:    the keys that images have, one each, and their bits in PKRU of threads that cross.
 * Threads: keys are taken and given back under mm__core_lock; PKRU is each thread's own.
 * Signals: a handler starts with the kernel's PKRU, in which all keys but 0 are closed; ours opens
 *          what its thread is in before it looks at an image.
 * Errors:  no key is left: 0. PKRU that is not what it was set to stops the program. */
#ifndef MM_CORE_GUARD_KEYS_H
#define MM_CORE_GUARD_KEYS_H

#include "core/state.h"

/* What PKRU is while image code of a thread runs that closes its client: by the thread's number, plus
 * 1. Key 0 cannot be written to. */
extern uint32_t mm__rights[MM__THREAD_LIMIT + 1];
/* CPU and kernel let the client's memory be closed during a call. */
extern uint32_t mm__closing;

/* Finds out whether CPU and kernel have keys. Tables open. */
void mm__keys_start(void);
/* A key that denies writing at rest, to sealed memory reading, too. */
uint32_t mm__key_take(bool sealed);
void mm__key_give_back(uint32_t key);

/* For the calling thread, which is `thread`. */
void mm__key_open(struct mm__thread_record *thread, uint32_t key);
void mm__key_close(struct mm__thread_record *thread, uint32_t key);
/* PKRU as the thread's record says it, whatever it is. */
void mm__keys_apply(struct mm__thread_record *thread);
/* Keeps PKRU for the thread's image code, the client closed. Its index in mm__rights; 0: the thread
 * does not close it. */
uint32_t mm__keys_keep(const struct mm__thread_record *thread);
/* Whether the thread, which is the calling one, may close the client; and its end. */
void mm__keys_adopt(struct mm__thread_record *thread);
void mm__keys_forsake(struct mm__thread_record *thread);
_Noreturn void mm__keys_forged(uint32_t rights);

#endif
