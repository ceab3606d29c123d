/* binding/show.c - what lies behind a pointer, as one readable line. Whatever the image's memory
 * holds, this raises nothing. */
#include "binding/binding.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define LINE_BYTES   400u
#define OBJECT_BYTES 4096u /* of what is read at all */
#define ELEMENTS     16u
#define DUMPED       16u /* bytes of a buffer */
#define DEEPEST      8

struct line {
  const struct mm__lua_pointer *pointer;
  char text[LINE_BYTES + 1];
  size_t length;
  bool is_cut;
};

static void put(struct line *line, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void put(struct line *line, const char *format, ...) {
  size_t room = LINE_BYTES - line->length;
  va_list list;
  if (line->is_cut) return;
  va_start(list, format);
  int length = vsnprintf(line->text + line->length, room + 1, format, list);
  va_end(list);
  if ((size_t)length <= room) {
    line->length += (size_t)length;
  } else {
    line->is_cut = true;
    memcpy(line->text + LINE_BYTES - 4, " ...", 5);
  }
}

/* A control character beyond ASCII, as UTF-8 has it. */
static bool is_c1(const char *text, size_t length) {
  return length > 1 && (uint8_t)text[0] == 0xc2 && ((uint8_t)text[1] & 0xe0) == 0x80;
}

static void put_quoted(struct line *line, const char *text, size_t length) {
  put(line, "\"");
  for (size_t i = 0; i < length && !line->is_cut; i++) {
    unsigned char c = (unsigned char)text[i];
    if (c == '"' || c == '\\')
      put(line, "\\%c", c);
    else if (c < 32 || c == 127 || is_c1(text + i, length - i))
      put(line, "\\%u", c);
    else if (i > 0 && is_c1(text + i - 1, 2))
      put(line, "\\%u", c);
    else
      put(line, "%c", c);
  }
  put(line, "\"");
}

static void put_enum(struct line *line, const struct mm__type *type, int64_t integer) {
  const struct mm__registry *registry = line->pointer->registry;
  for (uint32_t i = 0; i < type->member_count; i++) {
    const struct mm__member *constant = &registry->members[type->first_member + i];
    if (constant->value != integer) continue;
    put(line, "%s", registry->strings + constant->name);
    return;
  }
  put(line, "%lld", (long long)integer);
}

static void put_string(struct line *line, uint64_t address) {
  const struct mm__lua_pointer *pointer = line->pointer;
  struct mm__value value;
  struct mm_error error;
  if (!address)
    put(line, "nil");
  else if (mm__image_text(pointer->image->handle, pointer->generation, address, &value, &error) ==
           MM_OK)
    put_quoted(line, value.as.string, value.length);
  else
    put(line, "0x%llx", (unsigned long long)address);
}

static bool put_integer(struct line *line, const struct mm__type *type, int64_t integer) {
  if (type->kind == MM__BOOL)
    put(line, "%s", integer ? "true" : "false");
  else if (type->kind == MM__ENUM)
    put_enum(line, type, integer);
  else if (type->kind == MM__UNSIGNED)
    put(line, "%llu", (unsigned long long)integer);
  else if (type->kind == MM__SIGNED)
    put(line, "%lld", (long long)integer);
  else
    return false;
  return true;
}

static void put_float(struct line *line, uint32_t size, const uint8_t *bytes) {
  struct mm__value value;
  memcpy(&value.as, bytes, size);
  put(line, "%.14Lg",
      size == 4   ? (long double)value.as.single
      : size == 8 ? (long double)value.as.number
                  : value.as.extended);
}

static void put_complex(struct line *line, uint32_t size, const uint8_t *bytes) {
  put(line, "{ re = ");
  put_float(line, size / 2, bytes);
  put(line, ", im = ");
  put_float(line, size / 2, bytes + size / 2);
  put(line, " }");
}

static void put_scalar(struct line *line, uint32_t index, const uint8_t *bytes) {
  const struct mm__type *type = &line->pointer->registry->types[index];
  struct mm__value value;
  mm__value_read(line->pointer->registry, index, bytes, &value);
  if (put_integer(line, type, value.as.integer)) return;
  if (type->kind == MM__FLOAT)
    put_float(line, type->size, bytes);
  else if (type->kind == MM__STRING)
    put_string(line, (uint64_t)value.as.string);
  else if (type->kind == MM__POINTER && value.as.pointer)
    put(line, "0x%llx", (unsigned long long)(uint64_t)value.as.pointer);
  else
    put(line, type->kind == MM__POINTER ? "nil" : "?");
}

static void put_value(struct line *line, uint32_t index, const uint8_t *bytes, int depth);

static void put_fields(struct line *line, uint32_t index, const uint8_t *bytes, int depth) {
  const struct mm__registry *registry = line->pointer->registry;
  const struct mm__type *type = &registry->types[index];
  for (uint32_t i = 0; i < type->member_count && !line->is_cut; i++) {
    const struct mm__member *member = &registry->members[type->first_member + i];
    if (i) put(line, ", ");
    const uint8_t *at = bytes + mm__field_offset(member);
    if (mm__record_is_anonymous(registry, member)) {
      put_fields(line, member->type, at, depth + 1);
      continue;
    }
    put(line, "%s = ", registry->strings + member->name);
    if (mm__field_width(member))
      put_integer(line, &registry->types[member->type], mm__bits_read(registry, member, at));
    else
      put_value(line, member->type, at, depth + 1);
  }
}

static void put_elements(struct line *line, uint32_t index, uint64_t count, const uint8_t *bytes,
                         int depth) {
  const struct mm__registry *registry = line->pointer->registry;
  uint32_t size = registry->types[index].size;
  if (strcmp(registry->strings + registry->types[index].name, "char") == 0) {
    put_quoted(line, (const char *)bytes, strnlen((const char *)bytes, count));
    return;
  }
  put(line, "{ ");
  for (uint64_t i = 0; i < count && i < ELEMENTS && !line->is_cut; i++) {
    if (i) put(line, ", ");
    put_value(line, index, bytes + i * size, depth + 1);
  }
  put(line, count > ELEMENTS ? ", ... }" : " }");
}

static void put_value(struct line *line, uint32_t index, const uint8_t *bytes, int depth) {
  const struct mm__type *type = &line->pointer->registry->types[index];
  if (depth > DEEPEST) {
    put(line, "...");
  } else if (type->kind == MM__ARRAY) {
    put_elements(line, type->target, type->length, bytes, depth);
  } else if (type->kind == MM__STRUCT || type->kind == MM__UNION) {
    put(line, "{ ");
    put_fields(line, index, bytes, depth);
    put(line, " }");
  } else if (type->kind == MM__COMPLEX) {
    put_complex(line, type->size, bytes);
  } else {
    put_scalar(line, index, bytes);
  }
}

/* --- the three looks: a buffer, an object, an address --- */

static void put_buffer(struct line *line, const uint8_t *bytes, uint64_t size) {
  uint64_t shown = size < DUMPED ? size : DUMPED;
  put(line, "buffer of %llu byte%s%s", (unsigned long long)size, size == 1 ? "" : "s",
      shown ? ":" : "");
  for (uint64_t i = 0; i < shown; i++) put(line, " %02x", bytes[i]);
  if (size > shown) put(line, " ...");
  if (shown) put(line, "  ");
  for (uint64_t i = 0; i < shown; i++)
    put(line, "%c", bytes[i] >= 32 && bytes[i] < 127 ? bytes[i] : '.');
}

static void put_object(struct line *line, const uint8_t *bytes, uint64_t size) {
  const struct mm__lua_pointer *pointer = line->pointer;
  uint32_t element = pointer->registry->types[pointer->target].size;
  char type[160];
  mm__type_text(pointer->registry, pointer->target, NULL, type, sizeof type);
  put(line, "%s%s", pointer->is_const ? "const " : "", type);
  if (!pointer->is_array) {
    put(line, " ");
    put_value(line, pointer->target, bytes, 0);
    return;
  }
  put(line, "[%llu] ", (unsigned long long)(size / element));
  put_elements(line, pointer->target, size / element, bytes, 0);
}

static void put_address(struct line *line) {
  const struct mm__lua_pointer *pointer = line->pointer;
  char type[160] = "pointer";
  if (pointer->image->handle) mm__pointer_type_text(pointer, type, sizeof type);
  put(line, "%s 0x%lx of %.200s%s", type, pointer->address, mm__image_name(pointer->image),
      pointer->memory && !pointer->memory->address ? " (freed)" : "");
}

/* Whether the pointer's object is worth to be read; then it is. */
static bool read_object(const struct mm__lua_pointer *pointer, uint8_t *bytes, uint64_t *size) {
  const struct mm__type *type = &pointer->registry->types[pointer->target];
  bool is_record = type->kind == MM__STRUCT || type->kind == MM__UNION;
  bool is_buffer = mm__pointer_is_buffer(pointer);
  struct mm_error error;
  *size = pointer->high - pointer->address;
  if (pointer->memory && !pointer->memory->address) return false;
  if (!pointer->is_array && !is_record) return false;
  if (!pointer->is_array) *size = type->size;
  uint64_t wanted = is_buffer && *size > DUMPED ? DUMPED : *size;
  return (wanted || is_buffer) && type->size && wanted <= OBJECT_BYTES &&
         *size <= pointer->high - pointer->address &&
         mm__image_read(pointer->image->handle, pointer->generation, pointer->address, bytes,
                        wanted, &error) == MM_OK;
}

int mm__pointer_type(lua_State *L) {
  const struct mm__lua_pointer *pointer = mm__self(L, 1, MM__POINTER_OBJECT, sizeof *pointer);
  char type[1024];
  if (!pointer->image->handle) return 0;
  mm__pointer_type_text(pointer, type, sizeof type);
  lua_pushstring(L, type);
  mm__push_link(L, 1);
  lua_rawgeti(L, -1, 2); /* image.c says what is in a link */
  lua_remove(L, -2);
  return 2;
}

int mm__pointer_show(lua_State *L) {
  const struct mm__lua_pointer *pointer = mm__self(L, 1, MM__POINTER_OBJECT, sizeof *pointer);
  struct line line = {.pointer = pointer};
  uint8_t bytes[OBJECT_BYTES];
  uint64_t size;
  if (!pointer->image->handle || !read_object(pointer, bytes, &size))
    put_address(&line);
  else if (mm__pointer_is_buffer(pointer))
    put_buffer(&line, bytes, size);
  else
    put_object(&line, bytes, size);
  lua_pushstring(L, line.text);
  return 1;
}
