/* core/slot/head.c - copies of images' heads: where they lie, how they are read and sealed. */
#include "core/slot/head.h"

#include "base/error.h"

#include <errno.h>
#include <sys/mman.h>

#define PLACE_LOW(place) (MM__ARENA_LOW + MM__HEADS_OFFSET + ((uint64_t)(place) << MM__HEADS_SHIFT))
#define PROBE_BYTES      4096
/* Of heads that the prepared place holds, and of their pages those that are touched beforehand. */
#define PREPARED_BYTES 0x8000ul
#define TOUCHED_BYTES  0x4000ul

/* Bit per place that is taken; nothing is permitted or forbidden by it. */
static uint64_t taken[MM__SLOT_COUNT / 64];

/* Grants, head and entries; an entry takes 16 bytes, and an export takes 32 in the head. */
static uint64_t sealed_bytes(uint64_t head_bytes) { return MM__PLACE_GRANTED + 2 * head_bytes; }
static uint64_t place_bytes(uint64_t head_bytes) {
  return MM__PLACE_RANGES + MM__PLACE_PIECES + MM__PLACE_OUTSIDE + sealed_bytes(head_bytes);
}

static long map_place(uint32_t place, uint64_t head_bytes) {
  return mm__call(SYS_mmap, PLACE_LOW(place), place_bytes(head_bytes), PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
}

static void touch(uint64_t low, uint64_t bytes) {
  for (uint64_t page = low; page < low + bytes; page += MM__PAGE) *(volatile uint8_t *)page = 0;
}

int mm__heads_start(struct mm_error *error) {
  struct mm__kept first = {.low = PLACE_LOW(0)};
  long result = map_place(0, PREPARED_BYTES);
  if (mm__failed(result))
    return mm__fail_system(error, MM_ERROR_MEMORY, (int)-result,
                           "cannot map memory for the heads of images");
  memset(taken, 0, sizeof taken);
  touch((uint64_t)mm__kept_ranges(&first), MM__PAGE);
  touch((uint64_t)mm__kept_pieces(&first), MM__PAGE);
  touch(mm__kept_outside(&first), MM__PAGE);
  touch(mm__kept_head(&first), TOUCHED_BYTES);
  return MM_OK;
}

void mm__heads_stop(void) { mm__call(SYS_munmap, PLACE_LOW(0), place_bytes(PREPARED_BYTES)); }

/* There are as many places as slots, so one is free; the first one is prepared, and not for all. */
static uint32_t free_place(uint64_t head_bytes) {
  uint32_t place = head_bytes <= PREPARED_BYTES ? 0 : 1;
  while (taken[place / 64] >> place % 64 & 1) place++;
  return place;
}

static int take_place(struct mm__kept *kept, uint64_t head_bytes, struct mm_error *error) {
  uint32_t place = free_place(head_bytes);
  if (place) {
    long result = map_place(place, head_bytes);
    if (mm__failed(result))
      return mm__fail_system(error, MM_ERROR_MEMORY, (int)-result, "cannot be copied");
  }
  taken[place / 64] |= 1ul << place % 64;
  *kept = (struct mm__kept){PLACE_LOW(place), head_bytes};
  return MM_OK;
}

void mm__head_release(const struct mm__kept *kept) {
  if (!kept->low) return;
  uint32_t place = (uint32_t)((kept->low - PLACE_LOW(0)) >> MM__HEADS_SHIFT);
  long result = place ? mm__call(SYS_munmap, kept->low, place_bytes(kept->head_bytes))
                      : mm__call(SYS_mprotect, mm__kept_granted(kept),
                                 sealed_bytes(kept->head_bytes), PROT_READ | PROT_WRITE);
  /* Else nobody uses the place again; it goes with the Matchmaker. */
  if (!mm__failed(result)) taken[place / 64] &= ~(1ul << place % 64);
}

static long read_all(int file, uint8_t *to, uint64_t bytes, uint64_t offset) {
  while (bytes > 0) {
    long count = mm__call(SYS_pread64, file, to, bytes, offset);
    if (count == -EINTR) continue;
    if (count <= 0) return count ? count : -EIO;
    to += count, bytes -= (uint64_t)count, offset += (uint64_t)count;
  }
  return 0;
}

static int read_failed(long result, struct mm_error *error) {
  return mm__fail_system(error, result == -EISDIR ? MM_ERROR_NOT_A_FILE : MM_ERROR_UNREADABLE,
                         (int)-result, "cannot be read");
}

int mm__head_load(int file, uint64_t file_bytes, struct mm__kept *kept, struct mm__head *head,
                  struct mm_error *error) {
  uint8_t start[PROBE_BYTES] __attribute__((aligned(16)));
  uint64_t probe = file_bytes < sizeof start ? file_bytes : sizeof start, head_bytes;
  long result = read_all(file, start, probe, 0);
  if (mm__failed(result)) return read_failed(result, error);
  int status = mm__head_bytes(start, probe, file_bytes, &head_bytes, error);
  if (status == MM_OK) status = take_place(kept, head_bytes, error);
  if (status != MM_OK) return status;
  void *copy = (void *)mm__kept_head(kept);
  result = read_all(file, copy, head_bytes, 0);
  status = mm__failed(result) ? read_failed(result, error)
                              : mm__head_check(copy, head_bytes, file_bytes, head, error);
  if (status != MM_OK) {
    mm__head_release(kept);
    kept->low = 0;
  }
  return status;
}

/* How many registers of the x87 hold the result. */
static uint32_t x87_results(const struct mm__registry *registry, const struct mm__export *export) {
  const struct mm__type *result = &registry->types[registry->types[export->type].target];
  if (result->kind == MM__COMPLEX && result->size == 32) return 2;
  return (result->kind == MM__FLOAT && result->size == 16) || export->flags & MM__EXPORT_X87;
}

long mm__head_seal(const struct mm__kept *kept, const struct mm__head *head,
                   const uint8_t *forbidden) {
  const struct mm__registry *registry = &head->registry;
  struct mm__entry *entries = mm__kept_entries(kept);
  for (uint32_t i = 0; i < registry->export_count; i++) {
    const struct mm__export *export = &registry->exports[i];
    *entries++ = (struct mm__entry){export->address, export->stack_bytes,
                                    x87_results(registry, export), forbidden && forbidden[i]};
  }
  for (uint32_t i = 0; i < head->facts->hook_count; i++)
    *entries++ = (struct mm__entry){.address = head->facts->hooks[i]};
  return mm__call(SYS_mprotect, mm__kept_granted(kept), sealed_bytes(kept->head_bytes), PROT_READ);
}
