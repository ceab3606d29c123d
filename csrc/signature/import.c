/* signature/import.c - makes the types of a checked registry known to a builder. The registry may
 * be an image's, so its names may be anything, but its indexes and offsets are sound. */
#include "signature/import.h"
#include "base/error.h"
#include "signature/parser.h"

#include <string.h>

struct import {
  struct mm__store *store;
  const struct mm__registry *from;
  uint32_t base; /* the new index of its first type */
};

static bool copy_string(struct import *import, uint32_t *offset) {
  const char *text = import->from->strings + *offset;
  return mm__store_string(import->store, text, strlen(text), offset);
}

static bool copy_members(struct import *import, struct mm__type *type) {
  const struct mm__member *members = import->from->members + type->first_member;
  struct mm__store *store = import->store;
  type->first_member = store->member_count;
  for (uint32_t i = 0; i < type->member_count; i++) {
    struct mm__member member = members[i];
    member.type += import->base;
    if (!copy_string(import, &member.name) || !mm__store_member(store, &member)) return false;
  }
  return true;
}

static bool copy_type(struct import *import, uint32_t index) {
  struct mm__type type = import->from->types[index];
  uint32_t added;
  /* The checker wants the target of what has none to be 0. */
  if (type.kind == MM__POINTER || type.kind == MM__ARRAY || type.kind == MM__ENUM ||
      type.kind == MM__FUNCTION)
    type.target += import->base;
  return copy_string(import, &type.name) && copy_string(import, &type.alias) &&
         copy_members(import, &type) && mm__store_append(import->store, &type, &added);
}

/* --- names --- */

/* The name of a standard type stays what it is everywhere, or an image could say what `int32_t`
 * means to its client. */
static bool usable(const char *name) {
  struct mm__token token = mm__lexer_token(name, 0);
  return token.kind == MM__TOKEN_NAME && token.start == 0 && name[token.length] == 0 &&
         !mm__lexer_keyword(name, token.length) && !mm__parse_is_standard(name);
}

/* The first of a name counts, but a complete type before an incomplete one. */
static bool add_name(struct import *import, uint8_t kind, uint32_t name, uint32_t type,
                     int64_t value) {
  struct mm__store *store = import->store;
  struct mm__name added = {name, kind, false, type, value};
  if (kind == MM__NAME_TYPEDEF) added.is_const = store->types[type].flags & MM__TYPE_CONST_NAME;
  if (!usable(store->strings + name)) return true;
  struct mm__name *known = mm__store_find(store, kind, name);
  if (!known) return mm__store_name(store, &added);
  const struct mm__type *new = &store->types[type];
  if (kind != MM__NAME_CONSTANT && known->kind == kind && known->type >= import->base &&
      store->types[known->type].flags & MM__TYPE_INCOMPLETE && !(new->flags &MM__TYPE_INCOMPLETE) &&
      store->types[known->type].kind == new->kind)
    *known = added;
  return true;
}

static bool add_names(struct import *import, uint32_t index) {
  struct mm__type type = import->store->types[index];
  bool tagged = type.kind == MM__STRUCT || type.kind == MM__UNION || type.kind == MM__ENUM;
  if (type.alias && !add_name(import, MM__NAME_TYPEDEF, type.alias, index, 0)) return false;
  if (tagged && type.name && !type.alias && !add_name(import, MM__NAME_TAG, type.name, index, 0))
    return false;
  for (uint32_t i = 0; type.kind == MM__ENUM && i < type.member_count; i++) {
    struct mm__member constant = import->store->members[type.first_member + i];
    if (!add_name(import, MM__NAME_CONSTANT, constant.name, index + 1, constant.value))
      return false;
  }
  return true;
}

int mm__import(struct mm__store *store, const struct mm__registry *registry,
               struct mm_error *error) {
  struct mm__mark mark = mm__store_mark(store);
  struct import import = {store, registry, mark.types};
  bool good = true;
  for (uint32_t i = 0; i < registry->type_count && good; i++) good = copy_type(&import, i);
  for (uint32_t i = 0; i < registry->type_count && good; i++)
    good = add_names(&import, import.base + i);
  if (good) return MM_OK;
  int status = store->status;
  const char *limit = store->limit;
  mm__store_undo(store, &mark);
  return status == MM_ERROR_MEMORY
             ? mm__fail(error, status, "out of memory for the registry")
             : mm__fail(error, MM_ERROR_PROTOTYPE, "the image's types: %s", limit);
}
