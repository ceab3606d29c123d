/* unit/swap.h - swap space for a while: swapon(2). It goes with the process that asked for it, however that ends. */
#ifndef SPEC_UNIT_SWAP_H
#define SPEC_UNIT_SWAP_H

#include "client.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/swap.h>

#define SWAP_PAGES      4096u /* 16 MiB */
#define SWAP_PAGE       4096u
#define ADVISE_PAGE_OUT 21

static int swap_end_of_pipe = -1;
static pid_t swap_holder;

/* What mkswap(8) writes: linux/swap.h, union swap_header. */
static bool swap_make(const char *path) {
  static char page[SWAP_PAGE];
  const uint32_t facts[] = {1 /* version */, SWAP_PAGES - 1 /* the last page */, 0 /* bad pages */};
  int file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  bool made = file >= 0;
  for (unsigned i = 0; i < SWAP_PAGES && made; i++) {
    memset(page, 0, sizeof page);
    if (i == 0) memcpy(page + 1024, facts, sizeof facts);
    if (i == 0) memcpy(page + SWAP_PAGE - 10, "SWAPSPACE2", 10);
    made = write(file, page, sizeof page) == (ssize_t)sizeof page;
  }
  made = made && fsync(file) == 0;
  if (file >= 0) close(file);
  return made;
}

/* Waits in a session of its own until nobody holds the other end of the pipe. */
static _Noreturn void swap_hold(int told, int from) {
  char path[600], byte = 0;
  sigset_t all;
  sigfillset(&all);
  sigprocmask(SIG_BLOCK, &all, NULL);
  setsid();
  snprintf(path, sizeof path, "%s/swap-%d", folder, getpid());
  bool begun = swap_make(path) && swapon(path, 0) == 0;
  if (write(told, begun ? "y" : "n", 1) != 1) byte = 0;
  while (read(from, &byte, 1) > 0) continue;
  if (begun) swapoff(path);
  unlink(path);
  _exit(0);
}

/* Only where there is no other: the pages of other processes stay where they are. */
static bool swap_is_free(void) {
  char line[256];
  int lines = 0;
  FILE *file = fopen("/proc/swaps", "re");
  while (file && fgets(line, sizeof line, file)) lines++;
  if (file) fclose(file);
  return lines == 1 && getuid() == 0;
}

static void swap_end(void) {
  if (swap_end_of_pipe < 0) return;
  close(swap_end_of_pipe);
  swap_end_of_pipe = -1;
  waitpid(swap_holder, NULL, 0);
}

static UNUSED bool swap_begin(void) {
  int told[2], held[2];
  char answer = 'n';
  if (swap_end_of_pipe >= 0) return true;
  if (!swap_is_free() || pipe2(told, O_CLOEXEC) || pipe2(held, O_CLOEXEC)) return false;
  swap_holder = fork();
  if (swap_holder == 0) {
    close(held[1]);
    close(told[0]);
    swap_hold(told[1], held[0]);
  }
  close(told[1]);
  close(held[0]);
  swap_end_of_pipe = held[1];
  if (read(told[0], &answer, 1) != 1) answer = 'n';
  close(told[0]);
  if (answer != 'y') swap_end();
  return answer == 'y';
}

/* On each processor in turn: what one of them has at hand only it gives away (Linux, mm/swap.c: lru_add_drain). */
static UNUSED void swap_on_each_processor(void (*advise)(void *), void *argument) {
  cpu_set_t all, one;
  sched_getaffinity(0, sizeof all, &all);
  for (int i = 0; i < CPU_SETSIZE; i++) {
    if (!CPU_ISSET(i, &all)) continue;
    CPU_ZERO(&one);
    CPU_SET(i, &one);
    sched_setaffinity(0, sizeof one, &one);
    advise(argument);
  }
  sched_setaffinity(0, sizeof all, &all);
}

/* How many pages of this process's are swapped out: bit 62 in Documentation/admin-guide/mm/pagemap.rst. */
static UNUSED int swapped_pages(const void *low, size_t bytes) {
  int file = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC), count = 0;
  uint64_t entry;
  for (uint64_t page = (uint64_t)low / SWAP_PAGE; page < ((uint64_t)low + bytes) / SWAP_PAGE;
       page++)
    count += pread(file, &entry, sizeof entry, (off_t)(page * sizeof entry)) == sizeof entry &&
             entry >> 62 & 1;
  close(file);
  return count;
}

#endif
