/* core/mediation/message.c - what goes through sockets. Of a message's header, its list and its
 * address the kernel sees a copy, which is what was checked.
 *
 * Descriptors do not travel: what an image sends could be the client's, and what it is sent would be
 * nobody's. So messages of Unix sockets have no control data; a reader sees MSG_CTRUNC. Nor does
 * SIGPIPE come, which would be the client's: the image sees EPIPE. */
#include "core/mediation/outside.h"
#include "core/mediation/socket.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/uio.h>

#define LIST_LIMIT (2ul * MM__PAGE / sizeof(struct iovec)) /* as much as scratch takes */

static bool has_control(const struct mm__trap *trap) {
  const struct mm__descriptor *held = mm__descriptor_find(trap->record, trap->arguments[0]);
  return trap->record->grants & MM_GRANT_EVERYTHING || (held && !(held->access & MM__HOLD_UNIX));
}

static long copy_list(const struct mm__trap *trap, struct msghdr *header, uint32_t protection) {
  struct iovec *list = (struct iovec *)mm__outside_scratch(trap->record, 0);
  uint64_t low = (uint64_t)header->msg_iov, bytes = header->msg_iovlen * sizeof *list;
  if (header->msg_iovlen > LIST_LIMIT) return -EMSGSIZE;
  if (!mm__memory_usable(trap, low, bytes, PROT_READ)) return -EFAULT;
  memcpy(list, header->msg_iov, bytes);
  header->msg_iov = list;
  for (size_t i = 0; i < header->msg_iovlen; i++)
    if (!mm__memory_usable(trap, (uint64_t)list[i].iov_base, list[i].iov_len, protection))
      return -EFAULT;
  return 0;
}

static long copy_header(const struct mm__trap *trap, uint64_t low, uint32_t protection,
                        struct msghdr *header) {
  if (!mm__memory_usable(trap, low, sizeof *header, protection)) return -EFAULT;
  memcpy(header, (const void *)low, sizeof *header);
  if (!header->msg_name) header->msg_namelen = 0;
  return header->msg_namelen > INT32_MAX ? -EINVAL : 0;
}

/* --- sending --- */

/* The header and its list are copies by now. */
static long send_copied(struct mm__trap *trap, struct msghdr *header, long flags) {
  long result = copy_list(trap, header, PROT_READ);
  if (mm__failed(result)) return result;
  return mm__call(SYS_sendmsg, trap->arguments[0], header, flags | MSG_NOSIGNAL);
}

static long send_message(struct mm__trap *trap, uint64_t low, long flags) {
  struct msghdr header;
  struct mm__address address = {0};
  long result = copy_header(trap, low, PROT_READ, &header);
  if (mm__failed(result)) return result;
  if (header.msg_controllen && !has_control(trap)) return mm__refuse(trap, 0, -EPERM);
  if (!mm__memory_usable(trap, (uint64_t)header.msg_control, header.msg_controllen, PROT_READ))
    return -EFAULT;
  /* Before the list, which takes all scratch. */
  if (header.msg_name)
    result = mm__address_take(trap, (uint64_t)header.msg_name, header.msg_namelen, false, &address);
  if (mm__failed(result)) return result;
  header.msg_name = header.msg_name ? &address.any : 0;
  header.msg_namelen = address.length;
  result = send_copied(trap, &header, flags);
  mm__address_leave(&address);
  return result;
}

long mm__socket_send_message(struct mm__trap *trap) {
  const long *a = trap->arguments;
  if (!mm__descriptor_usable(trap->record, a[0])) return -EBADF;
  return send_message(trap, (uint64_t)a[1], a[2]);
}

/* Several, for as long as they go well. */
long mm__socket_send_messages(struct mm__trap *trap) {
  const long *a = trap->arguments;
  uint64_t count = (uint32_t)a[2], sent = 0;
  struct mmsghdr *messages = (struct mmsghdr *)a[1];
  long result = 0;
  if (!mm__descriptor_usable(trap->record, a[0])) return -EBADF;
  if (count > UIO_MAXIOV) count = UIO_MAXIOV;
  if (!mm__memory_usable(trap, (uint64_t)messages, count * sizeof *messages,
                         PROT_READ | PROT_WRITE))
    return -EFAULT;
  for (; sent < count; sent++) {
    result = send_message(trap, (uint64_t)&messages[sent].msg_hdr, a[3]);
    if (mm__failed(result)) break;
    messages[sent].msg_len = (uint32_t)result;
  }
  return sent ? (long)sent : result;
}

long mm__socket_send(struct mm__trap *trap) {
  const long *a = trap->arguments;
  struct mm__address address = {0};
  long result = 0;
  if (!mm__descriptor_usable(trap->record, a[0])) return -EBADF;
  if (a[4]) result = mm__address_take(trap, (uint64_t)a[4], (uint32_t)a[5], false, &address);
  if (mm__failed(result)) return result;
  result = mm__call(SYS_sendto, a[0], a[1], a[2], a[3] | MSG_NOSIGNAL, a[4] ? &address.any : 0,
                    address.length);
  mm__address_leave(&address);
  return result;
}

long mm__socket_write(struct mm__trap *trap) {
  const long *a = trap->arguments;
  if (trap->number == SYS_write) return mm__call(SYS_sendto, a[0], a[1], a[2], MSG_NOSIGNAL);
  struct msghdr header = {.msg_iov = (struct iovec *)a[1], .msg_iovlen = (uint64_t)a[2]};
  return send_copied(trap, &header, 0);
}

/* --- receiving --- */

long mm__socket_receive(struct mm__trap *trap) {
  const long *a = trap->arguments;
  struct mm__address address = {.length = sizeof address.room};
  struct mm__address_wanted wanted;
  if (!mm__descriptor_usable(trap->record, a[0])) return -EBADF;
  long result = mm__address_want(trap, (uint64_t)a[4], (uint64_t)a[5], &wanted);
  if (mm__failed(result)) return result;
  result = mm__call(SYS_recvfrom, a[0], a[1], a[2], a[3], &address.any, &address.length);
  if (!mm__failed(result)) mm__address_give(&wanted, &address);
  return result;
}

static long receive_message(struct mm__trap *trap, struct msghdr *message, long flags) {
  struct msghdr header;
  struct mm__address address = {0};
  struct mm__address_wanted wanted = {0};
  long result = copy_header(trap, (uint64_t)message, PROT_READ | PROT_WRITE, &header);
  if (!mm__failed(result))
    result =
        mm__address_want(trap, (uint64_t)header.msg_name, (uint64_t)&message->msg_namelen, &wanted);
  if (!mm__failed(result)) result = copy_list(trap, &header, PROT_WRITE);
  if (mm__failed(result)) return result;
  if (!has_control(trap)) header.msg_controllen = 0;
  if (!mm__memory_usable(trap, (uint64_t)header.msg_control, header.msg_controllen, PROT_WRITE))
    return -EFAULT;
  header.msg_name = &address.any;
  header.msg_namelen = sizeof address.room;
  result = mm__call(SYS_recvmsg, trap->arguments[0], &header, flags);
  if (mm__failed(result)) return result;
  address.length = header.msg_namelen;
  mm__address_give(&wanted, &address);
  message->msg_controllen = header.msg_controllen;
  message->msg_flags = header.msg_flags;
  return result;
}

long mm__socket_receive_message(struct mm__trap *trap) {
  const long *a = trap->arguments;
  if (!mm__descriptor_usable(trap->record, a[0])) return -EBADF;
  return receive_message(trap, (struct msghdr *)a[1], a[2]);
}

/* Several, for as long as they go well; no time limit of its own. */
long mm__socket_receive_messages(struct mm__trap *trap) {
  const long *a = trap->arguments;
  uint64_t count = (uint32_t)a[2], got = 0;
  struct mmsghdr *messages = (struct mmsghdr *)a[1];
  long result = 0, flags = a[3] & ~(long)MSG_WAITFORONE;
  if (!mm__descriptor_usable(trap->record, a[0])) return -EBADF;
  if (a[4]) return mm__refuse(trap, 0, -EPERM);
  if (count > UIO_MAXIOV) count = UIO_MAXIOV;
  if (!mm__memory_usable(trap, (uint64_t)messages, count * sizeof *messages,
                         PROT_READ | PROT_WRITE))
    return -EFAULT;
  for (; got < count; got++) {
    result = receive_message(trap, &messages[got].msg_hdr, flags);
    if (mm__failed(result)) break;
    messages[got].msg_len = (uint32_t)result;
    if (a[3] & MSG_WAITFORONE) flags |= MSG_DONTWAIT;
  }
  return got ? (long)got : result;
}
