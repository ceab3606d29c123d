/* unit/crossing_test.c - how many instructions a call through a stub takes, with each guard: counted one by one. */
#include "client.h"

#include <sys/ptrace.h>

#define LIMIT 100000

/* Between its two stops it makes `calls` calls, of a function that does next to nothing. */
static void child(const struct way *chosen, int calls) {
  way = *chosen;
  connect_client();
  struct mm_image *image = map_image("math");
  int (*add)(int, int) = (int (*)(int, int))stub_of(image, "add");
  for (int i = 0; i < 3; i++) add(1, 2);
  ptrace(PTRACE_TRACEME, 0, 0, 0);
  raise(SIGSTOP);
  for (int i = 0; i < calls; i++) add(1, 2);
  raise(SIGSTOP);
  _exit(0);
}

static int steps_between(const struct way *chosen, int calls) {
  int status, steps = 0;
  fflush(stdout);
  pid_t pid = fork();
  if (pid == 0) child(chosen, calls);
  waitpid(pid, &status, 0);
  do {
    ptrace(PTRACE_SINGLESTEP, pid, 0, 0);
    waitpid(pid, &status, 0);
  } while (WIFSTOPPED(status) && WSTOPSIG(status) == SIGTRAP && ++steps < LIMIT);
  CHECK(WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
  kill(pid, SIGKILL);
  waitpid(pid, &status, 0);
  return steps;
}

static int count(const struct way *chosen) {
  return steps_between(chosen, 1) - steps_between(chosen, 0);
}

int main(int argument_count, char **arguments) {
  static const struct way ways[] = {
      {"open", MM_GUARD_OPEN, {0}},
      {"keys, the client left open", MM_GUARD_KEYS, {.without = MM_WITHOUT_CLOSING}},
      {"keys", MM_GUARD_KEYS, {0}}};
  int open = 0;
  find_folders(argument_count, arguments);
  for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
    if (ways[i].guard == MM_GUARD_KEYS && !has_keys()) continue;
    int instructions = count(&ways[i]);
    if (i == 0) open = instructions;
    CHECK(instructions > 0 && instructions - open < 200);
    printf("# %s: %d instructions a call, %d more than with `open`\n", ways[i].name, instructions,
           instructions - open);
    printf("%s counts_instructions, %s\n", failures ? "not ok" : "ok", ways[i].name);
  }
  return failures != 0;
}
