/* binding/record.c - C memory of any type from Lua values and back: structs and unions as tables of
 * fields, arrays as lists. Everything else is value.c's. */
#include "binding/binding.h"

#include <string.h>

#define DEEPEST 60 /* types inside each other: the parser makes no deeper ones */

static const struct mm__type *type_at(const struct mm__place *place, uint32_t type) {
  return &place->registry->types[type];
}

static const char *name_at(const struct mm__place *place, const struct mm__member *member) {
  return place->registry->strings + member->name;
}

bool mm__record_is_anonymous(const struct mm__registry *registry, const struct mm__member *member) {
  uint8_t kind = registry->types[member->type].kind;
  return registry->strings[member->name] == 0 && (kind == MM__STRUCT || kind == MM__UNION);
}

static bool is_text(const struct mm__registry *registry, const struct mm__type *array) {
  const struct mm__type *element = &registry->types[array->target];
  return element->size == 1 && (element->kind == MM__SIGNED || element->kind == MM__UNSIGNED);
}

static bool is_char(const struct mm__registry *registry, uint32_t type) {
  return strcmp(registry->strings + registry->types[type].name, "char") == 0;
}

static const struct mm__member *find(const struct mm__registry *registry, uint32_t index,
                                     const char *name, uint64_t *offset, int depth) {
  const struct mm__type *type = &registry->types[index];
  for (uint32_t i = 0; i < type->member_count && depth < DEEPEST; i++) {
    const struct mm__member *member = &registry->members[type->first_member + i];
    const struct mm__member *found = NULL;
    uint64_t inside = *offset + mm__field_offset(member);
    if (mm__record_is_anonymous(registry, member))
      found = find(registry, member->type, name, &inside, depth + 1);
    else if (strcmp(registry->strings + member->name, name) == 0)
      found = member;
    if (!found) continue;
    *offset = inside;
    return found;
  }
  return NULL;
}

const struct mm__member *mm__record_field(const struct mm__registry *registry, uint32_t type,
                                          const char *name, uint64_t *offset) {
  uint8_t kind = registry->types[type].kind;
  *offset = 0;
  return kind == MM__STRUCT || kind == MM__UNION ? find(registry, type, name, offset, 0) : NULL;
}

/* --- bit-fields --- */

/* That of its type, of as many bits. */
static struct mm__conversion_rule rule_of_bits(const struct mm__registry *registry,
                                               const struct mm__member *field) {
  struct mm__conversion_rule rule = mm__rule_of(registry, field->type);
  uint32_t width = mm__field_width(field);
  if (rule.conversion == MM__TO_BOOL || width == 64) return rule;
  if (rule.conversion == MM__TO_UNSIGNED_64) rule.conversion = MM__TO_INTEGER;
  rule.high = (int64_t)(UINT64_MAX >> (64 - width)) >> (rule.low < 0);
  rule.low = rule.low < 0 ? -rule.high - 1 : 0;
  return rule;
}

void mm__bits_from_lua(lua_State *L, int index, const struct mm__place *place,
                       const struct mm__member *field, void *bytes) {
  struct mm__conversion_rule rule = rule_of_bits(place->registry, field);
  struct mm__value value;
  mm__value_from_lua(L, index, place, &rule, &value);
  mm__bits_write(field, bytes, value.as.integer);
}

void mm__bits_to_lua(lua_State *L, const struct mm__place *place, const struct mm__member *field,
                     const void *bytes) {
  struct mm__conversion_rule rule = mm__rule_of(place->registry, field->type);
  struct mm__value value = {.as.integer = mm__bits_read(place->registry, field, bytes)};
  mm__value_to_lua(L, place, &rule, &value);
}

/* --- from Lua --- */

/* What one conversion needs on its way down. */
struct filling {
  lua_State *L;
  uint32_t generation; /* of the pointers so far */
  int depth;
};

static void fill(struct filling *filling, int index, const struct mm__place *place, uint32_t type,
                 uint8_t *bytes);

static void go_down(struct filling *filling, const struct mm__place *place, uint32_t type) {
  luaL_checkstack(filling->L, 6, "a record");
  if (++filling->depth > DEEPEST)
    mm__place_raise(filling->L, place, type, MM_ERROR_UNSUPPORTED, "which is nested too deep");
}

static void fill_scalar(struct filling *filling, int index, const struct mm__place *place,
                        uint32_t type, uint8_t *bytes) {
  struct mm__conversion_rule rule = mm__rule_of(place->registry, type);
  struct mm__value value;
  memset(&value, 0, sizeof value);
  if (rule.conversion == MM__TO_STRING && lua_type(filling->L, index) == LUA_TSTRING)
    mm__place_raise(filling->L, place, type, MM_ERROR_TYPE,
                    "got a string, which lies outside of the image");
  mm__value_from_lua(filling->L, index, place, &rule, &value);
  if (value.generation && filling->generation && value.generation != filling->generation)
    mm__place_raise(filling->L, place, type, MM_ERROR_STALE,
                    "got a pointer from before the image was reset");
  if (value.generation) filling->generation = value.generation;
  memcpy(bytes, &value.as, type_at(place, type)->size);
}

/* Every key has to be a field's name; tables are read raw, so that no code runs in between. */
static void check_names(struct filling *filling, int table, const struct mm__place *place,
                        uint32_t type) {
  lua_State *L = filling->L;
  uint64_t offset;
  char text[200];
  for (lua_pushnil(L); lua_next(L, table);) {
    lua_pop(L, 1);
    if (lua_type(L, -1) != LUA_TSTRING)
      mm__place_raise(L, place, type, MM_ERROR_TYPE, "whose fields have names, got %s as one",
                      mm__describe(L, -1, text, sizeof text));
    if (!mm__record_field(place->registry, type, lua_tostring(L, -1), &offset))
      mm__place_raise(L, place, type, MM_ERROR_TYPE, "which has no field `%.100s`",
                      lua_tostring(L, -1));
  }
}

/* Whether the table has the field, or one of an anonymous struct's. */
static bool has(struct filling *filling, int table, const struct mm__place *place,
                const struct mm__member *member) {
  if (!mm__record_is_anonymous(place->registry, member)) {
    lua_pushstring(filling->L, name_at(place, member));
    lua_rawget(filling->L, table);
    bool found = !lua_isnil(filling->L, -1);
    lua_pop(filling->L, 1);
    return found;
  }
  const struct mm__type *type = type_at(place, member->type);
  for (uint32_t i = 0; i < type->member_count; i++)
    if (has(filling, table, place, &place->registry->members[type->first_member + i])) return true;
  return false;
}

static void fill_fields(struct filling *filling, int table, const struct mm__place *place,
                        uint32_t index, uint8_t *bytes) {
  const struct mm__type *type = type_at(place, index);
  const struct mm__member *first = NULL;
  struct mm__place part = *place;
  go_down(filling, place, index);
  part.outer = place;
  part.outer_type = index;
  for (uint32_t i = 0; i < type->member_count; i++) {
    const struct mm__member *member = &place->registry->members[type->first_member + i];
    if (!has(filling, table, place, member)) continue;
    if (type->kind == MM__UNION && first)
      mm__place_raise(filling->L, place, index, MM_ERROR_TYPE,
                      "a union, of which one field is given: got `%.100s` and `%.100s`",
                      name_at(place, first), name_at(place, member));
    first = member;
    if (mm__record_is_anonymous(place->registry, member)) {
      fill_fields(filling, table, place, member->type, bytes + mm__field_offset(member));
      continue;
    }
    part.field = name_at(place, member);
    lua_pushstring(filling->L, part.field);
    lua_rawget(filling->L, table);
    uint8_t *at = bytes + mm__field_offset(member);
    if (mm__field_width(member))
      mm__bits_from_lua(filling->L, lua_gettop(filling->L), &part, member, at);
    else
      fill(filling, lua_gettop(filling->L), &part, member->type, at);
    lua_pop(filling->L, 1);
  }
  filling->depth--;
}

static void fill_elements(struct filling *filling, int table, const struct mm__place *place,
                          uint32_t index, uint8_t *bytes) {
  const struct mm__type *type = type_at(place, index);
  lua_State *L = filling->L;
  size_t count = lua_rawlen(L, table), keys = 0;
  struct mm__place part = *place;
  for (lua_pushnil(L); lua_next(L, table); lua_pop(L, 1)) keys++;
  if (keys != count)
    mm__place_raise(L, place, index, MM_ERROR_TYPE, "got a table that is not a list");
  if (count > type->length)
    mm__place_raise(L, place, index, MM_ERROR_RANGE, "got %zu elements", count);
  go_down(filling, place, index);
  part.outer = place;
  part.outer_type = index;
  part.field = NULL;
  for (part.index = 0; part.index < count; part.index++) {
    lua_rawgeti(L, table, (int)part.index + 1);
    fill(filling, lua_gettop(L), &part, type->target,
         bytes + (size_t)part.index * type_at(place, type->target)->size);
    lua_pop(L, 1);
  }
  filling->depth--;
}

static void fill_text(struct filling *filling, int index, const struct mm__place *place,
                      uint32_t type, uint8_t *bytes) {
  size_t length;
  const char *text = lua_tolstring(filling->L, index, &length);
  if (length > type_at(place, type)->length)
    mm__place_raise(filling->L, place, type, MM_ERROR_RANGE, "got a string of %zu bytes", length);
  memcpy(bytes, text, length);
}

/* A struct or an array that is in the image already. False: it is none of that type. */
static bool fill_copy(struct filling *filling, int index, const struct mm__place *place,
                      uint32_t index_of_type, uint8_t *bytes) {
  lua_State *L = filling->L;
  const struct mm__lua_pointer *pointer =
      mm__object_at(L, index, MM__POINTER_OBJECT, sizeof *pointer);
  const struct mm__type *type = type_at(place, index_of_type);
  uint32_t target = type->kind == MM__ARRAY ? type->target : index_of_type;
  struct mm_error error;
  if (!pointer || !mm__pointer_fits(pointer, place->registry, target)) return false;
  mm__pointer_alive(L, pointer);
  if (pointer->address < pointer->low || pointer->high - pointer->address < type->size)
    mm__place_raise(L, place, index_of_type, MM_ERROR_RANGE, "got a pointer to less");
  if (mm__image_read(pointer->image->handle, pointer->generation, pointer->address, bytes,
                     type->size, &error) != MM_OK)
    mm__place_fail(L, place, &error);
  return true;
}

/* A complex number is a table of its halves, `re` and `im`; a number is its real part. */
static const char *const halves[] = {"re", "im"};

static struct mm__conversion_rule rule_of_half(const struct mm__place *place, uint32_t type) {
  uint32_t size = type_at(place, type)->size / 2;
  uint8_t conversion = size == 4 ? MM__TO_FLOAT : size == 8 ? MM__TO_DOUBLE : MM__TO_EXTENDED;
  return (struct mm__conversion_rule){.type = type, .conversion = conversion};
}

static void fill_complex(struct filling *filling, int index, const struct mm__place *place,
                         uint32_t type, uint8_t *bytes) {
  lua_State *L = filling->L;
  struct mm__conversion_rule rule = rule_of_half(place, type);
  uint32_t size = type_at(place, type)->size / 2;
  bool is_table = lua_type(L, index) == LUA_TTABLE;
  for (int i = 0; i < (is_table ? 2 : 1); i++) {
    struct mm__value value;
    if (is_table) {
      lua_pushstring(L, halves[i]);
      lua_rawget(L, index);
    } else {
      lua_pushvalue(L, index);
    }
    mm__value_from_lua(L, lua_gettop(L), place, &rule, &value);
    memcpy(bytes + (size_t)i * size, &value.as, size == 16 ? 10 : size);
    lua_pop(L, 1);
  }
}

static void fill(struct filling *filling, int index, const struct mm__place *place, uint32_t type,
                 uint8_t *bytes) {
  lua_State *L = filling->L;
  uint8_t kind = type_at(place, type)->kind;
  bool is_table = lua_type(L, index) == LUA_TTABLE;
  if (kind == MM__ARRAY && lua_type(L, index) == LUA_TSTRING &&
      is_text(place->registry, type_at(place, type))) {
    fill_text(filling, index, place, type, bytes);
  } else if (kind == MM__ARRAY && is_table) {
    fill_elements(filling, index, place, type, bytes);
  } else if ((kind == MM__STRUCT || kind == MM__UNION) && is_table) {
    check_names(filling, index, place, type);
    fill_fields(filling, index, place, type, bytes);
  } else if (kind == MM__COMPLEX && (is_table || lua_type(L, index) == LUA_TNUMBER)) {
    fill_complex(filling, index, place, type, bytes);
  } else if (kind == MM__ARRAY || mm__by_value(type_at(place, type))) {
    if (!fill_copy(filling, index, place, type, bytes)) mm__place_refuse(L, index, place, type);
  } else {
    fill_scalar(filling, index, place, type, bytes);
  }
}

uint32_t mm__record_from_lua(lua_State *L, int index, const struct mm__place *place, uint32_t type,
                             void *bytes) {
  struct filling filling = {.L = L};
  memset(bytes, 0, type_at(place, type)->size);
  fill(&filling, mm__absolute(L, index), place, type, bytes);
  return filling.generation;
}

/* --- to Lua --- */

static void show(lua_State *L, const struct mm__place *place, uint32_t type, const uint8_t *bytes,
                 uint32_t generation, int depth);

static void show_fields(lua_State *L, const struct mm__place *place, uint32_t index,
                        const uint8_t *bytes, uint32_t generation, int depth) {
  const struct mm__type *type = type_at(place, index);
  struct mm__place part = *place;
  part.outer = place;
  part.outer_type = index;
  for (uint32_t i = 0; i < type->member_count; i++) {
    const struct mm__member *member = &place->registry->members[type->first_member + i];
    const uint8_t *at = bytes + mm__field_offset(member);
    if (mm__record_is_anonymous(place->registry, member) && depth < DEEPEST) {
      show_fields(L, place, member->type, at, generation, depth + 1);
      continue;
    }
    part.field = name_at(place, member);
    lua_pushstring(L, part.field);
    if (mm__field_width(member))
      mm__bits_to_lua(L, &part, member, at);
    else
      show(L, &part, member->type, at, generation, depth + 1);
    lua_rawset(L, -3);
  }
}

static void show_elements(lua_State *L, const struct mm__place *place, uint32_t index,
                          const uint8_t *bytes, uint32_t generation, int depth) {
  const struct mm__type *type = type_at(place, index);
  struct mm__place part = *place;
  part.outer = place;
  part.outer_type = index;
  part.field = NULL;
  for (part.index = 0; part.index < type->length; part.index++) {
    show(L, &part, type->target, bytes + (size_t)part.index * type_at(place, type->target)->size,
         generation, depth + 1);
    lua_rawseti(L, -2, (int)part.index + 1);
  }
}

static void show_scalar(lua_State *L, const struct mm__place *place, uint32_t type,
                        const uint8_t *bytes, uint32_t generation) {
  struct mm__conversion_rule rule = mm__rule_of(place->registry, type);
  struct mm__value value;
  struct mm_error error;
  mm__value_read(place->registry, type, bytes, &value);
  value.generation = generation;
  if (rule.conversion == MM__TO_STRING && value.as.string &&
      mm__image_text(place->image->handle, generation, (uint64_t)value.as.string, &value, &error) !=
          MM_OK)
    mm__place_raise(L, place, type, error.status, "%s", error.message);
  if (mm__value_to_lua(L, place, &rule, &value) == 0) lua_pushnil(L);
}

static void show_complex(lua_State *L, const struct mm__place *place, uint32_t index,
                         const uint8_t *bytes) {
  struct mm__conversion_rule rule = rule_of_half(place, index);
  uint32_t size = type_at(place, index)->size / 2;
  for (uint32_t i = 0; i < 2; i++) {
    struct mm__value value;
    memcpy(&value.as, bytes + (size_t)i * size, size);
    mm__value_to_lua(L, place, &rule, &value);
    lua_setfield(L, -2, halves[i]);
  }
}

static void show(lua_State *L, const struct mm__place *place, uint32_t index, const uint8_t *bytes,
                 uint32_t generation, int depth) {
  const struct mm__type *type = type_at(place, index);
  luaL_checkstack(L, 6, "a record");
  if (depth > DEEPEST)
    mm__place_raise(L, place, index, MM_ERROR_UNSUPPORTED, "which is nested too deep");
  if (type->kind == MM__ARRAY && is_char(place->registry, type->target)) {
    lua_pushlstring(L, (const char *)bytes, strnlen((const char *)bytes, type->size));
  } else if (type->kind == MM__ARRAY) {
    lua_newtable(L);
    show_elements(L, place, index, bytes, generation, depth);
  } else if (type->kind == MM__STRUCT || type->kind == MM__UNION) {
    lua_newtable(L);
    show_fields(L, place, index, bytes, generation, depth);
  } else if (type->kind == MM__COMPLEX) {
    lua_createtable(L, 0, 2);
    show_complex(L, place, index, bytes);
  } else {
    show_scalar(L, place, index, bytes, generation);
  }
}

void mm__record_to_lua(lua_State *L, const struct mm__place *place, uint32_t type,
                       const void *bytes, uint32_t generation) {
  show(L, place, type, bytes, generation, 0);
}
