/* binding/callback.c - Lua functions that images call.
 *
 * A callback runs in the Lua state, and the coroutine, of the call that it comes from: the newest one
 * that this thread has made from its universe, as long as no other callback runs there. So a call
 * that was not made by mm__function_invoke, but by machine code of LuaJIT's, never enters Lua. All of
 * it happens in a protected call; what fails is kept on the stack of the call, ends it, and is
 * raised again there. */
#include "base/error.h"
#include "binding/binding.h"

#include <stdio.h>
#include <string.h>

/* The link of a callback is like an image's own, and holds its function. */
enum link { LINK_SESSION = 1, LINK_IMAGE = 2, LINK_FUNCTION = 4 };

/* What a failure leaves on the stack of the call. */
enum failure { FAILURE_CAUSE = 1, FAILURE_TRACEBACK = 2 };

struct mm__lua_callback {
  const char *tag;
  struct mm__lua_image *image;
  struct mm_callback *handle; /* NULL: freed */
  const void *universe;       /* Lua's registry: all coroutines of a state have it */
  char name[140];
};

static const char callbacks_key; /* of the table, weak, of all callbacks by their addresses */

static __thread struct mm__lua_call *newest __attribute__((tls_model("initial-exec")));

static struct mm__lua_callback *callback_at(lua_State *L, int index) {
  return mm__object_at(L, index, MM__CALLBACK_OBJECT, sizeof(struct mm__lua_callback));
}

void mm__call_begin(lua_State *L, struct mm__lua_call *call) {
  luaL_checkstack(L, LUA_MINSTACK, "a callback");
  lua_pushnil(L);
  *call = (struct mm__lua_call){.L = L,
                                .universe = lua_topointer(L, LUA_REGISTRYINDEX),
                                .failure = lua_gettop(L),
                                .outer = newest};
  newest = call;
}

void mm__call_end(const struct mm__lua_call *call) { newest = call->outer; }

static struct mm__lua_call *call_of(const void *universe) {
  struct mm__lua_call *call = newest;
  while (call && call->universe != universe) call = call->outer;
  return call && !call->is_running ? call : NULL;
}

/* --- running --- */

struct running {
  const struct mm_callback *callback;
  const struct mm__value *arguments;
  struct mm__value *result;
  struct mm_error *error;
};

/* Pushes the callback, its link, its image and its function. */
static void push_parts(lua_State *L, const struct mm__lua_callback *self) {
  lua_pushlightuserdata(L, (void *)&callbacks_key);
  lua_rawget(L, LUA_REGISTRYINDEX);
  lua_pushlightuserdata(L, (void *)self);
  lua_rawget(L, -2);
  lua_remove(L, -2);
  if (!callback_at(L, -1)) mm__raise(L, MM_ERROR_CALLBACK, "%s", "the callback was collected");
  mm__push_link(L, -1);
  lua_rawgeti(L, -1, LINK_IMAGE);
  lua_rawgeti(L, -2, LINK_FUNCTION);
}

static void push_argument(lua_State *L, const struct mm__place *place, uint32_t type,
                          const struct mm__value *value) {
  struct mm__conversion_rule rule = mm__rule_of(place->registry, type);
  if (rule.conversion == MM__TO_RECORD)
    mm__record_to_lua(L, place, type, value->as.bytes, value->generation);
  else if (mm__value_to_lua(L, place, &rule, value) == 0)
    lua_pushnil(L);
}

static void take_result(lua_State *L, const struct mm__place *place, uint32_t type,
                        struct mm__value *value) {
  struct mm__conversion_rule rule = mm__rule_of(place->registry, type);
  if (rule.conversion == MM__TO_RECORD)
    mm__record_from_lua(L, -1, place, type, value->as.bytes);
  else
    mm__value_from_lua(L, -1, place, &rule, value);
}

/* (running): what the function returned, if anything. */
static int call_function(lua_State *L) {
  const struct running *running = lua_touserdata(L, 1);
  const struct mm__lua_callback *self = running->callback->user;
  const struct mm__callback_type *type = running->callback->type;
  uint32_t count = type->type->member_count, result = type->type->target;
  bool is_void = type->registry->types[result].kind == MM__VOID;
  struct mm__place place = {.image = self->image,
                            .registry = type->registry,
                            .call = self->name,
                            .function = type->index,
                            .is_callback = true};
  luaL_checkstack(L, (int)count + 10, "arguments");
  push_parts(L, self);
  place.link = lua_gettop(L) - 1;
  for (uint32_t i = 0; i < count; i++) {
    place.argument = i + 1;
    push_argument(L, &place, type->registry->members[type->type->first_member + i].type,
                  &running->arguments[i]);
  }
  lua_call(L, (int)count, is_void ? 0 : 1);
  place.argument = 0;
  if (!is_void) take_result(L, &place, result, running->result);
  return !is_void;
}

/* Pushes a text for any value. */
static void push_text(lua_State *L, int index) {
  if (luaL_callmeta(L, index, "__tostring") && lua_isstring(L, -1)) return;
  if (lua_isstring(L, index))
    lua_pushvalue(L, index);
  else
    lua_pushfstring(L, "(error object is a %s value)", luaL_typename(L, index));
}

static void push_traceback(lua_State *L) {
#if LUA_VERSION_NUM >= 502
  luaL_traceback(L, L, NULL, 2);
#else
  lua_getfield(L, LUA_REGISTRYINDEX, "_LOADED");
  lua_getfield(L, -1, "debug");
  if (lua_istable(L, -1)) lua_getfield(L, -1, "traceback");
  if (!lua_isfunction(L, -1)) return;
  lua_pushliteral(L, "");
  lua_pushinteger(L, 3);
  lua_call(L, 2, 1);
#endif
}

/* The handler of what is raised in a callback: (value) gives the failure. What comes from a callback
 * further in has its cause and its traceback already. */
static int keep_failure(lua_State *L) {
  const struct running *running = lua_touserdata(L, lua_upvalueindex(1));
  lua_settop(L, 1);
  lua_createtable(L, 2, 0);
  if (mm__error_is(L, 1, MM_ERROR_CALLBACK)) {
    lua_getfield(L, 1, "traceback");
    lua_getfield(L, 1, "cause");
    if (lua_isnil(L, -1))
      lua_settop(L, 2);
    else
      lua_replace(L, 1);
  }
  if (lua_gettop(L) == 2 || !lua_isstring(L, 3)) {
    lua_settop(L, 2);
    push_traceback(L);
    lua_insert(L, 3);
  }
  lua_settop(L, 3);
  lua_rawseti(L, 2, FAILURE_TRACEBACK);
  lua_pushvalue(L, 1);
  lua_rawseti(L, 2, FAILURE_CAUSE);
  push_text(L, 1);
  mm__fail(running->error, MM_ERROR_CALLBACK, "error in a callback: %s", lua_tostring(L, -1));
  lua_settop(L, 2);
  return 1;
}

static int body(lua_State *L) {
  void *running = lua_touserdata(L, 1);
  lua_pushlightuserdata(L, running);
  lua_pushcclosure(L, keep_failure, 1);
  lua_pushcfunction(L, call_function);
  lua_pushlightuserdata(L, running);
  if (lua_pcall(L, 1, LUA_MULTRET, 2)) return lua_error(L);
  return 0;
}

/* About as deep as Lua's own calls through C. LuaJIT has no limit to these, and the stack has one. */
#define NESTING_LIMIT 200
static _Thread_local unsigned nesting;

/* Nothing may be raised from here on to the caller. A string that is the result stays where it is
 * until it is copied: Lua does nothing in between. */
static int run(const struct mm_callback *callback, const struct mm__value *arguments,
               struct mm__value *result, struct mm_error *error) {
  const struct mm__lua_callback *self = callback->user;
  struct running running = {callback, arguments, result, error};
  struct mm__lua_call *call = call_of(self->universe);
  if (!call)
    return mm__fail(error, MM_ERROR_CALLBACK, "%s: not called from its Lua state", self->name);
  if (nesting == NESTING_LIMIT)
    return mm__fail(error, MM_ERROR_CALLBACK, "%s: %u callbacks are running inside one another",
                    self->name, nesting);
  lua_State *L = call->L;
  int top = lua_gettop(L);
  mm__fail(error, MM_ERROR_CALLBACK, "error in a callback: out of memory");
  call->is_running = true;
  nesting++;
  int status = mm__protected(L, body, &running);
  nesting--;
  call->is_running = false;
  if (status) lua_replace(L, call->failure);
  lua_settop(L, top);
  return status ? MM_ERROR_CALLBACK : MM_OK;
}

void mm__call_explain(lua_State *L, const struct mm__lua_call *call) {
  if (lua_type(L, call->failure) != LUA_TTABLE) return;
  lua_rawgeti(L, call->failure, FAILURE_CAUSE);
  lua_setfield(L, -2, "cause");
  lua_rawgeti(L, call->failure, FAILURE_TRACEBACK);
  lua_setfield(L, -2, "traceback");
}

/* --- from making to freeing --- */

/* Pushes the link of a callback: the function is at `function`. */
static void push_new_link(lua_State *L, int image, int function) {
  lua_createtable(L, LINK_FUNCTION, 0);
  mm__push_link(L, image);
  lua_rawgeti(L, -1, LINK_SESSION);
  lua_rawseti(L, -3, LINK_SESSION);
  lua_rawgeti(L, -1, LINK_IMAGE);
  lua_rawseti(L, -3, LINK_IMAGE);
  lua_pop(L, 1);
  lua_pushvalue(L, function);
  lua_rawseti(L, -2, LINK_FUNCTION);
}

static void remember(lua_State *L, const struct mm__lua_callback *callback) {
  lua_pushlightuserdata(L, (void *)&callbacks_key);
  lua_rawget(L, LUA_REGISTRYINDEX);
  lua_pushlightuserdata(L, (void *)callback);
  lua_pushvalue(L, -3);
  lua_rawset(L, -3);
  lua_pop(L, 1);
}

/* `object`: the index of an object of the image. */
static struct mm__lua_callback *push_new(lua_State *L, struct mm__lua_image *image, int object,
                                         int function) {
  struct mm__lua_callback *callback = mm__object_new(L, MM__CALLBACK_OBJECT, sizeof *callback);
  callback->image = image;
  callback->handle = NULL;
  callback->universe = lua_topointer(L, LUA_REGISTRYINDEX);
  callback->name[0] = 0;
  push_new_link(L, object, function);
  mm__set_link(L, -2);
  remember(L, callback);
  return callback;
}

static void release(struct mm__lua_callback *callback) {
  /* With its image's handle went all of its callbacks. */
  if (callback->handle && callback->image->handle) mm_callback_release(callback->handle);
  callback->handle = NULL;
}

int mm__image_callback(lua_State *L) {
  struct mm__lua_image *image = mm__image_check(L, 1, "callback");
  const struct mm__callback_type *type;
  struct mm_error error;
  lua_settop(L, 3);
  const char *prototype = mm__c_text(L, 2, "callback", "a prototype");
  if (lua_type(L, 3) != LUA_TFUNCTION) mm__wrong_argument(L, 3, "callback", "a function");
  struct mm__lua_callback *callback = push_new(L, image, 1, 3);
  int status = mm__callback_type_of(image->handle, prototype, &type, &error);
  if (status == MM_OK)
    status = mm__callback_new(image->handle, type, run, NULL, callback, &callback->handle, &error);
  if (status != MM_OK) mm__image_fail(L, image, "callback", &error);
  snprintf(callback->name, sizeof callback->name, "callback");
  return 1;
}

/* A parameter that is a function pointer: the index of the function type. */
static bool is_function_pointer(const struct mm__registry *registry, uint32_t type,
                                uint32_t *function) {
  *function = registry->types[type].target;
  return mm__points_to_function(registry, &registry->types[type]);
}

bool mm__callback_wrap(lua_State *L, int index, const struct mm__place *place, uint32_t wanted) {
  const struct mm__callback_type *type;
  struct mm_error error;
  uint32_t function;
  if (!is_function_pointer(place->registry, wanted, &function)) return false;
  struct mm__lua_callback *callback = push_new(L, place->image, place->link, index);
  struct mm_image *handle = place->image->handle;
  snprintf(callback->name, sizeof callback->name, "callback of %.120s", place->call);
  int status = mm__callback_type_at(handle, function, &type, &error);
  if (status == MM_OK)
    status = mm__callback_new(handle, type, run, NULL, callback, &callback->handle, &error);
  if (status != MM_OK) mm__place_raise(L, place, wanted, status, "%s", error.message);
  lua_replace(L, index);
  return true;
}

void mm__callback_drop(lua_State *L, int index) {
  struct mm__lua_callback *callback = callback_at(L, index);
  if (callback) release(callback);
}

/* Whether a pointer to that function may stand where one of type `wanted` is. */
static bool fits(const struct mm__place *place, uint32_t wanted,
                 const struct mm__registry *registry, uint32_t type) {
  uint32_t function;
  if (is_function_pointer(place->registry, wanted, &function))
    return mm__type_equal(registry, type, place->registry, function);
  const struct mm__type *pointer = &place->registry->types[wanted];
  return pointer->kind == MM__POINTER && place->registry->types[pointer->target].kind == MM__VOID;
}

/* An export, whose address is the same after every reset. */
static bool export_from_lua(lua_State *L, int index, const struct mm__place *place, uint32_t wanted,
                            struct mm__value *value) {
  const struct mm__lua_function *function =
      mm__object_at(L, index, MM__FUNCTION_OBJECT, sizeof *function);
  if (!function || !function->image->handle) return false;
  if (!fits(place, wanted, &function->image->handle->registry, function->export->type))
    return false;
  if (function->image != place->image)
    mm__place_raise(L, place, wanted, MM_ERROR_OWNER, "got a function of another image, %s",
                    mm__image_name(function->image));
  value->as.pointer = (const void *)function->export->address;
  value->generation = 0;
  return true;
}

bool mm__callback_from_lua(lua_State *L, int index, const struct mm__place *place, uint32_t wanted,
                           struct mm__value *value) {
  const struct mm__lua_callback *callback = callback_at(L, index);
  uint32_t function;
  if (lua_type(L, index) == LUA_TFUNCTION &&
      is_function_pointer(place->registry, wanted, &function))
    mm__place_raise(L, place, wanted, MM_ERROR_TYPE,
                    "got a function, which would not last; image:callback makes one that does");
  if (!callback) return export_from_lua(L, index, place, wanted, value);
  if (callback->image != place->image)
    mm__place_raise(L, place, wanted, MM_ERROR_OWNER, "got a callback of another image, %s",
                    mm__image_name(callback->image));
  if (!callback->handle)
    mm__place_raise(L, place, wanted, MM_ERROR_STALE, "got a callback that was freed");
  const struct mm__callback_type *type = callback->handle->type;
  if (!fits(place, wanted, type->registry, type->index)) mm__place_refuse(L, index, place, wanted);
  value->as.pointer = callback->handle->pointer;
  value->generation = 0;
  return true;
}

bool mm__callback_describe(lua_State *L, int index, char *text, size_t size) {
  const struct mm__lua_callback *callback = callback_at(L, index);
  char type[160];
  if (!callback) return false;
  if (!callback->handle || !callback->image->handle) {
    snprintf(text, size, "a callback that was freed");
    return true;
  }
  const struct mm__callback_type *of = callback->handle->type;
  mm__type_text(of->registry, of->index, NULL, type, sizeof type);
  snprintf(text, size, "a callback `%s`", type);
  return true;
}

static int free_callback(lua_State *L) {
  release(mm__self(L, 1, MM__CALLBACK_OBJECT, sizeof(struct mm__lua_callback)));
  return 0;
}

static int text(lua_State *L) {
  char line[200];
  mm__self(L, 1, MM__CALLBACK_OBJECT, sizeof(struct mm__lua_callback));
  mm__callback_describe(L, 1, line, sizeof line);
  lua_pushstring(L, line + 2); /* without the article */
  return 1;
}

/* That of a module which was opened before is kept. */
static void open_list(lua_State *L) {
  lua_pushlightuserdata(L, (void *)&callbacks_key);
  lua_pushvalue(L, -1);
  lua_rawget(L, LUA_REGISTRYINDEX);
  if (lua_isnil(L, -1)) {
    lua_pop(L, 1);
    lua_newtable(L);
    lua_createtable(L, 0, 1);
    lua_pushliteral(L, "v");
    lua_setfield(L, -2, "__mode");
    lua_setmetatable(L, -2);
  }
  lua_rawset(L, LUA_REGISTRYINDEX);
}

void mm__callback_open(lua_State *L) {
  static const luaL_Reg events[] = {
      {"__gc", free_callback}, {"__close", free_callback}, {"__tostring", text}, {NULL, NULL}};
  open_list(L);
  lua_pushnil(L);
  mm__push_metatable(L, MM__CALLBACK_OBJECT);
  mm__set_functions(L, events);
  lua_createtable(L, 0, 1);
  lua_pushcfunction(L, free_callback);
  lua_setfield(L, -2, "free");
  lua_setfield(L, -2, "__index");
  lua_pushliteral(L, "matchmaker callback");
  lua_setfield(L, -2, "__name");
  lua_pop(L, 2);
}
