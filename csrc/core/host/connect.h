/* core/host/connect.h - puts the Matchmaker into this process, or finds the one that is there.
 * Owns:    the Matchmaker's own segments at the arena's base.
 * Threads: any; racing connects, also from several copies of this library, agree on one Matchmaker.
 * Signals: not for handlers.
 * Errors:  MM_ERROR_UNSUPPORTED inside a slot, MM_ERROR_SLOT_TAKEN, MM_ERROR_VERSION,
 *          MM_ERROR_MEMORY. */
#ifndef MM_CORE_HOST_CONNECT_H
#define MM_CORE_HOST_CONNECT_H

#include "core/interface.h"

/* The table of the Matchmaker in this process; NULL when there can be none. */
const struct mm__core_table *mm__connect(struct mm_error *error);

/* The table of the Matchmaker that is mapped in this process now; NULL when there is none. Does not
 * wait. */
const struct mm__core_table *mm__connected(void);

/* Unmaps all of slot 0. Only after the table's init or finalize said that there is no user. */
void mm__disconnect(void);

/* Fills what every host is the same in: size, FSGSBASE, MM_TRACE. Unknown words in MM_TRACE are
 * ignored. */
void mm__host_defaults(struct mm__host *host);

#endif
