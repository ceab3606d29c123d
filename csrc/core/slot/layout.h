/* core/slot/layout.h - where everything of the Matchmaker lies in slot 0 (the other slots:
 * image/arena.h).
 * Owns:    nothing.
 * Threads: constants.
 * Signals: none.
 * Errors:  none. */
#ifndef MM_CORE_SLOT_LAYOUT_H
#define MM_CORE_SLOT_LAYOUT_H

#include "image/arena.h"

/* Inside slot 0, as offsets; the Matchmaker's own ELF segments come first. */
#define MM__STUBS_OFFSET            0xd00000000ul /* stubs: 2 MiB a slot */
#define MM__STUBS_SLOT_SHIFT        21
#define MM__STUB_SHIFT              5
#define MM__STUBS_PER_PAGE          128
#define MM__HEADS_OFFSET            0x2000000ul /* copies of images' heads, and slot maps: 64 MiB each */
#define MM__HEADS_SHIFT             26
#define MM__STUB_LIMIT              ((1u << (MM__STUBS_SLOT_SHIFT - MM__STUB_SHIFT)) - MM__STUBS_PER_PAGE)
#define MM__CALLBACKS_OFFSET        0xd80000000ul /* stubs of callbacks: 4 GiB */
#define MM__CALLBACK_RECORDS_OFFSET 0xe90000000ul /* what each stands for: 4 GiB */
#define MM__CALLBACK_INDEXES        (1u << 27)

#endif
