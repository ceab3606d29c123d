/* core/slot/map.c - a sorted array of ranges; every change is a removal and an insertion. */
#include "core/slot/map.h"

#include "matchmaker.h"
#include <string.h>

uint32_t mm__slot_map_find(const struct mm__slot_map *map, uint64_t address) {
  uint32_t low = 0, high = map->count;
  while (low < high) {
    uint32_t middle = low + (high - low) / 2;
    if (map->ranges[middle].high <= address)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

bool mm__slot_map_covers(const struct mm__slot_map *map, uint64_t low, uint64_t high,
                         uint32_t protection) {
  if (low > high) return false;
  for (uint32_t i = mm__slot_map_find(map, low); low < high; i++) {
    if (i == map->count || map->ranges[i].low > low) return false;
    if ((map->ranges[i].protection & protection) != protection) return false;
    low = map->ranges[i].high;
  }
  return true;
}

bool mm__slot_map_empty(const struct mm__slot_map *map, uint64_t low, uint64_t high) {
  uint32_t i = mm__slot_map_find(map, low);
  return i == map->count || map->ranges[i].low >= high;
}

static void replace(struct mm__slot_map *map, uint32_t first, uint32_t removed,
                    const struct mm__range *added, uint32_t added_count) {
  memmove(&map->ranges[first + added_count], &map->ranges[first + removed],
          (map->count - first - removed) * sizeof *map->ranges);
  if (added_count) memcpy(&map->ranges[first], added, added_count * sizeof *added);
  map->count = map->count - removed + added_count;
}

/* Replaces all of [low, high) by `middle` (NULL: by nothing), keeping what sticks out at the ends.
 * */
static int put(struct mm__slot_map *map, uint64_t low, uint64_t high,
               const struct mm__range *middle) {
  struct mm__range pieces[3];
  uint32_t count = 0, first = mm__slot_map_find(map, low), last = first;
  while (last < map->count && map->ranges[last].low < high) last++;
  if (first < last && map->ranges[first].low < low) {
    pieces[count] = map->ranges[first];
    pieces[count++].high = low;
  }
  if (middle) pieces[count++] = *middle;
  if (first < last && map->ranges[last - 1].high > high) {
    pieces[count] = map->ranges[last - 1];
    pieces[count++].low = high;
  }
  if (map->count - (last - first) + count > map->capacity) return MM_ERROR_LIMIT;
  replace(map, first, last - first, pieces, count);
  return MM_OK;
}

static bool joins(const struct mm__range *a, const struct mm__range *b) {
  return a->high == b->low && a->protection == b->protection && a->flags == b->flags;
}

static void join_around(struct mm__slot_map *map, uint64_t address) {
  uint32_t i = mm__slot_map_find(map, address);
  if (i + 1 < map->count && joins(&map->ranges[i], &map->ranges[i + 1])) {
    map->ranges[i].high = map->ranges[i + 1].high;
    replace(map, i + 1, 1, 0, 0);
  }
  if (i > 0 && i < map->count && joins(&map->ranges[i - 1], &map->ranges[i])) {
    map->ranges[i - 1].high = map->ranges[i].high;
    replace(map, i, 1, 0, 0);
  }
}

int mm__slot_map_remove(struct mm__slot_map *map, uint64_t low, uint64_t high) {
  return low < high ? put(map, low, high, 0) : MM_OK;
}

int mm__slot_map_insert(struct mm__slot_map *map, struct mm__range range) {
  if (range.low >= range.high) return MM_OK;
  int status = put(map, range.low, range.high, &range);
  if (status == MM_OK) join_around(map, range.low);
  return status;
}

int mm__slot_map_protect(struct mm__slot_map *map, uint64_t low, uint64_t high,
                         uint32_t protection) {
  if (map->count + 2 > map->capacity) return MM_ERROR_LIMIT;
  while (low < high) {
    uint32_t i = mm__slot_map_find(map, low);
    if (i == map->count || map->ranges[i].low >= high) break;
    struct mm__range piece = map->ranges[i];
    if (piece.low < low) piece.low = low;
    if (piece.high > high) piece.high = high;
    low = piece.high;
    if (piece.protection == protection) continue;
    piece.protection = protection;
    int status = mm__slot_map_insert(map, piece);
    if (status != MM_OK) return status;
  }
  return MM_OK;
}

uint64_t mm__slot_map_place(const struct mm__slot_map *map, uint64_t bytes, uint64_t low,
                            uint64_t high) {
  for (uint32_t i = mm__slot_map_find(map, low);; i++) {
    uint64_t limit = i < map->count && map->ranges[i].low < high ? map->ranges[i].low : high;
    if (limit > low && limit - low >= bytes) return low;
    if (limit == high) return 0;
    if (map->ranges[i].high > low) low = map->ranges[i].high;
  }
}
