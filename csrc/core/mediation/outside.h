/* core/mediation/outside.h - what an image holds of the world outside: the folders it was granted,
 * the descriptors it opened, and a list of what it was refused.
 * Owns:    the open descriptors, until the image is reset or unmapped; nothing of the client's.
 * Threads: under the image's lock; folders change only while the image is mapped.
 * Signals: used in the SIGSYS handler; no libc, no allocation, little stack.
 * Errors:  negated errno, as the image sees it. */
#ifndef MM_CORE_MEDIATION_OUTSIDE_H
#define MM_CORE_MEDIATION_OUTSIDE_H

#include "core/slot/head.h"
#include "matchmaker.h"

#include <sys/stat.h>

struct mm__trap;

/* --- folder.c: read-only once the image is mapped --- */

#define MM__FOLDER_LIMIT 64u

/* By name and by identity: no descriptor is kept that the client could close or replace. */
struct mm__folder {
  uint64_t device, inode;
  uint32_t access; /* bits of enum mm_files */
  uint32_t name;   /* where in `names` */
};

/* What the client granted, and what the policy said of it. */
struct mm__granted {
  uint64_t longest_ns;       /* that a call may take; 0: as long as the client likes */
  char rule[MM__RULE_BYTES]; /* of the policy; empty: there is none */
  struct mm__folder list[MM__FOLDER_LIMIT];
  char names[MM__PLACE_GRANTED - 8 - MM__RULE_BYTES - MM__FOLDER_LIMIT * sizeof(struct mm__folder)];
};
_Static_assert(sizeof(struct mm__granted) == MM__PLACE_GRANTED, "it fills its place");

static inline struct mm__granted *mm__granted_of(const struct mm__kept *kept) {
  return (struct mm__granted *)mm__kept_granted(kept);
}

/* Records the folders that are granted to the image at `path`, which is for messages. Errors:
 * MM_ERROR_MISSING, _UNREADABLE, _NOT_A_FILE, _ARGUMENT (what cannot be granted), _LIMIT,
 * _UNSUPPORTED (no openat2). */
int mm__folders_record(struct mm__granted *granted, const struct mm_map_options *options,
                       const char *path, struct mm_error *error);
/* A descriptor of the folder, the caller's to close; -ENOENT when it is not what it was. */
long mm__folder_enter(const struct mm__granted *granted, uint32_t index);
/* What is left of `path` beneath the folder; NULL when it does not begin with the folder's name. */
const char *mm__folder_beneath(const struct mm__granted *granted, uint32_t index, const char *path);
/* openat2(2) of a path that may not leave the folder, by whatever it goes. Close-on-exec. */
long mm__open_beneath(int folder, const char *path, uint64_t flags, uint64_t mode);

/* --- descriptor.c --- */

#define MM__DESCRIPTOR_LIMIT 128u
/* Beside the bits of enum mm_files. */
#define MM__HOLD_SOCKET 4u
#define MM__HOLD_UNIX   8u

/* A number alone could be the client's by now, if the client closed what is not its own. */
struct mm__descriptor {
  uint64_t device, inode;
  int32_t number;
  uint32_t access; /* for a folder: what may be done beneath it */
};

/* --- refusal.c --- */

#define MM__REFUSAL_LIMIT 39u

struct mm__refusal {
  uint32_t number, count;
  char path[120];
};

/* Changes while the image runs; the rest of its place is scratch for two paths, or for one list. */
struct mm__outside {
  uint32_t descriptor_count, refusal_count;
  struct mm__descriptor descriptors[MM__DESCRIPTOR_LIMIT];
  struct mm__refusal refusals[MM__REFUSAL_LIMIT];
};
#define MM__SCRATCH_OFFSET (2ul * MM__PAGE)
_Static_assert(sizeof(struct mm__outside) <= MM__SCRATCH_OFFSET, "scratch follows it");
_Static_assert(MM__SCRATCH_OFFSET + 2ul * MM__PAGE == MM__PLACE_OUTSIDE, "two paths");

static inline struct mm__outside *mm__outside_of(const struct mm__record *record) {
  return (struct mm__outside *)mm__kept_outside(&record->kept);
}
/* Room for a path of PATH_MAX bytes. */
static inline char *mm__outside_scratch(const struct mm__record *record, unsigned which) {
  return (char *)mm__kept_outside(&record->kept) + MM__SCRATCH_OFFSET + (uint64_t)which * MM__PAGE;
}

/* Whether `number` is the image's own and still what it was when the image opened it. */
const struct mm__descriptor *mm__descriptor_find(const struct mm__record *record, long number);
/* Whether the image may use it: it is its own, or everything is granted. */
bool mm__descriptor_usable(const struct mm__record *record, long number);
/* The new descriptor becomes the image's, with a number above 2. Returns the number, or -EMFILE
 * and it is closed. A negated errno passes through. */
long mm__descriptor_keep(const struct mm__record *record, long number, uint32_t access);
long mm__descriptor_close(const struct mm__record *record, long number);
/* Closes what the image holds. */
void mm__descriptors_close(const struct mm__record *record);

/* Refuses a call: counted for the image, and named in the outcome. `path` may be NULL. Returns
 * `answer`. */
long mm__refuse(struct mm__trap *trap, const char *path, long answer);

#endif
