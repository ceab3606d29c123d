/* core/slot/image.h - maps an image into its slot, puts it back to its snapshot, unmaps it.
 * Owns:    what is put into the slot (place.h) and the copy of the head (head.h).
 * Threads: map and unmap under mm__core_lock and the image's lock; reset under the image's lock.
 * Signals: reset also runs in the gate, after a fault; never in a handler.
 * Errors:  those of mm_request_map; a failure leaves nothing mapped. */
#ifndef MM_CORE_SLOT_IMAGE_H
#define MM_CORE_SLOT_IMAGE_H

#include "core/state.h"

/* Before the first image. */
void mm__image_start(void);
int mm__image_map(const char *path, const struct mm_map_options *options, uint32_t *slot,
                  uint64_t *serial, struct mm_error *error);
int mm__image_unmap(uint32_t slot, struct mm__thread_record *thread, struct mm_error *error);
/* From now on whoever leaves the image last unmaps it; that may be now. MM_ERROR_BUSY: it is not. */
int mm__image_retire(uint32_t slot, uint64_t serial, struct mm__thread_record *thread,
                     struct mm_error *error);
/* Who has just left it, and found it retired. */
void mm__image_unmap_retired(uint32_t slot, struct mm__thread_record *thread);

/* --- reset.c --- */

int mm__image_reset(uint32_t slot, struct mm__thread_record *thread, struct mm_error *error);
/* The same for a thread that has entered the image already. */
int mm__image_reset_held(uint32_t slot, struct mm__thread_record *thread, struct mm_error *error);
/* Calls the image's on-map hooks; `reason` 0 after a map, 1 after a reset. */
int mm__image_hooks(uint32_t slot, struct mm__thread_record *thread, uint32_t reason,
                    struct mm_error *error);

#endif
