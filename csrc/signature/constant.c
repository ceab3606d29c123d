/* signature/constant.c - constant expressions of integers, with the types and conversions of C (C11
 * 6.3.1.8): `~0u` is 4294967295 to the compiler that read the same text. */
#include "signature/parser.h"

#include <limits.h>

struct number {
  uint64_t bits;
  bool is_unsigned, is_long;
};

static bool binary(struct mm__parser *parser, int minimum, struct number *value);

/* Brings the bits back to what the type can hold; false when it is signed and cannot. */
static bool fits(struct number *number) {
  if (number->is_long) return true;
  if (number->is_unsigned) {
    number->bits = (uint32_t)number->bits;
    return true;
  }
  return (int64_t)number->bits >= INT_MIN && (int64_t)number->bits <= INT_MAX;
}

static int digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return 99;
}

/* u, l, ll in any order and case; the number of bytes, -1 when it is none of these. */
static int suffix(const char *text, uint32_t length, struct number *number) {
  uint32_t at = 0;
  bool seen_u = false, seen_l = false;
  while (at < length) {
    if ((text[at] | 32) == 'u' && !seen_u) {
      seen_u = true, at++;
    } else if ((text[at] | 32) == 'l' && !seen_l) {
      at += at + 1 < length && text[at + 1] == text[at] ? 2 : 1;
      seen_l = true;
    } else {
      return -1;
    }
  }
  number->is_unsigned = seen_u;
  number->is_long = seen_l;
  return (int)at;
}

static bool integer(struct mm__parser *parser, struct number *number) {
  const struct mm__token *token = &parser->token;
  const char *text = parser->text + token->start;
  uint32_t at = 0, length = token->length;
  int base = 10;
  if (text[0] == '0' && length > 2 && (text[1] | 32) == 'x')
    base = 16, at = 2;
  else if (text[0] == '0' && length > 2 && (text[1] | 32) == 'b')
    base = 2, at = 2;
  else if (text[0] == '0')
    base = 8;
  uint32_t first = at;
  for (number->bits = 0; at < length && digit(text[at]) < base; at++)
    if (__builtin_mul_overflow(number->bits, (uint64_t)base, &number->bits) ||
        __builtin_add_overflow(number->bits, (uint64_t)digit(text[at]), &number->bits))
      return mm__parser_fail(parser, token, "the number does not fit 64 bits");
  if (at == first || suffix(text + at, length - at, number) < 0)
    return mm__parser_fail(parser, token, "`%.*s` is not an integer",
                           (int)(length < 60 ? length : 60), text);
  /* C11 6.4.4.1: the first type that holds it; only hexadecimal and its like may turn unsigned by
   * themselves. */
  if (number->bits > INT_MAX && !number->is_long && !number->is_unsigned) {
    if (base != 10 && number->bits <= UINT_MAX)
      number->is_unsigned = true;
    else
      number->is_long = true;
  }
  if (number->bits > UINT_MAX) number->is_long = true;
  if (number->bits > INT64_MAX) number->is_unsigned = true;
  return true;
}

static bool escape(const char **at, const char *end, int64_t *value) {
  static const char letters[] = "a\ab\bf\fn\nr\rt\tv\v\\\\''\"\"??";
  int count = 0;
  *value = 0;
  if (**at == 'x') {
    for (++*at; *at < end && digit(**at) < 16; ++*at, count++) *value = *value * 16 + digit(**at);
    return count > 0 && count < 9 && *value <= 255;
  }
  if (digit(**at) < 8) {
    for (; *at < end && count < 3 && digit(**at) < 8; ++*at, count++)
      *value = *value * 8 + digit(**at);
    return *value <= 255;
  }
  for (const char *letter = letters; *letter; letter += 2) {
    if (*letter != **at) continue;
    *value = (unsigned char)letter[1];
    ++*at;
    return true;
  }
  return false;
}

/* A character constant is an int, from a char that is signed (psABI x86-64 3.1.2). */
static bool character(struct mm__parser *parser, struct number *number) {
  const struct mm__token *token = &parser->token;
  const char *at = parser->text + token->start + 1, *end = at + token->length - 2;
  int64_t value = 0;
  bool good = at < end;
  if (good && *at == '\\') {
    at++;
    good = at < end && escape(&at, end, &value);
  } else if (good) {
    value = (unsigned char)*at++;
  }
  if (!good || at != end)
    return mm__parser_fail(parser, token, "not a character constant of one character");
  *number = (struct number){(uint64_t)(value > 127 ? value - 256 : value), false, false};
  return true;
}

static bool enumerator(struct mm__parser *parser, struct number *number) {
  struct mm__token at = parser->token;
  uint32_t name;
  if (!mm__parser_name(parser, &name)) return false;
  const struct mm__name *known = mm__store_find(parser->store, MM__NAME_CONSTANT, name);
  if (!known || known->kind != MM__NAME_CONSTANT)
    return mm__parser_fail(parser, &at, "unknown constant `%s`", parser->store->strings + name);
  *number = (struct number){(uint64_t)known->value, false, false};
  number->is_long = known->value < INT_MIN || known->value > UINT_MAX;
  number->is_unsigned = known->value > INT_MAX && known->value <= UINT_MAX;
  return true;
}

static bool primary(struct mm__parser *parser, struct number *number) {
  bool good;
  if (mm__parser_take(parser, '('))
    return binary(parser, 0, number) && mm__parser_need(parser, ')', "`)`");
  if (mm__parse_refused(parser)) return false;
  if (parser->token.kind == MM__TOKEN_NAME) return enumerator(parser, number);
  if (parser->token.kind == MM__TOKEN_NUMBER)
    good = integer(parser, number);
  else if (parser->token.kind == MM__TOKEN_CHARACTER)
    good = character(parser, number);
  else
    return mm__parser_expected(parser, "a number");
  if (good) mm__parser_next(parser);
  return good;
}

static bool unary(struct mm__parser *parser, struct number *number) {
  struct mm__token at = parser->token;
  bool minus = mm__parser_is(parser, '-'), invert = mm__parser_is(parser, '~');
  if (!minus && !invert && !mm__parser_is(parser, '+')) return primary(parser, number);
  mm__parser_next(parser);
  bool good = mm__parser_enter(parser) && unary(parser, number);
  mm__parser_leave(parser);
  if (!good) return false;
  if (minus && number->is_long && !number->is_unsigned && number->bits == 1ul << 63)
    return mm__parser_fail(parser, &at, "the number overflows");
  if (minus) number->bits = -number->bits;
  if (invert) number->bits = ~number->bits;
  return fits(number) || mm__parser_fail(parser, &at, "the number overflows");
}

static int precedence(const struct mm__parser *parser) {
  if (parser->token.kind != MM__TOKEN_SIGN) return -1;
  switch (parser->token.sign) {
  case '|':
    return 0;
  case '^':
    return 1;
  case '&':
    return 2;
  case MM__SIGN_LEFT:
  case MM__SIGN_RIGHT:
    return 3;
  case '+':
  case '-':
    return 4;
  case '*':
  case '/':
  case '%':
    return 5;
  default:
    return -1;
  }
}

/* C11 6.5.7: the type is the left side's. Undefined for a count out of range and for a negative
 * left side. */
static const char *shift(uint16_t sign, struct number *left, const struct number *right) {
  int64_t value = (int64_t)left->bits;
  if (right->bits >= (left->is_long ? 64u : 32u)) return "shifted by too much";
  unsigned count = (unsigned)right->bits;
  if (sign == MM__SIGN_RIGHT) {
    left->bits = left->is_unsigned ? left->bits >> count : (uint64_t)(value >> count);
    return NULL;
  }
  if (!left->is_unsigned && (value < 0 || value > (INT64_MAX >> count)))
    return "the number overflows";
  left->bits <<= count;
  return fits(left) ? NULL : "the number overflows";
}

static bool calculate(uint16_t sign, int64_t a, int64_t b, int64_t *result) {
  switch (sign) {
  case '+':
    return !__builtin_add_overflow(a, b, result);
  case '-':
    return !__builtin_sub_overflow(a, b, result);
  case '*':
    return !__builtin_mul_overflow(a, b, result);
  case '/':
    return !(a == INT64_MIN && b == -1) && (*result = a / b, true);
  case '%':
    return !(a == INT64_MIN && b == -1) && (*result = a % b, true);
  case '|':
    return *result = a | b, true;
  case '^':
    return *result = a ^ b, true;
  default:
    return *result = a & b, true;
  }
}

static uint64_t calculate_unsigned(uint16_t sign, uint64_t a, uint64_t b) {
  int64_t result = 0;
  if (sign == '/') return a / b;
  if (sign == '%') return a % b;
  if (sign == '+') return a + b;
  if (sign == '-') return a - b;
  if (sign == '*') return a * b;
  calculate(sign, (int64_t)a, (int64_t)b, &result);
  return (uint64_t)result;
}

/* The wrong, or NULL. */
static const char *apply(uint16_t sign, struct number *left, struct number right) {
  if (sign == MM__SIGN_LEFT || sign == MM__SIGN_RIGHT) return shift(sign, left, &right);
  if ((sign == '/' || sign == '%') && right.bits == 0) return "divided by zero";
  struct number result = {0, false, left->is_long || right.is_long};
  result.is_unsigned = (left->is_unsigned && left->is_long >= right.is_long) ||
                       (right.is_unsigned && right.is_long >= left->is_long);
  if (result.is_unsigned && !result.is_long) left->bits = (uint32_t)left->bits;
  if (result.is_unsigned && !result.is_long) right.bits = (uint32_t)right.bits;
  if ((sign == '/' || sign == '%') && right.bits == 0) return "divided by zero";
  int64_t value = 0;
  if (result.is_unsigned)
    result.bits = calculate_unsigned(sign, left->bits, right.bits);
  else if (calculate(sign, (int64_t)left->bits, (int64_t)right.bits, &value))
    result.bits = (uint64_t)value;
  else
    return "the number overflows";
  *left = result;
  return fits(left) ? NULL : "the number overflows";
}

static bool binary(struct mm__parser *parser, int minimum, struct number *value) {
  bool good = mm__parser_enter(parser) && unary(parser, value);
  for (int level; good && (level = precedence(parser)) >= minimum;) {
    struct mm__token at = parser->token;
    struct number right = {0};
    mm__parser_next(parser);
    good = binary(parser, level + 1, &right);
    const char *wrong = good ? apply(at.sign, value, right) : NULL;
    if (wrong) good = mm__parser_fail(parser, &at, "%s", wrong);
  }
  mm__parser_leave(parser);
  return good;
}

bool mm__parse_constant(struct mm__parser *parser, int64_t *value) {
  struct mm__token at = parser->token;
  struct number number = {0};
  if (!binary(parser, 0, &number)) return false;
  if (number.is_unsigned && number.bits > INT64_MAX)
    return mm__parser_fail(parser, &at, "the number does not fit a signed 64-bit integer");
  *value = (int64_t)number.bits;
  return true;
}
