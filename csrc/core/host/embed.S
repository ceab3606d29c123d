/* The Matchmaker itself, as the linker made it. */
    .section .rodata, "a", @progbits
    .globl mm__core_elf, mm__core_elf_end
    .hidden mm__core_elf, mm__core_elf_end
    .p2align 4
mm__core_elf:
    .incbin MM_CORE_ELF
mm__core_elf_end:
    .byte 0
    .section .note.GNU-stack, "", @progbits
