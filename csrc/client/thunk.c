/* client/thunk.c - libffi's call interface for one function type. The only file that knows libffi.
 *
 * libffi knows nothing of packed structs, bit-fields and unions, and it takes their classes from
 * members that it lays out by itself. So it is never shown an aggregate. What goes in registers is
 * cut into its eightbytes, each a uint64_t or a double; what goes in memory is a block of bytes; a
 * result in memory is a first argument, its address. psABI x86-64 3.2.3 says that this is the same
 * call. */
#include "base/error.h"
#include "client/client.h"
#include "signature/classify.h"

#include <ffi.h>
#include <stdlib.h>
#include <string.h>

/* One of libffi's arguments: a whole parameter, or an eightbyte of one. */
struct piece {
  uint32_t parameter;
  uint16_t offset, bytes; /* bytes 0: the whole */
};

struct mm__thunk {
  ffi_cif interface;
  bool returns_memory, has_eightbytes;
  uint16_t result_offset; /* of the first byte that a register holds */
  uint32_t parameter_count;
  uint64_t stack_bytes;
  uint32_t piece_count;
  struct piece *pieces;
  ffi_type **types; /* of the pieces; before them that of the result's address */
  ffi_type *blocks; /* of the parameters that go in memory */
};

/* What is larger than 32 bytes libffi passes in memory, and what contains it too. */
static ffi_type *no_elements[] = {NULL};
static ffi_type large = {64, 8, FFI_TYPE_STRUCT, no_elements};
static ffi_type *block_elements[] = {&large, NULL};

/* Results in two registers, by their classes. */
static ffi_type *two_elements[2][2][3] = {
    {{&ffi_type_uint64, &ffi_type_uint64, NULL}, {&ffi_type_uint64, &ffi_type_double, NULL}},
    {{&ffi_type_double, &ffi_type_uint64, NULL}, {&ffi_type_double, &ffi_type_double, NULL}},
};
static ffi_type two_registers[2][2] = {
    {{16, 8, FFI_TYPE_STRUCT, two_elements[0][0]}, {16, 8, FFI_TYPE_STRUCT, two_elements[0][1]}},
    {{16, 8, FFI_TYPE_STRUCT, two_elements[1][0]}, {16, 8, FFI_TYPE_STRUCT, two_elements[1][1]}},
};

static ffi_type *integer_type(const struct mm__type *type) {
  bool is_signed = type->kind == MM__SIGNED;
  switch (type->size) {
  case 1:
    return is_signed ? &ffi_type_sint8 : &ffi_type_uint8;
  case 2:
    return is_signed ? &ffi_type_sint16 : &ffi_type_uint16;
  case 4:
    return is_signed ? &ffi_type_sint32 : &ffi_type_uint32;
  default:
    return is_signed ? &ffi_type_sint64 : &ffi_type_uint64;
  }
}

static ffi_type *scalar_type(const struct mm__registry *registry, const struct mm__type *type) {
  switch (type->kind) {
  case MM__VOID:
    return &ffi_type_void;
  case MM__BOOL:
    return &ffi_type_uint8; /* psABI 3.1.2: one byte, 0 or 1 */
  case MM__SIGNED:
  case MM__UNSIGNED:
    return integer_type(type);
  case MM__ENUM:
    return integer_type(&registry->types[type->target]);
  case MM__FLOAT:
    return type->size == 4   ? &ffi_type_float
           : type->size == 8 ? &ffi_type_double
                             : &ffi_type_longdouble;
  default:
    return &ffi_type_pointer;
  }
}

static ffi_type *eightbyte_type(enum mm__class class) {
  return class == MM__SSE ? &ffi_type_double : &ffi_type_uint64;
}

/* --- how a function type is shown to libffi --- */

struct making {
  struct mm__thunk *thunk;
  const struct mm__registry *registry;
  const struct mm__passing *passing; /* of each type up to the function's */
  struct mm__registers left;
};

static void add_piece(struct making *making, ffi_type *type, struct piece piece) {
  struct mm__thunk *thunk = making->thunk;
  thunk->types[thunk->returns_memory + thunk->piece_count] = type;
  thunk->pieces[thunk->piece_count++] = piece;
}

static void add_eightbytes(struct making *making, uint32_t parameter, uint32_t size,
                           const struct mm__passing *passing) {
  for (uint16_t i = 0; i < 2; i++) {
    uint16_t offset = 8 * i, bytes = (uint16_t)(size < offset + 8u ? size - offset : 8);
    enum mm__class class = mm__classify_eightbyte(passing, i);
    if (class == MM__NO_CLASS) continue; /* nothing but padding */
    add_piece(making, eightbyte_type(class), (struct piece){parameter, offset, bytes});
  }
  making->thunk->has_eightbytes = true;
}

static void add_parameter(struct making *making, uint32_t parameter, uint32_t index) {
  const struct mm__type *type = &making->registry->types[index];
  const struct mm__passing *passing = &making->passing[index];
  bool in_registers = mm__classify_take(passing, &making->left);
  if (!mm__by_value(type)) {
    add_piece(making, scalar_type(making->registry, type), (struct piece){parameter, 0, 0});
  } else if (in_registers) {
    add_eightbytes(making, parameter, type->size, passing);
  } else {
    making->thunk->blocks[parameter] =
        (ffi_type){type->size, type->align, FFI_TYPE_STRUCT, block_elements};
    add_piece(making, &making->thunk->blocks[parameter], (struct piece){parameter, 0, 0});
  }
}

static ffi_type *result_type(struct making *making, uint32_t index) {
  const struct mm__type *type = &making->registry->types[index];
  const struct mm__passing *passing = &making->passing[index];
  if (!mm__by_value(type)) return scalar_type(making->registry, type);
  if (mm__classify_returns_memory(type, passing)) {
    making->thunk->returns_memory = true;
    making->thunk->types[0] = &ffi_type_pointer;
    making->left.integers--;
    return &ffi_type_pointer;
  }
  if (type->size == 32) return &ffi_type_complex_longdouble;
  enum mm__class low = mm__classify_eightbyte(passing, 0);
  enum mm__class high = mm__classify_eightbyte(passing, 1);
  if (low == MM__X87) return &ffi_type_longdouble;
  if (high == MM__NO_CLASS) return eightbyte_type(low);
  if (low != MM__NO_CLASS) return &two_registers[low == MM__SSE][high == MM__SSE];
  making->thunk->result_offset = 8;
  return eightbyte_type(high);
}

/* One block of memory: the thunk, and what it points to. */
static struct mm__thunk *allocate(uint32_t count) {
  uint32_t most = 2 * count + 1;
  size_t blocks = sizeof(struct mm__thunk), types = blocks + count * sizeof(ffi_type);
  size_t pieces = types + most * sizeof(ffi_type *);
  char *memory = calloc(1, pieces + most * sizeof(struct piece));
  if (!memory) return NULL;
  struct mm__thunk *thunk = (void *)memory;
  thunk->blocks = (void *)(memory + blocks);
  thunk->types = (void *)(memory + types);
  thunk->pieces = (void *)(memory + pieces);
  return thunk;
}

/* The classes of all types up to the function's: only a pointer refers to a later one. */
static struct mm__passing *classify_all(const struct mm__registry *registry, uint32_t function) {
  struct mm__passing *passing = malloc((function + 1) * sizeof *passing);
  for (uint32_t i = 0; passing && i <= function; i++)
    passing[i] = mm__classify(registry, i, passing);
  return passing;
}

static bool prepare(struct making *making, uint32_t function, uint32_t fixed) {
  const struct mm__type *type = &making->registry->types[function];
  struct mm__thunk *thunk = making->thunk;
  ffi_type *result = result_type(making, type->target);
  thunk->parameter_count = type->member_count;
  uint32_t fixed_pieces = 0;
  for (uint32_t i = 0; i < type->member_count; i++) {
    add_parameter(making, i, making->registry->members[type->first_member + i].type);
    if (i < fixed) fixed_pieces = thunk->returns_memory + thunk->piece_count;
  }
  thunk->stack_bytes = mm__classify_stack_bytes(making->registry, function, making->passing);
  uint32_t pieces = thunk->returns_memory + thunk->piece_count;
  ffi_status status =
      fixed_pieces < pieces
          ? ffi_prep_cif_var(&thunk->interface, FFI_DEFAULT_ABI, fixed_pieces, pieces, result,
                             thunk->types)
          : ffi_prep_cif(&thunk->interface, FFI_DEFAULT_ABI, pieces, result, thunk->types);
  return status == FFI_OK;
}

/* Why a type cannot be passed, NULL when it can. libffi lays the stack out by absolute addresses,
 * the gate moves it: they agree up to 16. */
static const char *obstacle(const struct mm__type *type, bool is_result) {
  if (!mm__by_value(type)) return NULL;
  if (type->size == 0) return "it has no bytes";
  if (type->flags & MM__TYPE_DISPUTED) return "compilers disagree about its unnamed bit-fields";
  return type->align > 16 && !is_result ? "it is aligned to more than 16 bytes" : NULL;
}

static int check_types(const struct mm__registry *registry, const struct mm__type *function,
                       const char *name, struct mm_error *error) {
  for (uint32_t i = 0; i <= function->member_count; i++) {
    bool is_result = i == function->member_count;
    uint32_t index =
        is_result ? function->target : registry->members[function->first_member + i].type;
    const char *why = obstacle(&registry->types[index], is_result);
    char text[200];
    if (!why) continue;
    mm__type_text(registry, index, NULL, text, sizeof text);
    return mm__fail(error, MM_ERROR_UNSUPPORTED, "%s: a `%s` cannot be passed by value: %s", name,
                    text, why);
  }
  return MM_OK;
}

int mm__thunk_make(const struct mm__registry *registry, uint32_t function, uint32_t fixed,
                   const char *name, struct mm__thunk **result, struct mm_error *error) {
  const struct mm__type *type = &registry->types[function];
  int status = check_types(registry, type, name, error);
  if (status != MM_OK) return status;
  struct mm__passing *passing = classify_all(registry, function);
  struct mm__thunk *thunk = passing ? allocate(type->member_count) : NULL;
  struct making making = {thunk, registry, passing, MM__ALL_REGISTERS};
  if (!thunk)
    status = mm__fail(error, MM_ERROR_MEMORY, "out of memory for a thunk");
  else if (!prepare(&making, function, fixed))
    status = mm__fail(error, MM_ERROR_UNSUPPORTED, "%s: libffi cannot call it", name);
  free(passing);
  if (status == MM_OK)
    *result = thunk;
  else
    free(thunk);
  return status;
}

/* --- calls --- */

uint64_t mm__thunk_stack_bytes(const struct mm__thunk *thunk) { return thunk->stack_bytes; }
bool mm__thunk_returns_memory(const struct mm__thunk *thunk) { return thunk->returns_memory; }
const char *mm__thunk_result(const struct mm__thunk *thunk, const void *raw) {
  return (const char *)raw + thunk->result_offset;
}

void mm__thunk_call(struct mm__thunk *thunk, void *stub, void *result, void **arguments) {
  if (!thunk->has_eightbytes && !thunk->returns_memory) {
    ffi_call(&thunk->interface, FFI_FN(stub), result, arguments);
    return;
  }
  uint64_t eightbytes[thunk->piece_count + 1], address;
  void *all[thunk->piece_count + 1], **values = all;
  if (thunk->returns_memory) *values++ = &result;
  for (uint32_t i = 0; i < thunk->piece_count; i++) {
    const struct piece *piece = &thunk->pieces[i];
    values[i] = arguments[piece->parameter];
    if (!piece->bytes) continue;
    eightbytes[i] = 0;
    memcpy(&eightbytes[i], (const char *)values[i] + piece->offset, piece->bytes);
    values[i] = &eightbytes[i];
  }
  ffi_call(&thunk->interface, FFI_FN(stub), thunk->returns_memory ? &address : result, all);
}

void mm__thunk_free(struct mm__thunk *thunk) { free(thunk); }

/* --- closures: calls that come the other way --- */

struct mm__closure {
  ffi_closure *closure; /* where it may be written */
  const struct mm__thunk *thunk;
  mm__closure_run *run;
  void *user;
};

/* Puts the pieces of the parameters together again. */
static void entered(ffi_cif *interface, void *result, void **pieces, void *closure_) {
  const struct mm__closure *closure = closure_;
  const struct mm__thunk *thunk = closure->thunk;
  uint64_t eightbytes[thunk->parameter_count + 1][2];
  void *arguments[thunk->parameter_count + 1];
  (void)interface;
  void *room = thunk->returns_memory ? *(void **)*pieces++ : NULL;
  for (uint32_t i = 0; i < thunk->piece_count; i++) {
    const struct piece *piece = &thunk->pieces[i];
    arguments[piece->parameter] = piece->bytes ? eightbytes[piece->parameter] : pieces[i];
    if (piece->bytes) eightbytes[piece->parameter][piece->offset / 8] = *(uint64_t *)pieces[i];
  }
  if (room) *(void **)result = room;
  closure->run(room ? room : result, arguments, closure->user);
  if (thunk->result_offset) memcpy(result, (char *)result + thunk->result_offset, 8);
}

void mm__closure_free(struct mm__closure *closure) {
  if (!closure) return;
  if (closure->closure) ffi_closure_free(closure->closure);
  free(closure);
}

int mm__closure_make(struct mm__thunk *thunk, mm__closure_run *run, void *user,
                     struct mm__closure **result, void **code, struct mm_error *error) {
  struct mm__closure *closure = malloc(sizeof *closure);
  if (!closure) return mm__fail(error, MM_ERROR_MEMORY, "out of memory for a callback");
  *closure = (struct mm__closure){ffi_closure_alloc(sizeof(ffi_closure), code), thunk, run, user};
  if (!closure->closure || ffi_prep_closure_loc(closure->closure, &thunk->interface, entered,
                                                closure, *code) != FFI_OK) {
    mm__closure_free(closure);
    return mm__fail(error, MM_ERROR_MEMORY, "libffi has no memory for a callback");
  }
  *result = closure;
  return MM_OK;
}
