/* image/cpu.h - the CPU features that code may have been selected for, by name.
 * Owns:    nothing.
 * Threads: pure.
 * Signals: safe anywhere.
 * Errors:  none. */
#ifndef MM_IMAGE_CPU_H
#define MM_IMAGE_CPU_H

#include "image/format.h"
#include <stddef.h>
#include <stdint.h>

/* Reads this machine's features (only those that ordinary user code is selected by, and that the
 * kernel has enabled). */
void mm__cpu_features(uint32_t words[MM__CPU_WORDS]);
/* The name ("avx2") of the first feature that is in `needed` and not in `present`; NULL when none
 * is missing. */
const char *mm__cpu_missing(const uint32_t needed[MM__CPU_WORDS],
                            const uint32_t present[MM__CPU_WORDS]);
/* The name of the first feature in `words` from number *next on, which moves behind it; NULL behind
 * the last. */
const char *mm__cpu_name(const uint32_t words[MM__CPU_WORDS], uint32_t *next);

#endif
