/* client/arguments.c - the arguments of a call: what they may point to, and the strings among them. */
#include "base/error.h"
#include "base/format.h"
#include "client/calling.h"

#include <string.h>

int mm__argument_refuse(const struct mm_function *function, uint32_t index, struct mm_error *error,
                        int status, const char *format, ...) {
  char what[sizeof error->message];
  va_list list;
  if (!error) return status;
  va_start(list, format);
  mm__format_list(what, sizeof what, format, list);
  va_end(list);
  mm__fail(error, status, "%s: argument %u %s", mm__name_of(function), index + 1, what);
  error->argument = index + 1;
  mm__fail_prototype(error, function->image->registry.strings + function->export->prototype);
  return status;
}

/* An image gets only pointers into its own slot, of its present generation. */
static int check_pointer(const struct mm__calling *calling, uint32_t index, const void *pointer,
                         uint32_t generation) {
  uint64_t address = (uint64_t)pointer;
  if (!mm__pointer_allowed(address, calling->hold.slot))
    return mm__argument_refuse(calling->function, index, calling->error, MM_ERROR_OWNER,
                               "is a pointer of %s", mm__pointer_owner(address));
  if (address && generation && generation != calling->hold.generation)
    return mm__argument_refuse(calling->function, index, calling->error, MM_ERROR_STALE,
                               "is a pointer from before the image was reset");
  return MM_OK;
}

static int check_aggregate(const struct mm__calling *calling, uint32_t index, const void *bytes,
                           uint32_t generation) {
  const struct mm_function *function = calling->function;
  if (generation && generation != calling->hold.generation)
    return mm__argument_refuse(function, index, calling->error, MM_ERROR_STALE,
                               "holds a pointer from before the image was reset");
  const char *member;
  uint64_t address;
  if (!mm__aggregate_foreign(function->registry, mm__parameter_index(function, index), bytes,
                             calling->hold.slot, &address, &member))
    return MM_OK;
  return mm__argument_refuse(function, index, calling->error, MM_ERROR_OWNER,
                             "holds in `%s` a pointer of %s", member, mm__pointer_owner(address));
}

static int stage_string(const struct mm__calling *calling, uint32_t index, const char **string,
                        uint64_t length) {
  uint64_t address;
  if (!*string) return MM_OK;
  int status = calling->core->stage(&calling->hold, *string, length + 1, &address, calling->error);
  if (status != MM_OK)
    return mm__argument_refuse(calling->function, index, calling->error, status,
                               "is too long: %lu bytes", length);
  *string = (const char *)address;
  return MM_OK;
}

int mm__arguments_stage(const struct mm__calling *calling, const struct mm__value *values,
                        void **arguments, const char **staged) {
  uint32_t count = calling->function->type->member_count;
  int status = MM_OK;
  for (uint32_t i = 0; i < count && status == MM_OK; i++) {
    const struct mm__type *type = mm__parameter_type(calling->function, i);
    uint8_t kind = type->kind;
    arguments[i] = (void *)&values[i].as;
    if (mm__by_value(type)) {
      arguments[i] = values[i].as.bytes;
      status = check_aggregate(calling, i, values[i].as.bytes, values[i].generation);
    } else if (kind == MM__STRING && !values[i].generation) {
      staged[i] = values[i].as.string;
      arguments[i] = &staged[i];
      status = stage_string(calling, i, &staged[i], values[i].length);
    } else if (kind == MM__POINTER || kind == MM__STRING) {
      status = check_pointer(calling, i, values[i].as.pointer, values[i].generation);
    }
  }
  return status;
}

/* An argument as the caller of the C interface has it, by its exact type. */
static void read_argument(const struct mm__type *type, void *from, struct mm__value *value) {
  memset(value, 0, sizeof *value);
  if (mm__by_value(type)) {
    value->as.bytes = from;
    return;
  }
  memcpy(&value->as, from, type->size);
  if (type->kind == MM__STRING && value->as.string) value->length = strlen(value->as.string);
}

int mm__arguments_read(const struct mm_function *function, void **args, struct mm__value *values,
                       struct mm_error *error) {
  for (uint32_t i = 0; i < function->type->member_count; i++) {
    if (!args || !args[i])
      return mm__argument_refuse(function, i, error, MM_ERROR_NULL, "is not given");
    read_argument(mm__parameter_type(function, i), args[i], &values[i]);
  }
  return MM_OK;
}
