/* Compares memory calls that run inside an image, on memory of its snapshot, with the same calls run natively.
 * Usage: memory_test FOLDER [SEED [SCRIPTS]]; prints one line per test, exit status 1 when one failed. */
#include "client.h"

#include "memory_script.h"

#define SCRIPTS 60

static struct script_step steps[SCRIPT_STEPS];
static uint64_t state = 4711;
static int scripts = SCRIPTS;

static uint32_t chance(void) {
  state = state * 6364136223846793005u + 1442695040888963407u;
  return (uint32_t)(state >> 33);
}

/* The sum after each step, natively: in a child, whose memory is fresh. */
static void native_body(void *unused) {
  static struct script_area area;
  (void)unused;
  if (!script_begin(&area) || !script_begin_heap(&area)) _exit(1);
  for (unsigned i = 0; i < SCRIPT_STEPS; i++) {
    uint64_t sum = script_run(&area, &steps[i], 1);
    if (write(1, &sum, sizeof sum) != sizeof sum) _exit(2);
  }
}

static bool run_natively(uint64_t *sums) {
  int ends[2], status = -1;
  if (pipe(ends) != 0) return false;
  pid_t child = fork();
  if (child == 0) {
    dup2(ends[1], 1);
    native_body(NULL);
    _exit(0);
  }
  close(ends[1]);
  size_t bytes = 0;
  for (ssize_t got = 1; got > 0 && bytes < SCRIPT_STEPS * sizeof *sums; bytes += (size_t)got)
    got = read(ends[0], (char *)sums + bytes, SCRIPT_STEPS * sizeof *sums - bytes);
  close(ends[0]);
  waitpid(child, &status, 0);
  return status == 0 && bytes == SCRIPT_STEPS * sizeof *sums;
}

static void print_script(unsigned count) {
  static const char *const names[] = {"map",  "map_fresh", "unmap",  "protect", "discard",
                                      "fill", "move",      "shrink", "brk"};
  for (unsigned i = 0; i < count; i++)
    printf("# %s page %u pages %u other %u\n", names[steps[i].kind % SCRIPT_KINDS],
           steps[i].page % SCRIPT_PAGES, 1 + steps[i].pages % 12u, steps[i].other);
}

/* Returns how many steps had the same sum. */
static unsigned compare(struct mm_image *image, const uint64_t *sums) {
  void (*step_set)(uint32_t, uint32_t) = stub_of(image, "step_set");
  uint64_t (*run)(uint32_t) = stub_of(image, "run");
  for (unsigned i = 0; i < SCRIPT_STEPS; i++) {
    uint32_t step;
    memcpy(&step, &steps[i], sizeof step);
    step_set(0, step);
    if (run(1) != sums[i]) return i;
  }
  return SCRIPT_STEPS;
}

static void does_in_an_image_what_it_does_natively(void) {
  uint64_t sums[SCRIPT_STEPS];
  struct mm_image *image = map_image("memory_script");
  for (int i = 0; i < scripts && failures < 3; i++) {
    for (unsigned j = 0; j < SCRIPT_STEPS; j++)
      steps[j] = (struct script_step){(uint8_t)chance(), (uint8_t)chance(), (uint8_t)chance(),
                                      (uint8_t)chance()};
    CHECK(run_natively(sums));
    unsigned same = compare(image, sums);
    CHECK_EQUAL(SCRIPT_STEPS, same);
    if (same != SCRIPT_STEPS) {
      struct mm_error error = {0};
      printf("# script %d: %s\n", i, mm_take_fault(&error) ? error.message : "no fault");
      print_script(same + 1);
    }
    CHECK_EQUAL(MM_OK, mm_reset(image, NULL));
    CHECK_EQUAL(1, CALL_INT(image, "look_where"));
  }
  mm_image_release(image);
}

static void all_tests(void) {
  connect_client();
  RUN(does_in_an_image_what_it_does_natively);
  CHECK_EQUAL(MM_OK, mm_finalize(NULL));
}

int main(int count, char **arguments) {
  static const struct way ways[] = {
      {"pages", MM_GUARD_PAGES, {0}},
      {"open", MM_GUARD_OPEN, {0}},
      {"pages, sealed", MM_GUARD_PAGES | SEALED, {0}},
      {"keys", MM_GUARD_KEYS, {0}},
      {"keys, sealed, without FSGSBASE", MM_GUARD_KEYS | SEALED, {.without = MM_WITHOUT_FSGSBASE}},
  };
  find_folders(count, arguments);
  if (count > 2) state = strtoul(arguments[2], NULL, 0);
  if (count > 3) scripts = atoi(arguments[3]);
  return run_ways(ways, sizeof ways / sizeof *ways, all_tests);
}
