/* unit/footprint.h - what a process has, before and after: of a leak, one of these tells. */
#ifndef SPEC_UNIT_FOOTPRINT_H
#define SPEC_UNIT_FOOTPRINT_H

#include <dirent.h>
#include <malloc.h>

#include "client.h"

#ifdef __SANITIZE_ADDRESS__
#define KILOBYTES 65536l /* ASan keeps what is freed for a while */
#else
#define KILOBYTES 1024l /* that a process may grow by after its first round */
#endif
#define HEAP_BYTES 65536l /* of which so much is malloc's */

struct footprint {
  int mappings, descriptors, threads, timers, handlers, clients;
  long heap_bytes, kilobytes;
};

static int count_lines(const char *path, const char *beginning) {
  char line[512];
  int count = 0;
  FILE *file = fopen(path, "re");
  while (file && fgets(line, sizeof line, file))
    count += strncmp(line, beginning, strlen(beginning)) == 0;
  if (file) fclose(file);
  return count;
}

/* Of a folder; -1: there is none. */
static int count_files(const char *path) {
  int count = -1;
  DIR *files = opendir(path);
  while (files && readdir(files)) count++;
  if (files) closedir(files);
  return count;
}

static int count_clients(void) {
  char path[600];
  snprintf(path, sizeof path, "%s/matchmaker", folder);
  return count_files(path);
}

static int count_handlers(void) {
  int count = 0;
  struct sigaction action;
  for (int signal = 1; signal <= SIGRTMAX; signal++)
    count += sigaction(signal, NULL, &action) == 0 && action.sa_handler != SIG_DFL;
  return count;
}

static long kilobytes(void) {
  char line[256];
  long total = 0, value;
  FILE *status = fopen("/proc/self/status", "re");
  while (status && fgets(line, sizeof line, status))
    if (sscanf(line, "RssAnon: %ld", &value) == 1) total = value;
  if (status) fclose(status);
  return total;
}

static struct footprint footprint(void) {
  malloc_trim(0); /* what it keeps of what was freed is none of ours */
  return (struct footprint){.mappings = mapping_count(),
                            .descriptors = count_files("/proc/self/fd"),
                            .threads = count_files("/proc/self/task"),
                            .timers = count_lines("/proc/self/timers", "ID:"),
                            .handlers = count_handlers(),
                            .clients = count_clients(),
                            .heap_bytes = (long)mallinfo2().uordblks,
                            .kilobytes = kilobytes()};
}

static void compare(const struct footprint *before, const struct footprint *after) {
  int failed = failures;
  CHECK(after->mappings <= before->mappings);
  CHECK_EQUAL(before->descriptors, after->descriptors);
  CHECK_EQUAL(before->threads, after->threads);
  CHECK_EQUAL(before->timers, after->timers);
  CHECK_EQUAL(before->handlers, after->handlers);
  CHECK_EQUAL(before->clients, after->clients);
  CHECK(after->heap_bytes <= before->heap_bytes + HEAP_BYTES);
  CHECK(after->kilobytes <= before->kilobytes + KILOBYTES);
  if (failures > failed)
    printf("# %ld KiB, %ld bytes allocated, %d mappings; %ld, %ld, %d before\n", after->kilobytes,
           after->heap_bytes, after->mappings, before->kilobytes, before->heap_bytes,
           before->mappings);
}

#endif
