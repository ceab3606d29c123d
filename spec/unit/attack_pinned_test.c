/* unit/attack_pinned_test.c - ways in by memory that the kernel looked up once, and uses later: attack.h. */
#include "attack.h"
#include "ring.h"

#include <linux/aio_abi.h>
#include <sys/uio.h>

static int open_zero(void) { return open("/dev/zero", O_RDONLY | O_CLOEXEC); }

/* --- io_uring --- */

static struct ring ring = {.file = -1};

static bool reads_by_ring(struct target *target) {
  return ring_open(&ring, false) &&
         ring_read(&ring, open_zero(), (void *)target->secret, 8, false, false);
}

static void register_secret(void *result, void **arguments, void *user) {
  (void)result, (void)arguments, (void)user;
  ring_register(&ring, (void *)callback_target->secret, PAGE);
}

static bool reads_what_was_registered(struct target *target) {
  return ring_read(&ring, open_zero(), (void *)target->secret, 8, true, false) &&
         secret_now(target) == 0;
}

/* What the call has open is looked up, and written when it is closed. */
static bool registers_in_a_call(struct target *target) {
  if (!ring_open(&ring, false)) return false;
  call_back(target, register_secret);
  return reads_what_was_registered(target);
}

/* Its thread stays awake from its first request on. */
static void registers_before(struct target *target) {
  char byte;
  if (!ring_open(&ring, true)) return;
  call_back(target, register_secret);
  ring_read(&ring, open_zero(), &byte, 1, false, false);
}

static void start_a_worker(void *result, void **arguments, void *user) {
  char byte;
  (void)result, (void)arguments, (void)user;
  ring_read(&ring, open_zero(), &byte, 1, false, true);
}

/* It has the rights to keys of the thread that it was made for, as they were then. */
static bool uses_a_worker_from_a_call(struct target *target) {
  if (!ring_open(&ring, false)) return false;
  call_back(target, start_a_worker);
  return ring_read(&ring, open_zero(), (void *)target->secret, 8, false, true);
}

/* --- asynchronous I/O --- */

static bool reads_by_request(struct target *target) {
  aio_context_t context = 0;
  struct io_event event;
  struct iocb request = {.aio_lio_opcode = IOCB_CMD_PREAD,
                         .aio_fildes = (uint32_t)open_zero(),
                         .aio_buf = (uint64_t)target->secret,
                         .aio_nbytes = 8};
  return syscall(SYS_io_setup, 1, &context) == 0 &&
         syscall(SYS_io_submit, context, 1, (struct iocb *[]){&request}) == 1 &&
         syscall(SYS_io_getevents, context, 1, 1, &event, NULL) == 1 && event.res == 8;
}

/* --- pages in a pipe --- */

static int pipe_ends[2] = {-1, -1};
static unsigned splice_flags;

static bool splice_secret(const struct target *target) {
  struct iovec page = {(void *)target->secret, PAGE};
  return pipe2(pipe_ends, O_NONBLOCK) == 0 &&
         vmsplice(pipe_ends[1], &page, 1, splice_flags) == (ssize_t)PAGE;
}

static bool pipe_has(uint64_t wanted) {
  uint64_t value = 0;
  return read(pipe_ends[0], &value, 8) == 8 && value == wanted;
}

static bool splices_out(struct target *target) { return splice_secret(target) && pipe_has(SECRET); }

static bool splices_in(struct target *target) {
  const uint64_t value = CHANGE;
  struct iovec place = {(void *)target->secret, 8};
  return pipe2(pipe_ends, O_NONBLOCK) == 0 && write(pipe_ends[1], &value, 8) == 8 &&
         vmsplice(pipe_ends[0], &place, 1, 0) == 8;
}

static void splice_in_a_call(void *result, void **arguments, void *user) {
  (void)result, (void)arguments, (void)user;
  splice_secret(callback_target);
}

static void splices_before(struct target *target) { call_back(target, splice_in_a_call); }

/* A later call's secret, that no call of the client's was there to see. The image is unchanged in the end. */
static bool sees_what_comes_later(struct target *target) {
  CALL_INT(target->image, "scramble");
  bool seen = pipe_has(SECRET * 0x9e3779b97f4a7c15);
  return mm_reset(target->image, NULL) == MM_OK && seen;
}

static bool splices_in_a_call(struct target *target) {
  splices_before(target);
  return sees_what_comes_later(target);
}

static bool gives_in_a_call(struct target *target) {
  splice_flags = SPLICE_F_GIFT;
  return splices_in_a_call(target);
}

static const struct attack attacks[] = {
    {.name = "io_uring reads into the image",
     .run = reads_by_ring,
     .succeeds = UP_TO_GUARD,
     .applies = has_rings},
    {.name = "io_uring reads into what was registered in a call",
     .run = registers_in_a_call,
     .succeeds = BUT_LOCKDOWN,
     .applies = has_rings},
    {.name = "a polled io_uring from before, likewise",
     .run = reads_what_was_registered,
     .succeeds = EVERYWHERE,
     .before = registers_before,
     .applies = has_rings},
    {.name = "a worker of io_uring's, made in a call",
     .run = uses_a_worker_from_a_call,
     .succeeds = {[NONE] = true, [KEYS] = true},
     .applies = has_rings},
    {.name = "io_submit reads into the image",
     .run = reads_by_request,
     .succeeds = UP_TO_GUARD,
     .applies = has_requests},
    {.name = "vmsplice into the image", .run = splices_in, .succeeds = UP_TO_GUARD},
    {.name = "vmsplice of what is sealed",
     .run = splices_out,
     .succeeds = UP_TO_GUARD,
     .sealed = true},
    {.name = "vmsplice in a call of what is sealed, seen later",
     .run = splices_in_a_call,
     .succeeds = BUT_LOCKDOWN,
     .sealed = true},
    {.name = "vmsplice in a call, the page given away, seen later",
     .run = gives_in_a_call,
     .succeeds = BUT_LOCKDOWN,
     .sealed = true},
    {.name = "a pipe from before has a page of what is sealed",
     .run = sees_what_comes_later,
     .succeeds = EVERYWHERE,
     .before = splices_before,
     .sealed = true},
};

int main(int count, char **arguments) {
  return try_attacks(attacks, sizeof attacks / sizeof *attacks, count, arguments);
}
