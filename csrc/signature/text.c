/* signature/text.c - types as C text: what stands before a declarator's name, the name, what stands
 * after it. */
#include "signature/registry.h"

#define DEPTH_LIMIT  64
#define LENGTH_LIMIT 65536

struct output {
  const struct mm__registry *registry;
  char *text;
  size_t size, length, limit;
};

static void put(struct output *out, const char *text) {
  for (; *text; text++, out->length++)
    if (out->length + 1 < out->size) out->text[out->length] = *text;
}

static void put_number(struct output *out, uint32_t number) {
  char digits[12] = "";
  int at = 11;
  do digits[--at] = (char)('0' + number % 10);
  while (number /= 10);
  put(out, digits + at);
}

static const struct mm__type *type_at(const struct output *out, uint32_t index) {
  return &out->registry->types[index];
}

static bool needs_parentheses(const struct output *out, const struct mm__type *pointer) {
  const struct mm__type *target = type_at(out, pointer->target);
  return !pointer->alias && !target->alias &&
         (target->kind == MM__ARRAY || target->kind == MM__FUNCTION);
}

static void put_base(struct output *out, const struct mm__type *type) {
  static const char *const words[MM__KIND_COUNT] = {
      [MM__ENUM] = "enum ", [MM__STRUCT] = "struct ", [MM__UNION] = "union "};
  const char *name = out->registry->strings + (type->alias ? type->alias : type->name);
  if (!type->alias && words[type->kind]) put(out, words[type->kind]);
  put(out, *name ? name : "{...}");
}

/* `follows`: something of the declarator comes next, so a base type wants a space behind it.
 * `is_const`: the type is, which is written in front of a base type, behind the star of a pointer,
 * and goes through an array to its elements. */
static void put_before(struct output *out, uint32_t index, bool follows, bool is_const, int depth) {
  const struct mm__type *type = type_at(out, index);
  if (depth == 0) {
    put(out, "...");
  } else if (type->kind == MM__STRING && !type->alias) {
    put(out, is_const ? "const char *const " : "const char *");
  } else if (type->kind == MM__POINTER && !type->alias) {
    put_before(out, type->target, true, type->flags & MM__TYPE_CONST, depth - 1);
    put(out, needs_parentheses(out, type) ? "(*" : "*");
    if (is_const) put(out, "const ");
  } else if (type->kind == MM__ARRAY && !type->alias) {
    put_before(out, type->target, follows, is_const, depth - 1);
  } else if (type->kind == MM__FUNCTION && !type->alias) {
    put_before(out, type->target, true, false, depth - 1);
  } else {
    if (is_const && !(type->alias && type->flags & MM__TYPE_CONST_NAME)) put(out, "const ");
    put_base(out, type);
    if (follows) put(out, " ");
  }
}

static void put_type(struct output *out, uint32_t index, const char *name, int depth);

static void put_parameters(struct output *out, const struct mm__type *type, int depth) {
  put(out, "(");
  for (uint32_t i = 0; i < type->member_count; i++) {
    const struct mm__member *parameter = &out->registry->members[type->first_member + i];
    if (i) put(out, ", ");
    const char *name = out->registry->strings + parameter->name;
    put_type(out, parameter->type, *name ? name : NULL, depth);
  }
  if (type->flags & MM__TYPE_VARIADIC)
    put(out, type->member_count ? ", ..." : "...");
  else if (!type->member_count)
    put(out, "void");
  put(out, ")");
}

static void put_after(struct output *out, uint32_t index, int depth) {
  const struct mm__type *type = type_at(out, index);
  if (depth == 0 || type->alias) return;
  if (type->kind == MM__POINTER) {
    if (needs_parentheses(out, type)) put(out, ")");
    put_after(out, type->target, depth - 1);
  } else if (type->kind == MM__ARRAY) {
    put(out, "[");
    put_number(out, type->length);
    put(out, "]");
    put_after(out, type->target, depth - 1);
  } else if (type->kind == MM__FUNCTION) {
    put_parameters(out, type, depth - 1);
    put_after(out, type->target, depth - 1);
  }
}

static void put_type(struct output *out, uint32_t index, const char *name, int depth) {
  /* What multiplies is not the depth but the breadth of hostile nesting: a long text is given up.
   * */
  if (depth == 0 || out->length > out->limit) {
    put(out, "...");
    return;
  }
  put_before(out, index, name != NULL, false, depth);
  if (name) put(out, name);
  put_after(out, index, depth);
}

size_t mm__type_text(const struct mm__registry *registry, uint32_t type, const char *name,
                     char *text, size_t size) {
  struct output out = {registry, text, size, 0, size > LENGTH_LIMIT ? size : LENGTH_LIMIT};
  put_type(&out, type, name, DEPTH_LIMIT);
  if (size) text[out.length < size ? out.length : size - 1] = 0;
  return out.length;
}
