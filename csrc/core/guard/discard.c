/* core/guard/discard.c - pages given back together, and written pages found among others.
 *
 * process_madvise(2) takes many spans and, from Linux 6.16 on, empties the TLB once for all of them.
 * PAGEMAP_SCAN (Linux 6.7; Documentation/admin-guide/mm/pagemap.rst) tells which pages of a private
 * mapping are no longer the file's. It looks at every page that is in memory, as giving them back
 * does, but takes a third of the time for each, and leaves the file's pages where they are. */
#include "core/guard/discard.h"

#include <fcntl.h>
#include <sys/mman.h>

#define DISCARD_LOCKED 24     /* MADV_DONTNEED_LOCKED, Linux 5.18 */
#define MYSELF         -10000 /* PIDFD_SELF_THREAD, Linux 6.14 */

static bool discard_one(uint64_t low, uint64_t bytes) {
  if (!mm__failed(mm__call(SYS_madvise, low, bytes, MADV_DONTNEED))) return true;
  /* Locked memory wants another word. */
  return !mm__failed(mm__call(SYS_madvise, low, bytes, DISCARD_LOCKED));
}

static bool discard_together(const struct mm__discards *discards) {
  uint64_t bytes = 0;
  for (uint32_t i = 0; i < discards->count; i++) bytes += discards->spans[i].iov_len;
  return mm__call(SYS_process_madvise, MYSELF, discards->spans, discards->count, MADV_DONTNEED,
                  0) == (long)bytes;
}

bool mm__discard_end(struct mm__discards *discards) {
  bool done = discards->count > 1 && discard_together(discards);
  for (uint32_t i = 0; !done && i < discards->count; i++)
    if (!discard_one((uint64_t)discards->spans[i].iov_base, discards->spans[i].iov_len))
      discards->refused = true;
  discards->count = 0;
  return !discards->refused;
}

void mm__discard(struct mm__discards *discards, uint64_t low, uint64_t bytes) {
  if (!bytes) return;
  if (discards->count == MM__DISCARD_SPANS) mm__discard_end(discards);
  discards->spans[discards->count++] = (struct iovec){(void *)low, bytes};
}

/* --- the written pages --- */

#define SCAN          0xc0606610ul /* PAGEMAP_SCAN */
#define IS_FILE       4ul
#define IS_PRESENT    8ul
#define IS_SWAPPED    16ul
#define SCANNED_SPANS 64u
#define WORTH_A_SCAN  2048ul /* pages */
#define SCAN_ONE_IN   64ul   /* of the pages that are looked at */

/* struct page_region, struct pm_scan_arg: linux/fs.h */
struct region {
  uint64_t low, high, categories;
};
struct scan {
  uint64_t size, flags, low, high, reached, regions, region_count, page_limit;
  uint64_t inverted, all_of, any_of, told;
};

/* Pages of files that the process has in memory: proc(5), statm. */
static uint64_t resident_file_pages(void) {
  char text[128];
  long file = mm__call(SYS_openat, AT_FDCWD, "/proc/self/statm", O_RDONLY | O_CLOEXEC);
  if (mm__failed(file)) return 0;
  long length = mm__call(SYS_read, file, text, sizeof text);
  mm__call(SYS_close, file);
  uint64_t number = 0;
  for (long i = 0, field = 0; i < length && field < 3; i++) {
    if (text[i] == ' ')
      field++;
    else
      number = field == 2 ? number * 10 + (uint64_t)(text[i] - '0') : 0;
  }
  return number;
}

long mm__discard_scanner(uint64_t file_bytes) {
  uint64_t pages = file_bytes / MM__PAGE;
  if (pages < WORTH_A_SCAN || resident_file_pages() < WORTH_A_SCAN + pages / SCAN_ONE_IN) return -1;
  return mm__call(SYS_openat, AT_FDCWD, "/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
}

/* Adds what is in memory, or swapped out, and not the file's. False: nobody can tell. */
static bool find_written(struct mm__discards *discards, long scanner, uint64_t low, uint64_t high) {
  struct region found[SCANNED_SPANS];
  while (low < high) {
    struct scan scan = {.size = sizeof scan,
                        .low = low,
                        .high = high,
                        .regions = (uint64_t)found,
                        .region_count = SCANNED_SPANS,
                        .inverted = IS_FILE,
                        .all_of = IS_FILE,
                        .any_of = IS_PRESENT | IS_SWAPPED};
    long count = mm__call(SYS_ioctl, scanner, SCAN, &scan);
    if (mm__failed(count) || scan.reached <= low) return false;
    for (long i = 0; i < count; i++)
      mm__discard(discards, found[i].low, found[i].high - found[i].low);
    low = scan.reached;
  }
  return true;
}

void mm__discard_written(struct mm__discards *discards, long scanner, uint64_t low,
                         uint64_t file_bytes, uint64_t bytes) {
  bool found = !mm__failed(scanner) && find_written(discards, scanner, low, low + file_bytes);
  uint64_t done = found ? file_bytes : 0;
  mm__discard(discards, low + done, bytes - done);
}
