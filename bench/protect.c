/* bench/protect.c - what mprotect(2) alone costs: a Lua C module that tells the kernel what a guard
 * tells it around a call, over the same pages of the same image.
 *
 *     protect.remember(text)     the lines that MM_TRACE=guard prints; returns how many there are
 *     protect.replay()           makes these calls once */
#include <lauxlib.h>
#include <lua.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#define CHANGES 1024

static struct change {
  uintptr_t low;
  size_t bytes;
  int protection;
} changes[CHANGES];
static size_t count;

static int protection_of(const char *letters) {
  return (strchr(letters, 'r') ? PROT_READ : 0) | (strchr(letters, 'w') ? PROT_WRITE : 0) |
         (strchr(letters, 'x') ? PROT_EXEC : 0);
}

static int replay(lua_State *state) {
  for (size_t i = 0; i < count; i++)
    if (mprotect((void *)changes[i].low, changes[i].bytes, changes[i].protection) != 0)
      return luaL_error(state, "mprotect %d failed", (int)i);
  return 0;
}

static int remember(lua_State *state) {
  const char *text = luaL_checkstring(state, 1);
  count = 0;
  while ((text = strstr(text, "guard: ")) && count < CHANGES) {
    struct change *change = &changes[count++];
    uintptr_t high;
    char letters[4];
    if (sscanf(text, "guard: 0x%lx-0x%lx %3s", &change->low, &high, letters) != 3)
      return luaL_error(state, "not a guard's line: %s", text);
    change->bytes = high - change->low;
    change->protection = protection_of(letters);
    text += strlen("guard: ");
  }
  lua_pushinteger(state, (lua_Integer)count);
  return 1;
}

int luaopen_protect(lua_State *state) {
  lua_createtable(state, 0, 2);
  lua_pushcfunction(state, remember);
  lua_setfield(state, -2, "remember");
  lua_pushcfunction(state, replay);
  lua_setfield(state, -2, "replay");
  return 1;
}
