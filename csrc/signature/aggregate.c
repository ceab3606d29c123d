/* signature/aggregate.c - structs and unions: their tags, their fields, and where the fields lie.
 * */
#include "signature/parser.h"

#define SIZE_LIMIT 0x7fffffffu

static const char *word_of(uint8_t kind) {
  return kind == MM__ENUM ? "enum" : kind == MM__UNION ? "union" : "struct";
}

bool mm__parse_same(const struct mm__parser *parser, uint32_t a, uint32_t b) {
  struct mm__registry view = mm__store_view(parser->store);
  a = mm__store_now(parser->store, a);
  b = mm__store_now(parser->store, b);
  return a == b || mm__type_equal(&view, a, &view, b);
}

bool mm__parse_tag(struct mm__parser *parser, uint8_t kind, uint32_t tag,
                   const struct mm__token *at, struct mm__name **known) {
  *known = tag ? mm__store_find(parser->store, MM__NAME_TAG, tag) : NULL;
  uint8_t was = *known ? mm__parser_type(parser, (*known)->type)->kind : kind;
  return was == kind ||
         mm__parser_fail(parser, at, "`%s` is already the tag of %s %s",
                         parser->store->strings + tag, was == MM__ENUM ? "an" : "a", word_of(was));
}

/* The struct or union with that tag, incomplete when it is new. */
static bool refer(struct mm__parser *parser, uint8_t kind, uint32_t tag, const struct mm__token *at,
                  uint32_t *type) {
  struct mm__name *known;
  if (!mm__parse_tag(parser, kind, tag, at, &known)) return false;
  if (known) {
    *type = mm__store_now(parser->store, known->type);
    return true;
  }
  struct mm__type incomplete = {
      .kind = kind, .flags = MM__TYPE_INCOMPLETE, .align = 1, .name = tag};
  struct mm__name name = {.name = tag, .kind = MM__NAME_TAG};
  if (!mm__store_type(parser->store, &incomplete, NULL, type)) goto fail;
  name.type = *type;
  if (mm__store_name(parser->store, &name)) return true;
fail:
  return mm__parser_store_failed(parser, at);
}

/* --- fields --- */

/* An anonymous struct's fields count as those of what it is in (C11 6.7.2.1, 13). */
static bool has_field(const struct mm__parser *parser, const struct mm__member *fields,
                      uint32_t count, uint32_t name) {
  for (uint32_t i = 0; i < count; i++) {
    if (fields[i].name == name) return true;
    const struct mm__type *type = mm__parser_type(parser, fields[i].type);
    if (fields[i].name == 0 &&
        has_field(parser, parser->store->members + type->first_member, type->member_count, name))
      return true;
  }
  return false;
}

/* A name that the new field brings in and that is taken, 0 for none. */
static uint32_t clash(const struct mm__parser *parser, uint32_t first,
                      const struct mm__member *new) {
  const struct mm__type *type = mm__parser_type(parser, new->type);
  uint32_t taken = 0;
  if (new->name)
    return has_field(parser, parser->members + first, parser->member_count - first, new->name)
               ? new->name
               : 0;
  for (uint32_t i = 0; i < type->member_count && !taken; i++)
    taken = clash(parser, first, &parser->store->members[type->first_member + i]);
  return taken;
}

static bool push_field(struct mm__parser *parser, uint32_t first, uint32_t name, uint32_t type,
                       const struct mm__token *at) {
  struct mm__member field = {name, type, 0};
  if (!mm__parser_complete(parser, type, at)) return false;
  uint32_t taken = parser->member_count > first ? clash(parser, first, &field) : 0;
  if (taken)
    return mm__parser_fail(parser, at, "two fields are called `%s`",
                           parser->store->strings + taken);
  return mm__parser_push(parser, &field);
}

static bool parse_field_names(struct mm__parser *parser, uint32_t first,
                              const struct mm__qualified *base) {
  struct mm__declarator field;
  do {
    if (mm__parser_is(parser, ':'))
      return mm__parser_fail(parser, &parser->token, "bit-fields are not supported");
    if (!mm__parse_declarator(parser, MM__IN_FIELD, *base, &field)) return false;
    if (mm__parser_is(parser, ':'))
      return mm__parser_fail(parser, &parser->token, "bit-fields are not supported");
    if (!push_field(parser, first, field.name, field.type.type, &field.at)) return false;
  } while (mm__parser_take(parser, ','));
  return true;
}

static bool parse_field(struct mm__parser *parser, uint32_t first) {
  struct mm__specifiers specifiers;
  struct mm__token at = parser->token;
  if (!mm__parse_specifiers(parser, MM__IN_FIELD, &specifiers)) return false;
  if (!mm__parser_is(parser, ';')) {
    if (!parse_field_names(parser, first, &specifiers.type)) return false;
  } else if (!specifiers.is_aggregate) {
    return mm__parser_fail(parser, &at, "a field without a name");
  } else if (specifiers.is_untagged &&
             mm__parser_type(parser, specifiers.type.type)->kind != MM__ENUM) {
    if (!push_field(parser, first, 0, specifiers.type.type, &at)) return false;
  }
  return mm__parser_need(parser, ';', "`;`");
}

/* psABI x86-64 3.1.2: each field at the next place its alignment allows, the whole a multiple of
 * the strictest. */
static bool lay_out(struct mm__parser *parser, struct mm__type *type, struct mm__member *fields) {
  uint64_t end = 0, size = 0;
  for (uint32_t i = 0; i < type->member_count; i++) {
    const struct mm__type *of = mm__parser_type(parser, fields[i].type);
    uint64_t offset = type->kind == MM__UNION ? 0 : (end + of->align - 1) & -(uint64_t)of->align;
    fields[i].value = (int64_t)offset;
    end = offset + of->size;
    if (end > size) size = end;
    if (of->align > type->align) type->align = of->align;
    if (size > SIZE_LIMIT - 16) return false;
  }
  type->size = (uint32_t)((size + type->align - 1) & -(uint64_t)type->align);
  return true;
}

/* Makes the type of the fields on the stack. The same definition may come twice: one header, two
 * units of a server. */
static bool finish(struct mm__parser *parser, struct mm__type *type, uint32_t first,
                   const struct mm__token *at, uint32_t *index) {
  struct mm__name *known;
  if (!lay_out(parser, type, parser->members + first))
    return mm__parser_fail(parser, at, "the type is larger than 2 GiB");
  if (!mm__store_type(parser->store, type, parser->members + first, index))
    return mm__parser_store_failed(parser, at);
  if (!mm__parse_tag(parser, type->kind, type->name, at, &known)) return false;
  if (!known) return true;
  uint32_t now = mm__store_now(parser->store, known->type);
  if (mm__parser_type(parser, now)->flags & MM__TYPE_INCOMPLETE)
    return mm__store_complete(parser->store, now, *index) || mm__parser_store_failed(parser, at);
  if (!mm__parse_same(parser, now, *index))
    return mm__parser_fail(parser, at, "`%s %s` is already defined, with other contents",
                           word_of(type->kind), parser->store->strings + type->name);
  *index = now;
  return true;
}

static bool parse_body(struct mm__parser *parser, uint8_t kind, uint32_t tag,
                       const struct mm__token *at, uint32_t *index) {
  struct mm__type type = {.kind = kind, .align = 1, .name = tag};
  uint32_t first = parser->member_count;
  while (!mm__parser_is(parser, '}')) {
    if (parser->token.kind == MM__TOKEN_END) return mm__parser_expected(parser, "`}`");
    if (!mm__parser_take(parser, ';') && !parse_field(parser, first)) return false;
  }
  type.member_count = parser->member_count - first;
  if (type.member_count == 0)
    return mm__parser_fail(parser, &parser->token, "a %s without fields is not supported",
                           word_of(kind));
  bool good = finish(parser, &type, first, at, index);
  parser->member_count = first;
  mm__parser_next(parser);
  return good;
}

bool mm__parse_aggregate(struct mm__parser *parser, enum mm__where where, uint8_t kind,
                         struct mm__specifiers *specifiers) {
  uint32_t tag = 0, *type = &specifiers->type.type;
  if (mm__parse_refused(parser)) return false;
  struct mm__token at = parser->token;
  if (at.kind == MM__TOKEN_NAME && !mm__parser_name(parser, &tag)) return false;
  specifiers->is_untagged = tag == 0;
  if (!tag && !mm__parser_is(parser, '{')) return mm__parser_expected(parser, "a tag or `{`");
  if (tag && !refer(parser, kind, tag, &at, type)) return false;
  if (!mm__parser_is(parser, '{')) return true;
  if (where == MM__IN_PROTOTYPE || where == MM__IN_PARAMETER)
    return mm__parser_fail(parser, &parser->token, "a prototype cannot define a type");
  mm__parser_next(parser);
  return parse_body(parser, kind, tag, &at, type);
}
