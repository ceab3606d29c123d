/* core/mediation/file.c - calls on descriptors. An image may use those that it opened itself, and
 * with the grant write to standard output and error; everything, only if everything is granted. */
#include "core/guard/guard.h"
#include "core/mediation/mediation.h"
#include "core/mediation/outside.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>

/* asm-generic/ioctls.h */
#define ASK_TERMINAL 0x5401 /* TCGETS: a struct termios of the kernel, 36 bytes */
#define ASK_WAITING  0x541b /* FIONREAD: an int */
#define SET_BLOCKING 0x5421 /* FIONBIO: an int */

static bool everything(const struct mm__trap *trap) {
  return trap->record->grants & MM_GRANT_EVERYTHING;
}

static bool own(const struct mm__trap *trap, long descriptor) {
  return mm__descriptor_usable(trap->record, descriptor);
}

static bool output(const struct mm__trap *trap, long descriptor) {
  return trap->record->grants & MM_GRANT_OUTPUT && (descriptor == 1 || descriptor == 2);
}

long mm__file_use(struct mm__trap *trap) {
  return own(trap, trap->arguments[0]) ? mm__pass(trap) : -EBADF;
}

long mm__file_output(struct mm__trap *trap) {
  return output(trap, trap->arguments[0]) ? mm__pass(trap) : mm__file_use(trap);
}

long mm__file_write(struct mm__trap *trap) {
  const struct mm__descriptor *held = mm__descriptor_find(trap->record, trap->arguments[0]);
  return held && held->access & MM__HOLD_SOCKET ? mm__socket_write(trap) : mm__file_output(trap);
}

long mm__file_close(struct mm__trap *trap) {
  if (mm__descriptor_find(trap->record, trap->arguments[0]) || !everything(trap))
    return mm__descriptor_close(trap->record, trap->arguments[0]);
  return mm__pass(trap);
}

/* With whatever number the kernel gives: those that a program would choose may be the client's. */
static long duplicate(const struct mm__trap *trap, long lowest) {
  const struct mm__descriptor *held = mm__descriptor_find(trap->record, trap->arguments[0]);
  uint32_t access = held ? held->access : 0;
  long number = mm__call(SYS_fcntl, trap->arguments[0], F_DUPFD_CLOEXEC, lowest);
  return mm__descriptor_keep(trap->record, number, access);
}

long mm__file_duplicate(struct mm__trap *trap) {
  return own(trap, trap->arguments[0]) ? duplicate(trap, 3) : -EBADF;
}

static bool third_is(const struct mm__trap *trap, uint64_t bytes, uint32_t protection) {
  return mm__memory_usable(trap, (uint64_t)trap->arguments[2], bytes, protection);
}

long mm__file_control(struct mm__trap *trap) {
  if (!own(trap, trap->arguments[0])) return -EBADF;
  switch (trap->arguments[1]) {
  case F_DUPFD:
  case F_DUPFD_CLOEXEC:
    return duplicate(trap, trap->arguments[2]);
  case F_GETFD:
    return FD_CLOEXEC;
  case F_SETFD: /* no program that the client starts gets it */
    return 0;
  case F_SETFL:
    trap->arguments[2] &= O_APPEND | O_NONBLOCK;
    return mm__pass(trap);
  case F_GETFL:
    return mm__pass(trap);
  case F_GETLK:
  case F_SETLK:
  case F_SETLKW:
  case F_OFD_GETLK:
  case F_OFD_SETLK:
  case F_OFD_SETLKW:
    return third_is(trap, sizeof(struct flock), PROT_READ | PROT_WRITE) ? mm__pass(trap) : -EFAULT;
  default:
    return mm__refuse(trap, 0, -EINVAL);
  }
}

long mm__file_ask(struct mm__trap *trap) {
  if (!own(trap, trap->arguments[0]) && !output(trap, trap->arguments[0])) return -EBADF;
  bool allowed;
  switch (trap->arguments[1]) {
  case ASK_TERMINAL:
    allowed = third_is(trap, 36, PROT_WRITE);
    break;
  case ASK_WAITING:
    allowed = third_is(trap, 4, PROT_WRITE);
    break;
  case SET_BLOCKING:
    if (!own(trap, trap->arguments[0])) return -ENOTTY;
    allowed = third_is(trap, 4, PROT_READ);
    break;
  default:
    if (!everything(trap)) return -ENOTTY;
    mm__guard_need_all(trap->record, trap->state);
    allowed = true;
  }
  return allowed ? mm__pass(trap) : -EFAULT;
}
