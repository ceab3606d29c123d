/* client/batch.c - many calls of one function, made in as few crossings as may be. libffi calls a
 * function that notes how it was called instead of the stub; what is noted goes into the image's
 * mailbox together. Only calls that are independent of what comes between them suit. */
#include "core/gate/batch.h"
#include "base/error.h"
#include "client/calling.h"

#include <stdlib.h>
#include <string.h>

#define CALLS        256u /* of one crossing: what a crossing costs is little against so many */
#define STRING_BYTES 0x100000u /* of one crossing's strings */

struct mm__batch {
  struct mm__calling calling; /* its error is that of each call here */
  uint64_t noted_bytes;       /* of one call */
  uint64_t string_bytes;
  uint32_t limit, count; /* of calls that can be noted, and are */
  bool holds;
  uint8_t *calls; /* a struct mm__batch_head, and those that are noted */
};

/* Where mm__note writes. */
__attribute__((tls_model("initial-exec"))) _Thread_local struct mm__noted *mm__noting;
void mm__note(void);

static struct mm__noted *noted(const struct mm__batch *batch, uint32_t index) {
  return (struct mm__noted *)(batch->calls + MM__BATCH_BYTES + index * batch->noted_bytes);
}

static uint64_t bytes_of(const struct mm__batch *batch, uint32_t calls) {
  return MM__BATCH_BYTES + calls * batch->noted_bytes;
}

static bool is_variadic(const struct mm_function *function) {
  return function->image->registry.types[function->export->type].flags & MM__TYPE_VARIADIC;
}

bool mm__batch_suits(const struct mm_function *function, const struct mm__hold *hold) {
  const struct mm__type *result = mm__result_type(function);
  if (hold->one_by_one || function->image->callbacks || is_variadic(function)) return false;
  if (mm__by_value(result) || result->kind == MM__STRING) return false;
  for (uint32_t i = 0; i < function->type->member_count; i++) {
    const struct mm__type *type = mm__parameter_type(function, i);
    if (mm__by_value(type) || mm__points_to_function(function->registry, type)) return false;
  }
  return true;
}

int mm__batch_make(struct mm_function *function, uint64_t calls, struct mm__batch **result,
                   struct mm_error *error) {
  const struct mm__core_table *core = mm__core(error);
  if (!core) return MM_ERROR_NOT_CONNECTED;
  struct mm__batch *batch = calloc(1, sizeof *batch);
  if (batch) {
    batch->calling = (struct mm__calling){.core = core, .function = function};
    batch->noted_bytes = mm__noted_bytes(mm__thunk_stack_bytes(function->thunk));
    batch->limit = calls < CALLS ? (uint32_t)calls : CALLS;
    batch->calls = calloc(1, bytes_of(batch, batch->limit));
  }
  if (batch && batch->calls) {
    *result = batch;
    return MM_OK;
  }
  free(batch);
  return mm__fail(error, MM_ERROR_MEMORY, "out of memory for a batch");
}

/* What a call's strings take in the mailbox. */
static uint64_t strings_of(const struct mm_function *function, const struct mm__value *values) {
  uint64_t bytes = 0;
  for (uint32_t i = 0; i < function->type->member_count; i++)
    if (mm__parameter_type(function, i)->kind == MM__STRING && !values[i].generation)
      bytes += values[i].length;
  return bytes;
}

bool mm__batch_takes(const struct mm__batch *batch, const struct mm__value *values) {
  return batch->count < batch->limit &&
         strings_of(batch->calling.function, values) <= STRING_BYTES - batch->string_bytes;
}

uint32_t mm__batch_count(const struct mm__batch *batch) { return batch->count; }

static int begin(struct mm__batch *batch) {
  struct mm__calling *calling = &batch->calling;
  const struct mm_image *image = calling->function->image;
  int status = calling->core->enter(image->slot, image->serial, 0, &calling->hold, calling->error);
  if (status != MM_OK) return mm__call_not_entered(calling, status);
  batch->holds = true;
  return MM_OK;
}

static void note(struct mm__batch *batch, void **arguments) {
  const struct mm_function *function = batch->calling.function;
  const struct mm__type *result = mm__result_type(function);
  uint8_t nothing[32] __attribute__((aligned(16)));
  mm__noting = noted(batch, batch->count);
  mm__noting->stack_bytes = (uint32_t)mm__thunk_stack_bytes(function->thunk);
  mm__noting->x87_result = result->kind == MM__FLOAT && result->size == 16;
  mm__thunk_call(function->thunk, (void *)mm__note, nothing, arguments);
  batch->count++;
}

int mm__batch_note(struct mm__batch *batch, const struct mm__value *values,
                   struct mm_error *error) {
  uint32_t count = batch->calling.function->type->member_count;
  void *arguments[count + 1];
  const char *staged[count + 1];
  batch->calling.error = error;
  int status = batch->holds ? MM_OK : begin(batch);
  if (status == MM_OK) status = mm__arguments_stage(&batch->calling, values, arguments, staged);
  if (status != MM_OK) return status;
  batch->string_bytes += strings_of(batch->calling.function, values);
  note(batch, arguments);
  return MM_OK;
}

/* What was noted from `first` on, in one crossing; `*done` more have returned. */
static int cross(struct mm__batch *batch, uint32_t first, uint32_t *done) {
  struct mm__calling *calling = &batch->calling;
  uint32_t count = batch->count - first;
  uint64_t address, bytes = count * batch->noted_bytes;
  /* The head goes over the end of a call that has returned, or of nothing. */
  uint8_t *from = (uint8_t *)noted(batch, first) - MM__BATCH_BYTES;
  memset(from, 0, MM__BATCH_BYTES);
  struct mm__outcome *outcome = &calling->hold.thread->outcome;
  int status = calling->core->stage(&calling->hold, from, MM__BATCH_BYTES + bytes + 1, &address,
                                    calling->error);
  if (status != MM_OK) return status;
  outcome->status = MM_OK;
  uint64_t returned = calling->core->batch(calling->function->stub, address, count);
  if (outcome->status != MM_OK) {
    *done += (uint32_t)outcome->done;
    return mm__call_explain_outcome(calling);
  }
  status = calling->core->read(&calling->hold, address + MM__BATCH_BYTES, noted(batch, first),
                               returned * batch->noted_bytes, calling->error);
  if (status == MM_OK) *done += (uint32_t)returned;
  return status;
}

int mm__batch_call(struct mm__batch *batch, uint32_t *done, struct mm_error *error) {
  struct mm_image *image = batch->calling.function->image;
  batch->calling.error = error;
  int status = MM_OK;
  *done = 0;
  mm__image_use(image);
  while (*done < batch->count && status == MM_OK) status = cross(batch, *done, done);
  mm__image_drop(image);
  return status;
}

void mm__batch_result(const struct mm__batch *batch, uint32_t index, struct mm__value *value) {
  const struct mm_function *function = batch->calling.function;
  const struct mm__type *type = mm__result_type(function);
  const struct mm__noted *call = noted(batch, index);
  const void *bytes = &call->rax;
  if (type->kind == MM__FLOAT) bytes = type->size == 16 ? (const void *)call->st0 : &call->xmm0;
  mm__value_read(function->registry, function->type->target, bytes, value);
  value->generation = batch->calling.hold.generation;
}

void mm__batch_forget(struct mm__batch *batch) {
  if (batch->holds) batch->calling.core->leave(&batch->calling.hold);
  batch->holds = false;
  batch->count = 0;
  batch->string_bytes = 0;
}

void mm__batch_free(struct mm__batch *batch) {
  if (!batch) return;
  mm__batch_forget(batch);
  free(batch->calls);
  free(batch);
}
