/* client/entry.c - whose process, which folder, and whether bytes are an entry. */
#include "client/entry.h"

#include "base/digest.h"
#include "base/error.h"
#include "image/arena.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

uint64_t mm__entry_digest(const struct mm__entry *entry) {
  return mm__digest(&entry->bytes, entry->bytes - offsetof(struct mm__entry, bytes));
}

static bool ends(const char *text, size_t size) { return memchr(text, 0, size) != NULL; }

bool mm__entry_is_whole(const void *bytes, uint64_t size) {
  const struct mm__entry *entry = bytes;
  if (size < sizeof *entry || entry->magic != MM__ENTRY_MAGIC) return false;
  uint64_t count = entry->image_count;
  if (count >= MM__SLOT_COUNT || entry->bytes != sizeof *entry + count * sizeof *entry->images ||
      entry->bytes > size || entry->digest != mm__entry_digest(entry) ||
      !ends(entry->command, sizeof entry->command))
    return false;
  for (uint64_t i = 0; i < count; i++)
    if (entry->images[i].slot == 0 || entry->images[i].slot >= MM__SLOT_COUNT ||
        !ends(entry->images[i].path, sizeof entry->images[i].path))
      return false;
  return true;
}

int mm__identity_of_self(struct mm__identity *identity, struct mm_error *error) {
  struct stat space;
  char link[16] = "";
  memset(identity, 0, sizeof *identity);
  identity->pid = getpid();
  if (readlink("/proc/self", link, sizeof link - 1) > 0 && atoi(link) != identity->pid)
    return mm__fail(error, MM_ERROR_SYSTEM,
                    "the list of clients: /proc is that of another pid namespace");
  if (!mm__process_start(identity->pid, &identity->start) || stat("/proc/self/ns/pid", &space))
    return mm__fail_system(error, MM_ERROR_SYSTEM, errno, "the list of clients: /proc");
  identity->pid_namespace = space.st_ino;
  return MM_OK;
}

bool mm__entry_name_is_good(const char *name, struct mm__identity *identity) {
  unsigned long copy;
  char again[MM__ENTRY_NAME_BYTES];
  memset(identity, 0, sizeof *identity);
  if (sscanf(name, "%d.%lu.%lu.%lx", &identity->pid, &identity->start, &identity->pid_namespace,
             &copy) != 4)
    return false;
  snprintf(again, sizeof again, MM__ENTRY_NAME, identity->pid, identity->start,
           identity->pid_namespace, copy);
  return identity->pid > 0 && strcmp(name, again) == 0;
}

/* Field 22 of proc(5)'s stat; the second field is a name in parentheses, which may hold anything.
 * Of a process that has ended and waits for its parent there is a line, too. */
bool mm__process_start(int32_t pid, uint64_t *start) {
  char path[32], text[1024];
  snprintf(path, sizeof path, "/proc/%d/stat", pid);
  int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return false;
  ssize_t length = read(file, text, sizeof text - 1);
  close(file);
  text[length > 0 ? length : 0] = 0;
  const char *after = strrchr(text, ')');
  char state;
  return after &&
         sscanf(after + 1,
                " %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %lu",
                &state, start) == 2 &&
         state != 'Z' && state != 'X';
}

/* A runtime folder is only good when it is the user's own: sudo leaves that of another one in the
 * environment. */
static bool is_own_folder(const char *path) {
  struct stat facts;
  return stat(path, &facts) == 0 && S_ISDIR(facts.st_mode) && facts.st_uid == geteuid();
}

static void choose_folder(char folder[MM__FOLDER_BYTES]) {
  unsigned user = geteuid();
  const char *runtime = secure_getenv("XDG_RUNTIME_DIR");
  char usual[64];
  snprintf(usual, sizeof usual, "/run/user/%u", user);
  if (!runtime || runtime[0] != '/' || strlen(runtime) > MM__FOLDER_BYTES / 2 ||
      !is_own_folder(runtime))
    runtime = is_own_folder(usual) ? usual : NULL;
  if (runtime)
    snprintf(folder, MM__FOLDER_BYTES, "%s/matchmaker", runtime);
  else
    snprintf(folder, MM__FOLDER_BYTES, "/tmp/matchmaker-%u", user);
}

/* In /tmp anybody may have made it before us, as what he likes. */
int mm__entry_folder(char folder[MM__FOLDER_BYTES], struct mm_error *error) {
  struct stat facts;
  choose_folder(folder);
  if ((mkdir(folder, 0700) && errno != EEXIST) || lstat(folder, &facts))
    return mm__fail_system(error, MM_ERROR_SYSTEM, errno, "the list of clients: %s", folder);
  if (!S_ISDIR(facts.st_mode) || facts.st_uid != geteuid() || facts.st_mode & 077)
    return mm__fail(error, MM_ERROR_SYSTEM,
                    "the list of clients: %s must be a folder of this user's, mode 0700", folder);
  return MM_OK;
}
