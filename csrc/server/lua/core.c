/* server/lua/core.c - the Lua module `matchmaker.server.core`, on which lua/matchmaker/server.lua
 * stands: libraries, their functions, and the snapshot. */
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "matchmaker/server.h"
#include "server/lua/server.h"

/* Knows what the launcher will know, so that an error comes where it was made. */
static struct mm__builder *builder;

static int raise(lua_State *L, const struct mm_error *error) {
  return luaL_error(L, "%s", error->message);
}

/* open(NAME...): the first of the libraries that is there; a light userdata. Without a name: what
 * is loaded already. */
static int open_library(lua_State *L) {
  void *library = lua_gettop(L) == 0 ? dlopen(NULL, RTLD_NOW) : NULL;
  for (int i = 1; i <= lua_gettop(L) && !library; i++)
    library = dlopen(luaL_checkstring(L, i), RTLD_NOW | RTLD_GLOBAL);
  if (!library) return luaL_error(L, "%s", dlerror());
  lua_pushlightuserdata(L, library);
  return 1;
}

/* symbol(library, name): its address, or nil. */
static int find_symbol(lua_State *L) {
  void *address = dlsym(lua_touserdata(L, 1), luaL_checkstring(L, 2));
  if (!address) return 0;
  lua_pushlightuserdata(L, address);
  return 1;
}

/* Text that lives as long as the process. */
static const char *keep(lua_State *L, const char *text) {
  char *copy = text ? strdup(text) : NULL;
  if (text && !copy) luaL_error(L, "out of memory");
  return copy;
}

static void register_text(lua_State *L, uint32_t kind, const char *text, const char *doc) {
  struct mm_registration *registration = calloc(1, sizeof *registration);
  if (!registration) luaL_error(L, "out of memory");
  registration->kind = kind;
  registration->result = keep(L, text);
  registration->doc = keep(L, doc);
  mm_register(registration);
}

static int declare(lua_State *L) {
  struct mm_error error;
  const char *text = luaL_checkstring(L, 1);
  if (mm__builder_declare(builder, text, &error) != MM_OK) return raise(L, &error);
  register_text(L, 1, text, NULL);
  return 0;
}

static int need(lua_State *L) {
  register_text(L, 2, luaL_checkstring(L, 1), luaL_optstring(L, 2, NULL));
  return 0;
}

static void add_export(lua_State *L, void *function, const char *prototype, const char *doc) {
  if (mm_export(function, prototype, doc) != 0)
    luaL_error(L, "cannot export `%s`: %s", prototype ? prototype : "?", strerror(errno));
}

/* export(address, prototype or nil, doc or nil) */
static int export_function(lua_State *L) {
  struct mm_error error;
  uint32_t type;
  void *function =
      lua_isnumber(L, 1) ? (void *)(uintptr_t)lua_tonumber(L, 1) : lua_touserdata(L, 1);
  const char *prototype = luaL_optstring(L, 2, NULL);
  if (!function) return luaL_error(L, "a function's address is expected");
  if (prototype && mm__builder_function(builder, prototype, &type, &error) != MM_OK)
    return raise(L, &error);
  add_export(L, function, prototype, luaL_optstring(L, 3, NULL));
  return 0;
}

/* export_lua(prototype, doc or nil, function) */
static int export_lua(lua_State *L) {
  struct mm__registry registry;
  struct mm_error error;
  uint32_t type;
  const char *prototype = luaL_checkstring(L, 1), *doc = luaL_optstring(L, 2, NULL);
  luaL_checktype(L, 3, LUA_TFUNCTION);
  lua_settop(L, 3);
  if (mm__builder_function(builder, prototype, &type, &error) != MM_OK ||
      mm__builder_view(builder, &registry, &error) != MM_OK)
    return raise(L, &error);
  add_export(L, mm__lua_take_stub(L, &registry, type), prototype, doc);
  return 0;
}

/* string(pointer, bytes or nil): what lies there. */
static int read_string(lua_State *L) {
  const char *start = lua_touserdata(L, 1);
  if (!start) return luaL_error(L, "a pointer is expected");
  lua_pushlstring(L, start, lua_isnoneornil(L, 2) ? strlen(start) : (size_t)luaL_checknumber(L, 2));
  return 1;
}

/* Returns only when it fails. */
static int snapshot(lua_State *L) {
  mm__lua_use_state(L);
  mm_snapshot(luaL_optstring(L, 1, NULL));
  return luaL_error(L, "no snapshot: %s", strerror(errno));
}

__attribute__((visibility("default"))) int luaopen_matchmaker_server_core(lua_State *L);
int luaopen_matchmaker_server_core(lua_State *L) {
  static const struct {
    const char *name;
    lua_CFunction function;
  } functions[] = {{"open", open_library},     {"symbol", find_symbol},
                   {"declare", declare},       {"need", need},
                   {"string", read_string},    {"export", export_function},
                   {"export_lua", export_lua}, {"snapshot", snapshot}};
  if (!builder) builder = mm__builder_new();
  if (!builder) return luaL_error(L, "out of memory");
  lua_newtable(L);
  for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
    lua_pushcfunction(L, functions[i].function);
    lua_setfield(L, -2, functions[i].name);
  }
  return 1;
}
