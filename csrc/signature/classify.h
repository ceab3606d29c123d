/* signature/classify.h - how values travel between functions: in which registers, or in memory.
 * Owns:    nothing.
 * Threads: pure.
 * Signals: safe anywhere.
 * Errors:  none.
 * Source:  psABI x86-64 3.2.3 (version 1.0). */
#ifndef MM_SIGNATURE_CLASSIFY_H
#define MM_SIGNATURE_CLASSIFY_H

#include "signature/registry.h"

/* One bit per byte of a value of at most 16: which bytes hold what. Classes are merged per
 * eightbyte, and a part may straddle two of them, so what is remembered of a part must be finer
 * than the classes. */
struct mm__passing {
  uint16_t integer, sse, x87;
  bool memory;
};

/* Of a type, from its members and those of all types with a lower index. */
struct mm__passing mm__classify(const struct mm__registry *registry, uint32_t type,
                                const struct mm__passing *passing);

/* Bytes of arguments in memory, a multiple of 8, for a function type. `passing` has an entry per
 * type. */
uint64_t mm__classify_stack_bytes(const struct mm__registry *registry, uint32_t function,
                                  const struct mm__passing *passing);

#endif
