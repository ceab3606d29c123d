/* Several copies of the client library in one process share one Matchmaker. Prints one line per
 * test; exit status 1 when one failed. Usage: copies_test FOLDER ($MM_BUILD: the build folder). */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "matchmaker.h"

static const char *build;

/* The calls of one copy. */
struct copy {
  int (*init)(const struct mm_config *, struct mm_error *);
  int (*finalize)(struct mm_error *);
  int (*map)(const char *, const struct mm_map_options *, struct mm_image **, struct mm_error *);
  int (*bind)(struct mm_image *, const char *, const char *, struct mm_function **,
              struct mm_error *);
  int (*call)(struct mm_function *, void *, void **, struct mm_error *);
  int (*mapped)(uint32_t, struct mm_image_info *, struct mm_error *);
  void (*release)(struct mm_image *);
};

/* Loads a copy of the library under another name, which the dynamic linker takes for another one. */
static struct copy load(const char *folder, const char *name) {
  char command[1024], path[512];
  snprintf(path, sizeof path, "%s/%s.so", folder, name);
  snprintf(command, sizeof command, "cp %s/libmatchmaker.so %s", build, path);
  void *library = system(command) == 0 ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
  if (!library) {
    printf("# cannot load %s: %s\n", path, dlerror());
    exit(1);
  }
  struct copy copy;
  *(void **)&copy.init = dlsym(library, "mm_init");
  *(void **)&copy.finalize = dlsym(library, "mm_finalize");
  *(void **)&copy.map = dlsym(library, "mm_request_map");
  *(void **)&copy.bind = dlsym(library, "mm_bind");
  *(void **)&copy.call = dlsym(library, "mm_request_call");
  *(void **)&copy.mapped = dlsym(library, "mm_mapped");
  *(void **)&copy.release = dlsym(library, "mm_image_release");
  return copy;
}

/* Mappings of this process that lie in the arena. */
static int mappings(void) {
  char line[512];
  int count = 0;
  FILE *maps = fopen("/proc/self/maps", "r");
  while (maps && fgets(line, sizeof line, maps)) {
    unsigned long low = strtoul(line, NULL, 16);
    count += low >= 0x200000000000 && low < 0x500000000000;
  }
  if (maps) fclose(maps);
  return count;
}

static int add(const struct copy *copy, struct mm_image *image) {
  struct mm_function *function;
  struct mm_error error;
  int a = 20, b = 22, sum = 0;
  void *arguments[] = {&a, &b};
  if (copy->bind(image, "add", "int (int, int)", &function, &error) != MM_OK ||
      copy->call(function, &sum, arguments, &error) != MM_OK)
    printf("# %s\n", error.message);
  return sum;
}

static void end(const char *name) {
  static int failed_before;
  printf("%s %s\n", failures == failed_before ? "ok" : "not ok", name);
  failed_before = failures;
}

static void share_one_matchmaker(const struct copy *first, const struct copy *second,
                                 const char *path) {
  struct mm_image *image, *again;
  struct mm_image_info info;
  struct mm_error error;
  CHECK(first->init(NULL, &error) == MM_OK);
  int alone = mappings();
  CHECK(second->init(NULL, &error) == MM_OK);
  CHECK(mappings() == alone);
  CHECK(first->map(path, NULL, &image, &error) == MM_OK);
  CHECK(second->mapped(0, &info, &error) == MM_OK && strcmp(info.path, path) == 0);
  CHECK(second->map(path, NULL, &again, &error) == MM_ERROR_SLOT_TAKEN);
  CHECK(add(first, image) == 42);
  end("two_copies_share_one_matchmaker");

  CHECK(second->finalize(&error) == MM_OK);
  CHECK(add(first, image) == 42);
  end("one_copy_goes_on_when_the_other_leaves");

  CHECK(second->init(NULL, &error) == MM_OK);
  CHECK(first->finalize(&error) == MM_OK);
  CHECK(first->finalize(&error) == MM_ERROR_NOT_CONNECTED);
  CHECK(second->mapped(0, &info, &error) == MM_OK);
  first->release(image);
  end("the_first_copy_may_leave_first");

  CHECK(second->finalize(&error) == MM_OK);
  CHECK(mappings() == 0);
  end("the_last_one_out_unmaps_everything");

  CHECK(second->init(NULL, &error) == MM_OK);
  CHECK(second->map(path, NULL, &image, &error) == MM_OK);
  CHECK(add(second, image) == 42);
  second->release(image);
  CHECK(second->finalize(&error) == MM_OK);
  CHECK(mappings() == 0);
  end("a_copy_may_come_back_alone");
}

int main(int count, char **arguments) {
  char path[512];
  build = getenv("MM_BUILD") ? getenv("MM_BUILD") : "build";
  const char *folder = count > 1 ? arguments[1] : "/tmp";
  snprintf(path, sizeof path, "%s/image/math.mmi", build);
  struct copy first = load(folder, "first"), second = load(folder, "second");
  share_one_matchmaker(&first, &second, path);
  printf("# %d checks, %d failures\n", checks, failures);
  return failures != 0;
}
