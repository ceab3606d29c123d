/* core/slot/place.c - an image in its slot: the reservation, its segments, its stubs. Segments are
 * private mappings of the file, so a reset is a DONTNEED. */
#include "core/slot/place.h"

#include "base/error.h"
#include "base/format.h"
#include "core/guard/guard.h"

#include <errno.h>
#include <fcntl.h>

long mm__slot_reserve(uint64_t low, uint64_t bytes) {
  return mm__call(SYS_mmap, low, bytes, PROT_NONE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
}

/* Finds the line of /proc/self/maps that lies in [low, high): who is in the way. */
static void find_occupant(uint64_t low, uint64_t high, char *text, size_t size) {
  char buffer[2048];
  uint32_t kept = 0;
  mm__format(text, size, "an unknown mapping");
  long file = mm__call(SYS_openat, AT_FDCWD, "/proc/self/maps", O_RDONLY | O_CLOEXEC);
  if (mm__failed(file)) return;
  for (bool done = false; !done;) {
    long count = mm__call(SYS_read, file, buffer + kept, sizeof buffer - kept);
    if (count <= 0) break;
    kept += (uint32_t)count;
    uint32_t start = 0;
    for (uint32_t end = 0; end < kept && !done; end++) {
      if (buffer[end] != '\n') continue;
      uint64_t address = 0;
      for (uint32_t i = start; i < end && buffer[i] != '-'; i++) {
        uint32_t digit = (uint32_t)(buffer[i] <= '9' ? buffer[i] - '0' : buffer[i] - 'a' + 10);
        address = address * 16 + digit;
      }
      done = address >= low && address < high;
      if (done) mm__format(text, size, "%.*s", (int)(end - start), buffer + start);
      start = end + 1;
    }
    memmove(buffer, buffer + start, kept - start);
    kept -= start;
    if (kept == sizeof buffer) kept = 0;
  }
  mm__call(SYS_close, file);
}

static int refuse_other(const struct mm__image_opening *opening, const char *other) {
  if (strcmp(other, opening->path) == 0)
    return mm__fail(opening->error, MM_ERROR_SLOT_TAKEN,
                    "%s: is mapped already; an image is mapped once in a process", opening->name);
  return mm__fail(
      opening->error, MM_ERROR_SLOT_TAKEN,
      "%s: its slot %u is taken by the image %s; snapshot one of them with another --slot",
      opening->name, opening->slot, other);
}

int mm__place_reserve(const struct mm__image_opening *opening) {
  const struct mm__record *other = &mm__tables.records[opening->slot];
  if (other->serial) return refuse_other(opening, other->path);
  uint64_t low = MM__SLOT_BASE(opening->slot);
  long result = mm__call(SYS_mmap, low, MM__SLOT_BYTES, PROT_NONE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
  if (result == (long)low) return MM_OK;
  if (!mm__failed(result)) { /* a kernel before 4.17 took the flag for a hint */
    mm__call(SYS_munmap, result, MM__SLOT_BYTES);
    result = -EEXIST;
  }
  if (result == -EEXIST) {
    char occupant[256];
    find_occupant(low, low + MM__SLOT_BYTES, occupant, sizeof occupant);
    return mm__fail(opening->error, MM_ERROR_SLOT_TAKEN, "%s: its slot %u is taken by %s",
                    opening->name, opening->slot, occupant);
  }
  return mm__fail_system(opening->error, MM_ERROR_MEMORY, (int)-result,
                         "%s: cannot reserve slot %u", opening->name, opening->slot);
}

/* What one mmap can map: segments that follow each other in memory and in the file, and rest alike.
 * */
struct stretch {
  uint64_t low, offset, file_bytes, memory_bytes;
  uint32_t rest;
};

static struct stretch stretch_of(const Elf64_Phdr *load, uint32_t rest) {
  return (struct stretch){load->p_vaddr, load->p_offset, mm__page_up(load->p_filesz),
                          mm__load_bytes(load), mm__load_protection(load) & rest};
}

static bool extend(struct stretch *stretch, const struct stretch *next) {
  if (stretch->rest != next->rest || stretch->file_bytes != stretch->memory_bytes ||
      stretch->low + stretch->memory_bytes != next->low ||
      stretch->offset + stretch->file_bytes != next->offset)
    return false;
  stretch->file_bytes += next->file_bytes;
  stretch->memory_bytes += next->memory_bytes;
  return true;
}

static long map_stretch(const struct stretch *stretch, int file) {
  long result = 0;
  if (stretch->file_bytes)
    result = mm__call(SYS_mmap, stretch->low, stretch->file_bytes, stretch->rest,
                      MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE, file, stretch->offset);
  if (!mm__failed(result) && stretch->memory_bytes > stretch->file_bytes)
    result = mm__call(SYS_mmap, stretch->low + stretch->file_bytes,
                      stretch->memory_bytes - stretch->file_bytes, stretch->rest,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0);
  return result;
}

/* The slot map as the snapshot has it. */
int mm__place_list(struct mm__state *state, const struct mm__head *head) {
  const struct mm__facts *facts = head->facts;
  state->map.count = 0;
  for (uint32_t i = 0; i < head->load_count; i++) {
    const Elf64_Phdr *load = &head->loads[i];
    struct mm__range range = {load->p_vaddr, load->p_vaddr + mm__load_bytes(load),
                              mm__load_protection(load), MM__RANGE_IMAGE};
    if (range.low >= facts->heap_low && range.low < facts->heap_high) range.flags |= MM__RANGE_HEAP;
    if (!(load->p_flags & (PF_W | MM__PF_ANONYMOUS))) range.flags |= MM__RANGE_FILE;
    int status = mm__slot_map_insert(&state->map, range);
    if (status != MM_OK) return status;
  }
  return MM_OK;
}

int mm__place_loads(const struct mm__image_opening *opening) {
  const struct mm__head *head = &opening->head;
  uint32_t rest = mm__guard_rest(opening->guard, opening->options->sealed);
  for (uint32_t i = 0; i < head->load_count;) {
    struct stretch stretch = stretch_of(&head->loads[i], rest);
    for (i++; i < head->load_count; i++) {
      struct stretch next = stretch_of(&head->loads[i], rest);
      if (!extend(&stretch, &next)) break;
    }
    long result = map_stretch(&stretch, opening->file);
    if (mm__failed(result))
      return mm__fail_system(opening->error, MM_ERROR_MEMORY, (int)-result, "%s: cannot map 0x%lx",
                             opening->name, stretch.low);
  }
  return MM_OK;
}

/* Stubs are one shared page, mapped once for every 128: an old size of 0 makes mremap(2) map shared
 * pages again. */
static long map_stubs(uint32_t slot, uint32_t count) {
  long result = 0;
  for (uint32_t first = 0; first < count && !mm__failed(result); first += MM__STUBS_PER_PAGE)
    result = mm__call(SYS_mremap, MM__ARENA_LOW + MM__STUBS_OFFSET, 0, MM__PAGE,
                      MREMAP_MAYMOVE | MREMAP_FIXED, mm__stub_address(slot, first));
  return result;
}

int mm__place_stubs(const struct mm__image_opening *opening, uint32_t count) {
  long result = map_stubs(opening->slot, count);
  if (!mm__failed(result)) return MM_OK;
  return mm__fail_system(opening->error, MM_ERROR_MEMORY, (int)-result, "%s: cannot map stubs",
                         opening->name);
}

/* The stubs first: there is room in the kernel's list then, should a neighbour's reservation have
 * become one with this slot's, so that it has to be split. */
long mm__place_release(uint32_t slot, uint32_t stub_count) {
  uint64_t pages = (stub_count + MM__STUBS_PER_PAGE - 1) / MM__STUBS_PER_PAGE;
  long result = pages ? mm__call(SYS_munmap, mm__stub_address(slot, 0), pages * MM__PAGE) : 0;
  if (mm__failed(result)) return result;
  result = mm__call(SYS_munmap, MM__SLOT_BASE(slot), MM__SLOT_BYTES);
  if (mm__failed(result)) map_stubs(slot, stub_count);
  return result;
}
