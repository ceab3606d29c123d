/* core/slot/area.h - the part of an image's slot in which its client asks for memory, and how the
 * client reads and writes all of the image's memory.
 * Owns:    the mappings in the area; what lies in them is the client's and the image's.
 * Threads: under the image's lock.
 * Signals: not for handlers.
 * Errors:  MM_ERROR_LIMIT, MM_ERROR_RESULT (nothing can be read there), MM_ERROR_RANGE (nothing may
 *          be written there). Nothing faults, whatever the addresses are. */
#ifndef MM_CORE_SLOT_AREA_H
#define MM_CORE_SLOT_AREA_H

#include "core/state.h"

/* The four calls of the table that bear these names: core/interface.h. */
int mm__area_claim(const struct mm__hold *hold, uint64_t bytes, uint64_t *address,
                   struct mm_error *error);
int mm__area_release(const struct mm__hold *hold, uint64_t address, uint64_t bytes,
                     struct mm_error *error);
int mm__area_read(const struct mm__hold *hold, uint64_t address, void *to, uint64_t bytes,
                  struct mm_error *error);
int mm__area_write(const struct mm__hold *hold, uint64_t address, const void *from, uint64_t bytes,
                   struct mm_error *error);
/* All of it goes, as part of a reset. The guard is closed. False: the kernel refused. */
bool mm__area_empty(const struct mm__record *record, struct mm__state *state);

#endif
