/* signature/specifiers.c - what stands before a declarator: the words of a type in any order,
 * qualifiers, storage. */
#include "signature/parser.h"

#include <string.h>

/* One digit of a number per word, so that the order does not matter (the idea is chibicc's). */
enum {
  W_VOID = 1,
  W_BOOL = 1 << 2,
  W_CHAR = 1 << 4,
  W_SHORT = 1 << 6,
  W_INT = 1 << 8,
  W_LONG = 1 << 10,
  W_FLOAT = 1 << 12,
  W_DOUBLE = 1 << 14,
  W_SIGNED = 1 << 16,
  W_UNSIGNED = 1 << 18,
  W_COMPLEX = 1 << 20
};

static const struct {
  const char *word;
  uint32_t sum;
} type_words[] = {{"void", W_VOID},
                  {"_Bool", W_BOOL},
                  {"bool", W_BOOL},
                  {"char", W_CHAR},
                  {"short", W_SHORT},
                  {"int", W_INT},
                  {"long", W_LONG},
                  {"float", W_FLOAT},
                  {"double", W_DOUBLE},
                  {"signed", W_SIGNED},
                  {"__signed__", W_SIGNED},
                  {"_Complex", W_COMPLEX},
                  {"__complex__", W_COMPLEX},
                  {"unsigned", W_UNSIGNED},
                  {"struct", 0},
                  {"union", 0},
                  {"enum", 0}};

/* Sizes: psABI x86-64 3.1.2. `optional` words change nothing. */
static const struct {
  uint32_t sum, optional;
  uint8_t kind;
  uint32_t size;
  const char *name;
} scalars[] = {
    {W_VOID, 0, MM__VOID, 0, "void"},
    {W_BOOL, 0, MM__BOOL, 1, "bool"},
    {W_CHAR, 0, MM__SIGNED, 1, "char"},
    {W_CHAR | W_SIGNED, 0, MM__SIGNED, 1, "signed char"},
    {W_CHAR | W_UNSIGNED, 0, MM__UNSIGNED, 1, "unsigned char"},
    {W_SHORT, W_INT | W_SIGNED, MM__SIGNED, 2, "short"},
    {W_SHORT | W_UNSIGNED, W_INT, MM__UNSIGNED, 2, "unsigned short"},
    {W_INT, W_SIGNED, MM__SIGNED, 4, "int"},
    {W_SIGNED, 0, MM__SIGNED, 4, "int"},
    {W_UNSIGNED, W_INT, MM__UNSIGNED, 4, "unsigned int"},
    {W_LONG, W_INT | W_SIGNED, MM__SIGNED, 8, "long"},
    {W_LONG | W_UNSIGNED, W_INT, MM__UNSIGNED, 8, "unsigned long"},
    {2 * W_LONG, W_INT | W_SIGNED, MM__SIGNED, 8, "long long"},
    {2 * W_LONG | W_UNSIGNED, W_INT, MM__UNSIGNED, 8, "unsigned long long"},
    {W_FLOAT, 0, MM__FLOAT, 4, "float"},
    {W_DOUBLE, 0, MM__FLOAT, 8, "double"},
    {W_DOUBLE | W_LONG, 0, MM__FLOAT, 16, "long double"},
    {W_FLOAT | W_COMPLEX, 0, MM__COMPLEX, 8, "float _Complex"},
    {W_DOUBLE | W_COMPLEX, 0, MM__COMPLEX, 16, "double _Complex"},
    {W_COMPLEX, 0, MM__COMPLEX, 16, "double _Complex"},
    {W_DOUBLE | W_LONG | W_COMPLEX, 0, MM__COMPLEX, 32, "long double _Complex"},
};

/* Known without a declaration: <stdint.h>, <stddef.h>, <sys/types.h> of glibc on x86-64. */
static const struct {
  const char *name, *words;
} standard[] = {
    {"int8_t", "signed char"},
    {"int16_t", "short"},
    {"int32_t", "int"},
    {"int64_t", "long"},
    {"uint8_t", "unsigned char"},
    {"uint16_t", "unsigned short"},
    {"uint32_t", "unsigned int"},
    {"uint64_t", "unsigned long"},
    {"int_least8_t", "signed char"},
    {"int_least16_t", "short"},
    {"int_least32_t", "int"},
    {"int_least64_t", "long"},
    {"uint_least8_t", "unsigned char"},
    {"uint_least16_t", "unsigned short"},
    {"uint_least32_t", "unsigned int"},
    {"uint_least64_t", "unsigned long"},
    {"int_fast8_t", "signed char"},
    {"int_fast16_t", "long"},
    {"int_fast32_t", "long"},
    {"int_fast64_t", "long"},
    {"uint_fast8_t", "unsigned char"},
    {"uint_fast16_t", "unsigned long"},
    {"uint_fast32_t", "unsigned long"},
    {"uint_fast64_t", "unsigned long"},
    {"intptr_t", "long"},
    {"uintptr_t", "unsigned long"},
    {"size_t", "unsigned long"},
    {"ssize_t", "long"},
    {"ptrdiff_t", "long"},
    {"intmax_t", "long"},
    {"uintmax_t", "unsigned long"},
    {"wchar_t", "int"},
    {"off_t", "long"},
    {"time_t", "long"},
};

enum storage { NOT_STORAGE, STORAGE_TYPEDEF, STORAGE_REGISTER, STORAGE_OTHER, STORAGE_FUNCTION };

static bool is_one_of(const struct mm__parser *parser, const char *const *words, size_t count) {
  for (size_t i = 0; i < count; i++)
    if (mm__parser_word(parser, words[i])) return true;
  return false;
}

bool mm__parse_refused(struct mm__parser *parser) {
  static const char *const words[] = {
      "__attribute__", "__int128",   "__int128_t",     "__uint128_t",      "_Imaginary",
      "_Atomic",       "_Alignof",   "_Static_assert", "_Thread_local",    "_Generic",
      "__asm__",       "asm",        "__typeof__",     "typeof",           "sizeof",
      "_Float128",     "__float128", "va_list",        "__builtin_va_list"};
  if (!is_one_of(parser, words, sizeof words / sizeof *words)) return false;
  mm__parser_fail(parser, &parser->token, "`%.*s` is not supported", (int)parser->token.length,
                  parser->text + parser->token.start);
  return true;
}

bool mm__parse_qualifiers(struct mm__parser *parser, bool *is_const) {
  static const char *const words[] = {"volatile",   "__volatile__", "restrict",
                                      "__restrict", "__restrict__", "__extension__"};
  for (;; mm__parser_next(parser)) {
    if (!mm__parse_attributes(parser) || mm__parse_refused(parser)) return false;
    if (mm__parser_word(parser, "const") || mm__parser_word(parser, "__const"))
      *is_const = true;
    else if (!is_one_of(parser, words, sizeof words / sizeof *words))
      return true;
  }
}

static enum storage storage_word(const struct mm__parser *parser) {
  static const char *const functions[] = {"inline", "__inline", "__inline__", "_Noreturn"};
  if (mm__parser_word(parser, "typedef")) return STORAGE_TYPEDEF;
  if (mm__parser_word(parser, "register")) return STORAGE_REGISTER;
  if (mm__parser_word(parser, "extern") || mm__parser_word(parser, "static")) return STORAGE_OTHER;
  return is_one_of(parser, functions, 4) ? STORAGE_FUNCTION : NOT_STORAGE;
}

/* C11 6.7.1, 6.7.2.1, 6.7.6.3: which storage goes where. */
static bool use_storage(struct mm__parser *parser, enum mm__where where, enum storage storage,
                        bool *is_typedef) {
  bool fits =
      (where == MM__IN_PARAMETER && storage == STORAGE_REGISTER) ||
      (where == MM__IN_TYPEDEF && storage == STORAGE_TYPEDEF && !*is_typedef) ||
      (where == MM__IN_TYPEDEF && storage == STORAGE_OTHER && !*is_typedef) ||
      (where == MM__IN_PROTOTYPE && (storage == STORAGE_OTHER || storage == STORAGE_FUNCTION));
  if (!fits)
    return mm__parser_fail(parser, &parser->token, "`%.*s` does not belong here",
                           (int)parser->token.length, parser->text + parser->token.start);
  if (storage == STORAGE_TYPEDEF) *is_typedef = true;
  mm__parser_next(parser);
  return true;
}

/* --- names of types --- */

/* The row of a standard type, or NULL. */
static const char *standard_words(const char *text, size_t length) {
  for (size_t i = 0; i < sizeof standard / sizeof *standard; i++)
    if (strlen(standard[i].name) == length && memcmp(standard[i].name, text, length) == 0)
      return standard[i].words;
  return NULL;
}

bool mm__parse_is_standard(const char *name) { return standard_words(name, strlen(name)) != NULL; }

static bool add_standard(struct mm__parser *parser, const char *words, uint32_t alias,
                         uint32_t *type) {
  for (size_t i = 0; i < sizeof scalars / sizeof *scalars; i++)
    if (strcmp(scalars[i].name, words) == 0)
      return mm__store_scalar(parser->store, scalars[i].kind, scalars[i].size, words, type) &&
             mm__store_alias(parser->store, *type, alias, false, type);
  return false;
}

bool mm__parse_typedef(struct mm__parser *parser, const struct mm__token *token, bool *found,
                       struct mm__qualified *type) {
  const char *text = parser->text + token->start;
  const char *words = standard_words(text, token->length);
  uint32_t name;
  *found = false;
  if (!mm__store_string(parser->store, text, token->length, &name))
    return mm__parser_store_failed(parser, token);
  const struct mm__name *known = mm__store_find(parser->store, MM__NAME_TYPEDEF, name);
  if (known) {
    *found = known->kind == MM__NAME_TYPEDEF;
    *type = (struct mm__qualified){mm__store_now(parser->store, known->type), known->is_const};
  } else if (words) {
    *found = true;
    type->is_const = false;
    if (!add_standard(parser, words, name, &type->type))
      return mm__parser_store_failed(parser, token);
  }
  return true;
}

static bool type_word(const struct mm__parser *parser, uint32_t *sum) {
  for (size_t i = 0; i < sizeof type_words / sizeof *type_words; i++) {
    *sum = type_words[i].sum;
    if (mm__parser_word(parser, type_words[i].word)) return true;
  }
  return false;
}

bool mm__parse_starts_type(struct mm__parser *parser, const struct mm__token *token, bool *starts) {
  struct mm__parser at = *parser;
  struct mm__qualified type;
  uint32_t sum;
  bool is_const = false;
  *starts = false;
  if (token->kind != MM__TOKEN_NAME) return true;
  at.token = *token;
  *starts = mm__parser_word(&at, "_Alignas") || mm__parser_word(&at, "__attribute__");
  if (*starts) return true;
  if (!mm__parse_qualifiers(&at, &is_const)) {
    parser->status = at.status;
    return false;
  }
  *starts = at.token.start != token->start || type_word(&at, &sum) || storage_word(&at);
  return *starts || mm__parse_typedef(parser, token, starts, &type);
}

/* --- the specifiers --- */

static bool resolve_words(struct mm__parser *parser, uint32_t sum, const struct mm__token *at,
                          uint32_t *type) {
  for (size_t i = 0; i < sizeof scalars / sizeof *scalars; i++) {
    if ((sum & ~scalars[i].optional) != scalars[i].sum) continue;
    return mm__store_scalar(parser->store, scalars[i].kind, scalars[i].size, scalars[i].name,
                            type) ||
           mm__parser_store_failed(parser, at);
  }
  return mm__parser_fail(parser, at, "these words make no type together");
}

static bool parse_tagged(struct mm__parser *parser, enum mm__where where,
                         struct mm__specifiers *specifiers) {
  uint8_t kind = mm__parser_word(parser, "union") ? MM__UNION : MM__STRUCT;
  bool is_enum = mm__parser_word(parser, "enum");
  mm__parser_next(parser);
  bool good =
      mm__parser_enter(parser) && (is_enum ? mm__parse_enumeration(parser, where, specifiers)
                                           : mm__parse_aggregate(parser, where, kind, specifiers));
  mm__parser_leave(parser);
  specifiers->is_aggregate = true;
  return good;
}

/* One word of the type. `sum`: of the words so far; `has`: there already is a type that takes no
 * more words. */
static bool parse_word(struct mm__parser *parser, enum mm__where where,
                       struct mm__specifiers *specifiers, uint32_t *sum, bool *has, bool *more) {
  struct mm__token at = parser->token;
  struct mm__qualified named;
  uint32_t word;
  *more = true;
  if (type_word(parser, &word)) {
    if (*has || (word == 0 && *sum)) return resolve_words(parser, ~0u, &at, &word);
    *has = word == 0;
    if (*has) return parse_tagged(parser, where, specifiers);
    /* Each word has room for three; a third `long` is one too many anyway. */
    if ((*sum & 3 * word) == (word == W_LONG ? 2 * word : word))
      return resolve_words(parser, ~0u, &at, &word);
    *sum += word;
    mm__parser_next(parser);
    return true;
  }
  *more = false;
  if (at.kind != MM__TOKEN_NAME || *has || *sum) return true;
  if (!mm__parse_typedef(parser, &at, has, &named)) return false;
  if (!*has) return true;
  *more = true;
  specifiers->type.type = named.type;
  specifiers->type.is_const |= named.is_const;
  mm__parser_next(parser);
  return true;
}

static bool no_type(struct mm__parser *parser) {
  const struct mm__token *token = &parser->token;
  const char *text = parser->text + token->start;
  if (token->kind == MM__TOKEN_NAME && !mm__lexer_keyword(text, token->length))
    return mm__parser_fail(parser, token, "unknown type `%.*s`",
                           (int)(token->length < 200 ? token->length : 200), text);
  return mm__parser_expected(parser, "a type");
}

bool mm__parse_specifiers(struct mm__parser *parser, enum mm__where where,
                          struct mm__specifiers *specifiers) {
  struct mm__token last = parser->token;
  uint32_t sum = 0;
  bool has = false, more = true;
  *specifiers = (struct mm__specifiers){0};
  while (more) {
    if (!mm__parse_qualifiers(parser, &specifiers->type.is_const)) return false;
    enum storage storage = storage_word(parser);
    if (storage) {
      if (!use_storage(parser, where, storage, &specifiers->is_typedef)) return false;
      continue;
    }
    struct mm__token at = parser->token;
    if (!parse_word(parser, where, specifiers, &sum, &has, &more)) return false;
    if (more) last = at;
  }
  if (has) return true;
  return sum ? resolve_words(parser, sum, &last, &specifiers->type.type) : no_type(parser);
}
