/* client/clients.c - reads what all clients of the user say of themselves, and removes what those
 * left that are gone. Anything may lie in the folder: names and bytes are checked. */
#include "base/error.h"
#include "client/entry.h"
#include "image/arena.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define SWEPT 4
#define TRIES 20 /* an entry is half written only for as long as one write takes */

/* What the kernel says of a process: which slots are mapped there. The Matchmaker's says that it is
 * a client; what was a client before it called execve(2) is none. */
struct slots {
  bool mapped[MM__SLOT_COUNT];
};

struct reading {
  int folder;
  struct mm__identity self;
  struct mm_client *clients;
  uint32_t count, room;
};

static void mark(struct slots *slots, uint64_t low, uint64_t high) {
  if (low < MM__ARENA_LOW) low = MM__ARENA_LOW;
  if (high > MM__ARENA_HIGH) high = MM__ARENA_HIGH;
  for (; low < high; low = MM__SLOT_BASE(MM__SLOT_OF(low) + 1)) slots->mapped[MM__SLOT_OF(low)] = 1;
}

/* Of a process that does not let itself be looked at, what it says is taken for true. */
static void read_slots(int32_t pid, struct slots *slots) {
  char path[32], line[512];
  unsigned long low, high;
  snprintf(path, sizeof path, "/proc/%d/maps", pid);
  FILE *file = fopen(path, "re");
  memset(slots, file || errno != EACCES ? 0 : 1, sizeof *slots);
  while (file && fgets(line, sizeof line, file))
    if (sscanf(line, "%lx-%lx", &low, &high) == 2) mark(slots, low, high);
  if (file && ferror(file)) memset(slots, errno == ESRCH ? 0 : 1, sizeof *slots);
  if (file) fclose(file);
}

static bool has_ended(const struct mm__identity *identity) {
  uint64_t start;
  return !mm__process_start(identity->pid, &start) || start != identity->start;
}

static bool is_gone(const struct mm__identity *identity, struct slots *slots) {
  if (has_ended(identity)) return true;
  read_slots(identity->pid, slots);
  return !slots->mapped[0];
}

void mm__entries_sweep(const char *path, const struct mm__identity *self) {
  DIR *folder = opendir(path);
  struct mm__identity other;
  struct dirent *file;
  int count = 0;
  if (!folder) return;
  while (readdir(folder)) count++;
  rewinddir(folder);
  for (int skip = count ? self->pid % count : 0; skip > 0; skip--) (void)readdir(folder);
  for (int i = 0; i < SWEPT && (file = readdir(folder)); i++)
    if (mm__entry_name_is_good(file->d_name, &other) &&
        other.pid_namespace == self->pid_namespace && has_ended(&other))
      unlinkat(dirfd(folder), file->d_name, 0);
  closedir(folder);
}

/* The bytes of a file, to be freed; NULL when it is none, or too big. */
static void *read_file(int folder, const char *name, uint64_t *size, uint32_t *user) {
  struct stat facts;
  void *bytes = NULL;
  int file = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
  if (file < 0) return NULL;
  if (fstat(file, &facts) == 0 && S_ISREG(facts.st_mode) && facts.st_size <= MM__ENTRY_BYTES_LIMIT)
    bytes = malloc((size_t)facts.st_size + 1);
  ssize_t length = bytes ? read(file, bytes, (size_t)facts.st_size) : -1;
  close(file);
  if (length >= 0) {
    *size = (uint64_t)length;
    *user = facts.st_uid;
    return bytes;
  }
  free(bytes);
  return NULL;
}

/* NULL: there is no whole entry of that process. */
static struct mm__entry *read_entry(const struct reading *reading, const char *name,
                                    const struct mm__identity *identity, uint32_t *user) {
  uint64_t size;
  for (int i = 0; i < TRIES; i++) {
    struct mm__entry *entry = read_file(reading->folder, name, &size, user);
    if (!entry) return NULL;
    if (mm__entry_is_whole(entry, size) &&
        memcmp(&entry->identity, identity, sizeof *identity) == 0)
      return entry;
    free(entry);
    nanosleep(&(struct timespec){0, 100000}, NULL);
  }
  return NULL;
}

/* The client that another copy of the library in the same process told of, or a new one. */
static struct mm_client *client_of(struct reading *reading, const struct mm__entry *entry,
                                   uint32_t is_foreign) {
  const struct mm__identity *identity = &entry->identity;
  for (uint32_t i = 0; i < reading->count && !is_foreign; i++)
    if (reading->clients[i].pid == identity->pid && !reading->clients[i].is_foreign)
      return &reading->clients[i];
  if (reading->count == reading->room) {
    uint32_t room = reading->room * 2 + 16;
    struct mm_client *more = realloc(reading->clients, room * sizeof *more);
    if (!more) return NULL;
    reading->clients = more;
    reading->room = room;
  }
  struct mm_client *client = &reading->clients[reading->count++];
  memset(client, 0, sizeof *client);
  client->pid = identity->pid;
  client->is_self = identity->pid == reading->self.pid && !is_foreign;
  client->is_foreign = is_foreign;
  client->started = entry->started;
  memcpy(client->command, entry->command, sizeof client->command);
  return client;
}

static bool has_slot(const struct mm_client *client, uint32_t slot) {
  for (uint32_t i = 0; i < client->image_count; i++)
    if (client->images[i].slot == slot) return true;
  return false;
}

static bool add_images(struct mm_client *client, const struct mm__entry *entry,
                       const struct slots *slots) {
  uint64_t room = (uint64_t)client->image_count + entry->image_count;
  struct mm_client_image *images = realloc(client->images, (room + 1) * sizeof *images);
  if (!images) return false;
  client->images = images;
  for (uint32_t i = 0; i < entry->image_count; i++)
    if (slots->mapped[entry->images[i].slot] && !has_slot(client, entry->images[i].slot))
      images[client->image_count++] = entry->images[i];
  return true;
}

static bool add(struct reading *reading, const char *name) {
  struct mm__identity identity;
  struct slots slots;
  uint32_t user;
  if (!mm__entry_name_is_good(name, &identity)) return true;
  bool is_foreign = identity.pid_namespace != reading->self.pid_namespace;
  memset(&slots, 1, sizeof slots);
  if (!is_foreign && is_gone(&identity, &slots)) {
    unlinkat(reading->folder, name, 0);
    return true;
  }
  struct mm__entry *entry = read_entry(reading, name, &identity, &user);
  if (!entry) return true;
  struct mm_client *client = client_of(reading, entry, is_foreign);
  bool fine = client && add_images(client, entry, &slots);
  if (client) client->user = user;
  free(entry);
  return fine;
}

static bool add_all(struct reading *reading, DIR *folder) {
  struct dirent *file;
  while ((file = readdir(folder)))
    if (!add(reading, file->d_name)) return false;
  return true;
}

int mm_clients(struct mm_client **clients, uint32_t *count, struct mm_error *error) {
  struct reading reading = {0};
  char path[MM__FOLDER_BYTES];
  if (!clients || !count) return mm__fail(error, MM_ERROR_NULL, "mm_clients got a null pointer");
  int status = mm__identity_of_self(&reading.self, error);
  if (status == MM_OK) status = mm__entry_folder(path, error);
  if (status != MM_OK) return status;
  DIR *folder = opendir(path);
  if (!folder)
    return mm__fail_system(error, MM_ERROR_SYSTEM, errno, "the list of clients: %s", path);
  reading.folder = dirfd(folder);
  bool fine = add_all(&reading, folder);
  closedir(folder);
  if (!fine) {
    mm_clients_free(reading.clients, reading.count);
    return mm__fail(error, MM_ERROR_MEMORY, "the list of clients: out of memory");
  }
  *clients = reading.clients;
  *count = reading.count;
  return MM_OK;
}

void mm_clients_free(struct mm_client *clients, uint32_t count) {
  for (uint32_t i = 0; i < count; i++) free(clients[i].images);
  free(clients);
}
