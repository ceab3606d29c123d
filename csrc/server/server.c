/* server/server.c - what a server links: the list of its registrations, and the way to its
 * snapshot. A server that was started by itself runs again from the start under the launcher, when
 * it asks for its snapshot. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/interface.h"

#pragma GCC visibility push(default)
#include "matchmaker/server.h"
#pragma GCC visibility pop

#define HOOK_LIMIT          16
#define LAUNCHER            "matchmaker-launch"
#define AGAIN               "MATCHMAKER_STARTED_AGAIN" /* set while the launcher is looked for: no second try */
#define CLOSE_ON_EXEC_RANGE 4u /* CLOSE_RANGE_CLOEXEC, linux/close_range.h */

#ifndef MM_LAUNCHER
#define MM_LAUNCHER "" /* the installed one, an absolute path */
#endif

_Static_assert(HOOK_LIMIT == MM__HOOK_LIMIT, "the image has room for as many");

static struct mm_registration *registrations;
static struct mm_registration **registrations_end = &registrations;
static uint64_t hooks[HOOK_LIMIT];
static uint64_t hook_count, refused_hooks;
static char first_folder[PATH_MAX];

static void say(const char *format, ...) {
  va_list list;
  va_start(list, format);
  fputs("matchmaker: ", stderr);
  vfprintf(stderr, format, list);
  fputc('\n', stderr);
  va_end(list);
}

static bool is_launched(void) { return syscall(MM__CALL_PRESENT) == 0; }

/* Arguments that name files mean the folder that the program was started in. */
__attribute__((constructor)) static void remember_folder(void) {
  if (is_launched() || !getcwd(first_folder, sizeof first_folder)) first_folder[0] = 0;
}

void mm_register(struct mm_registration *registration) {
  registration->next = NULL;
  *registrations_end = registration;
  registrations_end = &registration->next;
}

int mm_export(void *function, const char *prototype, const char *doc) {
  if (!function) {
    errno = EINVAL;
    return -1;
  }
  size_t size = prototype ? strlen(prototype) + 1 : 0, doc_size = doc ? strlen(doc) + 1 : 0;
  struct mm_registration *registration = malloc(sizeof *registration + size + doc_size);
  if (!registration) {
    errno = ENOMEM;
    return -1;
  }
  char *text = (char *)(registration + 1);
  if (prototype) memcpy(text, prototype, size);
  if (doc) memcpy(text + size, doc, doc_size);
  *registration =
      (struct mm_registration){.result = prototype ? text : NULL, .doc = doc ? text + size : NULL};
  memcpy(&registration->function, &function, sizeof function);
  mm_register(registration);
  return 0;
}

void mm_fail(const char *message) {
  char text[512]; /* more than a client keeps of it, and no more than may be handed over */
  snprintf(text, sizeof text, "%s", message ? message : "");
  syscall(MM__CALL_FAIL, text);
  say("%s", text);
  abort();
}

void mm_on_map(void (*hook)(const struct mm_map_info *info)) {
  if (hook_count == HOOK_LIMIT)
    refused_hooks++; /* there is no result to say so by: mm_snapshot does */
  else
    hooks[hook_count++] = (uint64_t)hook;
}

/* All of a small file of /proc, with a NUL behind it; NULL: errno says why. */
static char *read_file(const char *path, size_t *length) {
  char *text = NULL, *larger;
  size_t size = 0;
  int descriptor = open(path, O_RDONLY | O_CLOEXEC);
  ssize_t got = descriptor < 0 ? -1 : 1;
  for (*length = 0; got > 0; *length += got > 0 ? (size_t)got : 0) {
    if (*length + 1 >= size) {
      if ((larger = realloc(text, size = 2 * size + 4096)) == NULL) {
        got = -1;
        break;
      }
      text = larger;
    }
    got = read(descriptor, text + *length, size - *length - 1);
  }
  if (descriptor >= 0) close(descriptor);
  if (got < 0) {
    free(text);
    return NULL;
  }
  text[*length] = 0;
  return text;
}

/* matchmaker-launch -- PROGRAM ARG...; NULL: errno says why. `text` holds the strings. */
static char **launcher_arguments(char *program, char **text) {
  size_t length, count = 0;
  *text = read_file("/proc/self/cmdline", &length);
  if (!*text) return NULL;
  for (size_t i = 0; i < length; i += strlen(*text + i) + 1) count++;
  char **arguments = calloc(count + 4, sizeof *arguments);
  if (!arguments) {
    free(*text);
    return NULL;
  }
  count = 2;
  for (size_t i = 0; i < length; i += strlen(*text + i) + 1) arguments[count++] = *text + i;
  arguments[0] = (char *)LAUNCHER;
  arguments[1] = (char *)"--";
  arguments[2] = program; /* in the place of argv[0], which need not be a path */
  return arguments;
}

/* Returns only when there is no launcher, with errno. */
static void become_launcher(char **arguments) {
  const char *named = getenv("MATCHMAKER_LAUNCH");
  if (named && named[0]) {
    execv(named, arguments);
    return;
  }
  execv(MM_LAUNCHER, arguments);
  execvp(LAUNCHER, arguments);
}

/* Runs the program again from the start, under the launcher. Returns -1 with errno when that fails.
 */
static int start_again(void) {
  char program[PATH_MAX], folder[PATH_MAX], *text;
  ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
  char **arguments = NULL;
  if (getenv(AGAIN)) {
    say("the launcher did not put this server into a slot; is the kernel older than 5.11?");
    errno = ENOSYS;
    return -1;
  }
  program[length > 0 ? length : 0] = 0;
  if (length > 0) arguments = launcher_arguments(program, &text);
  if (!arguments) {
    say("cannot start again under the launcher: %s", strerror(errno));
    return -1;
  }
  bool moved = first_folder[0] && getcwd(folder, sizeof folder) && chdir(first_folder) == 0;
  syscall(SYS_close_range, 3u, ~0u, CLOSE_ON_EXEC_RANGE); /* the second run opens its own */
  setenv(AGAIN, "1", 1);
  become_launcher(arguments);
  int number = errno;
  unsetenv(AGAIN);
  if (moved && chdir(folder) != 0) say("cannot go back to %s: %s", folder, strerror(errno));
  say("cannot start " LAUNCHER ": %s; is matchmaker installed? (MATCHMAKER_LAUNCH may name it)",
      strerror(number));
  free(arguments);
  free(text);
  errno = number;
  return -1;
}

int mm_snapshot(const char *path) {
  struct mm__snapshot_request request = {sizeof request, path, registrations, hooks, hook_count};
  if (refused_hooks != 0) {
    say("%lu functions are registered with mm_on_map; %d are allowed", hook_count + refused_hooks,
        HOOK_LIMIT);
    errno = E2BIG;
    return -1;
  }
  if (!is_launched()) return start_again();
  fflush(NULL); /* what is buffered would be lost here, and printed by clients */
  return (int)syscall(MM__CALL_SNAPSHOT, &request);
}
