/* core/mediation/file.c - descriptors. An image owns none; with the grant it may write to standard
 * output and error. */
#include "core/mediation/mediation.h"

#include <errno.h>
#include <sys/stat.h>
#include <sys/uio.h>

static bool everything(const struct mm__trap *trap) {
  return trap->record->grants & MM_GRANT_EVERYTHING;
}

static bool standard_output(const struct mm__trap *trap) {
  return everything(trap) || trap->arguments[0] == 1 || trap->arguments[0] == 2;
}

long mm__file_write(struct mm__trap *trap) {
  return standard_output(trap) ? mm__pass(trap) : -EBADF;
}

long mm__file_writev(struct mm__trap *trap) {
  uint64_t low = (uint64_t)trap->arguments[1];
  uint64_t count = (uint64_t)trap->arguments[2];
  if (!standard_output(trap)) return -EBADF;
  if (count > 1024) return -EINVAL; /* IOV_MAX: writev(2) */
  if (!mm__slot_map_covers(&trap->state->map, low, low + count * sizeof(struct iovec), 1))
    return -EFAULT;
  const struct iovec *pieces = (const struct iovec *)low;
  for (uint64_t i = 0; i < count; i++) {
    uint64_t from = (uint64_t)pieces[i].iov_base;
    if (from + pieces[i].iov_len < from ||
        !mm__slot_map_covers(&trap->state->map, from, from + pieces[i].iov_len, 1))
      return -EFAULT;
  }
  return mm__pass(trap);
}

/* stdio asks what it writes to. */
long mm__file_status(struct mm__trap *trap) {
  return standard_output(trap) ? mm__pass(trap) : -EBADF;
}
