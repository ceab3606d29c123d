/* client/bits.c - bit-fields, bit by bit: they lie where the registry says, over any bytes. */
#include "client/client.h"

int64_t mm__bits_read(const struct mm__registry *registry, const struct mm__member *field,
                      const void *bytes) {
  const struct mm__type *type = &registry->types[field->type];
  if (type->kind == MM__ENUM) type = &registry->types[type->target];
  const uint8_t *from = bytes;
  uint32_t width = mm__field_width(field);
  uint64_t value = 0;
  for (uint32_t i = 0; i < width; i++) {
    uint32_t bit = mm__field_shift(field) + i;
    value |= (uint64_t)(from[bit / 8] >> bit % 8 & 1) << i;
  }
  bool is_negative = type->kind == MM__SIGNED && value >> (width - 1) & 1;
  return (int64_t)(is_negative ? value | ~(UINT64_MAX >> (64 - width)) : value);
}

void mm__bits_write(const struct mm__member *field, void *bytes, int64_t value) {
  uint8_t *to = bytes;
  for (uint32_t i = 0; i < mm__field_width(field); i++) {
    uint32_t bit = mm__field_shift(field) + i;
    uint8_t mask = (uint8_t)(1u << bit % 8);
    to[bit / 8] = (uint8_t)((to[bit / 8] & ~mask) | ((uint64_t)value >> i & 1 ? mask : 0));
  }
}
