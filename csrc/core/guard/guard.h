/* core/guard/guard.h - page permissions: closed at rest, open in a call.
 * Owns:    the protections of the slot's pages, as far as they differ from the slot map's.
 * Threads: under the image's lock.
 * Signals: called from the gate only.
 * Errors:  a kernel that refuses to close a page stops the program: nothing could be promised any
 *          more. */
#ifndef MM_CORE_GUARD_GUARD_H
#define MM_CORE_GUARD_GUARD_H

#include "core/state.h"

void mm__guard_open(const struct mm__record *record, struct mm__state *state);
void mm__guard_close(const struct mm__record *record, struct mm__state *state);
/* Forgets what was staged, and closes the mailbox if it was opened ahead of a call that did not
 * come. */
void mm__guard_empty_mailbox(const struct mm__record *record, struct mm__state *state);
/* What the kernel is told for pages whose image sees `protection`, at rest. */
uint32_t mm__guard_rest(uint32_t guard, uint32_t protection);
/* Makes the mailbox writable for staging, ahead of the call. */
void mm__guard_open_mailbox(const struct mm__record *record, struct mm__state *state,
                            uint64_t high);

#endif
