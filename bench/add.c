/* bench/add.c - the cheapest call there is, in a plain library that also is a Lua C module. */
#include <lauxlib.h>
#include <lua.h>

/* For the FFI; not inlined below, so that both peers make the same call. */
__attribute__((noinline)) int bench_add(int a, int b) {
  __asm__ volatile("");
  return (int)((unsigned)a + (unsigned)b);
}

static int add(lua_State *state) {
  int a = (int)luaL_checkinteger(state, 1), b = (int)luaL_checkinteger(state, 2);
  lua_pushinteger(state, bench_add(a, b));
  return 1;
}

int luaopen_add(lua_State *state) {
  lua_createtable(state, 0, 1);
  lua_pushcfunction(state, add);
  lua_setfield(state, -2, "add");
  return 1;
}
