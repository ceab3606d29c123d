/* core/slot/map.h - the true map of a slot: which addresses are mapped, with which permissions,
 * from where.
 * Owns:    the ranges, in memory its user gives it.
 * Threads: none; the user locks.
 * Signals: no allocation, no libc: runs in trap handlers.
 * Errors:  MM_ERROR_LIMIT when the ranges do not fit; nothing is changed then. */
#ifndef MM_CORE_SLOT_MAP_H
#define MM_CORE_SLOT_MAP_H

#include <stdbool.h>
#include <stdint.h>

enum mm__range_flags {
  MM__RANGE_IMAGE = 1,     /* of the snapshot: its kernel mapping is never replaced (client) */
  MM__RANGE_WITHDRAWN = 2, /* of the snapshot, unmapped by the image: inaccessible (client) */
  MM__RANGE_HEAP = 4,      /* brk */
  MM__RANGE_STACK = 8,
  MM__RANGE_MAILBOX = 16,
  MM__RANGE_FILE = 32, /* a file's pages */
  MM__RANGE_LENT = 64, /* the client asked for it: core/slot/area.h */
};

struct mm__range {
  uint64_t low, high;  /* pages */
  uint32_t protection; /* PROT_ bits the code of the image sees */
  uint32_t flags;
};

struct mm__slot_map {
  struct mm__range *ranges; /* ascending, disjoint */
  uint32_t count, capacity;
};

/* The index of the first range that ends above `address`; count when there is none. */
uint32_t mm__slot_map_find(const struct mm__slot_map *map, uint64_t address);
/* Whether [low, high) is wholly mapped with at least `protection`. */
bool mm__slot_map_covers(const struct mm__slot_map *map, uint64_t low, uint64_t high,
                         uint32_t protection);
bool mm__slot_map_empty(const struct mm__slot_map *map, uint64_t low, uint64_t high);
/* Forgets what was in [low, high), splitting at the ends. */
int mm__slot_map_remove(struct mm__slot_map *map, uint64_t low, uint64_t high);
/* Puts a range in, over whatever was there; joins neighbours that are alike. */
int mm__slot_map_insert(struct mm__slot_map *map, struct mm__range range);
/* Changes the protection of all ranges in [low, high). */
int mm__slot_map_protect(struct mm__slot_map *map, uint64_t low, uint64_t high,
                         uint32_t protection);
/* The lowest free place of `bytes` within [low, high), or 0. */
uint64_t mm__slot_map_place(const struct mm__slot_map *map, uint64_t bytes, uint64_t low,
                            uint64_t high);

#endif
