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

/* What a field's declaration says of its place; it stands where its place will, until all are known.
 */
union wish {
  struct {
    uint16_t align; /* 0: none */
    uint8_t width;  /* of a bit-field */
    bool is_packed, is_bits;
  } of;
  int64_t value;
};
_Static_assert(sizeof(union wish) == sizeof(int64_t), "a wish fits");

static bool has_fields(const struct mm__type *type) {
  return type->kind == MM__STRUCT || type->kind == MM__UNION;
}

/* An anonymous struct's fields count as those of what it is in (C11 6.7.2.1, 13). */
static bool has_field(const struct mm__parser *parser, const struct mm__member *fields,
                      uint32_t count, uint32_t name) {
  for (uint32_t i = 0; i < count; i++) {
    if (fields[i].name == name) return true;
    const struct mm__type *type = mm__parser_type(parser, fields[i].type);
    if (fields[i].name == 0 && has_fields(type) &&
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
  for (uint32_t i = 0; has_fields(type) && i < type->member_count && !taken; i++)
    taken = clash(parser, first, &parser->store->members[type->first_member + i]);
  return taken;
}

static bool push_field(struct mm__parser *parser, uint32_t first, uint32_t name, uint32_t type,
                       union wish wish, const struct mm__token *at) {
  struct mm__member field = {name, type, wish.value};
  if (!mm__parser_complete(parser, type, at)) return false;
  uint32_t taken = parser->member_count > first ? clash(parser, first, &field) : 0;
  if (taken)
    return mm__parser_fail(parser, at, "two fields are called `%s`",
                           parser->store->strings + taken);
  return mm__parser_push(parser, &field);
}

static union wish wish_of(const struct mm__parser *parser) {
  const struct mm__attributes *said = &parser->attributes;
  return (union wish){.of = {.align = (uint16_t)said->align, .is_packed = said->is_packed}};
}

/* Behind the `:`; C11 6.7.2.1, 4 and 5. */
static bool parse_width(struct mm__parser *parser, const struct mm__declarator *field,
                        union wish *wish) {
  struct mm__token at = parser->token;
  const struct mm__type *type = mm__parser_type(parser, field->type.type);
  int64_t width, most = type->kind == MM__BOOL ? 1 : type->size * 8;
  bool is_integer = type->kind >= MM__BOOL && type->kind <= MM__ENUM && type->kind != MM__FLOAT;
  if (!is_integer) return mm__parser_fail(parser, &field->at, "a bit-field is an integer");
  if (!mm__parse_constant(parser, &width)) return false;
  if (width < 0 || width > most || (width == 0 && field->name))
    return mm__parser_fail(parser, &at, "a bit-field of %ld bits, where 1 to %ld are possible",
                           width, most);
  if (!mm__parse_attributes(parser)) return false;
  *wish = wish_of(parser);
  if (wish->of.align)
    return mm__parser_fail(parser, &parser->attributes.at, "a bit-field cannot be aligned");
  wish->of.is_bits = true;
  wish->of.width = (uint8_t)width;
  return true;
}

static bool parse_field_names(struct mm__parser *parser, uint32_t first,
                              const struct mm__qualified *base) {
  struct mm__attributes all = parser->attributes;
  struct mm__declarator field;
  do {
    parser->attributes = all;
    field = (struct mm__declarator){.type = *base, .at = parser->token};
    if (!mm__parser_is(parser, ':') && !mm__parse_declarator(parser, MM__IN_FIELD, *base, &field))
      return false;
    union wish wish = wish_of(parser);
    if (mm__parser_take(parser, ':') && !parse_width(parser, &field, &wish)) return false;
    if (field.is_flexible && !(mm__parser_is(parser, ';') && parser->member_count > first))
      return mm__parser_fail(parser, &field.at, "only the last of several fields has no length");
    if (!push_field(parser, first, field.name, field.type.type, wish, &field.at)) return false;
  } while (mm__parser_take(parser, ','));
  return true;
}

static bool parse_field(struct mm__parser *parser, uint32_t first) {
  struct mm__specifiers specifiers;
  struct mm__token at = parser->token;
  parser->attributes = (struct mm__attributes){0};
  if (!mm__parse_specifiers(parser, MM__IN_FIELD, &specifiers)) return false;
  if (!mm__parser_is(parser, ';')) {
    if (!parse_field_names(parser, first, &specifiers.type)) return false;
  } else if (!specifiers.is_aggregate) {
    return mm__parser_fail(parser, &at, "a field without a name");
  } else if (specifiers.is_untagged &&
             mm__parser_type(parser, specifiers.type.type)->kind != MM__ENUM) {
    if (!push_field(parser, first, 0, specifiers.type.type, wish_of(parser), &at)) return false;
  }
  return mm__parser_need(parser, ';', "`;`");
}

/* How far a layout has come, in bits. */
struct layout {
  uint64_t end, size;
  uint32_t align;   /* of the whole, in bytes */
  uint16_t padding; /* a bit for each of the first bytes that a bit-field without a name takes */
  bool is_packed, is_union;
};

static uint64_t round_up(uint64_t bits, uint64_t bytes) {
  return (bits + bytes * 8 - 1) & -(bytes * 8);
}

/* psABI x86-64 3.1.2: each field at the next place its alignment allows; a bit-field at the next
 * bit, unless it would straddle an alignment of its type; and one without a name does not align the
 * whole. What is packed is aligned to a byte, a bit-field that is, to a bit. */
static void place(struct layout *layout, const struct mm__type *type, struct mm__member *field) {
  union wish wish = {.value = field->value};
  bool is_packed = layout->is_packed || wish.of.is_packed;
  uint32_t align = is_packed ? 1 : type->align, width = wish.of.width;
  if (wish.of.align > align) align = wish.of.align;
  uint64_t at = layout->is_union ? 0 : layout->end, bits = type->size * 8ull;
  if (!wish.of.is_bits)
    at = round_up(at, align);
  else if (width == 0 || (!is_packed && at % bits + width > bits))
    at = round_up(at, type->align);
  if (wish.of.is_bits) bits = width;
  bool counts = field->name || !wish.of.is_bits;
  field->value = MM__FIELD(at / 8, wish.of.is_bits ? at % 8 : 0, width);
  if (wish.of.is_bits && !field->name && at + bits <= 128 && (bits || layout->is_union))
    layout->padding |=
        (uint16_t)((1u << ((at + bits + 7) / 8)) - (1u << at / 8)) | layout->is_union;
  layout->end = at + bits;
  if (layout->end > layout->size) layout->size = layout->end;
  if (counts && align > layout->align) layout->align = align;
}

/* gcc takes a bit-field without a name for an INTEGER, clang takes it for nothing: they differ where
 * nothing else in its eightbyte is one. */
static bool is_disputed(const struct mm__parser *parser, const struct mm__type *type,
                        const struct mm__member *fields, uint16_t padding) {
  uint16_t integers = 0;
  for (uint32_t i = 0; i < type->member_count && type->size <= 16; i++) {
    uint32_t width = mm__field_width(&fields[i]),
             bytes = (mm__field_shift(&fields[i]) + width + 7) / 8;
    uint16_t own =
        width ? (uint16_t)((1u << bytes) - 1) : parser->store->passing[fields[i].type].integer;
    integers |= (uint16_t)(own << mm__field_offset(&fields[i]));
    const struct mm__type *of = mm__parser_type(parser, fields[i].type);
    while (of->kind == MM__ARRAY) of = mm__parser_type(parser, of->target);
    if (of->flags & MM__TYPE_DISPUTED) return true;
  }
  return type->size <= 16 &&
         ((padding & 0xff && !(integers & 0xff)) || (padding >> 8 && !(integers >> 8)));
}

/* Bit-fields without a name are done with when all places are known. */
static bool lay_out(struct mm__parser *parser, struct mm__type *type, struct mm__member *fields) {
  const struct mm__attributes *said = &parser->attributes;
  struct layout layout = {
      .align = 1, .is_packed = said->is_packed, .is_union = type->kind == MM__UNION};
  uint32_t kept = 0;
  for (uint32_t i = 0; i < type->member_count; i++) {
    union wish wish = {.value = fields[i].value};
    place(&layout, mm__parser_type(parser, fields[i].type), &fields[i]);
    if (layout.size / 8 > SIZE_LIMIT - 2 * UINT16_MAX) return false;
    if (fields[i].name || !wish.of.is_bits) fields[kept++] = fields[i];
  }
  if (said->align > layout.align) layout.align = said->align;
  type->align = (uint16_t)layout.align;
  type->size = (uint32_t)(round_up(layout.size, layout.align) / 8);
  type->member_count = kept;
  if (is_disputed(parser, type, fields, layout.padding)) type->flags |= MM__TYPE_DISPUTED;
  return true;
}

/* Makes the type of the fields on the stack. The same definition may come twice: one header, two
 * units of a server. */
static bool finish(struct mm__parser *parser, struct mm__type *type, uint32_t first,
                   const struct mm__token *at, uint32_t *index) {
  struct mm__name *known;
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
  struct mm__attributes said = parser->attributes;
  uint32_t first = parser->member_count;
  while (!mm__parser_is(parser, '}')) {
    if (parser->token.kind == MM__TOKEN_END) return mm__parser_expected(parser, "`}`");
    if (!mm__parser_take(parser, ';') && !parse_field(parser, first)) return false;
  }
  struct mm__token end = parser->token;
  mm__parser_next(parser);
  parser->attributes = said;
  if (!mm__parse_attributes(parser)) return false;
  type.member_count = parser->member_count - first;
  if (type.member_count && !lay_out(parser, &type, parser->members + first))
    return mm__parser_fail(parser, at, "the type is larger than 2 GiB");
  if (type.member_count == 0)
    return mm__parser_fail(parser, &end, "a %s without fields is not supported", word_of(kind));
  bool good = finish(parser, &type, first, at, index);
  parser->member_count = first;
  return good;
}

static bool parse_tagged(struct mm__parser *parser, enum mm__where where, uint8_t kind,
                         struct mm__specifiers *specifiers) {
  uint32_t tag = 0, *type = &specifiers->type.type;
  if (!mm__parse_attributes(parser) || mm__parse_refused(parser)) return false;
  struct mm__token at = parser->token;
  if (at.kind == MM__TOKEN_NAME && !mm__parser_name(parser, &tag)) return false;
  specifiers->is_untagged = tag == 0;
  if (!tag && !mm__parser_is(parser, '{')) return mm__parser_expected(parser, "a tag or `{`");
  if (tag && !refer(parser, kind, tag, &at, type)) return false;
  if (!mm__parser_is(parser, '{')) return mm__parse_no_layout(parser, "a type without its fields");
  if (where == MM__IN_PROTOTYPE || where == MM__IN_PARAMETER)
    return mm__parser_fail(parser, &parser->token, "a prototype cannot define a type");
  mm__parser_next(parser);
  return parse_body(parser, kind, tag, &at, type);
}

bool mm__parse_aggregate(struct mm__parser *parser, enum mm__where where, uint8_t kind,
                         struct mm__specifiers *specifiers) {
  struct mm__attributes outer = parser->attributes;
  parser->attributes = (struct mm__attributes){0};
  bool good = parse_tagged(parser, where, kind, specifiers);
  parser->attributes = outer;
  return good;
}
