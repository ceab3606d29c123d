/* binding/direct.c - what LuaJIT needs to call a stub by itself, past the Lua C API:
 * lua/matchmaker/direct.lua. Only numbers and booleans go this way. A call of this kind enters no
 * Lua: an image that may call back is not called so. */
#include "base/error.h"
#include "binding/binding.h"

static const char metatable_key;

/* The C type of what the FFI converts to just what the registry says; NULL: not so. */
static const char *plain_name(const struct mm__registry *registry, uint32_t index) {
  static const char *const integers[2][9] = {
      {[1] = "uint8_t", [2] = "uint16_t", [4] = "uint32_t", [8] = "uint64_t"},
      {[1] = "int8_t", [2] = "int16_t", [4] = "int32_t", [8] = "int64_t"}};
  const struct mm__type *type = &registry->types[index];
  if (type->kind == MM__ENUM) type = &registry->types[type->target];
  switch (type->kind) {
  case MM__VOID:
    return "void";
  case MM__BOOL:
    return "bool";
  case MM__SIGNED:
  case MM__UNSIGNED:
    return type->size <= 8 ? integers[type->kind == MM__SIGNED][type->size] : NULL;
  case MM__FLOAT:
    return type->size == 4 ? "float" : type->size == 8 ? "double" : NULL;
  default:
    return NULL;
  }
}

bool mm__is_direct(const struct mm__registry *registry, const struct mm__type *type) {
  if (type->flags & MM__TYPE_VARIADIC || !plain_name(registry, type->target)) return false;
  for (uint32_t i = 0; i < type->member_count; i++)
    if (!plain_name(registry, registry->members[type->first_member + i].type)) return false;
  return true;
}

/* (function): its stub, the word that says whether it may be called so, and its C types, the result
 * first. */
static int describe(lua_State *L) {
  struct mm__lua_function *function = mm__self(L, 1, MM__FUNCTION_OBJECT, sizeof *function);
  mm__function_bind(L, function);
  const struct mm__registry *registry = &function->image->handle->registry;
  luaL_Buffer types;
  lua_pushlightuserdata(L, mm_function_pointer(function->bound));
  lua_pushlightuserdata(L, &function->image->callable);
  luaL_buffinit(L, &types);
  luaL_addstring(&types, plain_name(registry, function->rules[function->count].type));
  for (uint32_t i = 0; i < function->count; i++) {
    luaL_addchar(&types, ' ');
    luaL_addstring(&types, plain_name(registry, function->rules[i].type));
  }
  luaL_pushresult(&types);
  return 3;
}

/* (function, ...): a direct call of it did not return. What ended it is raised; if nothing did, it
 * did not happen, and is made now in the usual way. */
static int again(lua_State *L) {
  struct mm__lua_function *function = mm__self(L, 1, MM__FUNCTION_OBJECT, sizeof *function);
  struct mm_error error;
  if (mm__ends_call(mm_take_fault(&error))) mm__function_raise(L, function, &error);
  return mm__function_invoke(L, function, 1, 2, 0);
}

/* (call): from now on direct functions are called by this Lua function, with themselves in front.
 * Gives what it takes: describe, again, the way of all other calls, and the status of the last one. */
int mm__use_direct(lua_State *L) {
  luaL_checktype(L, 1, LUA_TFUNCTION);
  lua_settop(L, 1);
  lua_pushlightuserdata(L, (void *)&metatable_key);
  lua_newtable(L);
  mm__push_metatable(L, MM__FUNCTION_OBJECT);
  for (lua_pushnil(L); lua_next(L, 4);) {
    lua_pushvalue(L, 5);
    lua_insert(L, 6);
    lua_rawset(L, 3);
  }
  lua_pop(L, 1);
  lua_pushvalue(L, 1);
  lua_setfield(L, 3, "__call");
  lua_rawset(L, LUA_REGISTRYINDEX);
  lua_pushcfunction(L, describe);
  lua_pushcfunction(L, again);
  lua_pushcfunction(L, mm__function_apply);
  lua_pushlightuserdata(L, (void *)mm__call_status);
  return 4;
}

void mm__direct_mark(lua_State *L) {
  lua_pushlightuserdata(L, (void *)&metatable_key);
  lua_rawget(L, LUA_REGISTRYINDEX);
  if (lua_istable(L, -1))
    lua_setmetatable(L, -2);
  else
    lua_pop(L, 1);
}
