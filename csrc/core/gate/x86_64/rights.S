/* The two writes of PKRU that close the client's memory to image code, and open it again.
 *
 *     mm__rights_close   before image code runs: the rights that its thread's call has
 *     mm__rights_open    behind it: the same, with key 0 open
 *
 * In: %r14 = where to go on. FS is an image's: its newest frame names the thread's rights, unless
 * nothing is closed in that call; else nothing is done. Neither touches a stack: until the one, and
 * from the other on, the client's stack cannot be written to.
 *
 * Who jumps to WRPKRU itself, with registers of its own, meets what is behind it: eax has to be
 * what some call has. Clobbered: rax, rcx, rdx, rsi, rdi, flags. */
#include "core/gate/frame.h"
#include "core/slot/layout.h"

#define KEY_0          3
#define KEY_0_NO_WRITE 2 /* Intel SDM vol. 3, 4.6.2 */

/* %edi = index, %reg = its rights. */
    .macro load_rights reg
    cmpq $MM__THREAD_LIMIT, %rdi
    ja .Lforged
    leaq mm__rights(%rip), %rsi
    movl (%rsi,%rdi,4), %\reg
    .endm

    .macro change name, opens
    .globl \name
    .hidden \name
    .type \name, @function
    .p2align 4
\name:
    .cfi_startproc
    rdfsbase %rcx
    movabsq $MM__ARENA_LOW, %rsi
    subq %rsi, %rcx
    shrq $MM__SLOT_SHIFT, %rcx
    cmpq $MM__SLOT_COUNT, %rcx
    jae .Ldone\@
    shlq $MM__STATE_SHIFT, %rcx
    leaq mm__states(%rip), %rsi
    movq (%rsi,%rcx), %rdi
    testq %rdi, %rdi
    jz .Ldone\@
    movl MM__FRAME_RIGHTS(%rdi), %edi
    testl %edi, %edi
    jz .Ldone\@
    load_rights eax
    .if \opens
    andl $~KEY_0, %eax
    .endif
    xorl %ecx, %ecx
    xorl %edx, %edx
    wrpkru
    load_rights ecx
    testl $KEY_0_NO_WRITE, %ecx
    jz .Lforged
    .if \opens
    andl $~KEY_0, %ecx
    .endif
    cmpl %ecx, %eax
    jne .Lforged
.Ldone\@:
    jmp *%r14
    .cfi_endproc
    .size \name, . - \name
    .endm

    .text
    change mm__rights_close, 0
    change mm__rights_open, 1
.Lforged:
    movl %eax, %edi
    call mm__keys_forged
    ud2

    .section .note.GNU-stack, "", @progbits
