/* The entries of our signal handlers.
 *
 *     void mm__NAME_handler(int signal, siginfo_t *info, void *context)
 *
 * The kernel clears DF, RF and TF for a handler (handle_signal in arch/x86/kernel/signal.c), but
 * not AC (Intel SDM vol. 1, 3.4.3): with the interrupted code's AC set, the first unaligned access
 * of C would raise SIGBUS in the handler itself. So it is cleared before any C runs; sigreturn
 * brings back the flags of what was interrupted. Clobbered: flags. */

#define AC 0x40000

    .macro entry name, target
    .globl \name
    .hidden \name
    .type \name, @function
    .p2align 4
\name:
    .cfi_startproc
    pushfq
    .cfi_adjust_cfa_offset 8
    andl $~AC, (%rsp)
    popfq
    .cfi_adjust_cfa_offset -8
    jmp \target
    .cfi_endproc
    .size \name, . - \name
    .endm

    .text
    entry mm__fault_handler, mm__fault_handle
    entry mm__deferred_handler, mm__deferred_handle
    entry mm__deadline_handler, mm__deadline_handle

    .section .note.GNU-stack, "", @progbits
