/* binding/compat.h - one spelling for what differs between LuaJIT and Lua 5.1 to 5.4.
 * Owns:    nothing.
 * Threads: as Lua: one state, one thread at a time.
 * Signals: none.
 * Errors:  none of its own. */
#ifndef MM_BINDING_COMPAT_H
#define MM_BINDING_COMPAT_H

#include <lauxlib.h>
#include <lua.h>
#include <stdint.h>

#if LUA_VERSION_NUM < 502
#define lua_rawlen(L, index) lua_objlen(L, index)
#endif

/* What an object keeps alive: a table that every object has. */
#if LUA_VERSION_NUM < 502
#define mm__push_link(L, index) lua_getfenv(L, index)
#define mm__set_link(L, index)  ((void)lua_setfenv(L, index))
#else
#define mm__push_link(L, index) lua_getuservalue(L, index)
#define mm__set_link(L, index)  ((void)lua_setuservalue(L, index))
#endif

#if LUA_VERSION_NUM >= 503
#define MM__HAS_INTEGERS 1
#else
#define MM__HAS_INTEGERS        0
#define lua_isinteger(L, index) 0
#endif

/* lj_obj.h: the type of what LuaJIT's FFI makes. In the other versions no value has it. */
#define MM__TYPE_CDATA 10

static inline void mm__push_count(lua_State *L, uint64_t count) {
#if MM__HAS_INTEGERS
  lua_pushinteger(L, (lua_Integer)count);
#else
  lua_pushnumber(L, (lua_Number)count);
#endif
}

/* A call that raises nothing, whatever happens in it; it gets `argument` as a light userdata. What
 * was raised is pushed. */
static inline int mm__protected(lua_State *L, lua_CFunction function, void *argument) {
#if LUA_VERSION_NUM < 502
  return lua_cpcall(L, function, argument);
#else
  lua_pushcfunction(L, function); /* takes no memory here */
  lua_pushlightuserdata(L, argument);
  return lua_pcall(L, 1, 0, 0);
#endif
}

static inline int mm__absolute(lua_State *L, int index) {
  return index > 0 || index <= LUA_REGISTRYINDEX ? index : lua_gettop(L) + index + 1;
}

#endif
