/* core/guard/discard.h - gives pages back, so that they are as the image's file has them, or zero.
 * Owns:    nothing.
 * Threads: under the image's lock.
 * Signals: as the reset that it is part of: also in the gate, never in a handler.
 * Errors:  what the kernel refuses is told at the end. */
#ifndef MM_CORE_GUARD_DISCARD_H
#define MM_CORE_GUARD_DISCARD_H

#include "core/state.h"

#include <sys/uio.h>

#define MM__DISCARD_SPANS 64u

/* What is to be given back, collected, because the kernel empties the TLB for each call; zero: nothing
 * yet. */
struct mm__discards {
  uint32_t count;
  bool refused;
  struct iovec spans[MM__DISCARD_SPANS];
};

/* Whole pages. */
void mm__discard(struct mm__discards *discards, uint64_t low, uint64_t bytes);
/* Opens what tells written pages from others, where finding them among so many bytes of files costs less
 * than giving back all; else it fails. To be closed. */
long mm__discard_scanner(uint64_t file_bytes);
/* Of a mapping whose first `file_bytes` are a file's: at least what was written. All of it, if the scanner
 * is none. */
void mm__discard_written(struct mm__discards *discards, long scanner, uint64_t low,
                         uint64_t file_bytes, uint64_t bytes);
/* Does what is left to do. False: the kernel refused something. */
bool mm__discard_end(struct mm__discards *discards);

#endif
