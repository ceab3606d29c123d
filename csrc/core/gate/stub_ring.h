/* core/gate/stub_ring.h - the addresses of callbacks: each its own, for as long as there are others.
 * Owns:    the stubs and records in slot 0, mapped by the chunk while one in it is in use.
 * Threads: made and freed under mm__core_lock; a record is read by the thread that calls it, without.
 * Signals: not for handlers.
 * Errors:  MM_ERROR_LIMIT, MM_ERROR_MEMORY.
 *
 * An image may keep the pointer of a callback that was freed. So an address is given again only
 * after all the others were: 2^27 of them. */
#ifndef MM_CORE_GATE_STUB_RING_H
#define MM_CORE_GATE_STUB_RING_H

#include "core/state.h"

struct mm__callback {
  struct mm__callback_target target;
  uint64_t serial; /* of the image that may call it; 0: there is no callback */
  uint32_t is_freed;
  uint32_t running; /* calls of it that have not returned */
};
_Static_assert(sizeof(struct mm__callback) == 1 << MM__STUB_SHIFT, "as large as its stub");

#define mm__callbacks ((struct mm__callback *)(MM__ARENA_LOW + MM__CALLBACK_RECORDS_OFFSET))

static inline struct mm__callback *mm__callback_at(uint64_t stub) {
  return &mm__callbacks[(stub - (MM__ARENA_LOW + MM__CALLBACKS_OFFSET)) >> MM__STUB_SHIFT];
}

#endif
