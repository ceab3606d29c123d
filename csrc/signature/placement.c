/* signature/placement.c - a layout is tried as the compiler would make it, field by field; where it
 * differs, what is said is changed. */
#include "signature/placement.h"

#define ALIGN_LIMIT 4096u

static uint64_t round_up(uint64_t bits, uint64_t bytes) {
  return (bits + bytes * 8 - 1) & -(bytes * 8);
}

/* Whether it lies where its type alone could put it. */
static bool is_natural(const struct mm__placed *field) {
  if (field->unit) return field->place % field->unit + field->bits <= field->unit;
  return field->place % (field->align * 8ull) == 0;
}

static bool needs_packing(const struct mm__placement *whole, const struct mm__placed *fields,
                          uint32_t count) {
  uint32_t align = 1;
  for (uint32_t i = 0; i < count; i++) {
    if (!is_natural(&fields[i])) return true;
    if (fields[i].align > align) align = fields[i].align;
  }
  return whole->bytes % align != 0 || (whole->align && whole->align < align);
}

/* The alignment, more than `least`, that takes `from` to `to`. 0: none that the whole allows. */
static uint32_t step(const struct mm__placement *whole, uint64_t from, uint64_t to,
                     uint32_t least) {
  uint32_t most = whole->align ? whole->align : ALIGN_LIMIT;
  for (uint32_t align = 2 * least; align <= most; align *= 2)
    if (round_up(from, align) == to && whole->bytes % align == 0) return align;
  return 0;
}

static bool fill(uint64_t from, uint64_t to, uint32_t *filling) {
  if (to < from || to - from > MM__FILLING_LIMIT) return false;
  *filling = (uint32_t)(to - from);
  return true;
}

/* `align`: of the whole, so far. */
static bool place(const struct mm__placement *whole, struct mm__placed *field, uint64_t end,
                  uint32_t *align) {
  uint32_t own = whole->is_packed ? 1 : field->align;
  bool is_bits = field->unit != 0, can_say = !is_bits && !field->is_anonymous;
  uint64_t at = end;
  field->aligned = field->filling = 0;
  if (can_say && field->wanted > own) own = field->aligned = field->wanted;
  if (!is_bits)
    at = round_up(end, own);
  else if (!whole->is_packed && end % field->unit + field->bits > field->unit)
    at = round_up(end, field->align);
  if (at != field->place && can_say && !whole->is_guess) {
    uint32_t wider = step(whole, end, field->place, own);
    if (wider) own = field->aligned = wider;
    if (wider) at = field->place;
  }
  if (at != field->place && (whole->is_union || !fill(end, field->place, &field->filling)))
    return false;
  if (own > *align) *align = own;
  return true;
}

/* What comes behind the fields, which end at `end`. */
static bool close_whole(struct mm__placement *whole, uint64_t end, uint32_t align) {
  uint64_t bits = whole->bytes * 8;
  whole->aligned = whole->filling = 0;
  if (whole->align > align) align = whole->aligned = whole->align;
  if (!whole->align && round_up(end, align) != bits && !whole->is_guess) {
    uint32_t wider = step(whole, end, bits, align);
    if (wider) align = whole->aligned = wider;
  }
  if (whole->align && whole->align != align) return false;
  whole->align = align;
  return round_up(end, align) == bits ||
         (bits % (align * 8ull) == 0 && !whole->is_union && fill(end, bits, &whole->filling));
}

bool mm__place_fields(struct mm__placement *whole, struct mm__placed *fields, uint32_t count) {
  uint64_t end = 0;
  uint32_t align = 1;
  whole->is_packed = needs_packing(whole, fields, count);
  for (uint32_t i = 0; i < count; i++) {
    if (!place(whole, &fields[i], whole->is_union ? 0 : end, &align)) return false;
    uint64_t behind = fields[i].place + fields[i].bits;
    if (behind > end) end = behind;
  }
  return close_whole(whole, end, align);
}
