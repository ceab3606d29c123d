/* signature/equal.c - whether two types are one C type. Structs, unions and enums behind pointers
 * are compared by tag. */
#include "signature/registry.h"

#include <string.h>

#define DEPTH_LIMIT 64
#define STEP_LIMIT  1000000u

struct pair {
  const struct mm__registry *a, *b;
  /* Hostile types name each other many times over, and the ways through them multiply with the
   * depth. */
  uint32_t steps;
};

static bool equal(struct pair *in, uint32_t index_a, uint32_t index_b, int depth);

static bool same_name(struct pair *in, uint32_t a, uint32_t b) {
  return strcmp(in->a->strings + a, in->b->strings + b) == 0;
}

/* As many as `b` has. */
static bool members_equal(struct pair *in, const struct mm__type *a, const struct mm__type *b,
                          bool names, int depth) {
  for (uint32_t i = 0; i < b->member_count; i++) {
    const struct mm__member *left = &in->a->members[a->first_member + i];
    const struct mm__member *right = &in->b->members[b->first_member + i];
    if (names && (left->value != right->value || !same_name(in, left->name, right->name)))
      return false;
    if (!equal(in, left->type, right->type, depth)) return false;
  }
  return true;
}

static bool tagged(const struct mm__type *type) {
  return type->kind == MM__STRUCT || type->kind == MM__UNION || type->kind == MM__ENUM;
}

/* A pointer says little about what it points to: the tag is enough, where there is one. */
static bool targets_equal(struct pair *in, const struct mm__type *a, const struct mm__type *b,
                          int depth) {
  if ((a->flags & MM__TYPE_CONST) != (b->flags & MM__TYPE_CONST)) return false;
  const struct mm__type *left = &in->a->types[a->target], *right = &in->b->types[b->target];
  if (tagged(left) && left->kind == right->kind && (left->name || right->name))
    return same_name(in, left->name, right->name);
  return equal(in, a->target, b->target, depth);
}

static bool equal(struct pair *in, uint32_t index_a, uint32_t index_b, int depth) {
  const struct mm__type *a = &in->a->types[index_a], *b = &in->b->types[index_b];
  if (in->a == in->b && index_a == index_b) return true;
  if (in->steps++ == STEP_LIMIT || depth == 0) return false;
  if (a->kind != b->kind || a->size != b->size || a->length != b->length) return false;
  if ((a->flags ^ b->flags) & (MM__TYPE_VARIADIC | MM__TYPE_INCOMPLETE)) return false;
  switch (a->kind) {
  case MM__POINTER:
    return targets_equal(in, a, b, depth - 1);
  case MM__ARRAY:
    return equal(in, a->target, b->target, depth - 1);
  case MM__FUNCTION:
    return a->member_count == b->member_count && equal(in, a->target, b->target, depth - 1) &&
           members_equal(in, a, b, false, depth - 1);
  case MM__ENUM:
    return same_name(in, a->name, b->name);
  case MM__STRUCT:
  case MM__UNION:
    return a->member_count == b->member_count && same_name(in, a->name, b->name) &&
           members_equal(in, a, b, true, depth - 1);
  default:
    return true;
  }
}

bool mm__type_equal(const struct mm__registry *a, uint32_t type_a, const struct mm__registry *b,
                    uint32_t type_b) {
  struct pair in = {a, b, 0};
  return equal(&in, type_a, type_b, DEPTH_LIMIT);
}

bool mm__type_calls(const struct mm__registry *a, uint32_t call, const struct mm__registry *b,
                    uint32_t function) {
  const struct mm__type *spelled = &a->types[call], *variadic = &b->types[function];
  struct pair in = {a, b, 0};
  if (spelled->kind != MM__FUNCTION || spelled->flags & MM__TYPE_VARIADIC) return false;
  if (!(variadic->flags & MM__TYPE_VARIADIC) || spelled->member_count < variadic->member_count)
    return false;
  return equal(&in, spelled->target, variadic->target, DEPTH_LIMIT) &&
         members_equal(&in, spelled, variadic, false, DEPTH_LIMIT);
}
