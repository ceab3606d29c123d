/* binding/wide.c - 64-bit integers that a Lua number does not hold: cdata in LuaJIT; elsewhere, for
 * arguments, text. */
#include "binding/binding.h"

#include <errno.h>
#include <stdlib.h>

static const char classify_key, box_key;

int mm__use_cdata(lua_State *L) {
  luaL_checktype(L, 1, LUA_TFUNCTION);
  luaL_checktype(L, 2, LUA_TFUNCTION);
  lua_settop(L, 2);
  lua_pushlightuserdata(L, (void *)&box_key);
  lua_insert(L, 2);
  lua_rawset(L, LUA_REGISTRYINDEX);
  lua_pushlightuserdata(L, (void *)&classify_key);
  lua_insert(L, 1);
  lua_rawset(L, LUA_REGISTRYINDEX);
  return 0;
}

static bool push_helper(lua_State *L, const char *key) {
  luaL_checkstack(L, 4, "a 64-bit integer");
  lua_pushlightuserdata(L, (void *)key);
  lua_rawget(L, LUA_REGISTRYINDEX);
  if (!lua_isnil(L, -1)) return true;
  lua_pop(L, 1);
  return false;
}

/* Whether 64 bits, read with or without a sign, are in the range of the parameter. */
static bool fits(const struct mm__conversion_rule *rule, int64_t integer, bool is_unsigned) {
  bool is_large = is_unsigned && integer < 0;
  if (rule->conversion == MM__TO_UNSIGNED_64) return is_unsigned || integer >= 0;
  return !is_large && integer >= rule->low && integer <= rule->high;
}

static int64_t from_cdata(lua_State *L, int index, const struct mm__place *place,
                          const struct mm__conversion_rule *rule) {
  index = mm__absolute(L, index);
  if (!push_helper(L, &classify_key)) mm__place_refuse(L, index, place, rule->type);
  lua_pushvalue(L, index);
  lua_call(L, 1, 1);
  int kind = (int)lua_tonumber(L, -1); /* 0: neither int64_t nor uint64_t */
  lua_pop(L, 1);
  if (kind == 0) mm__place_refuse(L, index, place, rule->type);
  int64_t integer = *(const int64_t *)lua_topointer(L, index);
  if (fits(rule, integer, kind == 2)) return integer;
  if (kind == 2)
    mm__place_raise(L, place, rule->type, MM_ERROR_RANGE, "%lluULL is out of range",
                    (unsigned long long)integer);
  mm__place_raise(L, place, rule->type, MM_ERROR_RANGE, "%lldLL is out of range",
                  (long long)integer);
}

/* Decimal or 0x, with nothing around it. */
static int64_t from_text(lua_State *L, int index, const struct mm__place *place,
                         const struct mm__conversion_rule *rule) {
  size_t length;
  const char *text = lua_tolstring(L, index, &length), *digits = text + (*text == '-');
  bool is_unsigned = rule->conversion == MM__TO_UNSIGNED_64 && digits == text;
  int base = digits[0] == '0' && (digits[1] == 'x' || digits[1] == 'X') ? 16 : 10;
  char *end = NULL;
  errno = 0;
  int64_t integer = is_unsigned ? (int64_t)strtoull(text, &end, base) : strtoll(text, &end, base);
  if (digits[0] < '0' || digits[0] > '9' || end != text + length)
    mm__place_raise(L, place, rule->type, MM_ERROR_TYPE, "\"%.100s\" is not an integer", text);
  if (errno || !fits(rule, integer, is_unsigned))
    mm__place_raise(L, place, rule->type, MM_ERROR_RANGE, "%.100s is out of range", text);
  return integer;
}

/* Where some values of the type have nothing else: integers of Lua have all that have a sign. */
static bool takes_text(lua_State *L, const struct mm__conversion_rule *rule) {
  bool has_sign = rule->conversion == MM__TO_INTEGER && rule->low == INT64_MIN;
  if (rule->conversion != MM__TO_UNSIGNED_64 && (MM__HAS_INTEGERS || !has_sign)) return false;
  bool has_cdata = push_helper(L, &classify_key);
  if (has_cdata) lua_pop(L, 1);
  return !has_cdata;
}

int64_t mm__wide_from_lua(lua_State *L, int index, const struct mm__place *place,
                          const struct mm__conversion_rule *rule) {
  int type = lua_type(L, index);
  if (type == MM__TYPE_CDATA) return from_cdata(L, index, place, rule);
  if (type == LUA_TSTRING && takes_text(L, rule)) return from_text(L, index, place, rule);
  mm__place_refuse(L, index, place, rule->type);
}

void mm__wide_to_lua(lua_State *L, const struct mm__place *place, uint32_t type, int64_t integer,
                     bool is_unsigned) {
  static const char why[] = "does not fit a Lua number exactly";
  bool has_cdata = push_helper(L, &box_key);
  if (!has_cdata && is_unsigned)
    mm__place_raise(L, place, type, MM_ERROR_RANGE, "%llu %s", (unsigned long long)integer, why);
  if (!has_cdata)
    mm__place_raise(L, place, type, MM_ERROR_RANGE, "%lld %s", (long long)integer, why);
  lua_pushlightuserdata(L, &integer);
  lua_pushboolean(L, is_unsigned);
  lua_call(L, 2, 1);
}
