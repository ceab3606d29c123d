/* signature/parser.c - what all its parts use, and the two things that a text can be: declarations,
 * or one prototype. */
#include "signature/parser.h"

#include "base/error.h"
#include "base/format.h"

#include <stdlib.h>
#include <string.h>

#define TEXT_LIMIT  65536u
#define DEPTH_LIMIT 64u
#define BEFORE      60u /* bytes of the text that a message shows before the place */
#define SHOWN       160u

bool mm__parser_open(struct mm__parser *parser, struct mm__store *store, const char *what,
                     const char *text, struct mm_error *error) {
  *parser = (struct mm__parser){.store = store, .error = error, .what = what, .text = ""};
  if (!text) return mm__parser_fail(parser, NULL, "no text");
  if (strnlen(text, TEXT_LIMIT + 1) > TEXT_LIMIT)
    return mm__parser_fail(parser, NULL, "the text is longer than %u bytes", TEXT_LIMIT);
  parser->text = text;
  parser->token = mm__lexer_token(text, 0);
  return true;
}

void mm__parser_close(struct mm__parser *parser) {
  free(parser->steps);
  free(parser->members);
}

/* --- errors --- */

/* The text around a place, in one line and printable. Returns where in it the place is. */
static uint32_t excerpt(const char *text, uint32_t place, char shown[SHOWN + 1]) {
  uint32_t first = place > BEFORE ? place - BEFORE : 0, count = 0;
  if (first) memcpy(shown, "...", count = 3);
  for (uint32_t at = first; text[at] && count < SHOWN - 3; at++) {
    unsigned char c = (unsigned char)text[at];
    shown[count] = text[at];
    if (c == '\n' || c == '\t')
      shown[count] = ' ';
    else if (c < ' ' || c > 126)
      shown[count] = '?'; /* the cut may go through a character of UTF-8 */
    count++;
  }
  if (count == SHOWN - 3) memcpy(shown + count, "...", 3), count += 3;
  shown[count] = 0;
  return place - first + (first ? 3 : 0);
}

static void show_place(struct mm_error *error, const struct mm__token *at, uint32_t caret,
                       const char shown[SHOWN + 1]) {
  _Static_assert(sizeof error->text > SHOWN, "an error holds an excerpt");
  if (!error) return;
  error->column = at->start + 1;
  error->caret = caret;
  memcpy(error->text, shown, strlen(shown) + 1);
}

bool mm__parser_fail(struct mm__parser *parser, const struct mm__token *at, const char *format,
                     ...) {
  if (parser->status != MM_OK) return false;
  char what[320], shown[SHOWN + 1];
  va_list list;
  va_start(list, format);
  mm__format_list(what, sizeof what, format, list);
  va_end(list);
  if (at) {
    uint32_t caret = excerpt(parser->text, at->start, shown);
    parser->status = mm__fail(parser->error, MM_ERROR_PROTOTYPE, "%s: %s, at column %u of `%s`",
                              parser->what, what, at->start + 1, shown);
    show_place(parser->error, at, caret, shown);
  } else {
    parser->status = mm__fail(parser->error, MM_ERROR_PROTOTYPE, "%s: %s", parser->what, what);
  }
  return false;
}

bool mm__parser_expected(struct mm__parser *parser, const char *what) {
  const struct mm__token *token = &parser->token;
  if (token->kind == MM__TOKEN_WRONG) return mm__parser_fail(parser, token, "%s", token->wrong);
  if (token->kind == MM__TOKEN_END)
    return mm__parser_fail(parser, token, "expected %s before the end", what);
  return mm__parser_fail(parser, token, "expected %s before `%.*s`", what,
                         (int)(token->length < 60 ? token->length : 60),
                         parser->text + token->start);
}

bool mm__parser_store_failed(struct mm__parser *parser, const struct mm__token *at) {
  if (parser->status == MM_OK && parser->store->status == MM_ERROR_MEMORY)
    parser->status = mm__fail(parser->error, MM_ERROR_MEMORY, "out of memory for the registry");
  return mm__parser_fail(parser, at, "%s", parser->store->limit ? parser->store->limit : "limit");
}

/* --- tokens --- */

void mm__parser_next(struct mm__parser *parser) {
  parser->token = mm__lexer_token(parser->text, parser->token.start + parser->token.length);
}

bool mm__parser_is(const struct mm__parser *parser, uint16_t sign) {
  return parser->token.kind == MM__TOKEN_SIGN && parser->token.sign == sign;
}

bool mm__parser_take(struct mm__parser *parser, uint16_t sign) {
  bool there = mm__parser_is(parser, sign);
  if (there) mm__parser_next(parser);
  return there;
}

bool mm__parser_need(struct mm__parser *parser, uint16_t sign, const char *shown) {
  return mm__parser_take(parser, sign) || mm__parser_expected(parser, shown);
}

bool mm__parser_word(const struct mm__parser *parser, const char *word) {
  const struct mm__token *token = &parser->token;
  return token->kind == MM__TOKEN_NAME && strlen(word) == token->length &&
         memcmp(parser->text + token->start, word, token->length) == 0;
}

bool mm__parser_enter(struct mm__parser *parser) {
  if (parser->depth++ < DEPTH_LIMIT) return true;
  return mm__parser_fail(parser, &parser->token, "nested more than %u deep", DEPTH_LIMIT);
}

void mm__parser_leave(struct mm__parser *parser) { parser->depth--; }

bool mm__parser_name(struct mm__parser *parser, uint32_t *name) {
  struct mm__token at = parser->token;
  const char *text = parser->text + at.start;
  if (at.kind != MM__TOKEN_NAME) return mm__parser_expected(parser, "a name");
  if (mm__lexer_keyword(text, at.length))
    return mm__parser_fail(parser, &at, "expected a name, but `%.*s` is a keyword", (int)at.length,
                           text);
  if (!mm__store_string(parser->store, text, at.length, name))
    return mm__parser_store_failed(parser, &at);
  mm__parser_next(parser);
  return true;
}

/* --- members and types --- */

bool mm__parser_push(struct mm__parser *parser, const struct mm__member *member) {
  if (!MM__STORE_GROW(parser->store, parser->members, parser->member_capacity,
                      parser->member_count))
    return mm__parser_store_failed(parser, &parser->token);
  parser->members[parser->member_count++] = *member;
  return true;
}

bool mm__parser_has(const struct mm__parser *parser, uint32_t first, uint32_t name) {
  for (uint32_t i = first; name && i < parser->member_count; i++)
    if (parser->members[i].name == name) return true;
  return false;
}

const struct mm__type *mm__parser_type(const struct mm__parser *parser, uint32_t type) {
  return &parser->store->types[type];
}

bool mm__parser_complete(struct mm__parser *parser, uint32_t index, const struct mm__token *at) {
  const struct mm__type *type = mm__parser_type(parser, index);
  const char *name = parser->store->strings + (type->alias ? type->alias : type->name);
  if (type->flags & MM__TYPE_INCOMPLETE)
    return mm__parser_fail(parser, at, "`%s` is declared, but what is in it is not known here",
                           name);
  if (type->kind == MM__VOID) return mm__parser_fail(parser, at, "nothing can be of type `void`");
  if (type->kind == MM__FUNCTION)
    return mm__parser_fail(parser, at, "a function can only be pointed to here");
  return true;
}

/* --- declarations --- */

static bool add_typedef(struct mm__parser *parser, const struct mm__declarator *declared) {
  struct mm__store *store = parser->store;
  struct mm__name name = {declared->name, MM__NAME_TYPEDEF, declared->type.is_const, 0, 0};
  struct mm__qualified was;
  bool found;
  if (!mm__parse_typedef(parser, &declared->at, &found, &was)) return false;
  if (!mm__store_alias(store, declared->type.type, declared->name, name.is_const, &name.type))
    return mm__parser_store_failed(parser, &declared->at);
  if (found ? was.is_const != name.is_const || !mm__parse_same(parser, was.type, name.type)
            : mm__store_find(store, MM__NAME_CONSTANT, declared->name) != NULL)
    return mm__parser_fail(parser, &declared->at, "`%s` is already something else",
                           store->strings + declared->name);
  return found || mm__store_name(store, &name) || mm__parser_store_failed(parser, &declared->at);
}

static bool parse_declaration(struct mm__parser *parser) {
  struct mm__specifiers specifiers;
  struct mm__declarator declared;
  struct mm__token start = parser->token;
  parser->attributes = (struct mm__attributes){0};
  if (!mm__parse_specifiers(parser, MM__IN_TYPEDEF, &specifiers)) return false;
  if (mm__parser_is(parser, ';')) {
    if (!specifiers.is_aggregate || specifiers.is_typedef)
      return mm__parser_fail(parser, &start, "this declares nothing");
    mm__parser_next(parser);
    return true;
  }
  if (specifiers.is_aggregate && parser->token.kind == MM__TOKEN_END)
    return mm__parser_expected(parser, "`;`");
  do {
    if (!mm__parse_declarator(parser, MM__IN_TYPEDEF, specifiers.type, &declared) ||
        !mm__parse_no_layout(parser, "a typedef"))
      return false;
    if (!specifiers.is_typedef)
      return mm__parser_fail(parser, &declared.at, "`%s` is not a type",
                             parser->store->strings + declared.name);
    if (!add_typedef(parser, &declared)) return false;
  } while (mm__parser_take(parser, ','));
  return mm__parser_need(parser, ';', "`;`");
}

bool mm__parse_declarations(struct mm__parser *parser) {
  while (parser->token.kind != MM__TOKEN_END)
    if (!mm__parser_take(parser, ';') && !parse_declaration(parser)) return false;
  return true;
}

bool mm__parse_prototype(struct mm__parser *parser, struct mm__declarator *declarator) {
  struct mm__specifiers specifiers;
  struct mm__token start = parser->token;
  if (!mm__parse_specifiers(parser, MM__IN_PROTOTYPE, &specifiers) ||
      !mm__parse_declarator(parser, MM__IN_PROTOTYPE, specifiers.type, declarator) ||
      !mm__parse_no_layout(parser, "a function"))
    return false;
  mm__parser_take(parser, ';');
  if (parser->token.kind != MM__TOKEN_END) return mm__parser_expected(parser, "the end");
  if (mm__parser_type(parser, declarator->type.type)->kind != MM__FUNCTION)
    return mm__parser_fail(parser, declarator->name ? &declarator->at : &start,
                           "this is not a function");
  if (!mm__store_alias(parser->store, declarator->type.type, 0, false, &declarator->type.type))
    return mm__parser_store_failed(parser, &start);
  return true;
}

/* C11 6.7.7 */
bool mm__parse_type_name(struct mm__parser *parser, struct mm__declarator *declarator) {
  struct mm__specifiers specifiers;
  if (!mm__parse_specifiers(parser, MM__IN_PROTOTYPE, &specifiers) ||
      !mm__parse_declarator(parser, MM__IN_PROTOTYPE, specifiers.type, declarator))
    return false;
  if (declarator->name)
    return mm__parser_fail(parser, &declarator->at, "a type alone is expected, without a name");
  return parser->token.kind == MM__TOKEN_END || mm__parser_expected(parser, "the end");
}
