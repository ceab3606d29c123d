/* core/mediation/memory.c - brk, mmap, munmap, mremap, mprotect, madvise, confined to the slot.
 *
 * The slot map is the truth. In the kernel the whole slot is reserved, inaccessible; mapping
 * replaces a piece of the reservation and unmapping puts it back. In a client the segments of the
 * snapshot are never replaced, because a reset needs their private file mappings: where the image
 * unmaps one it is only withdrawn, where it wants zeros they are written. */
#include "core/mediation/mediation.h"

#include "core/guard/guard.h"
#include "core/mediation/outside.h"
#include "core/slot/place.h"

#include <errno.h>
#include <sys/mman.h>

#define MAP_32BIT_FLAG 0x40
#define MAP_DROPPED    (MAP_FIXED | MAP_FIXED_NOREPLACE | MAP_GROWSDOWN | MAP_POPULATE)

static uint64_t slot_low(const struct mm__trap *trap) { return MM__SLOT_BASE(trap->slot); }

/* The mailbox and the client's area are the Matchmaker's to write to, so an image may not unmap or
 * close them. */
static bool in_slot(const struct mm__trap *trap, uint64_t low, uint64_t bytes) {
  uint64_t offset = low - slot_low(trap);
  if (offset < MM__STACK_LOW_OFFSET || offset > MM__SLOT_BYTES || bytes > MM__SLOT_BYTES - offset)
    return false;
  if (trap->serving) return true;
  const struct mm__facts *facts = trap->record->head.facts;
  uint64_t area = slot_low(trap) + MM__AREA_OFFSET;
  return (low >= facts->mailbox_high || low + bytes <= facts->mailbox_low) &&
         (low >= area + MM__AREA_BYTES || low + bytes <= area);
}

static bool over_limit(const struct mm__trap *trap, uint64_t bytes) {
  if (trap->serving) return false;
  uint64_t limit = trap->record->memory_limit;
  return bytes > limit || trap->state->memory_bytes > limit - bytes;
}

static void count(struct mm__trap *trap, int64_t bytes) {
  trap->state->map_changed = 1;
  trap->state->memory_bytes += (uint64_t)bytes;
}

/* The guard learns that [low, high) is now as the slot map has it. */
static void changed(struct mm__trap *trap, uint64_t low, uint64_t high) {
  if (!trap->serving) mm__guard_changed(trap->record, trap->state, low, high);
}

/* Whether code of the image would find [low, high) mapped: what it unmapped of its snapshot is not.
 * */
static bool mapped(const struct mm__trap *trap, uint64_t low, uint64_t high) {
  const struct mm__slot_map *map = &trap->state->map;
  if (!mm__slot_map_covers(map, low, high, 0)) return false;
  for (uint32_t i = mm__slot_map_find(map, low); i < map->count && map->ranges[i].low < high; i++)
    if (map->ranges[i].flags & MM__RANGE_WITHDRAWN) return false;
  return true;
}

/* Whether it would find nothing there. */
static bool vacant(const struct mm__trap *trap, uint64_t low, uint64_t high) {
  const struct mm__slot_map *map = &trap->state->map;
  for (uint32_t i = mm__slot_map_find(map, low); i < map->count && map->ranges[i].low < high; i++)
    if (!(map->ranges[i].flags & MM__RANGE_WITHDRAWN)) return false;
  return true;
}

/* How much of [low, low + bytes) the image has mapped since the snapshot. */
static uint64_t taken(const struct mm__trap *trap, uint64_t low, uint64_t bytes) {
  const struct mm__slot_map *map = &trap->state->map;
  uint64_t sum = 0, high = low + bytes;
  for (uint32_t i = mm__slot_map_find(map, low); i < map->count && map->ranges[i].low < high; i++) {
    const struct mm__range *range = &map->ranges[i];
    if (range->flags & MM__RANGE_IMAGE) continue;
    sum += (range->high < high ? range->high : high) - (range->low > low ? range->low : low);
  }
  return sum;
}

/* In a client nothing becomes executable that the snapshot did not have so, unless granted. */
static bool protection_allowed(const struct mm__trap *trap, uint64_t low, uint64_t high,
                               uint32_t protection) {
  if (trap->serving || !(protection & PROT_EXEC)) return true;
  if (trap->record->grants & (MM_GRANT_JIT | MM_GRANT_EVERYTHING)) return true;
  if (protection & PROT_WRITE) return false;
  return mm__slot_map_covers(&trap->state->map, low, high, PROT_EXEC);
}

typedef long piece_function(struct mm__trap *trap, const struct mm__range *piece, uint32_t detail);

/* Calls `apply` for every piece of the slot map in [low, high); the map may change under it. */
static long each_piece(struct mm__trap *trap, uint64_t low, uint64_t high, piece_function *apply,
                       uint32_t detail) {
  while (low < high) {
    uint32_t i = mm__slot_map_find(&trap->state->map, low);
    if (i == trap->state->map.count || trap->state->map.ranges[i].low >= high) break;
    struct mm__range piece = trap->state->map.ranges[i];
    if (piece.low < low) piece.low = low;
    if (piece.high > high) piece.high = high;
    long result = apply(trap, &piece, detail);
    if (mm__failed(result)) return result;
    low = piece.high;
  }
  return 0;
}

static bool of_snapshot(const struct mm__trap *trap, const struct mm__range *range) {
  return !trap->serving && (range->flags & MM__RANGE_IMAGE);
}

static long set_protection(const struct mm__range *piece, uint32_t protection) {
  return mm__call(SYS_mprotect, piece->low, piece->high - piece->low, protection);
}

/* When the kernel refuses what comes after it has changed something, the image cannot go on as if
 * it had not: it is shut, and its call ends at its next step. */
static long after_change(struct mm__trap *trap, long result) {
  if (mm__failed(result) && !trap->serving) mm__guard_shut_down(trap->state, result);
  return result;
}

/* Zeros over snapshot memory: DONTNEED would bring the file's bytes back. */
static long write_zeros(struct mm__trap *trap, const struct mm__range *piece, uint32_t protection) {
  long result = set_protection(piece, PROT_READ | PROT_WRITE);
  if (mm__failed(result)) return after_change(trap, result);
  memset((void *)piece->low, 0, piece->high - piece->low);
  return after_change(trap, set_protection(piece, protection));
}

/* One range in the middle of another makes two more. */
static bool is_full(const struct mm__trap *trap) {
  return trap->state->map.count + 2 > trap->state->map.capacity;
}

static long remove_piece(struct mm__trap *trap, const struct mm__range *piece, uint32_t detail) {
  (void)detail;
  struct mm__range withdrawn = *piece;
  if (is_full(trap)) return -ENOMEM;
  if (of_snapshot(trap, piece)) {
    withdrawn.protection = PROT_NONE;
    withdrawn.flags |= MM__RANGE_WITHDRAWN;
    long result = after_change(trap, set_protection(piece, PROT_NONE));
    if (mm__failed(result)) return result;
    mm__slot_map_insert(&trap->state->map, withdrawn);
    changed(trap, piece->low, piece->high);
    return result;
  }
  long result = mm__slot_reserve(piece->low, piece->high - piece->low);
  if (mm__failed(result)) return result;
  mm__slot_map_remove(&trap->state->map, piece->low, piece->high);
  count(trap, -(int64_t)(piece->high - piece->low));
  changed(trap, piece->low, piece->high);
  return result;
}

long mm__memory_munmap(struct mm__trap *trap) {
  uint64_t low = (uint64_t)trap->arguments[0], bytes = mm__page_up((uint64_t)trap->arguments[1]);
  if (low % MM__PAGE || !bytes || !in_slot(trap, low, bytes)) return -EINVAL;
  trap->state->map_changed = 1;
  return each_piece(trap, low, low + bytes, remove_piece, 0);
}

static uint64_t place(const struct mm__trap *trap, uint64_t bytes) {
  return mm__slot_map_place(&trap->state->map, bytes, slot_low(trap) + MM__MMAP_OFFSET,
                            slot_low(trap) + MM__MMAP_LIMIT_OFFSET);
}

static long keep_range(struct mm__trap *trap, uint64_t low, uint64_t bytes, uint32_t protection,
                       uint32_t flags) {
  struct mm__range range = {low, low + bytes, protection, flags};
  uint64_t replaced = taken(trap, low, bytes);
  if (mm__slot_map_insert(&trap->state->map, range) != MM_OK) {
    mm__slot_reserve(low, bytes);
    return -ENOMEM;
  }
  count(trap, (int64_t)(bytes - replaced));
  changed(trap, low, low + bytes);
  return (long)low;
}

/* Anonymous memory over a piece of the snapshot: the same pages, zeroed, with the new protection.
 * */
static long renew_piece(struct mm__trap *trap, const struct mm__range *piece, uint32_t protection) {
  if (!of_snapshot(trap, piece)) return remove_piece(trap, piece, 0);
  struct mm__range renewed = *piece;
  renewed.flags &= ~(uint32_t)MM__RANGE_WITHDRAWN;
  renewed.protection = protection;
  if (is_full(trap)) return -ENOMEM;
  long result = write_zeros(trap, piece, protection);
  if (mm__failed(result)) return result;
  mm__slot_map_insert(&trap->state->map, renewed);
  changed(trap, piece->low, piece->high);
  return result;
}

static bool touches_snapshot(const struct mm__trap *trap, uint64_t low, uint64_t high) {
  if (trap->serving) return false;
  for (uint32_t i = mm__slot_map_find(&trap->state->map, low);
       i < trap->state->map.count && trap->state->map.ranges[i].low < high; i++)
    if (trap->state->map.ranges[i].flags & MM__RANGE_IMAGE) return true;
  return false;
}

/* MAP_FIXED over pieces of the snapshot: those are renewed, the gaps between them are mapped. */
static long fix_over_snapshot(struct mm__trap *trap, uint64_t low, uint64_t high,
                              uint32_t protection) {
  trap->state->map_changed = 1;
  long result = each_piece(trap, low, high, renew_piece, protection);
  for (uint64_t at = low; at < high && !mm__failed(result);) {
    uint32_t i = mm__slot_map_find(&trap->state->map, at);
    bool last = i == trap->state->map.count || trap->state->map.ranges[i].low >= high;
    uint64_t gap = last ? high : trap->state->map.ranges[i].low;
    uint64_t next = last ? high : trap->state->map.ranges[i].high;
    if (gap > at) {
      result = mm__call(SYS_mmap, at, gap - at, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
                        -1, 0);
      if (!mm__failed(result)) result = keep_range(trap, at, gap - at, protection, 0);
    }
    at = next;
  }
  return mm__failed(result) ? result : (long)low;
}

static long choose_place(const struct mm__trap *trap, uint64_t bytes, uint64_t *low, long flags) {
  if (flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) {
    if (*low % MM__PAGE) return -EINVAL;
    if (!in_slot(trap, *low, bytes)) return -EPERM;
    return (flags & MAP_FIXED_NOREPLACE) && !vacant(trap, *low, *low + bytes) ? -EEXIST : 0;
  }
  if (flags & MAP_32BIT_FLAG) return -ENOMEM;
  *low &= ~(uint64_t)(MM__PAGE - 1);
  /* A free hint is honoured: LuaJIT's allocator of machine code relies on it. */
  if (*low && in_slot(trap, *low, bytes) &&
      mm__slot_map_empty(&trap->state->map, *low, *low + bytes))
    return 0;
  *low = place(trap, bytes);
  return *low ? 0 : -ENOMEM;
}

long mm__memory_mmap(struct mm__trap *trap) {
  uint64_t low = (uint64_t)trap->arguments[0], bytes = mm__page_up((uint64_t)trap->arguments[1]);
  uint32_t protection = (uint32_t)trap->arguments[2] & 7;
  long flags = trap->arguments[3];
  bool file = !(flags & MAP_ANONYMOUS);
  if (!bytes) return -EINVAL;
  if (bytes > MM__SLOT_BYTES) return -ENOMEM;
  uint64_t replaced = flags & MAP_FIXED && in_slot(trap, low, bytes) ? taken(trap, low, bytes) : 0;
  if (over_limit(trap, bytes - replaced)) return -ENOMEM;
  if (file && !trap->serving && !(trap->record->grants & MM_GRANT_EVERYTHING) &&
      !mm__descriptor_find(trap->record, trap->arguments[4]))
    return trap->record->folder_count ? -EBADF : mm__refuse(trap, 0, -EPERM);
  long result = choose_place(trap, bytes, &low, flags);
  if (mm__failed(result)) return result;
  if (!protection_allowed(trap, low, low + bytes, protection)) return -EPERM;
  if (is_full(trap)) return -ENOMEM; /* what is replaced would be lost, and not known to be */
  if (touches_snapshot(trap, low, low + bytes))
    return file ? -EPERM : fix_over_snapshot(trap, low, low + bytes, protection);
  long kept = (flags & ~(long)MAP_DROPPED) | MAP_FIXED;
  result = mm__call(SYS_mmap, low, bytes, protection, kept, trap->arguments[4], trap->arguments[5]);
  if (mm__failed(result)) return result;
  return keep_range(trap, low, bytes, protection, file ? MM__RANGE_FILE : 0);
}

static long protect_piece(struct mm__trap *trap, const struct mm__range *piece,
                          uint32_t protection) {
  (void)trap;
  return set_protection(piece, protection);
}

static long protect_as_before(struct mm__trap *trap, const struct mm__range *piece,
                              uint32_t unused) {
  (void)unused;
  return after_change(trap, set_protection(piece, piece->protection));
}

long mm__memory_mprotect(struct mm__trap *trap) {
  uint64_t low = (uint64_t)trap->arguments[0], bytes = mm__page_up((uint64_t)trap->arguments[1]);
  uint32_t protection = (uint32_t)trap->arguments[2] & 7;
  if (low % MM__PAGE) return -EINVAL;
  if (!bytes) return 0;
  if (!in_slot(trap, low, bytes) || !mapped(trap, low, low + bytes)) return -ENOMEM;
  if (!protection_allowed(trap, low, low + bytes, protection)) return -EACCES;
  trap->state->map_changed = 1;
  long result = each_piece(trap, low, low + bytes, protect_piece, protection);
  if (!mm__failed(result) &&
      mm__slot_map_protect(&trap->state->map, low, low + bytes, protection) != MM_OK)
    result = -ENOMEM;
  if (mm__failed(result)) each_piece(trap, low, low + bytes, protect_as_before, 0);
  changed(trap, low, low + bytes);
  return result;
}

static long drop_piece(struct mm__trap *trap, const struct mm__range *piece, uint32_t advice) {
  if (!of_snapshot(trap, piece))
    return mm__call(SYS_madvise, piece->low, piece->high - piece->low, advice);
  /* A file's pages that were never written come back as they are. */
  if (piece->flags & MM__RANGE_FILE) return 0;
  if (!(piece->protection & PROT_WRITE)) trap->state->map_changed = 1; /* else a reset leaves it */
  long result = write_zeros(trap, piece, piece->protection);
  changed(trap, piece->low, piece->high);
  return result;
}

long mm__memory_madvise(struct mm__trap *trap) {
  uint64_t low = (uint64_t)trap->arguments[0], bytes = mm__page_up((uint64_t)trap->arguments[1]);
  long advice = trap->arguments[2];
  if (low % MM__PAGE || !in_slot(trap, low, bytes)) return -EINVAL;
  if (!mapped(trap, low, low + bytes)) return -ENOMEM;
  /* All other advice may be ignored; MADV_FREE'd memory may keep its bytes. */
  if (advice != MADV_DONTNEED) return 0;
  return each_piece(trap, low, low + bytes, drop_piece, MADV_DONTNEED);
}

/* Nothing in the way but what brk itself gave back. */
static bool may_grow(const struct mm__trap *trap, uint64_t low, uint64_t high) {
  const struct mm__slot_map *map = &trap->state->map;
  for (uint32_t i = mm__slot_map_find(map, low); i < map->count && map->ranges[i].low < high; i++)
    if (trap->serving || !(map->ranges[i].flags & MM__RANGE_WITHDRAWN)) return false;
  return true;
}

static long grow_heap(struct mm__trap *trap, uint64_t low, uint64_t high) {
  if (!may_grow(trap, low, high)) return -ENOMEM;
  if (!mm__slot_map_empty(&trap->state->map, low, high)) {
    /* Shrunk and grown again over snapshot memory: it must be zero. */
    long result = fix_over_snapshot(trap, low, high, PROT_READ | PROT_WRITE);
    return mm__failed(result) ? result : 0;
  }
  long result = mm__call(SYS_mmap, low, high - low, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  if (!mm__failed(result))
    result = keep_range(trap, low, high - low, PROT_READ | PROT_WRITE, MM__RANGE_HEAP);
  return mm__failed(result) ? result : 0;
}

long mm__memory_brk(struct mm__trap *trap) {
  struct mm__state *state = trap->state;
  uint64_t wanted = (uint64_t)trap->arguments[0], old = state->heap_high;
  uint64_t start = trap->serving ? mm__tables.serve.heap_low : trap->record->head.facts->heap_low;
  if (wanted < start || wanted > slot_low(trap) + MM__HEAP_LIMIT_OFFSET) return (long)old;
  uint64_t old_page = mm__page_up(old), new_page = mm__page_up(wanted);
  if (new_page > old_page) {
    if (over_limit(trap, new_page - old_page)) return (long)old;
    if (mm__failed(grow_heap(trap, old_page, new_page))) return (long)old;
  } else if (new_page < old_page) {
    trap->state->map_changed = 1;
    if (mm__failed(each_piece(trap, new_page, old_page, remove_piece, 0))) return (long)old;
  }
  state->heap_high = wanted;
  return (long)wanted;
}

/* A copy at the new place: where the kernel cannot move pages, because they are of the snapshot or
 * of several mappings. */
static long copy(struct mm__trap *trap, const struct mm__range *range, uint64_t low, uint64_t kept,
                 uint64_t bytes, uint64_t to) {
  struct mm__range from = {low, low + kept, 0, 0}, moved = {to, to + bytes, 0, 0};
  long result = mm__call(SYS_mmap, to, bytes, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  if (mm__failed(result)) return result;
  if (!(range->protection & PROT_READ)) result = set_protection(&from, PROT_READ);
  if (mm__failed(result)) return after_change(trap, result);
  memcpy((void *)to, (const void *)low, kept);
  return after_change(trap, set_protection(&moved, range->protection));
}

/* Moves the first `kept` bytes of a mapping to a new place of `bytes`. */
static long move(struct mm__trap *trap, uint64_t low, uint64_t kept, uint64_t bytes, uint64_t to,
                 const struct mm__range *range) {
  struct mm__range moved = {to, to + bytes, range->protection, 0};
  long result = -EFAULT;
  if (!of_snapshot(trap, range)) {
    result = mm__call(SYS_mremap, low, kept, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, to);
    if (!mm__failed(result)) {
      result = mm__slot_reserve(low, kept);
      if (!mm__failed(result)) /* the guard may have closed it */
        result = set_protection(&moved, range->protection);
      after_change(trap, result);
    }
  }
  if (result == -EFAULT && !trap->serving) result = copy(trap, range, low, kept, bytes, to);
  if (mm__failed(result)) return result;
  result = keep_range(trap, to, bytes, range->protection, range->flags & MM__RANGE_FILE);
  if (!mm__failed(result)) result = each_piece(trap, low, low + kept, remove_piece, 0);
  return after_change(trap, result);
}

/* In place, into free slot space behind it, which is reserved: in a client more of the same
 * anonymous memory; in a server it may be a file's, so the reservation makes room first. */
static long grow_in_place(struct mm__trap *trap, uint64_t low, uint64_t old, uint64_t bytes,
                          const struct mm__range *range) {
  long result;
  if (!trap->serving && !(range->flags & MM__RANGE_FILE)) {
    result = mm__call(SYS_mmap, low + old, bytes - old, range->protection,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  } else {
    mm__call(SYS_munmap, low + old, bytes - old);
    result = mm__call(SYS_mremap, low, old, bytes, 0);
  }
  if (mm__failed(result)) {
    mm__slot_reserve(low + old, bytes - old);
    return result;
  }
  result = keep_range(trap, low + old, bytes - old, range->protection, range->flags);
  return mm__failed(result) ? result : (long)low;
}

long mm__memory_mremap(struct mm__trap *trap) {
  uint64_t low = (uint64_t)trap->arguments[0], old = mm__page_up((uint64_t)trap->arguments[1]),
           bytes = mm__page_up((uint64_t)trap->arguments[2]), to = (uint64_t)trap->arguments[4];
  long flags = trap->arguments[3];
  if (low % MM__PAGE || !bytes || !old || !in_slot(trap, low, old)) return -EINVAL;
  if (bytes > MM__SLOT_BYTES || (bytes > old && over_limit(trap, bytes - old))) return -ENOMEM;
  uint32_t i = mm__slot_map_find(&trap->state->map, low);
  /* mremap(2): the old range must be one mapping. */
  if (!mapped(trap, low, low + old)) return -EFAULT;
  struct mm__range range = trap->state->map.ranges[i];
  if (range.high < low + old) return -EFAULT;
  trap->state->map_changed = 1;
  if (flags & MREMAP_FIXED) {
    if (!(flags & MREMAP_MAYMOVE) || to % MM__PAGE || !in_slot(trap, to, bytes)) return -EINVAL;
    if (to < low + old && low < to + bytes) return -EINVAL;
    /* No error of mremap(2) says it: nothing is moved over the snapshot. */
    if (touches_snapshot(trap, to, to + bytes)) return -ENOMEM;
    long result = each_piece(trap, to, to + bytes, remove_piece, 0);
    if (mm__failed(result)) return result;
  } else if (bytes <= old) {
    long result = each_piece(trap, low + bytes, low + old, remove_piece, 0);
    return mm__failed(result) ? result : (long)low;
  } else {
    bool free_behind = in_slot(trap, low, bytes) &&
                       low + bytes <= slot_low(trap) + MM__MMAP_LIMIT_OFFSET &&
                       mm__slot_map_empty(&trap->state->map, low + old, low + bytes);
    if (free_behind && !of_snapshot(trap, &range))
      return grow_in_place(trap, low, old, bytes, &range);
    if (!(flags & MREMAP_MAYMOVE)) return -ENOMEM;
    to = place(trap, bytes);
    if (!to) return -ENOMEM;
  }
  uint64_t kept = old < bytes ? old : bytes;
  if (kept < old) {
    long result = each_piece(trap, low + kept, low + old, remove_piece, 0);
    if (mm__failed(result)) return result;
  }
  long result = move(trap, low, kept, bytes, to, &range);
  return mm__failed(result) ? result : (long)to;
}
