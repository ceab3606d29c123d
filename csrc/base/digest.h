/* base/digest.h - XXH64, the 64-bit xxHash: tells damage, not malice.
 * Owns:    nothing.
 * Threads: pure.
 * Signals: safe anywhere.
 * Errors:  none.
 * Source:  the xxHash specification, github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md */
#ifndef MM_BASE_DIGEST_H
#define MM_BASE_DIGEST_H

#include <stddef.h>
#include <stdint.h>

uint64_t mm__digest(const void *bytes, size_t size);

/* The same in pieces: every piece but the last must be a multiple of 32 bytes. */
struct mm__digest {
  uint64_t lanes[4];
  uint64_t total;
};
void mm__digest_start(struct mm__digest *digest);
void mm__digest_add(struct mm__digest *digest, const void *bytes, size_t size);
uint64_t mm__digest_finish(const struct mm__digest *digest, const void *tail, size_t tail_size);

#endif
