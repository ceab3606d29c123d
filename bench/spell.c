/* bench/spell.c - hunspell as a plain library and as a plain Lua C module. */
#include <hunspell/hunspell.h>
#include <lauxlib.h>
#include <lua.h>

static Hunhandle *handle;

/* Again with another dictionary frees the first. */
void bench_load(const char *aff, const char *dic) {
  if (handle) Hunspell_destroy(handle);
  handle = Hunspell_create(aff, dic);
}

int bench_spell(const char *word) { return handle && Hunspell_spell(handle, word) != 0; }

static int load(lua_State *state) {
  bench_load(luaL_checkstring(state, 1), luaL_checkstring(state, 2));
  return 0;
}

static int spell(lua_State *state) {
  lua_pushinteger(state, bench_spell(luaL_checkstring(state, 1)));
  return 1;
}

int luaopen_spell(lua_State *state) {
  lua_createtable(state, 0, 2);
  lua_pushcfunction(state, load);
  lua_setfield(state, -2, "load");
  lua_pushcfunction(state, spell);
  lua_setfield(state, -2, "spell");
  return 1;
}
