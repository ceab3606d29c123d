/* core/mediation/path.c - calls that name files by path. A path is resolved beneath a folder that
 * the image was granted, or beneath a folder that it opened so; the kernel sees that it stays there
 * (openat2(2)). */
#include "base/format.h"
#include "core/mediation/mediation.h"
#include "core/mediation/outside.h"
#include "core/mediation/socket.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/stat.h>

#define OPEN_FLAGS                                                                                 \
  (O_ACCMODE | O_CREAT | O_EXCL | O_TRUNC | O_APPEND | O_DIRECTORY | O_NOFOLLOW | O_LARGEFILE |    \
   O_SYNC | O_DSYNC | O_NOATIME | O_TMPFILE)
#define PATH_FLAGS (O_PATH | O_DIRECTORY | O_NOFOLLOW) /* all that openat2(2) takes with O_PATH */
#define MAY_WRITE  2                                   /* W_OK: access(2) */
#define ANYTHING   0xffffffff /* access without a folder: everything is granted */

/* Where a path is to be resolved: beneath `folder`. */
struct place {
  long folder; /* AT_FDCWD: wherever the path leads */
  const char *rest;
  const char *path; /* of which that is the rest, for the list of what was refused */
  uint32_t access;
  bool entered; /* `folder` is ours to close */
};

static void leave(const struct place *place) {
  if (place->entered) mm__call(SYS_close, place->folder);
}

/* A relative path is relative to the client's folder. */
static long from_here(const struct mm__record *record, const char *path, unsigned which,
                      const char **whole) {
  char *text = mm__outside_scratch(record, which);
  size_t bytes = strlen(path) + 1;
  long length = mm__call(SYS_getcwd, text, PATH_MAX); /* counts the NUL: getcwd(2) */
  if (mm__failed(length)) return length;
  if ((size_t)length + bytes > PATH_MAX) return -ENAMETOOLONG;
  text[length - 1] = '/';
  memcpy(text + length, path, bytes);
  *whole = text;
  return 0;
}

static long enter(const struct mm__trap *trap, const char *path, uint32_t wanted,
                  struct place *place) {
  const struct mm__granted *granted = mm__granted_of(&trap->record->kept);
  for (uint32_t i = 0; i < trap->record->folder_count; i++) {
    const char *rest = mm__folder_beneath(granted, i, path);
    if (!rest || (granted->list[i].access & wanted) != wanted) continue;
    long folder = mm__folder_enter(granted, i);
    *place = (struct place){folder, rest, path, granted->list[i].access, true};
    return mm__failed(folder) ? folder : 0;
  }
  return -EACCES;
}

/* `at` and the path at `address`, for what needs `wanted` (bits of enum mm_files). */
static long resolve(struct mm__trap *trap, long at, long address, uint32_t wanted, unsigned which,
                    struct place *place) {
  const char *path = (const char *)address;
  long result = 0;
  if (!path) return -EFAULT;
  if (!*path) return -ENOENT;
  if (trap->record->grants & MM_GRANT_EVERYTHING) {
    *place = (struct place){*path == '/' ? AT_FDCWD : (int)at, path, path, ANYTHING, false};
    return 0;
  }
  if (*path != '/' && (int)at != AT_FDCWD) {
    const struct mm__descriptor *held = mm__descriptor_find(trap->record, at);
    if (!held) return -EBADF;
    *place = (struct place){held->number, path, path, held->access, false};
    return (held->access & wanted) == wanted ? 0 : mm__refuse(trap, path, -EACCES);
  }
  if (*path != '/') result = from_here(trap->record, path, which, &path);
  if (result == 0) result = enter(trap, path, wanted, place);
  return result == -EACCES ? mm__refuse(trap, path, -EACCES) : result;
}

/* A way that led out of the folder is a refusal; what is mounted beneath it is outside, too. */
static long open_place(struct mm__trap *trap, const struct place *place, long flags, long mode) {
  if (place->access == ANYTHING)
    return mm__call(SYS_openat, place->folder, place->rest, flags | O_CLOEXEC, mode);
  long result = mm__open_beneath((int)place->folder, place->rest, (uint64_t)flags, (uint64_t)mode);
  return result == -EXDEV || result == -EAGAIN ? mm__refuse(trap, place->path, -EACCES) : result;
}

/* Devices, pipes and sockets that lie in a folder are more than files. */
static long check_kind(struct mm__trap *trap, const struct place *place, long file) {
  struct stat facts;
  if (mm__failed(file) || place->access == ANYTHING) return file;
  long result = mm__call(SYS_fstat, file, &facts);
  if (!mm__failed(result) && (S_ISREG(facts.st_mode) || S_ISDIR(facts.st_mode))) return file;
  mm__call(SYS_close, file);
  return mm__failed(result) ? result : mm__refuse(trap, place->path, -EACCES);
}

static long open_file(struct mm__trap *trap, long at, long path, long flags, long mode) {
  struct place place;
  bool makes = flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE;
  bool writes = makes || flags & O_TRUNC || ((flags & O_ACCMODE) != O_RDONLY && !(flags & O_PATH));
  long result = resolve(trap, at, path, writes ? MM_FILES_WRITE : MM_FILES_READ, 0, &place);
  if (mm__failed(result)) return result;
  if (place.access != ANYTHING) {
    /* Opening a pipe must not wait for its other end, nor a terminal become ours. */
    flags = flags & O_PATH ? flags & PATH_FLAGS : (flags & OPEN_FLAGS) | O_NONBLOCK | O_NOCTTY;
  }
  result = open_place(trap, &place, flags, makes ? mode & 0777 : 0);
  if (!(flags & O_PATH)) result = check_kind(trap, &place, result);
  leave(&place);
  return mm__descriptor_keep(trap->record, result, place.access);
}

long mm__path_open(struct mm__trap *trap) {
  const long *a = trap->arguments;
  return open_file(trap, AT_FDCWD, a[0], a[1], a[2]);
}

long mm__path_openat(struct mm__trap *trap) {
  const long *a = trap->arguments;
  return open_file(trap, a[0], a[1], a[2], a[3]);
}

long mm__path_create(struct mm__trap *trap) {
  const long *a = trap->arguments;
  return open_file(trap, AT_FDCWD, a[0], O_WRONLY | O_CREAT | O_TRUNC, a[1]);
}

/* --- looking: through a descriptor that opens nothing, so that no device notices --- */

static long look(struct mm__trap *trap, long at, long path, bool follow, struct place *place) {
  long result = resolve(trap, at, path, MM_FILES_READ, 0, place);
  if (mm__failed(result)) return result;
  result = open_place(trap, place, O_PATH | (follow ? 0 : O_NOFOLLOW), 0);
  leave(place);
  return result;
}

/* The call `number` on what the path names, with an empty path beside it. */
static long ask(struct mm__trap *trap, long at, long path, bool follow, long number, long b, long c,
                long d) {
  struct place place;
  long file = look(trap, at, path, follow, &place);
  if (mm__failed(file)) return file;
  long result = mm__call(number, file, "", b, c, d);
  mm__call(SYS_close, file);
  return result;
}

static long status(struct mm__trap *trap, long at, long path, long result, long flags) {
  return ask(trap, at, path, !(flags & AT_SYMLINK_NOFOLLOW), SYS_newfstatat, result, AT_EMPTY_PATH,
             0);
}

long mm__path_stat(struct mm__trap *trap) {
  return status(trap, AT_FDCWD, trap->arguments[0], trap->arguments[1], 0);
}

long mm__path_lstat(struct mm__trap *trap) {
  return status(trap, AT_FDCWD, trap->arguments[0], trap->arguments[1], AT_SYMLINK_NOFOLLOW);
}

/* fstat(3) of newer C libraries: the descriptor itself is meant. */
static bool means_descriptor(const struct mm__trap *trap, long flags) {
  const char *path = (const char *)trap->arguments[1];
  return flags & AT_EMPTY_PATH && (!path || !*path) && (int)trap->arguments[0] != AT_FDCWD;
}

long mm__path_statat(struct mm__trap *trap) {
  const long *a = trap->arguments;
  if (means_descriptor(trap, a[3])) return mm__file_output(trap);
  return status(trap, a[0], a[1], a[2], a[3]);
}

long mm__path_statx(struct mm__trap *trap) {
  const long *a = trap->arguments;
  if (means_descriptor(trap, a[2])) return mm__file_output(trap);
  return ask(trap, a[0], a[1], !(a[2] & AT_SYMLINK_NOFOLLOW), SYS_statx, AT_EMPTY_PATH, a[3], a[4]);
}

static long may(struct mm__trap *trap, long at, long path, long mode, long flags) {
  struct place place;
  long file = look(trap, at, path, !(flags & AT_SYMLINK_NOFOLLOW), &place);
  if (mm__failed(file)) return file;
  long result = mm__call(SYS_faccessat2, file, "", mode, AT_EMPTY_PATH | (flags & AT_EACCESS));
  mm__call(SYS_close, file);
  return result == 0 && mode & MAY_WRITE && !(place.access & MM_FILES_WRITE) ? -EACCES : result;
}

long mm__path_access(struct mm__trap *trap) {
  return may(trap, AT_FDCWD, trap->arguments[0], trap->arguments[1], 0);
}

long mm__path_accessat(struct mm__trap *trap) {
  const long *a = trap->arguments;
  return may(trap, a[0], a[1], a[2], trap->number == SYS_faccessat2 ? a[3] : 0);
}

long mm__path_read_link(struct mm__trap *trap) {
  const long *a = trap->arguments;
  return ask(trap, AT_FDCWD, a[0], false, SYS_readlinkat, a[1], a[2], 0);
}

long mm__path_read_linkat(struct mm__trap *trap) {
  const long *a = trap->arguments;
  return ask(trap, a[0], a[1], false, SYS_readlinkat, a[2], a[3], 0);
}

/* --- changing: names in the folder that holds them, which no link leads out of --- */

/* Cuts the last name off. Returns a descriptor of the folder that holds it, the caller's to close.
 */
static long holder(struct mm__trap *trap, long at, long path, unsigned which, const char **name) {
  struct place place = {.rest = ""};
  long result = resolve(trap, at, path, MM_FILES_WRITE, which, &place);
  if (mm__failed(result)) return result;
  char *text = mm__outside_scratch(trap->record, which), *last = text;
  size_t length = strlen(place.rest);
  memmove(text, place.rest, length + 1);
  while (length > 1 && text[length - 1] == '/') text[--length] = 0;
  for (char *c = text; *c; c++)
    if (*c == '/') last = c + 1;
  *name = last;
  bool is_dots = strcmp(last, ".") == 0 || strcmp(last, "..") == 0;
  place.rest = last == text ? "." : text;
  if (last != text) last[-1] = 0;
  if (place.rest[0] == 0) place.rest = "/"; /* only where everything is granted */
  result = is_dots || !*last ? -EINVAL : open_place(trap, &place, O_PATH | O_DIRECTORY, 0);
  leave(&place);
  return result;
}

static long change(struct mm__trap *trap, long at, long path, long number, long argument) {
  const char *name;
  long folder = holder(trap, at, path, 0, &name);
  if (mm__failed(folder)) return folder;
  long result = mm__call(number, folder, name, argument);
  mm__call(SYS_close, folder);
  return result;
}

long mm__path_unlink(struct mm__trap *trap) {
  return change(trap, AT_FDCWD, trap->arguments[0], SYS_unlinkat, 0);
}

long mm__path_rmdir(struct mm__trap *trap) {
  return change(trap, AT_FDCWD, trap->arguments[0], SYS_unlinkat, AT_REMOVEDIR);
}

long mm__path_unlinkat(struct mm__trap *trap) {
  const long *a = trap->arguments;
  return change(trap, a[0], a[1], SYS_unlinkat, a[2]);
}

long mm__path_mkdir(struct mm__trap *trap) {
  return change(trap, AT_FDCWD, trap->arguments[0], SYS_mkdirat, trap->arguments[1] & 0777);
}

long mm__path_mkdirat(struct mm__trap *trap) {
  const long *a = trap->arguments;
  return change(trap, a[0], a[1], SYS_mkdirat, a[2] & 0777);
}

static long rename_in(struct mm__trap *trap, long at, long path, long to_at, long to_path,
                      long flags) {
  const char *name, *to_name;
  if (flags & ~(long)(RENAME_NOREPLACE | RENAME_EXCHANGE)) return -EINVAL;
  long folder = holder(trap, at, path, 0, &name);
  if (mm__failed(folder)) return folder;
  long result = holder(trap, to_at, to_path, 1, &to_name);
  if (!mm__failed(result)) {
    long to_folder = result;
    result = mm__call(SYS_renameat2, folder, name, to_folder, to_name, flags);
    mm__call(SYS_close, to_folder);
  }
  mm__call(SYS_close, folder);
  return result;
}

/* --- Unix sockets: a name in /proc leads to just the folder, or the socket, that was found --- */

long mm__path_socket(struct mm__trap *trap, const char *path, bool makes, char *name, size_t size) {
  const char *last = "";
  struct place place;
  long result;
  if (makes) {
    result = holder(trap, AT_FDCWD, (long)path, 0, &last);
  } else {
    result = resolve(trap, AT_FDCWD, (long)path, MM_FILES_WRITE, 0, &place);
    if (mm__failed(result)) return result;
    result = open_place(trap, &place, O_PATH, 0);
    leave(&place);
  }
  if (mm__failed(result)) return result;
  if (mm__format(name, size, "/proc/self/fd/%ld%s%s", result, makes ? "/" : "", last) < size - 1)
    return result;
  mm__call(SYS_close, result);
  return -ENAMETOOLONG;
}

long mm__path_rename(struct mm__trap *trap) {
  return rename_in(trap, AT_FDCWD, trap->arguments[0], AT_FDCWD, trap->arguments[1], 0);
}

long mm__path_renameat(struct mm__trap *trap) {
  const long *a = trap->arguments;
  return rename_in(trap, a[0], a[1], a[2], a[3], trap->number == SYS_renameat2 ? a[4] : 0);
}
