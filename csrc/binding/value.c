/* binding/value.c - Lua values to C arguments and back: strict, and in the range of the C type. */
#include "binding/binding.h"

#include <math.h>
#include <string.h>

#define EXACT     9007199254740992 /* 2^53: a double holds every integer up to here */
#define TWO_TO_63 9223372036854775808.0

static struct mm__conversion_rule integer_rule(const struct mm__type *type) {
  unsigned bits = type->size * 8;
  if (type->kind == MM__SIGNED)
    return (struct mm__conversion_rule){.low = INT64_MIN >> (64 - bits),
                                        .high = INT64_MAX >> (64 - bits),
                                        .conversion = MM__TO_INTEGER};
  if (bits == 64) return (struct mm__conversion_rule){.conversion = MM__TO_UNSIGNED_64};
  return (struct mm__conversion_rule){.high = ((int64_t)1 << bits) - 1,
                                      .conversion = MM__TO_INTEGER};
}

struct mm__conversion_rule mm__rule_of(const struct mm__registry *registry, uint32_t index) {
  const struct mm__type *type = &registry->types[index];
  struct mm__conversion_rule rule = {.conversion = MM__TO_NOTHING};
  if (type->kind == MM__SIGNED || type->kind == MM__UNSIGNED) rule = integer_rule(type);
  if (type->kind == MM__ENUM) {
    rule = integer_rule(&registry->types[type->target]);
    rule.conversion = MM__TO_ENUM;
  }
  if (type->kind == MM__BOOL) rule.conversion = MM__TO_BOOL;
  if (type->kind == MM__STRING) rule.conversion = MM__TO_STRING;
  if (type->kind == MM__POINTER) rule.conversion = MM__TO_POINTER;
  if (mm__by_value(type) || type->kind == MM__ARRAY) rule.conversion = MM__TO_RECORD;
  if (type->kind == MM__FLOAT)
    rule.conversion = type->size == 4   ? MM__TO_FLOAT
                      : type->size == 8 ? MM__TO_DOUBLE
                                        : MM__TO_EXTENDED;
  rule.type = index;
  return rule;
}

/* --- what goes wrong --- */

static _Noreturn void out_of_range(lua_State *L, int index, const struct mm__place *place,
                                   const struct mm__conversion_rule *rule) {
  lua_Number number = lua_tonumber(L, index);
  const char *what =
      isfinite(number) && floor(number) == number ? "is out of range" : "is not an integer";
#if MM__HAS_INTEGERS
  if (lua_isinteger(L, index))
    mm__place_raise(L, place, rule->type, MM_ERROR_RANGE, "%lld is out of range",
                    (long long)lua_tointeger(L, index));
#endif
  mm__place_raise(L, place, rule->type, MM_ERROR_RANGE, "%.17g %s", number, what);
}

/* --- one conversion for each kind --- */

/* A number that is an integer and fits; C says what a double out of range converts to: anything. */
static inline bool whole(lua_State *L, int index, int64_t *integer) {
#if MM__HAS_INTEGERS
  if (lua_isinteger(L, index)) {
    *integer = lua_tointeger(L, index);
    return true;
  }
#endif
  lua_Number number = lua_tonumber(L, index);
  if (!(number >= -TWO_TO_63 && number < TWO_TO_63)) return false;
  *integer = (int64_t)number;
  return (lua_Number)*integer == number;
}

static int64_t integer_from(lua_State *L, int index, const struct mm__place *place,
                            const struct mm__conversion_rule *rule) {
  int64_t integer;
  if (lua_type(L, index) != LUA_TNUMBER) return mm__wide_from_lua(L, index, place, rule);
  if (!whole(L, index, &integer) || integer < rule->low || integer > rule->high)
    out_of_range(L, index, place, rule);
  return integer;
}

static int64_t unsigned_from(lua_State *L, int index, const struct mm__place *place,
                             const struct mm__conversion_rule *rule) {
  int64_t integer;
  if (lua_type(L, index) != LUA_TNUMBER) return mm__wide_from_lua(L, index, place, rule);
  if (whole(L, index, &integer)) {
    if (integer < 0) out_of_range(L, index, place, rule);
    return integer;
  }
  lua_Number number = lua_tonumber(L, index);
  if (!(number >= TWO_TO_63 && number < 2 * TWO_TO_63)) out_of_range(L, index, place, rule);
  return (int64_t)(uint64_t)number;
}

static int64_t constant_from(lua_State *L, int index, const struct mm__place *place,
                             const struct mm__conversion_rule *rule) {
  if (lua_type(L, index) != LUA_TSTRING) return integer_from(L, index, place, rule);
  const struct mm__registry *registry = place->registry;
  const struct mm__type *type = &registry->types[rule->type];
  const char *name = lua_tostring(L, index);
  for (uint32_t i = 0; i < type->member_count; i++) {
    const struct mm__member *constant = &registry->members[type->first_member + i];
    if (strcmp(registry->strings + constant->name, name) == 0) return constant->value;
  }
  mm__place_raise(L, place, rule->type, MM_ERROR_RANGE, "which has no constant `%.100s`", name);
}

/* Of a pointer, whose string is in the image already, the generation says so. */
static void string_from(lua_State *L, int index, const struct mm__place *place,
                        const struct mm__conversion_rule *rule, struct mm__value *value) {
  size_t length;
  value->length = 0;
  if (lua_type(L, index) != LUA_TSTRING) {
    mm__pointer_from_lua(L, index, place, rule->type, value);
    return;
  }
  const char *text = lua_tolstring(L, index, &length), *end = memchr(text, 0, length);
  if (end)
    mm__place_raise(L, place, rule->type, MM_ERROR_RANGE, "the string holds a NUL at position %zu",
                    (size_t)(end - text) + 1);
  value->as.string = text;
  value->length = length;
  value->generation = 0;
}

static lua_Number number_from(lua_State *L, int index, const struct mm__place *place,
                              const struct mm__conversion_rule *rule) {
  if (lua_type(L, index) != LUA_TNUMBER) mm__place_refuse(L, index, place, rule->type);
  return lua_tonumber(L, index);
}

static float single_from(lua_State *L, int index, const struct mm__place *place,
                         const struct mm__conversion_rule *rule) {
  lua_Number number = number_from(L, index, place, rule);
  if (isfinite(number) && !isfinite((float)number))
    mm__place_raise(L, place, rule->type, MM_ERROR_RANGE, "%.17g is out of range", number);
  return (float)number;
}

static bool boolean_from(lua_State *L, int index, const struct mm__place *place,
                         const struct mm__conversion_rule *rule) {
  if (!lua_isboolean(L, index)) mm__place_refuse(L, index, place, rule->type);
  return lua_toboolean(L, index);
}

void mm__value_from_lua(lua_State *L, int index, const struct mm__place *place,
                        const struct mm__conversion_rule *rule, struct mm__value *value) {
  switch (rule->conversion) {
  case MM__TO_INTEGER:
    value->as.integer = integer_from(L, index, place, rule);
    return;
  case MM__TO_UNSIGNED_64:
    value->as.integer = unsigned_from(L, index, place, rule);
    return;
  case MM__TO_ENUM:
    value->as.integer = constant_from(L, index, place, rule);
    return;
  case MM__TO_BOOL:
    value->as.integer = boolean_from(L, index, place, rule);
    return;
  case MM__TO_FLOAT:
    value->as.single = single_from(L, index, place, rule);
    return;
  case MM__TO_DOUBLE:
    value->as.number = number_from(L, index, place, rule);
    return;
  case MM__TO_EXTENDED:
    value->as.extended = number_from(L, index, place, rule);
    return;
  case MM__TO_STRING:
    string_from(L, index, place, rule, value);
    return;
  case MM__TO_POINTER:
    mm__pointer_from_lua(L, index, place, rule->type, value);
    return;
  default:
    mm__place_refuse(L, index, place, rule->type);
  }
}

static void integer_to(lua_State *L, const struct mm__place *place, uint32_t type, int64_t integer,
                       bool is_unsigned) {
#if MM__HAS_INTEGERS
  (void)place, (void)type, (void)is_unsigned;
  lua_pushinteger(L, integer);
#else
  bool exact = is_unsigned ? (uint64_t)integer <= EXACT : integer >= -EXACT && integer <= EXACT;
  if (exact)
    lua_pushnumber(L, (lua_Number)integer);
  else
    mm__wide_to_lua(L, place, type, integer, is_unsigned);
#endif
}

int mm__value_to_lua(lua_State *L, const struct mm__place *place,
                     const struct mm__conversion_rule *rule, const struct mm__value *value) {
  switch (rule->conversion) {
  case MM__TO_INTEGER:
  case MM__TO_ENUM:
    integer_to(L, place, rule->type, value->as.integer, false);
    return 1;
  case MM__TO_UNSIGNED_64:
    integer_to(L, place, rule->type, value->as.integer, true);
    return 1;
  case MM__TO_BOOL:
    lua_pushboolean(L, value->as.integer != 0);
    return 1;
  case MM__TO_FLOAT:
    lua_pushnumber(L, value->as.single);
    return 1;
  case MM__TO_DOUBLE:
    lua_pushnumber(L, value->as.number);
    return 1;
  case MM__TO_EXTENDED:
    lua_pushnumber(L, (lua_Number)value->as.extended);
    return 1;
  case MM__TO_STRING:
    if (value->as.string)
      lua_pushlstring(L, value->as.string, value->length);
    else
      lua_pushnil(L);
    return 1;
  case MM__TO_POINTER:
    mm__pointer_to_lua(L, place, rule->type, value);
    return 1;
  default:
    return 0;
  }
}
