/* server/lua/x86_64/stubs.S - entries of exported Lua functions.
 *
 *   void stub(...);    any scalar arguments, any scalar result
 *
 * Each pushes its index; the common part keeps the registers that carry arguments (psABI x86-64
 * 3.2.3) in a struct mm__lua_frame, calls mm__lua_called, and takes the result from the frame. It
 * clobbers what any function may.
 *
 *   rbp + 24  arguments in memory
 *   rbp + 16  return address
 *   rbp +  8  index
 *   rbp       the caller's rbp
 *   rsp       struct mm__lua_frame, 112 bytes, and 8 bytes that keep the stack aligned
 */
#define STUBS      1024
#define STUB_BYTES 16
#define FLOATS     48
#define FRAME      120

        .text
        .globl  mm__lua_stubs
        .hidden mm__lua_stubs
        .hidden mm__lua_called
        .type   mm__lua_stubs, @function
        .balign STUB_BYTES
mm__lua_stubs:
        .cfi_startproc
        .set    index, 0
        .rept   STUBS
        pushq   $index
        .cfi_def_cfa_offset 16
        jmp     common
        .cfi_def_cfa_offset 8
        .balign STUB_BYTES
        .set    index, index + 1
        .endr
        .cfi_endproc
        .size   mm__lua_stubs, . - mm__lua_stubs

        .type   common, @function
common:
        .cfi_startproc
        .cfi_def_cfa_offset 16
        pushq   %rbp
        .cfi_def_cfa_offset 24
        .cfi_offset %rbp, -24
        movq    %rsp, %rbp
        .cfi_def_cfa_register %rbp
        subq    $FRAME, %rsp
        movq    %rdi, 0(%rsp)
        movq    %rsi, 8(%rsp)
        movq    %rdx, 16(%rsp)
        movq    %rcx, 24(%rsp)
        movq    %r8, 32(%rsp)
        movq    %r9, 40(%rsp)
        movsd   %xmm0, FLOATS(%rsp)
        movsd   %xmm1, FLOATS + 8(%rsp)
        movsd   %xmm2, FLOATS + 16(%rsp)
        movsd   %xmm3, FLOATS + 24(%rsp)
        movsd   %xmm4, FLOATS + 32(%rsp)
        movsd   %xmm5, FLOATS + 40(%rsp)
        movsd   %xmm6, FLOATS + 48(%rsp)
        movsd   %xmm7, FLOATS + 56(%rsp)
        movl    8(%rbp), %edi
        movq    %rsp, %rsi
        leaq    24(%rbp), %rdx
        call    mm__lua_called
        movq    0(%rsp), %rax
        movsd   FLOATS(%rsp), %xmm0
        leave
        .cfi_def_cfa %rsp, 16
        addq    $8, %rsp
        .cfi_def_cfa_offset 8
        ret
        .cfi_endproc
        .size   common, . - common
        .section .note.GNU-stack, "", @progbits
