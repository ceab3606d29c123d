/* base/digest.c - XXH64, from its specification. */
#include "base/digest.h"

#include <string.h>

#define PRIME1 0x9E3779B185EBCA87ull
#define PRIME2 0xC2B2AE3D27D4EB4Full
#define PRIME3 0x165667B19E3779F9ull
#define PRIME4 0x85EBCA77C2B2AE63ull
#define PRIME5 0x27D4EB2F165667C5ull
#define STRIPE 32

static uint64_t rotate(uint64_t value, int bits) { return value << bits | value >> (64 - bits); }

static uint64_t read64(const uint8_t *at) {
  uint64_t value;
  memcpy(&value, at, sizeof value);
  return value;
}

static uint32_t read32(const uint8_t *at) {
  uint32_t value;
  memcpy(&value, at, sizeof value);
  return value;
}

static uint64_t round_of(uint64_t lane, uint64_t input) {
  return rotate(lane + input * PRIME2, 31) * PRIME1;
}

static uint64_t merge(uint64_t sum, uint64_t lane) {
  return (sum ^ round_of(0, lane)) * PRIME1 + PRIME4;
}

void mm__digest_start(struct mm__digest *digest) {
  digest->lanes[0] = PRIME1 + PRIME2;
  digest->lanes[1] = PRIME2;
  digest->lanes[2] = 0;
  digest->lanes[3] = -PRIME1;
  digest->total = 0;
}

void mm__digest_add(struct mm__digest *digest, const void *bytes, size_t size) {
  const uint8_t *at = bytes;
  for (size_t left = size; left >= STRIPE; left -= STRIPE, at += STRIPE)
    for (size_t lane = 0; lane < 4; lane++)
      digest->lanes[lane] = round_of(digest->lanes[lane], read64(at + 8 * lane));
  digest->total += size;
}

uint64_t mm__digest_finish(const struct mm__digest *digest, const void *tail, size_t tail_size) {
  struct mm__digest d = *digest;
  size_t whole = tail_size / STRIPE * STRIPE, left = tail_size - whole;
  const uint8_t *at = (const uint8_t *)tail + whole;
  mm__digest_add(&d, tail, whole);
  d.total += left;
  uint64_t sum = PRIME5;
  if (d.total >= STRIPE) {
    sum = rotate(d.lanes[0], 1) + rotate(d.lanes[1], 7) + rotate(d.lanes[2], 12) +
          rotate(d.lanes[3], 18);
    for (int lane = 0; lane < 4; lane++) sum = merge(sum, d.lanes[lane]);
  }
  sum += d.total;
  for (; left >= 8; left -= 8, at += 8)
    sum = rotate(sum ^ round_of(0, read64(at)), 27) * PRIME1 + PRIME4;
  for (; left >= 4; left -= 4, at += 4)
    sum = rotate(sum ^ (read32(at) * PRIME1), 23) * PRIME2 + PRIME3;
  for (; left > 0; left--, at++) sum = rotate(sum ^ (*at * PRIME5), 11) * PRIME1;
  sum = (sum ^ sum >> 33) * PRIME2;
  sum = (sum ^ sum >> 29) * PRIME3;
  return sum ^ sum >> 32;
}

uint64_t mm__digest(const void *bytes, size_t size) {
  struct mm__digest digest;
  mm__digest_start(&digest);
  return mm__digest_finish(&digest, bytes, size);
}
