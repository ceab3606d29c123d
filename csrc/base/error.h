/* base/error.h - fills a caller's struct mm_error.
 * Owns:    nothing.
 * Threads: pure.
 * Signals: safe anywhere.
 * Errors:  returns the status it was given, so that `return mm__fail(...)` reads well. */
#ifndef MM_BASE_ERROR_H
#define MM_BASE_ERROR_H

#include "matchmaker.h"

/* Clears the error and sets its status and message. `error` may be NULL. Returns `status`. */
int mm__fail(struct mm_error *error, int status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The same, for a system call that failed: keeps `number` (errno) and appends its text. */
int mm__fail_system(struct mm_error *error, int status, int number, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Puts "NAME: " before a failure's message, for who speaks of bytes and does not know the file. */
int mm__fail_named(struct mm_error *error, int status, const char *name);

/* Appends the prototype that a call did not fit, unless the line would be too long for both. */
void mm__fail_prototype(struct mm_error *error, const char *prototype);

/* Whether a call that was running ended so: the image was reset, or is dead. */
static inline bool mm__ends_call(int status) {
  return status == MM_ERROR_FAULT || status == MM_ERROR_EXIT || status == MM_ERROR_DEADLINE ||
         status == MM_ERROR_INTERRUPTED || status == MM_ERROR_CALLBACK || status == MM_ERROR_SERVER;
}

/* The text of an errno value without libc ("No such file or directory"), never NULL. */
const char *mm__errno_text(int number);
/* Its name ("ENOENT"). */
const char *mm__errno_name(int number);
/* The name of a signal ("SIGSEGV"), "signal" when unknown. */
const char *mm__signal_name(int number);

#endif
