/* core/gate/batch.h - calls that are written down, and made in one crossing; for C and assembly.
 * Owns:    nothing; they lie in the image's mailbox.
 * Threads: of the thread that holds the image.
 * Signals: a signal of the host that was put off ends the crossing before the next of its calls.
 * Errors:  none; a call that does not return ends the crossing, and `done` says which it was.
 *
 * All of it is made with the rights of the image: what it does to it is done to itself. */
#ifndef MM_CORE_GATE_BATCH_H
#define MM_CORE_GATE_BATCH_H

#define MM__BATCH_DONE  0
#define MM__BATCH_NEXT  8
#define MM__BATCH_BYTES 16

#define MM__NOTED_INTEGERS     0
#define MM__NOTED_VECTORS      48
#define MM__NOTED_VECTOR_COUNT 112
#define MM__NOTED_STACK_BYTES  116
#define MM__NOTED_X87_RESULT   120
#define MM__NOTED_BYTES        128

#define MM__NOTED_RAX  0
#define MM__NOTED_XMM0 8
#define MM__NOTED_ST0  16

#ifndef __ASSEMBLER__
#include <stdint.h>

/* What lies in front of the calls. */
struct mm__batch_head {
  uint64_t done; /* calls that have returned; to begin with 0 */
  uint64_t next; /* address of the one that is made */
};

/* One call, as psABI 3.2.3 passes it; what it returns, no struct, is written over its arguments. Its
 * arguments in memory follow it; the next call follows them, aligned to 16. */
struct mm__noted {
  union {
    struct {
      uint64_t integers[6]; /* rdi rsi rdx rcx r8 r9 */
      uint64_t vectors[8];  /* the low halves of xmm0 to xmm7 */
    };
    struct {
      uint64_t rax, xmm0;
      uint8_t st0[16];
    };
  };
  uint32_t vector_count; /* al */
  uint32_t stack_bytes;  /* of arguments in memory */
  uint32_t x87_result;   /* 1: the result is in st(0) */
  uint32_t reserved;
};

#define MM__NOTED_CHECK(field, offset)                                                             \
  _Static_assert(__builtin_offsetof(struct mm__noted, field) == (offset), "noted." #field)
MM__NOTED_CHECK(integers, MM__NOTED_INTEGERS);
MM__NOTED_CHECK(vectors, MM__NOTED_VECTORS);
MM__NOTED_CHECK(vector_count, MM__NOTED_VECTOR_COUNT);
MM__NOTED_CHECK(stack_bytes, MM__NOTED_STACK_BYTES);
MM__NOTED_CHECK(x87_result, MM__NOTED_X87_RESULT);
MM__NOTED_CHECK(xmm0, MM__NOTED_XMM0);
MM__NOTED_CHECK(st0, MM__NOTED_ST0);
_Static_assert(sizeof(struct mm__noted) == MM__NOTED_BYTES, "a noted call");
_Static_assert(sizeof(struct mm__batch_head) == MM__BATCH_BYTES, "the head of a batch");

/* From one to the next. */
static inline uint64_t mm__noted_bytes(uint64_t stack_bytes) {
  return MM__NOTED_BYTES + ((stack_bytes + 15) & ~15ul);
}
#endif
#endif
