/* signature/finish.h - what a store has, as the block that goes into an image.
 * Owns:    nothing; the block is the caller's.
 * Threads: pure.
 * Signals: not for handlers; allocates.
 * Errors:  MM_ERROR_MEMORY, MM_ERROR_LIMIT. */
#ifndef MM_SIGNATURE_FINISH_H
#define MM_SIGNATURE_FINISH_H

#include "signature/store.h"

/* Only what an export or a name can reach. The store must be settled. */
int mm__finish(const struct mm__store *store, void **block, size_t *bytes);

#endif
