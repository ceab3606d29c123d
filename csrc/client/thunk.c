/* client/thunk.c - libffi's call interface for one export's type. The only file that knows libffi.
 * */
#include "base/error.h"
#include "client/client.h"

#include <ffi.h>
#include <stdlib.h>

struct mm__thunk {
  ffi_cif interface;
  ffi_type *types[];
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

/* NULL: a type that cannot cross yet. */
static ffi_type *type_of(const struct mm__registry *registry, uint32_t index) {
  const struct mm__type *type = &registry->types[index];
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
  case MM__STRING:
  case MM__POINTER:
    return &ffi_type_pointer;
  default:
    return NULL;
  }
}

static int refuse(const struct mm__registry *registry, const struct mm__export *export,
                  const char *what, struct mm_error *error) {
  return mm__fail(error, MM_ERROR_UNSUPPORTED, "%s: %s cannot be called yet: `%s`",
                  registry->strings + export->name, what, registry->strings + export->prototype);
}

int mm__thunk_make(const struct mm__registry *registry, const struct mm__export *export,
                   struct mm__thunk **result, struct mm_error *error) {
  const struct mm__type *type = &registry->types[export->type];
  uint32_t count = type->member_count;
  if (type->flags & MM__TYPE_VARIADIC)
    return refuse(registry, export, "a variadic function", error);
  struct mm__thunk *thunk = malloc(sizeof *thunk + count * sizeof *thunk->types);
  if (!thunk) return mm__fail(error, MM_ERROR_MEMORY, "out of memory for a thunk");
  ffi_type *returned = type_of(registry, type->target);
  bool known = returned != NULL;
  for (uint32_t i = 0; i < count; i++) {
    thunk->types[i] = type_of(registry, registry->members[type->first_member + i].type);
    known = known && thunk->types[i];
  }
  int status = MM_OK;
  if (!known)
    status = refuse(registry, export, "a function with a struct or a union by value", error);
  else if (ffi_prep_cif(&thunk->interface, FFI_DEFAULT_ABI, count, returned, thunk->types) !=
           FFI_OK)
    status = refuse(registry, export, "a function of this type", error);
  if (status != MM_OK) {
    free(thunk);
    return status;
  }
  *result = thunk;
  return MM_OK;
}

void mm__thunk_call(struct mm__thunk *thunk, void *stub, void *result, void **arguments) {
  ffi_call(&thunk->interface, FFI_FN(stub), result, arguments);
}

void mm__thunk_free(struct mm__thunk *thunk) { free(thunk); }
