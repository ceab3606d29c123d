/* core/mediation/folder.c - the folders that an image was granted: recorded once, entered anew for
 * each use, and left by no path. */
#include "core/mediation/outside.h"

#include "base/error.h"
#include "base/format.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/statfs.h>

#define RACES 32 /* that a path with ".." may lose against renames: openat2(2), EAGAIN */

long mm__open_beneath(int folder, const char *path, uint64_t flags, uint64_t mode) {
  /* What is mounted beneath a folder is another folder: /proc beneath "/" is not granted by it. */
  struct open_how how = {flags | O_CLOEXEC, mode,
                         RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV};
  long result = -EAGAIN;
  for (int i = 0; i < RACES && result == -EAGAIN; i++)
    result = mm__call(SYS_openat2, folder, path, &how, sizeof how);
  return result;
}

static long enter(const char *name, struct stat *facts) {
  long folder = mm__call(SYS_openat, AT_FDCWD, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (mm__failed(folder)) return folder;
  long result = mm__call(SYS_fstat, folder, facts);
  if (!mm__failed(result)) return folder;
  mm__call(SYS_close, folder);
  return result;
}

long mm__folder_enter(const struct mm__granted *granted, uint32_t index) {
  const struct mm__folder *known = &granted->list[index];
  struct stat facts;
  long folder = enter(granted->names + known->name, &facts);
  if (mm__failed(folder) || (facts.st_dev == known->device && facts.st_ino == known->inode))
    return folder;
  mm__call(SYS_close, folder);
  return -ENOENT;
}

/* Several slashes in the path are one; names have none to spare. */
const char *mm__folder_beneath(const struct mm__granted *granted, uint32_t index,
                               const char *path) {
  const char *name = granted->names + granted->list[index].name;
  for (; *name; name++) {
    if (*path != *name) return 0;
    for (path++; *name == '/' && *path == '/';) path++;
  }
  if (name[-1] != '/' && *path && *path != '/') return 0;
  while (*path == '/') path++;
  return *path ? path : ".";
}

/* Whether the folder can be granted at all. */
static int check(int folder, const char *name, const char *path, struct mm_error *error) {
  struct statfs system;
  if (mm__failed(mm__call(SYS_fstatfs, folder, &system)) || system.f_type == PROC_SUPER_MAGIC)
    return mm__fail(error, MM_ERROR_ARGUMENT,
                    "%s: %s cannot be granted: it lies in /proc, where all memory of the client is",
                    path, name);
  long probe = mm__open_beneath(folder, ".", O_PATH, 0);
  if (mm__failed(probe))
    return mm__fail_system(error, MM_ERROR_UNSUPPORTED, (int)-probe,
                           "%s: %s cannot be granted: openat2(2) does not work here", path, name);
  mm__call(SYS_close, probe);
  return MM_OK;
}

static int cannot_enter(long result, const char *name, const char *path, struct mm_error *error) {
  char room[MM__BRIEF_BYTES];
  int status = MM_ERROR_SYSTEM;
  if (result == -ENOENT || result == -ENOTDIR || result == -ENAMETOOLONG) status = MM_ERROR_MISSING;
  if (result == -EACCES || result == -EPERM) status = MM_ERROR_UNREADABLE;
  return mm__fail_system(error, status, (int)-result, "%s: the folder %s cannot be granted", path,
                         mm__brief(name, room));
}

int mm__folders_record(struct mm__granted *granted, const struct mm_map_options *options,
                       const char *path, struct mm_error *error) {
  uint32_t used = 0;
  if (options->file_count > MM__FOLDER_LIMIT)
    return mm__fail(error, MM_ERROR_LIMIT, "%s: %u folders are granted, over the limit of %u", path,
                    options->file_count, MM__FOLDER_LIMIT);
  for (uint32_t i = 0; i < options->file_count; i++) {
    const char *name = options->files[i].folder;
    size_t bytes = strlen(name) + 1;
    struct stat facts;
    if (bytes > sizeof granted->names - used)
      return mm__fail(error, MM_ERROR_LIMIT, "%s: the names of the granted folders are too long",
                      path);
    long folder = enter(name, &facts);
    if (mm__failed(folder)) return cannot_enter(folder, name, path, error);
    int status = check((int)folder, name, path, error);
    mm__call(SYS_close, folder);
    if (status != MM_OK) return status;
    granted->list[i] =
        (struct mm__folder){facts.st_dev, facts.st_ino, options->files[i].access, used};
    memcpy(granted->names + used, name, bytes);
    used += (uint32_t)bytes;
  }
  return MM_OK;
}
