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

bool mm__pointer_fits(const struct mm__lua_pointer *pointer, const struct mm__registry *registry,
                      uint32_t target) {
  const struct mm__type *type = &registry->types[target];
  bool is_byte = type->size == 1 && (type->kind == MM__SIGNED || type->kind == MM__UNSIGNED);
  return same_target(pointer, registry, target) || (is_byte && mm__pointer_is_buffer(pointer));
}

/* C11 6.5.16.1: what is pointed to keeps its const. `const char *` has no target. */
static bool fits(const struct mm__lua_pointer *pointer, const struct mm__place *place,
                 uint32_t wanted) {
  const struct mm__type *type = &place->registry->types[wanted];
  const struct mm__type *target = &pointer->registry->types[pointer->target];
  if (type->kind == MM__STRING)
    return target->kind == MM__VOID || mm__pointer_is_buffer(pointer) ||
           strcmp(pointer->registry->strings + target->name, "char") == 0;
  return mm__pointer_fits(pointer, place->registry, type->target) &&
         (!pointer->is_const || type->flags & MM__TYPE_CONST);
}

void mm__pointer_from_lua(lua_State *L, int index, const struct mm__place *place, uint32_t wanted,
                          struct mm__value *value) {
  const struct mm__lua_pointer *pointer = pointer_at(L, index);
  value->as.pointer = NULL;
  value->generation = 0;
  if (mm__callback_from_lua(L, index, place, wanted, value)) return;
  if (lua_islightuserdata(L, index) && !lua_touserdata(L, index)) return;
  if (lua_isnil(L, index))
    mm__place_raise(L, place, wanted, MM_ERROR_NULL, "got nil; pass mm.null for a null pointer");
  if (!pointer || !pointer->image->handle || !fits(pointer, place, wanted))
    mm__place_refuse(L, index, place, wanted);
  if (pointer->image != place->image)
    mm__place_raise(L, place, wanted, MM_ERROR_OWNER, "got a pointer of another image, %s",
                    mm__image_name(pointer->image));
  if (pointer->memory && !pointer->memory->address)
    mm__place_raise(L, place, wanted, MM_ERROR_STALE, "got memory that was freed");
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
  const struct mm__type *target = &place->registry->types[of->target];
  struct mm__lua_pointer *pointer = mm__object_new(L, MM__POINTER_OBJECT, sizeof *pointer);
  pointer->image = place->image;
  pointer->memory = NULL;
  pointer->registry = place->registry;
  pointer->address = pointer->low = (uint64_t)value->as.pointer;
  pointer->high = pointer->low + (pointer->low <= UINT64_MAX - target->size ? target->size : 0);
  pointer->generation = value->generation;
  pointer->target = of->target;
  pointer->is_const = of->flags & MM__TYPE_CONST;
  pointer->is_array = false;
  mm__push_link(L, place->link);
  mm__set_link(L, -2);
}

struct mm__lua_pointer *mm__pointer_derive(lua_State *L, int index) {
  const struct mm__lua_pointer *from = pointer_at(L, index);
  struct mm__lua_pointer *pointer = mm__object_new(L, MM__POINTER_OBJECT, sizeof *pointer);
  *pointer = *from;
  pointer->is_array = false;
  mm__push_link(L, index);
  mm__set_link(L, -2);
  return pointer;
}

/* --- arithmetic --- */

static int add(lua_State *L) {
  int which = pointer_at(L, 1) ? 1 : 2;
  const struct mm__lua_pointer *pointer = pointer_at(L, which);
  char text[200];
  mm__pointer_alive(L, pointer);
  if (lua_type(L, 3 - which) != LUA_TNUMBER)
    mm__raise(L, MM_ERROR_TYPE, "a number is added to a pointer, got %s",
              mm__describe(L, 3 - which, text, sizeof text));
  uint64_t address = mm__pointer_step(L, pointer, mm__pointer_count(L, 3 - which), false);
  mm__pointer_derive(L, which)->address = address;
  return 1;
}

static int subtract(lua_State *L) {
  const struct mm__lua_pointer *a = pointer_at(L, 1), *b = pointer_at(L, 2);
  char text[200];
  if (!a || (!b && lua_type(L, 2) != LUA_TNUMBER))
    mm__raise(L, MM_ERROR_TYPE, "a number or a pointer is taken from a pointer, got %s",
              mm__describe(L, a ? 2 : 1, text, sizeof text));
  mm__pointer_alive(L, a);
  if (b) mm__pointer_alive(L, b);
  if (!b) {
    uint64_t address = mm__pointer_step(L, a, -mm__pointer_count(L, 2), false);
    mm__pointer_derive(L, 1)->address = address;
    return 1;
  }
  int64_t size = a->registry->types[a->target].size, bytes = (int64_t)(a->address - b->address);
  bool is_one = a->image == b->image && a->generation == b->generation &&
                same_target(a, b->registry, b->target);
  if (is_one && size && bytes % size == 0) {
    lua_pushinteger(L, (lua_Integer)(bytes / size));
    return 1;
  }
  mm__raise(L, MM_ERROR_TYPE, "the pointers are not of one array");
}

/* --- what a pointer tells about itself --- */

static int pointer_equal(lua_State *L) {
  const struct mm__lua_pointer *a = pointer_at(L, 1), *b = pointer_at(L, 2);
  lua_pushboolean(L, a && b && a->image == b->image && a->address == b->address &&
                         a->generation == b->generation);
  return 1;
}

void mm__pointer_open(lua_State *L) {
  static const luaL_Reg events[] = {{"__tostring", mm__pointer_show},
                                    {"__eq", pointer_equal},
                                    {"__add", add},
                                    {"__sub", subtract}};
  mm__push_metatable(L, MM__POINTER_OBJECT);
  for (unsigned i = 0; i < sizeof events / sizeof *events; i++) {
    lua_pushcfunction(L, events[i].func);
    lua_setfield(L, -2, events[i].name);
  }
  lua_pushliteral(L, "matchmaker pointer");
  lua_setfield(L, -2, "__name");
  lua_pop(L, 1);
}
