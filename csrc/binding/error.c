/* binding/error.c - error objects: tables with a kind, a message and the facts, which print as one
 * line. */
#include "base/error.h"
#include "base/format.h"
#include "binding/binding.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void set_text(lua_State *L, const char *field, const char *text) {
  if (!text[0]) return;
  lua_pushstring(L, text);
  lua_setfield(L, -2, field);
}

static void set_integer(lua_State *L, const char *field, int64_t integer) {
#if MM__HAS_INTEGERS
  lua_pushinteger(L, integer);
#else
  lua_pushnumber(L, (lua_Number)integer);
#endif
  lua_setfield(L, -2, field);
}

/* Addresses beyond 2^53 are no addresses: the nearest number tells enough. */
static void set_address(lua_State *L, const char *field, uint64_t address) {
  if (address <= INT64_MAX) {
    set_integer(L, field, (int64_t)address);
  } else {
    lua_pushnumber(L, (lua_Number)address);
    lua_setfield(L, -2, field);
  }
}

/* "socket, connect" as a list. */
static void set_refused(lua_State *L, const char *names) {
  if (!names[0]) return;
  lua_newtable(L);
  for (int n = 1; *names; n++) {
    size_t length = strcspn(names, ",");
    lua_pushlstring(L, names, length);
    lua_rawseti(L, -2, n);
    names += length;
    names += strspn(names, ", ");
  }
  lua_setfield(L, -2, "refused");
}

static void set_fault(lua_State *L, const struct mm_error *error) {
  static const char *const accesses[] = {"", "reading", "writing", "executing"};
  lua_pushboolean(L, error->was_reset != 0);
  lua_setfield(L, -2, "was_reset");
  set_refused(L, error->refused);
  if (error->status == MM_ERROR_EXIT) set_integer(L, "exit_status", error->exit_status);
  if (error->signal) {
    set_text(L, "signal", mm__signal_name(error->signal));
    set_address(L, "address", error->address);
  }
  if (error->access > 0 && error->access <= MM_ACCESS_EXECUTE)
    set_text(L, "access", accesses[error->access]);
  bool has_place = error->status != MM_ERROR_EXIT && error->status != MM_ERROR_SERVER;
  if (!has_place || !error->instruction) return;
  set_address(L, "instruction", error->instruction);
  set_text(L, "module", error->module);
  if (!error->symbol[0]) return;
  set_text(L, "symbol", error->symbol);
  set_address(L, "offset", error->offset);
}

/* The text that a parser stopped in, and the same with a caret under the place. */
static void set_place(lua_State *L, const struct mm_error *error) {
  char lines[2 * sizeof error->text + 2];
  if (!error->column) return;
  set_integer(L, "column", error->column);
  set_text(L, "text", error->text);
  snprintf(lines, sizeof lines, "%s\n%*s", error->text, (int)error->caret + 1, "^");
  set_text(L, "excerpt", lines);
}

void mm__error_push(lua_State *L, const struct mm_error *error) {
  char message[sizeof error->message];
  snprintf(message, sizeof message, "%s",
           error->message[0] ? error->message : mm_error_text(error->status));
  mm__format_line(message);
  luaL_checkstack(L, 6, "an error object");
  lua_newtable(L);
  set_text(L, "kind", mm_error_kind(error->status));
  set_text(L, "message", message);
  set_integer(L, "status", error->status);
  if (error->system_error) set_integer(L, "errno", error->system_error);
  set_text(L, "export", error->export_name);
  if (error->argument) set_integer(L, "argument", error->argument);
  set_text(L, "image", error->image);
  if (mm__ends_call(error->status)) set_fault(L, error);
  set_place(L, error);
  luaL_where(L, 1);
  if (lua_rawlen(L, -1))
    lua_setfield(L, -2, "where");
  else
    lua_pop(L, 1);
  mm__push_metatable(L, MM__ERROR);
  lua_setmetatable(L, -2);
}

int mm__error_return(lua_State *L, const struct mm_error *error) {
  lua_pushnil(L);
  mm__error_push(L, error);
  return 2;
}

void mm__error_raise(lua_State *L, const struct mm_error *error) {
  mm__error_push(L, error);
  lua_error(L);
  __builtin_unreachable();
}

void mm__raise(lua_State *L, int status, const char *format, ...) {
  struct mm_error error = {.status = status};
  va_list list;
  va_start(list, format);
  vsnprintf(error.message, sizeof error.message, format, list);
  va_end(list);
  mm__error_raise(L, &error);
}

static bool is_error(lua_State *L, int index) {
  if (!lua_istable(L, index) || !lua_getmetatable(L, index)) return false;
  mm__push_metatable(L, MM__ERROR);
  bool is = lua_rawequal(L, -1, -2);
  lua_pop(L, 2);
  return is;
}

bool mm__error_is(lua_State *L, int index, int status) {
  if (!is_error(L, index)) return false;
  lua_getfield(L, index, "status");
  bool is = lua_tointeger(L, -1) == status;
  lua_pop(L, 1);
  return is;
}

const char *mm__describe(lua_State *L, int index, char *text, size_t size) {
  static const char *const words[] = {"nil",     "a boolean",  "userdata", "a number",   "a string",
                                      "a table", "a function", "userdata", "a coroutine"};
  struct mm__lua_pointer *pointer = mm__object_at(L, index, MM__POINTER_OBJECT, sizeof *pointer);
  int type = lua_type(L, index);
  if (pointer && mm__pointer_is_buffer(pointer)) return "a buffer";
  if (mm__callback_describe(L, index, text, size)) return text;
  if (pointer && pointer->image->handle) {
    char spelling[160];
    mm__pointer_type_text(pointer, spelling, sizeof spelling);
    snprintf(text, size, "a pointer `%s`", spelling);
    return text;
  }
  if (mm__object_at(L, index, MM__IMAGE, sizeof(struct mm__lua_image))) return "an image";
  if (mm__object_at(L, index, MM__FUNCTION_OBJECT, sizeof(struct mm__lua_function)))
    return "an image's function";
  if (type == LUA_TLIGHTUSERDATA && !lua_touserdata(L, index)) return "mm.null";
  if (type == MM__TYPE_CDATA) return "cdata";
  return type >= 0 && type <= LUA_TTHREAD ? words[type] : "nothing";
}

void mm__wrong_argument(lua_State *L, int index, const char *function, const char *wanted) {
  char text[200];
  mm__raise(L, MM_ERROR_ARGUMENT, "%s: argument %d is %s, got %s", function, index, wanted,
            mm__describe(L, index, text, sizeof text));
}

static int error_text(lua_State *L) {
  lua_getfield(L, 1, "message");
  return 1;
}

/* "cannot map: " .. err, and the other way round. */
static int join(lua_State *L) {
  for (int i = 1; i <= 2; i++) {
    if (!is_error(L, i)) continue;
    lua_getfield(L, i, "message");
    lua_replace(L, i);
  }
  lua_settop(L, 2);
  lua_concat(L, 2);
  return 1;
}

void mm__error_open(lua_State *L) {
  mm__push_metatable(L, MM__ERROR);
  lua_pushcfunction(L, error_text);
  lua_setfield(L, -2, "__tostring");
  lua_pushcfunction(L, join);
  lua_setfield(L, -2, "__concat");
  lua_pushliteral(L, "matchmaker error");
  lua_setfield(L, -2, "__name");
  lua_pop(L, 1);
}
