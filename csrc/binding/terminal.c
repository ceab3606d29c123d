/* binding/terminal.c - what a session at a terminal wants and Lua has no word for: Ctrl-C as an
 * error, as often as it is pressed. */
#include "binding/binding.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static lua_State *volatile interrupted;
static volatile sig_atomic_t is_taken, came;

static void raise_interrupted(lua_State *L, lua_Debug *at) {
  (void)at;
  lua_sethook(L, NULL, 0, 0);
  luaL_error(L, "interrupted");
}

/* As the stand-alone interpreters do it: setting a hook is all that a handler may do with Lua. */
static void on_interrupt(int number) {
  (void)number;
  lua_State *L = interrupted;
  came = 1;
  if (L && !is_taken)
    lua_sethook(L, raise_interrupted, LUA_MASKCALL | LUA_MASKRET | LUA_MASKCOUNT, 1);
}

void mm__interrupt_take(bool taken) {
  came = 0;
  is_taken = taken;
}

bool mm__interrupt_came(void) { return came; }

/* interruptible(): from now on SIGINT is an error of what this state runs. Reads end, too. */
static int interruptible(lua_State *L) {
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_handler = on_interrupt;
  sigemptyset(&action.sa_mask);
  interrupted = L;
  sigaction(SIGINT, &action, NULL);
  return 0;
}

static int is_terminal(lua_State *L) {
  lua_pushboolean(L, isatty((int)luaL_checknumber(L, 1)));
  return 1;
}

/* trace(words): what MM_TRACE says from the next init on. */
static int trace(lua_State *L) {
  const char *words = luaL_optstring(L, 1, NULL);
  if (words)
    setenv("MM_TRACE", words, 1);
  else
    unsetenv("MM_TRACE");
  return 0;
}

void mm__terminal_open(lua_State *L) {
  static const luaL_Reg list[] = {{"interruptible", interruptible},
                                  {"is_terminal", is_terminal},
                                  {"trace", trace},
                                  {NULL, NULL}};
  lua_pushnil(L);
  lua_newtable(L);
  mm__set_functions(L, list);
  lua_remove(L, -2);
  mm__editor_open(L);
}
