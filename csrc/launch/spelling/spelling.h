/* launch/spelling/spelling.h - types of the debug information, spelled in C.
 * Owns:    what it remembers of the types it met, until mm__spelling_free.
 * Threads: one.
 * Signals: none are touched.
 * Errors:  MM_ERROR_PROTOTYPE with the type that C, or the registry, does not know;
 *          MM_ERROR_MEMORY. */
#ifndef MM_LAUNCH_SPELLING_SPELLING_H
#define MM_LAUNCH_SPELLING_SPELLING_H

#include <elfutils/libdw.h>
#include <stdbool.h>

#include "matchmaker.h"
#include "signature/builder.h"

struct mm__spelling;

/* `builder` gets the declarations of the types, and must live as long. NULL: out of memory. */
struct mm__spelling *mm__spelling_new(struct mm__builder *builder);
void mm__spelling_free(struct mm__spelling *spelling); /* NULL is allowed */

/* The prototype of a function (DW_TAG_subprogram), which the caller frees, after all the types that
 * it uses were declared to the builder. A struct or union that is only pointed to, and that cannot
 * be declared, stays opaque. */
int mm__spelling_prototype(struct mm__spelling *spelling, Dwarf_Die *function, const char *name,
                           char **prototype, struct mm_error *error);

#endif
