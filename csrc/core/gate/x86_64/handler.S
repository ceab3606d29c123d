/* The entries of our signal handlers: MM__HANDLER_LEVELS of each, one behind the other.
 *
 *     void mm__NAME_handlers[level](int signal, siginfo_t *info, void *context)
 *
 * Each goes on to its C function with its level as the fourth argument: which handler of the host it
 * took the place of (core/fault/signals.c). The kernel clears DF, RF and TF for a handler
 * (handle_signal in arch/x86/kernel/signal.c), but not AC (Intel SDM vol. 1, 3.4.3): with the
 * interrupted code's AC set, the first unaligned access of C would raise SIGBUS in the handler
 * itself. So it is cleared before any C runs; sigreturn brings back the flags of what was
 * interrupted. Clobbered: flags, rcx. */
#include "core/gate/frame.h"

#define AC 0x40000

    .macro entries name, target
    .globl \name
    .hidden \name
    .type \name, @function
    .p2align MM__HANDLER_SHIFT
\name:
    .set level, 0
    .rept MM__HANDLER_LEVELS
    .p2align MM__HANDLER_SHIFT
    .cfi_startproc
    pushfq
    .cfi_adjust_cfa_offset 8
    andl $~AC, (%rsp)
    popfq
    .cfi_adjust_cfa_offset -8
    movl $level, %ecx
    jmp \target
    .cfi_endproc
    .set level, level + 1
    .endr
    .size \name, . - \name
    .endm

    .text
    entries mm__fault_handlers, mm__fault_handle
    entries mm__deferred_handlers, mm__deferred_handle
    entries mm__deadline_handlers, mm__deadline_handle

    .section .note.GNU-stack, "", @progbits
