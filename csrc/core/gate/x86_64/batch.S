/* Many calls in one crossing.
 *
 *     uint64_t mm__batch_enter(void *stub, uint64_t batch, uint64_t count)
 *                      the host's way in: that of the stub, but for the bit that tells the gate
 *     mm__batch_run    what the gate calls then, instead of the export, on the image's stack and FS
 *
 * It does what the gate does around each call: the registers as they were noted, the image's own
 * floating-point environment, flags and x87 stack as psABI 3.2.1 wants them. It needs no more of the
 * rights than the image has, and no more of its registers than it is owed: an image that spoils
 * those spoils a call of its own. Vector registers hold only what was noted. */

#include "core/gate/batch.h"
#include "core/gate/x86_64/crossing.inc"

#define STUB_IS_BATCH 1

/* What mm__batch_run keeps below its return address. */
#define STOP       -8
#define COUNT      -16
#define MXCSR      -24
#define X87        -20
#define X87_NOW    -18
#define KEPT_BYTES 24

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

/* rdi = the batch, rsi = how many calls, rdx = the export, rcx = a word that ends it when it is not
 * 0, r8d = MXCSR, r9w = the x87 control word. In rax: how many have returned. */
    .type mm__batch_run, @function
    .p2align 4
mm__batch_run:
    .cfi_startproc
    .cfi_undefined %rip /* for who unwinds, the image begins here */
    movq %rsp, %rbp
    subq $KEPT_BYTES, %rsp
    movq %rcx, STOP(%rbp)
    movq %rsi, COUNT(%rbp)
    movl %r8d, MXCSR(%rbp)
    movw %r9w, X87(%rbp)
    movq %rdi, %r13
    movq %rdx, %r12
    leaq MM__BATCH_BYTES(%rdi), %rbx
.Lnext:
    leaq -KEPT_BYTES(%rbp), %rsp
    movl MM__NOTED_STACK_BYTES(%rbx), %ecx
    testl %ecx, %ecx
    jz 1f
    subq %rcx, %rsp
    andq $-16, %rsp
    shrq $3, %rcx
    leaq MM__NOTED_BYTES(%rbx), %rsi
    movq %rsp, %rdi
    rep movsq
1:  movq MM__NOTED_VECTORS(%rbx), %xmm0
    movq MM__NOTED_VECTORS + 8(%rbx), %xmm1
    movq MM__NOTED_VECTORS + 16(%rbx), %xmm2
    movq MM__NOTED_VECTORS + 24(%rbx), %xmm3
    movq MM__NOTED_VECTORS + 32(%rbx), %xmm4
    movq MM__NOTED_VECTORS + 40(%rbx), %xmm5
    movq MM__NOTED_VECTORS + 48(%rbx), %xmm6
    movq MM__NOTED_VECTORS + 56(%rbx), %xmm7
    movq MM__NOTED_INTEGERS(%rbx), %rdi
    movq MM__NOTED_INTEGERS + 8(%rbx), %rsi
    movq MM__NOTED_INTEGERS + 16(%rbx), %rdx
    movq MM__NOTED_INTEGERS + 24(%rbx), %rcx
    movq MM__NOTED_INTEGERS + 32(%rbx), %r8
    movq MM__NOTED_INTEGERS + 40(%rbx), %r9
    movl MM__NOTED_VECTOR_COUNT(%rbx), %eax
    xorl %r10d, %r10d
    call *%r12
    movq %rax, MM__NOTED_RAX(%rbx)
    movq %xmm0, MM__NOTED_XMM0(%rbx)
    cmpl $0, MM__NOTED_X87_RESULT(%rbx)
    je 2f
    fstpt MM__NOTED_ST0(%rbx)
2:  clear_harmful_flags
    emms
    settle_x87 X87(%rbp), X87_NOW(%rbp)
    ldmxcsr MXCSR(%rbp)
    incq MM__BATCH_DONE(%r13)
    movl MM__NOTED_STACK_BYTES(%rbx), %ecx
    leaq MM__NOTED_BYTES + 15(%rbx,%rcx), %rbx
    andq $-16, %rbx
    decq COUNT(%rbp)
    jz 3f
    movq STOP(%rbp), %rcx
    cmpq $0, (%rcx)
    je .Lnext
3:  movq MM__BATCH_DONE(%r13), %rax
    movq %rbp, %rsp
    ret
    .cfi_endproc
    .size mm__batch_run, . - mm__batch_run

    .section .note.GNU-stack, "", @progbits
