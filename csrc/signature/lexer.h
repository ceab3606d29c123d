/* signature/lexer.h - C text as tokens, one at a time.
 * Owns:    nothing; a token is a place in the text.
 * Threads: pure.
 * Signals: safe anywhere.
 * Errors:  a token of kind MM__TOKEN_WRONG says what is wrong. */
#ifndef MM_SIGNATURE_LEXER_H
#define MM_SIGNATURE_LEXER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum mm__token_kind {
  MM__TOKEN_END,
  MM__TOKEN_NAME, /* identifiers and keywords */
  MM__TOKEN_NUMBER,
  MM__TOKEN_CHARACTER, /* a character constant */
  MM__TOKEN_SIGN,      /* punctuation; `sign` is its character, or one of the enum below */
  MM__TOKEN_WRONG
};

enum mm__sign { MM__SIGN_DOTS = 256, MM__SIGN_LEFT, MM__SIGN_RIGHT }; /* ... << >> */

struct mm__token {
  uint8_t kind;
  uint16_t sign;
  uint32_t start, length; /* bytes */
  const char *wrong;      /* a constant English phrase */
};

/* The token at or behind `at`, without the space and the comments before it. */
struct mm__token mm__lexer_token(const char *text, uint32_t at);

/* Whether a name means something to C itself, so that nothing may be called so. */
bool mm__lexer_keyword(const char *name, size_t length);

#endif
