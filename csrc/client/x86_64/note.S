/* A C function of any type that writes down how it was called: where mm__noting points to, with the
 * bytes of stack arguments that are named there, and a zero on the x87 stack where a result is
 * expected in it. core/gate/batch.h has the layout; psABI 3.2.3 the registers.
 * Clobbered: what a C call may clobber. */

#include "core/gate/batch.h"

    .text
    .globl mm__note
    .hidden mm__note
    .type mm__note, @function
    .p2align 4
mm__note:
    .cfi_startproc
    movq mm__noting@gottpoff(%rip), %r11
    movq %fs:(%r11), %r11
    movq %rdi, MM__NOTED_INTEGERS(%r11)
    movq %rsi, MM__NOTED_INTEGERS + 8(%r11)
    movq %rdx, MM__NOTED_INTEGERS + 16(%r11)
    movq %rcx, MM__NOTED_INTEGERS + 24(%r11)
    movq %r8, MM__NOTED_INTEGERS + 32(%r11)
    movq %r9, MM__NOTED_INTEGERS + 40(%r11)
    movq %xmm0, MM__NOTED_VECTORS(%r11)
    movq %xmm1, MM__NOTED_VECTORS + 8(%r11)
    movq %xmm2, MM__NOTED_VECTORS + 16(%r11)
    movq %xmm3, MM__NOTED_VECTORS + 24(%r11)
    movq %xmm4, MM__NOTED_VECTORS + 32(%r11)
    movq %xmm5, MM__NOTED_VECTORS + 40(%r11)
    movq %xmm6, MM__NOTED_VECTORS + 48(%r11)
    movq %xmm7, MM__NOTED_VECTORS + 56(%r11)
    movzbl %al, %eax
    movl %eax, MM__NOTED_VECTOR_COUNT(%r11)
    movl MM__NOTED_STACK_BYTES(%r11), %ecx
    shrl $3, %ecx
    leaq 8(%rsp), %rsi
    leaq MM__NOTED_BYTES(%r11), %rdi
    rep movsq
    cmpl $0, MM__NOTED_X87_RESULT(%r11)
    je 1f
    fldz
1:  xorl %eax, %eax
    pxor %xmm0, %xmm0
    ret
    .cfi_endproc
    .size mm__note, . - mm__note

    .section .note.GNU-stack, "", @progbits
