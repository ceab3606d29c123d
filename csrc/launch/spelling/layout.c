/* launch/spelling/layout.c - how the compiler laid a struct or union out, and what its declaration
 * has to say for the same: packed, aligned, bit-fields without a name (psABI x86-64 3.1.2). The
 * debug information tells neither of the first, unless it is an alignment that was said, nor of the
 * last. */
#include "launch/spelling/parts.h"

#include <stdlib.h>
#include <string.h>

#define STEP_LIMIT 100000u /* hostile types name each other many times over */

static const char damaged[] = "its debug information is damaged";
static const char otherwise[] = "no declaration in C lays it out so";

static bool number_of(Dwarf_Die *die, unsigned name, uint64_t *number) {
  Dwarf_Attribute attribute;
  Dwarf_Word word;
  if (!dwarf_attr(die, name, &attribute) || dwarf_formudata(&attribute, &word) != 0) return false;
  *number = word;
  return true;
}

static bool type_of(Dwarf_Die *die, Dwarf_Die *type) {
  Dwarf_Attribute attribute;
  return dwarf_attr_integrate(die, DW_AT_type, &attribute) && dwarf_formref_die(&attribute, type);
}

static uint32_t alignment_said(Dwarf_Die *die) {
  uint64_t bytes;
  return number_of(die, DW_AT_alignment, &bytes) && bytes <= UINT16_MAX ? (uint32_t)bytes : 0;
}

static bool is_complex(Dwarf_Die *base) {
  uint64_t encoding;
  return number_of(base, DW_AT_encoding, &encoding) && encoding == DW_ATE_complex_float;
}

static const char *lay_out(Dwarf_Die *aggregate, uint32_t depth, uint32_t *steps,
                           struct mm__layout *layout);

/* In bytes, without what typedefs say; 0: not known. */
static uint32_t align_of(Dwarf_Die *die, uint32_t depth, uint32_t *steps) {
  struct mm__layout layout;
  Dwarf_Die type;
  uint64_t bytes;
  const char *wrong;
  if (depth == 0 || ++*steps > STEP_LIMIT) return 0;
  switch (dwarf_tag(die)) {
  case DW_TAG_base_type:
    if (!number_of(die, DW_AT_byte_size, &bytes) || bytes > 32) return 0;
    return (uint32_t)(is_complex(die) ? bytes / 2 : bytes);
  case DW_TAG_enumeration_type:
    return number_of(die, DW_AT_byte_size, &bytes) && bytes <= 16 ? (uint32_t)bytes : 0;
  case DW_TAG_pointer_type:
  case DW_TAG_reference_type:
  case DW_TAG_rvalue_reference_type:
    return 8;
  case DW_TAG_structure_type:
  case DW_TAG_class_type:
  case DW_TAG_union_type:
    wrong = lay_out(die, depth - 1, steps, &layout);
    free(layout.fields);
    return wrong ? 0 : layout.whole.align;
  default: /* a typedef, a qualifier, an array */
    return type_of(die, &type) ? align_of(&type, depth - 1, steps) : 0;
  }
}

/* The most that the field, and the typedefs of its type, say. */
static uint32_t wanted_of(Dwarf_Die *member, Dwarf_Die type) {
  uint32_t wanted = alignment_said(member);
  for (unsigned i = 0; i < MM__SPELLING_DEPTH; i++) {
    int tag = dwarf_tag(&type);
    if (tag != DW_TAG_typedef && !mm__dwarf_is_qualifier(tag)) break;
    if (alignment_said(&type) > wanted) wanted = alignment_said(&type);
    if (!type_of(&type, &type)) break;
  }
  return wanted;
}

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

static const char *find_member(Dwarf_Die *member, uint32_t depth, uint32_t *steps,
                               struct mm__placed *field) {
  Dwarf_Die type;
  Dwarf_Word size = 0;
  uint64_t location = 0, width;
  if (!type_of(member, &type)) return damaged;
  field->align = align_of(&type, depth, steps);
  field->wanted = wanted_of(member, type);
  field->is_anonymous = !dwarf_diename(member);
  /* A flexible array has no size. */
  if (dwarf_aggregate_size(&type, &size) != 0) size = 0;
  if (field->align == 0 || size > UINT32_MAX) return damaged;
  field->bits = size * 8;
  if (number_of(member, DW_AT_bit_size, &width)) {
    field->unit = (uint32_t)size * 8;
    field->bits = width;
    if (width == 0 || width > size * 8 || size > 8) return damaged;
    return bit_place(member, size * 8, width, &field->place) ? NULL : damaged;
  }
  if (!number_of(member, DW_AT_data_member_location, &location) &&
      dwarf_hasattr(member, DW_AT_data_member_location))
    return damaged;
  field->place = location * 8;
  return location > UINT32_MAX ? damaged : NULL;
}

bool mm__layout_has(Dwarf_Die *member) {
  return dwarf_tag(member) == DW_TAG_member && !dwarf_hasattr(member, DW_AT_external) &&
         !dwarf_hasattr(member, DW_AT_declaration);
}

static bool grow(struct mm__layout *layout) {
  uint32_t capacity = 8;
  while (capacity <= layout->count) capacity *= 2;
  if (layout->fields && layout->count != capacity / 2) return true;
  void *more = realloc(layout->fields, capacity * sizeof *layout->fields);
  if (more) layout->fields = more;
  return more;
}

static const char *lay_out(Dwarf_Die *aggregate, uint32_t depth, uint32_t *steps,
                           struct mm__layout *layout) {
  Dwarf_Die member;
  uint64_t bytes;
  const char *wrong = NULL;
  memset(layout, 0, sizeof *layout);
  if (!number_of(aggregate, DW_AT_byte_size, &bytes) || bytes > UINT32_MAX) return damaged;
  for (int more = dwarf_child(aggregate, &member); more == 0 && !wrong;
       more = dwarf_siblingof(&member, &member)) {
    if (!mm__layout_has(&member)) continue;
    if (!grow(layout)) return "out of memory";
    memset(&layout->fields[layout->count], 0, sizeof *layout->fields);
    wrong = find_member(&member, depth, steps, &layout->fields[layout->count++]);
  }
  if (wrong) return wrong;
  layout->whole = (struct mm__placement){.bytes = bytes,
                                         .align = alignment_said(aggregate),
                                         .is_union = dwarf_tag(aggregate) == DW_TAG_union_type,
                                         .is_guess = true};
  return mm__place_fields(&layout->whole, layout->fields, layout->count) ? NULL : otherwise;
}

const char *mm__layout_of(Dwarf_Die *aggregate, struct mm__layout *layout) {
  uint32_t steps = 0;
  return lay_out(aggregate, MM__SPELLING_DEPTH, &steps, layout);
}
