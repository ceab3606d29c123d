/* Lua states, each in a thread of its own, that share one Matchmaker: every one runs states.lua, and is closed with
 * whatever it has mapped; then others take its place. Usage: states FOLDER SCRIPT CALLS SEED, with the Lua that it is
 * linked to and that Lua's paths in the environment. Exit status 1 when an answer was wrong, or something is left. */
#include <lauxlib.h>
#include <lualib.h>
#include <pthread.h>

#include "footprint.h"

#define THREADS 4
#define ROUNDS  5

struct life {
  pthread_t thread;
  const char *script;
  int number, calls, seed, wrong;
};

static void *live(void *life_) {
  struct life *life = life_;
  lua_State *L = luaL_newstate();
  luaL_openlibs(L);
  life->wrong = luaL_loadfile(L, life->script);
  if (!life->wrong) {
    lua_pushinteger(L, life->number);
    lua_pushinteger(L, life->calls);
    lua_pushinteger(L, life->seed);
    life->wrong = lua_pcall(L, 3, 0, 0);
  }
  if (life->wrong)
    printf("# thread %d, seed %d: %s\n", life->number, life->seed, lua_tostring(L, -1));
  lua_close(L);
  return NULL;
}

static void round_of_lives(const struct life *first, int round) {
  struct life lives[THREADS];
  for (int i = 0; i < THREADS; i++) {
    lives[i] = *first;
    lives[i].number = i + 1;
    lives[i].seed += round * THREADS + i;
    pthread_create(&lives[i].thread, NULL, live, &lives[i]);
  }
  for (int i = 0; i < THREADS; i++) {
    pthread_join(lives[i].thread, NULL);
    CHECK_EQUAL(0, lives[i].wrong);
  }
}

int main(int count, char **arguments) {
  struct footprint before = {0}, after;
  if (count != 5) return 2;
  struct life first = {.script = arguments[2],
                       .calls = atoi(arguments[3]) / ROUNDS / THREADS,
                       .seed = atoi(arguments[4])};
  find_folders(count, arguments);
  setenv("XDG_RUNTIME_DIR", folder, 1);
  for (int i = 0; i < ROUNDS && failures == 0; i++) {
    round_of_lives(&first, i);
    after = footprint();
    if (i == 0) before = after;
  }
  compare(&before, &after);
  return failures != 0;
}
