/* signature/enumeration.c - enums and their constants. */
#include "signature/parser.h"

#include <limits.h>

/* A constant may come again with the same value, as its enum may. Inside one enum it may not. */
static bool add_constant(struct mm__parser *parser, uint32_t first, uint32_t name, int64_t value,
                         const struct mm__token *at) {
  struct mm__member constant = {name, 0, value};
  struct mm__name added = {name, MM__NAME_CONSTANT, false, 0, value};
  const struct mm__name *known = mm__store_find(parser->store, MM__NAME_CONSTANT, name);
  const char *text = parser->store->strings + name;
  if (mm__parser_has(parser, first, name) ||
      (known && (known->kind != MM__NAME_CONSTANT || known->value != value)) ||
      mm__parse_is_standard(text))
    return mm__parser_fail(parser, at, "`%s` is already something else", text);
  if (!known && !mm__store_name(parser->store, &added)) return mm__parser_store_failed(parser, at);
  return mm__parser_push(parser, &constant);
}

static bool parse_constants(struct mm__parser *parser, uint32_t first) {
  int64_t value = -1;
  do {
    if (mm__parser_is(parser, '}') && parser->member_count > first) return true;
    struct mm__token at = parser->token;
    uint32_t name;
    if (!mm__parser_name(parser, &name)) return false;
    bool given = mm__parser_take(parser, '=');
    if (given && !mm__parse_constant(parser, &value)) return false;
    if (!given && __builtin_add_overflow(value, 1, &value))
      return mm__parser_fail(parser, &at, "the number overflows");
    if (!add_constant(parser, first, name, value, &at)) return false;
  } while (mm__parser_take(parser, ','));
  return true;
}

/* As GCC and Clang do: unsigned unless a constant is negative, an int's size unless one does not
 * fit. */
static bool add_underlying(struct mm__parser *parser, uint32_t first, uint32_t *type) {
  int64_t low = 0, high = 0;
  for (uint32_t i = first; i < parser->member_count; i++) {
    int64_t value = parser->members[i].value;
    if (value < low) low = value;
    if (value > high) high = value;
  }
  if (low < 0 && low >= INT_MIN && high <= INT_MAX)
    return mm__store_scalar(parser->store, MM__SIGNED, 4, "int", type);
  if (low < 0) return mm__store_scalar(parser->store, MM__SIGNED, 8, "long", type);
  return high <= UINT_MAX ? mm__store_scalar(parser->store, MM__UNSIGNED, 4, "unsigned int", type)
                          : mm__store_scalar(parser->store, MM__UNSIGNED, 8, "unsigned long", type);
}

static bool add_enum(struct mm__parser *parser, uint32_t first, uint32_t tag, uint32_t *index) {
  struct mm__store *store = parser->store;
  struct mm__type type = {.kind = MM__ENUM, .name = tag};
  if (!add_underlying(parser, first, &type.target)) return false;
  type.size = store->types[type.target].size;
  type.align = (uint16_t)type.size;
  type.member_count = parser->member_count - first;
  for (uint32_t i = first; i < parser->member_count; i++) parser->members[i].type = type.target;
  if (!mm__store_type(store, &type, parser->members + first, index)) return false;
  for (uint32_t i = first; i < parser->member_count; i++) {
    struct mm__name *name = mm__store_find(store, MM__NAME_CONSTANT, parser->members[i].name);
    if (name && name->type == 0) name->type = *index + 1;
  }
  return true;
}

static bool parse_body(struct mm__parser *parser, uint32_t tag, const struct mm__token *at,
                       uint32_t *index) {
  struct mm__name name = {.name = tag, .kind = MM__NAME_TAG};
  struct mm__name *known;
  uint32_t first = parser->member_count;
  if (!parse_constants(parser, first) || !mm__parser_need(parser, '}', "`}`") ||
      !mm__parse_attributes(parser) || !mm__parse_no_layout(parser, "an enum") ||
      !mm__parse_tag(parser, MM__ENUM, tag, at, &known))
    return false;
  if (!add_enum(parser, first, tag, index)) return mm__parser_store_failed(parser, at);
  parser->member_count = first;
  name.type = *index;
  if (known && known->type != *index)
    return mm__parser_fail(parser, at, "`enum %s` is already defined, with other constants",
                           parser->store->strings + tag);
  if (tag && !known && !mm__store_name(parser->store, &name))
    return mm__parser_store_failed(parser, at);
  return true;
}

static bool parse_enum(struct mm__parser *parser, enum mm__where where,
                       struct mm__specifiers *specifiers) {
  struct mm__name *known;
  uint32_t tag = 0;
  if (!mm__parse_attributes(parser) || mm__parse_refused(parser) ||
      !mm__parse_no_layout(parser, "an enum"))
    return false;
  struct mm__token at = parser->token;
  if (at.kind == MM__TOKEN_NAME && !mm__parser_name(parser, &tag)) return false;
  specifiers->is_untagged = tag == 0;
  if (mm__parser_is(parser, '{')) {
    if (where == MM__IN_PROTOTYPE || where == MM__IN_PARAMETER)
      return mm__parser_fail(parser, &parser->token, "a prototype cannot define a type");
    mm__parser_next(parser);
    return parse_body(parser, tag, &at, &specifiers->type.type);
  }
  if (!tag) return mm__parser_expected(parser, "a tag or `{`");
  if (!mm__parse_tag(parser, MM__ENUM, tag, &at, &known)) return false;
  if (!known)
    return mm__parser_fail(parser, &at, "unknown type `enum %s`", parser->store->strings + tag);
  specifiers->type.type = known->type;
  return true;
}

bool mm__parse_enumeration(struct mm__parser *parser, enum mm__where where,
                           struct mm__specifiers *specifiers) {
  struct mm__attributes outer = parser->attributes;
  parser->attributes = (struct mm__attributes){0};
  bool good = parse_enum(parser, where, specifiers);
  parser->attributes = outer;
  return good;
}
