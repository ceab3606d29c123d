/* client/aggregate.c - what the bytes of a value must not hold: pointers that are not its image's.
 * Members of a union are left alone: which of them is meant only the image knows. */
#include "client/client.h"

#include <string.h>

/* What is looked for, and where it was found. */
struct search {
  const struct mm__registry *registry;
  uint32_t slot;
  uint32_t member; /* the name of the innermost field */
};

static bool is_foreign(const struct search *search, const void *bytes) {
  uint64_t address;
  memcpy(&address, bytes, sizeof address);
  return !mm__pointer_allowed(address, search->slot);
}

static const void *find(struct search *search, uint32_t index, const char *bytes) {
  const struct mm__type *type = &search->registry->types[index];
  const void *found = NULL;
  if (type->size == 0) return NULL;
  if (type->kind == MM__POINTER || type->kind == MM__STRING)
    return is_foreign(search, bytes) ? bytes : NULL;
  if (type->kind == MM__ARRAY) {
    const struct mm__type *element = &search->registry->types[type->target];
    bool may_hold = element->kind >= MM__STRING && element->kind <= MM__STRUCT;
    for (uint64_t i = 0; may_hold && i < type->length && !found; i++)
      found = find(search, type->target, bytes + i * element->size);
  }
  if (type->kind != MM__STRUCT) return found;
  for (uint32_t i = 0; i < type->member_count && !found; i++) {
    const struct mm__member *field = &search->registry->members[type->first_member + i];
    found = find(search, field->type, bytes + mm__field_offset(field));
    if (found && !search->member) search->member = field->name;
  }
  return found;
}

bool mm__aggregate_foreign(const struct mm__registry *registry, uint32_t type, const void *bytes,
                           uint32_t slot, uint64_t *address, const char **member) {
  struct search search = {registry, slot, 0};
  const void *found = find(&search, type, bytes);
  if (!found) return false;
  memcpy(address, found, sizeof *address);
  *member = registry->strings + search.member;
  return true;
}
