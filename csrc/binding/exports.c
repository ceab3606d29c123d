/* binding/exports.c - image.exports: a table of all exports, so that `pairs` walks it in every Lua.
 * */
#include "binding/binding.h"

#include <stdio.h>
#include <string.h>

#define NAME_LIMIT 64 /* longer names get no suggestion */

enum link { LINK_IMAGE = 2, LINK_EXPORTS = 3 }; /* image.c says what is in an image's link */

static unsigned least(unsigned a, unsigned b) { return a < b ? a : b; }

/* Levenshtein's distance, one row at a time. */
static unsigned distance(const char *a, const char *b) {
  size_t length = strlen(b);
  unsigned row[NAME_LIMIT + 1];
  if (strlen(a) > NAME_LIMIT || length > NAME_LIMIT) return NAME_LIMIT;
  for (unsigned j = 0; j <= length; j++) row[j] = j;
  for (unsigned i = 0; a[i]; i++) {
    unsigned diagonal = row[0];
    row[0] = i + 1;
    for (unsigned j = 0; j < length; j++) {
      unsigned changed = diagonal + (a[i] != b[j]);
      diagonal = row[j + 1];
      row[j + 1] = least(changed, least(row[j], row[j + 1]) + 1);
    }
  }
  return row[length];
}

/* The export whose name is nearest, if it is near: a third of its letters may differ. */
static const char *suggest(struct mm_image *image, const char *name) {
  const char *nearest = NULL;
  unsigned best = (unsigned)strlen(name) / 3 + 2;
  for (uint32_t i = 0; i < mm_export_count(image); i++) {
    unsigned far = distance(name, mm_export_name(image, i));
    if (far >= best) continue;
    best = far;
    nearest = mm_export_name(image, i);
  }
  return nearest;
}

static _Noreturn void raise_no_export(lua_State *L, const struct mm__lua_image *image,
                                      const char *name) {
  struct mm_error error = {.status = MM_ERROR_NO_EXPORT};
  const char *near = suggest(image->handle, name);
  snprintf(error.image, sizeof error.image, "%s", image->handle->path);
  snprintf(error.message, sizeof error.message, "%s has no export `%.100s`%s%s%s",
           mm__image_name(image), name, near ? "; did you mean `" : "", near ? near : "",
           near ? "`?" : "");
  mm__error_raise(L, &error);
}

/* The upvalue of what the metatable holds is the image's link. */
static struct mm__lua_image *image_of(lua_State *L) {
  lua_rawgeti(L, lua_upvalueindex(1), LINK_IMAGE);
  struct mm__lua_image *image = mm__object_at(L, -1, MM__IMAGE, sizeof *image);
  lua_pop(L, 1);
  if (!image || !image->handle)
    mm__raise(L, MM_ERROR_UNMAPPED, "%s", mm_error_text(MM_ERROR_UNMAPPED));
  return image;
}

static int missing(lua_State *L) {
  struct mm__lua_image *image = image_of(L);
  char text[200];
  if (lua_type(L, 2) == LUA_TSTRING) raise_no_export(L, image, lua_tostring(L, 2));
  mm__raise(L, MM_ERROR_NO_EXPORT, "%s: the name of an export is a string, got %s",
            mm__image_name(image), mm__describe(L, 2, text, sizeof text));
}

static int refuse(lua_State *L) {
  mm__raise(L, MM_ERROR_ARGUMENT, "%s: exports are not assigned to", mm__image_name(image_of(L)));
}

/* Behind its prototype, a little to the right. */
static void add_doc(luaL_Buffer *buffer, const char *doc) {
  if (!doc || !*doc) return;
  luaL_addstring(buffer, "\n    ");
  for (; *doc; doc++)
    if (*doc == '\n')
      luaL_addstring(buffer, "\n    ");
    else
      luaL_addchar(buffer, *doc);
}

static int text(lua_State *L) {
  struct mm_image *handle = image_of(L)->handle;
  luaL_Buffer buffer;
  luaL_buffinit(L, &buffer);
  for (uint32_t i = 0; i < mm_export_count(handle); i++) {
    if (i) luaL_addchar(&buffer, '\n');
    luaL_addstring(&buffer, mm_export_prototype(handle, i));
    add_doc(&buffer, mm_export_doc(handle, i));
  }
  luaL_pushresult(&buffer);
  return 1;
}

/* Fills the table that is on top of the stack. */
static void fill(lua_State *L, int index, const struct mm_image *handle) {
  const struct mm__registry *registry = &handle->registry;
  for (uint32_t i = 0; i < registry->export_count; i++) {
    lua_pushstring(L, registry->strings + registry->exports[i].name);
    mm__function_new(L, index, &registry->exports[i]);
    lua_rawset(L, -3);
  }
}

static void make_exports(lua_State *L, int index, int link) {
  static const luaL_Reg events[] = {
      {"__index", missing}, {"__newindex", refuse}, {"__tostring", text}, {NULL, NULL}};
  struct mm__lua_image *image = mm__object_at(L, index, MM__IMAGE, sizeof *image);
  lua_createtable(L, 0, (int)image->handle->registry.export_count);
  fill(L, index, image->handle);
  lua_pushvalue(L, link);
  lua_newtable(L);
  mm__set_functions(L, events);
  lua_pushliteral(L, "matchmaker exports");
  lua_setfield(L, -2, "__metatable");
  lua_remove(L, -2);
  lua_setmetatable(L, -2);
}

void mm__push_exports(lua_State *L, int index) {
  luaL_checkstack(L, 10, "exports");
  index = mm__absolute(L, index);
  mm__push_link(L, index);
  int link = lua_gettop(L);
  lua_rawgeti(L, link, LINK_EXPORTS);
  if (lua_isnil(L, -1)) {
    lua_pop(L, 1);
    make_exports(L, index, link);
    lua_pushvalue(L, -1);
    lua_rawseti(L, link, LINK_EXPORTS);
  }
  lua_remove(L, link);
}

struct mm__lua_function *mm__push_export(lua_State *L, int index) {
  struct mm__lua_image *image = mm__object_at(L, index, MM__IMAGE, sizeof *image);
  index = mm__absolute(L, index);
  mm__push_exports(L, index);
  lua_pushvalue(L, -2);
  lua_rawget(L, -2);
  struct mm__lua_function *function = mm__object_at(L, -1, MM__FUNCTION_OBJECT, sizeof *function);
  if (!function) raise_no_export(L, image, lua_tostring(L, -3));
  lua_replace(L, -3);
  lua_pop(L, 1);
  return function;
}
