/* client/heap.c - blocks in the area of an image's slot. The area comes in sheets: one of blocks of
 * one size, or as many as a large block takes. What is known of the blocks lies here, outside of
 * the image. */
#include "base/error.h"
#include "client/client.h"

#include <stdlib.h>
#include <string.h>

#define GRAIN   MM__AREA_GRAIN
#define CLASSES (sizeof class_bytes / sizeof *class_bytes)
#define LARGEST 32768u /* of a block that shares its sheet */

static const uint16_t class_bytes[] = {16,   32,   48,    64,    96,    128,    192,  256,
                                       384,  512,  768,   1024,  1536,  2048,   3072, 4096,
                                       6144, 8192, 12288, 16384, 21840, LARGEST};
static const uint8_t zeros[LARGEST];

struct sheet {
  uint64_t low, bytes; /* of the area */
  uint64_t block_bytes;
  uint32_t count, used, fresh; /* blocks; those from `fresh` on were never given out */
  struct sheet *next, **at;    /* of those of its class with a free block; NULL: not there */
  uint64_t taken[];            /* bit per block */
};

struct mm__heap {
  uint32_t generation;
  uint32_t sheet_count;  /* room in `sheets` */
  struct sheet **sheets; /* by their place in the area */
  struct sheet *free[CLASSES];
};

static uint64_t area_low(const struct mm__hold *hold) {
  return MM__SLOT_BASE(hold->slot) + MM__AREA_OFFSET;
}

static void forget_all(struct mm__heap *heap) {
  for (uint32_t i = 0; i < heap->sheet_count; i++) {
    free(heap->sheets[i]);
    heap->sheets[i] = NULL;
  }
  memset(heap->free, 0, sizeof heap->free);
}

void mm__heap_close(struct mm__heap *heap) {
  if (!heap) return;
  forget_all(heap);
  free(heap->sheets);
  free(heap);
}

static void link_sheet(struct sheet **list, struct sheet *sheet) {
  sheet->next = *list;
  sheet->at = list;
  if (sheet->next) sheet->next->at = &sheet->next;
  *list = sheet;
}

static void unlink_sheet(struct sheet *sheet) {
  *sheet->at = sheet->next;
  if (sheet->next) sheet->next->at = sheet->at;
  sheet->at = NULL;
}

static unsigned class_of(uint64_t bytes) {
  unsigned class = 0;
  while (class_bytes[class] < bytes) class ++;
  return class;
}

/* --- sheets --- */

static bool grow(struct mm__heap *heap, uint64_t place) {
  if (place < heap->sheet_count) return true;
  uint64_t count = heap->sheet_count ? heap->sheet_count : 16;
  while (count <= place) count *= 2;
  struct sheet **larger = realloc(heap->sheets, count * sizeof(struct sheet *));
  if (!larger) return false;
  memset(larger + heap->sheet_count, 0, (count - heap->sheet_count) * sizeof *larger);
  heap->sheets = larger;
  heap->sheet_count = (uint32_t)count;
  return true;
}

static int add_sheet(struct mm__heap *heap, const struct mm__core_table *core,
                     const struct mm__hold *hold, uint64_t bytes, uint64_t block_bytes,
                     struct sheet **result, struct mm_error *error) {
  uint32_t count = block_bytes <= LARGEST ? (uint32_t)(GRAIN / block_bytes) : 1;
  struct sheet *sheet = calloc(1, sizeof *sheet + (count + 63) / 64 * sizeof *sheet->taken);
  if (!sheet) return mm__fail(error, MM_ERROR_MEMORY, "out of memory for a buffer");
  int status = core->claim(hold, bytes, &sheet->low, error);
  uint64_t place = (sheet->low - area_low(hold)) / GRAIN;
  bool has_place = status == MM_OK && grow(heap, place);
  if (status == MM_OK && !has_place) {
    core->release(hold, sheet->low, bytes, NULL);
    status = mm__fail(error, MM_ERROR_MEMORY, "out of memory for a buffer");
  }
  if (!has_place) {
    free(sheet);
    return status;
  }
  sheet->bytes = bytes;
  sheet->block_bytes = block_bytes;
  sheet->count = count;
  heap->sheets[place] = sheet;
  *result = sheet;
  return MM_OK;
}

static int drop_sheet(struct mm__heap *heap, const struct mm__core_table *core,
                      const struct mm__hold *hold, struct sheet *sheet, struct mm_error *error) {
  int status = core->release(hold, sheet->low, sheet->bytes, error);
  if (status != MM_OK) return status;
  if (sheet->at) unlink_sheet(sheet);
  heap->sheets[(sheet->low - area_low(hold)) / GRAIN] = NULL;
  free(sheet);
  return MM_OK;
}

/* --- blocks --- */

/* There is a free one. */
static uint32_t take_block(struct sheet *sheet) {
  uint32_t word = 0;
  while (!~sheet->taken[word]) word++;
  uint32_t block = 64 * word + (uint32_t)__builtin_ctzll(~sheet->taken[word]);
  sheet->taken[word] |= 1ul << block % 64;
  if (++sheet->used == sheet->count && sheet->at) unlink_sheet(sheet);
  return block;
}

static int allocate_large(struct mm__heap *heap, const struct mm__core_table *core,
                          const struct mm__hold *hold, uint64_t bytes, const void *content,
                          uint64_t *address, struct mm_error *error) {
  struct sheet *sheet = NULL;
  if (bytes > MM__AREA_BYTES)
    return mm__fail(error, MM_ERROR_LIMIT, "%lu bytes are too many: there is room for %lu", bytes,
                    MM__AREA_BYTES);
  uint64_t whole = (bytes + GRAIN - 1) & ~(GRAIN - 1);
  int status = add_sheet(heap, core, hold, whole, whole, &sheet, error);
  if (status != MM_OK || !sheet) return status;
  take_block(sheet);
  *address = sheet->low;
  return content ? core->write(hold, *address, content, bytes, error) : MM_OK;
}

static int allocate_small(struct mm__heap *heap, const struct mm__core_table *core,
                          const struct mm__hold *hold, uint64_t bytes, const void *content,
                          uint64_t *address, struct mm_error *error) {
  unsigned class = class_of(bytes);
  struct sheet *sheet = heap->free[class];
  if (!sheet) {
    int status = add_sheet(heap, core, hold, GRAIN, class_bytes[class], &sheet, error);
    if (status != MM_OK || !sheet) return status;
    link_sheet(&heap->free[class], sheet);
  }
  uint32_t block = take_block(sheet);
  *address = sheet->low + block * sheet->block_bytes;
  if (!content && block < sheet->fresh) content = zeros;
  if (block >= sheet->fresh) sheet->fresh = block + 1;
  return content ? core->write(hold, *address, content, bytes, error) : MM_OK;
}

int mm__heap_allocate(struct mm__heap **heap, const struct mm__core_table *core,
                      const struct mm__hold *hold, uint64_t bytes, const void *content,
                      uint64_t *address, struct mm_error *error) {
  if (!*heap) *heap = calloc(1, sizeof **heap);
  if (!*heap) return mm__fail(error, MM_ERROR_MEMORY, "out of memory for a buffer");
  if ((*heap)->generation != hold->generation) forget_all(*heap);
  (*heap)->generation = hold->generation;
  return (bytes <= LARGEST ? allocate_small : allocate_large)(*heap, core, hold, bytes, content,
                                                              address, error);
}

/* The sheet that has a taken block at the address. */
static struct sheet *find(const struct mm__heap *heap, const struct mm__hold *hold,
                          uint64_t address, uint32_t *block) {
  uint64_t place = (address - area_low(hold)) / GRAIN;
  if (!heap || heap->generation != hold->generation || place >= heap->sheet_count) return NULL;
  struct sheet *sheet = heap->sheets[place];
  if (!sheet || (address - sheet->low) % sheet->block_bytes) return NULL;
  *block = (uint32_t)((address - sheet->low) / sheet->block_bytes);
  return *block < sheet->count && sheet->taken[*block / 64] >> *block % 64 & 1 ? sheet : NULL;
}

int mm__heap_free(struct mm__heap *heap, const struct mm__core_table *core,
                  const struct mm__hold *hold, uint64_t address, struct mm_error *error) {
  uint32_t block;
  struct sheet *sheet = find(heap, hold, address, &block);
  if (!sheet) return mm__fail(error, MM_ERROR_ARGUMENT, "0x%lx is no block of memory", address);
  if (sheet->block_bytes > LARGEST) return drop_sheet(heap, core, hold, sheet, error);
  struct sheet **list = &heap->free[class_of(sheet->block_bytes)];
  sheet->taken[block / 64] &= ~(1ul << block % 64);
  if (sheet->used-- == sheet->count) link_sheet(list, sheet);
  bool is_only = *list == sheet && !sheet->next;
  return sheet->used || is_only ? MM_OK : drop_sheet(heap, core, hold, sheet, error);
}
