/* Calls each generated function directly, through its stub as the compiler does it, and through the
 * client's C interface as libffi does it; and is called back by the image. Usage: client IMAGE [batch];
 * with `batch`, what suits is noted and made as calls of a batch. Exit status 1: something differs. */
#include "abi.h"

#include <client/client.h>
#include <matchmaker.h>

#define MM_TYPE(...)                       __VA_ARGS__
#define FUNCTION(result, name, parameters) static result name parameters
#include "functions.h"

static struct mm_image *image;
static struct mm_error error;
static char *direct_anchor = room, *image_anchor;
static unsigned long (*wrong_arguments)(void);
static int differs, failures, batched;
static bool in_batch;

static void must(int status) {
  if (status == MM_OK) return;
  printf("%s\n", error.message);
  exit(2);
}

static void *stub_of(const char *name) {
  struct mm_function *function;
  must(mm_bind(image, name, NULL, &function, &error));
  return mm_function_pointer(function);
}

/* As the second of two calls, so that what it finds is what the first has left. False: it does not
 * suit. */
static bool request_in_batch(struct mm_function *function, void *result, void **arguments) {
  uint32_t count = function->type->member_count, done;
  const struct mm__member *members = &function->registry->members[function->type->first_member];
  struct mm__value values[count + 1], returned;
  struct mm__hold hold;
  struct mm__batch *noted;
  must(mm__image_keep_open(image, &hold, &error));
  bool suits = mm__batch_suits(function, &hold);
  if (suits) {
    memset(values, 0, sizeof values);
    for (uint32_t i = 0; i < count; i++) {
      const struct mm__type *type = &function->registry->types[members[i].type];
      memcpy(&values[i].as, arguments[i], type->size);
      if (type->kind == MM__STRING && values[i].as.string)
        values[i].length = strlen(values[i].as.string);
    }
    must(mm__batch_make(function, 2, &noted, &error));
    for (int i = 0; i < 2; i++) must(mm__batch_note(noted, values, &error));
    must(mm__batch_call(noted, &done, &error));
    mm__batch_result(noted, 1, &returned);
    memcpy(result, &returned.as, function->registry->types[function->type->target].size);
    mm__batch_free(noted);
    batched++;
  }
  mm__image_let_go(&hold);
  return suits;
}

static void request(const char *name, const char *prototype, void *result, void **arguments) {
  struct mm_function *function;
  must(mm_bind(image, name, prototype, &function, &error));
  if (!in_batch || !request_in_batch(function, result, arguments))
    must(mm_request_call(function, result, arguments, &error));
}

static void verdict(const char *name, const char *way, unsigned long arguments,
                    const char *behind) {
  bool overran = false;
  for (int i = 0; behind && i < 64; i++) overran |= behind[i] != 0x5a;
  struct mm_error fault;
  bool faulted = mm_take_fault(&fault) != MM_OK;
  if (!arguments && !differs && !overran && !faulted) return;
  failures++;
  printf("%s, %s:", name, way);
  for (int i = 0; i < 64; i++)
    if (arguments >> i & 1) printf(" argument %d", i);
  printf("%s%s%s\n", differs ? " result" : "", overran ? " bytes behind the result" : "",
         faulted ? fault.message : "");
}

/* The image calls `called`, which notes in `wrong` what it got. */
static void call_back(const char *name, const char *prototype, mm_callback_function *called) {
  struct mm_callback *callback;
  must(mm_callback(image, prototype, called, NULL, &callback, &error));
  void *pointer = mm_callback_pointer(callback);
  anchor = image_anchor;
  wrong = ~0ul;
  request(name, NULL, &differs, (void *[]){&pointer});
  verdict(name, "callback", wrong, NULL);
  mm_callback_release(callback);
}

#define BEGIN_DIRECT(name)       (anchor = direct_anchor, wrong = 0)
#define BEGIN_STUB(name)         (anchor = image_anchor)
#define BEGIN_CALL(name)         (anchor = image_anchor)
#define END_DIRECT(name, behind) verdict(#name, "direct", wrong, NULL)
#define END_STUB(name, behind)   verdict(#name, "stub", wrong_arguments(), NULL)
#define END_CALL(name, behind)   verdict(#name, "call", wrong_arguments(), behind)
#include "tests.h"

int main(int count, char **arguments) {
  in_batch = count > 2;
  must(mm_init(NULL, &error));
  must(mm_request_map(arguments[1], &(struct mm_map_options){.guard = MM_GUARD_OPEN}, &image,
                      &error));
  wrong_arguments = stub_of("wrong_arguments");
  image_anchor = ((char *(*)(void))stub_of("anchor_here"))();
#define RUN(name) test_##name();
  EACH(RUN)
  if (in_batch && !batched) printf("no call was made in a batch\n");
  printf("%d failures\n", failures);
  return failures != 0;
}
