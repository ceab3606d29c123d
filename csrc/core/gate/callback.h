/* core/gate/callback.h - the reverse gate: image code calls a function of the host, and goes on.
 * Owns:    the stubs of callbacks in slot 0, and what each stands for.
 * Threads: callbacks are made and freed by any thread; one runs in the thread that is inside its
 *          image.
 * Signals: a callback runs in ordinary context, on the host's FS: signals reach the host's handlers
 *          at once, and those that its call has put off do so before it begins.
 * Errors:  what an image may not do with a callback ends its call as MM_ERROR_CALLBACK. */
#ifndef MM_CORE_GATE_CALLBACK_H
#define MM_CORE_GATE_CALLBACK_H

#define MM__CALLBACK_RDI          0
#define MM__CALLBACK_RSI          8
#define MM__CALLBACK_RDX          16
#define MM__CALLBACK_RCX          24
#define MM__CALLBACK_R8           32
#define MM__CALLBACK_R9           40
#define MM__CALLBACK_RAX          48
#define MM__CALLBACK_FUNCTION     56
#define MM__CALLBACK_HOST_STACK   64
#define MM__CALLBACK_CALLER_STACK 72
#define MM__CALLBACK_STACK_BYTES  80
#define MM__CALLBACK_HOST_MXCSR   88
#define MM__CALLBACK_IMAGE_MXCSR  92
#define MM__CALLBACK_HOST_X87     96
#define MM__CALLBACK_IMAGE_X87    98
#define MM__CALLBACK_BYTES        192

#ifndef __ASSEMBLER__
#include "core/state.h"

/* What one crossing keeps on the host's stack while its function runs. It is begun on the image's
 * stack, which is where the image's registers come in. */
struct mm__callback_frame {
  uint64_t rdi, rsi, rdx, rcx, r8, r9, rax; /* arguments; at the end rax and rdx hold the result */
  uint64_t function;
  uint64_t host_stack;   /* where the function starts: at its stack arguments */
  uint64_t caller_stack; /* the image's stack arguments */
  uint64_t stack_bytes;  /* how many there are */
  uint32_t host_mxcsr, image_mxcsr;
  uint16_t host_x87, image_x87;
  uint32_t slot;
  uint64_t image_fs, host_fs;
  struct mm__frame *call; /* the newest when it calls back */
  struct mm__thread_record *thread;
  struct mm__callback_frame *outer; /* of this thread */
  uint64_t image_mark;              /* where a call into the image starts meanwhile */
  uint32_t index;
  uint32_t failed; /* it is to end the call */
  uint32_t strict_depth;
};

#define MM__CALLBACK_CHECK(field, offset)                                                          \
  _Static_assert(__builtin_offsetof(struct mm__callback_frame, field) == (offset),                 \
                 "callback." #field)
MM__CALLBACK_CHECK(rdi, MM__CALLBACK_RDI);
MM__CALLBACK_CHECK(rsi, MM__CALLBACK_RSI);
MM__CALLBACK_CHECK(rdx, MM__CALLBACK_RDX);
MM__CALLBACK_CHECK(rcx, MM__CALLBACK_RCX);
MM__CALLBACK_CHECK(r8, MM__CALLBACK_R8);
MM__CALLBACK_CHECK(r9, MM__CALLBACK_R9);
MM__CALLBACK_CHECK(rax, MM__CALLBACK_RAX);
MM__CALLBACK_CHECK(function, MM__CALLBACK_FUNCTION);
MM__CALLBACK_CHECK(host_stack, MM__CALLBACK_HOST_STACK);
MM__CALLBACK_CHECK(caller_stack, MM__CALLBACK_CALLER_STACK);
MM__CALLBACK_CHECK(stack_bytes, MM__CALLBACK_STACK_BYTES);
MM__CALLBACK_CHECK(host_mxcsr, MM__CALLBACK_HOST_MXCSR);
MM__CALLBACK_CHECK(image_mxcsr, MM__CALLBACK_IMAGE_MXCSR);
MM__CALLBACK_CHECK(host_x87, MM__CALLBACK_HOST_X87);
MM__CALLBACK_CHECK(image_x87, MM__CALLBACK_IMAGE_X87);
_Static_assert(sizeof(struct mm__callback_frame) <= MM__CALLBACK_BYTES &&
                   MM__CALLBACK_BYTES % 16 == 0,
               "the frame fits, and keeps the stack aligned");

/* Called by the assembly. prepare: the frame on the host's stack; NULL when it is the host itself
 * that called, and `function` is all it gets. cross and finish may end the image's call instead of
 * returning. */
struct mm__callback_frame *mm__callback_prepare(struct mm__callback_frame *here, uint64_t stub);
void mm__callback_cross(struct mm__callback_frame *frame);
void mm__callback_finish(struct mm__callback_frame *frame);
/* Goes where the fault handler would land. */
_Noreturn void mm__callback_end(struct mm__frame *frame);
/* A callback was left by another way than its return: nobody can put that right. */
_Noreturn void mm__callback_lost(void);
/* Before a thread of which a callback runs makes a call, with the gate's frame here: not from above the
 * callback, on whose stack it would have to be. */
void mm__callback_check(const struct mm__thread_record *thread, const struct mm__frame *frame);
/* The image's call ends, in ordinary context and on the image's FS, as a fault in it would end it. */
_Noreturn void mm__gate_end(uint32_t slot, const struct mm__outcome *outcome);
extern const uint8_t mm__callback_page[MM__PAGE];

/* The call table's part. */
int mm__callback_make(uint32_t slot, uint64_t serial, const struct mm__callback_target *target,
                      void **pointer, struct mm_error *error);
bool mm__callback_free(void *pointer, uint64_t serial);
void mm__callback_fail(const char *text);
/* All stubs and records go. */
void mm__callbacks_stop(void);

extern const char mm__callback_freed[];
#endif
#endif
