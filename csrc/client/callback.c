/* client/callback.c - functions of the client that images call: the crossing the other way, with
 * the same checks. */
#include "base/error.h"
#include "client/client.h"
#include "signature/builder.h"

#include <stdlib.h>
#include <string.h>

#define STACK_BYTES_LIMIT                                                                          \
  0x10000u /* of arguments in memory: they are copied to the client's stack */

/* --- types --- */

/* A type with what its registry lies in, if that is its own. */
struct owned_type {
  struct mm__callback_type shown;
  char *prototype;
  struct mm__builder *builder;
  struct mm__registry registry;
};

static struct owned_type *owner_of(struct mm__callback_type *type) {
  return (struct owned_type *)type;
}

static void free_type(struct owned_type *type) {
  mm__thunk_free(type->shown.thunk);
  mm__builder_free(type->builder);
  free(type->prototype);
  free(type);
}

static int parse(struct mm_image *image, const char *prototype, struct owned_type *type,
                 struct mm_error *error) {
  type->prototype = strdup(prototype);
  type->builder = mm__builder_new();
  if (!type->builder || !type->prototype)
    return mm__fail(error, MM_ERROR_MEMORY, "out of memory for a prototype");
  int status = mm__builder_import(type->builder, &image->registry, error);
  if (status == MM_OK)
    status = mm__builder_function(type->builder, prototype, &type->shown.index, error);
  if (status == MM_OK) status = mm__builder_view(type->builder, &type->registry, error);
  return status;
}

/* Fills in what follows from registry and index. */
static int complete(struct mm__callback_type *type, struct mm_error *error) {
  char name[200];
  const struct mm__type *function = &type->registry->types[type->index];
  type->type = function;
  mm__type_text(type->registry, type->index, NULL, name, sizeof name);
  if (function->flags & MM__TYPE_VARIADIC) // NOLINT: the registry was checked
    return mm__fail(error, MM_ERROR_UNSUPPORTED, "%s: a callback cannot be variadic", name);
  int status = mm__thunk_make(type->registry, type->index, UINT32_MAX, name, &type->thunk, error);
  if (status != MM_OK) return status;
  if (mm__thunk_stack_bytes(type->thunk) <= STACK_BYTES_LIMIT) return MM_OK;
  return mm__fail(error, MM_ERROR_UNSUPPORTED, "%s: a callback's arguments are too long", name);
}

/* Under the image's lock. */
static struct mm__callback_type *find_type(const struct mm_image *image, const char *prototype,
                                           uint32_t index) {
  for (struct mm__callback_type *type = image->callback_types; type; type = type->next) {
    const char *text = owner_of(type)->prototype;
    if (prototype ? text && strcmp(text, prototype) == 0 : !text && type->index == index)
      return type;
  }
  return NULL;
}

static int make_type(struct mm_image *image, const char *prototype, uint32_t index,
                     struct mm__callback_type **result, struct mm_error *error) {
  struct owned_type *type = calloc(1, sizeof *type);
  if (!type) return mm__fail(error, MM_ERROR_MEMORY, "out of memory for a prototype");
  type->shown.registry = prototype ? &type->registry : &image->registry;
  type->shown.index = index;
  int status = prototype ? parse(image, prototype, type, error) : MM_OK;
  if (status == MM_OK) status = complete(&type->shown, error);
  if (status != MM_OK) {
    free_type(type);
    return status;
  }
  type->shown.next = image->callback_types;
  image->callback_types = &type->shown;
  *result = &type->shown;
  return MM_OK;
}

static int get_type(struct mm_image *image, const char *prototype, uint32_t index,
                    const struct mm__callback_type **result, struct mm_error *error) {
  int status = MM_OK;
  pthread_mutex_lock(&image->lock);
  struct mm__callback_type *type = find_type(image, prototype, index);
  if (!type) status = make_type(image, prototype, index, &type, error);
  pthread_mutex_unlock(&image->lock);
  *result = type;
  return status;
}

int mm__callback_type_of(struct mm_image *image, const char *prototype,
                         const struct mm__callback_type **type, struct mm_error *error) {
  return get_type(image, prototype, 0, type, error);
}

int mm__callback_type_at(struct mm_image *image, uint32_t index,
                         const struct mm__callback_type **type, struct mm_error *error) {
  return get_type(image, NULL, index, type, error);
}

/* --- running --- */

/* What one crossing needs at hand. */
struct calling {
  const struct mm__core_table *core;
  const struct mm_callback *callback;
  struct mm__hold hold;
  struct mm_error error;
};

static uint32_t parameter_of(const struct mm__callback_type *type, uint32_t index) {
  return type->registry->members[type->type->first_member + index].type;
}

/* Tells the callback's type with what did not fit it. */
static int tell_type(struct calling *calling, int status) {
  const struct mm__callback_type *type = calling->callback->type;
  char text[sizeof calling->error.message];
  mm__type_text(type->registry, type->index, NULL, text, sizeof text);
  mm__fail_prototype(&calling->error, text);
  return status;
}

/* A string of the image is copied: what it points to is the image's to change. */
static int take_string(struct calling *calling, uint32_t index, struct mm__value *value) {
  uint64_t address = (uint64_t)value->as.string, length = 0;
  int status = address ? calling->core->string(&calling->hold, address, MM__SLOT_BYTES, &length,
                                               &calling->error)
                       : MM_OK;
  char *copy = status == MM_OK && address ? malloc(length + 1) : NULL;
  value->as.string = copy;
  value->length = length;
  if (status != MM_OK)
    return tell_type(calling, mm__fail(&calling->error, status,
                                       "argument %u of a callback, 0x%lx, is no string", index + 1,
                                       address));
  if (!copy) return address ? mm__fail(&calling->error, MM_ERROR_MEMORY, "out of memory") : MM_OK;
  memcpy(copy, (const void *)address, length);
  copy[length] = 0;
  return MM_OK;
}

static int take_arguments(struct calling *calling, void **arguments, struct mm__value *values) {
  const struct mm__callback_type *type = calling->callback->type;
  int status = MM_OK;
  memset(values, 0, type->type->member_count * sizeof *values);
  for (uint32_t i = 0; i < type->type->member_count && status == MM_OK; i++) {
    const struct mm__type *of = &type->registry->types[parameter_of(type, i)];
    if (mm__by_value(of))
      values[i].as.bytes = arguments[i];
    else
      mm__value_read(type->registry, parameter_of(type, i), arguments[i], &values[i]);
    values[i].generation = calling->hold.generation;
    if (of->kind == MM__STRING) status = take_string(calling, i, &values[i]);
  }
  return status;
}

static void free_strings(const struct mm__callback_type *type, struct mm__value *values) {
  for (uint32_t i = 0; i < type->type->member_count; i++)
    if (type->registry->types[parameter_of(type, i)].kind == MM__STRING)
      free((void *)values[i].as.string);
}

/* It lies in the mailbox until the image's call ends: another hold remembers how full that is. */
static int give_string(struct calling *calling, struct mm__value *result) {
  struct mm__hold after;
  uint64_t address;
  if (!result->as.string) return MM_OK;
  int status = calling->core->stage(&calling->hold, result->as.string, result->length + 1, &address,
                                    &calling->error);
  if (status != MM_OK) return status;
  struct mm_image *image = calling->callback->image;
  status = calling->core->enter(image->slot, image->serial, MM__FOR_EVER, &after, &calling->error);
  if (status != MM_OK) return status;
  calling->hold.mailbox_mark = after.mailbox_mark;
  calling->core->leave(&after);
  result->as.string = (const char *)address;
  return MM_OK;
}

static int check_aggregate(struct calling *calling, uint32_t type, const void *bytes) {
  const char *member;
  uint64_t address;
  if (!mm__aggregate_foreign(calling->callback->type->registry, type, bytes, calling->hold.slot,
                             &address, &member))
    return MM_OK;
  return tell_type(calling, mm__fail(&calling->error, MM_ERROR_OWNER,
                                     "the result of a callback holds in `%s` a pointer of %s",
                                     member, mm__pointer_owner(address)));
}

static int check_pointer(struct calling *calling, const struct mm__value *result) {
  uint64_t address = (uint64_t)result->as.pointer;
  if (!mm__pointer_allowed(address, calling->hold.slot))
    return tell_type(calling, mm__fail(&calling->error, MM_ERROR_OWNER,
                                       "the result of a callback is a pointer of %s",
                                       mm__pointer_owner(address)));
  if (address && result->generation && result->generation != calling->hold.generation)
    return tell_type(calling,
                     mm__fail(&calling->error, MM_ERROR_STALE,
                              "the result of a callback is a pointer from before the image was "
                              "reset"));
  return MM_OK;
}

/* Where the image wants it: it may be anywhere, the image said so. */
static int give_memory(struct calling *calling, const void *bytes, uint32_t size, void *result) {
  int status = calling->core->write(&calling->hold, (uint64_t)result, bytes, size, &calling->error);
  if (status == MM_OK) return MM_OK;
  return mm__fail(&calling->error, status, "the result of a callback cannot go to 0x%lx",
                  (uint64_t)result);
}

static int give_result(struct calling *calling, struct mm__value *value, void *result) {
  const struct mm__callback_type *type = calling->callback->type;
  const struct mm__type *of = &type->registry->types[type->type->target];
  int status = MM_OK;
  if (of->kind == MM__VOID) return MM_OK;
  if (mm__by_value(of)) {
    status = check_aggregate(calling, type->type->target, value->as.bytes);
    if (status != MM_OK || value->as.bytes == result) return status;
    return give_memory(calling, value->as.bytes, of->size, result);
  }
  bool is_outside = of->kind == MM__STRING && !value->generation;
  if (is_outside)
    status = give_string(calling, value);
  else if (of->kind == MM__STRING || of->kind == MM__POINTER)
    status = check_pointer(calling, value);
  /* libffi wants what is narrower than a register widened: value->as.integer is. */
  if (status == MM_OK) memcpy(result, &value->as, of->size == 16 ? 16 : 8);
  return status;
}

/* `bytes`: where a result by value is made. */
static int run(struct calling *calling, void *bytes, void *result, void **arguments) {
  const struct mm_callback *callback = calling->callback;
  const struct mm_image *image = callback->image;
  const struct mm__callback_type *type = callback->type;
  struct mm__value values[type->type->member_count + 1], returned;
  memset(&returned, 0, sizeof returned);
  if (mm__by_value(&type->registry->types[type->type->target])) returned.as.bytes = bytes;
  int status = calling->core->enter(image->slot, image->serial, MM__FOR_EVER, &calling->hold,
                                    &calling->error);
  if (status != MM_OK) return status;
  status = take_arguments(calling, arguments, values);
  if (status == MM_OK) status = callback->run(callback, values, &returned, &calling->error);
  if (status == MM_OK) status = give_result(calling, &returned, result);
  free_strings(type, values);
  calling->core->leave(&calling->hold);
  return status;
}

/* Called by libffi, on the client's stack, in the thread that called the image. */
static void entered(void *result, void **arguments, void *callback_) {
  const struct mm_callback *callback = callback_;
  const struct mm__callback_type *type = callback->type;
  struct calling calling = {mm__core(NULL), callback, {0}, {0}};
  mm__thread_show_stack();
  if (!mm__thunk_returns_memory(type->thunk)) {
    memset(result, 0, type->registry->types[type->type->target].size == 32 ? 32 : 16);
    if (run(&calling, result, result, arguments) != MM_OK)
      calling.core->callback_fail(calling.error.message);
    return;
  }
  void *bytes = calloc(1, type->registry->types[type->type->target].size);
  int status = bytes ? run(&calling, bytes, result, arguments)
                     : mm__fail(&calling.error, MM_ERROR_MEMORY, "out of memory for a result");
  free(bytes);
  if (status != MM_OK) calling.core->callback_fail(calling.error.message);
}

/* --- from making to release --- */

static void add(struct mm_callback **list, struct mm_callback *callback) {
  callback->next = *list;
  callback->at = list;
  if (callback->next) callback->next->at = &callback->next;
  *list = callback;
}

static void take_out(struct mm_callback *callback) {
  *callback->at = callback->next;
  if (callback->next) callback->next->at = callback->at;
}

static void destroy(struct mm_callback *callback) {
  take_out(callback);
  mm__closure_free(callback->closure);
  free(callback);
}

/* Destroys the released ones that do not run any more. Under the image's lock. */
static void sweep(struct mm_image *image, const struct mm__core_table *core) {
  for (struct mm_callback *callback = image->released_callbacks, *next; callback; callback = next) {
    next = callback->next;
    if (!core || core->callback_free(callback->pointer, image->serial)) destroy(callback);
  }
}

int mm__callback_new(struct mm_image *image, const struct mm__callback_type *type,
                     mm__callback_run *runs, mm_callback_function *function, void *user,
                     struct mm_callback **result, struct mm_error *error) {
  const struct mm__core_table *core = mm__core(error);
  struct mm__callback_target target = {.stack_bytes = mm__thunk_stack_bytes(type->thunk)};
  if (!core) return MM_ERROR_NOT_CONNECTED;
  struct mm_callback *callback = calloc(1, sizeof *callback);
  if (!callback) return mm__fail(error, MM_ERROR_MEMORY, "out of memory for a callback");
  *callback = (struct mm_callback){
      .image = image, .type = type, .run = runs, .function = function, .user = user};
  int status =
      mm__closure_make(type->thunk, entered, callback, &callback->closure, &target.function, error);
  if (status == MM_OK)
    status = core->callback_make(image->slot, image->serial, &target, &callback->pointer, error);
  if (status != MM_OK) {
    mm__closure_free(callback->closure);
    free(callback);
    return status;
  }
  pthread_mutex_lock(&image->lock);
  add(&image->callbacks, callback);
  mm__image_mark(image);
  sweep(image, core);
  pthread_mutex_unlock(&image->lock);
  *result = callback;
  return MM_OK;
}

void mm_callback_release(struct mm_callback *callback) {
  if (!callback) return;
  struct mm_image *image = callback->image;
  pthread_mutex_lock(&image->lock);
  take_out(callback);
  add(&image->released_callbacks, callback);
  mm__image_mark(image);
  sweep(image, mm__core(NULL));
  pthread_mutex_unlock(&image->lock);
}

void mm__callbacks_release(struct mm_image *image) {
  while (image->callbacks) mm_callback_release(image->callbacks);
  sweep(image, mm__core(NULL));
  while (image->callback_types) {
    struct mm__callback_type *type = image->callback_types;
    image->callback_types = type->next;
    free_type(owner_of(type));
  }
}

void *mm_callback_pointer(struct mm_callback *callback) { return callback->pointer; }

void mm_callback_fail(const char *message) {
  const struct mm__core_table *core = mm__core(NULL);
  if (core) core->callback_fail(message);
}

/* --- the C interface --- */

static int run_function(const struct mm_callback *callback, const struct mm__value *arguments,
                        struct mm__value *result, struct mm_error *error) {
  const struct mm__callback_type *type = callback->type;
  uint64_t raw[2] __attribute__((aligned(16))) = {0};
  void *addresses[type->type->member_count + 1];
  for (uint32_t i = 0; i < type->type->member_count; i++)
    addresses[i] = mm__by_value(&type->registry->types[parameter_of(type, i)])
                       ? arguments[i].as.bytes
                       : (void *)&arguments[i].as;
  const struct mm__type *of = &type->registry->types[type->type->target];
  bool by_value = mm__by_value(of);
  (void)error;
  callback->function(by_value ? result->as.bytes : raw, addresses, callback->user);
  if (by_value) return MM_OK;
  mm__value_read(type->registry, type->type->target, raw, result);
  if (of->kind == MM__STRING && result->as.string) result->length = strlen(result->as.string);
  return MM_OK;
}

int mm_callback(struct mm_image *image, const char *prototype, mm_callback_function *function,
                void *user, struct mm_callback **callback, struct mm_error *error) {
  const struct mm__callback_type *type;
  if (!image || !prototype || !function || !callback)
    return mm__fail(error, MM_ERROR_NULL, "mm_callback got a null pointer");
  int status = mm__callback_type_of(image, prototype, &type, error);
  if (status == MM_OK)
    status = mm__callback_new(image, type, run_function, function, user, callback, error);
  return status;
}
