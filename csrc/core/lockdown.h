/* core/lockdown.h - the process gives up, for good, what could go around the guards.
 * Owns:    nothing that could be given back.
 * Threads: all of the process are locked down together, and those that they start.
 * Signals: called from ordinary code only.
 * Errors:  below. */
#ifndef MM_CORE_LOCKDOWN_H
#define MM_CORE_LOCKDOWN_H

#include "matchmaker.h"

/* MM_OK also when it was done before. MM_ERROR_UNSUPPORTED (no seccomp), _SYSTEM (refused; a thread
 * that has a filter of its own is named). */
int mm__lockdown(struct mm_error *error);

#endif
