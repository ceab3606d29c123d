/* launch/slot.c - chooses a slot by the image's name, away from those of the images beside it. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/digest.h"
#include "launch/launch.h"

/* The slot of the image that is open, 0 when it is none. */
static uint32_t slot_of(int descriptor) {
  struct stat status;
  struct mm__head head;
  uint64_t bytes = 0;
  uint32_t slot = 0;
  void *start = calloc(1, MM__PAGE), *whole = NULL;
  if (!start || fstat(descriptor, &status) != 0 || !S_ISREG(status.st_mode)) goto fail;
  ssize_t got = pread(descriptor, start, MM__PAGE, 0);
  if (got <= 0 ||
      mm__head_bytes(start, (uint64_t)got, (uint64_t)status.st_size, &bytes, NULL) != MM_OK)
    goto fail;
  whole = malloc(bytes);
  if (!whole || pread(descriptor, whole, bytes, 0) != (ssize_t)bytes) goto fail;
  if (mm__head_check(whole, bytes, (uint64_t)status.st_size, &head, NULL) == MM_OK)
    slot = head.facts->slot;
fail:
  free(whole);
  free(start);
  return slot;
}

static bool is_image_name(const char *name) {
  size_t length = strlen(name);
  return length > 4 && name[0] != '.' && strcmp(name + length - 4, ".mmi") == 0;
}

/* Notes the slots of the images in a folder; returns that of the one called `own`, 0 when there is
 * none. */
static uint32_t look_around(DIR *folder, const char *own, bool used[MM__SLOT_COUNT]) {
  uint32_t current = 0;
  for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
    bool is_own = strcmp(entry->d_name, own) == 0;
    if (!is_own && !is_image_name(entry->d_name)) continue;
    int descriptor =
        openat(dirfd(folder), entry->d_name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (descriptor < 0) continue;
    uint32_t slot = slot_of(descriptor);
    close(descriptor);
    if (is_own)
      current = slot;
    else
      used[slot] = true;
  }
  return current;
}

uint32_t mm__slot_choose(const char *output) {
  bool used[MM__SLOT_COUNT] = {false};
  const char *slash = strrchr(output, '/');
  const char *name = slash ? slash + 1 : output;
  char *path = strndup(output, slash ? (size_t)(slash - output) + 1 : 0);
  DIR *folder = path ? opendir(path[0] ? path : ".") : NULL;
  uint32_t current = folder ? look_around(folder, name, used) : 0;
  uint32_t first = (uint32_t)(mm__digest(name, strlen(name)) % (MM__SLOT_COUNT - 1));
  if (folder) closedir(folder);
  free(path);
  if (current != 0 && !used[current]) return current;
  for (uint32_t i = 0; i < MM__SLOT_COUNT - 1; i++) {
    uint32_t slot = 1 + (first + i) % (MM__SLOT_COUNT - 1);
    if (!used[slot]) return slot;
  }
  return 1 + first; /* all are taken: two images that share one cannot be mapped together, and the
                       error will say so */
}
