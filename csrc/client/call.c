/* client/call.c - one call: take the image, check and stage the arguments, cross, read the result,
 * let the image go. */
#include "base/error.h"
#include "base/format.h"
#include "client/calling.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STRING_LIMIT MM__SLOT_BYTES

int mm__call_explain_outcome(const struct mm__calling *calling) {
  struct mm_error ours;
  struct mm_error *error = calling->error ? calling->error : &ours;
  int status = calling->core->outcome(error);
  struct mm_image *image = calling->function->image;
  /* The image that was called may have called another one. */
  if (error->slot != image->slot) image = mm__image_in_slot(error->slot);
  if (calling->error) mm__fault_explain(image, error);
  return status;
}

int mm__text_take(const struct mm__core_table *core, const struct mm__hold *hold, uint64_t address,
                  struct mm__value *value, struct mm_error *error) {
  uint64_t length = 0;
  value->as.string = NULL;
  value->length = 0;
  if (!address) return MM_OK;
  int status = core->string(hold, address, STRING_LIMIT, &length, error);
  if (status != MM_OK) return status;
  char *text = mm__thread_text(length + 1);
  if (!text)
    return mm__fail(error, MM_ERROR_MEMORY, "out of memory for a string of %lu bytes", length);
  status = core->read(hold, address, text, length, error);
  if (status != MM_OK) return status;
  text[length] = 0;
  value->as.string = text;
  value->length = length;
  return MM_OK;
}

static int take_string(const struct mm__calling *calling, struct mm__value *result) {
  int status = mm__text_take(calling->core, &calling->hold, (uint64_t)result->as.string, result,
                             calling->error);
  if (status == MM_OK || !calling->error) return status;
  char text[sizeof calling->error->message];
  memcpy(text, calling->error->message, sizeof text);
  return mm__fail(calling->error, status, "%s: the result %s", mm__name_of(calling->function),
                  text);
}

void mm__value_read(const struct mm__registry *registry, uint32_t index, const void *bytes,
                    struct mm__value *value) {
  const struct mm__type *type = &registry->types[index];
  uint32_t size = type->size;
  bool is_signed = type->kind == MM__SIGNED ||
                   (type->kind == MM__ENUM && registry->types[type->target].kind == MM__SIGNED);
  uint64_t bits = 0;
  memset(value, 0, sizeof *value);
  switch (type->kind) {
  case MM__VOID:
    return;
  case MM__FLOAT:
    memcpy(&value->as, bytes, size == 16 ? 10 : size); /* x87: psABI 3.1.2 */
    return;
  case MM__BOOL:
    value->as.integer = *(const uint8_t *)bytes != 0;
    return;
  default:
    memcpy(&bits, bytes, size);
    if (size < 8 && is_signed)
      bits = (uint64_t)((int64_t)(bits << (64 - 8 * size)) >> (64 - 8 * size));
    value->as.integer = (int64_t)bits;
  }
}

/* Where the image writes a result that does not go in registers: in its mailbox. */
static int result_room(const struct mm__calling *calling, void **room) {
  const struct mm__type *type = mm__result_type(calling->function);
  uint64_t address, align = type->align;
  int status = calling->core->stage(&calling->hold, NULL, (uint64_t)type->size + align, &address,
                                    calling->error);
  if (status != MM_OK)
    return mm__fail(calling->error, status, "%s: the result is too long: %u bytes",
                    mm__name_of(calling->function), type->size);
  *room = (void *)((address + align - 1) & -align);
  return MM_OK;
}

static int cross(const struct mm__calling *calling, void **arguments, struct mm__value *result) {
  uint8_t raw[32] __attribute__((aligned(16))) = {0};
  struct mm_function *function = calling->function;
  const struct mm__type *type = mm__result_type(function);
  void *room = raw;
  int status = mm__thunk_returns_memory(function->thunk) ? result_room(calling, &room) : MM_OK;
  if (status == MM_OK && function->builder)
    status = calling->core->stack(&calling->hold, mm__thunk_stack_bytes(function->thunk),
                                  calling->error);
  if (status != MM_OK) return status;
  calling->hold.thread->outcome.status = MM_OK;
  mm__thunk_call(function->thunk, function->stub, room, arguments);
  if (calling->hold.thread->outcome.status != MM_OK) return mm__call_explain_outcome(calling);
  if (mm__by_value(type)) {
    result->generation = calling->hold.generation;
    if (!result->as.bytes) return MM_OK;
    const char *from = mm__thunk_result(function->thunk, room);
    if (room != raw)
      return calling->core->read(&calling->hold, (uint64_t)from, result->as.bytes, type->size,
                                 calling->error);
    memcpy(result->as.bytes, from, type->size);
    return MM_OK;
  }
  /* libffi widens what is narrower than a register; only the bytes of the type count. */
  mm__value_read(function->registry, function->type->target, raw, result);
  result->generation = calling->hold.generation;
  return type->kind == MM__STRING ? take_string(calling, result) : MM_OK;
}

int mm__function_call(struct mm_function *function, const struct mm__value *values,
                      struct mm__value *result, struct mm_error *error) {
  return mm__function_call_within(function, 0, values, result, error);
}

/* The Matchmaker says why, but where that is a matter of the image's state. */
int mm__call_not_entered(const struct mm__calling *calling, int status) {
  char text[sizeof calling->error->message];
  if (status == MM_ERROR_BUSY || !calling->error) return status; /* its message says why */
  bool is_state =
      status == MM_ERROR_UNMAPPED || status == MM_ERROR_DEADLINE || status == MM_ERROR_INTERRUPTED;
  const char *why = is_state ? mm_error_text(status) : calling->error->message;
  int number = calling->error->system_error;
  snprintf(text, sizeof text, "%s", why);
  mm__fail(calling->error, status, "%s: %s", mm__name_of(calling->function), text);
  calling->error->system_error = number;
  return status;
}

int mm__function_call_within(struct mm_function *function, uint64_t timeout_ns,
                             const struct mm__value *values, struct mm__value *result,
                             struct mm_error *error) {
  struct mm_image *image = function->image;
  uint32_t count = function->type->member_count;
  struct mm__calling calling = {mm__core(error), function, {0}, error};
  if (!calling.core) return MM_ERROR_NOT_CONNECTED;
  mm__image_use(image);
  int status = calling.core->enter(image->slot, image->serial, timeout_ns, &calling.hold, error);
  if (status != MM_OK) {
    mm__call_not_entered(&calling, status);
    mm__image_drop(image);
    return status;
  }
  if (timeout_ns) status = calling.core->limit(&calling.hold, timeout_ns, error);
  void *arguments[count + 1];
  const char *staged[count + 1];
  if (status == MM_OK) status = mm__arguments_stage(&calling, values, arguments, staged);
  if (status == MM_OK) status = cross(&calling, arguments, result);
  calling.core->leave(&calling.hold);
  mm__image_drop(image);
  return status;
}

int mm__image_keep_open(struct mm_image *image, struct mm__hold *hold, struct mm_error *error) {
  const struct mm__core_table *core = mm__core(error);
  if (!core) return MM_ERROR_NOT_CONNECTED;
  int status = core->enter(image->slot, image->serial, 0, hold, error);
  if (status == MM_OK) core->keep_open(hold);
  return status;
}

void mm__image_let_go(const struct mm__hold *hold) {
  const struct mm__core_table *core = mm__core(NULL);
  if (core) core->leave(hold);
}

int mm_request_call(struct mm_function *function, void *result, void **args,
                    struct mm_error *error) {
  if (!function || (!args && function->type->member_count))
    return mm__fail(error, MM_ERROR_NULL, "mm_request_call got a null pointer");
  struct mm__value values[function->type->member_count + 1], returned;
  int status = mm__arguments_read(function, args, values, error);
  if (status != MM_OK) return status;
  /* A callback may release the image: then there is no function any more. */
  const struct mm__type type = *mm__result_type(function);
  returned.as.bytes = result;
  status = mm__function_call(function, values, &returned, error);
  if (status == MM_OK && result && !mm__by_value(&type)) memcpy(result, &returned.as, type.size);
  return status;
}
