/* binding/binding.h - the objects that Lua sees, and how the binding's files share them.
 * Owns:    a session is one opened module table and its mm_init; an image owns its handle;
 *          functions and pointers keep their image alive, an image its session.
 * Threads: as Lua: one state, one thread at a time.
 * Signals: none.
 * Errors:  raised as error objects; never while an image is held, never with memory in hand. */
#ifndef MM_BINDING_BINDING_H
#define MM_BINDING_BINDING_H

#include "binding/compat.h"
#include "client/client.h"
#include "matchmaker.h"

/* Every userdata begins with a `tag`, the address of its kind's byte here; the metatables are in
 * Lua's registry under the same addresses. So a check needs no table, and objects of a module that
 * was opened before stay good. */
enum mm__object {
  MM__SESSION,
  MM__IMAGE,
  MM__FUNCTION_OBJECT,
  MM__POINTER_OBJECT,
  MM__MEMORY_OBJECT,
  MM__CALLBACK_OBJECT,

  MM__ERROR,
  MM__CLIENT_LIST,
  MM__OBJECT_COUNT
};
#define MM__ARGUMENT_LIMIT 255 /* more than a prototype has */

extern const char mm__tags[MM__OBJECT_COUNT];

struct mm__lua_image;

struct mm__session {
  const char *tag;
  bool connected;               /* it has an mm_init to give back */
  struct mm__lua_image *images; /* those with a handle */
};

struct mm__lua_image {
  const char *tag;
  struct mm_image *handle; /* NULL once collected */
  struct mm__session *session;
  struct mm__lua_image *next, **at; /* in the session's list */
  uint32_t callable;                /* 1: by its stubs, too; see direct.c */
};

/* What an argument has to be, worked out once. */
enum mm__conversion {
  MM__TO_INTEGER, /* low .. high */
  MM__TO_UNSIGNED_64,
  MM__TO_ENUM, /* low .. high, or a constant's name */
  MM__TO_BOOL,
  MM__TO_FLOAT,
  MM__TO_DOUBLE,
  MM__TO_EXTENDED,
  MM__TO_STRING,
  MM__TO_POINTER,
  MM__TO_RECORD,  /* struct, union, array or complex number: record.c */
  MM__TO_NOTHING, /* void, and what cannot cross: binding refuses it */
};

struct mm__conversion_rule {
  int64_t low, high;
  uint32_t type; /* in the image's registry */
  uint8_t conversion;
};

struct mm__lua_function {
  const char *tag;
  struct mm__lua_image *image;
  struct mm_function *bound; /* NULL before the first call */
  const struct mm__export *export;
  uint32_t count;
  size_t record_bytes;                /* of all records among them */
  struct mm__conversion_rule rules[]; /* of the parameters, then of the result */
};

struct mm__lua_pointer;

/* Where a value goes to or comes from: an argument, a result, or a part of something larger.
 * Messages begin with it. */
struct mm__place {
  struct mm__lua_image *image;
  const struct mm__registry *registry; /* that the types in rules are of */
  const char *call;                    /* the name of the function; NULL: no function */
  uint32_t argument;                   /* of the call, from 1; 0: its result */
  uint32_t function;                   /* the type of the function; 0: it is a method of ours */
  bool is_callback;                    /* and no export */
  int link;                            /* index of an object of the image, for what is pushed */
  const struct mm__lua_pointer *array; /* whose element it is; NULL: no pointer's */
  const struct mm__place *outer;       /* what it is a part of; NULL: it is no part */
  uint32_t outer_type;                 /* the struct, union or array that that is */
  uint32_t index;                      /* which element of an array */
  const char *field;                   /* or which field */
};

/* A block of memory inside an image, which is freed when this is collected. Kept alive by the links
 * of the pointers into it. */
struct mm__lua_memory {
  const char *tag;
  struct mm__lua_image *image;
  uint64_t address, bytes; /* address 0: it was freed */
  uint32_t generation;
  bool is_buffer;
};

/* A pointer into an image: to `target`, some of which lie between `low` and `high`. */
struct mm__lua_pointer {
  const char *tag;
  struct mm__lua_image *image;
  struct mm__lua_memory *memory; /* that it lies in; NULL: the image's own */
  const struct mm__registry *registry;
  uint64_t address, low, high;
  uint32_t generation;
  uint32_t target;
  bool is_const; /* what it points to */
  bool is_array; /* it stands for all elements, not for the first one */
};

/* The object at `index`, or NULL when something else is there. */
static inline void *mm__object_at(lua_State *L, int index, enum mm__object kind, size_t size) {
  void *object = lua_touserdata(L, index);
  if (!object || lua_rawlen(L, index) < size || *(const char **)object != &mm__tags[kind])
    return NULL;
  return object;
}

/* --- module.c --- */

/* Pushes the metatable of a kind; made and filled by the first module that is opened in a state. */
void mm__push_metatable(lua_State *L, enum mm__object kind);
/* Pushes a new object with its tag and metatable. */
void *mm__object_new(lua_State *L, enum mm__object kind, size_t size);
/* Sets functions in the table on top of the stack, each with the value below the table as its
 * upvalue. */
void mm__set_functions(lua_State *L, const luaL_Reg *list);

/* The object at `index`, which a metamethod got as its self. Raises when it is none. */
void *mm__self(lua_State *L, int index, enum mm__object kind, size_t size);

/* --- error.c --- */

void mm__error_open(lua_State *L);
/* Pushes an error object; `error` may lie on the C stack. */
void mm__error_push(lua_State *L, const struct mm_error *error);
/* Pushes nil and an error object: `return mm__error_return(...)`. */
int mm__error_return(lua_State *L, const struct mm_error *error);
_Noreturn void mm__error_raise(lua_State *L, const struct mm_error *error);
_Noreturn void mm__raise(lua_State *L, int status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Whether an error object of that status is at `index`. */
bool mm__error_is(lua_State *L, int index, int status);
/* What a value is, for a message: "a number", "a pointer `struct box *`", "nothing". */
const char *mm__describe(lua_State *L, int index, char *text, size_t size);
/* Raises "open: argument 2 is a function, got a number". */
_Noreturn void mm__wrong_argument(lua_State *L, int index, const char *function,
                                  const char *wanted);

/* --- options.c --- */

void mm__read_config(lua_State *L, int index, struct mm_config *config);
#define MM__FILES_LIMIT 32 /* folders that Lua can grant an image */
/* `options->files` has room for MM__FILES_LIMIT; names in it are as the table has them. Raises
 * for what is no option. */
void mm__read_map_options(lua_State *L, int index, struct mm_map_options *options);
/* Checks the options in the table of a call, and returns the highest index of its list. */
int mm__read_call(lua_State *L, int index, uint64_t *timeout_ns);

/* --- image.c --- */

void mm__image_open(lua_State *L);
struct mm__lua_image *mm__image_check(lua_State *L, int index, const char *function);
/* request_map(path, options), with the session as its upvalue. */
int mm__request_map(lua_State *L);
/* Gives the handle back. */
void mm__image_collect(struct mm__lua_image *image);
/* The file's name without folders. */
const char *mm__image_name(const struct mm__lua_image *image);
const char *mm__guard_text(uint32_t guard);
/* Sets a field of the table on top of the stack. */
void mm__set_number(lua_State *L, const char *field, uint64_t number);
void mm__push_info(lua_State *L, const struct mm_image_info *info);
/* Raises an error of the method `function`. */
_Noreturn void mm__image_fail(lua_State *L, const struct mm__lua_image *image, const char *function,
                              struct mm_error *error);
/* Why nothing works any more, when the session has ended; else `error` as it is. */
void mm__image_explain(const struct mm__lua_image *image, struct mm_error *error);

/* --- clients.c --- */

void mm__clients_open(lua_State *L);
/* clients(): all of this user's. */
int mm__clients(lua_State *L);

/* --- exports.c --- */

/* Pushes the table of all exports of the image at `index`. */
void mm__push_exports(lua_State *L, int index);
/* Pushes the export that is named by the string on top of the stack, in its place. Raises
 * no_export. */
struct mm__lua_function *mm__push_export(lua_State *L, int index);

/* --- function.c --- */

void mm__function_open(lua_State *L);
/* Pushes a function for `export` of the image at `index`. */
struct mm__lua_function *mm__function_new(lua_State *L, int index, const struct mm__export *export);
/* Calls with the values from `first` to the top; `self`: the index of the function; `timeout_ns`: 0
 * for the image's own. Pushes the result, and returns how many. */
int mm__function_invoke(lua_State *L, struct mm__lua_function *function, int self, int first,
                        uint64_t timeout_ns);
/* bind(image, name, prototype), request_call(image, name, ...) and call(image, {name, ...}) */
int mm__image_bind(lua_State *L);
int mm__request_call(lua_State *L);
int mm__image_call(lua_State *L);
/* For batch.c: converts the values from `first` to the top for a call that takes no records; raises. */
void mm__function_arguments(lua_State *L, const struct mm__lua_function *function,
                            struct mm__place *place, int first, struct mm__value *values);
/* Of its arguments and results; `self`: the index of the function. */
struct mm__place mm__function_place(const struct mm__lua_function *function, int self);
const char *mm__function_name(const struct mm__lua_function *function);
const char *mm__function_prototype(const struct mm__lua_function *function);

/* --- variadic.c --- */

/* Pushes the prototype of a call of a variadic function with the values from `first` to the top,
 * among which booleans become integers. Raises where a type would be a guess. */
void mm__variadic_spell(lua_State *L, const struct mm__lua_function *function, int first);

/* --- callback.c --- */

/* A call that Lua makes, and in whose state callbacks run meanwhile. On the C stack. */
struct mm__lua_call {
  lua_State *L;
  const void *universe;
  int failure;     /* where on its stack what failed in a callback is kept */
  bool is_running; /* a callback, so that L is not ours */
  struct mm__lua_call *outer;
};

void mm__callback_open(lua_State *L);
/* Around the crossing; nothing is raised in between. begin pushes one value. */
void mm__call_begin(lua_State *L, struct mm__lua_call *call);
void mm__call_end(const struct mm__lua_call *call);
/* Puts cause and traceback into the error object on top of the stack, if a callback failed. */
void mm__call_explain(lua_State *L, const struct mm__lua_call *call);
/* callback(image, prototype, function) */
int mm__image_callback(lua_State *L);
/* Puts a callback in the place of the Lua function at `index`, if the wanted type is a function
 * pointer. */
bool mm__callback_wrap(lua_State *L, int index, const struct mm__place *place, uint32_t wanted);
/* Frees the callback at `index`, if there is one. */
void mm__callback_drop(lua_State *L, int index);
/* Whether there is a callback or an export at `index`, whose address then is the value; raises when
 * it does not fit, and for a plain function. */
bool mm__callback_from_lua(lua_State *L, int index, const struct mm__place *place, uint32_t wanted,
                           struct mm__value *value);
/* "a callback `int (int)`"; false when there is none at `index`. */
bool mm__callback_describe(lua_State *L, int index, char *text, size_t size);
/* (function, ...): calls it. */
int mm__function_apply(lua_State *L);
/* Binds it, if that was not done yet; raises. */
void mm__function_bind(lua_State *L, struct mm__lua_function *function);
/* Raises what a call of it ended in. */
_Noreturn void mm__function_raise(lua_State *L, const struct mm__lua_function *function,
                                  struct mm_error *error);

/* --- direct.c: calls that LuaJIT makes by itself --- */

/* Whether functions of that type can be called so. */
bool mm__is_direct(const struct mm__registry *registry, const struct mm__type *type);
/* The function on top of the stack is; from now on it is called so, if somebody knows how. */
void mm__direct_mark(lua_State *L);
/* use_direct(call): given by direct.lua; gives what it needs. */
int mm__use_direct(lua_State *L);

/* --- batch.c --- */

/* open(image, f) and batch(image, name, list): many calls for one opening of the guard. */
int mm__image_open_for(lua_State *L);
int mm__image_batch(lua_State *L);

/* --- place.c --- */

/* Raises "NAME: argument N is `TYPE`, ", the rest, and the prototype, or what the place is
 * otherwise. */
_Noreturn void mm__place_raise(lua_State *L, const struct mm__place *place, uint32_t type,
                               int status, const char *format, ...)
    __attribute__((format(printf, 5, 6)));
/* The same, for a value of the wrong type: "got a table". */
_Noreturn void mm__place_refuse(lua_State *L, int index, const struct mm__place *place,
                                uint32_t type);
/* Raises an error whose message is a predicate, of that place. */
_Noreturn void mm__place_fail(lua_State *L, const struct mm__place *place, struct mm_error *error);
/* "NAME: the result", "x of `struct point`" */
void mm__place_text(const struct mm__place *place, char *text, size_t size);

/* --- inspect.c --- */

/* inspect(image or path, whole): all facts in one table, or nil and an error; `whole`: checks the
 * digest of all the file. */
int mm__inspect_for(lua_State *L);

/* --- machine.c --- */

/* machine(): a table of booleans, what this machine and kernel offer. */
int mm__machine(lua_State *L);

/* --- terminal.c --- */

/* Pushes the table of what a session at a terminal wants. */
void mm__terminal_open(lua_State *L);
/* Whether SIGINT only sets a flag; the flag, which taking it clears. */
void mm__interrupt_take(bool taken);
bool mm__interrupt_came(void);

/* --- editor.c --- */

/* Adds the line editor to the table on top of the stack. */
void mm__editor_open(lua_State *L);

/* --- value.c --- */

struct mm__conversion_rule mm__rule_of(const struct mm__registry *registry, uint32_t type);
/* Converts the value at `index`, or raises. What `value->as` begins with is the C value. Not for
 * records. */
void mm__value_from_lua(lua_State *L, int index, const struct mm__place *place,
                        const struct mm__conversion_rule *rule, struct mm__value *value);
/* Pushes a value; returns how many Lua values it is: 0 for void. Not for records. */
int mm__value_to_lua(lua_State *L, const struct mm__place *place,
                     const struct mm__conversion_rule *rule, const struct mm__value *value);

/* --- record.c: bytes of any type, as they lie in C memory --- */

/* Fills the `size` bytes of a value of type `type` in the place's registry: a struct from a table
 * of its fields, a union from a table of one of them, an array from a list (one of `char` from a
 * string, too), anything else as mm__value_from_lua does. Fields and elements that the table does
 * not have are zero. Returns the generation of the image that the pointers in it are of, 0 for any.
 */
uint32_t mm__record_from_lua(lua_State *L, int index, const struct mm__place *place, uint32_t type,
                             void *bytes);
/* Pushes such a value, as the table that mm__record_from_lua takes; an array of `char` is the
 * string before its NUL. Pointers in it are of `generation`. */
void mm__record_to_lua(lua_State *L, const struct mm__place *place, uint32_t type,
                       const void *bytes, uint32_t generation);
/* The field with that name, also inside anonymous structs and unions; `offset` is from the start of
 * `type`. NULL: there is none. */
const struct mm__member *mm__record_field(const struct mm__registry *registry, uint32_t type,
                                          const char *name, uint64_t *offset);
/* An anonymous struct or union: its fields count as those of what it is in (C11 6.7.2.1, 13). */
bool mm__record_is_anonymous(const struct mm__registry *registry, const struct mm__member *member);

/* The bit-field whose first byte is at `bytes`: sets it to the value at `index`, or raises; and
 * pushes its value. */
void mm__bits_from_lua(lua_State *L, int index, const struct mm__place *place,
                       const struct mm__member *field, void *bytes);
void mm__bits_to_lua(lua_State *L, const struct mm__place *place, const struct mm__member *field,
                     const void *bytes);

/* --- wide.c: integers that a Lua number does not hold --- */

/* Takes cdata (LuaJIT) and text (elsewhere, for 64-bit parameters; with integers for unsigned ones
 * only), or raises. */
int64_t mm__wide_from_lua(lua_State *L, int index, const struct mm__place *place,
                          const struct mm__conversion_rule *rule);
/* Pushes an integer beyond 2^53, or raises. */
void mm__wide_to_lua(lua_State *L, const struct mm__place *place, uint32_t type, int64_t integer,
                     bool is_unsigned);
/* use_cdata(classify, box): what only LuaJIT's FFI can do, given by init.lua. */
int mm__use_cdata(lua_State *L);

/* --- pointer.c --- */

void mm__pointer_open(lua_State *L);
void mm__pointer_from_lua(lua_State *L, int index, const struct mm__place *place, uint32_t type,
                          struct mm__value *value);
/* Pushes a pointer into the place's image; nil for NULL. `type` is the pointer's. */
void mm__pointer_to_lua(lua_State *L, const struct mm__place *place, uint32_t type,
                        const struct mm__value *value);
/* Pushes a copy of the pointer at `index`, to be changed; both keep alive the same things. */
struct mm__lua_pointer *mm__pointer_derive(lua_State *L, int index);
/* Whether a pointer to `target` of the registry may be had from it, but for const. */
bool mm__pointer_fits(const struct mm__lua_pointer *pointer, const struct mm__registry *registry,
                      uint32_t target);
/* The C type of a pointer: "const struct box *". */
void mm__pointer_type_text(const struct mm__lua_pointer *pointer, char *text, size_t size);

/* --- view.c: what lies behind pointers --- */

void mm__view_open(lua_State *L);
/* pairs(view), for the versions without __pairs, too */
int mm__view_pairs(lua_State *L);
/* The address `count` elements further; raises when it is out of bounds: as an access to an
 * element, or else as a pointer. */
uint64_t mm__pointer_step(lua_State *L, const struct mm__lua_pointer *pointer, int64_t count,
                          bool is_access);
/* The integer at `index` of the stack, or raises. */
int64_t mm__pointer_count(lua_State *L, int index);

/* --- show.c --- */

/* tostring(pointer) */
int mm__pointer_show(lua_State *L);
/* type_of(pointer): the C type, and the image; nothing once that is gone */
int mm__pointer_type(lua_State *L);

/* --- layout.c --- */

/* layout(view), for LuaJIT's FFI: the C text of the view as a pointer to const, and its address. */
int mm__view_layout(lua_State *L);

/* --- memory.c: memory that Lua asks for --- */

void mm__memory_open(lua_State *L);
/* Sets the methods of buffers in the table on top of the stack. */
void mm__memory_methods(lua_State *L);
/* The C text at `index`, an argument of `function`; raises when it is none, or holds a NUL. */
const char *mm__c_text(lua_State *L, int index, const char *function, const char *what);
bool mm__pointer_is_buffer(const struct mm__lua_pointer *pointer);
/* Raises when what it points into was freed, or the image's handle is gone. */
void mm__pointer_alive(lua_State *L, const struct mm__lua_pointer *pointer);
/* buffer(image, n or string), new(image, type, init), cast(image, type, pointer) and string(image,
 * pointer, n) */
int mm__image_buffer(lua_State *L);
int mm__image_new(lua_State *L);
int mm__image_cast(lua_State *L);
int mm__image_string(lua_State *L);

#endif
