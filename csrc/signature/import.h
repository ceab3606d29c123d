/* signature/import.h - makes the types of a registry known to a store.
 * Owns:    nothing; everything is copied.
 * Threads: one store, one thread.
 * Signals: not for handlers; allocates.
 * Errors:  MM_ERROR_MEMORY; MM_ERROR_PROTOTYPE when the two together are over a limit. */
#ifndef MM_SIGNATURE_IMPORT_H
#define MM_SIGNATURE_IMPORT_H

#include "matchmaker.h"
#include "signature/store.h"

int mm__import(struct mm__store *store, const struct mm__registry *registry,
               struct mm_error *error);

#endif
