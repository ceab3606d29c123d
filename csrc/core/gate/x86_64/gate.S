/* The gate: the only way into an image and back out of it.
 *
 *     RESULT stub(ARGUMENTS...)   any C function type; stubs.S jumps here with %r11 = the stub's
 *     address
 *
 * The caller's stack, high to low:
 *
 *     stack arguments           <- CFA
 *     return address
 *     rbp                       <- rbp
 *     rbx r12 r13 r14 r15
 *     8 bytes of padding
 *     struct mm__frame          <- rsp, kept in rbx
 *
 * Clobbered: what a C call may clobber (psABI 3.2.1), nothing else. The image may have spoiled
 * every register and flag but those that hold its result; so the way back starts from FS, which
 * only the Matchmaker sets: FS names the slot, the slot's state its newest frame. Vector registers
 * are never touched here, so arguments and results in them pass.
 * docs/gate.md argues each register. */

#include "core/gate/x86_64/crossing.inc"

#define SAVED_BYTES   (MM__FRAME_BYTES + 8)

    .text
    .globl mm__gate_enter, mm__gate_fault
    .hidden mm__gate_enter, mm__gate_fault
    .type mm__gate_enter, @function
    .p2align 6
mm__gate_enter:
    .cfi_startproc
    /* Keep what the caller is owed. */
    save_callee_saved
    subq $SAVED_BYTES, %rsp
    movq %rdi, MM__FRAME_RDI(%rsp)
    movq %rsi, MM__FRAME_RSI(%rsp)
    movq %rdx, MM__FRAME_RDX(%rsp)
    movq %rcx, MM__FRAME_RCX(%rsp)
    movq %r8, MM__FRAME_R8(%rsp)
    movq %r9, MM__FRAME_R9(%rsp)
    movq %rax, MM__FRAME_RAX(%rsp)
    stmxcsr MM__FRAME_HOST_MXCSR(%rsp)
    fnstcw MM__FRAME_HOST_X87(%rsp)
    leaq 16(%rbp), %rax
    movq %rax, MM__FRAME_CALLER_STACK(%rsp)
    /* Check, lock, open, switch FS: in C, which knows no FS, no vector register and no libc. */
    movq %rsp, %rbx
    /* An image that calls another one may have set DF and AC: our C need not be aligned. */
    clear_harmful_flags
    change_rights mm__rights_open
    movq %rsp, %rdi
    movq %r11, %rsi
    call mm__gate_prepare
    testq %rax, %rax
    jz .Lrefused
    /* The image's floating-point environment. Loading MXCSR costs less than looking at it. */
    ldmxcsr MM__FRAME_IMAGE_MXCSR(%rbx)
    change_x87_control MM__FRAME_IMAGE_X87(%rbx), MM__FRAME_HOST_X87(%rbx)
    /* The stack arguments, while nothing of ours is live below the frame: the caller may be on that very stack. */
    movq MM__FRAME_STACK_BYTES(%rbx), %rcx
    shrq $3, %rcx
    jz 8f
    movq MM__FRAME_CALLER_STACK(%rbx), %rsi
    movq MM__FRAME_IMAGE_STACK(%rbx), %rdi
    rep movsq
8:  /* From here on the client's memory can only be read. */
    change_rights mm__rights_close
    /* Over to the image's stack, with the argument registers as they came. */
    movq MM__FRAME_RDI(%rbx), %rdi
    movq MM__FRAME_RSI(%rbx), %rsi
    movq MM__FRAME_RDX(%rbx), %rdx
    movq MM__FRAME_RCX(%rbx), %rcx
    movq MM__FRAME_R8(%rbx), %r8
    movq MM__FRAME_R9(%rbx), %r9
    movq MM__FRAME_RAX(%rbx), %rax
    movq MM__FRAME_ENTRY(%rbx), %r11
    movq MM__FRAME_IMAGE_STACK(%rbx), %rsp
    /* The callee's registers are no business of the image: it gets none of the host's values. */
    xorl %r10d, %r10d
    xorl %r12d, %r12d
    xorl %r13d, %r13d
    xorl %r14d, %r14d
    xorl %r15d, %r15d
    xorl %ebx, %ebx
    call *%r11
    /* Back. From here on only rax, rdx, xmm0, xmm1, st(0) and st(1) may be believed. */
    movq %rax, %r12
    movq %rdx, %r13
    change_rights mm__rights_open
    movq %r12, %rax
    movq %r13, %rdx
    find_frame
    /* On the host's stack again. */
    movq %rbx, %rsp
    leaq (SAVED_BYTES + 40)(%rbx), %rbp
    movq %rax, MM__FRAME_RAX(%rbx)
    movq %rdx, MM__FRAME_RDX(%rbx)
    /* The flags that would hurt the caller: direction, nested task and alignment check. */
    clear_harmful_flags
    settle_x87 MM__FRAME_HOST_X87(%rbx), MM__FRAME_IMAGE_X87(%rbx)
    /* psABI 3.2.3: the x87 registers are empty on return, unless the result is in them. */
    cmpl $0, MM__FRAME_X87_RESULT(%rbx)
    jne 3f
    emms
3:  movq %rbx, %rdi
    call mm__gate_finish
.Lleave:
    ldmxcsr MM__FRAME_HOST_MXCSR(%rbx)
    /* The caller may be an image. */
    change_rights mm__rights_close
    movq MM__FRAME_RAX(%rbx), %rax
    movq MM__FRAME_RDX(%rbx), %rdx
    addq $SAVED_BYTES, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    .cfi_remember_state
    .cfi_def_cfa %rsp, 8
    ret
    .cfi_restore_state

.Lended:
    fldcw MM__FRAME_HOST_X87(%rbx)
.Lrefused:
    /* The call did not happen: zero, in every register that could hold a result. */
    movq $0, MM__FRAME_RAX(%rbx)
    movq $0, MM__FRAME_RDX(%rbx)
    pxor %xmm0, %xmm0
    pxor %xmm1, %xmm1
    cmpl $0, MM__FRAME_X87_RESULT(%rbx)
    je .Lleave
    fldz
    cmpl $2, MM__FRAME_X87_RESULT(%rbx)
    jne .Lleave
    fldz
    jmp .Lleave

    find_frame_slowly

/* Where the fault handler lands a call that ended in a fault: rbx = rsp = the frame, everything
 * else unknown. */
    .type mm__gate_fault, @function
mm__gate_fault:
    cld
    fninit
    change_rights mm__rights_open
    leaq (SAVED_BYTES + 40)(%rbx), %rbp
    movq %rbx, %rdi
    call mm__gate_finish_fault
    /* The caller was an image: its call ends here too, and so on outwards. */
    testq %rax, %rax
    jz .Lended
    movq %rax, %rbx
    movq %rax, %rsp
    jmp mm__gate_fault
    .cfi_endproc
    .size mm__gate_enter, . - mm__gate_enter

/* void mm__gate_serve(uint64_t entry, uint64_t stack): starts a server as the kernel starts a
 * program. */
    .globl mm__gate_serve
    .hidden mm__gate_serve
    .type mm__gate_serve, @function
mm__gate_serve:
    .cfi_startproc
    .cfi_undefined %rip
    movq %rsi, %rsp
    movq %rdi, %r11
    /* psABI 3.4.1: rdx holds a function to register with atexit, rbp marks the deepest frame. */
    xorl %edx, %edx
    xorl %ebp, %ebp
    xorl %ebx, %ebx
    xorl %eax, %eax
    jmp *%r11
    .cfi_endproc
    .size mm__gate_serve, . - mm__gate_serve

/* The end of every handler of ours: SA_RESTORER of sigaction(2). */
    .globl mm__signal_restorer
    .hidden mm__signal_restorer
    .type mm__signal_restorer, @function
    /* gdb and libgcc know a signal frame by these very bytes; the CFI of a signal frame is theirs
     * to supply. */
    nop
mm__signal_restorer:
    movq $15, %rax
    syscall

/* void mm__signal_return(uint64_t stack): rt_sigreturn for a server whose own one was trapped. */
    .globl mm__signal_return
    .hidden mm__signal_return
    .type mm__signal_return, @function
mm__signal_return:
    movq %rdi, %rsp
    movl $15, %eax
    syscall
    ud2

    .section .note.GNU-stack, "", @progbits
