/* image/content.h - the digest of everything behind an image's head, for whoever wants to verify a
 * whole file.
 * Owns:    nothing; the caller lends a buffer.
 * Threads: pure, but for the descriptor's file position, which it moves.
 * Signals: no allocation, no libc: runs inside the Matchmaker.
 * Errors:  the kernel's own, as negated errno; -EIO when the file is shorter than it should be.
 *
 * Definition: cut [head_bytes, file_bytes) into pages of 4096 bytes, the last one padded with
 * zeros. For each page that is not all zero, in order, take 32 bytes (its number in the file as a
 * little-endian 64-bit integer, then 24 zeros) and the page itself. The digest is the XXH64, seed
 * 0, of all that; a result of 0 is stored as 1, as 0 means "not computed". So holes cost nothing,
 * and a copy that filled them has the same digest. */
#ifndef MM_IMAGE_CONTENT_H
#define MM_IMAGE_CONTENT_H

#include <stddef.h>
#include <stdint.h>

/* Digests the file open at `descriptor`. `buffer_bytes` is a multiple of 4096. Returns 0 or a
 * negated errno. */
long mm__content_digest(int descriptor, uint64_t head_bytes, uint64_t file_bytes, void *buffer,
                        size_t buffer_bytes, uint64_t *digest);

/* Whether `bytes`, a multiple of 32 and 8-aligned, are all zero. */
int mm__is_zero(const void *memory, size_t bytes);

#endif
