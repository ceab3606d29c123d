/* calls.c - the input is a program: each byte chooses a call of the client's interface, the next ones its arguments; a
 * callback goes on with it, so that anything may come inside of anything. Whatever comes in whatever order, each call
 * answers with a status of the table, faults of images included, and at the end nothing is mapped. $MM_BUILD names the
 * folder of the images. */
#include "client/client.h"
#include "fuzz.h"

#define IMAGES     4
#define FUNCTIONS  8
#define POINTERS   8
#define CALLBACKS  4
#define BATCH      5
#define STEPS      64
#define DEPTH      5
#define TIMEOUT_NS 20000000ul

static const char *const names[] = {"math", "text", "pointer",  "crash",
                                    "gate", "tls",  "callback", "callback_other"};
/* What reaches out of an image by intent: writes of image code into the client are not stopped, nor is it timed. */
static const char *const left_out[] = {"write_at", "wide_to", "spin", "spin_after", "lost_stack"};
static const char *const prototypes[] = {
    "int (int)",
    "void (void)",
    "int (const int *, const int *)",
    "const char *(const char *)",
    "int (const char *)",
    "struct point (struct point)",
    "struct wide (int)",
    "double (struct point *)",
    "long double (long double)",
    "int8_t (void)",
    "struct operation (struct operation *)",
    ("double (int8_t, uint8_t, int16_t, uint16_t, int32_t, uint32_t, int64_t, uint64_t, float, "
     "double, long double, bool, const char *, int, double)"),
};

struct program {
  const uint8_t *bytes;
  size_t size;
  struct mm_image *images[IMAGES];
  struct {
    struct mm_function *function;
    struct mm_image *image;
  } functions[FUNCTIONS];
  const void *pointers[POINTERS]; /* what calls returned */
  unsigned returned;
  struct slot {
    struct program *program;
    struct mm_callback *callback;
  } callbacks[CALLBACKS];
  unsigned steps, depth;
};

static void run(struct program *program, unsigned steps);

static uint8_t next(struct program *program) {
  if (!program->size) return 0;
  program->size--;
  return *program->bytes++;
}

static void fill(struct program *program, void *to, size_t size) {
  for (size_t i = 0; i < size; i++) ((uint8_t *)to)[i] = next(program);
}

static int known(int status) {
  MUST(status == MM_OK || strcmp(mm_error_kind(status), "unknown") != 0);
  return status;
}

static void map(struct program *program) {
  struct mm_map_options options = {.guard = next(program) % 5, .timeout_ns = TIMEOUT_NS};
  struct mm_image **image = &program->images[next(program) % IMAGES];
  uint8_t bits = next(program);
  struct mm_error error;
  char path[600];
  const char *build = getenv("MM_BUILD");
  if (*image) return;
  options.dead_on_fault = bits & 1;
  options.verify = bits >> 1 & 1;
  if (bits & 4) options.memory_bytes = 1ul << (bits >> 3);
  snprintf(path, sizeof path, "%s/image/%s.mmi", build ? build : "build",
           names[next(program) % (sizeof names / sizeof *names)]);
  known(mm_request_map(path, &options, image, &error));
}

static void forget(struct program *program, const struct mm_image *image) {
  for (int i = 0; i < FUNCTIONS; i++)
    if (program->functions[i].image == image) program->functions[i].function = NULL;
  for (int i = 0; i < CALLBACKS; i++) {
    struct mm_callback **callback = &program->callbacks[i].callback;
    if (*callback && (*callback)->image == image) *callback = NULL;
  }
}

static void keep(struct program *program, const void *pointer) {
  program->pointers[program->returned++ % POINTERS] = pointer;
}

static void release(struct program *program, struct mm_image **image) {
  forget(program, *image);
  mm_image_release(*image);
  *image = NULL;
}

static int is_left_out(const char *name) {
  for (size_t i = 0; i < sizeof left_out / sizeof *left_out; i++)
    if (strcmp(name, left_out[i]) == 0) return 1;
  return 0;
}

static void bind(struct program *program, struct mm_image *image) {
  unsigned at = next(program) % FUNCTIONS;
  uint32_t count = image ? mm_export_count(image) : 0, index = next(program);
  const char *name = count ? mm_export_name(image, index % count) : "none";
  uint8_t how = next(program);
  char expected[64] = "";
  struct mm_function *function;
  struct mm_error error;
  if (is_left_out(name)) return;
  if (how & 1) fill(program, expected, how >> 1 & 63);
  if (how == 2) name = "no such export";
  if (known(mm_bind(image, name, how & 1 ? expected : NULL, &function, &error)) != MM_OK) return;
  program->functions[at].function = function;
  program->functions[at].image = image;
}

/* A string is one; all else is what the input says, or what a call returned. */
static void fill_argument(struct program *program, const struct mm__type *type, void *argument,
                          char *text) {
  memset(argument, 0, type->size);
  if (type->kind == MM__STRING) {
    uint8_t length = next(program);
    memset(text, 0, 256);
    fill(program, text, length % 64);
    if (length < 250) memcpy(argument, &text, sizeof text);
  } else if (type->kind == MM__POINTER) {
    memcpy(argument, &program->pointers[next(program) % POINTERS], sizeof(void *));
  } else {
    fill(program, argument, type->size < 8 ? type->size : 8);
  }
}

/* What a call, or each of a batch, gets and gives. */
static struct {
  _Alignas(16) char results[1 << 16], arguments[64][1 << 10];
  char texts[64][256];
  void *list[64];
} room;

/* False: it does not fit. */
static bool fill_arguments(struct program *program, const struct mm_function *function) {
  const struct mm__registry *registry = &function->image->registry;
  uint32_t count = function->type->member_count;
  if (count > 64) return false;
  for (uint32_t i = 0; i < count; i++) {
    const struct mm__type *type =
        &registry->types[registry->members[function->type->first_member + i].type];
    if (type->size > sizeof room.arguments[i]) return false;
    fill_argument(program, type, room.arguments[i], room.texts[i]);
    room.list[i] = room.arguments[i];
  }
  uint8_t missing = next(program);
  if (missing && missing <= count) room.list[missing - 1] = NULL;
  memset(room.results, 0, sizeof(void *));
  return true;
}

static const struct mm__type *result_of(const struct mm_function *function) {
  return &function->image->registry.types[function->type->target];
}

static void call(struct program *program) {
  struct mm_function *function = program->functions[next(program) % FUNCTIONS].function;
  struct mm_error error;
  if (!function) return;
  bool gives_pointer = result_of(function)->kind == MM__POINTER;
  if (result_of(function)->size > sizeof room.results || !fill_arguments(program, function)) return;
  if (known(mm_request_call(function, room.results, room.list, &error)) != MM_OK)
    MUST(error.message[0]);
  if (gives_pointer) keep(program, *(void **)room.results); /* the function may be gone */
}

static void batch(struct program *program) {
  struct mm_function *function = program->functions[next(program) % FUNCTIONS].function;
  uint8_t count = next(program) % (BATCH + 1);
  void *results[BATCH], **lists[BATCH];
  size_t done = BATCH + 1;
  struct mm_error error;
  if (!function) return;
  size_t size = (result_of(function)->size + 15ul) & ~15ul;
  if (size * BATCH > sizeof room.results || !fill_arguments(program, function)) return;
  for (int i = 0; i < BATCH; i++) {
    results[i] = room.results + i * size;
    lists[i] = room.list;
  }
  int status = known(
      mm_request_batch(function, count, next(program) % 2 ? results : NULL, lists, &done, &error));
  MUST(status == MM_OK ? done == count : done <= count && error.message[0]);
}

/* --- callbacks --- */

/* Strings are copies and have an end; the image's memory is read as the image reads it. */
static void look_at(struct program *program, const struct mm__type *type, const void *argument) {
  const char *text;
  memcpy(&text, argument, type->size < sizeof text ? 0 : sizeof text);
  if (type->kind == MM__STRING && text) MUST(strlen(text) < 1 << 20);
  if (type->kind == MM__POINTER) keep(program, text);
}

static void fill_result(struct program *program, const struct mm__type *type, void *result) {
  static char text[256];
  if (type->kind == MM__STRING) {
    fill(program, text, next(program));
    if (next(program) % 4) memcpy(result, &(const char *){text}, sizeof(char *));
  } else if (type->kind == MM__POINTER) {
    memcpy(result, &program->pointers[next(program) % POINTERS], sizeof(void *));
  } else {
    fill(program, result, type->size < 40 ? type->size : 40);
  }
}

static void called_back(void *result, void **args, void *slot_) {
  const struct slot *slot = slot_;
  struct program *program = slot->program;
  const struct mm__callback_type *type = slot->callback->type; /* lives as long as this call */
  for (uint32_t i = 0; i < type->type->member_count; i++)
    look_at(program,
            &type->registry->types[type->registry->members[type->type->first_member + i].type],
            args[i]);
  uint8_t what = next(program);
  program->depth++;
  if (program->depth < DEPTH) run(program, what % 8);
  program->depth--;
  if (what >> 3 == 1) mm_callback_fail("on purpose");
  if (what >> 3 != 2) fill_result(program, &type->registry->types[type->type->target], result);
}

static void make_callback(struct program *program, struct mm_image *image) {
  struct slot *slot = &program->callbacks[next(program) % CALLBACKS];
  uint8_t how = next(program);
  char prototype[64] = "";
  struct mm_callback *callback;
  struct mm_error error;
  if (how & 128) fill(program, prototype, how & 63);
  if (known(mm_callback(
          image, how & 128 ? prototype : prototypes[how % (sizeof prototypes / sizeof *prototypes)],
          called_back, slot, &callback, &error)) != MM_OK)
    return;
  mm_callback_release(slot->callback);
  slot->program = program;
  slot->callback = callback;
  keep(program, mm_callback_pointer(callback));
}

static void release_callback(struct program *program) {
  struct slot *slot = &program->callbacks[next(program) % CALLBACKS];
  mm_callback_release(slot->callback);
  slot->callback = NULL;
}

/* --- the rest --- */

static void use_memory(struct program *program, struct mm_image *image) {
  uint8_t what = next(program), bytes = next(program);
  void *pointer = (void *)program->pointers[next(program) % POINTERS];
  char copy[256] = "";
  struct mm_error error;
  if (what % 4 == 0) {
    if (known(mm_allocate(image, what & 128 ? bytes * 65536ul : bytes, &pointer, &error)) == MM_OK)
      keep(program, pointer);
  }
  if (what % 4 == 1) known(mm_free(image, pointer, &error));
  if (what % 4 == 2) known(mm_read(image, pointer, copy, bytes, &error));
  if (what % 4 == 3) known(mm_write(image, pointer, copy, bytes, &error));
}

static void look(struct mm_image *image, uint8_t index) {
  struct mm_image_info info;
  struct mm_error error;
  known(mm_image_info(image, &info, &error));
  known(mm_mapped(index, &info, &error));
  known(mm_take_fault(&error));
  if (!image) return;
  mm_export_name(image, index);
  mm_export_prototype(image, index);
  mm_export_doc(image, index);
}

/* Functions of images stay bound, and say that there is no image. In a callback, the Matchmaker stays. */
static void reconnect(struct program *program) {
  struct mm_config config = {.image_limit = next(program), .signals = next(program) % 3};
  struct mm_error error;
  uint8_t bits = next(program);
  if ((bits & 1) && known(mm_finalize(&error)) != MM_OK) return;
  if (bits & 2) config.unlisted = 1;
  known(mm_init(bits & 4 ? &config : NULL, &error));
  if (!(bits & 1)) known(mm_finalize(&error));
}

static void run_opened(void *program_) {
  struct program *program = program_;
  program->depth++;
  if (program->depth < DEPTH) run(program, next(program) % 8);
  program->depth--;
}

static void step(struct program *program) {
  struct mm_image **image = &program->images[0];
  struct mm_error error;
  uint8_t what = next(program);
  if (what >= 252) {
    known(mm_open(program->images[what % IMAGES], run_opened, program, &error));
    return;
  }
  what %= 12;
  if (what > 1 && what != 11) image = &program->images[next(program) % IMAGES];
  switch (what) {
  case 0:
    map(program);
    break;
  case 1:
    call(program);
    break;
  case 2:
    bind(program, *image);
    break;
  case 3:
    batch(program);
    break;
  case 4:
    known(mm_reset(*image, &error));
    break;
  case 5:
    known(mm_unmap(*image, &error));
    break;
  case 6:
    release(program, image);
    break;
  case 7:
    use_memory(program, *image);
    break;
  case 8:
    look(*image, next(program));
    break;
  case 9:
    reconnect(program);
    break;
  case 10:
    make_callback(program, *image);
    break;
  case 11:
    release_callback(program);
    break;
  }
}

static void run(struct program *program, unsigned steps) {
  for (; steps && program->steps && program->size; steps--, program->steps--) step(program);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
  struct program program = {.bytes = bytes, .size = size, .steps = STEPS};
  struct mm_image_info info;
  struct mm_error error;
  if (mm_init(&(struct mm_config){0}, &error) != MM_OK) return 0;
  run(&program, STEPS);
  for (int i = 0; i < IMAGES; i++) release(&program, &program.images[i]);
  if (mm_mapped(0, &info, &error) != MM_ERROR_NOT_CONNECTED)
    MUST(mm_mapped(0, &info, &error) == MM_ERROR_ARGUMENT && mm_finalize(&error) == MM_OK);
  return 0;
}
