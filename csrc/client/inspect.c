/* client/inspect.c - reads an image's head as the Matchmaker would, and nothing else happens. */
#include "client/inspect.h"

#include "base/error.h"
#include "base/format.h"
#include "client/client.h"
#include "image/content.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PROBE_BYTES  4096u
#define BUFFER_BYTES (1u << 20)

static int open_file(const char *path, const char *name, int *file, uint64_t *bytes,
                     struct mm_error *error) {
  struct stat facts;
  *file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (*file < 0) {
    if (errno == ENXIO) /* a socket, or a device that is not there */
      return mm__fail(error, MM_ERROR_NOT_A_FILE, "%s: is not a regular file", name);
    int status = errno == ENOENT || errno == ENOTDIR ? MM_ERROR_MISSING
                 : errno == ELOOP                    ? MM_ERROR_NOT_A_FILE
                                                     : MM_ERROR_UNREADABLE;
    return mm__fail_system(error, status, errno, "%s", name);
  }
  if (fstat(*file, &facts) != 0) return mm__fail_system(error, MM_ERROR_SYSTEM, errno, "%s", name);
  *bytes = (uint64_t)facts.st_size;
  if (S_ISREG(facts.st_mode)) return MM_OK;
  return mm__fail(error, MM_ERROR_NOT_A_FILE, "%s: %s", name,
                  S_ISDIR(facts.st_mode) ? "is a folder" : "is not a regular file");
}

static int read_all(int file, void *to, uint64_t bytes, struct mm_error *error) {
  for (uint64_t done = 0; done < bytes;) {
    ssize_t got = pread(file, (char *)to + done, bytes - done, (off_t)done);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0)
      return mm__fail_system(error, MM_ERROR_UNREADABLE, got ? errno : EIO, "cannot be read");
    done += (uint64_t)got;
  }
  return MM_OK;
}

static int read_head(int file, uint64_t file_bytes, struct mm__inspection *inspection,
                     struct mm_error *error) {
  _Alignas(16) uint8_t start[PROBE_BYTES];
  uint64_t probe = file_bytes < sizeof start ? file_bytes : sizeof start, bytes;
  int status = read_all(file, start, probe, error);
  if (status == MM_OK) status = mm__head_bytes(start, probe, file_bytes, &bytes, error);
  if (status != MM_OK) return status;
  inspection->copy = malloc(bytes);
  if (!inspection->copy) return mm__fail(error, MM_ERROR_MEMORY, "out of memory for its head");
  status = read_all(file, inspection->copy, bytes, error);
  if (status != MM_OK) return status;
  return mm__head_check(inspection->copy, bytes, file_bytes, &inspection->head, error);
}

static int check_content(int file, const struct mm__facts *facts, struct mm_error *error) {
  uint64_t digest = 0;
  void *buffer = malloc(BUFFER_BYTES);
  if (!buffer) return mm__fail(error, MM_ERROR_MEMORY, "out of memory for its contents");
  long result =
      mm__content_digest(file, facts->head_bytes, facts->file_bytes, buffer, BUFFER_BYTES, &digest);
  free(buffer);
  if (result < 0)
    return mm__fail_system(error, MM_ERROR_UNREADABLE, (int)-result, "cannot be read");
  if (digest == facts->content_digest) return MM_OK;
  return mm__fail(error, MM_ERROR_DAMAGED,
                  "is damaged: its head is intact, but bytes 0x%lx to 0x%lx have the digest %lx "
                  "instead of %lx",
                  facts->head_bytes, facts->file_bytes, digest, facts->content_digest);
}

int mm__inspect(const char *path, bool whole, struct mm__inspection *inspection,
                struct mm_error *error) {
  int file = -1;
  uint64_t bytes = 0;
  char room[MM__BRIEF_BYTES];
  const char *name = mm__brief(path, room);
  memset(inspection, 0, sizeof *inspection);
  int status = open_file(path, name, &file, &bytes, error);
  if (status == MM_OK) {
    status = read_head(file, bytes, inspection, error);
    if (status == MM_OK && whole) status = check_content(file, inspection->head.facts, error);
    status = mm__fail_named(error, status, name);
  }
  if (file >= 0) close(file);
  if (status != MM_OK) mm__inspect_end(inspection);
  return status;
}

/* Held, so that the head stays while it is copied. */
int mm__inspect_mapped(struct mm_image *image, struct mm__inspection *inspection,
                       struct mm_error *error) {
  const struct mm__core_table *core = mm__core(error);
  const struct mm__head *head;
  struct mm__hold hold;
  memset(inspection, 0, sizeof *inspection);
  if (!core) return MM_ERROR_NOT_CONNECTED;
  int status = core->enter(image->slot, image->serial, MM__FOR_EVER, &hold, error);
  if (status != MM_OK) return status;
  status = core->head(image->slot, image->serial, &head, error);
  uint64_t bytes = status == MM_OK ? head->facts->head_bytes : 0, file_bytes = 0;
  inspection->copy = bytes ? malloc(bytes) : NULL;
  if (inspection->copy) {
    memcpy(inspection->copy, head->elf, bytes);
    file_bytes = head->facts->file_bytes;
  }
  core->leave(&hold);
  if (status != MM_OK) return status;
  if (!inspection->copy) return mm__fail(error, MM_ERROR_MEMORY, "out of memory for a head");
  status = mm__head_check(inspection->copy, bytes, file_bytes, &inspection->head, error);
  if (status != MM_OK) mm__inspect_end(inspection);
  return status;
}

void mm__inspect_end(struct mm__inspection *inspection) {
  free(inspection->copy);
  inspection->copy = NULL;
}
