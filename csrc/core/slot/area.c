/* core/slot/area.c - memory in an image's slot that its client asked for. It is in the slot map like
 * what the image mapped, so the image may read and write it; mediation keeps the image from mapping
 * over it. A reset forgets it without having to look for other changes of the map. */
#include "core/slot/area.h"

#include "base/error.h"
#include "core/guard/guard.h"
#include "core/slot/place.h"

#include <sys/mman.h>

#define AREA_LOW(slot) (MM__SLOT_BASE(slot) + MM__AREA_OFFSET)
#define OPEN           (PROT_READ | PROT_WRITE)

static int check_room(const struct mm__record *record, const struct mm__state *state,
                      uint64_t bytes, struct mm_error *error) {
  uint64_t taken =
      state->memory_bytes < record->memory_limit ? state->memory_bytes : record->memory_limit;
  if (bytes <= record->memory_limit - taken) return MM_OK;
  return mm__fail(error, MM_ERROR_LIMIT,
                  "%lu bytes are too many: the image may take %lu in all, and has taken %lu", bytes,
                  record->memory_limit, state->memory_bytes);
}

/* Mapped as the guard is now: closed at rest, open in a call. */
static long map(const struct mm__state *state, uint64_t low, uint64_t bytes) {
  uint32_t protection = state->guard_open ? OPEN : mm__at_rest(state, OPEN);
  return mm__call(SYS_mmap, low, bytes, protection,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
}

int mm__area_claim(const struct mm__hold *hold, uint64_t bytes, uint64_t *address,
                   struct mm_error *error) {
  const struct mm__record *record = &mm__tables.records[hold->slot];
  struct mm__state *state = &mm__states[hold->slot];
  int status = check_room(record, state, bytes, error);
  if (status != MM_OK) return status;
  uint64_t area = AREA_LOW(hold->slot);
  uint64_t low = mm__slot_map_place(&state->map, bytes, area, area + MM__AREA_BYTES);
  struct mm__range range = {low, low + bytes, OPEN, MM__RANGE_LENT};
  /* Only a segment of a strange image can lie in the area, and only it can be in odd places. */
  if (!low || low % MM__AREA_GRAIN)
    return mm__fail(error, MM_ERROR_LIMIT, "there is no place for %lu bytes", bytes);
  long result = map(state, low, bytes);
  if (mm__failed(result))
    return mm__fail_system(error, MM_ERROR_MEMORY, (int)-result, "cannot map %lu bytes", bytes);
  if (mm__slot_map_insert(&state->map, range) != MM_OK) {
    mm__slot_reserve(low, bytes);
    return mm__fail(error, MM_ERROR_LIMIT, "the image has too many mappings");
  }
  mm__guard_changed(record, state, low, low + bytes);
  state->memory_bytes += bytes;
  *address = low;
  return state->dead ? mm__guard_failed(state, error) : MM_OK;
}

static int give_back(const struct mm__record *record, struct mm__state *state, uint64_t low,
                     uint64_t high) {
  if (mm__failed(mm__slot_reserve(low, high - low))) return MM_ERROR_MEMORY;
  mm__slot_map_remove(&state->map, low, high);
  mm__guard_removed(record, state, low, high);
  state->memory_bytes -= high - low;
  return MM_OK;
}

int mm__area_release(const struct mm__hold *hold, uint64_t address, uint64_t bytes,
                     struct mm_error *error) {
  struct mm__state *state = &mm__states[hold->slot];
  uint64_t area = AREA_LOW(hold->slot), offset = address - area;
  if (address < area || offset > MM__AREA_BYTES || bytes > MM__AREA_BYTES - offset ||
      !mm__slot_map_covers(&state->map, address, address + bytes, OPEN))
    return mm__fail(error, MM_ERROR_RANGE, "0x%lx is no memory of the client's", address);
  int status = MM_ERROR_LIMIT; /* one could become two */
  if (state->map.count < state->map.capacity)
    status = give_back(&mm__tables.records[hold->slot], state, address, address + bytes);
  if (status == MM_OK) return status;
  return mm__fail(error, status, "%s",
                  status == MM_ERROR_LIMIT ? "the image has too many mappings"
                                           : "the kernel does not take its memory back");
}

bool mm__area_empty(const struct mm__record *record, struct mm__state *state) {
  uint64_t low = AREA_LOW(state - mm__states);
  bool done = true;
  for (uint32_t i = mm__slot_map_find(&state->map, low); i < state->map.count;) {
    struct mm__range range = state->map.ranges[i];
    bool stays = !(range.flags & MM__RANGE_LENT);
    if (!stays && give_back(record, state, range.low, range.high) != MM_OK) {
      done = false;
      stays = true;
    }
    i += stays;
  }
  return done;
}

static bool covered(const struct mm__hold *hold, uint64_t address, uint64_t bytes,
                    uint32_t protection) {
  return bytes <= MM__SLOT_BYTES && address <= UINT64_MAX - bytes &&
         mm__slot_map_covers(&mm__states[hold->slot].map, address, address + bytes, protection);
}

int mm__area_read(const struct mm__hold *hold, uint64_t address, void *to, uint64_t bytes,
                  struct mm_error *error) {
  if (!covered(hold, address, bytes, PROT_READ))
    return mm__fail(error, MM_ERROR_RESULT, "%lu bytes at 0x%lx are not memory of the image", bytes,
                    address);
  struct mm__state *state = &mm__states[hold->slot];
  bool done = mm__guard_read(&mm__tables.records[hold->slot], state, address, to, bytes);
  return done ? MM_OK : mm__guard_failed(state, error);
}

int mm__area_write(const struct mm__hold *hold, uint64_t address, const void *from, uint64_t bytes,
                   struct mm_error *error) {
  if (!covered(hold, address, bytes, PROT_WRITE))
    return mm__fail(error, MM_ERROR_RANGE,
                    "%lu bytes at 0x%lx are not memory that the image may write", bytes, address);
  if (bytes == 0) return MM_OK;
  struct mm__state *state = &mm__states[hold->slot];
  const struct mm__slot_map *map = &state->map;
  const struct mm__range *range = &map->ranges[mm__slot_map_find(map, address)];
  bool lent = range->flags & MM__RANGE_LENT && range->high >= address + bytes;
  bool done = mm__guard_write(&mm__tables.records[hold->slot], state, address, from, bytes, lent);
  return done ? MM_OK : mm__guard_failed(state, error);
}
