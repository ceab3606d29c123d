/* binding/batch.c - many calls for one opening of the guard. The image is held meanwhile, so all
 * that may raise runs inside a protected call. */
#include "binding/binding.h"

/* Calls what is on top of the stack with `count` arguments below it, the image open. Leaves the
 * results, or raises what it raised. */
static void call_open(lua_State *L, struct mm__lua_image *image, int count) {
  struct mm__hold hold;
  struct mm_error error;
  if (mm__image_keep_open(image->handle, &hold, &error) != MM_OK) {
    mm__image_explain(image, &error);
    mm__error_raise(L, &error);
  }
  int status = lua_pcall(L, count, LUA_MULTRET, 0);
  mm__image_let_go(&hold);
  if (status) lua_error(L);
}

int mm__image_open_for(lua_State *L) {
  struct mm__lua_image *image = mm__image_check(L, 1, "open");
  char text[200];
  lua_settop(L, 2);
  if (lua_type(L, 2) != LUA_TFUNCTION)
    mm__raise(L, MM_ERROR_ARGUMENT, "open: argument 2 is a function, got %s",
              mm__describe(L, 2, text, sizeof text));
  call_open(L, image, 0);
  return lua_gettop(L) - 1;
}

/* Pushes the arguments of one call: those in a table, or a single value. */
static void push_arguments(lua_State *L, int list, int index) {
  lua_rawgeti(L, list, index);
  if (lua_type(L, -1) != LUA_TTABLE) return;
  int table = lua_gettop(L), count = (int)lua_rawlen(L, table);
  if (count > MM__ARGUMENT_LIMIT) count = MM__ARGUMENT_LIMIT;
  luaL_checkstack(L, count + 10, "arguments");
  for (int i = 1; i <= count; i++) lua_rawgeti(L, table, i);
  lua_remove(L, table);
}

/* (function, list, where): the results, in a list; `where[1]` is the call that runs. */
static int run(lua_State *L) {
  struct mm__lua_function *function = lua_touserdata(L, 1);
  int count = (int)lua_rawlen(L, 2);
  lua_createtable(L, count, 0);
  for (int i = 1; i <= count; i++) {
    lua_pushinteger(L, i);
    lua_rawseti(L, 3, 1);
    push_arguments(L, 2, i);
    if (mm__function_invoke(L, function, 1, 5, 0) > 0) lua_rawseti(L, 4, i);
    lua_settop(L, 4);
  }
  return 1;
}

/* Puts the number of the call that failed into the error object, and into what it prints as. */
static void tell_call(lua_State *L, int call) {
  lua_pushinteger(L, call);
  lua_setfield(L, -2, "call");
  lua_getfield(L, -1, "message");
  const char *message = lua_tostring(L, -1);
  if (message) {
    lua_pushfstring(L, "%s (call %d of the batch)", message, call);
    lua_setfield(L, -3, "message");
  }
  lua_pop(L, 1);
}

static int run_protected(lua_State *L) {
  lua_pushcfunction(L, run);
  lua_insert(L, 1);
  lua_pushvalue(L, 4);
  lua_insert(L, 1);
  if (lua_pcall(L, 3, 1, 0) == 0) return 1;
  if (lua_type(L, -1) == LUA_TTABLE) {
    lua_rawgeti(L, 1, 1);
    int call = (int)lua_tointeger(L, -1);
    lua_pop(L, 1);
    tell_call(L, call);
  }
  return lua_error(L);
}

int mm__image_batch(lua_State *L) {
  struct mm__lua_image *image = mm__image_check(L, 1, "batch");
  char text[200];
  lua_settop(L, 3);
  if (lua_type(L, 2) != LUA_TSTRING)
    mm__raise(L, MM_ERROR_ARGUMENT, "batch: argument 2 is the name of an export, got %s",
              mm__describe(L, 2, text, sizeof text));
  if (lua_type(L, 3) != LUA_TTABLE)
    mm__raise(L, MM_ERROR_ARGUMENT, "batch: argument 3 is a list of calls, got %s",
              mm__describe(L, 3, text, sizeof text));
  lua_pushcfunction(L, run_protected);
  lua_pushvalue(L, 2);
  mm__push_export(L, 1);
  lua_pushvalue(L, 3);
  lua_createtable(L, 1, 0);
  call_open(L, image, 3);
  return 1;
}
