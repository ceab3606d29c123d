/* signature/finish.c - leaves out the types that nothing needs any more (incomplete ones that were
 * completed, those of prototypes that were only compared), and numbers the rest in the old order,
 * which keeps the registry's rule that only pointers point forwards. */
#include "signature/finish.h"

#include "matchmaker.h"

#include <stdlib.h>
#include <string.h>

#define NONE UINT32_MAX

struct plan {
  const struct mm__store *store;
  uint32_t *types;   /* the new index of each type, NONE when it is left out */
  uint32_t *members; /* where the members that start there go */
  uint32_t *waiting; /* types to look at, a stack */
  uint32_t waiting_count, type_count, member_count;
};

static void want(struct plan *plan, uint32_t type) {
  if (plan->types[type] != NONE) return;
  plan->types[type] = 0;
  plan->waiting[plan->waiting_count++] = type;
}

static bool has_target(const struct mm__type *type) {
  return type->kind == MM__POINTER || type->kind == MM__ARRAY || type->kind == MM__ENUM ||
         type->kind == MM__FUNCTION;
}

static void want_all(struct plan *plan) {
  const struct mm__store *store = plan->store;
  for (uint32_t i = 0; i < store->export_count; i++) want(plan, store->exports[i].type);
  for (uint32_t i = 0; i < store->name_index.count; i++) {
    const struct mm__name *name = &store->names[i];
    uint32_t constant = name->kind == MM__NAME_CONSTANT && name->type ? 1 : 0;
    if (name->kind == MM__NAME_TYPEDEF || name->kind == MM__NAME_TAG || constant)
      want(plan, mm__store_now(store, name->type - constant));
  }
  while (plan->waiting_count) {
    const struct mm__type *type = &store->types[plan->waiting[--plan->waiting_count]];
    if (has_target(type)) want(plan, type->target);
    for (uint32_t i = 0; i < type->member_count; i++)
      want(plan, store->members[type->first_member + i].type);
  }
}

/* Types that differ only by a typedef name share their members, so these move once. */
static void number(struct plan *plan) {
  for (uint32_t i = 0; i < plan->store->type_index.count; i++) {
    const struct mm__type *type = &plan->store->types[i];
    if (plan->types[i] == NONE) continue;
    plan->types[i] = plan->type_count++;
    if (type->member_count == 0 || plan->members[type->first_member] != NONE) continue;
    plan->members[type->first_member] = plan->member_count;
    plan->member_count += type->member_count;
  }
}

static void write_types(const struct plan *plan, struct mm__type *types,
                        struct mm__member *members) {
  const struct mm__store *store = plan->store;
  for (uint32_t i = 0; i < store->type_index.count; i++) {
    if (plan->types[i] == NONE) continue;
    struct mm__type *type = &types[plan->types[i]];
    *type = store->types[i];
    if (has_target(type)) type->target = plan->types[type->target];
    type->first_member = type->member_count ? plan->members[store->types[i].first_member] : 0;
    for (uint32_t k = 0; k < type->member_count; k++) {
      struct mm__member *member = &members[type->first_member + k];
      *member = store->members[store->types[i].first_member + k];
      member->type = plan->types[member->type];
    }
  }
}

static void write_exports(const struct plan *plan, struct mm__export *exports) {
  for (uint32_t i = 0; i < plan->store->export_count; i++) {
    exports[i] = plan->store->exports[i];
    exports[i].type = plan->types[exports[i].type];
  }
}

static int write_block(const struct plan *plan, void **block, size_t *bytes) {
  const struct mm__store *store = plan->store;
  struct mm__registry_header header = {
      0, plan->type_count, plan->member_count, store->export_count, store->string_bytes, {0}};
  *bytes = sizeof header + plan->type_count * sizeof(struct mm__type) +
           plan->member_count * sizeof(struct mm__member) +
           store->export_count * sizeof(struct mm__export) + store->string_bytes;
  header.bytes = (uint32_t)*bytes; /* the store's limits keep it below 4 GiB */
  *block = malloc(*bytes);
  if (!*block) return MM_ERROR_MEMORY;
  struct mm__type *types = (struct mm__type *)((char *)*block + sizeof header);
  struct mm__member *members = (struct mm__member *)(types + plan->type_count);
  struct mm__export *exports = (struct mm__export *)(members + plan->member_count);
  memcpy(*block, &header, sizeof header);
  write_types(plan, types, members);
  write_exports(plan, exports);
  memcpy(exports + store->export_count, store->strings, store->string_bytes);
  return MM_OK;
}

int mm__finish(const struct mm__store *store, void **block, size_t *bytes) {
  size_t types = store->type_index.count + 1, members = store->member_count + 1;
  struct plan plan = {.store = store,
                      .types = malloc(types * sizeof(uint32_t)),
                      .members = malloc(members * sizeof(uint32_t)),
                      .waiting = malloc(types * sizeof(uint32_t))};
  int status = MM_ERROR_MEMORY;
  if (plan.types && plan.members && plan.waiting) {
    memset(plan.types, 0xff, types * sizeof(uint32_t));
    memset(plan.members, 0xff, members * sizeof(uint32_t));
    want_all(&plan);
    number(&plan);
    status = write_block(&plan, block, bytes);
  }
  free(plan.types);
  free(plan.members);
  free(plan.waiting);
  return status;
}
