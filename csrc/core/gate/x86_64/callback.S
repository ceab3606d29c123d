/* The reverse gate: image code calls a function of the host, and goes on.
 *
 *     RESULT callback(ARGUMENTS...)   any C function type; a stub jumps here with %r11 = its address
 *
 * The image's stack, high to low:                the host's stack, below the frame of its last call:
 *
 *     stack arguments           <- CFA               struct mm__callback_frame   <- rbx
 *     return address                                 copies of the stack arguments
 *     rbp                       <- rbp
 *     rbx r12 r13 r14 r15
 *     8 bytes of padding
 *     the frame as it begins
 *
 * Clobbered: what a C call may clobber (psABI 3.2.1), nothing else. The image may have spoiled flags,
 * MXCSR and the x87 state that the host's function meets; the host's function is trusted, as every
 * caller trusts it, to keep the registers it has to keep. Vector registers are never touched here,
 * so arguments and results in them pass. docs/gate.md argues each register. */

#include "core/gate/callback.h"
#include "core/gate/x86_64/crossing.inc"

#define SAVED_BYTES   (MM__CALLBACK_BYTES + 8)

    .macro load_arguments from
    movq MM__CALLBACK_RDI(\from), %rdi
    movq MM__CALLBACK_RSI(\from), %rsi
    movq MM__CALLBACK_RDX(\from), %rdx
    movq MM__CALLBACK_RCX(\from), %rcx
    movq MM__CALLBACK_R8(\from), %r8
    movq MM__CALLBACK_R9(\from), %r9
    movq MM__CALLBACK_FUNCTION(\from), %r11
    movq MM__CALLBACK_RAX(\from), %rax
    .endm

    .text
    .globl mm__callback_enter, mm__callback_end
    .hidden mm__callback_enter, mm__callback_end
    .type mm__callback_enter, @function
    .p2align 6
mm__callback_enter:
    .cfi_startproc
    /* A debugger believes in stacks that jump only where a signal frame is. */
    .cfi_signal_frame
    /* Keep what the image is owed. */
    save_callee_saved
    subq $SAVED_BYTES, %rsp
    movq %rdi, MM__CALLBACK_RDI(%rsp)
    movq %rsi, MM__CALLBACK_RSI(%rsp)
    movq %rdx, MM__CALLBACK_RDX(%rsp)
    movq %rcx, MM__CALLBACK_RCX(%rsp)
    movq %r8, MM__CALLBACK_R8(%rsp)
    movq %r9, MM__CALLBACK_R9(%rsp)
    movq %rax, MM__CALLBACK_RAX(%rsp)
    leaq 16(%rbp), %rax
    movq %rax, MM__CALLBACK_CALLER_STACK(%rsp)
    /* An x87 exception that waits is the image's: it is raised here, on the image's FS. */
    fwait
    stmxcsr MM__CALLBACK_IMAGE_MXCSR(%rsp)
    fnstcw MM__CALLBACK_IMAGE_X87(%rsp)
    /* psABI 3.2.3: the x87 registers are empty at a call, whatever the image thinks. */
    emms
    clear_harmful_flags
    change_rights mm__rights_open
    movq %rsp, %rdi
    movq %r11, %rsi
    call mm__callback_prepare
    testq %rax, %rax
    jz .Ldirect
    /* The stack arguments, still on the image's FS: a fault here is the image's. */
    movq %rax, %rbx
    movq MM__CALLBACK_STACK_BYTES(%rbx), %rcx
    shrq $3, %rcx
    movq MM__CALLBACK_CALLER_STACK(%rbx), %rsi
    movq MM__CALLBACK_HOST_STACK(%rbx), %rdi
    rep movsq
    /* The host's stack first, then its FS: a signal that comes on the host's FS uses the stack. */
    movq MM__CALLBACK_HOST_STACK(%rbx), %rsp
    movq %rbx, %rdi
    call mm__callback_cross
    ldmxcsr MM__CALLBACK_HOST_MXCSR(%rbx)
    change_x87_control MM__CALLBACK_HOST_X87(%rbx), MM__CALLBACK_IMAGE_X87(%rbx)
    load_arguments %rbx
    call *%r11
    /* Back. The results stay where they are: rax and rdx here, the others in their registers. */
    movq %rax, MM__CALLBACK_RAX(%rbx)
    movq %rdx, MM__CALLBACK_RDX(%rbx)
    movq %rbx, %rdi
    call mm__callback_finish
    /* The image's floating-point environment as it was, flags and all. */
    ldmxcsr MM__CALLBACK_IMAGE_MXCSR(%rbx)
    fnstcw MM__CALLBACK_HOST_X87(%rbx)
    change_x87_control MM__CALLBACK_IMAGE_X87(%rbx), MM__CALLBACK_HOST_X87(%rbx)
    change_rights mm__rights_close
    movq MM__CALLBACK_RAX(%rbx), %rax
    movq MM__CALLBACK_RDX(%rbx), %rdx
    movq MM__CALLBACK_CALLER_STACK(%rbx), %rcx
    leaq -56(%rcx), %rsp
    .cfi_remember_state
    .cfi_def_cfa %rsp, 56
    /* The image learns nothing of the host's registers. */
    xorl %ecx, %ecx
    xorl %esi, %esi
    xorl %edi, %edi
    xorl %r8d, %r8d
    xorl %r9d, %r9d
    xorl %r10d, %r10d
    xorl %r11d, %r11d
    popq %r15
    .cfi_def_cfa_offset 48
    popq %r14
    .cfi_def_cfa_offset 40
    popq %r13
    .cfi_def_cfa_offset 32
    popq %r12
    .cfi_def_cfa_offset 24
    popq %rbx
    .cfi_def_cfa_offset 16
    popq %rbp
    .cfi_def_cfa_offset 8
    ret
    .cfi_restore_state

.Ldirect:
    /* The host called its own function by the pointer that it made for the image. */
    load_arguments %rsp
    leaq -40(%rbp), %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    .cfi_def_cfa %rsp, 8
    jmp *%r11
    .cfi_endproc
    .size mm__callback_enter, . - mm__callback_enter

/* void mm__callback_end(struct mm__frame *frame): to where a fault of that call would land. */
    .type mm__callback_end, @function
mm__callback_end:
    .cfi_startproc
    movq %rdi, %rbx
    movq %rdi, %rsp
    jmp mm__gate_fault
    .cfi_endproc
    .size mm__callback_end, . - mm__callback_end

/* One page of identical stubs, as stubs.S has them for exports. */
    .section .rodata.stubs, "a", @progbits
    .globl mm__callback_page
    .hidden mm__callback_page
    .p2align 12
mm__callback_page:
    .rept MM__STUBS_PER_PAGE
    .p2align MM__STUB_SHIFT
    leaq -7(%rip), %r11
    movabsq $mm__callback_enter, %r10
    jmp *%r10
    .endr
    .p2align 12
    .section .note.GNU-stack, "", @progbits
