/* core/mediation/socket.c - sockets of the image's own: of the Internet and of Unix, for streams and
 * datagrams. */
#include "core/mediation/socket.h"

#include "core/guard/guard.h"
#include "core/mediation/outside.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <sys/mman.h>

#define KIND 0xf /* of a type; the rest are flags: linux/net.h, SOCK_TYPE_MASK */

static bool everything(const struct mm__trap *trap) {
  return trap->record->grants & MM_GRANT_EVERYTHING;
}

/* --- addresses --- */

/* unix(7): no name, or one that begins with a NUL, is of no folder. */
static bool is_path(const struct mm__address *address) {
  return address->length > offsetof(struct sockaddr_un, sun_path) &&
         address->any.sa_family == AF_UNIX && address->local.sun_path[0];
}

static long enter(struct mm__trap *trap, bool makes, struct mm__address *address) {
  char path[sizeof address->local.sun_path + 1] = {0};
  size_t length = address->length - offsetof(struct sockaddr_un, sun_path);
  if (length >= sizeof path) return -EINVAL;
  memcpy(path, address->local.sun_path, length);
  long place =
      mm__path_socket(trap, path, makes, address->local.sun_path, sizeof address->local.sun_path);
  if (mm__failed(place)) return place;
  address->is_entered = 1;
  address->place = place;
  address->length = sizeof address->local;
  return 0;
}

long mm__address_take(struct mm__trap *trap, uint64_t low, uint64_t length, bool makes,
                      struct mm__address *address) {
  address->is_entered = 0;
  if (length > sizeof address->room) return -EINVAL;
  if (!mm__memory_usable(trap, low, length, PROT_READ)) return -EFAULT;
  memset(&address->room, 0, sizeof address->room);
  memcpy(&address->room, (const void *)low, length);
  address->length = (uint32_t)length;
  return is_path(address) && !everything(trap) ? enter(trap, makes, address) : 0;
}

void mm__address_leave(const struct mm__address *address) {
  if (address->is_entered) mm__call(SYS_close, address->place);
}

long mm__address_want(const struct mm__trap *trap, uint64_t low, uint64_t length_at,
                      struct mm__address_wanted *wanted) {
  *wanted = (struct mm__address_wanted){low, length_at, 0};
  if (!low) return 0;
  if (!mm__memory_usable(trap, length_at, sizeof wanted->length, PROT_READ | PROT_WRITE))
    return -EFAULT;
  wanted->length = *(const uint32_t *)length_at;
  if (wanted->length > INT32_MAX) return -EINVAL;
  if (wanted->length > sizeof(struct sockaddr_storage))
    wanted->length = sizeof(struct sockaddr_storage);
  return mm__memory_usable(trap, low, wanted->length, PROT_WRITE) ? 0 : -EFAULT;
}

void mm__address_give(const struct mm__address_wanted *wanted, const struct mm__address *address) {
  if (!wanted->low) return;
  uint32_t length = address->length < wanted->length ? address->length : wanted->length;
  memcpy((void *)wanted->low, &address->room, length);
  *(uint32_t *)wanted->length_at = address->length;
}

/* --- making them --- */

static uint32_t access_of(long domain) {
  return domain == AF_UNIX ? MM__HOLD_SOCKET | MM__HOLD_UNIX : MM__HOLD_SOCKET;
}

static long check_domain(struct mm__trap *trap) {
  int domain = (int)trap->arguments[0], kind = (int)trap->arguments[1] & KIND;
  if (everything(trap)) return 0;
  if (domain != AF_INET && domain != AF_INET6 && domain != AF_UNIX)
    return mm__refuse(trap, 0, -EAFNOSUPPORT);
  if (kind != SOCK_STREAM && kind != SOCK_DGRAM) return mm__refuse(trap, 0, -ESOCKTNOSUPPORT);
  return 0;
}

long mm__socket_make(struct mm__trap *trap) {
  const long *a = trap->arguments;
  long result = check_domain(trap);
  if (mm__failed(result)) return result;
  result = mm__call(SYS_socket, a[0], a[1] | SOCK_CLOEXEC, a[2]);
  return mm__descriptor_keep(trap->record, result, access_of((int)a[0]));
}

long mm__socket_pair(struct mm__trap *trap) {
  const long *a = trap->arguments;
  int pair[2] = {-1, -1};
  long result = check_domain(trap);
  if (mm__failed(result)) return result;
  result = mm__call(SYS_socketpair, a[0], a[1] | SOCK_CLOEXEC, a[2], pair);
  if (mm__failed(result)) return result;
  long one = mm__descriptor_keep(trap->record, pair[0], access_of((int)a[0]));
  long other = mm__descriptor_keep(trap->record, pair[1], access_of((int)a[0]));
  if (mm__failed(one) || mm__failed(other)) {
    mm__descriptor_close(trap->record, one);
    mm__descriptor_close(trap->record, other);
    return -EMFILE;
  }
  ((int *)a[3])[0] = (int)one;
  ((int *)a[3])[1] = (int)other;
  return 0;
}

static long with_address(struct mm__trap *trap, bool makes) {
  const long *a = trap->arguments;
  struct mm__address address;
  if (!mm__descriptor_usable(trap->record, a[0])) return -EBADF;
  long result = mm__address_take(trap, (uint64_t)a[1], (uint32_t)a[2], makes, &address);
  if (mm__failed(result)) return result;
  result = mm__call(trap->number, a[0], &address.any, address.length);
  mm__address_leave(&address);
  return result;
}

long mm__socket_bind(struct mm__trap *trap) { return with_address(trap, true); }

long mm__socket_connect(struct mm__trap *trap) { return with_address(trap, false); }

long mm__socket_accept(struct mm__trap *trap) {
  const long *a = trap->arguments;
  struct mm__address address = {.length = sizeof address.room};
  struct mm__address_wanted wanted;
  const struct mm__descriptor *held = mm__descriptor_find(trap->record, a[0]);
  uint32_t access = held ? held->access : MM__HOLD_SOCKET;
  if (!held && !everything(trap)) return -EBADF;
  long result = mm__address_want(trap, (uint64_t)a[1], (uint64_t)a[2], &wanted);
  if (mm__failed(result)) return result;
  long flags = trap->number == SYS_accept4 ? a[3] : 0;
  result = mm__call(SYS_accept4, a[0], &address.any, &address.length, flags | SOCK_CLOEXEC);
  result = mm__descriptor_keep(trap->record, result, access);
  if (!mm__failed(result)) mm__address_give(&wanted, &address);
  return result;
}

/* --- asking them --- */

long mm__socket_name(struct mm__trap *trap) {
  const long *a = trap->arguments;
  struct mm__address address = {.length = sizeof address.room};
  struct mm__address_wanted wanted;
  if (!mm__descriptor_usable(trap->record, a[0])) return -EBADF;
  if (!a[1]) return -EFAULT;
  long result = mm__address_want(trap, (uint64_t)a[1], (uint64_t)a[2], &wanted);
  if (mm__failed(result)) return result;
  result = mm__call(trap->number, a[0], &address.any, &address.length);
  if (!mm__failed(result)) mm__address_give(&wanted, &address);
  return result;
}

/* What has a value that is all in its own memory, and no descriptor in it. Others point at more
 * (SO_ATTACH_FILTER, TCP_ZEROCOPY_RECEIVE), or open something (SO_PEERPIDFD). */
static const struct {
  int level;
  uint8_t names[26]; /* ends with 0 */
} options[] = {
    {SOL_SOCKET,
     {SO_REUSEADDR, SO_TYPE,      SO_ERROR,     SO_DONTROUTE,  SO_BROADCAST, SO_SNDBUF,
      SO_RCVBUF,    SO_KEEPALIVE, SO_OOBINLINE, SO_PRIORITY,   SO_LINGER,    SO_REUSEPORT,
      SO_PASSCRED,  SO_PEERCRED,  SO_RCVLOWAT,  SO_SNDLOWAT,   SO_RCVTIMEO,  SO_SNDTIMEO,
      SO_TIMESTAMP, SO_PEERSEC,   SO_PROTOCOL,  SO_ACCEPTCONN, SO_DOMAIN}},
    {IPPROTO_IP,
     {IP_TOS, IP_TTL, IP_PKTINFO, IP_MTU_DISCOVER, IP_RECVERR, IP_RECVTTL, IP_RECVTOS, IP_MTU,
      IP_MULTICAST_IF, IP_MULTICAST_TTL, IP_MULTICAST_LOOP, IP_ADD_MEMBERSHIP, IP_DROP_MEMBERSHIP}},
    {IPPROTO_IPV6,
     {IPV6_UNICAST_HOPS, IPV6_MULTICAST_IF, IPV6_MULTICAST_HOPS, IPV6_MULTICAST_LOOP,
      IPV6_ADD_MEMBERSHIP, IPV6_DROP_MEMBERSHIP, IPV6_MTU_DISCOVER, IPV6_MTU, IPV6_RECVERR,
      IPV6_V6ONLY, IPV6_RECVPKTINFO, IPV6_RECVHOPLIMIT, IPV6_RECVTCLASS, IPV6_TCLASS}},
    {IPPROTO_TCP,
     {TCP_NODELAY, TCP_MAXSEG, TCP_CORK, TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_KEEPCNT, TCP_SYNCNT,
      TCP_LINGER2, TCP_DEFER_ACCEPT, TCP_WINDOW_CLAMP, TCP_INFO, TCP_QUICKACK, TCP_CONGESTION,
      TCP_USER_TIMEOUT, TCP_FASTOPEN, TCP_NOTSENT_LOWAT, TCP_FASTOPEN_CONNECT}},
};

/* 0 when the option is one of these. */
static long check_option(struct mm__trap *trap) {
  const long *a = trap->arguments;
  if (!mm__descriptor_usable(trap->record, a[0])) return -EBADF;
  for (size_t i = 0; i < sizeof options / sizeof *options; i++)
    for (const uint8_t *name = options[i].names; *name; name++)
      if (options[i].level == (int)a[1] && *name == (int)a[2]) return 0;
  if (!everything(trap)) return mm__refuse(trap, 0, -ENOPROTOOPT);
  mm__guard_need_all(trap->record, trap->state);
  return 0;
}

long mm__socket_set_option(struct mm__trap *trap) {
  const long *a = trap->arguments;
  long result = check_option(trap);
  if (mm__failed(result)) return result;
  if ((int)a[4] < 0) return -EINVAL;
  if (!mm__memory_usable(trap, (uint64_t)a[3], (uint32_t)a[4], PROT_READ)) return -EFAULT;
  return mm__pass(trap);
}

long mm__socket_option(struct mm__trap *trap) {
  const long *a = trap->arguments;
  uint64_t length_at = (uint64_t)a[4];
  long result = check_option(trap);
  if (mm__failed(result)) return result;
  if (!mm__memory_usable(trap, length_at, 4, PROT_READ | PROT_WRITE)) return -EFAULT;
  uint32_t length = *(const uint32_t *)length_at;
  if (length > INT32_MAX) return -EINVAL;
  if (!mm__memory_usable(trap, (uint64_t)a[3], length, PROT_WRITE)) return -EFAULT;
  result = mm__call(SYS_getsockopt, a[0], a[1], a[2], a[3], &length);
  if (!mm__failed(result)) *(uint32_t *)length_at = length;
  return result;
}
