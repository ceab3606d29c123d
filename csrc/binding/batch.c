/* binding/batch.c - many calls for one opening of the guard. The image is held meanwhile, so all
 * that may raise runs inside a protected call. */
#include "binding/binding.h"

/* A batch that is made; in memory that outlives what is raised. */
struct running {
  struct mm__hold hold;
  struct mm__batch *noted; /* NULL: its calls are made one by one */
  uint32_t call;           /* that is converted, noted or made; from 1 */
  uint32_t made;           /* calls whose results are in the list */
};

/* Calls what is on top of the stack with `count` arguments below it, the image open. Leaves the
 * results, or raises what it raised. */
static void call_open(lua_State *L, struct mm__lua_image *image, int count,
                      struct running *running) {
  struct mm_error error;
  if (mm__image_keep_open(image->handle, &running->hold, &error) != MM_OK) {
    mm__image_explain(image, &error);
    mm__error_raise(L, &error);
  }
  int status = lua_pcall(L, count, LUA_MULTRET, 0);
  mm__batch_free(running->noted);
  mm__image_let_go(&running->hold);
  if (status) lua_error(L);
}

int mm__image_open_for(lua_State *L) {
  struct mm__lua_image *image = mm__image_check(L, 1, "open");
  lua_settop(L, 2);
  if (lua_type(L, 2) != LUA_TFUNCTION) mm__wrong_argument(L, 2, "open", "a function");
  call_open(L, image, 0, &(struct running){.noted = NULL});
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

static struct running *running_at(lua_State *L, int index) { return lua_touserdata(L, index); }

/* Makes what was noted, if anything was. Raises for the function at 1. */
static uint32_t make_noted(lua_State *L, struct running *running) {
  struct mm_error error;
  uint32_t done = 0;
  if (!running->noted || !mm__batch_count(running->noted)) return 0;
  int status = mm__batch_call(running->noted, &done, &error);
  mm__batch_forget(running->noted);
  if (status == MM_OK) return done;
  running->call = running->made + done + 1;
  mm__function_raise(L, lua_touserdata(L, 1), &error);
}

/* And puts the results into the list at 4. */
static void flush(lua_State *L, struct running *running) {
  const struct mm__lua_function *function = lua_touserdata(L, 1);
  const struct mm__conversion_rule *rule = &function->rules[function->count];
  uint32_t done = make_noted(L, running);
  struct mm__value value;
  for (uint32_t i = 0; i < done; i++) {
    struct mm__place place = mm__function_place(function, 1);
    mm__batch_result(running->noted, i, &value);
    running->made++;
    if (mm__value_to_lua(L, &place, rule, &value) > 0) lua_rawseti(L, 4, (int)running->made);
  }
}

/* Notes the call whose arguments are from 5 to the top; what was noted before is made first when
 * there is no room beside it. False: it wants a crossing of its own. */
static bool note(lua_State *L, struct running *running) {
  struct mm__lua_function *function = lua_touserdata(L, 1);
  struct mm__value values[function->count + 1];
  struct mm__place place = mm__function_place(function, 1);
  struct mm_error error;
  mm__function_arguments(L, function, &place, 5, values);
  if (!mm__batch_takes(running->noted, values)) {
    flush(L, running);
    if (!mm__batch_takes(running->noted, values)) return false;
  }
  if (mm__batch_note(running->noted, values, &error) != MM_OK)
    mm__function_raise(L, function, &error);
  return true;
}

static void begin(lua_State *L, struct running *running, uint32_t count) {
  struct mm__lua_function *function = lua_touserdata(L, 1);
  struct mm_error error;
  mm__function_bind(L, function);
  if (!mm__batch_suits(function->bound, &running->hold)) return;
  if (mm__batch_make(function->bound, count, &running->noted, &error) != MM_OK)
    mm__function_raise(L, function, &error);
}

/* (function, list, running): the results, in a list. */
static int run(lua_State *L) {
  struct running *running = running_at(L, 3);
  uint32_t count = (uint32_t)lua_rawlen(L, 2);
  lua_createtable(L, (int)count, 0);
  if (count > 1) begin(L, running, count);
  for (uint32_t i = 1; i <= count; i++) {
    running->call = i;
    push_arguments(L, 2, (int)i);
    if (!running->noted || !note(L, running)) {
      if (mm__function_invoke(L, lua_touserdata(L, 1), 1, 5, 0) > 0) lua_rawseti(L, 4, (int)i);
      running->made = i;
    }
    lua_settop(L, 4);
  }
  flush(L, running);
  return 1;
}

/* Puts the number of the call that failed into the error object, and into what it prints as. */
static void tell_call(lua_State *L, uint32_t call) {
  lua_pushinteger(L, (lua_Integer)call);
  lua_setfield(L, -2, "call");
  lua_getfield(L, -1, "message");
  const char *message = lua_tostring(L, -1);
  if (message) {
    lua_pushfstring(L, "%s (call %d of the batch)", message, (int)call);
    lua_setfield(L, -3, "message");
  }
  lua_pop(L, 1);
}

/* (function, running): as make_noted. */
static int make_rest(lua_State *L) {
  make_noted(L, running_at(L, 2));
  return 0;
}

/* (function, list, running). Where an argument is wrong, what was noted before it is made still; one
 * of those calls may be the first that failed. */
static int run_protected(lua_State *L) {
  struct running *running = running_at(L, 3);
  for (int i = 1; i <= 3; i++) lua_pushvalue(L, i);
  lua_pushcfunction(L, run);
  lua_insert(L, 4);
  if (lua_pcall(L, 3, 1, 0) == 0) return 1;
  lua_pushcfunction(L, make_rest);
  lua_pushvalue(L, 1);
  lua_pushvalue(L, 3);
  lua_pcall(L, 2, 0, 0);
  if (lua_type(L, -1) == LUA_TTABLE) tell_call(L, running->call);
  return lua_error(L);
}

int mm__image_batch(lua_State *L) {
  struct mm__lua_image *image = mm__image_check(L, 1, "batch");
  lua_settop(L, 3);
  if (lua_type(L, 2) != LUA_TSTRING) mm__wrong_argument(L, 2, "batch", "the name of an export");
  if (lua_type(L, 3) != LUA_TTABLE) mm__wrong_argument(L, 3, "batch", "a list of calls");
  struct running running = {.noted = NULL};
  lua_pushcfunction(L, run_protected);
  lua_pushvalue(L, 2);
  mm__push_export(L, 1);
  lua_pushvalue(L, 3);
  lua_pushlightuserdata(L, &running);
  call_open(L, image, 3, &running);
  return 1;
}
