/* image/arena.h - the arena, its slots, and what lies where inside an image's slot.
 * Owns:    nothing.
 * Threads: constants.
 * Signals: none.
 * Errors:  none. */
#ifndef MM_IMAGE_ARENA_H
#define MM_IMAGE_ARENA_H

/* No Linux mapping, PIE base, heap, sanitizer shadow or mmap base lies in the arena by itself. */
#define MM__ARENA_LOW       0x200000000000
#define MM__ARENA_HIGH      0x500000000000
#define MM__SLOT_SHIFT      36
#define MM__SLOT_BYTES      (1ul << MM__SLOT_SHIFT)
#define MM__SLOT_COUNT      768 /* number 0 is the Matchmaker's */
#define MM__SLOT_BASE(slot) (MM__ARENA_LOW + ((unsigned long)(slot) << MM__SLOT_SHIFT))
#define MM__IN_ARENA(address)                                                                      \
  ((unsigned long)(address)-MM__ARENA_LOW < MM__ARENA_HIGH - MM__ARENA_LOW)
#define MM__SLOT_OF(address)                                                                       \
  ((unsigned)(((unsigned long)(address)-MM__ARENA_LOW) >> MM__SLOT_SHIFT))

#define MM__PAGE 0x1000

/* Inside an image's slot, as offsets. What lies between is never mapped. Stack, mailbox and program
 * lie side by side, so that the guard can close them by one call. */
#define MM__STACK_LOW_OFFSET  0x00800000ul /* below it a guard as large as the stack */
#define MM__STACK_BYTES       0x800000ul
#define MM__STACK_HIGH_OFFSET (MM__STACK_LOW_OFFSET + MM__STACK_BYTES)
#define MM__MAILBOX_OFFSET    MM__STACK_HIGH_OFFSET
#define MM__MAILBOX_BYTES     0x4000000ul
#define MM__PROGRAM_OFFSET    (MM__MAILBOX_OFFSET + MM__MAILBOX_BYTES) /* then its brk heap */
#define MM__HEAP_LIMIT_OFFSET 0x3f0000000ul
#define MM__MMAP_OFFSET       0x400000000ul /* what it maps: interpreter, libraries, big blocks */
#define MM__MMAP_LIMIT_OFFSET 0xf00000000ul
#define MM__AREA_OFFSET       0xf84000000ul /* what the client asks for */
#define MM__AREA_BYTES        0x7a000000ul
#define MM__AREA_GRAIN        0x10000ul /* it is given out in multiples of this */

#endif
