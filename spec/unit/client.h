/* unit/client.h - what the unit programs that call images share: checks, images, child processes. */
#ifndef SPEC_UNIT_CLIENT_H
#define SPEC_UNIT_CLIENT_H

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "matchmaker.h"

#define UNUSED __attribute__((unused))
#ifndef TEST_SECONDS
#define TEST_SECONDS 100 /* after which a child counts as hanging */
#endif

#define SEALED 0x100u
#define GUARDS 0xffu /* enum mm_guard; above it a program may have flags of its own */

/* How the tests of a program are being run: each program runs all of them in several ways, every one in a child. */
struct way {
  const char *name;
  uint32_t guard; /* and SEALED */
  struct mm_config config;
};

static char build_folder[512] UNUSED, folder[512] UNUSED;
static struct way way UNUSED;
/* QEMU interprets the machine: it is slow, and lacks the alignment check and the stack fault. */
static bool emulated UNUSED;

/* The values are integers; both are shown when they differ. */
#define CHECK_EQUAL(expected, got)                                                                 \
  do {                                                                                             \
    uint64_t expected_ = (uint64_t)(expected), got_ = (uint64_t)(got);                             \
    checks++;                                                                                      \
    if (expected_ != got_) {                                                                       \
      failures++;                                                                                  \
      printf("# %s:%d: %s is 0x%lx, not 0x%lx\n", __FILE__, __LINE__, #got, got_, expected_);      \
    }                                                                                              \
  } while (0)

#define RUN(test, ...)                                                                             \
  do {                                                                                             \
    int before_ = failures;                                                                        \
    test(__VA_ARGS__);                                                                             \
    printf("%s %s%s%s\n", failures == before_ ? "ok" : "not ok", #test, way.name ? ", " : "",      \
           way.name ? way.name : "");                                                              \
    fflush(stdout);                                                                                \
  } while (0)

/* A call that ends badly may block the alarm: processor time ends it all the same. */
static UNUSED void limit_time(void) {
  struct rlimit limit = {TEST_SECONDS, TEST_SECONDS};
  setrlimit(RLIMIT_CPU, &limit);
  alarm(TEST_SECONDS);
}

static UNUSED void must(int status, const struct mm_error *error) {
  if (status == MM_OK) return;
  printf("# %s\n", error->message);
  printf("not ok, %s\n", way.name ? way.name : "the client");
  fflush(stdout);
  _exit(1);
}

/* argv[0] is BUILD/unit/NAME, argv[1] a folder for files. */
static UNUSED void find_folders(int count, char **arguments) {
  snprintf(build_folder, sizeof build_folder, "%s", arguments[0]);
  for (int i = 0; i < 2; i++) {
    char *slash = strrchr(build_folder, '/');
    if (slash) *slash = 0;
  }
  snprintf(folder, sizeof folder, "%s", count > 1 ? arguments[1] : "/tmp");
  emulated = getenv("MM_EMULATED") != NULL;
}

static UNUSED void connect_client(void) {
  struct mm_error error;
  must(mm_init(&way.config, &error), &error);
}

static UNUSED struct mm_image *map_with(const char *name, const struct mm_map_options *options) {
  struct mm_map_options chosen = *options;
  char path[640];
  struct mm_image *image;
  struct mm_error error;
  chosen.guard &= ~SEALED;
  chosen.sealed |= options->guard / SEALED;
  snprintf(path, sizeof path, "%s/image/%s.mmi", build_folder, name);
  must(mm_request_map(path, &chosen, &image, &error), &error);
  return image;
}

static UNUSED struct mm_image *map_image(const char *name) {
  return map_with(name, &(struct mm_map_options){.guard = way.guard});
}

static UNUSED struct mm_function *function_of(struct mm_image *image, const char *name) {
  struct mm_function *function;
  struct mm_error error;
  must(mm_bind(image, name, NULL, &function, &error), &error);
  return function;
}

static UNUSED void *stub_of(struct mm_image *image, const char *name) {
  return mm_function_pointer(function_of(image, name));
}

static UNUSED uint64_t base_of(struct mm_image *image) {
  struct mm_image_info info;
  struct mm_error error;
  must(mm_image_info(image, &info, &error), &error);
  return info.base;
}

/* The kinds of calls that the tests make through stubs. */
#define CALL_INT(image, name)         (((int (*)(void))stub_of(image, name))())
#define CALL_INT_INT(image, name, x)  (((int (*)(int))stub_of(image, name))(x))
#define CALL_LONG(image, name)        (((uint64_t(*)(void))stub_of(image, name))())
#define CALL_LONG_INT(image, name, x) (((uint64_t(*)(int))stub_of(image, name))(x))

/* Runs `body` in a child, and returns its wait status. What it writes to descriptors 1 and 2 goes to `output`. */
static UNUSED int in_child(void (*body)(void *), void *argument, char *output, size_t size) {
  int ends[2];
  size_t length = 0;
  fflush(stdout);
  if (pipe(ends) != 0) return -1;
  pid_t child = fork();
  if (child == 0) {
    limit_time();
    close(ends[0]);
    dup2(ends[1], 1);
    dup2(ends[1], 2);
    close(ends[1]);
    body(argument);
    fflush(stdout);
    _exit(0);
  }
  close(ends[1]);
  while (length + 1 < size) {
    ssize_t count = read(ends[0], output + length, size - 1 - length);
    if (count <= 0) break;
    length += (size_t)count;
  }
  output[length] = 0;
  close(ends[0]);
  int status = -1;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return status;
}

/* A core file appears where the process is: core(5). */
static UNUSED bool dumps_to_a_file(void) {
  char pattern[128] = "|";
  FILE *file = fopen("/proc/sys/kernel/core_pattern", "re");
  if (file && !fgets(pattern, sizeof pattern, file)) pattern[0] = 0;
  if (file) fclose(file);
  return strcmp(pattern, "core\n") == 0;
}

/* The emulated CPU has them, whatever this one has. */
static UNUSED bool has_keys(void) {
  int key = pkey_alloc(0, 0);
  if (key >= 0) pkey_free(key);
  return key >= 0 || emulated;
}

/* Runs all tests in each way, each in a child of its own that is not connected yet. Returns the exit status. */
static UNUSED int run_ways(const struct way *ways, size_t count, void (*tests)(void)) {
  int failed = 0;
  for (size_t i = 0; i < count; i++) {
    if ((ways[i].guard & GUARDS) == MM_GUARD_KEYS && !has_keys()) continue;
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
      limit_time();
      way = ways[i];
      tests();
      fflush(stdout);
      _exit(failures != 0);
    }
    int status = -1;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    if (WIFSIGNALED(status))
      printf("# signal %d\nnot ok ends, %s\n", WTERMSIG(status), ways[i].name);
    failed |= status != 0;
  }
  return failed;
}

/* --- what /proc/self/maps says --- */

struct mapping {
  uint64_t low, high;
  char protection[5];
  unsigned long inode; /* 0: of no file */
};

/* Calls `visit` for every mapping in [low, high). */
static UNUSED void each_mapping(uint64_t low, uint64_t high,
                                void (*visit)(const struct mapping *mapping, void *argument),
                                void *argument) {
  char line[512];
  FILE *maps = fopen("/proc/self/maps", "re");
  struct mapping mapping = {0};
  while (maps && fgets(line, sizeof line, maps))
    if (sscanf(line, "%lx-%lx %4s %*s %*s %lu", &mapping.low, &mapping.high, mapping.protection,
               &mapping.inode) == 4 &&
        mapping.low >= low && mapping.high <= high)
      visit(&mapping, argument);
  if (maps) fclose(maps);
}

#define SLOT_BYTES (1ul << 36)

struct openness {
  int writable, executable, readable;
};

static UNUSED void add_openness(const struct mapping *mapping, void *openness_) {
  struct openness *openness = openness_;
  openness->readable += mapping->protection[0] == 'r';
  openness->writable += mapping->protection[1] == 'w';
  openness->executable += mapping->protection[2] == 'x';
}

/* How many mappings of a slot can be read, written, executed. */
static UNUSED struct openness openness_of(uint64_t base) {
  struct openness openness = {0};
  each_mapping(base, base + SLOT_BYTES, add_openness, &openness);
  return openness;
}

static UNUSED void add_one(const struct mapping *mapping, void *count) {
  (void)mapping;
  ++*(int *)count;
}

static UNUSED int mapping_count(void) {
  int count = 0;
  each_mapping(0, ~0ul, add_one, &count);
  return count;
}

#endif
