/* client/many.c - the C interface's calls that share an opening of the guard: mm_open, and
 * mm_request_batch, whose calls share crossings, too, where they may. */
#include "base/error.h"
#include "client/calling.h"

#include <string.h>

int mm_open(struct mm_image *image, void (*run)(void *user), void *user, struct mm_error *error) {
  struct mm__hold hold;
  if (!image || !run) return mm__fail(error, MM_ERROR_NULL, "mm_open got a null pointer");
  mm__image_use(image);
  int status = mm__image_keep_open(image, &hold, error);
  if (status == MM_OK) {
    run(user);
    mm__image_let_go(&hold);
  }
  mm__image_drop(image);
  return status;
}

/* The calls of one mm_request_batch. */
struct many {
  struct mm_function *function;
  struct mm__batch *noted; /* NULL: they are made one by one */
  void **results;
  size_t made;
};

static void store(const struct many *many, uint32_t count) {
  const struct mm__type *type = mm__result_type(many->function);
  for (uint32_t i = 0; i < count; i++) {
    struct mm__value value;
    void *result = many->results[many->made + i];
    mm__batch_result(many->noted, i, &value);
    if (result) memcpy(result, &value.as, type->size);
  }
}

static int make_noted(struct many *many, struct mm_error *error) {
  uint32_t done = 0;
  if (!many->noted || !mm__batch_count(many->noted)) return MM_OK;
  int status = mm__batch_call(many->noted, &done, error);
  mm__batch_forget(many->noted);
  if (status == MM_OK && many->results) store(many, done);
  many->made += done;
  return status;
}

static int make_one(struct many *many, void **args, struct mm_error *error) {
  void *result = many->results ? many->results[many->made] : NULL;
  int status = mm_request_call(many->function, result, args, error);
  many->made += status == MM_OK;
  return status;
}

/* Notes the call, if it can be; what was noted before is made first when there is no room beside
 * it. */
static int note_or_make(struct many *many, void **args, struct mm_error *error) {
  struct mm__value values[many->function->type->member_count + 1];
  if (!many->noted) return make_one(many, args, error);
  int status = mm__arguments_read(many->function, args, values, error);
  if (status != MM_OK) return status;
  if (!mm__batch_takes(many->noted, values)) status = make_noted(many, error);
  if (status != MM_OK) return status;
  if (!mm__batch_takes(many->noted, values)) return make_one(many, args, error);
  return mm__batch_note(many->noted, values, error);
}

static int make_all(struct many *many, size_t count, void ***args, struct mm_error *error) {
  int status = MM_OK;
  for (size_t i = 0; i < count && status == MM_OK; i++)
    status = note_or_make(many, args ? args[i] : NULL, error);
  if (status == MM_OK) return make_noted(many, error);
  /* What was noted before the call that is wrong is made still, and may be the first that fails. */
  struct mm_error earlier;
  int first = make_noted(many, &earlier);
  if (first == MM_OK) return status;
  if (error) *error = earlier;
  return first;
}

static int make_held(struct many *many, const struct mm__hold *hold, size_t count, void ***args,
                     struct mm_error *error) {
  int status = MM_OK;
  if (count > 1 && mm__batch_suits(many->function, hold))
    status = mm__batch_make(many->function, count, &many->noted, error);
  if (status == MM_OK) status = make_all(many, count, args, error);
  mm__batch_free(many->noted);
  return status;
}

int mm_request_batch(struct mm_function *function, size_t count, void **results, void ***args,
                     size_t *done, struct mm_error *error) {
  struct many many = {.function = function, .results = results};
  struct mm__hold hold;
  if (done) *done = 0;
  if (!function || (!args && count && function->type->member_count))
    return mm__fail(error, MM_ERROR_NULL, "mm_request_batch got a null pointer");
  if (results && mm__result_type(function)->kind == MM__STRING)
    return mm__fail(error, MM_ERROR_ARGUMENT, "%s: only the last of its strings would be left",
                    mm__name_of(function));
  struct mm_image *image = function->image;
  mm__image_use(image);
  int status = mm__image_keep_open(image, &hold, error);
  if (status == MM_OK) {
    status = make_held(&many, &hold, count, args, error);
    mm__image_let_go(&hold);
  } else {
    mm__call_not_entered(&(struct mm__calling){.function = function, .error = error}, status);
  }
  mm__image_drop(image);
  if (done) *done = many.made;
  return status;
}
