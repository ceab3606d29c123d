/* Policies as a C client meets them: calls that go past the client library, patterns, and texts that
 * are none. */
#include "client.h"

#include <pthread.h>

#include "client/client.h"
#include "client/policy.h"

#define FORKS    60
#define CHILD_MS 20000 /* after which it counts as hanging */

static void write_policy(char *path, size_t size, const char *text) {
  snprintf(path, size, "%s/policy.yaml", folder);
  FILE *file = fopen(path, "w");
  CHECK(file && fputs(text, file) >= 0 && fclose(file) == 0);
}

static uint64_t own_address(struct mm_image *image, const char *name) {
  return mm__registry_find(&image->registry, name)->address;
}

static void refuses_a_call_through_a_plain_pointer(void) {
  struct mm_image *image = map_image("math");
  struct mm_error error;
  int (*add)(int, int) = stub_of(image, "add");
  double (*add_double)(double, double) = stub_of(image, "add_double");
  CHECK_EQUAL(3, add(1, 2));
  CHECK(add_double(1, 2) == 0);
  CHECK_EQUAL(MM_ERROR_POLICY, mm_take_fault(&error));
  CHECK(strstr(error.message, "add_double: ") && strstr(error.message, "policy.yaml:1 "));
  CHECK_EQUAL(MM_OK, mm_take_fault(&error));
  CHECK_EQUAL(7, add(3, 4));
  mm_image_release(image);
}

static void jump(void *function) { (*(double (**)(double, double))function)(1, 2); }

/* With the guard `pages`, a jump to an export's own address is a call through the gate. */
static void refuses_a_jump_to_its_own_address(void) {
  struct mm_image *image = map_image("math");
  int (*add)(int, int) = (int (*)(int, int))own_address(image, "add");
  double (*add_double)(double, double) =
      (double (*)(double, double))own_address(image, "add_double");
  CHECK_EQUAL(3, add(1, 2));
  char output[512];
  int status = in_child(jump, &add_double, output, sizeof output);
  CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
  CHECK(strstr(output, "rejected: "));
  mm_image_release(image);
}

static void write_to(void *address) { **(volatile uint8_t **)address = 0; }

/* Where the Matchmaker reads what may be called: head and entries, and its record of them. */
static void cannot_be_written_over_in_the_matchmaker(void) {
  struct mm_image *image = map_image("math");
  const struct mm__head *head;
  must(mm__core(NULL)->head(image->slot, image->serial, &head, NULL), NULL);
  uint8_t *copy = (uint8_t *)head->elf;
  uint8_t *places[] = {(uint8_t *)head, copy - 1, copy, copy + head->facts->head_bytes};
  for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
    char output[512];
    int status = in_child(write_to, &places[i], output, sizeof output);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
  }
  mm_image_release(image);
}

static void knows_patterns(void) {
  CHECK(mm__pattern_fits("a*c", "abbc") && mm__pattern_fits("*", "") && mm__pattern_fits("?", "x"));
  CHECK(mm__pattern_fits("/a/*.mmi", "/a/b.mmi") && !mm__pattern_fits("/a/*.mmi", "/a/b/c.mmi"));
  CHECK(!mm__pattern_fits("a?c", "a/c") && !mm__pattern_fits("", "a") && mm__pattern_fits("", ""));
  CHECK(mm__pattern_fits("/*/x/*", "/a/x/b") && !mm__pattern_fits("/*/x", "/a/b/x"));
  CHECK(mm__pattern_fits("*a*b", "aaaaab") && !mm__pattern_fits("*a*b", "aaaaa"));
  char text[128];
  memset(text, 'a', sizeof text);
  text[127] = 0;
  CHECK(!mm__pattern_fits("*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*b", text)); /* and at once */
}

/* Pieces of policies, joined and damaged at random: an error or a policy, never more. */
static void survives_any_text(void) {
  static const char *const pieces[] = {
      "rules:",   "limits:", "- ",       "  ",          "\n",       "images: ",  "/",
      "*",        "&a ",     "*a ",      "[",           "]",        "{",         "}",
      ", ",       ": ",      "users: ",  "exports: ",   "memory: ", "1M",        "500ms",
      "forbid: ", "\"",      "'",        "| ",          "> ",       "#",         "---\n",
      "...\n",    "!!str ",  "? ",       "%YAML 1.1\n", "\t",       "\xff",      "\xc3\xa4",
      "read: ",   "write: ", "grants: ", "output",      "<<: ",     "timeout: ", "images: 1",
      "x"};
  uint64_t random = 1;
  unsigned policies = 0;
  for (unsigned round = 0; round < 20000; round++) {
    char text[512] = "rules:\n- images: /\n";
    size_t length = round % 2 ? strlen(text) : 0;
    for (int i = 0; i < 24; i++) {
      random = random * 6364136223846793005u + 1442695040888963407u;
      const char *piece = pieces[(random >> 33) % (sizeof pieces / sizeof *pieces)];
      memcpy(text + length, piece, strlen(piece));
      length += strlen(piece);
    }
    struct mm__policy *policy = NULL;
    struct mm_error error;
    int status = mm__policy_parse(text, length, "policy.yaml", &policy, &error);
    CHECK(status == MM_OK || (status == MM_ERROR_POLICY && error.message[0]));
    policies += status == MM_OK;
    if (status == MM_OK) mm__policy_free(policy);
  }
  printf("# %u of 20000 texts were policies\n", policies);
}

static void bends_to_no_depth(void) {
  size_t size = 1 << 16;
  char *text = malloc(size);
  struct mm__policy *policy;
  struct mm_error error;
  for (const char *c = "[{-&\"\0"; *c; c++) {
    memset(text, *c, size);
    CHECK_EQUAL(MM_ERROR_POLICY, mm__policy_parse(text, size, "policy.yaml", &policy, &error));
  }
  free(text);
}

/* --- a fork while another thread exchanges the policies --- */

static void *exchange_often(void *stop) {
  while (!*(volatile bool *)stop) mm__policies_load(way.config.policy, NULL);
  return NULL;
}

/* An alarm would not do: a child that waits for the lock has blocked it. */
static int ask_in_child(void) {
  int status = -1;
  pid_t child = fork();
  if (child == 0) {
    struct mm_image *image = map_image("math");
    int (*add)(int, int) = stub_of(image, "add");
    _exit(add(1, 2) == 3 ? 0 : 1);
  }
  for (int i = 0; i < CHILD_MS && waitpid(child, &status, WNOHANG) == 0; i++) usleep(1000);
  if (status < 0) {
    kill(child, SIGKILL);
    waitpid(child, &status, 0);
  }
  return status;
}

static void is_asked_in_children_that_are_forked_at_any_moment(void) {
  volatile bool stop = false;
  pthread_t thread;
  pthread_create(&thread, NULL, exchange_often, (void *)&stop);
  for (int i = 0, status = 0; i < FORKS && status == 0; i++) {
    status = ask_in_child();
    CHECK_EQUAL(0, status);
  }
  stop = true;
  pthread_join(thread, NULL);
}

static void all_tests(void) {
  connect_client();
  RUN(refuses_a_call_through_a_plain_pointer);
  RUN(cannot_be_written_over_in_the_matchmaker);
  if (way.guard == MM_GUARD_PAGES) RUN(refuses_a_jump_to_its_own_address);
  if (!way.config.without) RUN(is_asked_in_children_that_are_forked_at_any_moment);
}

int main(int count, char **arguments) {
  static char path[1024];
  static struct way ways[] = {
      {"pages", MM_GUARD_PAGES, {.policy = path}},
      {"without FSGSBASE", MM_GUARD_PAGES, {.policy = path, .without = MM_WITHOUT_FSGSBASE}}};
  find_folders(count, arguments);
  write_policy(path, sizeof path, "rules: [ { images: /, exports: [add] } ]\n");
  RUN(knows_patterns);
  RUN(survives_any_text);
  RUN(bends_to_no_depth);
  return failures || run_ways(ways, sizeof ways / sizeof *ways, all_tests);
}
