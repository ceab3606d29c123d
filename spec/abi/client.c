/* Calls each generated function directly, through its stub as the compiler does it, and through the
 * client's C interface as libffi does it; and is called back by the image. Usage: client IMAGE. Exit status 1: something differs. */
#include "abi.h"

#include <matchmaker.h>

#define MM_TYPE(...)                       __VA_ARGS__
#define FUNCTION(result, name, parameters) static result name parameters
#include "functions.h"

static struct mm_image *image;
static struct mm_error error;
static char *direct_anchor = room, *image_anchor;
static unsigned long (*wrong_arguments)(void);
static int differs, failures;

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

static void request(const char *name, const char *prototype, void *result, void **arguments) {
  struct mm_function *function;
  must(mm_bind(image, name, prototype, &function, &error));
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
  (void)count;
  must(mm_init(NULL, &error));
  must(mm_request_map(arguments[1], &(struct mm_map_options){.guard = MM_GUARD_OPEN}, &image,
                      &error));
  wrong_arguments = stub_of("wrong_arguments");
  image_anchor = ((char *(*)(void))stub_of("anchor_here"))();
#define RUN(name) test_##name();
  EACH(RUN)
  printf("%d failures\n", failures);
  return failures != 0;
}
