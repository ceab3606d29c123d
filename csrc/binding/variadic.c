/* binding/variadic.c - the types of a variadic call's arguments, from the Lua values.
 *
 * One rule: a value whose C type would be a guess is an error. Integers of Lua 5.3 and 5.4 and
 * cdata are `long`, which a callee may also read as an int (psABI x86-64 3.2.3: each takes a whole
 * eightbyte); floats are `double`; a whole number where Lua has only one kind may be meant as
 * either. */
#include "base/error.h"
#include "binding/binding.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* The C type of the value at `index`; NULL: it would be a guess. */
static const char *type_of(lua_State *L, int index) {
  switch (lua_type(L, index)) {
  case LUA_TNUMBER:
#if MM__HAS_INTEGERS
    return lua_isinteger(L, index) ? "long" : "double";
#else
    return floor(lua_tonumber(L, index)) == lua_tonumber(L, index) &&
                   isfinite(lua_tonumber(L, index))
               ? NULL
               : "double";
#endif
  case LUA_TSTRING:
    return "const char *";
  case LUA_TBOOLEAN:
    return "int";
  case MM__TYPE_CDATA:
    return "long";
  case LUA_TLIGHTUSERDATA: /* mm.null, or an error later */
  case LUA_TUSERDATA:
    return "const void *";
  default:
    return NULL;
  }
}

static _Noreturn void refuse(lua_State *L, int index, const struct mm__lua_function *function,
                             int argument) {
  struct mm_error error = {.status = MM_ERROR_TYPE, .argument = (uint32_t)argument};
  char text[200];
  const char *what = mm__describe(L, index, text, sizeof text);
  if (lua_type(L, index) == LUA_TNUMBER) what = "a number, which could be an integer or a double";
  snprintf(error.message, sizeof error.message,
           "%s: argument %d is one of `...`, got %s; image:bind with a prototype tells its type",
           mm__function_name(function), argument, what);
  mm__fail_prototype(&error, mm__function_prototype(function));
  mm__function_raise(L, function, &error);
}

/* Pushes the export's prototype up to its own dots, and from there on: those of its parameters are
 * nested deeper. */
static void push_halves(lua_State *L, const struct mm__lua_function *function) {
  const char *prototype = mm__function_prototype(function), *name = mm__function_name(function);
  const char *at = prototype;
  size_t length = strlen(name);
  while (strncmp(at, name, length) != 0 || at[length] != '(' ||
         (at > prototype && strchr(" *(", at[-1]) == NULL))
    at++;
  int depth = 0;
  for (at += length;; at++) {
    depth += (*at == '(') - (*at == ')');
    if (depth == 1 && strncmp(at, "...", 3) == 0) break;
  }
  lua_pushlstring(L, prototype, (size_t)(at - prototype));
  lua_pushstring(L, at + 3);
}

void mm__variadic_spell(lua_State *L, const struct mm__lua_function *function, int first) {
  int top = lua_gettop(L), variable = first + (int)function->count;
  luaL_checkstack(L, 6, "the types of a call");
  push_halves(L, function);
  lua_pushvalue(L, top + 1);
  for (int i = variable; i <= top; i++) {
    const char *type = type_of(L, i);
    if (!type) refuse(L, i, function, i - first + 1);
    if (lua_isboolean(L, i)) {
      lua_pushinteger(L, lua_toboolean(L, i));
      lua_replace(L, i);
    }
    lua_pushstring(L, i > variable ? ", " : "");
    lua_pushstring(L, type);
    lua_concat(L, 3);
  }
  lua_pushvalue(L, top + 2);
  lua_concat(L, 2);
  lua_replace(L, top + 1);
  lua_settop(L, top + 1);
}
