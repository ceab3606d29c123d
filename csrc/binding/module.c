/* binding/module.c - the module table, and the session behind it: one mm_init, given back when the
 * table goes. */
#include "binding/binding.h"

const char mm__tags[MM__OBJECT_COUNT];

void mm__push_metatable(lua_State *L, enum mm__object kind) {
  lua_pushlightuserdata(L, (void *)&mm__tags[kind]);
  lua_rawget(L, LUA_REGISTRYINDEX);
  if (!lua_isnil(L, -1)) return;
  lua_pop(L, 1);
  lua_newtable(L);
  lua_pushlightuserdata(L, (void *)&mm__tags[kind]);
  lua_pushvalue(L, -2);
  lua_rawset(L, LUA_REGISTRYINDEX);
}

void *mm__object_new(lua_State *L, enum mm__object kind, size_t size) {
  const char **object = lua_newuserdata(L, size);
  *object = &mm__tags[kind];
  mm__push_metatable(L, kind);
  lua_setmetatable(L, -2);
  return object;
}

void mm__set_functions(lua_State *L, const luaL_Reg *list) {
  for (; list->name; list++) {
    lua_pushvalue(L, -2);
    lua_pushcclosure(L, list->func, 1);
    lua_setfield(L, -2, list->name);
  }
}

void *mm__self(lua_State *L, int index, enum mm__object kind, size_t size) {
  void *object = mm__object_at(L, index, kind, size);
  if (!object) mm__raise(L, MM_ERROR_ARGUMENT, "called with another kind of object");
  return object;
}

static struct mm__session *session_of(lua_State *L) {
  return lua_touserdata(L, lua_upvalueindex(1));
}

/* Connected already: another mm_init carries the configuration, and is given back at once. */
static int init(lua_State *L) {
  struct mm__session *session = session_of(L);
  struct mm_config config = {0};
  struct mm_error error;
  bool configured = !lua_isnoneornil(L, 1);
  if (configured) mm__read_config(L, 1, &config);
  int status = MM_OK;
  if (configured || !session->connected) status = mm_init(configured ? &config : NULL, &error);
  if (status == MM_OK && session->connected && configured) status = mm_finalize(&error);
  if (status != MM_OK) return mm__error_return(L, &error);
  session->connected = true;
  lua_pushboolean(L, 1);
  return 1;
}

static int disconnect(struct mm__session *session, struct mm_error *error) {
  for (struct mm__lua_image *image = session->images; image; image = image->next) {
    int status = mm_unmap(image->handle, error);
    if (status != MM_OK && status != MM_ERROR_UNMAPPED) return status;
  }
  int status = mm_finalize(error);
  if (status == MM_OK) session->connected = false;
  return status;
}

static int finalize(lua_State *L) {
  struct mm__session *session = session_of(L);
  struct mm_error error = {.status = MM_ERROR_NOT_CONNECTED,
                           .message = "the Matchmaker is not mapped: call init"};
  if (!session->connected || disconnect(session, &error) != MM_OK)
    return mm__error_return(L, &error);
  lua_pushboolean(L, 1);
  return 1;
}

/* When a state is closed, its objects go in any order: images are released with or without a
 * session. */
static int session_collect(lua_State *L) {
  struct mm__session *session = mm__object_at(L, 1, MM__SESSION, sizeof *session);
  struct mm_error error;
  if (!session || !session->connected) return 0;
  while (session->images) mm__image_collect(session->images);
  if (mm_finalize(&error) == MM_OK) session->connected = false;
  return 0;
}

static int lockdown(lua_State *L) {
  struct mm_error error;
  if (mm_lockdown(&error) != MM_OK) return mm__error_return(L, &error);
  lua_pushboolean(L, 1);
  return 1;
}

static int mapped(lua_State *L) {
  struct mm_image_info info;
  struct mm_error error = {.status = MM_ERROR_NOT_CONNECTED,
                           .message = "the Matchmaker is not mapped: call init"};
  if (!session_of(L)->connected) return mm__error_return(L, &error);
  lua_newtable(L);
  for (uint32_t index = 0;; index++) {
    int status = mm_mapped(index, &info, &error);
    if (status == MM_ERROR_ARGUMENT) return 1;
    if (status != MM_OK) return mm__error_return(L, &error);
    mm__push_info(L, &info);
    lua_rawseti(L, -2, (int)index + 1);
  }
}

static const luaL_Reg functions[] = {
    {"init", init},
    {"finalize", finalize},
    {"lockdown", lockdown},
    {"request_map", mm__request_map},
    {"request_call", mm__request_call},
    {"mapped", mapped},
    {"clients", mm__clients},
    {"layout", mm__view_layout},
    {"type_of", mm__pointer_type},
    {"pairs", mm__view_pairs},
    {"inspect", mm__inspect_for},
    {"machine", mm__machine},
    {"use_cdata", mm__use_cdata},
    {"use_direct", mm__use_direct},
    {NULL, NULL},
};

static void push_session(lua_State *L) {
  struct mm__session *session = mm__object_new(L, MM__SESSION, sizeof *session);
  session->connected = false;
  session->images = NULL;
  mm__push_metatable(L, MM__SESSION);
  lua_pushcfunction(L, session_collect);
  lua_setfield(L, -2, "__gc");
  lua_setmetatable(L, -2); /* again: 5.2 and later look for __gc when it is set */
}

MM_API int luaopen_matchmaker_core(lua_State *L);

int luaopen_matchmaker_core(lua_State *L) {
  mm__error_open(L);
  mm__image_open(L);
  mm__function_open(L);
  mm__pointer_open(L);
  mm__callback_open(L);
  mm__clients_open(L);
  mm__view_open(L);
  mm__memory_open(L);
  push_session(L);
  lua_newtable(L);
  mm__set_functions(L, functions);
  mm__terminal_open(L);
  lua_setfield(L, -2, "terminal");
  lua_pushlightuserdata(L, NULL);
  lua_setfield(L, -2, "null");
  lua_pushliteral(L, MM_VERSION);
  lua_setfield(L, -2, "version");
  return 1;
}
