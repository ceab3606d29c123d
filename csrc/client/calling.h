/* client/calling.h - what the files that make calls share.
 * Owns:    nothing.
 * Threads: of the thread that calls, within its hold.
 * Signals: not for handlers.
 * Errors:  messages name the export, the argument and the prototype. */
#ifndef MM_CLIENT_CALLING_H
#define MM_CLIENT_CALLING_H

#include "client/client.h"

/* What one call needs at hand. */
struct mm__calling {
  const struct mm__core_table *core;
  struct mm_function *function;
  struct mm__hold hold;
  struct mm_error *error;
};

static inline const char *mm__name_of(const struct mm_function *function) {
  return function->image->registry.strings + function->export->name;
}
static inline uint32_t mm__parameter_index(const struct mm_function *function, uint32_t index) {
  return function->registry->members[function->type->first_member + index].type;
}
static inline const struct mm__type *mm__parameter_type(const struct mm_function *function,
                                                        uint32_t index) {
  return &function->registry->types[mm__parameter_index(function, index)];
}
static inline const struct mm__type *mm__result_type(const struct mm_function *function) {
  return &function->registry->types[function->type->target];
}

/* --- arguments.c --- */

/* What is wrong with argument number `index`, from 0: a predicate. Gives `status`. */
int mm__argument_refuse(const struct mm_function *function, uint32_t index, struct mm_error *error,
                        int status, const char *format, ...) __attribute__((format(printf, 5, 6)));

/* Checks the pointers, copies the strings into the mailbox, and fills `arguments`, for
 * mm__thunk_call; `staged` has room for one a parameter, and stays as long. Errors: MM_ERROR_OWNER,
 * MM_ERROR_STALE, MM_ERROR_LIMIT. */
int mm__arguments_stage(const struct mm__calling *calling, const struct mm__value *values,
                        void **arguments, const char **staged);

/* The arguments of one call as mm_request_call gets them, by their exact types; `values` has room for
 * one a parameter. MM_ERROR_NULL. */
int mm__arguments_read(const struct mm_function *function, void **args, struct mm__value *values,
                       struct mm_error *error);

/* --- call.c --- */

/* The image could not be taken, with this status: says of what, and why. */
int mm__call_not_entered(const struct mm__calling *calling, int status);
/* Why the thread's last call did not return; names and symbols come in here. */
int mm__call_explain_outcome(const struct mm__calling *calling);

#endif
