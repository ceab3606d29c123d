/* binding/image.c - images as Lua objects: mapped, asked, reset, unmapped, and released when they
 * are collected. */
#include "base/error.h"
#include "base/format.h"
#include "binding/binding.h"

#include <stdio.h>
#include <string.h>

static struct mm__lua_image *image_at(lua_State *L, int index) {
  return mm__object_at(L, index, MM__IMAGE, sizeof(struct mm__lua_image));
}

struct mm__lua_image *mm__image_check(lua_State *L, int index, const char *function) {
  struct mm__lua_image *image = image_at(L, index);
  if (!image) mm__wrong_argument(L, index, function, "an image");
  if (!image->handle)
    mm__raise(L, MM_ERROR_UNMAPPED, "%s: %s", function, mm_error_text(MM_ERROR_UNMAPPED));
  return image;
}

const char *mm__image_name(const struct mm__lua_image *image) {
  if (!image->handle) return "an image that is gone";
  const char *slash = strrchr(image->handle->path, '/');
  return slash ? slash + 1 : image->handle->path;
}

void mm__image_explain(const struct mm__lua_image *image, struct mm_error *error) {
  if (image->session->connected || error->status != MM_ERROR_UNMAPPED) return;
  error->status = MM_ERROR_NOT_CONNECTED;
  snprintf(error->message, sizeof error->message, "%s: the Matchmaker is not mapped: call init",
           mm__image_name(image));
}

void mm__image_fail(lua_State *L, const struct mm__lua_image *image, const char *function,
                    struct mm_error *error) {
  char text[sizeof error->message];
  mm__image_explain(image, error);
  memcpy(text, error->message, sizeof text);
  snprintf(error->message, sizeof error->message, "%s: %.700s", function, text);
  snprintf(error->image, sizeof error->image, "%s", image->handle->path);
  mm__error_raise(L, error);
}

/* --- from mapping to release --- */

/* The link of an image is what its functions and pointers keep alive too: 1 the session, 2 the
 * image, 3 its exports, and the prototypes that were found right. */
static struct mm__lua_image *new_image(lua_State *L, struct mm__session *session) {
  struct mm__lua_image *image = lua_newuserdata(L, sizeof *image);
  memset(image, 0, sizeof *image);
  image->tag = &mm__tags[MM__IMAGE];
  image->session = session;
  lua_createtable(L, 3, 0);
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_rawseti(L, -2, 1);
  lua_pushvalue(L, -2);
  lua_rawseti(L, -2, 2);
  mm__set_link(L, -2);
  mm__push_metatable(L, MM__IMAGE);
  lua_setmetatable(L, -2);
  return image;
}

static void add_image(struct mm__lua_image *image) {
  struct mm__session *session = image->session;
  image->next = session->images;
  image->at = &session->images;
  if (image->next) image->next->at = &image->next;
  session->images = image;
}

int mm__request_map(lua_State *L) {
  struct mm__session *session = lua_touserdata(L, lua_upvalueindex(1));
  struct mm_map_options options = {0};
  struct mm_grant_files files[MM__FILES_LIMIT];
  struct mm_error error;
  size_t length;
  options.files = files;
  if (lua_type(L, 1) != LUA_TSTRING)
    mm__wrong_argument(L, 1, "request_map", "the path of an image");
  const char *path = lua_tolstring(L, 1, &length);
  if (strlen(path) != length)
    mm__raise(L, MM_ERROR_ARGUMENT, "request_map: the path holds a NUL at position %zu",
              strlen(path) + 1);
  mm__read_map_options(L, 2, &options);
  if (!session->connected) {
    mm__fail(&error, MM_ERROR_NOT_CONNECTED, "the Matchmaker is not mapped: call init");
    return mm__error_return(L, &error);
  }
  struct mm__lua_image *image = new_image(L, session);
  int status = mm_request_map(path, &options, &image->handle, &error);
  if (status != MM_OK) {
    if (!error.image[0]) snprintf(error.image, sizeof error.image, "%s", path);
    return mm__error_return(L, &error);
  }
  add_image(image);
  /* Stubs know nothing of results that wait to be copied: while a stateless image is held open, only
   * the interface resets it after each call. */
  if (!options.stateless) image->handle->callable = &image->callable;
  mm__image_mark(image->handle);
  return 1;
}

void mm__image_collect(struct mm__lua_image *image) {
  if (!image->handle) return;
  image->callable = 0;
  mm_image_release(image->handle);
  image->handle = NULL;
  *image->at = image->next;
  if (image->next) image->next->at = image->at;
}

static int collect(lua_State *L) {
  struct mm__lua_image *image = image_at(L, 1);
  if (image) mm__image_collect(image);
  return 0;
}

/* --- what Lua asks of an image --- */

static int answer(lua_State *L, const struct mm__lua_image *image, int status,
                  struct mm_error *error) {
  if (status != MM_OK) {
    mm__image_explain(image, error);
    snprintf(error->image, sizeof error->image, "%s", image->handle->path);
    return mm__error_return(L, error);
  }
  lua_pushboolean(L, 1);
  return 1;
}

static int reset(lua_State *L) {
  struct mm__lua_image *image = mm__image_check(L, 1, "reset");
  struct mm_error error;
  return answer(L, image, mm_reset(image->handle, &error), &error);
}

static int unmap(lua_State *L) {
  struct mm__lua_image *image = mm__image_check(L, 1, "unmap");
  struct mm_error error;
  return answer(L, image, mm_unmap(image->handle, &error), &error);
}

static int close_image(lua_State *L) {
  struct mm__lua_image *image = image_at(L, 1);
  if (image && image->handle) mm_unmap(image->handle, NULL);
  return 0;
}

const char *mm__guard_text(uint32_t guard) {
  static const char *const texts[] = {"pages", "pages", "open", "keys"};
  return guard < sizeof texts / sizeof *texts ? texts[guard] : "?";
}

void mm__set_number(lua_State *L, const char *field, uint64_t number) {
  mm__push_count(L, number);
  lua_setfield(L, -2, field);
}

void mm__push_info(lua_State *L, const struct mm_image_info *info) {
  lua_createtable(L, 0, 14);
  lua_pushstring(L, info->path);
  lua_setfield(L, -2, "path");
  lua_pushstring(L, mm__guard_text(info->guard));
  lua_setfield(L, -2, "guard");
  lua_pushboolean(L, info->dead != 0);
  lua_setfield(L, -2, "dead");
  lua_pushboolean(L, info->sealed != 0);
  lua_setfield(L, -2, "sealed");
  lua_pushboolean(L, info->strict != 0);
  lua_setfield(L, -2, "strict");
  lua_pushboolean(L, info->locked_down != 0);
  lua_setfield(L, -2, "locked_down");
  lua_pushboolean(L, info->closes_client != 0);
  lua_setfield(L, -2, "closes_client");
  lua_pushboolean(L, info->stateless != 0);
  lua_setfield(L, -2, "stateless");
  mm__set_number(L, "slot", info->slot);
  mm__set_number(L, "generation", info->generation);
  mm__set_number(L, "exports", info->export_count);
  mm__set_number(L, "segments", info->segment_count);
  mm__set_number(L, "base", info->base);
  mm__set_number(L, "mapped_bytes", info->mapped_bytes);
  mm__set_number(L, "file_bytes", info->file_bytes);
  mm__set_number(L, "calls", info->calls);
  mm__set_number(L, "faults", info->faults);
  mm__set_number(L, "guard_changes", info->guard_changes);
}

/* { { call = "openat", path = "/etc/passwd", count = 2 }, ... } */
static void push_refused(lua_State *L, struct mm_image *handle) {
  struct mm_refusal refusal;
  lua_newtable(L);
  for (uint32_t i = 0; mm_image_refused(handle, i, &refusal, NULL) == MM_OK; i++) {
    lua_createtable(L, 0, 3);
    lua_pushstring(L, refusal.call);
    lua_setfield(L, -2, "call");
    mm__set_number(L, "count", refusal.count);
    if (refusal.path[0]) {
      lua_pushstring(L, refusal.path);
      lua_setfield(L, -2, "path");
    }
    lua_rawseti(L, -2, (int)i + 1);
  }
}

static int info(lua_State *L) {
  struct mm__lua_image *image = mm__image_check(L, 1, "info");
  struct mm_image_info facts;
  struct mm_error error;
  int status = mm_image_info(image->handle, &facts, &error);
  if (status != MM_OK) return answer(L, image, status, &error);
  mm__push_info(L, &facts);
  push_refused(L, image->handle);
  lua_setfield(L, -2, "refused");
  return 1;
}

static int text(lua_State *L) {
  const struct mm__lua_image *image = image_at(L, 1);
  struct mm_image_info facts;
  char line[400];
  if (!image || !image->handle) {
    lua_pushliteral(L, "image (gone)");
    return 1;
  }
  if (mm_image_info(image->handle, &facts, NULL) == MM_OK)
    snprintf(line, sizeof line, "image %.255s (slot %u, %u export%s, %s)", mm__image_name(image),
             facts.slot, facts.export_count, facts.export_count == 1 ? "" : "s",
             mm__guard_text(facts.guard));
  else
    snprintf(line, sizeof line, "image %.255s (unmapped)", mm__image_name(image));
  mm__format_line(line);
  lua_pushstring(L, line);
  return 1;
}

/* The upvalue is the table of methods. */
static int field(lua_State *L) {
  if (lua_type(L, 2) == LUA_TSTRING && strcmp(lua_tostring(L, 2), "exports") == 0) {
    mm__image_check(L, 1, "exports");
    mm__push_exports(L, 1);
    return 1;
  }
  lua_settop(L, 2);
  lua_rawget(L, lua_upvalueindex(1));
  return 1;
}

void mm__image_open(lua_State *L) {
  static const luaL_Reg methods[] = {{"batch", mm__image_batch},
                                     {"bind", mm__image_bind},
                                     {"buffer", mm__image_buffer},
                                     {"call", mm__image_call},
                                     {"callback", mm__image_callback},
                                     {"cast", mm__image_cast},
                                     {"info", info},
                                     {"new", mm__image_new},
                                     {"open", mm__image_open_for},
                                     {"reset", reset},
                                     {"string", mm__image_string},
                                     {"unmap", unmap},
                                     {NULL, NULL}};
  static const luaL_Reg events[] = {{"__gc", collect},
                                    {"__close", close_image},
                                    {"__tostring", text},
                                    {"__index", field},
                                    {NULL, NULL}};
  lua_pushnil(L);
  lua_newtable(L);
  mm__set_functions(L, methods);
  mm__push_metatable(L, MM__IMAGE);
  mm__set_functions(L, events);
  lua_pushliteral(L, "matchmaker image");
  lua_setfield(L, -2, "__name");
  lua_pop(L, 3);
}
