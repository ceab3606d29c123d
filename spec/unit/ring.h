/* unit/ring.h - an io_uring by raw system calls, of one request at a time: io_uring(7). */
#ifndef SPEC_UNIT_RING_H
#define SPEC_UNIT_RING_H

#include <linux/aio_abi.h>
#include <linux/io_uring.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define RING_ENTRIES 4

struct ring {
  int file; /* negative: there is none */
  bool is_polled;
  char *words, *completions;
  struct io_uring_sqe *requests;
  struct io_uring_params facts;
};

static inline void *ring_map(const struct ring *ring, size_t bytes, uint64_t offset) {
  return mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring->file,
              (off_t)offset);
}

/* Polled: a thread of the kernel's looks for requests, without any system call. */
static inline bool ring_open(struct ring *ring, bool is_polled) {
  memset(ring, 0, sizeof *ring);
  ring->is_polled = is_polled;
  if (is_polled) ring->facts.flags = IORING_SETUP_SQPOLL, ring->facts.sq_thread_idle = 20000;
  ring->file = (int)syscall(SYS_io_uring_setup, RING_ENTRIES, &ring->facts);
  if (ring->file < 0) return false;
  ring->words = ring_map(ring, ring->facts.sq_off.array + RING_ENTRIES * 4, IORING_OFF_SQ_RING);
  ring->completions =
      ring_map(ring, ring->facts.cq_off.cqes + ring->facts.cq_entries * sizeof(struct io_uring_cqe),
               IORING_OFF_CQ_RING);
  ring->requests = ring_map(ring, RING_ENTRIES * sizeof *ring->requests, IORING_OFF_SQES);
  return ring->words != MAP_FAILED && ring->completions != MAP_FAILED &&
         (void *)ring->requests != MAP_FAILED;
}

/* The pages are looked up now, and stay: io_uring_register(2). */
static inline bool ring_register(struct ring *ring, void *memory, size_t bytes) {
  struct iovec buffer = {memory, bytes};
  return syscall(SYS_io_uring_register, ring->file, IORING_REGISTER_BUFFERS, &buffer, 1) == 0;
}

static inline uint32_t *ring_word(char *words, uint32_t offset) {
  return (uint32_t *)(words + offset);
}

/* What the kernel answers to one request; -1 if it does not. */
static inline int ring_ask(struct ring *ring, const struct io_uring_sqe *request) {
  uint32_t *tail = ring_word(ring->words, ring->facts.sq_off.tail);
  uint32_t *head = ring_word(ring->completions, ring->facts.cq_off.head);
  uint32_t place = *tail & (RING_ENTRIES - 1), seen = *head;
  if (ring->file < 0) return -1;
  ring->requests[place] = *request;
  ring_word(ring->words, ring->facts.sq_off.array)[place] = place;
  __atomic_store_n(tail, *tail + 1, __ATOMIC_SEQ_CST);
  /* A thread that polls and has fallen asleep is woken. */
  bool sleeps = *(volatile uint32_t *)ring_word(ring->words, ring->facts.sq_off.flags) &
                IORING_SQ_NEED_WAKEUP;
  unsigned flags = ring->is_polled ? IORING_ENTER_SQ_WAKEUP : IORING_ENTER_GETEVENTS;
  if ((!ring->is_polled || sleeps) &&
      syscall(SYS_io_uring_enter, ring->file, 1, !ring->is_polled, flags, NULL, 0) < 0)
    return -1;
  for (int i = 0; i < 5000; i++, usleep(1000))
    if (__atomic_load_n(ring_word(ring->completions, ring->facts.cq_off.tail), __ATOMIC_ACQUIRE) !=
        seen)
      break;
  const struct io_uring_cqe *answers =
      (const struct io_uring_cqe *)(ring->completions + ring->facts.cq_off.cqes);
  int answer = answers[seen & (ring->facts.cq_entries - 1)].res;
  *head = seen + 1;
  return answer;
}

/* From a file into memory. By registered memory, if that is so; by a worker of the kernel's, if that is so. */
static inline bool ring_read(struct ring *ring, int file, void *to, uint32_t bytes,
                             bool is_registered, bool by_worker) {
  struct io_uring_sqe request = {.opcode = is_registered ? IORING_OP_READ_FIXED : IORING_OP_READ,
                                 .flags = by_worker ? IOSQE_ASYNC : 0,
                                 .fd = file,
                                 .addr = (uint64_t)to,
                                 .len = bytes};
  return ring_ask(ring, &request) == (int)bytes;
}

static inline bool has_rings(void) {
  struct ring ring;
  bool has = ring_open(&ring, false);
  if (ring.file >= 0) close(ring.file);
  return has;
}

/* Of io_submit(2). */
static inline bool has_requests(void) {
  aio_context_t context = 0;
  bool has = syscall(SYS_io_setup, 1, &context) == 0;
  if (has) syscall(SYS_io_destroy, context);
  return has;
}

#endif
