/* launch/descriptor.c - the descriptors that a server opened and left open, which no image can
 * hold. */
#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "launch/launch.h"

/* Descriptors that a shell or a make handed down are not the server's fault: they are known by
 * number and file. */
#define INHERITED_LIMIT 256u

static struct {
  int descriptor;
  dev_t device;
  ino_t inode;
} inherited[INHERITED_LIMIT];
static unsigned inherited_count;

/* Calls `visit` for each open descriptor above 2 but the one that lists them. Returns the sum of
 * what it returns. */
static unsigned walk(unsigned (*visit)(int descriptor, const struct stat *status)) {
  DIR *folder = opendir("/proc/self/fd");
  unsigned sum = 0;
  if (!folder) return 0;
  for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
    struct stat status;
    int descriptor = atoi(entry->d_name);
    if (descriptor > 2 && descriptor != dirfd(folder) && fstat(descriptor, &status) == 0)
      sum += visit(descriptor, &status);
  }
  closedir(folder);
  return sum;
}

static unsigned remember(int descriptor, const struct stat *status) {
  if (inherited_count == INHERITED_LIMIT) return 0;
  inherited[inherited_count].descriptor = descriptor;
  inherited[inherited_count].device = status->st_dev;
  inherited[inherited_count++].inode = status->st_ino;
  return 1;
}

static unsigned complain(int descriptor, const struct stat *status) {
  char link[64], target[PATH_MAX];
  for (unsigned i = 0; i < inherited_count; i++)
    if (inherited[i].descriptor == descriptor && inherited[i].device == status->st_dev &&
        inherited[i].inode == status->st_ino)
      return 0;
  snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
  ssize_t length = readlink(link, target, sizeof target - 1);
  target[length > 0 ? length : 0] = 0;
  mm__say("descriptor %d (%s) is open; close it before mm_snapshot", descriptor, target);
  return 1;
}

void mm__descriptors_remember(void) { walk(remember); }

unsigned mm__descriptors_complain(void) { return walk(complain); }
