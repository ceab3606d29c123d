/* core/gate/frame.h - what one crossing keeps on the caller's stack; shared by C and assembly.
 * Owns:    the caller's registers while the image runs.
 * Threads: a frame belongs to the thread whose stack it is on.
 * Signals: the fault handler reads the newest frame of the image that FS names.
 * Errors:  none. */
#ifndef MM_CORE_GATE_FRAME_H
#define MM_CORE_GATE_FRAME_H

#define MM__FRAME_RDI          0
#define MM__FRAME_RSI          8
#define MM__FRAME_RDX          16
#define MM__FRAME_RCX          24
#define MM__FRAME_R8           32
#define MM__FRAME_R9           40
#define MM__FRAME_RAX          48
#define MM__FRAME_ENTRY        56
#define MM__FRAME_IMAGE_STACK  64
#define MM__FRAME_HOST_MXCSR   72
#define MM__FRAME_IMAGE_MXCSR  76
#define MM__FRAME_HOST_X87     80
#define MM__FRAME_IMAGE_X87    82
#define MM__FRAME_X87_RESULT   84
#define MM__FRAME_SELF         88
#define MM__FRAME_CALLER_STACK 96
#define MM__FRAME_STACK_BYTES  104
#define MM__FRAME_RIGHTS       112
#define MM__FRAME_BYTES        192

#define MM__THREAD_LIMIT 2048

/* A slot's state: its newest frame comes first, and its size is a power of two, for the assembly.
 * */
#define MM__STATE_SHIFT    8
#define MM__STATE_TLS_BASE 8

/* Entries of each of our signal handlers, and how large one is: x86_64/handler.S. */
#define MM__HANDLER_LEVELS 8
#define MM__HANDLER_SHIFT  5

#ifndef __ASSEMBLER__
#include <stdint.h>

struct mm__thread;

struct mm__frame {
  uint64_t rdi, rsi, rdx, rcx, r8, r9, rax; /* arguments; at the end rax and rdx hold the result */
  uint64_t entry;
  uint64_t image_stack; /* where the image starts: at its stack arguments */
  uint32_t host_mxcsr, image_mxcsr;
  uint16_t host_x87, image_x87;
  uint32_t x87_result; /* how much of the result is in st(0) and st(1) */
  uint64_t self;
  uint64_t caller_stack; /* the caller's stack arguments */
  uint64_t stack_bytes;  /* how many there are */
  uint32_t rights;       /* index in mm__rights, if the client is closed in this call; else 0 */
  uint32_t is_batch;     /* rdi and rsi say where calls are noted, and how many */
  uint64_t host_fs;      /* the caller's FS: inside the arena when the caller is an image */
  uint64_t host_mask;
  struct mm__thread *thread;
  struct mm__frame *outer;      /* of this thread */
  struct mm__frame *outer_here; /* of this image */
  uint64_t outer_stack;         /* the image's stack mark before this call */
  uint32_t slot, export_index;
  uint32_t masked;
};

#define MM__FRAME_CHECK(field, offset)                                                             \
  _Static_assert(__builtin_offsetof(struct mm__frame, field) == (offset), "frame." #field)
MM__FRAME_CHECK(rdi, MM__FRAME_RDI);
MM__FRAME_CHECK(rsi, MM__FRAME_RSI);
MM__FRAME_CHECK(rdx, MM__FRAME_RDX);
MM__FRAME_CHECK(rcx, MM__FRAME_RCX);
MM__FRAME_CHECK(r8, MM__FRAME_R8);
MM__FRAME_CHECK(r9, MM__FRAME_R9);
MM__FRAME_CHECK(rax, MM__FRAME_RAX);
MM__FRAME_CHECK(entry, MM__FRAME_ENTRY);
MM__FRAME_CHECK(image_stack, MM__FRAME_IMAGE_STACK);
MM__FRAME_CHECK(host_mxcsr, MM__FRAME_HOST_MXCSR);
MM__FRAME_CHECK(image_mxcsr, MM__FRAME_IMAGE_MXCSR);
MM__FRAME_CHECK(host_x87, MM__FRAME_HOST_X87);
MM__FRAME_CHECK(image_x87, MM__FRAME_IMAGE_X87);
MM__FRAME_CHECK(x87_result, MM__FRAME_X87_RESULT);
MM__FRAME_CHECK(self, MM__FRAME_SELF);
MM__FRAME_CHECK(caller_stack, MM__FRAME_CALLER_STACK);
MM__FRAME_CHECK(stack_bytes, MM__FRAME_STACK_BYTES);
MM__FRAME_CHECK(rights, MM__FRAME_RIGHTS);
_Static_assert(sizeof(struct mm__frame) <= MM__FRAME_BYTES, "the frame fits");
#endif
#endif
