/* Compares what the parser makes of each generated type with what this program's compiler does: size,
 * alignment, the offset and size of every field, and the bits of every bit-field, which are set in a
 * value and then looked for where the registry says they are. Exit status 1: something differs. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "signature/builder.h"

#define MM_TYPE(...) __VA_ARGS__
#define TYPE(number, ...)                                                                          \
  __VA_ARGS__                                                                                      \
  static const char text##number[] = #__VA_ARGS__;

static struct mm__builder *builder;
static struct mm__registry view;
static const struct mm__type *type;
static const char *text;
static int failures;

static void fail(const char *what, uint64_t ours, uint64_t theirs) {
  failures++;
  printf("%s is %lu, the compiler says %lu: %s\n", what, ours, theirs, text);
}

static void declare(const char *declaration, const char *name, size_t size, size_t align) {
  struct mm_error error;
  const char *tag = strchr(name, ' ') + 1;
  text = declaration;
  type = NULL;
  if (mm__builder_declare(builder, declaration, &error) != MM_OK) {
    failures++;
    printf("%s\n", error.message);
    return;
  }
  mm__builder_view(builder, &view, &error);
  for (uint32_t i = 0; i < view.type_count; i++) {
    const struct mm__type *one = &view.types[i];
    bool is_aggregate = one->kind == MM__STRUCT || one->kind == MM__UNION;
    if (is_aggregate && !(one->flags & MM__TYPE_INCOMPLETE) &&
        !strcmp(view.strings + one->name, tag))
      type = one;
  }
  if (type->size != size) fail("the size", type->size, size);
  if (type->align != align) fail("the alignment", type->align, align);
}

/* Fields of what has no name count as those of what it is in. */
static const struct mm__member *find(const struct mm__type *in, const char *name,
                                     uint32_t *offset) {
  for (uint32_t i = 0; i < in->member_count; i++) {
    const struct mm__member *field = &view.members[in->first_member + i];
    const struct mm__member *found = NULL;
    uint32_t inside = *offset + mm__field_offset(field);
    if (strcmp(view.strings + field->name, name) == 0)
      found = field;
    else if (field->name == 0)
      found = find(&view.types[field->type], name, &inside);
    if (!found) continue;
    *offset = inside;
    return found;
  }
  return NULL;
}

static const struct mm__member *field_of(const char *name, uint32_t *offset) {
  *offset = 0;
  const struct mm__member *field = type ? find(type, name, offset) : NULL;
  if (type && !field) fail(name, ~0ul, 0);
  return field;
}

static void check_offset(const char *name, size_t offset, size_t size) {
  uint32_t ours;
  const struct mm__member *field = field_of(name, &ours);
  if (!field) return;
  if (ours != offset) fail(name, ours, offset);
  if (view.types[field->type].size != size) fail(name, view.types[field->type].size, size);
}

static void check_bits(const char *name, const void *value, size_t size) {
  uint8_t expected[size];
  uint32_t offset;
  const struct mm__member *field = field_of(name, &offset);
  if (!field) return;
  memset(expected, 0, size);
  for (uint32_t i = 0; i < mm__field_width(field); i++) {
    uint32_t bit = mm__field_shift(field) + i;
    if (offset + bit / 8 < size) expected[offset + bit / 8] |= (uint8_t)(1u << bit % 8);
  }
  if (memcmp(expected, value, size) != 0) fail(name, offset * 8 + mm__field_shift(field), ~0ul);
}

#define DECLARE(number, name)     declare(text##number, #name, sizeof(name), _Alignof(name))
#define OFFSET(name, field, size) check_offset(#field, offsetof(name, field), size)
#define BITS(name, field)                                                                          \
  do {                                                                                             \
    name value;                                                                                    \
    memset(&value, 0, sizeof value);                                                               \
    value.field = -1;                                                                              \
    check_bits(#field, &value, sizeof value);                                                      \
  } while (0)
#include "layouts.h"

int main(void) {
  struct mm_error error;
  builder = mm__builder_new();
  mm__builder_declare(builder, "enum e { E0, E5 = 5 };", &error);
  check_all();
  printf("%d failures\n", failures);
  return failures != 0;
}
