/* Many calls in one crossing.
 *
 *     uint64_t mm__batch_enter(void *stub, uint64_t batch, uint64_t count)
 *                      the host's way in: that of the stub, but for the bit that tells the gate
 *     mm__batch_run    what the gate calls then, instead of the export, on the image's stack and FS
 *
 * It does what the gate does around each call: the registers as they were noted, the image's own
 * floating-point environment, flags and x87 stack as psABI 3.2.1 wants them, and afterwards nothing
 * is believed but what holds a result: the frame is found by FS, as the gate finds it. What it changes
 * lies in the image, which may change it, too; all it does there the image could do. Vector registers
 * hold only what was noted. */

#include "core/gate/batch.h"
#include "core/gate/x86_64/crossing.inc"

#define STUB_IS_BATCH 1

    .text
    .globl mm__batch_enter, mm__batch_run
    .hidden mm__batch_enter, mm__batch_run
    .type mm__batch_enter, @function
    .p2align 4
mm__batch_enter:
    .cfi_startproc
    leaq STUB_IS_BATCH(%rdi), %r11
    movq %rsi, %rdi
    movq %rdx, %rsi
    xorl %eax, %eax
    jmp mm__gate_enter
    .cfi_endproc
    .size mm__batch_enter, . - mm__batch_enter

/* In the frame: rdi = the batch, rsi = how many calls, rdx = the export, rcx = where a word is that
 * ends it when it is not 0, r8 = itself. On the stack nothing but the return address. In rax: how
 * many calls have returned. */
    .type mm__batch_run, @function
    .p2align 4
mm__batch_run:
    .cfi_startproc
    .cfi_undefined %rip /* for who unwinds, the image begins here */
    movq %r8, %rbx
    leaq MM__BATCH_BYTES(%rdi), %r12
    movq %r12, MM__BATCH_NEXT(%rdi)
.Lnext:
    movq %r12, %r8
    movl MM__NOTED_STACK_BYTES(%r8), %ecx
    subq $8, %rsp
    testl %ecx, %ecx
    jz 1f
    subq %rcx, %rsp
    andq $-16, %rsp
    shrq $3, %rcx
    leaq MM__NOTED_BYTES(%r8), %rsi
    movq %rsp, %rdi
    rep movsq
1:  movq MM__FRAME_RDX(%rbx), %r11
    movq MM__NOTED_VECTORS(%r8), %xmm0
    movq MM__NOTED_VECTORS + 8(%r8), %xmm1
    movq MM__NOTED_VECTORS + 16(%r8), %xmm2
    movq MM__NOTED_VECTORS + 24(%r8), %xmm3
    movq MM__NOTED_VECTORS + 32(%r8), %xmm4
    movq MM__NOTED_VECTORS + 40(%r8), %xmm5
    movq MM__NOTED_VECTORS + 48(%r8), %xmm6
    movq MM__NOTED_VECTORS + 56(%r8), %xmm7
    movq MM__NOTED_INTEGERS(%r8), %rdi
    movq MM__NOTED_INTEGERS + 8(%r8), %rsi
    movq MM__NOTED_INTEGERS + 16(%r8), %rdx
    movq MM__NOTED_INTEGERS + 24(%r8), %rcx
    movl MM__NOTED_VECTOR_COUNT(%r8), %eax
    movq MM__NOTED_INTEGERS + 40(%r8), %r9
    movq MM__NOTED_INTEGERS + 32(%r8), %r8
    xorl %r10d, %r10d
    xorl %ebx, %ebx
    xorl %ebp, %ebp
    xorl %r12d, %r12d
    xorl %r13d, %r13d
    xorl %r14d, %r14d
    xorl %r15d, %r15d
    call *%r11
    /* Only rax, xmm0 and st(0) may be believed. */
    find_frame
    movq MM__FRAME_IMAGE_STACK(%rbx), %rsp
    subq $8, %rsp
    movq MM__FRAME_RDI(%rbx), %r13
    movq MM__BATCH_NEXT(%r13), %r12
    movq %rax, MM__NOTED_RAX(%r12)
    movq %xmm0, MM__NOTED_XMM0(%r12)
    clear_harmful_flags
    pushq $0
    settle_x87 MM__FRAME_IMAGE_X87(%rbx), (%rsp)
    popq %rax
    cmpl $0, MM__NOTED_X87_RESULT(%r12)
    je 2f
    fstpt MM__NOTED_ST0(%r12)
2:  emms
    ldmxcsr MM__FRAME_IMAGE_MXCSR(%rbx)
    movl MM__NOTED_STACK_BYTES(%r12), %ecx
    leaq MM__NOTED_BYTES + 15(%r12,%rcx), %r12
    andq $-16, %r12
    movq %r12, MM__BATCH_NEXT(%r13)
    movq MM__BATCH_DONE(%r13), %rax
    incq %rax
    movq %rax, MM__BATCH_DONE(%r13)
    cmpq %rax, MM__FRAME_RSI(%rbx)
    jbe 3f
    movq MM__FRAME_RCX(%rbx), %rcx
    cmpq $0, (%rcx)
    je .Lnext
3:  ret
    find_frame_slowly
    .cfi_endproc
    .size mm__batch_run, . - mm__batch_run

    .section .note.GNU-stack, "", @progbits
