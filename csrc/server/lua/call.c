/* server/lua/call.c - a call of an exported Lua function: C arguments become Lua values, the result
 * a C one. */
#include "server/lua/server.h"

#include <string.h>

#include "matchmaker/server.h"

#define PARAMETER_LIMIT 127u
#define EXACT           9007199254740992.0 /* 2^53: to there a double holds every integer */

_Static_assert(sizeof(struct mm__lua_frame) == 112, "x86_64/stubs.S has room for as much");

struct scalar {
  uint8_t kind, size; /* of enum mm__kind; an enum is its integer */
};

static struct function {
  int function, kept; /* references; `kept` holds the text that it returned last */
  struct scalar result;
  uint32_t parameter_count;
  struct scalar parameters[PARAMETER_LIMIT];
} functions[MM__LUA_STUBS];
static uint32_t function_count;
static lua_State *state;

void mm__lua_use_state(lua_State *L) { state = L; }

/* --- taking a stub --- */

static struct scalar scalar_of(lua_State *L, const struct mm__registry *registry, uint32_t index) {
  const struct mm__type *type = &registry->types[index];
  if (type->kind == MM__ENUM) type = &registry->types[type->target];
  if (type->kind > MM__POINTER || (type->kind == MM__FLOAT && type->size > 8)) {
    char text[128];
    mm__type_text(registry, index, NULL, text, sizeof text);
    luaL_error(L, "`%s` cannot be passed to or from a Lua function", text);
  }
  return (struct scalar){type->kind, (uint8_t)type->size};
}

void *mm__lua_take_stub(lua_State *L, const struct mm__registry *registry, uint32_t type) {
  const struct mm__type *of = &registry->types[type];
  if (function_count == MM__LUA_STUBS)
    luaL_error(L, "at most %d Lua functions can be exported", (int)MM__LUA_STUBS);
  if (of->flags & MM__TYPE_VARIADIC) luaL_error(L, "a Lua function cannot be exported with `...`");
  struct function *function = &functions[function_count];
  function->result = scalar_of(L, registry, of->target);
  function->parameter_count = of->member_count;
  for (uint32_t i = 0; i < of->member_count; i++)
    function->parameters[i] = scalar_of(L, registry, registry->members[of->first_member + i].type);
  function->function = luaL_ref(L, LUA_REGISTRYINDEX);
  lua_pushboolean(L, 0);
  function->kept = luaL_ref(L, LUA_REGISTRYINDEX);
  return (void *)(mm__lua_stubs + MM__LUA_STUB_BYTES * (size_t)function_count++);
}

/* --- arguments --- */

static int64_t extend(uint64_t bits, struct scalar scalar) {
  unsigned shift = 64 - 8u * scalar.size;
  return scalar.kind == MM__SIGNED ? (int64_t)(bits << shift) >> shift
                                   : (int64_t)(bits << shift >> shift);
}

static void push_integer(lua_State *L, int64_t value, bool is_signed) {
#if LUA_VERSION_NUM >= 503
  if (!is_signed && value < 0) luaL_error(L, "an argument is too large for an integer of Lua");
  lua_pushinteger(L, value);
#else
  lua_Number number = is_signed ? (lua_Number)value : (lua_Number)(uint64_t)value;
  if (number > EXACT || number < -EXACT)
    luaL_error(L, "an argument is too large for a number of Lua");
  lua_pushnumber(L, number);
#endif
}

static void push_float(lua_State *L, uint64_t bits, struct scalar scalar) {
  float single;
  double number;
  memcpy(&single, &bits, sizeof single);
  memcpy(&number, &bits, sizeof number);
  lua_pushnumber(L, scalar.size == 4 ? (double)single : number);
}

static void push(lua_State *L, uint64_t bits, struct scalar scalar) {
  switch (scalar.kind) {
  case MM__BOOL:
    lua_pushboolean(L, (bits & 0xff) != 0);
    return;
  case MM__SIGNED:
  case MM__UNSIGNED:
    push_integer(L, extend(bits, scalar), scalar.kind == MM__SIGNED);
    return;
  case MM__FLOAT:
    push_float(L, bits, scalar);
    return;
  default:
    if (bits == 0)
      lua_pushnil(L);
    else if (scalar.kind == MM__STRING)
      lua_pushstring(L, (const char *)bits);
    else
      lua_pushlightuserdata(L, (void *)bits);
  }
}

struct call {
  const struct function *function;
  struct mm__lua_frame *frame;
  const uint64_t *stack;
};

static void push_arguments(lua_State *L, const struct call *call) {
  const uint64_t *stack = call->stack;
  uint32_t integers = 0, floats = 0;
  for (uint32_t i = 0; i < call->function->parameter_count; i++) {
    struct scalar scalar = call->function->parameters[i];
    uint64_t bits;
    if (scalar.kind == MM__FLOAT && floats < 8)
      memcpy(&bits, &call->frame->floats[floats++], sizeof bits);
    else if (scalar.kind != MM__FLOAT && integers < 6)
      bits = call->frame->integers[integers++];
    else
      bits = *stack++;
    push(L, bits, scalar);
  }
}

/* --- results --- */

static void wrong_result(lua_State *L, const char *wanted) {
  luaL_error(L, "it returned %s; its prototype wants %s", luaL_typename(L, -1), wanted);
}

static uint64_t integer_result(lua_State *L, struct scalar scalar) {
  if (lua_type(L, -1) != LUA_TNUMBER) wrong_result(L, "an integer");
#if LUA_VERSION_NUM >= 503
  int is_integer;
  int64_t value = lua_tointegerx(L, -1, &is_integer);
  if (!is_integer) wrong_result(L, "an integer");
#else
  lua_Number number = lua_tonumber(L, -1);
  int64_t value = number >= -EXACT && number <= EXACT ? (int64_t)number : 0;
  if ((lua_Number)value != number) wrong_result(L, "an integer");
#endif
  if ((scalar.kind == MM__UNSIGNED && value < 0) || extend((uint64_t)value, scalar) != value)
    luaL_error(L, "it returned an integer that its prototype has no room for");
  return (uint64_t)value;
}

static void float_result(lua_State *L, const struct call *call) {
  double number = lua_tonumber(L, -1);
  float single = (float)number;
  if (lua_type(L, -1) != LUA_TNUMBER) wrong_result(L, "a number");
  if (call->function->result.size == 4)
    memcpy(&call->frame->floats[0], &single, sizeof single);
  else
    call->frame->floats[0] = number;
}

/* The text has to live until the caller has read it. */
static uint64_t string_result(lua_State *L, const struct function *function) {
  if (lua_isnil(L, -1)) return 0;
  if (lua_type(L, -1) != LUA_TSTRING) wrong_result(L, "a string");
  uint64_t address = (uint64_t)lua_tostring(L, -1);
  lua_pushvalue(L, -1);
  lua_rawseti(L, LUA_REGISTRYINDEX, function->kept);
  return address;
}

static void take_result(lua_State *L, const struct call *call) {
  struct scalar result = call->function->result;
  uint64_t *integer = &call->frame->integers[0];
  switch (result.kind) {
  case MM__VOID:
    return;
  case MM__BOOL:
    *integer = (uint64_t)lua_toboolean(L, -1);
    return;
  case MM__SIGNED:
  case MM__UNSIGNED:
    *integer = integer_result(L, result);
    return;
  case MM__FLOAT:
    float_result(L, call);
    return;
  case MM__STRING:
    *integer = string_result(L, call->function);
    return;
  default:
    if (!lua_isnil(L, -1) && !lua_islightuserdata(L, -1)) wrong_result(L, "a pointer or nil");
    *integer = (uint64_t)lua_touserdata(L, -1);
  }
}

/* --- the call --- */

static int run(lua_State *L) {
  const struct call *call = lua_touserdata(L, 1);
  luaL_checkstack(L, (int)call->function->parameter_count + 8, "the arguments");
  lua_rawgeti(L, LUA_REGISTRYINDEX, call->function->function);
  push_arguments(L, call);
  lua_call(L, (int)call->function->parameter_count, 1);
  take_result(L, call);
  return 0;
}

void mm__lua_called(uint32_t index, struct mm__lua_frame *frame, const uint64_t *stack) {
  struct call call = {&functions[index], frame, stack};
  if (!state || !lua_checkstack(state, 4)) mm_fail("the Lua state is not ready");
  lua_pushcfunction(state, run);
  lua_pushlightuserdata(state, &call);
  if (lua_pcall(state, 1, 0, 0) == 0) return;
  const char *message = lua_tostring(state, -1);
  mm_fail(message ? message : "an error that is not a string");
}
