/* binding/memory.c - memory inside an image, made for Lua: buffers, typed values, and pointers that
 * are read as another type. It is freed when nothing points to it any more. */
#include "binding/binding.h"

#include <string.h>

/* --- blocks, and the pointers to them --- */

static int collect(lua_State *L) {
  struct mm__lua_memory *memory = mm__object_at(L, 1, MM__MEMORY_OBJECT, sizeof *memory);
  if (memory && memory->address && memory->image->handle)
    mm__image_free(memory->image->handle, memory->generation, memory->address, NULL);
  if (memory) memory->address = 0;
  return 0;
}

/* Pushes a pointer to new memory of the image at index 1. What is made from the pointer shares its
 * link, which holds the image and the memory. */
static struct mm__lua_pointer *new_memory(lua_State *L, struct mm__lua_image *image, uint64_t bytes,
                                          const void *content, const char *function) {
  struct mm_error error;
  struct mm__lua_memory *memory = mm__object_new(L, MM__MEMORY_OBJECT, sizeof *memory);
  memory->image = image;
  memory->address = 0;
  memory->bytes = bytes;
  memory->is_buffer = false;
  lua_createtable(L, 3, 0);
  lua_pushvalue(L, 1);
  lua_rawseti(L, -2, 2);
  lua_pushvalue(L, -2);
  lua_rawseti(L, -2, 3);
  struct mm__lua_pointer *pointer = mm__object_new(L, MM__POINTER_OBJECT, sizeof *pointer);
  lua_insert(L, -2);
  lua_pushvalue(L, -1);
  mm__set_link(L, -4);
  mm__set_link(L, -2);
  if (mm__image_allocate(image->handle, bytes, content, &memory->address, &memory->generation,
                         &error) != MM_OK)
    mm__image_fail(L, image, function, &error);
  pointer->image = image;
  pointer->memory = memory;
  pointer->address = pointer->low = memory->address;
  pointer->high = memory->address + bytes;
  pointer->generation = memory->generation;
  pointer->is_const = false;
  pointer->is_array = true;
  lua_remove(L, -2);
  return pointer;
}

bool mm__pointer_is_buffer(const struct mm__lua_pointer *pointer) {
  return pointer->image->handle && pointer->memory && pointer->memory->is_buffer &&
         pointer->registry->types[pointer->target].size == 1;
}

void mm__pointer_alive(lua_State *L, const struct mm__lua_pointer *pointer) {
  if (!pointer->image->handle)
    mm__raise(L, MM_ERROR_UNMAPPED, "%s", mm_error_text(MM_ERROR_UNMAPPED));
  if (pointer->memory && !pointer->memory->address)
    mm__raise(L, MM_ERROR_STALE, "the memory was freed");
}

/* --- types by text --- */

const char *mm__c_text(lua_State *L, int index, const char *function, const char *what) {
  size_t length;
  if (lua_type(L, index) != LUA_TSTRING) mm__wrong_argument(L, index, function, what);
  const char *written = lua_tolstring(L, index, &length);
  if (strlen(written) != length)
    mm__raise(L, MM_ERROR_PROTOTYPE, "%s: argument %d is %s, which holds a NUL", function, index,
              what);
  return written;
}

/* A type that was found is remembered beside the image, as 2 * index + const. */
static uint32_t find_type(lua_State *L, struct mm__lua_image *image, int index,
                          const char *function, bool *is_const) {
  struct mm_error error;
  uint32_t type;
  const char *text = mm__c_text(L, index, function, "a C type");
  mm__push_link(L, 1);
  lua_pushfstring(L, "type\n%s", text);
  lua_pushvalue(L, -1);
  lua_rawget(L, -3);
  uint32_t known = (uint32_t)lua_tonumber(L, -1);
  lua_pop(L, 1);
  if (!known) {
    if (mm__image_type(image->handle, text, &type, is_const, &error) != MM_OK)
      mm__image_fail(L, image, function, &error);
    known = 2 * type + *is_const;
    lua_pushvalue(L, -1);
    lua_pushnumber(L, known);
    lua_rawset(L, -4);
  }
  lua_pop(L, 2);
  *is_const = known & 1;
  return known / 2;
}

static uint32_t char_type(lua_State *L, struct mm__lua_image *image) {
  struct mm_error error;
  uint32_t type;
  bool is_const;
  if (mm__image_type(image->handle, "char", &type, &is_const, &error) != MM_OK)
    mm__image_fail(L, image, "cast", &error);
  return type;
}

/* The pointer becomes one to `type`, or to the elements of an array. */
static void point_to(struct mm__lua_pointer *pointer, const struct mm__registry *registry,
                     uint32_t type) {
  const struct mm__type *of = &registry->types[type];
  pointer->registry = registry;
  pointer->is_array = of->kind == MM__ARRAY;
  pointer->target = pointer->is_array ? of->target : type;
}

static void check_sized(lua_State *L, const struct mm__lua_image *image, uint32_t type,
                        const char *function) {
  const struct mm__registry *registry = &image->handle->types;
  char text[160];
  mm__type_text(registry, type, NULL, text, sizeof text);
  if (registry->types[type].size == 0 || registry->types[type].kind == MM__FUNCTION)
    mm__raise(L, MM_ERROR_TYPE, "%s: `%s` has no size", function, text);
  if (registry->types[type].align > 16)
    mm__raise(L, MM_ERROR_UNSUPPORTED, "%s: `%s` is aligned to more than 16", function, text);
}

/* --- image:buffer, image:new --- */

static uint64_t bytes_at(lua_State *L, int index, const char *function, uint64_t most) {
  lua_Number number = lua_tonumber(L, index);
  if (lua_type(L, index) != LUA_TNUMBER)
    mm__wrong_argument(L, index, function, "a number of bytes");
  if (number != number || number < 0 || number > 9e15 || (lua_Number)(uint64_t)number != number)
    mm__raise(L, MM_ERROR_RANGE, "%s: %.17g is no number of bytes", function, number);
  if ((uint64_t)number > most)
    mm__raise(L, MM_ERROR_RANGE, "%s: %.17g is out of bounds: there are %llu bytes", function,
              number, (unsigned long long)most);
  return (uint64_t)number;
}

static void write_bytes(lua_State *L, const struct mm__lua_pointer *pointer, uint64_t offset,
                        const void *bytes, uint64_t count, const char *function) {
  struct mm_error error;
  if (mm__image_write(pointer->image->handle, pointer->generation, pointer->address + offset, bytes,
                      count, &error) != MM_OK)
    mm__image_fail(L, pointer->image, function, &error);
}

int mm__image_buffer(lua_State *L) {
  struct mm__lua_image *image = mm__image_check(L, 1, "buffer");
  size_t bytes = 0;
  uint32_t type;
  bool is_const;
  struct mm_error error;
  lua_settop(L, 2);
  const char *text = lua_type(L, 2) == LUA_TSTRING ? lua_tolstring(L, 2, &bytes) : NULL;
  if (!text) bytes = bytes_at(L, 2, "buffer", UINT64_MAX);
  if (mm__image_type(image->handle, "unsigned char", &type, &is_const, &error) != MM_OK)
    mm__image_fail(L, image, "buffer", &error);
  struct mm__lua_pointer *pointer = new_memory(L, image, bytes, text, "buffer");
  pointer->registry = &image->handle->types;
  pointer->target = type;
  pointer->memory->is_buffer = true;
  return 1;
}

int mm__image_new(lua_State *L) {
  struct mm__lua_image *image = mm__image_check(L, 1, "new");
  bool is_const;
  lua_settop(L, 3);
  uint32_t type = find_type(L, image, 2, "new", &is_const);
  check_sized(L, image, type, "new");
  const struct mm__registry *registry = &image->handle->types;
  size_t bytes = registry->types[type].size;
  struct mm__place place = {
      .image = image, .registry = registry, .call = "new", .argument = 3, .link = 1};
  void *content = lua_isnil(L, 3) ? NULL : lua_newuserdata(L, bytes);
  uint32_t generation = content ? mm__record_from_lua(L, 3, &place, type, content) : 0;
  struct mm__lua_pointer *pointer = new_memory(L, image, bytes, content, "new");
  if (generation && generation != pointer->generation)
    mm__place_raise(L, &place, type, MM_ERROR_STALE,
                    "got a pointer from before the image was reset");
  point_to(pointer, registry, type);
  pointer->is_const = is_const;
  return 1;
}

/* --- image:cast, image:string --- */

static struct mm__lua_pointer *pointer_argument(lua_State *L, struct mm__lua_image *image,
                                                int index, const char *function) {
  struct mm__lua_pointer *pointer = mm__object_at(L, index, MM__POINTER_OBJECT, sizeof *pointer);
  char text[200];
  if (!pointer)
    mm__raise(L,
              lua_isnil(L, index) || (lua_islightuserdata(L, index) && !lua_touserdata(L, index))
                  ? MM_ERROR_NULL
                  : MM_ERROR_ARGUMENT,
              "%s: argument %d is a pointer into the image, got %s", function, index,
              mm__describe(L, index, text, sizeof text));
  if (pointer->image != image)
    mm__raise(L, MM_ERROR_OWNER, "%s: argument %d is a pointer of another image, %s", function,
              index, mm__image_name(pointer->image));
  mm__pointer_alive(L, pointer);
  return pointer;
}

/* How far the memory goes that the pointer is known to lie in. */
static uint64_t end_of(const struct mm__lua_pointer *pointer) {
  if (pointer->memory) return pointer->memory->address + pointer->memory->bytes;
  return pointer->is_array ? pointer->high : UINT64_MAX;
}

/* To an object of that type, or to what a pointer type points to. */
int mm__image_cast(lua_State *L) {
  struct mm__lua_image *image = mm__image_check(L, 1, "cast");
  bool is_const;
  char text[160];
  lua_settop(L, 3);
  uint32_t type = find_type(L, image, 2, "cast", &is_const);
  struct mm__lua_pointer *from = pointer_argument(L, image, 3, "cast");
  const struct mm__registry *registry = &image->handle->types;
  const struct mm__type *of = &registry->types[type];
  struct mm__lua_pointer *pointer = mm__pointer_derive(L, 3);
  uint64_t room = end_of(from) - from->address;
  if (of->kind == MM__POINTER || of->kind == MM__STRING) {
    pointer->is_const = of->kind == MM__STRING || of->flags & MM__TYPE_CONST;
    type = of->kind == MM__POINTER ? of->target : char_type(L, image);
    of = &registry->types[type];
    point_to(pointer, registry, type);
    if (!from->memory) {
      pointer->low = from->address;
      pointer->high = from->address + (of->size < room ? of->size : room);
    } else {
      pointer->low = from->memory->address;
      pointer->high = end_of(from);
    }
    return 1;
  }
  check_sized(L, image, type, "cast");
  mm__type_text(registry, type, NULL, text, sizeof text);
  if (of->size > room)
    mm__raise(L, MM_ERROR_RANGE, "cast: `%s` takes %u bytes, there are %llu", text, of->size,
              (unsigned long long)room);
  pointer->low = from->address;
  pointer->high = from->address + of->size;
  pointer->is_const = is_const;
  point_to(pointer, registry, type);
  return 1;
}

/* Pushes bytes of the image as a string. */
static void push_bytes(lua_State *L, const struct mm__lua_pointer *pointer, uint64_t offset,
                       uint64_t count, const char *function) {
  struct mm_error error;
  luaL_Buffer buffer;
  luaL_buffinit(L, &buffer);
  for (uint64_t done = 0; done < count;) {
    uint64_t chunk = count - done < LUAL_BUFFERSIZE ? count - done : LUAL_BUFFERSIZE;
    char *room = luaL_prepbuffer(&buffer);
    if (mm__image_read(pointer->image->handle, pointer->generation,
                       pointer->address + offset + done, room, chunk, &error) != MM_OK)
      mm__image_fail(L, pointer->image, function, &error);
    luaL_addsize(&buffer, chunk);
    done += chunk;
  }
  luaL_pushresult(&buffer);
}

/* Up to a NUL, or to the end of what is known to be there. */
static void push_text(lua_State *L, const struct mm__lua_pointer *pointer) {
  struct mm__value value;
  struct mm_error error;
  uint64_t room = end_of(pointer) - pointer->address;
  if (end_of(pointer) == UINT64_MAX) {
    if (mm__image_text(pointer->image->handle, pointer->generation, pointer->address, &value,
                       &error) != MM_OK)
      mm__image_fail(L, pointer->image, "string", &error);
    lua_pushlstring(L, value.as.string, value.length);
    return;
  }
  if (pointer->is_array) room = pointer->high - pointer->address;
  push_bytes(L, pointer, 0, room, "string");
  const char *text = lua_tostring(L, -1);
  lua_pushlstring(L, text, strnlen(text, room));
}

int mm__image_string(lua_State *L) {
  struct mm__lua_image *image = mm__image_check(L, 1, "string");
  lua_settop(L, 3);
  const struct mm__lua_pointer *pointer = pointer_argument(L, image, 2, "string");
  uint64_t end = pointer->is_array ? pointer->high : end_of(pointer);
  if (lua_isnil(L, 3))
    push_text(L, pointer);
  else
    push_bytes(L, pointer, 0, bytes_at(L, 3, "string", end - pointer->address), "string");
  return 1;
}

/* --- methods of buffers --- */

static struct mm__lua_pointer *buffer_of(lua_State *L, const char *function, uint64_t *size) {
  struct mm__lua_pointer *pointer = mm__object_at(L, 1, MM__POINTER_OBJECT, sizeof *pointer);
  if (!pointer || !mm__pointer_is_buffer(pointer)) mm__wrong_argument(L, 1, function, "a buffer");
  mm__pointer_alive(L, pointer);
  *size = pointer->high - pointer->address;
  return pointer;
}

static int get(lua_State *L) {
  uint64_t size;
  const struct mm__lua_pointer *pointer = buffer_of(L, "get", &size);
  uint64_t offset = lua_isnoneornil(L, 2) ? 0 : bytes_at(L, 2, "get", size);
  uint64_t count = lua_isnoneornil(L, 3) ? size - offset : bytes_at(L, 3, "get", size - offset);
  push_bytes(L, pointer, offset, count, "get");
  return 1;
}

static int set(lua_State *L) {
  uint64_t size;
  size_t count;
  const struct mm__lua_pointer *pointer = buffer_of(L, "set", &size);
  uint64_t offset = bytes_at(L, 2, "set", size);
  if (lua_type(L, 3) != LUA_TSTRING) mm__wrong_argument(L, 3, "set", "a string");
  const char *bytes = lua_tolstring(L, 3, &count);
  if (count > size - offset)
    mm__raise(L, MM_ERROR_RANGE, "set: %zu bytes from %llu on are out of bounds: there are %llu",
              count, (unsigned long long)offset, (unsigned long long)size);
  write_bytes(L, pointer, offset, bytes, count, "set");
  return 0;
}

static int fill(lua_State *L) {
  uint64_t size, chunk = 0x10000;
  const struct mm__lua_pointer *pointer = buffer_of(L, "fill", &size);
  lua_Number byte = lua_tonumber(L, 2);
  if (lua_type(L, 2) != LUA_TNUMBER || byte < 0 || byte > 255 || byte != (int)byte)
    mm__raise(L, MM_ERROR_RANGE, "fill: argument 2 is a byte, from 0 to 255");
  if (chunk > size) chunk = size;
  void *bytes = lua_newuserdata(L, chunk + 1);
  memset(bytes, (int)byte, chunk);
  for (uint64_t done = 0; done < size; done += chunk)
    write_bytes(L, pointer, done, bytes, size - done < chunk ? size - done : chunk, "fill");
  return 0;
}

static int free_buffer(lua_State *L) {
  uint64_t size;
  struct mm_error error;
  struct mm__lua_memory *memory = buffer_of(L, "free", &size)->memory;
  uint64_t address = memory->address;
  memory->address = 0;
  if (mm__image_free(memory->image->handle, memory->generation, address, &error) != MM_OK)
    mm__image_fail(L, memory->image, "free", &error);
  return 0;
}

void mm__memory_methods(lua_State *L) {
  static const luaL_Reg methods[] = {
      {"get", get}, {"set", set}, {"fill", fill}, {"free", free_buffer}, {NULL, NULL}};
  lua_pushnil(L);
  lua_insert(L, -2);
  mm__set_functions(L, methods);
  lua_remove(L, -2);
}

void mm__memory_open(lua_State *L) {
  mm__push_metatable(L, MM__MEMORY_OBJECT);
  lua_pushcfunction(L, collect);
  lua_setfield(L, -2, "__gc");
  lua_pop(L, 1);
}
