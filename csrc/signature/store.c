/* signature/store.c - types, names and strings are each kept once. What is added can be taken back,
 * so a declaration with an error in it leaves no trace. Indexes never change: a struct that is
 * completed gets a second type, because the types of its fields must come before it, and pointers
 * to the first are turned to the second. */
#include "signature/store.h"

#include "matchmaker.h"

#include <stdlib.h>
#include <string.h>

#define BUCKETS       4096u
#define TYPE_LIMIT    65536u
#define MEMBER_LIMIT  1048576u
#define EXPORT_LIMIT  65536u
#define STRINGS_LIMIT 0x8000000u

static bool over(struct mm__store *store, const char *limit) {
  store->status = MM_ERROR_LIMIT;
  store->limit = limit;
  return false;
}

void *mm__store_grown(struct mm__store *store, void *items, uint32_t *capacity, uint32_t count,
                      size_t item_bytes) {
  if (count < *capacity) return items;
  uint32_t wanted = *capacity ? *capacity * 2 : 64;
  void *grown = realloc(items, wanted * item_bytes);
  if (!grown) {
    store->status = MM_ERROR_MEMORY;
    return items;
  }
  *capacity = wanted;
  return grown;
}

/* --- the index --- */

static uint32_t mix(uint32_t hash, uint32_t value) {
  hash = (hash ^ value) * 0x9e3779b1u;
  return hash ^ hash >> 15;
}

static bool index_room(struct mm__store *store, struct mm__index *index) {
  return MM__STORE_GROW(store, index->links, index->capacity, index->count);
}

static void index_add(struct mm__index *index, uint32_t hash) {
  uint32_t *head = &index->heads[hash % BUCKETS];
  index->links[index->count] = (struct mm__link){hash, *head};
  *head = ++index->count;
}

static void index_cut(struct mm__index *index, uint32_t count) {
  while (index->count > count) {
    struct mm__link *last = &index->links[--index->count];
    index->heads[last->hash % BUCKETS] = last->next;
  }
}

/* The next thing after `at` (0: the first) with that hash, counted from 1; 0 when there is no more.
 * */
static uint32_t index_next(const struct mm__index *index, uint32_t hash, uint32_t at) {
  do at = at ? index->links[at - 1].next : index->heads[hash % BUCKETS];
  while (at && index->links[at - 1].hash != hash);
  return at;
}

/* --- the store --- */

bool mm__store_open(struct mm__store *store) {
  uint32_t offset;
  memset(store, 0, sizeof *store);
  store->type_index.heads = calloc(BUCKETS, sizeof(uint32_t));
  store->name_index.heads = calloc(BUCKETS, sizeof(uint32_t));
  store->string_index.heads = calloc(BUCKETS, sizeof(uint32_t));
  if (store->type_index.heads && store->name_index.heads && store->string_index.heads &&
      mm__store_string(store, "", 0, &offset))
    return true;
  mm__store_close(store);
  return false;
}

void mm__store_close(struct mm__store *store) {
  void *all[] = {store->types,
                 store->extras,
                 store->passing,
                 store->members,
                 store->exports,
                 store->names,
                 store->strings,
                 store->starts,
                 store->type_index.heads,
                 store->type_index.links,
                 store->name_index.heads,
                 store->name_index.links,
                 store->string_index.heads,
                 store->string_index.links};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
}

struct mm__mark mm__store_mark(const struct mm__store *store) {
  return (struct mm__mark){store->type_index.count, store->member_count,       store->export_count,
                           store->name_index.count, store->string_index.count, store->string_bytes};
}

void mm__store_undo(struct mm__store *store, const struct mm__mark *mark) {
  index_cut(&store->type_index, mark->types);
  index_cut(&store->name_index, mark->names);
  index_cut(&store->string_index, mark->strings);
  store->member_count = mark->members;
  store->export_count = mark->exports;
  store->string_bytes = mark->string_bytes;
  for (uint32_t i = 0; i < mark->types; i++)
    if (store->extras[i].completed > mark->types) store->extras[i].completed = 0;
  store->status = MM_OK;
}

bool mm__store_string(struct mm__store *store, const char *text, size_t length, uint32_t *offset) {
  uint32_t hash = (uint32_t)length;
  for (size_t i = 0; i < length; i++) hash = mix(hash, (uint8_t)text[i]);
  for (uint32_t at = 0; (at = index_next(&store->string_index, hash, at));) {
    const char *known = store->strings + store->starts[at - 1];
    if (strncmp(known, text, length) == 0 && known[length] == 0) {
      *offset = store->starts[at - 1];
      return true;
    }
  }
  if (length >= STRINGS_LIMIT - store->string_bytes) return over(store, "the names are too long");
  if (!MM__STORE_GROW(store, store->starts, store->start_capacity, store->string_index.count) ||
      !index_room(store, &store->string_index))
    return false;
  while (store->string_capacity - store->string_bytes <= length)
    if (!MM__STORE_GROW(store, store->strings, store->string_capacity, store->string_capacity))
      return false;
  *offset = store->starts[store->string_index.count] = store->string_bytes;
  memcpy(store->strings + store->string_bytes, text, length);
  store->strings[store->string_bytes + length] = 0;
  store->string_bytes += (uint32_t)length + 1;
  index_add(&store->string_index, hash);
  return true;
}

/* --- types --- */

uint32_t mm__store_now(const struct mm__store *store, uint32_t type) {
  uint32_t completed = store->extras[type].completed;
  return completed ? completed - 1 : type;
}

/* What a pointer is known by: its target may have been turned from an incomplete type to the
 * complete one. */
static uint32_t target_key(const struct mm__store *store, const struct mm__type *type) {
  if (type->kind != MM__POINTER || type->target >= store->type_index.count) return type->target;
  uint32_t origin = store->extras[type->target].origin;
  return origin ? origin - 1 : type->target;
}

static uint32_t hash_type(const struct mm__store *store, const struct mm__type *type,
                          const struct mm__member *members) {
  uint32_t hash = mix(type->kind, type->flags);
  hash = mix(hash, type->size);
  hash = mix(hash, type->name);
  hash = mix(hash, target_key(store, type));
  hash = mix(hash, type->length);
  hash = mix(hash, type->alias);
  for (uint32_t i = 0; i < type->member_count; i++)
    hash = mix(mix(hash, members[i].name), members[i].type);
  return hash;
}

static bool same_type(const struct mm__store *store, const struct mm__type *a,
                      const struct mm__type *b, const struct mm__member *members) {
  return a->kind == b->kind && a->flags == b->flags && a->align == b->align && a->size == b->size &&
         a->name == b->name && a->length == b->length && a->alias == b->alias &&
         a->member_count == b->member_count && target_key(store, a) == target_key(store, b) &&
         (a->member_count == 0 || memcmp(store->members + a->first_member, members,
                                         a->member_count * sizeof *members) == 0);
}

static uint32_t deeper(const struct mm__store *store, uint32_t depth, uint32_t type) {
  if (type >= store->type_index.count) return depth;
  uint32_t below = store->extras[type].depth + 1;
  return below > depth ? below : depth;
}

static uint32_t depth_of(const struct mm__store *store, const struct mm__type *type) {
  uint32_t depth = 1;
  if (type->kind == MM__POINTER && type->target < store->type_index.count) {
    const struct mm__type *target = &store->types[type->target];
    bool tagged = target->kind == MM__STRUCT || target->kind == MM__UNION;
    return tagged && target->name ? depth : deeper(store, depth, type->target);
  }
  if (type->kind == MM__ARRAY || type->kind == MM__FUNCTION)
    depth = deeper(store, depth, type->target);
  for (uint32_t i = 0; type->kind != MM__ENUM && i < type->member_count; i++)
    depth = deeper(store, depth, store->members[type->first_member + i].type);
  return depth;
}

bool mm__store_append(struct mm__store *store, const struct mm__type *type, uint32_t *index) {
  uint32_t count = store->type_index.count, depth = depth_of(store, type);
  if (count >= TYPE_LIMIT) return over(store, "there are more than 65536 types");
  if (depth > MM__TYPE_DEPTH_LIMIT) return over(store, "the type is nested more than 60 deep");
  if (!MM__STORE_GROW(store, store->types, store->type_capacity, count) ||
      !MM__STORE_GROW(store, store->extras, store->extra_capacity, count) ||
      !MM__STORE_GROW(store, store->passing, store->passing_capacity, count) ||
      !index_room(store, &store->type_index))
    return false;
  store->types[count] = *type;
  store->extras[count] = (struct mm__extra){0, 0, depth};
  struct mm__registry view = mm__store_view(store);
  store->passing[count] = mm__classify(&view, count, store->passing);
  const struct mm__member *members =
      type->member_count ? store->members + type->first_member : NULL;
  index_add(&store->type_index, hash_type(store, type, members));
  *index = count;
  return true;
}

bool mm__store_member(struct mm__store *store, const struct mm__member *member) {
  if (store->member_count == MEMBER_LIMIT)
    return over(store, "there are more than 1048576 members");
  if (!MM__STORE_GROW(store, store->members, store->member_capacity, store->member_count))
    return false;
  store->members[store->member_count++] = *member;
  return true;
}

bool mm__store_type(struct mm__store *store, const struct mm__type *type,
                    const struct mm__member *members, uint32_t *index) {
  struct mm__type added = *type;
  bool own = members == NULL;
  if (own && type->member_count) members = store->members + type->first_member;
  uint32_t hash = hash_type(store, type, members);
  for (uint32_t at = 0; (at = index_next(&store->type_index, hash, at));) {
    if (same_type(store, &store->types[at - 1], type, members)) {
      *index = at - 1;
      return true;
    }
  }
  if (!own) added.first_member = store->member_count;
  for (uint32_t i = 0; !own && i < type->member_count; i++)
    if (!mm__store_member(store, &members[i])) return false;
  return mm__store_append(store, &added, index);
}

bool mm__store_alias(struct mm__store *store, uint32_t type, uint32_t alias, bool is_const,
                     uint32_t *index) {
  struct mm__type copy = store->types[type];
  copy.flags =
      (uint8_t)((copy.flags & ~MM__TYPE_CONST_NAME) | (is_const ? MM__TYPE_CONST_NAME : 0));
  copy.alias = alias;
  return mm__store_type(store, &copy, NULL, index);
}

bool mm__store_scalar(struct mm__store *store, uint8_t kind, uint32_t size, const char *name,
                      uint32_t *index) {
  uint32_t align = kind == MM__COMPLEX ? size / 2 : size ? size : 1;
  struct mm__type type = {.kind = kind, .size = size, .align = (uint16_t)align};
  return mm__store_string(store, name, strlen(name), &type.name) &&
         mm__store_type(store, &type, NULL, index);
}

bool mm__store_complete(struct mm__store *store, uint32_t incomplete, uint32_t complete) {
  uint8_t kind = store->types[incomplete].kind;
  uint32_t name = store->types[incomplete].name, count = store->type_index.count;
  for (uint32_t i = 0; i < count; i++) {
    const struct mm__type *type = &store->types[i];
    if (type->kind != kind || type->name != name || !(type->flags & MM__TYPE_INCOMPLETE) ||
        store->extras[i].completed)
      continue;
    uint32_t known = complete;
    bool is_const = type->flags & MM__TYPE_CONST_NAME;
    if (type->alias && !mm__store_alias(store, complete, type->alias, is_const, &known))
      return false;
    store->extras[i].completed = known + 1;
    store->extras[known].origin = i + 1;
  }
  return true;
}

/* --- names and exports --- */

static uint32_t hash_name(uint8_t kind, uint32_t name) {
  return mix(kind == MM__NAME_CONSTANT ? MM__NAME_TYPEDEF : kind, name);
}

struct mm__name *mm__store_find(const struct mm__store *store, uint8_t kind, uint32_t name) {
  uint32_t hash = hash_name(kind, name);
  for (uint32_t at = 0; (at = index_next(&store->name_index, hash, at));) {
    struct mm__name *known = &store->names[at - 1];
    if (known->name == name && hash_name(known->kind, name) == hash) return known;
  }
  return NULL;
}

bool mm__store_name(struct mm__store *store, const struct mm__name *name) {
  if (!MM__STORE_GROW(store, store->names, store->name_capacity, store->name_index.count) ||
      !index_room(store, &store->name_index))
    return false;
  store->names[store->name_index.count] = *name;
  index_add(&store->name_index, hash_name(name->kind, name->name));
  return true;
}

bool mm__store_export(struct mm__store *store, const struct mm__export *export) {
  if (store->export_count >= EXPORT_LIMIT) return over(store, "there are more than 65536 exports");
  if (!MM__STORE_GROW(store, store->exports, store->export_capacity, store->export_count))
    return false;
  store->exports[store->export_count++] = *export;
  return true;
}

static int by_name(const void *a, const void *b, void *strings) {
  const struct mm__export *left = a, *right = b;
  return strcmp((const char *)strings + left->name, (const char *)strings + right->name);
}

void mm__store_settle(struct mm__store *store) {
  for (uint32_t i = 0; i < store->type_index.count; i++)
    if (store->types[i].kind == MM__POINTER)
      store->types[i].target = mm__store_now(store, store->types[i].target);
  if (store->export_count)
    qsort_r(store->exports, store->export_count, sizeof *store->exports, by_name, store->strings);
}

struct mm__registry mm__store_view(const struct mm__store *store) {
  return (struct mm__registry){store->types,        store->members,          store->exports,
                               store->strings,      store->type_index.count, store->member_count,
                               store->export_count, store->string_bytes};
}
