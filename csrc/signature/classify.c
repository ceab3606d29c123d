/* signature/classify.c - the classes of psABI x86-64 3.2.3, and the registers that arguments use
 * up. */
#include "signature/classify.h"

static uint16_t bytes_mask(uint32_t size) { return (uint16_t)((1u << size) - 1); }

/* 3.2.3, "Classification", step 4: INTEGER wins, then x87 with anything else is MEMORY. */
enum mm__class mm__classify_eightbyte(const struct mm__passing *passing, unsigned which) {
  uint16_t mask = which ? 0xff00 : 0x00ff;
  if (passing->integer & mask) return MM__INTEGER;
  if (passing->x87 & mask) return passing->sse & mask ? MM__MEMORY : MM__X87;
  return passing->sse & mask ? MM__SSE : MM__NO_CLASS;
}

/* A part that is MEMORY makes the whole MEMORY, whatever comes later. */
static void merge(struct mm__passing *whole, const struct mm__type *type,
                  const struct mm__passing *part, uint64_t offset) {
  if (type->size == 0) return;
  if (part->memory || offset + type->size > 16) {
    whole->memory = true;
    return;
  }
  for (unsigned i = 0; i < sizeof part->begin / sizeof *part->begin; i++)
    whole->begin[i] |= (uint16_t)(part->begin[i] << offset);
  whole->integer |= (uint16_t)(part->integer << offset);
  whole->sse |= (uint16_t)(part->sse << offset);
  whole->x87 |= (uint16_t)(part->x87 << offset);
  for (unsigned i = 0; i < 2; i++) whole->memory |= mm__classify_eightbyte(whole, i) == MM__MEMORY;
}

/* Step 5, the clean-up: the upper half of an x87 value counts only behind its lower half. */
static void clean_up(struct mm__passing *whole) {
  if (mm__classify_eightbyte(whole, 1) == MM__X87 && mm__classify_eightbyte(whole, 0) != MM__X87)
    whole->memory = true;
}

static struct mm__passing classify_parts(const struct mm__registry *registry,
                                         const struct mm__type *type,
                                         const struct mm__passing *passing) {
  struct mm__passing whole = {.memory = type->size > 16};
  if (type->kind == MM__ARRAY) {
    const struct mm__type *element = &registry->types[type->target];
    for (uint64_t i = 0; i < type->length && element->size && !whole.memory; i++)
      merge(&whole, element, &passing[type->target], i * element->size);
    return whole;
  }
  for (uint32_t i = 0; i < type->member_count && !whole.memory; i++) {
    const struct mm__member *field = &registry->members[type->first_member + i];
    uint32_t offset = mm__field_offset(field), width = mm__field_width(field);
    if (width) /* as gcc and clang do: INTEGER, wherever it lies */
      whole.integer |= (uint16_t)(bytes_mask((mm__field_shift(field) + width + 7) / 8) << offset);
    else
      merge(&whole, &registry->types[field->type], &passing[field->type], offset);
  }
  clean_up(&whole);
  return whole;
}

struct mm__passing mm__classify(const struct mm__registry *registry, uint32_t index,
                                const struct mm__passing *passing) {
  const struct mm__type *type = &registry->types[index];
  uint32_t align = type->size; /* a scalar's */
  struct mm__passing scalar = {0};
  switch (type->kind) {
  case MM__VOID:
  case MM__FUNCTION:
    return scalar;
  case MM__ARRAY:
  case MM__STRUCT:
  case MM__UNION:
    return classify_parts(registry, type, passing);
  case MM__COMPLEX: /* as a struct of its two halves */
    if (type->size == 32) return (struct mm__passing){.memory = true};
    scalar.sse = bytes_mask(type->size);
    align /= 2;
    break;
  case MM__FLOAT:
    *(type->size == 16 ? &scalar.x87 : &scalar.sse) = bytes_mask(type->size);
    break;
  default:
    scalar.integer = bytes_mask(type->size);
  }
  scalar.begin[__builtin_ctz(align)] = 1;
  return scalar;
}

static bool has_unaligned(const struct mm__passing *passing) {
  static const uint16_t multiples[] = {0xffff, 0x5555, 0x1111, 0x0101, 0x0001};
  for (unsigned i = 0; i < sizeof multiples / sizeof *multiples; i++)
    if (passing->begin[i] & ~multiples[i]) return true;
  return false;
}

static bool in_memory(const struct mm__passing *passing) {
  return passing->memory || has_unaligned(passing);
}

bool mm__classify_take(const struct mm__passing *passing, struct mm__registers *left) {
  unsigned wanted[MM__MEMORY + 1] = {0};
  for (unsigned i = 0; i < 2; i++) wanted[mm__classify_eightbyte(passing, i)]++;
  if (in_memory(passing) || wanted[MM__X87] || wanted[MM__INTEGER] > left->integers ||
      wanted[MM__SSE] > left->sses)
    return false;
  left->integers -= wanted[MM__INTEGER];
  left->sses -= wanted[MM__SSE];
  return true;
}

/* A complex long double comes back in st(0) and st(1): 3.2.3, "Returning of Values", COMPLEX_X87.
 */
bool mm__classify_returns_memory(const struct mm__type *type, const struct mm__passing *passing) {
  return type->kind != MM__COMPLEX && type->size != 0 && in_memory(passing);
}

uint64_t mm__classify_stack_bytes(const struct mm__registry *registry, uint32_t function,
                                  const struct mm__passing *passing) {
  const struct mm__type *type = &registry->types[function];
  struct mm__registers left = MM__ALL_REGISTERS;
  uint64_t bytes = 0;
  if (mm__classify_returns_memory(&registry->types[type->target], &passing[type->target]))
    left.integers--;
  for (uint32_t i = 0; i < type->member_count; i++) {
    uint32_t index = registry->members[type->first_member + i].type;
    const struct mm__type *of = &registry->types[index];
    if (of->size == 0 || mm__classify_take(&passing[index], &left)) continue;
    uint64_t align = of->align > 8 ? of->align : 8;
    bytes = (bytes + align - 1) & -align;
    bytes += ((uint64_t)of->size + 7) & -(uint64_t)8;
  }
  return bytes;
}
