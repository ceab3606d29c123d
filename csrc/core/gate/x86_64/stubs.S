/* One page of identical stubs, mapped once for every 128 exports. A stub is a plain C function
 * pointer of its export's type; it knows which export it stands for by its own address. %r11 and
 * %r10 carry no argument (psABI 3.2.3; r10 is the static chain, which no exported function has). */
#include "core/slot/layout.h"

    .section .rodata.stubs, "a", @progbits
    .globl mm__stub_page
    .hidden mm__stub_page
    .p2align 12
mm__stub_page:
    .rept MM__STUBS_PER_PAGE
    .p2align MM__STUB_SHIFT
    leaq -7(%rip), %r11
    movabsq $mm__gate_enter, %r10
    jmp *%r10
    .endr
    .p2align 12
    .section .note.GNU-stack, "", @progbits
