/* client/list.c - this process's own entry in the list of clients: made when the library connects,
 * rewritten when an image is mapped or unmapped, removed at the end. What stands in its way is kept
 * for who asks, and is in nobody else's. */
#include "base/error.h"
#include "client/client.h"
#include "client/entry.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
  bool wanted;
  char path[MM__FOLDER_BYTES + MM__ENTRY_NAME_BYTES]; /* of the entry of `entry`'s process */
  struct mm__entry *entry;                            /* with room for so many images: */
  uint32_t room;
  struct mm_error lack;
} own;

static void read_command(char *command, size_t size) {
  int file = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
  ssize_t length = file < 0 ? 0 : read(file, command, size - 1);
  if (file >= 0) close(file);
  if (length < 0) length = 0;
  for (ssize_t i = 0; i < length; i++)
    if (!command[i]) command[i] = i + 1 < length ? ' ' : 0;
  command[length] = 0;
}

static int make_room(uint32_t count, struct mm_error *error) {
  if (own.entry && count <= own.room) return MM_OK;
  uint32_t room = count + 8;
  struct mm__entry *entry = realloc(own.entry, sizeof *entry + room * sizeof *entry->images);
  if (!entry) return mm__fail(error, MM_ERROR_MEMORY, "the list of clients: out of memory");
  if (!own.entry) memset(entry, 0, sizeof *entry);
  own.entry = entry;
  own.room = room;
  return MM_OK;
}

/* Another copy of this library in the process has an entry of its own, by the address of `own`. A
 * forked child has none of this until it knows itself. */
static int identify(struct mm_error *error) {
  char folder[MM__FOLDER_BYTES];
  struct mm__entry *entry = own.entry;
  struct mm__identity *self = &entry->identity;
  if (own.path[0] && self->pid == getpid()) return MM_OK;
  own.path[0] = 0;
  int status = mm__identity_of_self(self, error);
  if (status == MM_OK) status = mm__entry_folder(folder, error);
  if (status != MM_OK) return status;
  entry->magic = MM__ENTRY_MAGIC;
  entry->started = time(NULL);
  read_command(entry->command, sizeof entry->command);
  snprintf(own.path, sizeof own.path, "%s/" MM__ENTRY_NAME, folder, self->pid, self->start,
           self->pid_namespace, (unsigned long)&own);
  mm__entries_sweep(folder, self);
  return MM_OK;
}

/* Over a limit on file sizes the kernel would send SIGXFSZ. */
static bool is_too_big(uint64_t bytes) {
  struct rlimit limit;
  return getrlimit(RLIMIT_FSIZE, &limit) == 0 && bytes > limit.rlim_cur;
}

static int store(const struct mm__entry *entry, struct mm_error *error) {
  int file = open(own.path, O_WRONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
  ssize_t written = -1;
  errno = file >= 0 ? EFBIG : errno;
  if (file >= 0 && !is_too_big(entry->bytes)) written = write(file, entry, entry->bytes);
  int number = written < 0 ? errno : ENOSPC;
  if (file >= 0) close(file);
  if (written == (ssize_t)entry->bytes) return MM_OK;
  if (file >= 0) unlink(own.path);
  mm__fail_system(error, MM_ERROR_SYSTEM, number, "the list of clients: %s", own.path);
  own.path[0] = 0; /* the folder may have to be made again */
  return MM_ERROR_SYSTEM;
}

static int write_entry(struct mm_error *error) {
  uint32_t count = 0;
  int status = make_room(0, error);
  if (status == MM_OK) status = identify(error);
  while (status == MM_OK && (count = mm__images_mapped(own.entry->images, own.room)) > own.room)
    status = make_room(count, error);
  if (status != MM_OK) return status;
  own.entry->image_count = count;
  own.entry->bytes = (uint32_t)(sizeof *own.entry + count * sizeof *own.entry->images);
  own.entry->digest = mm__entry_digest(own.entry);
  return store(own.entry, error);
}

static void update(void) {
  own.lack.status = MM_OK;
  if (own.wanted) write_entry(&own.lack);
}

static void leave(void) {
  if (own.path[0] && own.entry->identity.pid == getpid()) unlink(own.path);
  own.path[0] = 0;
}

void mm__list_join(bool wanted) {
  const char *variable = getenv("MM_LIST");
  pthread_mutex_lock(&lock);
  own.wanted = wanted && !(variable && strcmp(variable, "0") == 0);
  if (!own.wanted) leave();
  update();
  pthread_mutex_unlock(&lock);
}

void mm__list_update(void) {
  int number = errno;
  pthread_mutex_lock(&lock);
  update();
  pthread_mutex_unlock(&lock);
  errno = number;
}

void mm__list_thread_started(void) {
  if (own.wanted && own.path[0] && own.entry->identity.pid != getpid()) mm__list_update();
}

void mm__list_leave(void) {
  pthread_mutex_lock(&lock);
  leave();
  own.wanted = false;
  free(own.entry);
  own.entry = NULL;
  own.room = 0;
  pthread_mutex_unlock(&lock);
}

/* Another thread of the parent may have held it; what it was writing is the parent's. */
void mm__list_forked(void) { pthread_mutex_init(&lock, NULL); }

__attribute__((destructor)) static void leave_at_exit(void) { leave(); }

int mm_clients_lack(struct mm_error *error) {
  pthread_mutex_lock(&lock);
  int status = own.lack.status;
  if (error) *error = own.lack;
  pthread_mutex_unlock(&lock);
  return status;
}
