/* signature/attribute.c - __attribute__ and _Alignas: those that change a layout are kept for what
 * they belong to, those that only tell the compiler more are passed over. What is not known here
 * might change how a function is called, so it is refused. */
#include "signature/parser.h"

#include <string.h>

#define ALIGN_LIMIT 4096
#define DEFAULT_ALIGN                                                                              \
  16 /* of `aligned` without a number: gcc's __BIGGEST_ALIGNMENT__ without AVX */

/* gcc's manual, "Common Function Attributes", "... Variable ...", "... Type Attributes". */
static const char *const harmless[] = {"access",
                                       "alias",
                                       "alloc_align",
                                       "alloc_size",
                                       "always_inline",
                                       "artificial",
                                       "assume_aligned",
                                       "cold",
                                       "const",
                                       "deprecated",
                                       "designated_init",
                                       "error",
                                       "externally_visible",
                                       "fallthrough",
                                       "flatten",
                                       "format",
                                       "format_arg",
                                       "gcc_struct",
                                       "gnu_inline",
                                       "hot",
                                       "leaf",
                                       "malloc",
                                       "may_alias",
                                       "nodiscard",
                                       "noinline",
                                       "nonnull",
                                       "nonstring",
                                       "noreturn",
                                       "nothrow",
                                       "pure",
                                       "returns_nonnull",
                                       "returns_twice",
                                       "section",
                                       "sentinel",
                                       "sysv_abi",
                                       "unavailable",
                                       "unused",
                                       "used",
                                       "visibility",
                                       "warn_unused_result",
                                       "warning",
                                       "weak"};

/* A name may stand between double underscores. */
static bool is_named(const struct mm__parser *parser, const char *name) {
  const struct mm__token *token = &parser->token;
  const char *text = parser->text + token->start;
  size_t length = token->length;
  if (token->kind != MM__TOKEN_NAME) return false;
  if (length > 4 && memcmp(text, "__", 2) == 0 && memcmp(text + length - 2, "__", 2) == 0) {
    text += 2;
    length -= 4;
  }
  return strlen(name) == length && memcmp(text, name, length) == 0;
}

static bool is_harmless(const struct mm__parser *parser) {
  for (size_t i = 0; i < sizeof harmless / sizeof *harmless; i++)
    if (is_named(parser, harmless[i])) return true;
  return false;
}

/* Behind the `(`, to behind its `)`. */
static bool skip_arguments(struct mm__parser *parser) {
  for (uint32_t depth = 1; depth; mm__parser_next(parser)) {
    if (parser->token.kind == MM__TOKEN_END || parser->token.kind == MM__TOKEN_WRONG)
      return mm__parser_expected(parser, "`)`");
    if (mm__parser_is(parser, '(')) depth++;
    if (mm__parser_is(parser, ')')) depth--;
  }
  return true;
}

static bool keep_align(struct mm__parser *parser, const struct mm__token *at, int64_t align) {
  if (align < 0 || align > ALIGN_LIMIT || (align & (align - 1)))
    return mm__parser_fail(parser, at, "an alignment of %ld is not supported", align);
  if (align > (int64_t)parser->attributes.align) parser->attributes.align = (uint32_t)align;
  parser->attributes.at = *at;
  return true;
}

static bool parse_aligned(struct mm__parser *parser, const struct mm__token *at) {
  int64_t align = DEFAULT_ALIGN;
  if (mm__parser_take(parser, '(')) {
    struct mm__token number = parser->token;
    if (!mm__parse_constant(parser, &align)) return false;
    if (align == 0) return mm__parser_fail(parser, &number, "an alignment of 0 is not supported");
    if (!mm__parser_need(parser, ')', "`)`")) return false;
  }
  return keep_align(parser, at, align);
}

static bool parse_one(struct mm__parser *parser) {
  struct mm__token at = parser->token;
  bool is_packed = is_named(parser, "packed"), is_aligned = is_named(parser, "aligned");
  if (!is_packed && !is_aligned && !is_harmless(parser))
    return at.kind == MM__TOKEN_NAME
               ? mm__parser_fail(parser, &at, "the attribute `%.*s` is not supported",
                                 (int)(at.length < 60 ? at.length : 60), parser->text + at.start)
               : mm__parser_expected(parser, "an attribute");
  mm__parser_next(parser);
  if (is_aligned) return parse_aligned(parser, &at);
  if (is_packed) {
    parser->attributes.is_packed = true;
    parser->attributes.at = at;
    return true;
  }
  return !mm__parser_take(parser, '(') || skip_arguments(parser);
}

/* Behind the word __attribute__. */
static bool parse_list(struct mm__parser *parser) {
  for (int i = 0; i < 2; i++)
    if (!mm__parser_need(parser, '(', "`(`")) return false;
  while (!mm__parser_is(parser, ')')) {
    if (mm__parser_take(parser, ',')) continue;
    if (!parse_one(parser)) return false;
    if (!mm__parser_is(parser, ',') && !mm__parser_is(parser, ')'))
      return mm__parser_expected(parser, "`,` or `)`");
  }
  mm__parser_next(parser);
  return mm__parser_need(parser, ')', "`)`");
}

/* _Alignas(type) or _Alignas(constant), behind the word: C11 6.7.5; 0 has no effect. */
static bool parse_alignas(struct mm__parser *parser, const struct mm__token *at) {
  struct mm__specifiers specifiers;
  int64_t align;
  bool starts;
  if (!mm__parser_need(parser, '(', "`(`")) return false;
  if (!mm__parse_starts_type(parser, &parser->token, &starts)) return false;
  if (!starts) {
    if (!mm__parse_constant(parser, &align)) return false;
  } else {
    struct mm__declarator declared;
    if (!mm__parse_specifiers(parser, MM__IN_PARAMETER, &specifiers) ||
        !mm__parse_declarator(parser, MM__IN_PROTOTYPE, specifiers.type, &declared) ||
        !mm__parser_complete(parser, declared.type.type, at))
      return false;
    align = mm__parser_type(parser, declared.type.type)->align;
  }
  return mm__parser_need(parser, ')', "`)`") && keep_align(parser, at, align);
}

bool mm__parse_attributes(struct mm__parser *parser) {
  for (;;) {
    struct mm__token at = parser->token;
    bool is_alignas = mm__parser_word(parser, "_Alignas");
    if (!is_alignas && !mm__parser_word(parser, "__attribute__") &&
        !mm__parser_word(parser, "__attribute"))
      return true;
    mm__parser_next(parser);
    if (!mm__parser_enter(parser)) return false;
    bool good = is_alignas ? parse_alignas(parser, &at) : parse_list(parser);
    mm__parser_leave(parser);
    if (!good) return false;
  }
}

bool mm__parse_no_layout(struct mm__parser *parser, const char *what) {
  struct mm__attributes *kept = &parser->attributes;
  if (!kept->is_packed && !kept->align) return true;
  return mm__parser_fail(parser, &kept->at, "%s cannot be %s", what,
                         kept->is_packed ? "packed" : "aligned");
}
