/* core/guard/guard.h - page permissions: closed at rest, open in a call.
 * Owns:    the protections of the slot's pages, as far as they differ from the slot map's.
 * Threads: under the image's lock.
 * Signals: called from the gate, from traps, and from the fault handler.
 * Errors:  where the kernel refuses to open a page, `refused` of the image's state says so. Where it
 *          refuses to close one, the whole slot is shut with one call, and the image is dead; if that
 *          is refused, its memory is given up; if that is, too, the program stops: nothing could be
 *          promised any more. */
#ifndef MM_CORE_GUARD_GUARD_H
#define MM_CORE_GUARD_GUARD_H

#include "core/state.h"

/* The last of these but for the program's end: for what cannot be done, nor undone. */
void mm__guard_shut_down(struct mm__state *state, long result);
/* What calls and errors say then. */
extern const char mm__guard_refused[], mm__guard_shut[];
const char *mm__guard_dead_text(uint32_t dead);
/* MM_ERROR_MEMORY, with what the kernel said; MM_ERROR_DEAD. */
int mm__guard_failed(const struct mm__state *state, struct mm_error *error);

/* False: refused. */
bool mm__guard_open(const struct mm__record *record, struct mm__state *state,
                    uint32_t export_index);
/* Not while it is kept open. */
void mm__guard_close(const struct mm__record *record, struct mm__state *state);
/* The PROT_ bits that pages keep at rest. */
uint32_t mm__guard_rest(uint32_t guard, bool sealed);
/* What the kernel is told for pages whose image sees `protection`, at rest. */
static inline uint32_t mm__at_rest(const struct mm__state *state, uint32_t protection) {
  return protection & state->rest;
}
/* [low, high) was mapped as the slot map has it: it gets the image's key, and stays out of core
 * dumps, as the image was mapped. Where that is refused the image is shut. */
void mm__guard_adopt(const struct mm__record *record, struct mm__state *state, uint64_t low,
                     uint64_t high);

/* During a call: an access that the slot map allows met a closed page. True: it is open now. */
bool mm__guard_fault(const struct mm__record *record, struct mm__state *state, uint64_t address,
                     uint32_t protection);
/* During a call: the kernel is about to touch [low, high) as `protection` says. It answers EFAULT
 * where code would have faulted. False: refused. */
bool mm__guard_need(const struct mm__record *record, struct mm__state *state, uint64_t low,
                    uint64_t high, uint32_t protection);
/* The same for all of the image: nobody knows what will be touched. */
void mm__guard_need_all(const struct mm__record *record, struct mm__state *state);
/* During a call: [low, high) was mapped, unmapped or protected, and is as the slot map has it. */
void mm__guard_changed(const struct mm__record *record, struct mm__state *state, uint64_t low,
                       uint64_t high);
/* In a call or between calls: nothing is mapped any more in [low, high). */
void mm__guard_removed(const struct mm__record *record, struct mm__state *state, uint64_t low,
                       uint64_t high);

/* Copies to where the image may write, for the client: opens what is closed, and closes it again.
 * `lent`: it is memory that a reset forgets anyhow, so that it need not be known what was written.
 * False: refused. */
bool mm__guard_write(const struct mm__record *record, struct mm__state *state, uint64_t to,
                     const void *from, uint64_t bytes, bool lent);

/* Puts the segments' memory back to the snapshot. False: the kernel refused. */
bool mm__guard_reset(const struct mm__record *record, struct mm__state *state);

/* Between calls, for the client: what mm__guard_need opens from here on closes with the guard. False:
 * it is open already. */
bool mm__guard_begin(const struct mm__record *record, struct mm__state *state);
/* Copies from where the image may read, likewise. False: refused. */
bool mm__guard_read(const struct mm__record *record, struct mm__state *state, uint64_t from,
                    void *to, uint64_t bytes);

/* Makes the mailbox writable up to `high` for staging, ahead of the call. False: refused. */
bool mm__guard_open_mailbox(const struct mm__record *record, struct mm__state *state,
                            uint64_t high);
/* Forgets what was staged above `mark`. */
void mm__guard_trim_mailbox(const struct mm__record *record, struct mm__state *state,
                            uint64_t mark);
/* Forgets what was staged, and closes the mailbox. */
void mm__guard_empty_mailbox(const struct mm__record *record, struct mm__state *state);

#endif
