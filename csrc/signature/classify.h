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
  /* Where scalars begin that are aligned to 1, 2, 4, 8 and 16: one that is not makes the value
   * MEMORY. Counted from the start of the whole, so that it is known for the whole only. */
  uint16_t begin[5];
  bool memory;
};

/* The classes that matter here; X87 stands for X87UP, too. */
enum mm__class { MM__NO_CLASS, MM__SSE, MM__INTEGER, MM__X87, MM__MEMORY };

/* The registers for arguments that are left. */
struct mm__registers {
  unsigned integers, sses;
};
#define MM__ALL_REGISTERS ((struct mm__registers){6, 8}) /* rdi rsi rdx rcx r8 r9, xmm0 to xmm7 */

/* Of a type, from its members and those of all types with a lower index. */
struct mm__passing mm__classify(const struct mm__registry *registry, uint32_t type,
                                const struct mm__passing *passing);

/* The class of an eightbyte, 0 or 1, of a value that is not in memory. */
enum mm__class mm__classify_eightbyte(const struct mm__passing *passing, unsigned which);

/* Whether an argument goes in registers, which it then takes; else it goes in memory, whole. */
bool mm__classify_take(const struct mm__passing *passing, struct mm__registers *left);

/* Whether a result of that type goes to memory whose address the caller passes in rdi. */
bool mm__classify_returns_memory(const struct mm__type *type, const struct mm__passing *passing);

/* Bytes of arguments in memory, a multiple of 8, for a function type. `passing` has an entry per
 * type. */
uint64_t mm__classify_stack_bytes(const struct mm__registry *registry, uint32_t function,
                                  const struct mm__passing *passing);

#endif
