/* image/content.c - digests a file page by page, skipping the holes that lseek(2) knows of. */
#include "image/content.h"

#include <errno.h>
#include <string.h>

#include "base/digest.h"
#include "base/system.h"
#include "image/arena.h"

#define SEEK_TO_DATA 3 /* SEEK_DATA of lseek(2), which unistd.h hides without _GNU_SOURCE */

typedef uint64_t __attribute__((may_alias)) any_word;

int mm__is_zero(const void *memory, size_t bytes) {
  const any_word *words = memory;
  for (size_t i = 0; i < bytes / sizeof *words; i += 4)
    if ((words[i] | words[i + 1] | words[i + 2] | words[i + 3]) != 0) return 0;
  return 1;
}

/* Reads until the buffer is full or `limit` is reached, and pads the last page. Returns how much
 * was read. */
static long read_pages(int descriptor, uint8_t *buffer, size_t bytes, uint64_t offset,
                       uint64_t limit) {
  uint64_t wanted = limit - offset < bytes ? limit - offset : bytes;
  for (uint64_t done = 0; done < wanted;) {
    long got = mm__call(SYS_pread64, descriptor, buffer + done, wanted - done, offset + done);
    if (got == -EINTR) continue;
    if (got <= 0) return got ? got : -EIO;
    done += (uint64_t)got;
  }
  uint64_t padded = (wanted + MM__PAGE - 1) & -(uint64_t)MM__PAGE;
  memset(buffer + wanted, 0, padded - wanted);
  return (long)padded;
}

static void add_pages(struct mm__digest *state, const uint8_t *buffer, uint64_t bytes,
                      uint64_t offset) {
  for (uint64_t page = 0; page < bytes; page += MM__PAGE) {
    uint64_t number[4] = {(offset + page) / MM__PAGE, 0, 0, 0};
    if (mm__is_zero(buffer + page, MM__PAGE)) continue;
    mm__digest_add(state, number, sizeof number);
    mm__digest_add(state, buffer + page, MM__PAGE);
  }
}

long mm__content_digest(int descriptor, uint64_t head_bytes, uint64_t file_bytes, void *buffer,
                        size_t buffer_bytes, uint64_t *digest) {
  struct mm__digest state;
  uint64_t offset = head_bytes;
  mm__digest_start(&state);
  while (offset < file_bytes) {
    long data = mm__call(SYS_lseek, descriptor, offset, SEEK_TO_DATA);
    if (data == -ENXIO) /* only a hole is left */
      break;
    if (!mm__failed(data) && (uint64_t)data > offset) offset = (uint64_t)data & -(uint64_t)MM__PAGE;
    if (offset >= file_bytes) break;
    long got = read_pages(descriptor, buffer, buffer_bytes, offset, file_bytes);
    if (mm__failed(got)) return got;
    add_pages(&state, buffer, (uint64_t)got, offset);
    offset += (uint64_t)got;
  }
  *digest = mm__digest_finish(&state, NULL, 0);
  if (*digest == 0) *digest = 1;
  return 0;
}
