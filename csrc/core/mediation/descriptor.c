/* core/mediation/descriptor.c - the descriptors that an image opened. All others are the client's.
 */
#include "core/mediation/outside.h"

#include <errno.h>
#include <fcntl.h>

static bool is_still(const struct mm__descriptor *held) {
  struct stat facts;
  return !mm__failed(mm__call(SYS_fstat, held->number, &facts)) && facts.st_dev == held->device &&
         facts.st_ino == held->inode;
}

static struct mm__descriptor *find(struct mm__outside *outside, long number) {
  for (uint32_t i = 0; i < outside->descriptor_count; i++)
    if (outside->descriptors[i].number == number) return &outside->descriptors[i];
  return 0;
}

static void forget(struct mm__outside *outside, struct mm__descriptor *held) {
  *held = outside->descriptors[--outside->descriptor_count];
}

const struct mm__descriptor *mm__descriptor_find(const struct mm__record *record, long number) {
  struct mm__outside *outside = mm__outside_of(record);
  struct mm__descriptor *held = find(outside, (int)number);
  if (held && !is_still(held)) {
    forget(outside, held);
    held = 0;
  }
  return held;
}

bool mm__descriptor_usable(const struct mm__record *record, long number) {
  return record->grants & MM_GRANT_EVERYTHING || mm__descriptor_find(record, number);
}

/* Where the client has closed its own, 0 to 2 are free, and not for an image. */
static long above_standard(long number) {
  if (mm__failed(number) || number > 2) return number;
  long higher = mm__call(SYS_fcntl, number, F_DUPFD_CLOEXEC, 3);
  mm__call(SYS_close, number);
  return higher;
}

long mm__descriptor_keep(const struct mm__record *record, long number, uint32_t access) {
  struct mm__outside *outside = mm__outside_of(record);
  struct stat facts;
  number = above_standard(number);
  if (mm__failed(number)) return number;
  struct mm__descriptor *held = find(outside, number);
  long result = mm__call(SYS_fstat, number, &facts);
  if (!mm__failed(result) && !held) {
    if (outside->descriptor_count < MM__DESCRIPTOR_LIMIT)
      held = &outside->descriptors[outside->descriptor_count++];
    else
      result = -EMFILE;
  }
  if (mm__failed(result)) {
    mm__call(SYS_close, number);
    return result;
  }
  *held = (struct mm__descriptor){facts.st_dev, facts.st_ino, (int32_t)number, access};
  return number;
}

long mm__descriptor_close(const struct mm__record *record, long number) {
  struct mm__outside *outside = mm__outside_of(record);
  if (!mm__descriptor_find(record, number)) return -EBADF;
  forget(outside, find(outside, (int)number));
  return mm__call(SYS_close, (int)number);
}

void mm__descriptors_close(const struct mm__record *record) {
  struct mm__outside *outside = mm__outside_of(record);
  while (outside->descriptor_count) {
    struct mm__descriptor *last = &outside->descriptors[--outside->descriptor_count];
    if (is_still(last)) mm__call(SYS_close, last->number);
  }
}
