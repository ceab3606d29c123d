/* binding/pointer.c - pointers into an image: of one image, one generation and one type. */
#include "binding/binding.h"

#include <stdio.h>
#include <string.h>

static struct mm__lua_pointer *pointer_at(lua_State *L, int index) {
  return mm__object_at(L, index, MM__POINTER_OBJECT, sizeof(struct mm__lua_pointer));
}

void mm__pointer_type_text(const struct mm__lua_pointer *pointer, char *text, size_t size) {
  const struct mm__type *target = &pointer->registry->types[pointer->target];
  bool is_pointer = target->kind == MM__POINTER || target->kind == MM__STRING;
  bool is_nested = target->kind == MM__ARRAY || target->kind == MM__FUNCTION;
  const char *name = is_nested && !target->alias ? "(*)" : "*";
  size_t length = 0;
  if (pointer->is_const && is_pointer && !target->alias)
    name = "const *";
  else if (pointer->is_const)
    length = (size_t)snprintf(text, size, "const ");
  if (length < size)
    mm__type_text(pointer->registry, pointer->target, name, text + length, size - length);
}

/* --- conversion --- */

static bool tagged(const struct mm__type *type) {
  return (type->kind == MM__STRUCT || type->kind == MM__UNION || type->kind == MM__ENUM) &&
         type->name;
}

/* As C compares what pointers point to; void is any type. A tag that is only declared in one place
 * is the same as where it is defined. */
static bool same_target(const struct mm__lua_pointer *pointer, const struct mm__registry *registry,
                        uint32_t target) {
  const struct mm__type *one = &pointer->registry->types[pointer->target];
  const struct mm__type *other = &registry->types[target];
  if (one == other || one->kind == MM__VOID || other->kind == MM__VOID) return true;
  if (tagged(one) && tagged(other) && one->kind == other->kind)
    return strcmp(pointer->registry->strings + one->name, registry->strings + other->name) == 0;
  return mm__type_equal(pointer->registry, pointer->target, registry, target);
}

/* C11 6.5.16.1: what is pointed to keeps its const. */
static bool fits(const struct mm__lua_pointer *pointer, const struct mm__place *place,
                 uint32_t wanted) {
  const struct mm__type *type = &place->registry->types[wanted];
  return same_target(pointer, place->registry, type->target) &&
         (!pointer->is_const || type->flags & MM__TYPE_CONST);
}

void mm__pointer_from_lua(lua_State *L, int index, const struct mm__place *place, uint32_t wanted,
                          struct mm__value *value) {
  const struct mm__lua_pointer *pointer = pointer_at(L, index);
  value->as.pointer = NULL;
  value->generation = 0;
  if (lua_islightuserdata(L, index) && !lua_touserdata(L, index)) return;
  if (lua_isnil(L, index))
    mm__place_raise(L, place, wanted, MM_ERROR_NULL, "got nil; pass mm.null for a null pointer");
  if (!pointer) mm__place_refuse(L, index, place, wanted);
  if (pointer->image != place->image)
    mm__place_raise(L, place, wanted, MM_ERROR_OWNER, "got a pointer of another image, %s",
                    mm__image_name(pointer->image));
  if (!fits(pointer, place, wanted)) mm__place_refuse(L, index, place, wanted);
  value->as.pointer = (const void *)pointer->address;
  value->generation = pointer->generation;
}

void mm__pointer_to_lua(lua_State *L, const struct mm__place *place, uint32_t type,
                        const struct mm__value *value) {
  if (!value->as.pointer) {
    lua_pushnil(L);
    return;
  }
  const struct mm__type *of = &place->registry->types[type];
  struct mm__lua_pointer *pointer = mm__object_new(L, MM__POINTER_OBJECT, sizeof *pointer);
  pointer->image = place->image;
  pointer->registry = place->registry;
  pointer->address = pointer->low = (uint64_t)value->as.pointer;
  pointer->high = pointer->low + place->registry->types[of->target].size;
  pointer->generation = value->generation;
  pointer->target = of->target;
  pointer->is_const = of->flags & MM__TYPE_CONST;
  mm__push_link(L, place->link);
  mm__set_link(L, -2);
}

/* --- what a pointer tells about itself --- */

static int pointer_text(lua_State *L) {
  const struct mm__lua_pointer *pointer = mm__self(L, 1, MM__POINTER_OBJECT, sizeof *pointer);
  char type[160] = "pointer", text[400];
  if (pointer->image->handle) mm__pointer_type_text(pointer, type, sizeof type);
  snprintf(text, sizeof text, "%s 0x%lx of %.200s", type, pointer->address,
           mm__image_name(pointer->image));
  lua_pushstring(L, text);
  return 1;
}

static int pointer_equal(lua_State *L) {
  const struct mm__lua_pointer *a = pointer_at(L, 1), *b = pointer_at(L, 2);
  lua_pushboolean(L, a && b && a->image == b->image && a->address == b->address &&
                         a->generation == b->generation);
  return 1;
}

void mm__pointer_open(lua_State *L) {
  mm__push_metatable(L, MM__POINTER_OBJECT);
  lua_pushcfunction(L, pointer_text);
  lua_setfield(L, -2, "__tostring");
  lua_pushcfunction(L, pointer_equal);
  lua_setfield(L, -2, "__eq");
  lua_pushliteral(L, "matchmaker pointer");
  lua_setfield(L, -2, "__name");
  lua_pop(L, 1);
}
