/* client/client.h - what the client's files and the binding share: handles, and calls with values.
 * Owns:    an image's handle owns its copy of the registry, its functions and its symbols.
 * Threads: any; a handle's lists are under its lock, its calls under the image's turn.
 * Signals: not for handlers.
 * Errors:  0 or a negative mm_status, with a complete line in the struct mm_error. */
#ifndef MM_CLIENT_CLIENT_H
#define MM_CLIENT_CLIENT_H

#include "core/interface.h"
#include "matchmaker.h"

#include <pthread.h>

struct mm__batch;
struct mm__builder;
struct mm__heap;
struct mm__thunk;
struct mm__closure;
struct mm__callback_type;
struct mm__symbol_table;

struct mm_image {
  uint32_t slot;
  uint64_t serial; /* with the slot, the Matchmaker's name for one mapping */
  char *path;      /* absolute: the client may change its folder */
  void *block;     /* our copy of the registry: names outlive the mapping */
  struct mm__registry registry;
  pthread_mutex_t lock; /* of the lists below */
  struct mm_function *functions;
  struct mm__symbol_table *symbols; /* read at the first fault */
  struct mm__heap *heap;            /* under the image's turn: heap.c */
  struct mm__builder *builder;      /* of types that are named by text: type.c; one thread's */
  struct mm__registry types;        /* what it has so far */
  struct mm__callback_type *callback_types;
  struct mm_callback *callbacks, *released_callbacks; /* the latter ran still, when last seen */
  uint32_t users;                                     /* who holds it, and calls that run */
  bool is_mapped;                                     /* as far as this handle knows */
  uint32_t *callable;    /* the binding's: set to whether its stubs may be called as they are */
  struct mm_image *next; /* of all handles */
};

/* A call of it begins, and has ended: whoever comes last frees the handle. */
void mm__image_use(struct mm_image *image);
void mm__image_drop(struct mm_image *image);

/* How the last call through a stub in this thread ended; as mm_take_fault, which tells more. */
int32_t mm__call_status(void);
/* Says in the image's word `callable` whether it is mapped and has no callbacks. */
void mm__image_mark(struct mm_image *image);

struct mm_function {
  struct mm_image *image;
  const struct mm__export *export;
  const struct mm__registry *registry; /* that its type is of */
  const struct mm__type *type;
  struct mm__builder *builder; /* of a type that spells out a variadic call; else NULL */
  struct mm__registry spelled; /* its registry */
  struct mm__thunk *thunk;
  void *stub;
  struct mm_function *next;
};

/* One argument or result, by the kind of its type. */
struct mm__value {
  union {
    int64_t integer; /* signed and unsigned integers, enums, bool; widened */
    float single;
    double number;
    long double extended;
    const void *pointer;
    const char *string;
    void *bytes; /* of a type that mm__by_value tells: an argument's, which are only read, or room
                    of the caller's for a result; NULL: the result does not matter */
  } as;
  uint64_t length;     /* of a string, without its NUL; a NULL string has none */
  uint32_t generation; /* a pointer argument is from this generation of the image; 0: not known. A
                          string that has one lies in the image */
  bool is_temporary;   /* the caller's: a callback that lives for this call */
};

/* Whether values of that type are handled as bytes. */
static inline bool mm__by_value(const struct mm__type *type) {
  return type->kind == MM__STRUCT || type->kind == MM__UNION || type->kind == MM__COMPLEX;
}

/* Whether they point to functions. */
static inline bool mm__points_to_function(const struct mm__registry *registry,
                                          const struct mm__type *type) {
  return type->kind == MM__POINTER && registry->types[type->target].kind == MM__FUNCTION;
}

/* Calls with `values`, one per parameter, which the caller has checked for type and range. Strings
 * are copied in; a string result is copied out into memory of this thread, valid until its next
 * call. Errors: as mm_request_call, and MM_ERROR_STALE. */
int mm__function_call(struct mm_function *function, const struct mm__value *values,
                      struct mm__value *result, struct mm_error *error);

/* The same, and the call may take so long, whatever the image was mapped with. */
int mm__function_call_within(struct mm_function *function, uint64_t timeout_ns,
                             const struct mm__value *values, struct mm__value *result,
                             struct mm_error *error);

/* --- batch.c: many calls of one function in as few crossings as may be, within a hold --- */

/* Whether its calls can be made so: they take scalars and strings, always as many, give scalars, and
 * none calls back. */
bool mm__batch_suits(const struct mm_function *function, const struct mm__hold *hold);
/* For so many calls, some of which are made at a time. MM_ERROR_MEMORY, _NOT_CONNECTED. */
int mm__batch_make(struct mm_function *function, uint64_t calls, struct mm__batch **batch,
                   struct mm_error *error);
void mm__batch_free(struct mm__batch *batch);
/* Whether there is room for one more call, with the strings that it has. */
bool mm__batch_takes(const struct mm__batch *batch, const struct mm__value *values);
uint32_t mm__batch_count(const struct mm__batch *batch);
/* Checks one more call, as mm__function_call does, and notes it. */
int mm__batch_note(struct mm__batch *batch, const struct mm__value *values, struct mm_error *error);
/* Makes the noted calls, up to the first that does not return; `*done` have. */
int mm__batch_call(struct mm__batch *batch, uint32_t *done, struct mm_error *error);
/* What number `index` of them has returned, from 0. */
void mm__batch_result(const struct mm__batch *batch, uint32_t index, struct mm__value *value);
/* They are made, or not wanted: others can be noted. Results stay until then. */
void mm__batch_forget(struct mm__batch *batch);

/* The value of type `type`, no record, that lies at `bytes`, in C's form. Its pointers and strings
 * are the image's still. */
void mm__value_read(const struct mm__registry *registry, uint32_t type, const void *bytes,
                    struct mm__value *value);

/* --- bits.c: a bit-field whose first byte, mm__field_offset into its struct, is at `bytes`: its
 * value, widened as its type is, and setting it --- */
int64_t mm__bits_read(const struct mm__registry *registry, const struct mm__member *field,
                      const void *bytes);
void mm__bits_write(const struct mm__member *field, void *bytes, int64_t value);

/* --- memory.c: an image's memory, as its client reads and writes it. Messages are predicates.
 * `generation`: what an address is of, 0 when that is not known. Errors of all: MM_ERROR_STALE,
 * MM_ERROR_UNMAPPED, MM_ERROR_DEAD, MM_ERROR_NOT_CONNECTED. --- */

/* As mm_allocate, but it holds `content`, unless that is NULL; `generation`: which one it is of. */
int mm__image_allocate(struct mm_image *image, uint64_t bytes, const void *content,
                       uint64_t *address, uint32_t *generation, struct mm_error *error);
/* MM_ERROR_ARGUMENT when mm__image_allocate did not give it. */
int mm__image_free(struct mm_image *image, uint32_t generation, uint64_t address,
                   struct mm_error *error);
/* MM_ERROR_RESULT */
int mm__image_read(struct mm_image *image, uint32_t generation, uint64_t address, void *to,
                   uint64_t bytes, struct mm_error *error);
/* MM_ERROR_RANGE */
int mm__image_write(struct mm_image *image, uint32_t generation, uint64_t address, const void *from,
                    uint64_t bytes, struct mm_error *error);
/* Whether the image still is what it was: MM_OK, or why not. */
int mm__image_current(struct mm_image *image, uint32_t generation, struct mm_error *error);

/* Copies the string at `address` of the image into memory of this thread, valid until its next
 * call; NULL for address 0. MM_ERROR_RESULT when no string is there, MM_ERROR_MEMORY. */
int mm__image_text(struct mm_image *image, uint32_t generation, uint64_t address,
                   struct mm__value *value, struct mm_error *error);
/* The same, within a hold. */
int mm__text_take(const struct mm__core_table *core, const struct mm__hold *hold, uint64_t address,
                  struct mm__value *value, struct mm_error *error);

/* --- heap.c: blocks of any size in the area of an image's slot. Within a hold. --- */

/* Aligned to 16, with `content`; NULL: zeroed. MM_ERROR_LIMIT, MM_ERROR_MEMORY. */
int mm__heap_allocate(struct mm__heap **heap, const struct mm__core_table *core,
                      const struct mm__hold *hold, uint64_t bytes, const void *content,
                      uint64_t *address, struct mm_error *error);
/* MM_ERROR_ARGUMENT when there is no such block. */
int mm__heap_free(struct mm__heap *heap, const struct mm__core_table *core,
                  const struct mm__hold *hold, uint64_t address, struct mm_error *error);
void mm__heap_close(struct mm__heap *heap);

/* --- type.c: C types by their text --- */

/* The type that `text` names, in the scope of the image's own types: its index in image->types.
 * Indexes stay; the view may move. Errors: MM_ERROR_PROTOTYPE, MM_ERROR_MEMORY. */
int mm__image_type(struct mm_image *image, const char *text, uint32_t *type, bool *is_const,
                   struct mm_error *error);

/* Takes the image for this thread with its guard left open between calls, until mm__image_let_go.
 * Errors: MM_ERROR_UNMAPPED, _DEAD, _DEADLINE, _NOT_CONNECTED. */
int mm__image_keep_open(struct mm_image *image, struct mm__hold *hold, struct mm_error *error);
void mm__image_let_go(const struct mm__hold *hold);

/* Tells the Matchmaker where this thread's stack is. */
void mm__thread_show_stack(void);

/* The Matchmaker's table, NULL when this library is not connected. */
const struct mm__core_table *mm__core(struct mm_error *error);

/* At least `bytes` of scratch memory of this thread; NULL: out of memory. Freed when the thread
 * ends. */
char *mm__thread_text(size_t bytes);

/* Completes the facts of a fault: symbol, offset, module, and the message. `image` may be NULL. */
void mm__fault_explain(struct mm_image *image, struct mm_error *error);
/* Describes this library's mapped images, at most `limit`; returns how many there are. */
uint32_t mm__images_mapped(struct mm_client_image *images, uint32_t limit);
/* In a forked child: no thread holds the lock of the handles, or one of theirs. */
void mm__images_forked(void);
/* The handle of the mapping in `slot`, NULL when it is none of ours. */
struct mm_image *mm__image_in_slot(uint32_t slot);

/* An image gets only pointers into its own slot, and those of callbacks. */
static inline bool mm__pointer_allowed(uint64_t address, uint32_t slot) {
  return !address || mm__callback_is_stub(address) ||
         (MM__IN_ARENA(address) && MM__SLOT_OF(address) == slot);
}
static inline const char *mm__pointer_owner(uint64_t address) {
  return MM__IN_ARENA(address) ? "another image" : "the client";
}

/* --- aggregate.c --- */

/* Whether a pointer in a value of that type points out of `slot`; what it is, and the name of the
 * field that holds it. */
bool mm__aggregate_foreign(const struct mm__registry *registry, uint32_t type, const void *bytes,
                           uint32_t slot, uint64_t *address, const char **member);

/* The file's path, whatever folder the client changes to; the caller's to free. NULL: out of
 * memory. */
char *mm__absolute_path(const char *path);

/* --- grant.c --- */

/* Replaces `files` by a list of its own, with absolute names, until mm__grants_free. Errors:
 * MM_ERROR_ARGUMENT, MM_ERROR_MEMORY; nothing is to be freed then. */
int mm__grants_complete(struct mm_map_options *options, const char *path, struct mm_error *error);
void mm__grants_free(struct mm_map_options *options);

/* --- list.c: this process's entry in the list of clients. What fails is kept for mm_clients_lack.
 * --- */
void mm__list_join(bool wanted);
void mm__list_update(void);
void mm__list_leave(void);
/* A forked child has no entry until a thread of it crosses, or it maps. */
void mm__list_thread_started(void);
void mm__list_forked(void);

/* --- thunk.c: the only user of libffi --- */

/* For a function type of a registry, which is called with its first `fixed` parameters and then
 * variable ones; `name` is for messages. MM_ERROR_UNSUPPORTED, _MEMORY. */
int mm__thunk_make(const struct mm__registry *registry, uint32_t function, uint32_t fixed,
                   const char *name, struct mm__thunk **thunk, struct mm_error *error);
/* ffi_call: `arguments` are one pointer a parameter. `result` has room for 32 bytes, aligned to 16,
 * where mm__thunk_result finds the value; narrow integers come back widened. When the result goes
 * to memory, it is the address of that memory. */
void mm__thunk_call(struct mm__thunk *thunk, void *stub, void *result, void **arguments);
/* Of its arguments in memory. */
uint64_t mm__thunk_stack_bytes(const struct mm__thunk *thunk);
bool mm__thunk_returns_memory(const struct mm__thunk *thunk);
const char *mm__thunk_result(const struct mm__thunk *thunk, const void *raw);
void mm__thunk_free(struct mm__thunk *thunk);

/* The other way: `code` is a C function pointer of the thunk's type, which runs `run` with pointers
 * to the arguments. `result` has room for 16 bytes, and narrow integers must be widened; when the
 * result goes to memory, it is the address that the caller gave. */
typedef void mm__closure_run(void *result, void **arguments, void *user);
int mm__closure_make(struct mm__thunk *thunk, mm__closure_run *run, void *user,
                     struct mm__closure **closure, void **code, struct mm_error *error);
void mm__closure_free(struct mm__closure *closure);

/* --- callback.c --- */

/* A function type that callbacks of an image have; kept with the image's handle. */
struct mm__callback_type {
  const struct mm__registry *registry;
  uint32_t index; /* of the function type */
  const struct mm__type *type;
  struct mm__thunk *thunk;
  struct mm__callback_type *next;
};

/* Runs in a callback: `arguments` as results of calls have them, `result` zeroed, as arguments of calls
 * have it. A failure, which ends the call of the image, has its line in `error`. */
typedef int mm__callback_run(const struct mm_callback *callback, const struct mm__value *arguments,
                             struct mm__value *result, struct mm_error *error);

struct mm_callback {
  struct mm_image *image;
  const struct mm__callback_type *type;
  struct mm__closure *closure;
  void *pointer;
  mm__callback_run *run;
  mm_callback_function *function; /* of the C interface; else NULL */
  void *user;
  struct mm_callback *next, **at; /* in the image's list */
};

/* The type that a prototype names, or one of the image's own. Errors: MM_ERROR_PROTOTYPE,
 * MM_ERROR_UNSUPPORTED, MM_ERROR_MEMORY. */
int mm__callback_type_of(struct mm_image *image, const char *prototype,
                         const struct mm__callback_type **type, struct mm_error *error);
int mm__callback_type_at(struct mm_image *image, uint32_t index,
                         const struct mm__callback_type **type, struct mm_error *error);
/* Freed by mm_callback_release. Errors: those of mm_callback. */
int mm__callback_new(struct mm_image *image, const struct mm__callback_type *type,
                     mm__callback_run *run, mm_callback_function *function, void *user,
                     struct mm_callback **callback, struct mm_error *error);
/* With the image's handle: all that are left. */
void mm__callbacks_release(struct mm_image *image);

/* --- symbol.c: names for addresses, from the image's own symbol table --- */

/* Reads the table of the image file at `path`, if it still is the file whose head is mapped at
 * `head`. NULL when it cannot be read: the facts then go without names. */
struct mm__symbol_table *mm__symbols_read(const char *path, const struct mm__head *head);
const char *mm__symbols_name(const struct mm__symbol_table *table, uint64_t address,
                             uint64_t *offset);
void mm__symbol_table_free(struct mm__symbol_table *table);

#endif
