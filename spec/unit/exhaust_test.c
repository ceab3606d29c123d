/* What a process may have is used up: mappings (vm.max_map_count, proc(5)), address space, descriptors
 * (getrlimit(2)). Requests then say so or succeed, nothing is left behind or open, and all of it works
 * again when there is room. Usage: exhaust_test FOLDER; prints one line per test, exit status 1 when one failed. */
#include "process.h"

#define PAGE        4096ul
#define FILLER      (80000 * PAGE) /* more pages than there may be mappings */
#define STEPS       12             /* how many mappings are left, at most, is twice that */
#define MEBIBYTE    (1ul << 20)
#define DESCRIPTORS 3

static struct mm_image *image;

/* --- mappings --- */

static char *filler;
static unsigned long odd_pages;

static void prepare_filler(void) {
  filler = mmap(NULL, FILLER, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  CHECK(filler != MAP_FAILED);
}

/* Each page of its own makes two mappings more, until the kernel refuses. */
static void use_up_mappings(void) {
  for (odd_pages = 0; 2 * odd_pages + 1 < FILLER / PAGE; odd_pages++)
    if (mprotect(filler + (2 * odd_pages + 1) * PAGE, PAGE, PROT_READ) != 0) break;
  CHECK(odd_pages > 0 && 2 * odd_pages + 1 < FILLER / PAGE);
}

static void leave_two_mappings(void) {
  CHECK(mprotect(filler + (2 * --odd_pages + 1) * PAGE, PAGE, PROT_NONE) == 0);
}

static void give_mappings_back(void) { CHECK(mprotect(filler, FILLER, PROT_NONE) == 0); }

/* --- what is asked for --- */

static int request(const char *name, struct mm_error *error) {
  struct mm_map_options options = {.guard = way.guard & ~SEALED,
                                   .sealed = (way.guard & SEALED) != 0};
  char path[640];
  snprintf(path, sizeof path, "%s/image/%s.mmi", build_folder, name);
  image = NULL;
  return mm_request_map(path, &options, &image, error);
}

static int add(int32_t *sum, struct mm_error *error) {
  int32_t a = 40, b = 2;
  void *arguments[] = {&a, &b};
  *sum = 0;
  return mm_request_call(function_of(image, "add"), sum, arguments, error);
}

static bool is_out_of_memory(int status, const struct mm_error *error) {
  if (status != MM_ERROR_MEMORY || error->status != status || !error->message[0])
    printf("# status %d: %s\n", status, error->message);
  return status == MM_ERROR_MEMORY && error->status == status && error->message[0];
}

static void check_rest(void) {
  if (way.guard == MM_GUARD_OPEN || way.guard == MM_GUARD_KEYS) return;
  struct openness openness = openness_of(base_of(image));
  CHECK_EQUAL(0, openness.writable);
  CHECK_EQUAL(0, openness.executable);
}

static void check_works(void) {
  struct mm_error error;
  int32_t sum;
  CHECK_EQUAL(MM_OK, add(&sum, &error));
  CHECK_EQUAL(42, sum);
  check_rest();
}

static void release(void) {
  mm_image_release(image);
  image = NULL;
}

/* Maps, or is refused for lack of memory; whichever, nothing is left of it. */
static bool map_or_not(void) {
  struct mm_error error;
  int before = mapping_count();
  int status = request("math", &error);
  CHECK(status == MM_OK || is_out_of_memory(status, &error));
  if (status == MM_OK) check_rest();
  release();
  CHECK_EQUAL(before, mapping_count());
  return status == MM_OK;
}

/* --- the tests --- */

static void mappings_run_out_for_an_image(void) {
  unsigned refused = 0;
  prepare_filler();
  use_up_mappings();
  for (int i = 0; i < STEPS; i++) {
    refused += !map_or_not();
    leave_two_mappings();
  }
  CHECK(refused > 0);
  give_mappings_back();
  CHECK(map_or_not());
  CHECK(munmap(filler, FILLER) == 0);
}

static void mappings_run_out_for_a_call(void) {
  struct mm_error error;
  int32_t sum;
  unsigned refused = 0;
  prepare_filler();
  must(request("math", &error), &error);
  function_of(image, "add");
  use_up_mappings();
  for (int i = 0; i < STEPS; i++) {
    int status = add(&sum, &error);
    CHECK(status == MM_OK ? sum == 42 : is_out_of_memory(status, &error));
    refused += status != MM_OK;
    check_rest();
    leave_two_mappings();
  }
  CHECK((refused > 0) == (way.guard != MM_GUARD_OPEN && way.guard != MM_GUARD_KEYS));
  give_mappings_back();
  check_works();
  release();
  CHECK(munmap(filler, FILLER) == 0);
}

static void mappings_run_out_for_a_crash_and_its_reset(void) {
  struct mm_error error;
  prepare_filler();
  must(request("crash", &error), &error);
  struct mm_function *crash = function_of(image, "write_null");
  use_up_mappings();
  for (int i = 0; i < STEPS; i++) {
    int status = mm_request_call(crash, NULL, NULL, &error);
    CHECK(status == MM_ERROR_FAULT || is_out_of_memory(status, &error));
    check_rest();
    leave_two_mappings();
  }
  give_mappings_back();
  CHECK_EQUAL(MM_ERROR_FAULT, mm_request_call(crash, NULL, NULL, &error));
  check_rest();
  release();
  CHECK(munmap(filler, FILLER) == 0);
}

static void limit(int what, unsigned long value, struct rlimit *before) {
  CHECK(getrlimit((__rlimit_resource_t)what, before) == 0);
  struct rlimit now = {value, before->rlim_max};
  CHECK(setrlimit((__rlimit_resource_t)what, &now) == 0);
}

static unsigned long address_space(void) {
  unsigned long pages = 0;
  FILE *file = fopen("/proc/self/statm", "re");
  CHECK(file && fscanf(file, "%lu", &pages) == 1);
  if (file) fclose(file);
  return pages * PAGE;
}

static void address_space_runs_out_for_an_image(void) {
  unsigned refused = 0;
  for (unsigned long room = 0; room <= 256 * MEBIBYTE; room = room ? 4 * room : MEBIBYTE) {
    struct rlimit before;
    limit(RLIMIT_AS, address_space() + room, &before);
    refused += !map_or_not();
    CHECK(setrlimit(RLIMIT_AS, &before) == 0);
  }
  CHECK(refused > 0);
  CHECK(map_or_not());
}

static void address_space_runs_out_for_a_call(void) {
  struct mm_error error;
  struct rlimit before;
  must(request("math", &error), &error);
  function_of(image, "add");
  limit(RLIMIT_AS, address_space(), &before);
  check_works(); /* what a call needs is there already */
  CHECK(setrlimit(RLIMIT_AS, &before) == 0);
  release();
}

static void descriptors_run_out_for_an_image(void) {
  struct mm_error error;
  struct rlimit before;
  limit(RLIMIT_NOFILE, DESCRIPTORS, &before);
  int status = request("math", &error);
  CHECK(status != MM_OK && !image);
  CHECK(strstr(error.message, "math.mmi") && strstr(error.message, strerror(EMFILE)));
  CHECK(setrlimit(RLIMIT_NOFILE, &before) == 0);
  CHECK(map_or_not());
}

static void tests(void) {
  connect_client();
  CHECK(map_or_not()); /* what is kept for the next one is there now */
  RUN(mappings_run_out_for_an_image);
  RUN(mappings_run_out_for_a_call);
  RUN(mappings_run_out_for_a_crash_and_its_reset);
  RUN(address_space_runs_out_for_an_image);
  RUN(address_space_runs_out_for_a_call);
  RUN(descriptors_run_out_for_an_image);
}

int main(int count, char **arguments) {
  static const struct way ways[] = {
      {"pages", MM_GUARD_PAGES, {0}},
      {"open", MM_GUARD_OPEN, {0}},
      {"pages, sealed", MM_GUARD_PAGES | SEALED, {0}},
      {"keys", MM_GUARD_KEYS, {0}},
  };
  find_folders(count, arguments);
  return run_ways(ways, sizeof ways / sizeof *ways, tests);
}
