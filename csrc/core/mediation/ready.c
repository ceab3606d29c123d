/* core/mediation/ready.c - waiting until descriptors of the image are ready. The signal masks of
 * ppoll(2) and pselect(2) count for nothing: the process's signals are the client's. */
#include "core/mediation/mediation.h"
#include "core/mediation/outside.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/select.h>

#define LIST_LIMIT  (2ul * MM__PAGE / sizeof(struct pollfd)) /* as much as scratch takes */
#define FOREIGN     INT_MIN
#define NANOSECONDS 1000000000l
#define SET_BITS    64u /* in a word of an fd_set */

/* Copies the image's time limit, whose second word counts parts of a second. */
static long take_limit(const struct mm__trap *trap, uint64_t low, long parts,
                       struct timespec *limit, struct timespec **given) {
  *given = low ? limit : 0;
  if (!low) return 0;
  if (!mm__memory_usable(trap, low, sizeof *limit, PROT_READ)) return -EFAULT;
  memcpy(limit, (const void *)low, sizeof *limit);
  if (limit->tv_nsec < 0 || limit->tv_nsec >= parts) return -EINVAL;
  limit->tv_nsec *= NANOSECONDS / parts;
  return 0;
}

/* What is left of it: select(2). */
static void give_limit(const struct mm__trap *trap, uint64_t low, long parts,
                       const struct timespec *limit) {
  struct timespec left = {limit->tv_sec, limit->tv_nsec / (NANOSECONDS / parts)};
  if (low && mm__memory_usable(trap, low, sizeof left, PROT_WRITE))
    memcpy((void *)low, &left, sizeof left);
}

/* The kernel passes over what is negative. Returns how many are not the image's. */
static long copy_list(const struct mm__trap *trap, const struct pollfd *list, uint64_t count,
                      struct pollfd *copy) {
  long foreign = 0;
  memcpy(copy, list, count * sizeof *copy);
  for (uint64_t i = 0; i < count; i++) {
    if (copy[i].fd < 0)
      copy[i].fd = -1;
    else if (!mm__descriptor_usable(trap->record, copy[i].fd))
      copy[i].fd = FOREIGN, foreign++;
  }
  return foreign;
}

static long poll_list(const struct mm__trap *trap, struct timespec *limit) {
  struct pollfd *list = (struct pollfd *)trap->arguments[0];
  struct pollfd *copy = (struct pollfd *)mm__outside_scratch(trap->record, 0);
  uint64_t count = (uint32_t)trap->arguments[1];
  struct timespec none = {0};
  if (count > LIST_LIMIT) return -EINVAL;
  if (!mm__memory_usable(trap, (uint64_t)list, count * sizeof *list, PROT_READ | PROT_WRITE))
    return -EFAULT;
  long foreign = copy_list(trap, list, count, copy);
  long result = mm__call(SYS_ppoll, copy, count, foreign ? &none : limit);
  if (mm__failed(result)) return result;
  for (uint64_t i = 0; i < count; i++)
    list[i].revents = copy[i].fd == FOREIGN ? POLLNVAL : copy[i].revents;
  return result + foreign;
}

long mm__ready_poll(struct mm__trap *trap) {
  int milliseconds = (int)trap->arguments[2];
  struct timespec limit = {milliseconds / 1000, milliseconds % 1000 * 1000000l};
  struct timespec *given = milliseconds < 0 ? 0 : &limit;
  if (trap->number == SYS_ppoll) {
    long result = take_limit(trap, (uint64_t)trap->arguments[2], NANOSECONDS, &limit, &given);
    if (mm__failed(result)) return result;
  }
  return poll_list(trap, given);
}

/* Leaves `set` NULL where the image gives none. */
static long take_set(const struct mm__trap *trap, uint64_t low, uint32_t count, fd_set *room,
                     fd_set **set) {
  uint64_t bytes = (count + SET_BITS - 1) / SET_BITS * sizeof(uint64_t);
  *set = low ? room : 0;
  if (!low) return 0;
  if (!mm__memory_usable(trap, low, bytes, PROT_READ | PROT_WRITE)) return -EFAULT;
  memcpy(room, (const void *)low, bytes);
  for (uint32_t i = 0; i < count; i++)
    if (FD_ISSET(i, room) && !mm__descriptor_usable(trap->record, i)) return -EBADF;
  return 0;
}

long mm__ready_select(struct mm__trap *trap) {
  const long *a = trap->arguments;
  uint32_t count = (uint32_t)a[0];
  long parts = trap->number == SYS_select ? 1000000 : NANOSECONDS;
  fd_set rooms[3], *sets[3];
  struct timespec limit, *given;
  if (count > FD_SETSIZE) return -EINVAL;
  long result = take_limit(trap, (uint64_t)a[4], parts, &limit, &given);
  for (int i = 0; i < 3 && !mm__failed(result); i++)
    result = take_set(trap, (uint64_t)a[1 + i], count, &rooms[i], &sets[i]);
  if (mm__failed(result)) return result;
  result = mm__call(SYS_pselect6, count, sets[0], sets[1], sets[2], given);
  give_limit(trap, (uint64_t)a[4], parts, &limit);
  if (mm__failed(result)) return result;
  for (int i = 0; i < 3; i++)
    if (sets[i])
      memcpy((void *)a[1 + i], sets[i], (count + SET_BITS - 1) / SET_BITS * sizeof(uint64_t));
  return result;
}
