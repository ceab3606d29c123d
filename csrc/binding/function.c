/* binding/function.c - exports as Lua functions: bound at the first call, and called with as little
 * as possible around. */
#include "base/error.h"
#include "binding/binding.h"

#include <stdio.h>
#include <string.h>

#define SMALL_RECORDS 1024 /* bytes that a call keeps on the C stack */

static struct mm__lua_function *self_of(lua_State *L) {
  return mm__self(L, 1, MM__FUNCTION_OBJECT, sizeof(struct mm__lua_function));
}

static const char *text_at(const struct mm__lua_function *function, uint32_t offset) {
  const struct mm_image *handle = function->image->handle;
  return handle && offset ? handle->registry.strings + offset : NULL;
}

const char *mm__function_name(const struct mm__lua_function *function) {
  return text_at(function, function->export->name);
}

const char *mm__function_prototype(const struct mm__lua_function *function) {
  return text_at(function, function->export->prototype);
}

/* What a value takes that is handled as bytes. */
static size_t record_bytes(const struct mm__registry *registry,
                           const struct mm__conversion_rule *rule) {
  return rule->conversion == MM__TO_RECORD ? registry->types[rule->type].size : 0;
}

/* Pushes a function of the image at `index` that is called as the type says. */
static struct mm__lua_function *push_function(lua_State *L, int index,
                                              const struct mm__export *export,
                                              const struct mm__registry *registry,
                                              const struct mm__type *type) {
  struct mm__lua_image *image = mm__object_at(L, index, MM__IMAGE, sizeof *image);
  uint32_t count = type->member_count;
  index = mm__absolute(L, index);
  struct mm__lua_function *function = mm__object_new(
      L, MM__FUNCTION_OBJECT, sizeof *function + (count + 1) * sizeof *function->rules);
  function->image = image;
  function->bound = NULL;
  function->export = export;
  function->count = count;
  for (uint32_t i = 0; i < count; i++)
    function->rules[i] = mm__rule_of(registry, registry->members[type->first_member + i].type);
  function->rules[count] = mm__rule_of(registry, type->target);
  function->record_bytes = 0;
  for (uint32_t i = 0; i <= count; i++)
    function->record_bytes += record_bytes(registry, &function->rules[i]);
  mm__push_link(L, index);
  mm__set_link(L, -2);
  bool is_own = type == &image->handle->registry.types[export->type];
  if (is_own && mm__is_direct(registry, type)) mm__direct_mark(L);
  return function;
}

struct mm__lua_function *mm__function_new(lua_State *L, int index,
                                          const struct mm__export *export) {
  const struct mm__lua_image *image = mm__object_at(L, index, MM__IMAGE, sizeof *image);
  const struct mm__registry *registry = &image->handle->registry;
  return push_function(L, index, export, registry, &registry->types[export->type]);
}

/* --- calls --- */

static int nothing(lua_State *L) {
  (void)L;
  return 0;
}

/* A stand-alone Lua handles SIGINT by a hook that raises "interrupted!" at the next call: here,
 * rather than in a handler of our error. */
static void let_hook_raise(lua_State *L) {
  lua_pushcfunction(L, nothing);
  lua_call(L, 0, 0);
}

static void push_error(lua_State *L, const struct mm__lua_function *function,
                       struct mm_error *error) {
  if (error->status == MM_ERROR_INTERRUPTED) let_hook_raise(L);
  mm__image_explain(function->image, error);
  snprintf(error->export_name, sizeof error->export_name, "%s", mm__function_name(function));
  snprintf(error->image, sizeof error->image, "%s", function->image->handle->path);
  mm__error_push(L, error);
  lua_pushstring(L, mm__function_prototype(function));
  lua_setfield(L, -2, "prototype");
}

_Noreturn void mm__function_raise(lua_State *L, const struct mm__lua_function *function,
                                  struct mm_error *error) {
  push_error(L, function, error);
  lua_error(L);
  __builtin_unreachable();
}

static bool is_variadic(const struct mm__lua_function *function) {
  const struct mm__registry *registry = &function->image->handle->registry;
  return registry->types[function->export->type].flags & MM__TYPE_VARIADIC &&
         !function->bound->builder;
}

static _Noreturn void raise_count(lua_State *L, const struct mm__lua_function *function, int got) {
  struct mm_error error = {.status = MM_ERROR_COUNT};
  snprintf(error.message, sizeof error.message, "%s: %s%u argument%s expected, got %d",
           mm__function_name(function), is_variadic(function) ? "at least " : "", function->count,
           function->count == 1 ? "" : "s", got);
  mm__fail_prototype(&error, mm__function_prototype(function));
  mm__function_raise(L, function, &error);
}

void mm__function_bind(lua_State *L, struct mm__lua_function *function) {
  struct mm_error error;
  if (function->bound && function->image->handle) return;
  if (!function->image->handle)
    mm__raise(L, MM_ERROR_UNMAPPED, "%s", mm_error_text(MM_ERROR_UNMAPPED));
  const char *name = mm__function_name(function);
  if (mm_bind(function->image->handle, name, NULL, &function->bound, &error) != MM_OK)
    mm__function_raise(L, function, &error);
}

/* The crossing, and what of it is to be raised. Lua functions among the arguments live for it. */
static void cross(lua_State *L, struct mm__lua_function *function, int first, uint64_t timeout_ns,
                  struct mm__value *values) {
  struct mm_error error;
  struct mm__lua_call call;
  mm__call_begin(L, &call);
  int status = mm__function_call_within(function->bound, timeout_ns, values,
                                        &values[function->count], &error);
  mm__call_end(&call);
  for (uint32_t i = 0; i < function->count; i++)
    if (values[i].is_temporary) mm__callback_drop(L, first + (int)i);
  if (status == MM_OK) return;
  push_error(L, function, &error);
  mm__call_explain(L, &call);
  lua_error(L);
}

/* Gives each record its bytes, and fills those of the arguments. */
static void convert(lua_State *L, const struct mm__lua_function *function, struct mm__place *place,
                    int first, uint8_t *bytes, struct mm__value *values) {
  for (uint32_t i = 0; i <= function->count; i++) {
    const struct mm__conversion_rule *rule = &function->rules[i];
    bool is_argument = i < function->count;
    place->argument = i + 1;
    values[i].as.bytes = bytes;
    bytes += record_bytes(place->registry, rule);
    if (is_argument)
      values[i].is_temporary = lua_type(L, first + (int)i) == LUA_TFUNCTION &&
                               mm__callback_wrap(L, first + (int)i, place, rule->type);
    if (is_argument && rule->conversion == MM__TO_RECORD)
      values[i].generation =
          mm__record_from_lua(L, first + (int)i, place, rule->type, values[i].as.bytes);
    else if (is_argument)
      mm__value_from_lua(L, first + (int)i, place, rule, &values[i]);
  }
  place->argument = 0;
}

/* Puts the function that is called with these arguments in the place of `self`; it stays with the
 * image, for the next such call. */
static struct mm__lua_function *spell(lua_State *L, struct mm__lua_function *function, int self,
                                      int first) {
  struct mm_error error;
  struct mm_function *bound;
  mm__variadic_spell(L, function, first);
  mm__push_link(L, self);
  lua_pushvalue(L, -2);
  lua_rawget(L, -2);
  struct mm__lua_function *known = mm__object_at(L, -1, MM__FUNCTION_OBJECT, sizeof *known);
  if (!known) {
    lua_pop(L, 1);
    if (mm_bind(function->image->handle, mm__function_name(function), lua_tostring(L, -2), &bound,
                &error) != MM_OK)
      mm__function_raise(L, function, &error);
    lua_rawgeti(L, -1, 2); /* image.c says what is in a link */
    known = push_function(L, -1, function->export, bound->registry, bound->type);
    known->bound = bound;
    lua_remove(L, -2);
    lua_pushvalue(L, -3);
    lua_pushvalue(L, -2);
    lua_rawset(L, -4);
  }
  lua_replace(L, self);
  lua_pop(L, 2);
  return known;
}

struct mm__place mm__function_place(const struct mm__lua_function *function, int self) {
  const struct mm_function *bound = function->bound;
  return (struct mm__place){.image = function->image,
                            .registry = bound->registry,
                            .call = mm__function_name(function),
                            .function = (uint32_t)(bound->type - bound->registry->types),
                            .link = self};
}

void mm__function_arguments(lua_State *L, const struct mm__lua_function *function,
                            struct mm__place *place, int first, struct mm__value *values) {
  int got = lua_gettop(L) - first + 1;
  if (got != (int)function->count) raise_count(L, function, got);
  convert(L, function, place, first, NULL, values);
}

int mm__function_invoke(lua_State *L, struct mm__lua_function *function, int self, int first,
                        uint64_t timeout_ns) {
  int got = lua_gettop(L) - first + 1;
  mm__function_bind(L, function);
  if (got > (int)function->count && is_variadic(function))
    function = spell(L, function, self, first);
  uint32_t count = function->count;
  if (got != (int)count) raise_count(L, function, got);
  struct mm__value values[count + 1];
  bool is_small = function->record_bytes <= SMALL_RECORDS;
  uint8_t small[is_small ? function->record_bytes + 1 : 1];
  struct mm__place place = mm__function_place(function, self);
  convert(L, function, &place, first, is_small ? small : lua_newuserdata(L, function->record_bytes),
          values);
  void *record = values[count].as.bytes;
  cross(L, function, first, timeout_ns, values);
  const struct mm__conversion_rule *rule = &function->rules[count];
  if (rule->conversion != MM__TO_RECORD) return mm__value_to_lua(L, &place, rule, &values[count]);
  mm__record_to_lua(L, &place, rule->type, record, values[count].generation);
  return 1;
}

int mm__function_apply(lua_State *L) {
  struct mm__lua_function *function = self_of(L);
  return mm__function_invoke(L, function, 1, 2, 0);
}

/* The name that is at `index` gives way to the function. */
static int call_by_name(lua_State *L, const char *function_name, int index, uint64_t timeout_ns) {
  char text[200];
  if (lua_type(L, index) != LUA_TSTRING)
    mm__raise(L, MM_ERROR_ARGUMENT, "%s: the name of an export is a string, got %s", function_name,
              mm__describe(L, index, text, sizeof text));
  lua_pushvalue(L, index);
  struct mm__lua_function *function = mm__push_export(L, 1);
  lua_replace(L, index);
  return mm__function_invoke(L, function, index, index + 1, timeout_ns);
}

int mm__request_call(lua_State *L) {
  mm__image_check(L, 1, "request_call");
  return call_by_name(L, "request_call", 2, 0);
}

int mm__image_call(lua_State *L) {
  mm__image_check(L, 1, "call");
  lua_settop(L, 2);
  uint64_t timeout_ns = 0;
  int count = mm__read_call(L, 2, &timeout_ns);
  luaL_checkstack(L, count + 10, "arguments");
  for (int i = 1; i <= count; i++) lua_rawgeti(L, 2, i);
  return call_by_name(L, "call", 3, timeout_ns);
}

/* --- binding with an expectation --- */

/* A prototype that was found right is remembered beside the image: binding again must not take
 * memory again. */
static bool is_known(lua_State *L, const char *name, const char *prototype) {
  mm__push_link(L, 1);
  lua_pushfstring(L, "%s\n%s", name, prototype);
  lua_rawget(L, -2);
  bool known = !lua_isnil(L, -1);
  lua_pop(L, 2);
  return known;
}

static void remember(lua_State *L, const char *name, const char *prototype) {
  mm__push_link(L, 1);
  lua_pushfstring(L, "%s\n%s", name, prototype);
  lua_pushboolean(L, 1);
  lua_rawset(L, -3);
  lua_pop(L, 1);
}

int mm__image_bind(lua_State *L) {
  struct mm__lua_image *image = mm__image_check(L, 1, "bind");
  struct mm_error error;
  lua_settop(L, 3);
  if (lua_type(L, 2) != LUA_TSTRING) mm__wrong_argument(L, 2, "bind", "the name of an export");
  const char *name = lua_tostring(L, 2);
  const char *prototype = lua_isnil(L, 3) ? NULL : mm__c_text(L, 3, "bind", "a prototype or nil");
  lua_pushvalue(L, 2);
  struct mm__lua_function *function = mm__push_export(L, 1);
  if (!prototype || is_known(L, name, prototype)) return 1;
  struct mm_function *bound;
  if (mm_bind(image->handle, name, prototype, &bound, &error) != MM_OK)
    mm__function_raise(L, function, &error);
  if (bound->builder) { /* one way to call a variadic function: a function of its own */
    push_function(L, 1, function->export, bound->registry, bound->type)->bound = bound;
    return 1;
  }
  function->bound = bound;
  remember(L, name, prototype);
  return 1;
}

/* --- what a function tells about itself --- */

static int text(lua_State *L) {
  const struct mm__lua_function *function = self_of(L);
  const char *prototype = mm__function_prototype(function);
  lua_pushstring(L, prototype ? prototype : "function of an image that is gone");
  return 1;
}

static int field(lua_State *L) {
  const struct mm__lua_function *function = self_of(L);
  const char *name = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "";
  const char *value = NULL;
  if (strcmp(name, "image") == 0) {
    mm__push_link(L, 1);
    lua_rawgeti(L, -1, 2); /* image.c says what is in a link */
    return 1;
  }
  if (strcmp(name, "name") == 0) value = mm__function_name(function);
  if (strcmp(name, "prototype") == 0) value = mm__function_prototype(function);
  if (strcmp(name, "doc") == 0) value = text_at(function, function->export->doc);
  lua_pushstring(L, value);
  return 1;
}

void mm__function_open(lua_State *L) {
  static const luaL_Reg list[] = {
      {"__call", mm__function_apply}, {"__tostring", text}, {"__index", field}, {NULL, NULL}};
  lua_pushnil(L);
  mm__push_metatable(L, MM__FUNCTION_OBJECT);
  mm__set_functions(L, list);
  lua_pushliteral(L, "matchmaker function");
  lua_setfield(L, -2, "__name");
  lua_pop(L, 2);
}
