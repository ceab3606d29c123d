/* core/slot/place.h - puts an image into its slot, and takes it out.
 * Owns:    the slot's reservation, the segments, the stubs.
 * Threads: under mm__core_lock or the image's lock.
 * Signals: mm__place_list also in the gate, mm__slot_reserve also in a handler.
 * Errors:  MM_ERROR_SLOT_TAKEN, MM_ERROR_MEMORY, MM_ERROR_LIMIT. */
#ifndef MM_CORE_SLOT_PLACE_H
#define MM_CORE_SLOT_PLACE_H

#include "core/slot/opening.h"

#include <sys/mman.h>

/* Reserved again, inaccessible: what a slot is where nothing is mapped. */
long mm__slot_reserve(uint64_t low, uint64_t bytes);

/* Takes the slot; the error names who has it. */
int mm__place_reserve(const struct mm__image_opening *opening);
int mm__place_loads(const struct mm__image_opening *opening);
int mm__place_stubs(const struct mm__image_opening *opening, uint32_t count);
/* The slot map as the snapshot has it. */
int mm__place_list(struct mm__state *state, const struct mm__head *head);
/* All of it or nothing; what the kernel said. */
long mm__place_release(uint32_t slot, uint32_t stub_count);

static inline uint32_t mm__load_protection(const Elf64_Phdr *load) {
  return (load->p_flags & PF_R ? PROT_READ : 0) | (load->p_flags & PF_W ? PROT_WRITE : 0) |
         (load->p_flags & PF_X ? PROT_EXEC : 0);
}
static inline uint64_t mm__page_up(uint64_t bytes) { return (bytes + MM__PAGE - 1) & -MM__PAGE; }
static inline uint64_t mm__load_bytes(const Elf64_Phdr *load) { return mm__page_up(load->p_memsz); }

#endif
