/* Compares the slot map with an array that has an entry a page, under random operations.
 * Usage: slot_map_test FOLDER [SEED]; prints one line per test, exit status 1 when one failed. */
#include "client.h"

#include "core/slot/map.h"

#define PAGE       4096ul
#define PAGES      96u
#define BASE       0x201000000000ul
#define OPERATIONS 200000
#define CAPACITY   64u

/* 0: nothing is there; else 1 + protection + 8 * flags. */
static uint32_t model[PAGES], kept[PAGES];
static struct mm__range ranges[CAPACITY + 8], ranges_kept[CAPACITY + 8];
static struct mm__slot_map map;
static uint64_t state;

static uint32_t chance(uint32_t limit) {
  state = state * 6364136223846793005u + 1442695040888963407u;
  return (uint32_t)(state >> 33) % limit;
}

static uint64_t at(uint32_t page) { return BASE + page * PAGE; }

static void start(uint32_t capacity, uint64_t seed) {
  map = (struct mm__slot_map){.ranges = ranges, .capacity = capacity};
  memset(model, 0, sizeof model);
  state = seed;
}

/* Ascending, disjoint, not empty, within the capacity; and page by page what the model has. */
static bool agrees(void) {
  static uint32_t pages[PAGES];
  memset(pages, 0, sizeof pages);
  if (map.count > map.capacity) return false;
  for (uint32_t i = 0; i < map.count; i++) {
    const struct mm__range *range = &ranges[i];
    if (range->low >= range->high || range->low % PAGE || range->high % PAGE) return false;
    if (range->low < BASE || range->high > at(PAGES)) return false;
    if (i > 0 && ranges[i - 1].high > range->low) return false;
    for (uint64_t page = range->low; page < range->high; page += PAGE)
      pages[(page - BASE) / PAGE] = 1 + range->protection + 8 * range->flags;
  }
  return memcmp(pages, model, sizeof model) == 0;
}

static void set(uint32_t low, uint32_t high, uint32_t value) {
  for (uint32_t i = low; i < high; i++) model[i] = value;
}

static int operate(uint32_t low, uint32_t high) {
  uint32_t protection = chance(8), flags = chance(4);
  switch (chance(3)) {
  case 0:
    set(low, high, 0);
    return mm__slot_map_remove(&map, at(low), at(high));
  case 1:
    set(low, high, 1 + protection + 8 * flags);
    return mm__slot_map_insert(&map, (struct mm__range){at(low), at(high), protection, flags});
  default:
    for (uint32_t i = low; i < high; i++)
      if (model[i]) model[i] = ((model[i] - 1) & ~7u) + protection + 1;
    return mm__slot_map_protect(&map, at(low), at(high), protection);
  }
}

static void check_questions(void) {
  uint32_t low = chance(PAGES), high = low + 1 + chance(PAGES - low), protection = chance(8);
  uint32_t bytes = 1 + chance(12);
  bool covers = true, empty = true;
  for (uint32_t i = low; i < high; i++) {
    covers &= model[i] && ((model[i] - 1) & protection) == protection;
    empty &= !model[i];
  }
  CHECK_EQUAL(covers, mm__slot_map_covers(&map, at(low), at(high), protection));
  CHECK_EQUAL(empty, mm__slot_map_empty(&map, at(low), at(high)));
  uint64_t place = 0;
  for (uint32_t i = low; i + bytes <= high && !place; i++) {
    uint32_t free_pages = 0;
    while (free_pages < bytes && !model[i + free_pages]) free_pages++;
    if (free_pages == bytes) place = at(i);
  }
  CHECK_EQUAL(place, mm__slot_map_place(&map, bytes * PAGE, at(low), at(high)));
  uint32_t found = mm__slot_map_find(&map, at(low));
  CHECK(found == map.count || ranges[found].high > at(low));
  CHECK(found == 0 || ranges[found - 1].high <= at(low));
}

static void is_what_an_array_of_pages_is(uint64_t seed) {
  start(CAPACITY, seed);
  for (int i = 0; i < OPERATIONS && failures < 10; i++) {
    uint32_t low = chance(PAGES), high = low + chance(1 + (PAGES - low) / (1 + chance(8)));
    int status = operate(low, high);
    if (status == MM_ERROR_LIMIT) { /* full: begin anew */
      start(CAPACITY, state);
      continue;
    }
    CHECK_EQUAL(MM_OK, status);
    CHECK(agrees());
    check_questions();
  }
}

static void changes_nothing_when_it_does_not_fit(uint64_t seed) {
  int refused = 0;
  start(6, seed);
  for (int i = 0; i < OPERATIONS && failures < 10; i++) {
    uint32_t low = chance(PAGES), high = low + chance(1 + (PAGES - low) / 8);
    uint32_t count = map.count;
    memcpy(kept, model, sizeof model);
    memcpy(ranges_kept, ranges, sizeof ranges);
    int status = operate(low, high);
    if (status == MM_ERROR_LIMIT) {
      refused++;
      CHECK_EQUAL(count, map.count);
      CHECK(memcmp(ranges, ranges_kept, count * sizeof *ranges) == 0);
      memcpy(model, kept, sizeof model);
      if (chance(4) == 0) {
        uint32_t from = chance(PAGES / 2); /* make room */
        set(from, PAGES, 0);
        if (mm__slot_map_remove(&map, at(from), at(PAGES)) != MM_OK) start(6, state);
      }
    }
    CHECK(agrees());
  }
  CHECK(refused > 100);
}

static void joins_neighbours_that_are_alike(void) {
  start(CAPACITY, 1);
  for (uint32_t i = 0; i < PAGES; i += 2)
    mm__slot_map_insert(&map, (struct mm__range){at(i), at(i + 1), 3, 0});
  CHECK_EQUAL(PAGES / 2, map.count);
  for (uint32_t i = 1; i < PAGES; i += 2)
    mm__slot_map_insert(&map, (struct mm__range){at(i), at(i + 1), 3, 0});
  CHECK_EQUAL(1, map.count);
  mm__slot_map_protect(&map, at(10), at(20), 1);
  CHECK_EQUAL(3, map.count);
  mm__slot_map_protect(&map, at(10), at(20), 3);
  CHECK_EQUAL(1, map.count);
}

int main(int count, char **arguments) {
  uint64_t seed = count > 2 ? strtoul(arguments[2], NULL, 0) : 42;
  RUN(is_what_an_array_of_pages_is, seed);
  RUN(changes_nothing_when_it_does_not_fit, seed);
  RUN(joins_neighbours_that_are_alike);
  printf("# %d checks, %d failures\n", checks, failures);
  return failures != 0;
}
