/* binding/view.c - what lies behind a pointer, as fields and elements: read and written in place,
 * within the bounds that are known. */
#include "binding/binding.h"

#include <math.h>
#include <string.h>

#define SMALL 64 /* bytes that are converted without memory of Lua's */

/* A field or an element: where it is, what it is, and its place in words. */
struct part {
  const struct mm__lua_pointer *pointer;
  uint64_t address;
  uint32_t type;
  uint32_t size;                 /* bytes that it takes */
  const struct mm__member *bits; /* it is that bit-field; NULL: it is none */
  struct mm__place root, place;
};

static const struct mm__lua_pointer *self_of(lua_State *L) {
  const struct mm__lua_pointer *pointer = mm__self(L, 1, MM__POINTER_OBJECT, sizeof *pointer);
  mm__pointer_alive(L, pointer);
  return pointer;
}

static const struct mm__type *target_of(const struct mm__lua_pointer *pointer) {
  return &pointer->registry->types[pointer->target];
}

static void open_part(struct part *part, const struct mm__lua_pointer *pointer) {
  part->pointer = pointer;
  part->bits = NULL;
  part->root =
      (struct mm__place){.image = pointer->image, .registry = pointer->registry, .link = 1};
  part->place = part->root;
  part->place.outer = &part->root;
  part->place.outer_type = pointer->target;
}

/* --- which part --- */

static void find_field(lua_State *L, const struct mm__lua_pointer *pointer, const char *name,
                       struct part *part) {
  uint64_t offset;
  char type[160];
  const struct mm__member *member =
      mm__record_field(pointer->registry, pointer->target, name, &offset);
  open_part(part, pointer);
  mm__type_text(pointer->registry, pointer->target, NULL, type, sizeof type);
  if (target_of(pointer)->flags & MM__TYPE_INCOMPLETE)
    mm__raise(L, MM_ERROR_TYPE, "`%s` is only declared: what is in it is not known here", type);
  if (!member) mm__raise(L, MM_ERROR_TYPE, "`%s` has no field `%.100s`", type, name);
  part->place.field = pointer->registry->strings + member->name;
  part->address = pointer->address + offset;
  part->type = member->type;
  part->size = pointer->registry->types[member->type].size;
  if (mm__field_width(member)) {
    part->bits = member;
    part->size = (mm__field_shift(member) + mm__field_width(member) + 7) / 8;
  }
  uint64_t end = offset + part->size;
  if (pointer->address < pointer->low || end > pointer->high - pointer->address)
    mm__place_raise(L, &part->place, part->type, MM_ERROR_RANGE,
                    "which lies beyond the memory of the pointer");
}

int64_t mm__pointer_count(lua_State *L, int index) {
  lua_Number number = lua_tonumber(L, index);
  if (!(floor(number) == number))
    mm__raise(L, MM_ERROR_RANGE, "the index %.17g is not an integer", number);
  if (!(number >= -9e15 && number <= 9e15))
    mm__raise(L, MM_ERROR_RANGE, "the index %.17g is out of bounds", number);
  return (int64_t)number;
}

uint64_t mm__pointer_step(lua_State *L, const struct mm__lua_pointer *pointer, int64_t count,
                          bool is_access) {
  uint64_t size = target_of(pointer)->size;
  char type[160];
  mm__pointer_type_text(pointer, type, sizeof type);
  if (size == 0) mm__raise(L, MM_ERROR_TYPE, "`%s` points to something without a size", type);
  __int128 at = (__int128)pointer->address + (__int128)count * size;
  __int128 last = (__int128)pointer->high - (is_access ? size : 0);
  if (at >= pointer->low && at <= last) return (uint64_t)at;
  uint64_t reach = (pointer->high - pointer->address) / size;
  mm__raise(L, MM_ERROR_RANGE, "%lld is out of bounds: the `%s` reaches %llu element%s%s",
            (long long)count, type, (unsigned long long)reach, reach == 1 ? "" : "s",
            pointer->memory || pointer->is_array ? "" : "; cast it to an array of more");
}

static void find_element(lua_State *L, const struct mm__lua_pointer *pointer, int index,
                         struct part *part) {
  int64_t count = mm__pointer_count(L, index);
  open_part(part, pointer);
  part->place.index = (uint32_t)count;
  part->place.array = pointer;
  part->address = mm__pointer_step(L, pointer, count, true);
  part->type = pointer->target;
  part->size = target_of(pointer)->size;
}

static void find_part(lua_State *L, const struct mm__lua_pointer *pointer, struct part *part) {
  char text[200], type[160];
  int kind = lua_type(L, 2);
  if (kind == LUA_TNUMBER) {
    find_element(L, pointer, 2, part);
  } else if (kind == LUA_TSTRING) {
    find_field(L, pointer, lua_tostring(L, 2), part);
  } else {
    mm__pointer_type_text(pointer, type, sizeof type);
    mm__raise(L, MM_ERROR_TYPE, "`%s` has fields or numbered elements, got %s", type,
              mm__describe(L, 2, text, sizeof text));
  }
}

/* --- reading --- */

/* A struct, union or array is not read, but shown as a view of its own. */
static void push_view(lua_State *L, const struct part *part) {
  const struct mm__type *type = &part->pointer->registry->types[part->type];
  struct mm__lua_pointer *view = mm__pointer_derive(L, 1);
  view->address = view->low = part->address;
  view->high = part->address + type->size;
  view->is_array = type->kind == MM__ARRAY;
  view->target = view->is_array ? type->target : part->type;
}

static void push_part(lua_State *L, const struct part *part) {
  const struct mm__lua_pointer *pointer = part->pointer;
  const struct mm__type *type = &pointer->registry->types[part->type];
  uint8_t bytes[SMALL];
  struct mm_error error;
  if (type->kind == MM__STRUCT || type->kind == MM__UNION || type->kind == MM__ARRAY) {
    push_view(L, part);
    return;
  }
  if (mm__image_read(pointer->image->handle, pointer->generation, part->address, bytes, part->size,
                     &error) != MM_OK)
    mm__place_fail(L, &part->place, &error);
  if (part->bits)
    mm__bits_to_lua(L, &part->place, part->bits, bytes);
  else
    mm__record_to_lua(L, &part->place, part->type, bytes, pointer->generation);
}

/* The upvalue is the table of methods, which a buffer has. */
static int index_view(lua_State *L) {
  const struct mm__lua_pointer *pointer = self_of(L);
  struct part part;
  if (mm__pointer_is_buffer(pointer) && lua_type(L, 2) == LUA_TSTRING) {
    if (strcmp(lua_tostring(L, 2), "size") == 0) {
      mm__push_count(L, pointer->high - pointer->address);
      return 1;
    }
    lua_pushvalue(L, 2);
    lua_rawget(L, lua_upvalueindex(1));
    if (!lua_isnil(L, -1)) return 1;
  }
  find_part(L, pointer, &part);
  push_part(L, &part);
  return 1;
}

/* --- writing --- */

/* The bytes of the value at index 3. The bits around a bit-field stay what they are. */
static uint32_t convert(lua_State *L, const struct part *part, void *bytes) {
  const struct mm__lua_pointer *pointer = part->pointer;
  struct mm_error error;
  if (!part->bits) return mm__record_from_lua(L, 3, &part->place, part->type, bytes);
  if (mm__image_read(pointer->image->handle, pointer->generation, part->address, bytes, part->size,
                     &error) != MM_OK)
    mm__place_fail(L, &part->place, &error);
  mm__bits_from_lua(L, 3, &part->place, part->bits, bytes);
  return 0;
}

static int assign(lua_State *L) {
  const struct mm__lua_pointer *pointer = self_of(L);
  struct part part;
  struct mm_error error;
  uint8_t small[SMALL];
  find_part(L, pointer, &part);
  if (pointer->is_const)
    mm__place_raise(L, &part.place, part.type, MM_ERROR_TYPE, "of a const object");
  void *bytes = part.size <= SMALL ? small : lua_newuserdata(L, part.size);
  uint32_t generation = convert(L, &part, bytes);
  if (generation && generation != pointer->generation)
    mm__place_raise(L, &part.place, part.type, MM_ERROR_STALE,
                    "got a pointer from before the image was reset");
  if (mm__image_write(pointer->image->handle, pointer->generation, part.address, bytes, part.size,
                      &error) != MM_OK)
    mm__place_fail(L, &part.place, &error);
  return 0;
}

/* --- length, pairs --- */

static int length(lua_State *L) {
  const struct mm__lua_pointer *pointer = self_of(L);
  uint64_t size = target_of(pointer)->size;
  mm__push_count(L, size ? (pointer->high - pointer->address) / size : 0);
  return 1;
}

/* Field number `*number` of a struct, counting those of anonymous ones as its own. */
static const struct mm__member *field_number(const struct mm__registry *registry, uint32_t index,
                                             uint32_t *number) {
  const struct mm__type *type = &registry->types[index];
  for (uint32_t i = 0; i < type->member_count; i++) {
    const struct mm__member *member = &registry->members[type->first_member + i];
    const struct mm__member *found = member;
    if (mm__record_is_anonymous(registry, member))
      found = field_number(registry, member->type, number); // NOLINT: the registry was checked
    else if ((*number)-- > 0)
      found = NULL;
    if (found) return found;
  }
  return NULL;
}

static bool has_fields(const struct mm__lua_pointer *pointer) {
  uint8_t kind = target_of(pointer)->kind;
  return !pointer->is_array && (kind == MM__STRUCT || kind == MM__UNION);
}

/* The upvalues are the view and how many steps were made. */
static int next(lua_State *L) {
  lua_settop(L, 0);
  lua_pushvalue(L, lua_upvalueindex(1));
  const struct mm__lua_pointer *pointer = self_of(L);
  uint32_t step = (uint32_t)lua_tonumber(L, lua_upvalueindex(2)), number = step;
  lua_pushnumber(L, step + 1.0);
  lua_replace(L, lua_upvalueindex(2));
  uint64_t size = target_of(pointer)->size;
  if (has_fields(pointer)) {
    const struct mm__member *field = field_number(pointer->registry, pointer->target, &number);
    if (!field) return 0;
    lua_pushstring(L, pointer->registry->strings + field->name);
  } else {
    if (!size || step >= (pointer->high - pointer->address) / size) return 0;
    lua_pushinteger(L, (lua_Integer)step);
  }
  struct part part;
  find_part(L, pointer, &part);
  push_part(L, &part);
  return 2;
}

int mm__view_pairs(lua_State *L) {
  if (!mm__object_at(L, 1, MM__POINTER_OBJECT, sizeof(struct mm__lua_pointer)))
    mm__wrong_argument(L, 1, "pairs", "a view");
  lua_pushvalue(L, 1);
  lua_pushnumber(L, 0);
  lua_pushcclosure(L, next, 2);
  return 1;
}

void mm__view_open(lua_State *L) {
  static const luaL_Reg events[] = {{"__index", index_view},
                                    {"__newindex", assign},
                                    {"__len", length},
                                    {"__pairs", mm__view_pairs},
                                    {NULL, NULL}};
  lua_newtable(L);
  mm__memory_methods(L);
  mm__push_metatable(L, MM__POINTER_OBJECT);
  mm__set_functions(L, events);
  lua_pop(L, 2);
}
