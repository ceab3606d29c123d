/* signature/lexer.c - never looks behind the NUL that ends the text. */
#include "signature/lexer.h"

#include <string.h>

static bool is_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

static bool is_space(const char *at) {
  return *at == ' ' || (*at >= '\t' && *at <= '\r') || (at[0] == '\\' && at[1] == '\n');
}

/* Moves behind a comment; false when it has no end. */
static bool skip_comment(const char *text, uint32_t *at) {
  const char *comment = text + *at;
  const char *end = strstr(comment + 2, comment[1] == '*' ? "*/" : "\n");
  if (!end && comment[1] == '*') return false;
  *at += end ? (uint32_t)(end - comment) + (comment[1] == '*' ? 2 : 1) : (uint32_t)strlen(comment);
  return true;
}

static bool skip(const char *text, uint32_t *at) {
  for (;;) {
    const char *here = text + *at;
    if (is_space(here)) {
      ++*at;
    } else if (here[0] == '/' && (here[1] == '/' || here[1] == '*')) {
      if (!skip_comment(text, at)) return false;
    } else {
      return true;
    }
  }
}

static struct mm__token wrong(uint32_t at, uint32_t length, const char *phrase) {
  return (struct mm__token){MM__TOKEN_WRONG, 0, at, length, phrase};
}

static struct mm__token character(const char *text, uint32_t at) {
  uint32_t end = at + 1;
  while (text[end] && text[end] != '\'' && text[end] != '\n') {
    if (text[end] == '\\' && text[end + 1]) end++;
    end++;
  }
  if (text[end] != '\'') return wrong(at, 1, "a character constant without an end");
  return (struct mm__token){MM__TOKEN_CHARACTER, 0, at, end + 1 - at, NULL};
}

static struct mm__token sign(const char *text, uint32_t at) {
  const char *here = text + at;
  if (strncmp(here, "...", 3) == 0)
    return (struct mm__token){MM__TOKEN_SIGN, MM__SIGN_DOTS, at, 3, NULL};
  if (strncmp(here, "<<", 2) == 0)
    return (struct mm__token){MM__TOKEN_SIGN, MM__SIGN_LEFT, at, 2, NULL};
  if (strncmp(here, ">>", 2) == 0)
    return (struct mm__token){MM__TOKEN_SIGN, MM__SIGN_RIGHT, at, 2, NULL};
  if (strchr("()[]{}*,;:=+-/%&|^~<>!?.", *here))
    return (struct mm__token){MM__TOKEN_SIGN, (uint8_t)*here, at, 1, NULL};
  return wrong(at, 1, "a character that does not belong here");
}

struct mm__token mm__lexer_token(const char *text, uint32_t at) {
  if (!skip(text, &at)) return wrong(at, 2, "a comment without an end");
  uint32_t end = at;
  if (!text[at]) return (struct mm__token){MM__TOKEN_END, 0, at, 0, NULL};
  if (is_letter(text[at])) {
    while (is_letter(text[end]) || is_digit(text[end])) end++;
    return (struct mm__token){MM__TOKEN_NAME, 0, at, end - at, NULL};
  }
  if (is_digit(text[at]) || (text[at] == '.' && is_digit(text[at + 1]))) {
    while (is_letter(text[end]) || is_digit(text[end]) || text[end] == '.') end++;
    return (struct mm__token){MM__TOKEN_NUMBER, 0, at, end - at, NULL};
  }
  return text[at] == '\'' ? character(text, at) : sign(text, at);
}

bool mm__lexer_keyword(const char *name, size_t length) {
  static const char *const words[] = {
      "_Alignas",       "_Alignof",      "_Atomic",      "_Bool",
      "_Complex",       "_Generic",      "_Imaginary",   "_Noreturn",
      "_Static_assert", "_Thread_local", "__asm__",      "__attribute__",
      "__const",        "__extension__", "__inline",     "__inline__",
      "__int128",       "__restrict",    "__restrict__", "__signed__",
      "__typeof__",     "__volatile__",  "asm",          "auto",
      "bool",           "break",         "case",         "char",
      "const",          "continue",      "default",      "do",
      "double",         "else",          "enum",         "extern",
      "float",          "for",           "goto",         "if",
      "inline",         "int",           "long",         "register",
      "restrict",       "return",        "short",        "signed",
      "sizeof",         "static",        "struct",       "switch",
      "typedef",        "typeof",        "union",        "unsigned",
      "void",           "volatile",      "while"};
  for (size_t i = 0; i < sizeof words / sizeof *words; i++)
    if (strlen(words[i]) == length && memcmp(words[i], name, length) == 0) return true;
  return false;
}
