/* launch/spelling/layout.c - whether the compiler laid a struct or union out as its declaration
 * alone says: not packed, not aligned otherwise (psABI x86-64 3.1.2). Else its declaration would
 * lie. */
#include "launch/spelling/parts.h"

#define STEP_LIMIT 100000u /* hostile types name each other many times over */

static const char damaged[] = "its debug information is damaged";
static const char otherwise[] = "it is not laid out as its fields alone say (packed, or aligned?)";

struct layout {
  uint64_t end, size, align; /* in bits; where the last field ends, where any does, the strictest */
  uint32_t steps;
};

static bool number_of(Dwarf_Die *die, unsigned name, uint64_t *number) {
  Dwarf_Attribute attribute;
  Dwarf_Word word;
  if (!dwarf_attr(die, name, &attribute) || dwarf_formudata(&attribute, &word) != 0) return false;
  *number = word;
  return true;
}

static bool is_static(Dwarf_Die *member) {
  return dwarf_hasattr(member, DW_AT_external) || dwarf_hasattr(member, DW_AT_declaration);
}

static bool type_of(Dwarf_Die *die, Dwarf_Die *type) {
  Dwarf_Attribute attribute;
  return dwarf_attr_integrate(die, DW_AT_type, &attribute) && dwarf_formref_die(&attribute, type);
}

/* In bytes; 0: not known. */
static uint64_t align_of(Dwarf_Die *die, uint32_t depth, uint32_t *steps) {
  Dwarf_Die type, member;
  uint64_t bytes = 0, align = 1;
  if (depth == 0 || ++*steps > STEP_LIMIT) return 0;
  switch (dwarf_tag(die)) {
  case DW_TAG_base_type:
  case DW_TAG_enumeration_type:
    return number_of(die, DW_AT_byte_size, &bytes) ? bytes : 0;
  case DW_TAG_pointer_type:
  case DW_TAG_reference_type:
  case DW_TAG_rvalue_reference_type:
    return 8;
  case DW_TAG_structure_type:
  case DW_TAG_class_type:
  case DW_TAG_union_type:
    for (int more = dwarf_child(die, &member); more == 0 && align;
         more = dwarf_siblingof(&member, &member)) {
      if (dwarf_tag(&member) != DW_TAG_member || is_static(&member)) continue;
      bytes = type_of(&member, &type) ? align_of(&type, depth - 1, steps) : 0;
      if (bytes == 0 || bytes > align) align = bytes;
    }
    return align;
  default: /* a typedef, a qualifier, an array */
    return type_of(die, &type) ? align_of(&type, depth - 1, steps) : 0;
  }
}

static uint64_t round_up(uint64_t bits, uint64_t unit) { return (bits + unit - 1) / unit * unit; }

/* DWARF 5 counts from the start of the struct; before, from the last bit of the field's unit. */
static bool bit_place(Dwarf_Die *member, uint64_t unit_bits, uint64_t width, uint64_t *place) {
  uint64_t location = 0, from_end, unit = unit_bits / 8;
  if (number_of(member, DW_AT_data_bit_offset, place)) return true;
  number_of(member, DW_AT_data_member_location, &location);
  number_of(member, DW_AT_byte_size, &unit);
  if (!number_of(member, DW_AT_bit_offset, &from_end)) return false;
  *place = location * 8 + unit * 8 - from_end - width;
  return true;
}

static const char *place_member(struct layout *layout, Dwarf_Die *member, bool is_union) {
  Dwarf_Die type;
  Dwarf_Word size = 0;
  uint64_t place = 0, width, start = is_union ? 0 : layout->end;
  if (!type_of(member, &type)) return damaged;
  uint64_t align = 8 * align_of(&type, MM__SPELLING_DEPTH, &layout->steps);
  /* A flexible array has no size. */
  if (dwarf_aggregate_size(&type, &size) != 0 || align == 0) size = 0;
  if (align == 0 || size > UINT32_MAX) return damaged;
  if (dwarf_hasattr(member, DW_AT_alignment)) return otherwise;
  if (number_of(member, DW_AT_bit_size, &width)) {
    uint64_t unit = size * 8;
    if (width == 0 || width > unit || !bit_place(member, unit, width, &place)) return damaged;
    if (start % unit + width > unit) start = round_up(start, unit);
  } else {
    if (!number_of(member, DW_AT_data_member_location, &place) &&
        dwarf_hasattr(member, DW_AT_data_member_location))
      return damaged;
    if (place > UINT32_MAX) return damaged;
    place *= 8;
    width = size * 8;
    start = round_up(start, align);
  }
  if (place != start) return otherwise;
  layout->end = start + width;
  if (layout->end > layout->size) layout->size = layout->end;
  if (align > layout->align) layout->align = align;
  return NULL;
}

const char *mm__layout_wrong(Dwarf_Die *aggregate) {
  struct layout layout = {.align = 8};
  Dwarf_Die member;
  uint64_t bytes;
  const char *wrong = NULL;
  bool is_union = dwarf_tag(aggregate) == DW_TAG_union_type;
  if (dwarf_hasattr(aggregate, DW_AT_alignment)) return otherwise;
  for (int more = dwarf_child(aggregate, &member); more == 0 && !wrong;
       more = dwarf_siblingof(&member, &member))
    if (dwarf_tag(&member) == DW_TAG_member && !is_static(&member))
      wrong = place_member(&layout, &member, is_union);
  if (wrong) return wrong;
  if (!number_of(aggregate, DW_AT_byte_size, &bytes)) return damaged;
  return round_up(layout.size, layout.align) == bytes * 8 ? NULL : otherwise;
}
