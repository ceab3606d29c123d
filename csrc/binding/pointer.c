/* binding/pointer.c - pointers into an image: opaque, of one image, one generation and one type. */
#include "binding/binding.h"

#include <stdio.h>
#include <string.h>

static struct mm__lua_pointer *pointer_at(lua_State *L, int index) {
  return mm__object_at(L, index, MM__POINTER_OBJECT, sizeof(struct mm__lua_pointer));
}

static bool tagged(const struct mm__type *type) {
  return (type->kind == MM__STRUCT || type->kind == MM__UNION || type->kind == MM__ENUM) &&
         type->name;
}

/* As C compares pointers, except that `const` may come and go; void is any type. */
static bool same_target(const struct mm__registry *registry, uint32_t a, uint32_t b) {
  uint32_t left = registry->types[a].target, right = registry->types[b].target;
  const struct mm__type *one = &registry->types[left], *other = &registry->types[right];
  if (left == right || one->kind == MM__VOID || other->kind == MM__VOID) return true;
  if (tagged(one) && tagged(other) && one->kind == other->kind)
    return strcmp(registry->strings + one->name, registry->strings + other->name) == 0;
  return mm__type_equal(registry, left, registry, right);
}

static _Noreturn void refuse(lua_State *L, int index, const struct mm__lua_function *function,
                             uint32_t argument) {
  char text[200];
  if (lua_isnil(L, index))
    mm__argument_raise(L, function, argument, MM_ERROR_NULL,
                       "got nil; pass mm.null for a null pointer");
  mm__argument_raise(L, function, argument, MM_ERROR_TYPE, "got %s",
                     mm__describe(L, index, text, sizeof text));
}

void mm__pointer_from_lua(lua_State *L, int index, const struct mm__lua_function *function,
                          uint32_t argument, struct mm__value *value) {
  struct mm__lua_pointer *pointer = pointer_at(L, index);
  value->as.pointer = NULL;
  value->generation = 0;
  if (lua_islightuserdata(L, index) && !lua_touserdata(L, index)) return;
  if (!pointer) refuse(L, index, function, argument);
  if (pointer->image != function->image)
    mm__argument_raise(L, function, argument, MM_ERROR_OWNER, "got a pointer of another image, %s",
                       mm__image_name(pointer->image));
  uint32_t wanted = function->rules[argument].type;
  if (pointer->type != wanted &&
      !same_target(&pointer->image->handle->registry, pointer->type, wanted))
    refuse(L, index, function, argument);
  value->as.pointer = (const void *)pointer->address;
  value->generation = pointer->generation;
}

void mm__pointer_to_lua(lua_State *L, int self, const struct mm__lua_function *function,
                        const struct mm__value *value) {
  if (!value->as.pointer) {
    lua_pushnil(L);
    return;
  }
  struct mm__lua_pointer *pointer = mm__object_new(L, MM__POINTER_OBJECT, sizeof *pointer);
  pointer->image = function->image;
  pointer->address = (uint64_t)value->as.pointer;
  pointer->generation = value->generation;
  pointer->type = function->rules[function->count].type;
  mm__push_link(L, self);
  mm__set_link(L, -2);
}

static int pointer_text(lua_State *L) {
  const struct mm__lua_pointer *pointer = mm__self(L, 1, MM__POINTER_OBJECT, sizeof *pointer);
  char type[160] = "pointer", text[400];
  if (pointer->image->handle)
    mm__type_text(&pointer->image->handle->registry, pointer->type, NULL, type, sizeof type);
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
