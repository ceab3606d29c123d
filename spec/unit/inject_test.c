/* The kernel refuses one system call, or malloc(3) one block, of everything that a client does: each
 * that an operation makes, one after the other. Then the operation says so in one clear error, or has
 * succeeded all the same; nothing is left open or left behind; and it succeeds when it is tried again.
 * Usage: inject_test FOLDER; prints one line per operation, exit status 1 when one failed. Quick: a
 * sample. MM_INJECT=all: every one of them, with every guard. */
#include "injector.h"
#include "process.h"

#include "base/error.h"
#include "client/client.h"

#define SAMPLE     12u /* about as many of each operation are refused in a quick run */
#define STRICT     0x200u
#define PAGES      300
#define TIMEOUT_NS 20000000000ull
#define BUFFER     100000ul

static struct mm_image *image, *other;
static struct mm_function *function;
static struct mm_callback *callback;
static void *memory;

/* --- what is tried --- */

struct operation {
  const char *name;
  void (*prepare)(void);
  int (*operate)(struct mm_error *error);
  void (*conclude)(void); /* it succeeded, at last */
  int expected;           /* where nothing is refused */
  bool is_once;           /* it cannot be done twice without being undone */
  bool is_unconnected;    /* as this process is at first */
};

static int request(const char *name, struct mm_map_options options, struct mm_image **result,
                   struct mm_error *error) {
  char path[640];
  snprintf(path, sizeof path, "%s/image/%s.mmi", build_folder, name);
  options.guard = way.guard & ~(SEALED | STRICT);
  options.sealed = (way.guard & SEALED) != 0;
  options.strict = (way.guard & STRICT) != 0;
  *result = NULL;
  return mm_request_map(path, &options, result, error);
}

static void map_now(const char *name, struct mm_map_options options) {
  struct mm_error error;
  must(request(name, options, &image, &error), &error);
}

static void release(void) {
  mm_image_release(image);
  mm_image_release(other);
  image = other = NULL;
}

static int call_two(uint64_t first, uint64_t second, void *result, struct mm_error *error) {
  void *arguments[] = {&first, &second};
  return mm_request_call(function, result, arguments, error);
}

static void use(const char *image_name, const char *export, struct mm_map_options options) {
  map_now(image_name, options);
  function = function_of(image, export);
}

static int connect_first(struct mm_error *error) { return mm_init(&way.config, error); }
static void finalize(void) { CHECK_EQUAL(MM_OK, mm_finalize(NULL)); }

static void connect_and_map(void) {
  connect_client();
  map_now("math", (struct mm_map_options){0});
}

static int finalize_mapped(struct mm_error *error) { return mm_finalize(error); }

static int map_first(struct mm_error *error) {
  return request("math", (struct mm_map_options){0}, &image, error);
}

static int map_verified(struct mm_error *error) {
  return request("text", (struct mm_map_options){.verify = 1}, &image, error);
}

static int map_hooked(struct mm_error *error) {
  return request("hook", (struct mm_map_options){0}, &image, error);
}

static void prepare_second(void) { map_now("math", (struct mm_map_options){0}); }

static int map_second(struct mm_error *error) {
  return request("memory", (struct mm_map_options){0}, &other, error);
}

static int unmap(struct mm_error *error) { return mm_unmap(image, error); }

/* What it cannot say, the next call does. */
static int release_mapped(struct mm_error *error) {
  struct mm_image_info info;
  mm_image_release(image);
  image = NULL;
  if (mm_mapped(0, &info, error) == MM_ERROR_ARGUMENT) return MM_OK;
  return mm__fail(error, MM_ERROR_BUSY, "still mapped");
}

static void prepare_add(void) { use("math", "add", (struct mm_map_options){0}); }

static int add(struct mm_error *error) {
  int sum = 0, status = call_two(2, 3, &sum, error);
  if (status == MM_OK) CHECK_EQUAL(5, sum);
  return status;
}

static void prepare_learned(void) {
  prepare_add();
  for (int i = 0; i < 3; i++) CHECK_EQUAL(MM_OK, add(NULL));
}

static void prepare_stateless(void) {
  use("math", "add", (struct mm_map_options){.stateless = 1});
  CHECK_EQUAL(MM_OK, add(NULL));
}

static void prepare_limited(void) {
  use("math", "add", (struct mm_map_options){.timeout_ns = TIMEOUT_NS});
}

static void prepare_upper(void) { use("text", "upper", (struct mm_map_options){0}); }

static int upper(struct mm_error *error) {
  const char *text = "quiet", *result = NULL;
  void *arguments[] = {&text};
  int status = mm_request_call(function, &result, arguments, error);
  if (status == MM_OK) CHECK(result && strcmp(result, "QUIET") == 0);
  return status;
}

static void prepare_dirty(void) { use("memory", "dirty", (struct mm_map_options){0}); }

static int dirty(struct mm_error *error) {
  int count = 0, status = call_two(PAGES, 0, &count, error);
  if (status == MM_OK) CHECK_EQUAL(PAGES, count);
  return status;
}

static void prepare_crash(void) { use("crash", "dirty_then_crash", (struct mm_map_options){0}); }

static int crash(struct mm_error *error) {
  int status = call_two(40, 0, NULL, error);
  if (status == MM_ERROR_FAULT) CHECK(error->was_reset || error->system_error);
  return status;
}

static void prepare_reset(void) {
  int result;
  use("memory", "keep", (struct mm_map_options){0});
  call_two(3 << 20, 5, &result, NULL);
  function = function_of(image, "make_writable");
  call_two(0, 0, &result, NULL);
}

static int reset(struct mm_error *error) { return mm_reset(image, error); }

static void prepare_keep(void) { use("memory", "keep", (struct mm_map_options){0}); }
static void prepare_remap(void) { use("memory", "grow_remap_moving", (struct mm_map_options){0}); }
static void prepare_map_over(void) { use("memory", "map_over", (struct mm_map_options){0}); }

static int call_memory(struct mm_error *error) {
  int64_t result;
  return call_two(1 << 20, 2 << 20, &result, error);
}

static void prepare_files(void) {
  static struct mm_grant_files files;
  files = (struct mm_grant_files){folder, MM_FILES_WRITE};
  use("files", "spill",
      (struct mm_map_options){.grants = MM_GRANT_FILES, .files = &files, .file_count = 1});
}

static int spill(struct mm_error *error) {
  char path[600];
  int64_t result;
  snprintf(path, sizeof path, "%s/spilled", folder);
  return call_two((uint64_t)path, (uint64_t) "text", &result, error);
}

static void one_more(void *result, void **arguments, void *user) {
  (void)user;
  *(int *)result = *(int *)arguments[0] + 1;
}

static void prepare_callback(void) { use("callback", "apply", (struct mm_map_options){0}); }

static int make_callback(struct mm_error *error) {
  return mm_callback(image, "int (int)", one_more, NULL, &callback, error);
}

static void release_callback(void) {
  mm_callback_release(callback);
  release();
}

static void prepare_apply(void) {
  prepare_callback();
  CHECK_EQUAL(MM_OK, make_callback(NULL));
}

static int apply(struct mm_error *error) {
  int result = 0, status = call_two((uint64_t)mm_callback_pointer(callback), 5, &result, error);
  if (status == MM_OK) CHECK_EQUAL(7, result);
  return status;
}

static int allocate(struct mm_error *error) { return mm_allocate(image, BUFFER, &memory, error); }

static void free_and_release(void) {
  CHECK_EQUAL(MM_OK, mm_free(image, memory, NULL));
  release();
}

static void prepare_memory(void) {
  prepare_add();
  CHECK_EQUAL(MM_OK, allocate(NULL));
}

static int copy(struct mm_error *error) {
  char there[BUFFER / 2];
  memset(there, 7, sizeof there);
  int status = mm_write(image, memory, there, sizeof there, error);
  memset(there, 0, sizeof there);
  if (status == MM_OK) status = mm_read(image, memory, there, sizeof there, error);
  if (status == MM_OK) CHECK(there[0] == 7 && there[sizeof there - 1] == 7);
  return status;
}

static int batch(struct mm_error *error) {
  struct mm__hold hold;
  int status = mm__image_keep_open(image, &hold, error);
  if (status != MM_OK) return status;
  for (int i = 0; i < 3 && status == MM_OK; i++) status = add(error);
  mm__image_let_go(&hold);
  return status;
}

static int bind(struct mm_error *error) {
  return mm_bind(image, "add", "int (int, int)", &function, error);
}

static int clients(struct mm_error *error) {
  struct mm_client *list;
  uint32_t count;
  int status = mm_clients(&list, &count, error);
  if (status == MM_OK) mm_clients_free(list, count);
  return status;
}

static void nothing(void) {}

static const struct operation operations[] = {
    {"connects", nothing, connect_first, finalize, .is_once = true, .is_unconnected = true},
    {"disconnects", connect_and_map, finalize_mapped, release, .is_once = true,
     .is_unconnected = true},
    {"maps", nothing, map_first, release, .is_once = true},
    {"maps and verifies", nothing, map_verified, release, .is_once = true},
    {"maps and runs hooks", nothing, map_hooked, release, .is_once = true},
    {"maps a second image", prepare_second, map_second, release, .is_once = true},
    {"unmaps", prepare_second, unmap, release, .is_once = true},
    {"releases", prepare_second, release_mapped, release, .is_once = true},
    {"binds", prepare_second, bind, release, .expected = MM_OK},
    {"calls for the first time", prepare_add, add, release, .expected = MM_OK},
    {"calls again", prepare_learned, add, release, .expected = MM_OK},
    {"calls a stateless image", prepare_stateless, add, release, .expected = MM_OK},
    {"calls with a deadline", prepare_limited, add, release, .expected = MM_OK},
    {"calls with strings", prepare_upper, upper, release, .expected = MM_OK},
    {"calls what writes much", prepare_dirty, dirty, release, .expected = MM_OK},
    {"calls what maps", prepare_keep, call_memory, release, .expected = MM_OK},
    {"calls what moves a mapping", prepare_remap, call_memory, release, .expected = MM_OK},
    {"calls what maps over its snapshot", prepare_map_over, call_memory, release,
     .expected = MM_OK},
    {"calls what writes a file", prepare_files, spill, release, .expected = MM_OK},
    {"calls what calls back", prepare_apply, apply, release_callback, .expected = MM_OK},
    {"calls several at once", prepare_add, batch, release, .expected = MM_OK},
    {"calls what crashes", prepare_crash, crash, release, .expected = MM_ERROR_FAULT},
    {"resets", prepare_reset, reset, release, .expected = MM_OK},
    {"makes a callback", prepare_callback, make_callback, release_callback, .is_once = true},
    {"takes memory", prepare_add, allocate, free_and_release, .is_once = true},
    {"writes and reads memory", prepare_memory, copy, free_and_release, .expected = MM_OK},
    {"lists clients", prepare_second, clients, release, .expected = MM_OK},
};
#define OPERATION_COUNT (sizeof operations / sizeof *operations)

/* --- what must be as it was --- */

struct look {
  struct process process;
  struct layout layout;
};

/* Heap and stack grow as they like. */
static void add_unless_growing(const struct mapping *mapping, void *layout) {
  extern char end[]; /* of the program, behind which the heap is: end(3) */
  uint64_t stack = (uint64_t)__builtin_frame_address(0);
  bool grows = (mapping->low >= (uint64_t)end && mapping->low < (uint64_t)sbrk(0)) ||
               (mapping->low <= stack && stack < mapping->high);
  if (!grows) add_piece(mapping, layout);
}

static void look_around(struct look *look) {
  memset(look, 0, sizeof *look);
  look_at_process(&look->process);
  each_mapping(0, ~0ul, add_unless_growing, &look->layout);
}

static bool is_same(const struct look *before, const struct look *after) {
  return memcmp(before, after, sizeof *before) == 0;
}

static uint64_t bytes_of(const struct layout *layout) {
  uint64_t bytes = 0;
  for (unsigned i = 0; i < layout->count; i++)
    bytes += layout->pieces[i].high - layout->pieces[i].low;
  return bytes;
}

/* With another Matchmaker, whose memory may lie elsewhere. */
static void check_amounts(const struct look *before, const struct look *after) {
  const struct process *was = &before->process, *is = &after->process;
  CHECK(memcmp(was->actions, is->actions, sizeof was->actions) == 0);
  CHECK_EQUAL(was->mask, is->mask);
  CHECK_EQUAL(was->stack.ss_size, is->stack.ss_size);
  CHECK_EQUAL(was->descriptors, is->descriptors);
  CHECK_EQUAL(bytes_of(&before->layout), bytes_of(&after->layout));
}

static bool is_dead(void) {
  struct mm_image_info info;
  return image && mm_image_info(image, &info, NULL) == MM_OK && info.dead;
}

static void check_closed(void) {
  struct mm_image_info info;
  if ((way.guard & ~(SEALED | STRICT)) != MM_GUARD_PAGES || !image ||
      mm_image_info(image, &info, NULL) != MM_OK)
    return;
  struct openness openness = openness_of(info.base);
  CHECK_EQUAL(0, openness.writable);
  CHECK_EQUAL(0, openness.executable);
  if (way.guard & SEALED) CHECK_EQUAL(0, openness.readable);
}

/* --- one refusal --- */

static void check_error(const struct mm_error *error, int status) {
  CHECK_EQUAL(status, error->status);
  CHECK(error->message[0] && !strchr(error->message, '\n'));
}

static int operate(const struct operation *operation, struct mm_error *error) {
  memset(error, 0, sizeof *error);
  return operation->operate(error);
}

/* A dead image lives again, unless its memory had to be given up; what lay in it is gone. */
static void start_over(const struct operation *operation) {
  int status = mm_reset(image, NULL);
  CHECK(status == MM_OK ? !is_dead() : status == MM_ERROR_DEAD);
  release();
  operation->prepare();
}

static void try_one(const struct operation *operation, unsigned at) {
  struct mm_error error;
  operation->prepare();
  arm(at);
  int status = operate(operation, &error);
  disarm();
  int failed = failures;
  if (status != operation->expected) check_error(&error, status);
  check_closed();
  if (is_dead()) start_over(operation);
  if (status != operation->expected || !operation->is_once) {
    int again = operate(operation, &error);
    CHECK_EQUAL(operation->expected, again);
    if (again != operation->expected) printf("# again: %s\n", error.message);
    check_closed();
  }
  if (failures != failed) printf("# it was: %d, %s\n", status, error.message);
  operation->conclude();
}

/* Without a refusal, until all is there that stays: what libraries keep. Returns how many calls
 * there are to refuse. */
static unsigned warm_up(const struct operation *operation) {
  for (int i = 0; i < 2; i++) try_one(operation, 0);
  return orders->seen;
}

static bool is_thorough(void) {
  const char *wish = getenv("MM_INJECT");
  return wish && strcmp(wish, "all") == 0;
}

/* What the kernel did not take back goes with the Matchmaker. */
static void reconnect(const struct operation *operation) {
  if (operation->is_unconnected) connect_client();
  finalize();
  if (!operation->is_unconnected) connect_client();
}

static void try_all(void) {
  static struct look before, after;
  const struct operation *operation = &operations[orders->operation];
  failures = 0;
  if (!operation->is_unconnected) connect_client();
  unsigned seen = warm_up(operation), step = is_thorough() ? 1 : 1 + seen / SAMPLE;
  for (unsigned at = orders->first; at <= seen; at += step) {
    int failed = failures;
    look_around(&before);
    orders->first = at + step;
    try_one(operation, at);
    look_around(&after);
    if (!is_same(&before, &after)) {
      reconnect(operation);
      look_around(&after);
    }
    check_amounts(&before, &after);
    if (failures != failed) printf("# refused, number %u: %s\n", at, refused_text());
  }
  if (!operation->is_unconnected) finalize();
}

/* --- refusals that go on --- */

/* Not even the whole slot can be closed by mprotect(2): the memory is given up. */
static void lose_what_cannot_be_closed(void) {
  struct mm_error error;
  failures = 0;
  connect_client();
  prepare_learned();
  arm(0);
  CHECK_EQUAL(MM_OK, add(&error));
  orders->goes_on = true;
  arm(orders->seen); /* the last is the one that closes */
  CHECK_EQUAL(MM_ERROR_DEAD, add(&error));
  disarm();
  orders->goes_on = false;
  CHECK_EQUAL(SYS_mprotect, refusable[orders->kind].number);
  CHECK(strstr(error.message, "its memory") && strstr(error.message, "unmap it"));
  struct openness openness = openness_of(base_of(image));
  CHECK(!openness.readable && !openness.writable && !openness.executable);
  CHECK_EQUAL(MM_ERROR_DEAD, add(&error));
  CHECK_EQUAL(MM_ERROR_DEAD, mm_reset(image, &error));
  CHECK(is_dead());
  CHECK_EQUAL(MM_OK, mm_unmap(image, &error));
  release();
  prepare_learned();
  release();
  finalize();
}

/* A child that dies is followed by another, which goes on behind what it died of. */
static bool survives(unsigned index) {
  bool is_good = true;
  orders->operation = index;
  orders->first = 1;
  for (int status = -1; status != 0;) {
    unsigned first = orders->first;
    status = run_traced(try_all);
    is_good &= status == 0;
    if (WIFSIGNALED(status))
      printf("# signal %d; refused, number %u: %s\n", WTERMSIG(status), orders->at, refused_text());
    if (!WIFSIGNALED(status) || orders->first == first) break;
  }
  return is_good;
}

int main(int count, char **arguments) {
  static const struct way ways[] = {
      {"pages", MM_GUARD_PAGES, {0}},
      {"open", MM_GUARD_OPEN, {0}},
      {"sealed", MM_GUARD_PAGES | SEALED, {0}},
      {"strict", MM_GUARD_PAGES | STRICT, {0}},
      {"with a selector", MM_GUARD_PAGES, {.without = MM_WITHOUT_INCLUSIVE}},
  };
  find_folders(count, arguments);
  share_orders();
  const char *only = count > 2 ? arguments[2] : NULL;
  for (size_t i = 0; i < (is_thorough() ? sizeof ways / sizeof *ways : 1); i++) {
    way = ways[i];
    for (unsigned j = 0; j < OPERATION_COUNT; j++) {
      if (only && strcmp(only, operations[j].name) != 0) continue;
      bool is_good = survives(j);
      printf("%s %s, %s\n", is_good ? "ok" : "not ok", operations[j].name, way.name);
      fflush(stdout);
      failures += !is_good;
    }
  }
  if (!only) {
    way = ways[0];
    bool is_good = run_traced(lose_what_cannot_be_closed) == 0;
    printf("%s loses what cannot be closed\n", is_good ? "ok" : "not ok");
    failures += !is_good;
  }
  printf("# %u times something was refused\n", orders->refused);
  return failures != 0;
}
