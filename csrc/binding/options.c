/* binding/options.c - tables of options, read strictly: a name that is not known, or a value of
 * another type, is an error. */
#include "base/error.h"
#include "binding/binding.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

struct name {
  const char *text;
  uint32_t value;
};

static const struct name guards[] = {
    {"pages", MM_GUARD_PAGES}, {"open", MM_GUARD_OPEN}, {"keys", MM_GUARD_KEYS}, {NULL, 0}};
static const struct name grants[] = {{"output", MM_GRANT_OUTPUT},
                                     {"sockets", MM_GRANT_SOCKETS},
                                     {"jit", MM_GRANT_JIT},
                                     {"everything", MM_GRANT_EVERYTHING},
                                     {NULL, 0}};
static const struct name accesses[] = {
    {"read", MM_FILES_READ}, {"write", MM_FILES_WRITE}, {NULL, 0}};
static const struct name fault_ends[] = {{"reset", 0}, {"dead", 1}, {NULL, 0}};
static const struct name signal_ways[] = {
    {"defer", MM_SIGNALS_DEFER}, {"mask", MM_SIGNALS_MASK}, {NULL, 0}};
static const struct name interrupt_ways[] = {{"deliver", MM_INTERRUPT_DELIVER},
                                             {"error", MM_INTERRUPT_ERROR},
                                             {"wait", MM_INTERRUPT_WAIT},
                                             {NULL, 0}};
static const struct name looks[] = {
    {"often", MM_LOOK_OFTEN}, {"always", MM_LOOK_ALWAYS}, {NULL, 0}};
static const struct name lacks[] = {{"fsgsbase", MM_WITHOUT_FSGSBASE},
                                    {"inclusive", MM_WITHOUT_INCLUSIVE},
                                    {"keys", MM_WITHOUT_KEYS},
                                    {"closing", MM_WITHOUT_CLOSING},
                                    {NULL, 0}};

/* The value of one option is on top of the stack. */
struct option {
  lua_State *L;
  const char *function, *name;
};

static _Noreturn void wrong(const struct option *option, const char *wanted) {
  char text[200];
  mm__raise(option->L, MM_ERROR_ARGUMENT, "%s: option `%s` is %s, got %s", option->function,
            option->name, wanted, mm__describe(option->L, -1, text, sizeof text));
}

static _Noreturn void wrong_number(const struct option *option, const char *wanted,
                                   lua_Number number) {
  mm__raise(option->L, MM_ERROR_ARGUMENT, "%s: option `%s` is %s, got %.14g", option->function,
            option->name, wanted, number);
}

static bool is(const struct option *option, const char *name) {
  return strcmp(option->name, name) == 0;
}

/* One of the names, at `index`. */
static uint32_t read_name(const struct option *option, int index, const struct name *names) {
  lua_State *L = option->L;
  char list[160] = "";
  const char *text = lua_type(L, index) == LUA_TSTRING ? lua_tostring(L, index) : NULL;
  for (const struct name *name = names; name->text; name++) {
    if (text && strcmp(text, name->text) == 0) return name->value;
    strcat(list, name == names ? "\"" : name[1].text ? ", \"" : " or \"");
    strcat(strcat(list, name->text), "\"");
  }
  if (names == grants) strcat(list, ", or folders as in { read = \"/tmp\" }");
  if (!text) wrong(option, list);
  mm__raise(L, MM_ERROR_ARGUMENT, "%s: option `%s` is %s, got \"%.100s\"", option->function,
            option->name, list, text);
}

/* What has no place in a list, which is on top of the stack, would silently be without effect. */
static void check_list(const struct option *option, bool may_have_names) {
  lua_State *L = option->L;
  char text[200];
  int list = lua_gettop(L);
  lua_Number count = (lua_Number)lua_rawlen(L, list);
  luaL_checkstack(L, 6, "a list");
  for (lua_pushnil(L); lua_next(L, list); lua_pop(L, 1)) {
    lua_Number place = lua_type(L, -2) == LUA_TNUMBER ? lua_tonumber(L, -2) : 0;
    if (place >= 1 && place <= count && floor(place) == place) continue;
    if (may_have_names && lua_type(L, -2) == LUA_TSTRING) continue;
    mm__raise(L, MM_ERROR_ARGUMENT, "%s: option `%s` is a list from 1 on, got %s as a key",
              option->function, option->name, mm__describe(L, -2, text, sizeof text));
  }
}

/* A name or a list of names, as bits. */
static uint32_t read_names(const struct option *option, const struct name *names) {
  lua_State *L = option->L;
  uint32_t bits = 0;
  if (!lua_istable(L, -1)) return read_name(option, -1, names);
  check_list(option, names == grants);
  for (int i = 1; i <= (int)lua_rawlen(L, -1); i++) {
    lua_rawgeti(L, -1, i);
    bits |= read_name(option, -1, names);
    lua_pop(L, 1);
  }
  return bits;
}

static uint64_t read_count(const struct option *option, const char *wanted, double most) {
  lua_Number number = lua_tonumber(option->L, -1);
  if (lua_type(option->L, -1) != LUA_TNUMBER) wrong(option, wanted);
  if (!(number >= 1 && number <= most) || floor(number) != number)
    wrong_number(option, wanted, number);
  return (uint64_t)number;
}

static uint32_t read_boolean(const struct option *option) {
  if (!lua_isboolean(option->L, -1)) wrong(option, "true or false");
  return (uint32_t)lua_toboolean(option->L, -1);
}

static _Noreturn void unknown(const struct option *option) {
  mm__raise(option->L, MM_ERROR_ARGUMENT, "%s: there is no option `%.100s`", option->function,
            option->name);
}

/* The next option of the table at `index`; its key stays below its value. */
static bool next_option(struct option *option, int index) {
  lua_State *L = option->L;
  char text[200];
  if (!lua_next(L, index)) return false;
  if (lua_type(L, -2) != LUA_TSTRING)
    mm__raise(L, MM_ERROR_ARGUMENT, "%s: the name of an option is a string, got %s",
              option->function, mm__describe(L, -2, text, sizeof text));
  option->name = lua_tostring(L, -2);
  return true;
}

/* Seconds, as nanoseconds. */
static uint64_t read_seconds(const struct option *option) {
  static const char wanted[] = "a number of seconds, from 1e-6 to 1e9";
  lua_Number seconds = lua_tonumber(option->L, -1);
  if (lua_type(option->L, -1) != LUA_TNUMBER) wrong(option, wanted);
  if (!(seconds >= 1e-6 && seconds <= 1e9)) wrong_number(option, wanted, seconds);
  return (uint64_t)(seconds * 1e9);
}

/* Whether there are options at all. */
static bool begin(const struct option *option, int index) {
  if (lua_isnoneornil(option->L, index)) return false;
  if (!lua_istable(option->L, index))
    mm__wrong_argument(option->L, index, option->function, "a table of options");
  luaL_checkstack(option->L, 6, "options");
  lua_pushnil(option->L);
  return true;
}

/* A path on top of the stack; the table of options keeps it. */
static const char *read_path(const struct option *option, const char *wanted) {
  size_t length;
  if (lua_type(option->L, -1) != LUA_TSTRING) wrong(option, wanted);
  const char *path = lua_tolstring(option->L, -1, &length);
  if (!length)
    mm__raise(option->L, MM_ERROR_ARGUMENT, "%s: option `%s` is %s, got \"\"", option->function,
              option->name, wanted);
  if (strlen(path) != length)
    mm__raise(option->L, MM_ERROR_ARGUMENT, "%s: option `%s` holds a NUL at position %d",
              option->function, option->name, (int)strlen(path) + 1);
  return path;
}

void mm__read_config(lua_State *L, int index, struct mm_config *config) {
  struct option option = {L, "init", NULL};
  if (!begin(&option, index)) return;
  for (; next_option(&option, index); lua_pop(L, 1)) {
    if (is(&option, "images"))
      config->image_limit = (uint32_t)read_count(&option, "a number of images", UINT32_MAX);
    else if (is(&option, "image_bytes"))
      config->image_bytes_limit = read_count(&option, "a number of bytes", 0x1p53);
    else if (is(&option, "exports"))
      config->export_limit = (uint32_t)read_count(&option, "a number of exports", UINT32_MAX);
    else if (is(&option, "signals"))
      config->signals = read_name(&option, -1, signal_ways);
    else if (is(&option, "interrupt"))
      config->interrupt = read_name(&option, -1, interrupt_ways);
    else if (is(&option, "look"))
      config->look = read_name(&option, -1, looks);
    else if (is(&option, "policy"))
      config->policy = read_path(&option, "the path of a policy file");
    else if (is(&option, "without"))
      config->without = read_names(&option, lacks);
    else if (is(&option, "list"))
      config->unlisted = !read_boolean(&option);
    else
      unknown(&option);
  }
}

/* One folder, on top of the stack; the table of options keeps its name. */
static void read_folder(const struct option *option, struct mm_map_options *options,
                        uint32_t access) {
  struct mm_grant_files *files = (struct mm_grant_files *)options->files;
  const char *folder = read_path(option, "the path of a folder, or a list of them");
  if (options->file_count == MM__FILES_LIMIT)
    mm__raise(option->L, MM_ERROR_LIMIT, "%s: more than %d folders are granted", option->function,
              MM__FILES_LIMIT);
  files[options->file_count++] = (struct mm_grant_files){folder, access};
}

static void read_folders(const struct option *option, struct mm_map_options *options,
                         uint32_t access) {
  lua_State *L = option->L;
  if (!lua_istable(L, -1)) {
    read_folder(option, options, access);
    return;
  }
  check_list(option, false);
  for (int i = 1; i <= (int)lua_rawlen(L, -1); i++) {
    lua_rawgeti(L, -1, i);
    read_folder(option, options, access);
    lua_pop(L, 1);
  }
}

/* A name, or a table: names in its list, folders under `read` and `write`. */
static void read_grant(const struct option *option, struct mm_map_options *options) {
  lua_State *L = option->L;
  options->grants |= read_names(option, grants);
  if (!lua_istable(L, -1)) return;
  int table = lua_gettop(L);
  luaL_checkstack(L, 6, "folders");
  for (lua_pushnil(L); lua_next(L, table); lua_pop(L, 1)) {
    if (lua_type(L, -2) == LUA_TNUMBER) continue;
    struct option inner = {L, option->function, lua_tostring(L, -2)};
    char name[64];
    snprintf(name, sizeof name, "grant.%.50s", inner.name);
    const struct name *access = accesses;
    while (access->text && strcmp(access->text, inner.name) != 0) access++;
    inner.name = name;
    if (!access->text) unknown(&inner);
    read_folders(&inner, options, access->value);
  }
}

static void read_map_option(const struct option *option, struct mm_map_options *options) {
  if (is(option, "guard"))
    options->guard = read_name(option, -1, guards);
  else if (is(option, "grant"))
    read_grant(option, options);
  else if (is(option, "memory"))
    options->memory_bytes = read_count(option, "a number of bytes", 0x1p53);
  else if (is(option, "on_fault"))
    options->dead_on_fault = read_name(option, -1, fault_ends);
  else if (is(option, "timeout"))
    options->timeout_ns = read_seconds(option);
  else if (is(option, "verify"))
    options->verify = read_boolean(option);
  else if (is(option, "strict"))
    options->strict = read_boolean(option);
  else if (is(option, "sealed"))
    options->sealed = read_boolean(option);
  else if (is(option, "stateless"))
    options->stateless = read_boolean(option);
  else
    unknown(option);
}

void mm__read_map_options(lua_State *L, int index, struct mm_map_options *options) {
  struct option option = {L, "request_map", NULL};
  if (!begin(&option, index)) return;
  for (; next_option(&option, index); lua_pop(L, 1)) read_map_option(&option, options);
}

int mm__read_call(lua_State *L, int index, uint64_t *timeout_ns) {
  struct option option = {L, "call", NULL};
  int count = 0;
  if (!lua_istable(L, index)) mm__wrong_argument(L, index, "call", "a table as { name, ... }");
  begin(&option, index);
  for (; lua_next(L, index); lua_pop(L, 1)) {
    if (lua_type(L, -2) == LUA_TNUMBER) {
      lua_Number number = lua_tonumber(L, -2);
      if (number > count && number <= MM__ARGUMENT_LIMIT) count = (int)number;
      continue;
    }
    option.name = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "?";
    if (!is(&option, "timeout")) unknown(&option);
    *timeout_ns = read_seconds(&option);
  }
  return count;
}
