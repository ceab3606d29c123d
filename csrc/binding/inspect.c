/* binding/inspect.c - all that an image's head says, as one table. Types refer to each other by
 * their place in the list, from 1. */
#include "client/inspect.h"

#include "binding/binding.h"
#include "image/arena.h"
#include "image/cpu.h"
#include "signature/placement.h"

#include <stdio.h>
#include <string.h>

#define EXACT (INT64_C(1) << 53)

/* Text where a Lua number is not exact. */
static void set_integer(lua_State *L, const char *field, int64_t integer) {
  char text[32];
  if (MM__HAS_INTEGERS) {
    lua_pushinteger(L, (lua_Integer)integer);
  } else if (integer >= -EXACT && integer <= EXACT) {
    lua_pushnumber(L, (lua_Number)integer);
  } else {
    snprintf(text, sizeof text, "%lld", (long long)integer);
    lua_pushstring(L, text);
  }
  lua_setfield(L, -2, field);
}

static void set_text(lua_State *L, const char *field, const char *text) {
  if (!text[0]) return;
  lua_pushstring(L, text);
  lua_setfield(L, -2, field);
}

static void set_flag(lua_State *L, const char *field, bool flag) {
  if (!flag) return;
  lua_pushboolean(L, 1);
  lua_setfield(L, -2, field);
}

static void set_range(lua_State *L, const char *field, uint64_t low, uint64_t high) {
  lua_createtable(L, 0, 2);
  set_integer(L, "low", (int64_t)low);
  set_integer(L, "high", (int64_t)high);
  lua_setfield(L, -2, field);
}

/* --- parts --- */

static void set_facts(lua_State *L, const struct mm__facts *facts) {
  set_integer(L, "version", facts->version);
  set_integer(L, "slot", facts->slot);
  set_integer(L, "base", (int64_t)MM__SLOT_BASE(facts->slot));
  set_integer(L, "head_bytes", (int64_t)facts->head_bytes);
  set_integer(L, "file_bytes", (int64_t)facts->file_bytes);
  set_integer(L, "page_bytes", facts->page_bytes);
  set_integer(L, "created", (int64_t)facts->created_seconds);
  set_integer(L, "hooks", facts->hook_count);
  set_range(L, "stack", facts->stack_low, facts->stack_high);
  set_range(L, "heap", facts->heap_low, facts->heap_high);
  set_range(L, "mailbox", facts->mailbox_low, facts->mailbox_high);
  lua_pushlstring(L, facts->server, strnlen(facts->server, sizeof facts->server));
  lua_setfield(L, -2, "server");
}

static void push_features(lua_State *L, const uint32_t words[MM__CPU_WORDS]) {
  uint32_t next = 0;
  lua_newtable(L);
  for (const char *name; (name = mm__cpu_name(words, &next)) != NULL;) {
    lua_pushstring(L, name);
    lua_rawseti(L, -2, (int)lua_rawlen(L, -2) + 1);
  }
}

static void set_cpu(lua_State *L, const struct mm__facts *facts) {
  uint32_t words[MM__CPU_WORDS];
  push_features(L, facts->cpu);
  lua_setfield(L, -2, "cpu");
  mm__cpu_features(words);
  for (uint32_t i = 0; i < MM__CPU_WORDS; i++) words[i] = facts->cpu[i] & ~words[i];
  push_features(L, words);
  lua_setfield(L, -2, "cpu_missing");
}

static void set_segments(lua_State *L, const struct mm__head *head) {
  lua_createtable(L, (int)head->load_count, 0);
  for (uint32_t i = 0; i < head->load_count; i++) {
    const Elf64_Phdr *load = &head->loads[i];
    char protection[4] = {load->p_flags & PF_R ? 'r' : '-', load->p_flags & PF_W ? 'w' : '-',
                          load->p_flags & PF_X ? 'x' : '-', 0};
    lua_createtable(L, 0, 6);
    set_integer(L, "low", (int64_t)load->p_vaddr);
    set_integer(L, "high", (int64_t)(load->p_vaddr + load->p_memsz));
    set_integer(L, "offset", (int64_t)load->p_offset);
    set_integer(L, "file_bytes", (int64_t)load->p_filesz);
    set_text(L, "protection", protection);
    lua_rawseti(L, -2, (int)i + 1);
  }
  lua_setfield(L, -2, "segments");
}

static void set_modules(lua_State *L, const struct mm__head *head) {
  lua_createtable(L, (int)head->module_count, 0);
  for (uint32_t i = 0; i < head->module_count; i++) {
    const struct mm__module *module = &head->modules[i];
    lua_createtable(L, 0, 5);
    set_integer(L, "low", (int64_t)module->low);
    set_integer(L, "high", (int64_t)module->high);
    set_integer(L, "bias", (int64_t)module->bias);
    set_text(L, "path", head->module_strings + module->path);
    set_text(L, "build_id", head->module_strings + module->build_id);
    lua_rawseti(L, -2, (int)i + 1);
  }
  lua_setfield(L, -2, "modules");
}

/* --- the registry --- */

static const char *const kinds[] = {"void",  "bool",     "signed",  "unsigned", "float",
                                    "enum",  "string",   "pointer", "array",    "struct",
                                    "union", "function", "complex"};
_Static_assert(sizeof kinds / sizeof *kinds == MM__KIND_COUNT, "each kind has its word");

/* Of a field, besides its name and type. */
static void set_place(lua_State *L, const struct mm__member *field,
                      const struct mm__placed *placed) {
  set_integer(L, "value", mm__field_offset(field));
  if (mm__field_width(field)) {
    set_integer(L, "shift", mm__field_shift(field));
    set_integer(L, "width", mm__field_width(field));
  }
  if (placed->aligned) set_integer(L, "aligned", placed->aligned);
  if (placed->filling) set_integer(L, "filling", placed->filling);
}

/* Pushes room for what has to be said of each field, and sets what has to be of the whole. */
static const struct mm__placed *push_placement(lua_State *L, const struct mm__registry *registry,
                                               const struct mm__type *type) {
  struct mm__placed *fields = lua_newuserdata(L, (type->member_count + 1) * sizeof *fields);
  struct mm__placement whole = {.bytes = type->size,
                                .align = type->align,
                                .is_union = type->kind == MM__UNION,
                                .is_guess = type->flags & MM__TYPE_DISPUTED};
  memset(fields, 0, (type->member_count + 1) * sizeof *fields);
  for (uint32_t i = 0; i < type->member_count; i++) {
    const struct mm__member *field = &registry->members[type->first_member + i];
    const struct mm__type *of = &registry->types[field->type];
    uint32_t width = mm__field_width(field);
    fields[i].place = mm__field_offset(field) * 8ull + mm__field_shift(field);
    fields[i].bits = width ? width : of->size * 8ull;
    fields[i].align = of->align;
    fields[i].is_anonymous = !field->name;
    fields[i].unit = width ? of->size * 8 : 0;
  }
  lua_insert(L, -2);
  set_flag(L, "unusual", !mm__place_fields(&whole, fields, type->member_count));
  set_flag(L, "packed", whole.is_packed);
  if (whole.aligned) set_integer(L, "aligned", whole.aligned);
  if (whole.filling) set_integer(L, "filling", whole.filling);
  return fields;
}

static void set_members(lua_State *L, const struct mm__registry *registry,
                        const struct mm__type *type) {
  bool has_fields = type->kind == MM__STRUCT || type->kind == MM__UNION;
  const struct mm__placed *placed = has_fields ? push_placement(L, registry, type) : NULL;
  lua_createtable(L, (int)type->member_count, 0);
  for (uint32_t i = 0; i < type->member_count; i++) {
    const struct mm__member *member = &registry->members[type->first_member + i];
    lua_createtable(L, 0, 3);
    set_text(L, "name", registry->strings + member->name);
    if (type->kind != MM__ENUM) set_integer(L, "type", (int64_t)member->type + 1);
    if (type->kind == MM__ENUM) set_integer(L, "value", member->value);
    if (placed) set_place(L, member, &placed[i]);
    lua_rawseti(L, -2, (int)i + 1);
  }
  lua_setfield(L, -2, "members");
  if (placed) lua_remove(L, -2);
}

static bool has_target(uint8_t kind) {
  return kind == MM__ENUM || kind == MM__POINTER || kind == MM__ARRAY || kind == MM__FUNCTION;
}

static void push_type(lua_State *L, const struct mm__registry *registry, uint32_t index) {
  const struct mm__type *type = &registry->types[index];
  char text[1024];
  mm__type_text(registry, index, NULL, text, sizeof text);
  lua_createtable(L, 0, 8);
  set_text(L, "kind", kinds[type->kind]);
  set_text(L, "text", text);
  set_text(L, "name", registry->strings + type->name);
  set_text(L, "alias", registry->strings + type->alias);
  set_integer(L, "size", type->size);
  set_integer(L, "align", type->align);
  if (has_target(type->kind)) set_integer(L, "target", (int64_t)type->target + 1);
  if (type->kind == MM__ARRAY) set_integer(L, "length", type->length);
  set_flag(L, "const", type->flags & MM__TYPE_CONST);
  set_flag(L, "const_name", type->flags & MM__TYPE_CONST_NAME);
  set_flag(L, "variadic", type->flags & MM__TYPE_VARIADIC);
  set_flag(L, "incomplete", type->flags & MM__TYPE_INCOMPLETE);
  if (type->member_count) set_members(L, registry, type);
}

static void set_registry(lua_State *L, const struct mm__registry *registry) {
  lua_createtable(L, (int)registry->type_count, 0);
  for (uint32_t i = 0; i < registry->type_count; i++) {
    push_type(L, registry, i);
    lua_rawseti(L, -2, (int)i + 1);
  }
  lua_setfield(L, -2, "types");
  lua_createtable(L, (int)registry->export_count, 0);
  for (uint32_t i = 0; i < registry->export_count; i++) {
    const struct mm__export *export = &registry->exports[i];
    lua_createtable(L, 0, 5);
    set_text(L, "name", registry->strings + export->name);
    set_text(L, "prototype", registry->strings + export->prototype);
    set_text(L, "doc", registry->strings + export->doc);
    set_integer(L, "type", (int64_t) export->type + 1);
    set_integer(L, "address", (int64_t) export->address);
    lua_rawseti(L, -2, (int)i + 1);
  }
  lua_setfield(L, -2, "exports");
}

/* --- the whole --- */

static int push_all(lua_State *L) {
  const struct mm__inspection *inspection = lua_touserdata(L, 1);
  const struct mm__head *head = &inspection->head;
  luaL_checkstack(L, 20, "facts");
  lua_createtable(L, 0, 20);
  set_facts(L, head->facts);
  set_integer(L, "memory_bytes", (int64_t)head->memory_bytes);
  set_text(L, "needs", head->needs);
  set_cpu(L, head->facts);
  set_segments(L, head);
  set_modules(L, head);
  set_registry(L, &head->registry);
  return 1;
}

/* The head is ours to free, whatever Lua raises. */
static int push_and_end(lua_State *L, struct mm__inspection *inspection, const char *path) {
  lua_pushcfunction(L, push_all);
  lua_pushlightuserdata(L, inspection);
  int status = lua_pcall(L, 1, 1, 0);
  mm__inspect_end(inspection);
  if (status) return lua_error(L);
  set_text(L, "path", path);
  return 1;
}

int mm__inspect_for(lua_State *L) {
  struct mm__lua_image *image = mm__object_at(L, 1, MM__IMAGE, sizeof *image);
  struct mm__inspection inspection;
  struct mm_error error;
  if (!image && lua_type(L, 1) != LUA_TSTRING)
    mm__wrong_argument(L, 1, "inspect", "an image or its path");
  if (image) image = mm__image_check(L, 1, "inspect");
  const char *path = image ? image->handle->path : lua_tostring(L, 1);
  int status = image ? mm__inspect_mapped(image->handle, &inspection, &error)
                     : mm__inspect(path, lua_toboolean(L, 2), &inspection, &error);
  if (status == MM_OK) return push_and_end(L, &inspection, path);
  if (image) mm__image_explain(image, &error);
  snprintf(error.image, sizeof error.image, "%s", path);
  return mm__error_return(L, &error);
}
