/* launch/debug.h - exports whose prototypes and types the debug information knows: DWARF 4 and 5,
 * in the modules themselves, beside them (.gnu_debuglink, .dwo) or under /usr/lib/debug.
 * Owns:    all that libdw reads, until mm__debug_close.
 * Threads: one.
 * Signals: none are touched.
 * Errors:  MM_ERROR_PROTOTYPE with the function and what of it cannot be an export;
 *          MM_ERROR_MEMORY. */
#ifndef MM_LAUNCH_DEBUG_H
#define MM_LAUNCH_DEBUG_H

#include "launch/launch.h"
#include "signature/builder.h"

struct mm__debug;

/* That a module has no debug information is no error before something of it is exported. `process`
 * and `builder`, which gets the types and exports, must live as long. */
int mm__debug_open(struct mm__debug **debug, const struct mm__process *process,
                   struct mm__builder *builder, struct mm_error *error);
void mm__debug_close(struct mm__debug *debug); /* NULL is allowed */

/* Exports the functions of `list`, "NAME,GLOB,...". The program's own functions come before those
 * of its libraries. A name that cannot be exported is an error. A glob is for the program and the
 * libraries that have their debug information in themselves; what it matches and cannot be exported
 * is left out, with a line on standard error. */
int mm__debug_export(struct mm__debug *debug, const char *list, struct mm_error *error);

/* Exports the function at `address`. `name` NULL: the one it has. `doc` may be NULL. */
int mm__debug_export_at(struct mm__debug *debug, uint64_t address, const char *name,
                        const char *doc, struct mm_error *error);

#endif
