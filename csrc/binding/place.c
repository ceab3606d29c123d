/* binding/place.c - where a value goes to or comes from, in words: the beginning of a message. */
#include "base/error.h"
#include "binding/binding.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define DEEPEST 64 /* parts inside each other; record.c goes no deeper */

/* "corner.x", "[2].name": from the outermost part inwards. Returns that part. */
static const struct mm__place *path_of(const struct mm__place *place, char *text, size_t size) {
  const struct mm__place *parts[DEEPEST + 1];
  unsigned count = 0;
  size_t length = 0;
  for (; place->outer && count <= DEEPEST; place = place->outer) parts[count++] = place;
  for (unsigned i = count; i-- > 0 && length < size;) {
    if (parts[i]->field)
      length += (size_t)snprintf(text + length, size - length, "%s%.100s", length ? "." : "",
                                 parts[i]->field);
    else
      length += (size_t)snprintf(text + length, size - length, "[%u]", parts[i]->index);
  }
  return count ? parts[count - 1] : place;
}

void mm__place_text(const struct mm__place *place, char *text, size_t size) {
  char path[200] = "", type[160];
  const struct mm__place *outermost = path_of(place, path, sizeof path);
  size_t length = 0;
  text[0] = 0;
  if (place->call && place->argument)
    length = (size_t)snprintf(text, size, "%.127s: argument %u", place->call, place->argument);
  else if (place->call)
    length = (size_t)snprintf(text, size, "%.127s: the result", place->call);
  if (!place->outer || length >= size) return;
  if (outermost->array)
    mm__pointer_type_text(outermost->array, type, sizeof type);
  else
    mm__type_text(place->registry, outermost->outer_type, NULL, type, sizeof type);
  snprintf(text + length, size - length, "%s%s of `%s`", length ? ": " : "", path, type);
}

/* Adds what is known of the place, and raises. */
static _Noreturn void raise_at(lua_State *L, const struct mm__place *place,
                               struct mm_error *error) {
  char prototype[sizeof error->message];
  snprintf(error->image, sizeof error->image, "%s", place->image->handle->path);
  error->argument = place->argument;
  if (place->function) {
    bool is_export = !place->is_callback;
    if (is_export) snprintf(error->export_name, sizeof error->export_name, "%s", place->call);
    mm__type_text(place->registry, place->function, is_export ? place->call : NULL, prototype,
                  sizeof prototype);
    mm__fail_prototype(error, prototype);
  }
  mm__error_push(L, error);
  if (place->function) {
    lua_pushstring(L, prototype);
    lua_setfield(L, -2, "prototype");
  }
  lua_error(L);
  __builtin_unreachable();
}

void mm__place_raise(lua_State *L, const struct mm__place *place, uint32_t type, int status,
                     const char *format, ...) {
  struct mm_error error = {.status = status};
  char where[300], spelling[140], what[320];
  va_list list;
  va_start(list, format);
  vsnprintf(what, sizeof what, format, list);
  va_end(list);
  mm__place_text(place, where, sizeof where);
  mm__type_text(place->registry, type, NULL, spelling, sizeof spelling);
  snprintf(error.message, sizeof error.message, "%s is `%s`, %s", where, spelling, what);
  raise_at(L, place, &error);
}

void mm__place_refuse(lua_State *L, int index, const struct mm__place *place, uint32_t type) {
  char text[200];
  mm__place_raise(L, place, type, MM_ERROR_TYPE, "got %s",
                  mm__describe(L, index, text, sizeof text));
}

void mm__place_fail(lua_State *L, const struct mm__place *place, struct mm_error *error) {
  char where[300], text[sizeof error->message];
  mm__image_explain(place->image, error);
  mm__place_text(place, where, sizeof where);
  memcpy(text, error->message, sizeof text);
  snprintf(error->message, sizeof error->message, "%s: %.460s", where, text);
  raise_at(L, place, error);
}
