/* core/mediation/socket.h - addresses, on their way from the image to the kernel and back.
 * Owns:    nothing; an address that was taken may hold a descriptor until it is left.
 * Threads: under the image's lock.
 * Signals: used in the SIGSYS handler; no libc, no allocation.
 * Errors:  negated errno, as the image sees it. */
#ifndef MM_CORE_MEDIATION_SOCKET_H
#define MM_CORE_MEDIATION_SOCKET_H

#include "core/mediation/mediation.h"

#include <sys/socket.h>
#include <sys/un.h>

/* A copy of ours: what the kernel reads is what was checked. */
struct mm__address {
  union {
    struct sockaddr any;
    struct sockaddr_un local;
    struct sockaddr_storage room;
  };
  uint32_t length;
  uint32_t is_entered; /* `place` is to be closed */
  long place;
};

/* The address of `length` bytes at `low`; `makes`: what it names is to be made. A Unix socket that
 * lies in a folder needs the folder's grant. */
long mm__address_take(struct mm__trap *trap, uint64_t low, uint64_t length, bool makes,
                      struct mm__address *address);
void mm__address_leave(const struct mm__address *address);

/* Where the image wants an address, and how much of it. */
struct mm__address_wanted {
  uint64_t low; /* 0: nowhere */
  uint64_t length_at;
  uint32_t length;
};

long mm__address_want(const struct mm__trap *trap, uint64_t low, uint64_t length_at,
                      struct mm__address_wanted *wanted);
void mm__address_give(const struct mm__address_wanted *wanted, const struct mm__address *address);

/* path.c: finds the Unix socket, or the folder that `makes` puts one into, where the image may
 * write. Puts a name for it into `name`, which holds while the descriptor that is returned is open.
 */
long mm__path_socket(struct mm__trap *trap, const char *path, bool makes, char *name, size_t size);

#endif
