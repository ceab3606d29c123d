/* client/entry.h - the file by which one client process is known to all others of its user.
 * Owns:    nothing; the folder that holds the entries is the user's alone.
 * Threads: pure, but for the system calls.
 * Signals: not for handlers.
 * Errors:  0 or a negative mm_status. */
#ifndef MM_CLIENT_ENTRY_H
#define MM_CLIENT_ENTRY_H

#include "matchmaker.h"

#define MM__ENTRY_MAGIC       0x3179726e45734d4dull /* "MMsEnry1" */
#define MM__ENTRY_BYTES_LIMIT (1u << 20)
#define MM__FOLDER_BYTES      512
/* pid, start, namespace, and which copy of the library */
#define MM__ENTRY_NAME       "%d.%lu.%lu.%lx"
#define MM__ENTRY_NAME_BYTES 96

/* A process, for as long as the machine runs: a pid comes again, but not with its start time, which
 * proc(5) gives in ticks since boot. */
struct mm__identity {
  int32_t pid;
  uint32_t reserved;
  uint64_t start;
  uint64_t pid_namespace; /* a pid means something in its own namespace only: pid_namespaces(7) */
};

/* Overwritten in place by one write; the digest tells a reader that came in between. */
struct mm__entry {
  uint64_t magic;
  uint64_t digest; /* of all that follows */
  uint32_t bytes, image_count;
  int64_t started; /* seconds since the epoch */
  struct mm__identity identity;
  char command[256];
  struct mm_client_image images[];
};

uint64_t mm__entry_digest(const struct mm__entry *entry);

/* Whether `size` bytes of anybody's, aligned to 8, begin with a whole entry. */
bool mm__entry_is_whole(const void *bytes, uint64_t size);

/* Whether a file's name is one that MM__ENTRY_NAME makes, and of which process it tells. */
bool mm__entry_name_is_good(const char *name, struct mm__identity *identity);

/* When the process `pid` was started, if it runs. */
bool mm__process_start(int32_t pid, uint64_t *start);

/* The calling process. MM_ERROR_SYSTEM without /proc. */
int mm__identity_of_self(struct mm__identity *identity, struct mm_error *error);

/* Removes entries in `folder` of processes that have ended: of a few, other ones each time, so that
 * they cannot pile up where nobody ever calls mm_clients. */
void mm__entries_sweep(const char *folder, const struct mm__identity *self);

/* The folder for the entries, made if there is none. Refused when it is not the user's alone. */
int mm__entry_folder(char folder[MM__FOLDER_BYTES], struct mm_error *error);

#endif
