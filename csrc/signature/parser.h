/* signature/parser.h - reads C declarations into a store; shared by the files that do it.
 * Owns:    its stacks, until mm__parser_close.
 * Threads: one parser, one thread.
 * Signals: not for handlers; allocates.
 * Errors:  false, after mm__parser_fail has filled the caller's error with what, where and the text
 *          around. */
#ifndef MM_SIGNATURE_PARSER_H
#define MM_SIGNATURE_PARSER_H

#include "matchmaker.h"
#include "signature/lexer.h"
#include "signature/store.h"

/* A type with the const in front of it, which only a pointer to it keeps. */
struct mm__qualified {
  uint32_t type;
  bool is_const;
};

/* Where a declarator stands, which decides what it may be. */
enum mm__where { MM__IN_PROTOTYPE, MM__IN_PARAMETER, MM__IN_FIELD, MM__IN_TYPEDEF };

/* One step of a declarator, from its name outwards: "pointer to", "array of", "function returning".
 * */
struct mm__step {
  uint8_t kind;     /* MM__POINTER, MM__ARRAY, MM__FUNCTION */
  bool is_const;    /* the pointer itself */
  bool decays;      /* the outermost array of a parameter */
  bool variadic;    /* the function */
  bool is_flexible; /* the array has no length */
  uint32_t length;  /* of the array */
  uint32_t first;   /* the function's parameters on the stack of members */
  uint32_t count;   /* of them */
  struct mm__token at;
};

/* Those that change a layout. */
struct mm__attributes {
  bool is_packed;
  uint32_t align;      /* bytes, 0: none */
  struct mm__token at; /* one of them */
};

struct mm__parser {
  struct mm__store *store;
  struct mm_error *error;
  int status;
  const char *what; /* "prototype" or "declaration" */
  const char *text;
  struct mm__token token; /* the next one */
  uint32_t depth;         /* of recursion */
  /* Read since what is being declared began; who begins something in it keeps them meanwhile. */
  struct mm__attributes attributes;
  /* Stacks: what is nested is off them before what it is nested in goes on. */
  struct mm__step *steps;
  struct mm__member *members;
  uint32_t step_count, step_capacity, member_count, member_capacity;
};

struct mm__specifiers {
  struct mm__qualified type;
  bool is_typedef;
  bool is_aggregate; /* a struct, union or enum stood there, so that no declarator need follow */
  bool is_untagged;
};

struct mm__declarator {
  struct mm__qualified type;
  uint32_t name;       /* 0: none */
  bool is_flexible;    /* a field that is an array without a length */
  struct mm__token at; /* the name, or where it could stand */
};

bool mm__parser_open(struct mm__parser *parser, struct mm__store *store, const char *what,
                     const char *text, struct mm_error *error);
void mm__parser_close(struct mm__parser *parser);

/* The first failure counts. Always false. */
bool mm__parser_fail(struct mm__parser *parser, const struct mm__token *at, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* "expected `what` before ..." */
bool mm__parser_expected(struct mm__parser *parser, const char *what);
/* What the store said. */
bool mm__parser_store_failed(struct mm__parser *parser, const struct mm__token *at);

void mm__parser_next(struct mm__parser *parser);
bool mm__parser_is(const struct mm__parser *parser, uint16_t sign);
bool mm__parser_take(struct mm__parser *parser, uint16_t sign); /* true: it was there */
bool mm__parser_need(struct mm__parser *parser, uint16_t sign, const char *shown);
bool mm__parser_word(const struct mm__parser *parser, const char *word);
/* Every function that may come back to itself goes through these. */
bool mm__parser_enter(struct mm__parser *parser);
void mm__parser_leave(struct mm__parser *parser);

/* The token as a name that is no keyword, in the strings. */
bool mm__parser_name(struct mm__parser *parser, uint32_t *name);
bool mm__parser_push(struct mm__parser *parser, const struct mm__member *member);
/* Whether one of the members on the stack from `first` on has that name. */
bool mm__parser_has(const struct mm__parser *parser, uint32_t first, uint32_t name);
const struct mm__type *mm__parser_type(const struct mm__parser *parser, uint32_t type);
/* Fails unless an object can have that type. */
bool mm__parser_complete(struct mm__parser *parser, uint32_t type, const struct mm__token *at);

/* constant.c */
bool mm__parse_constant(struct mm__parser *parser, int64_t *value);
/* specifiers.c */
bool mm__parse_starts_type(struct mm__parser *parser, const struct mm__token *token, bool *starts);
/* The typedef with that name; `found` tells whether there is one. */
bool mm__parse_typedef(struct mm__parser *parser, const struct mm__token *token, bool *found,
                       struct mm__qualified *type);
bool mm__parse_is_standard(const char *name); /* size_t and its like */
bool mm__parse_specifiers(struct mm__parser *parser, enum mm__where where,
                          struct mm__specifiers *specifiers);
/* Takes const and its like; `is_const` is only ever set. */
bool mm__parse_qualifiers(struct mm__parser *parser, bool *is_const);
bool mm__parse_refused(
    struct mm__parser *parser); /* true, and an error, at what is not supported */
/* attribute.c: takes what is there. */
bool mm__parse_attributes(struct mm__parser *parser);
/* Fails when there were attributes that `what` cannot have: "a typedef". */
bool mm__parse_no_layout(struct mm__parser *parser, const char *what);
/* aggregate.c; the token is behind the word */
bool mm__parse_aggregate(struct mm__parser *parser, enum mm__where where, uint8_t kind,
                         struct mm__specifiers *specifiers);
bool mm__parse_tag(struct mm__parser *parser, uint8_t kind, uint32_t tag,
                   const struct mm__token *at, struct mm__name **known);
bool mm__parse_same(const struct mm__parser *parser, uint32_t a, uint32_t b);
/* enumeration.c */
bool mm__parse_enumeration(struct mm__parser *parser, enum mm__where where,
                           struct mm__specifiers *specifiers);
/* declarator.c */
bool mm__parse_declarator(struct mm__parser *parser, enum mm__where where,
                          struct mm__qualified base, struct mm__declarator *declarator);
/* parser.c */
bool mm__parse_declarations(struct mm__parser *parser);
bool mm__parse_type_name(struct mm__parser *parser, struct mm__declarator *declarator);
bool mm__parse_prototype(struct mm__parser *parser, struct mm__declarator *declarator);

#endif
