/* binding/layout.c - types as LuaJIT's FFI reads them, without tags: what it is told of tags is the
 * same for the whole process and stays, while two images may mean different things by one. */
#include "binding/binding.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#define DEEPEST 60

/* A type that is being written. */
struct layout {
  lua_State *L;
  const struct mm__registry *registry;
  luaL_Buffer *text;
  int depth;
};

static void put(struct layout *layout, const char *text) { luaL_addstring(layout->text, text); }

/* A field's name comes from the image, and could be anything but a name. */
static bool is_name(const char *name) {
  if (!isalpha((unsigned char)*name) && *name != '_') return false;
  while (isalnum((unsigned char)*name) || *name == '_') name++;
  return !*name;
}

static const char *scalar(const struct mm__registry *registry, const struct mm__type *type) {
  static const char *const signed_words[] = {"int8_t", "int16_t", "int32_t", "int64_t"};
  static const char *const unsigned_words[] = {"uint8_t", "uint16_t", "uint32_t", "uint64_t"};
  if (type->kind == MM__ENUM) type = &registry->types[type->target];
  if (strcmp(registry->strings + type->name, "char") == 0) return "char";
  unsigned power = (unsigned)__builtin_ctz(type->size ? type->size : 1) & 3;
  switch (type->kind) {
  case MM__BOOL:
    return "bool";
  case MM__SIGNED:
    return signed_words[power];
  case MM__UNSIGNED:
    return unsigned_words[power];
  case MM__FLOAT:
    return type->size == 4 ? "float" : type->size == 8 ? "double" : "long double";
  case MM__COMPLEX:
    return type->size == 8 ? "complex float" : "complex double";
  case MM__STRING:
    return "const char *";
  default:
    return "void *";
  }
}

static void put_type(struct layout *layout, uint32_t index, const char *name);

static _Noreturn void refuse(const struct layout *layout, const char *what) {
  mm__raise(layout->L, MM_ERROR_UNSUPPORTED, "cdata: the type has %s", what);
}

/* Where the FFI puts a field: at the next place that its alignment allows (psABI 3.1.2). It has to
 * be where C has put it, which may have been told otherwise. */
static void check_place(const struct layout *layout, const struct mm__member *member,
                        uint64_t *end) {
  const struct mm__type *type = &layout->registry->types[member->type];
  uint64_t place = (*end + type->align - 1) & -(uint64_t)type->align;
  if ((uint64_t)member->value >> 32 != 0) refuse(layout, "a bit-field");
  if (place != (uint32_t)member->value) refuse(layout, "a field in an unusual place");
  *end = place + type->size;
}

static void put_fields(struct layout *layout, const struct mm__type *type) {
  uint64_t end = 0;
  uint32_t align = 1;
  for (uint32_t i = 0; i < type->member_count; i++) {
    const struct mm__member *member = &layout->registry->members[type->first_member + i];
    const char *name = layout->registry->strings + member->name;
    if (!is_name(name) && !mm__record_is_anonymous(layout->registry, member))
      refuse(layout, "a field without a name");
    if (type->kind == MM__UNION) end = 0;
    check_place(layout, member, &end);
    if (layout->registry->types[member->type].align > align)
      align = layout->registry->types[member->type].align;
    put_type(layout, member->type, name);
    put(layout, "; ");
  }
  if (align != type->align) refuse(layout, "an unusual alignment");
}

static void put_type(struct layout *layout, uint32_t index, const char *name) {
  const struct mm__type *type = &layout->registry->types[index];
  char lengths[200] = "";
  size_t end = 0;
  for (; type->kind == MM__ARRAY; type = &layout->registry->types[type->target]) {
    end += (size_t)snprintf(lengths + end, sizeof lengths - end, "[%u]", type->length);
    if (end >= sizeof lengths) refuse(layout, "too many dimensions");
  }
  if (++layout->depth > DEEPEST) refuse(layout, "too much inside each other");
  if (type->kind == MM__STRUCT || type->kind == MM__UNION) {
    put(layout, type->kind == MM__STRUCT ? "struct { " : "union { ");
    put_fields(layout, type);
    put(layout, "} ");
  } else {
    if (type->kind == MM__COMPLEX && type->size > 16) refuse(layout, "complex long doubles");
    /* Each scalar is const: the FFI does not take it from a struct to the arrays in it. */
    put(layout, scalar(layout->registry, type));
    put(layout, " const ");
  }
  put(layout, name);
  put(layout, lengths);
  layout->depth--;
}

int mm__view_layout(lua_State *L) {
  const struct mm__lua_pointer *pointer = mm__object_at(L, 1, MM__POINTER_OBJECT, sizeof *pointer);
  char text[200];
  struct mm_image_info info;
  struct mm_error error;
  luaL_Buffer buffer;
  if (!pointer) mm__wrong_argument(L, 1, "cdata", "a view");
  mm__pointer_alive(L, pointer);
  if (mm__image_current(pointer->image->handle, pointer->generation, &error) != MM_OK)
    mm__image_fail(L, pointer->image, "cdata", &error);
  if (mm_image_info(pointer->image->handle, &info, &error) != MM_OK)
    mm__image_fail(L, pointer->image, "cdata", &error);
  if (info.sealed)
    mm__raise(L, MM_ERROR_UNSUPPORTED, "cdata: a sealed image can only be read through its views");
  const struct mm__type *type = &pointer->registry->types[pointer->target];
  mm__type_text(pointer->registry, pointer->target, NULL, text, sizeof text);
  if (type->size == 0) mm__raise(L, MM_ERROR_TYPE, "cdata: `%s` has no size", text);
  luaL_buffinit(L, &buffer);
  put_type(&(struct layout){L, pointer->registry, &buffer, 0}, pointer->target,
           type->kind == MM__ARRAY ? "(*)" : "*");
  luaL_pushresult(&buffer);
  lua_pushlightuserdata(L, (void *)pointer->address);
  return 2;
}
