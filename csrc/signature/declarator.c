/* signature/declarator.c - declarators: read inside out into steps, which are then applied to the
 * base type from the far end. So each is read once, however deep its parentheses. */
#include "signature/parser.h"

#include <string.h>

#define PARAMETER_LIMIT 127u
#define POINTER_LIMIT   60
#define SIZE_LIMIT      0x7fffffffu

/* --- types from types --- */

static bool is_char(const struct mm__parser *parser, const struct mm__type *type) {
  return type->kind == MM__SIGNED && type->size == 1 &&
         strcmp(parser->store->strings + type->name, "char") == 0;
}

static bool make_pointer(struct mm__parser *parser, struct mm__qualified *type,
                         const struct mm__token *at) {
  const struct mm__type *target = mm__parser_type(parser, type->type);
  struct mm__type made = {.kind = MM__POINTER, .size = 8, .align = 8, .target = type->type};
  if (type->is_const && is_char(parser, target)) {
    made.kind = MM__STRING;
    made.target = 0;
  } else if (type->is_const && target->kind != MM__FUNCTION) {
    made.flags = MM__TYPE_CONST;
  }
  return mm__store_type(parser->store, &made, NULL, &type->type) ||
         mm__parser_store_failed(parser, at);
}

static bool make_array(struct mm__parser *parser, struct mm__qualified *type,
                       const struct mm__step *step) {
  if (!mm__parser_complete(parser, type->type, &step->at)) return false;
  const struct mm__type *element = mm__parser_type(parser, type->type);
  uint64_t size = (uint64_t)element->size * step->length;
  struct mm__type made = {.kind = MM__ARRAY,
                          .align = element->align,
                          .size = (uint32_t)size,
                          .target = type->type,
                          .length = step->length};
  if (size > SIZE_LIMIT)
    return mm__parser_fail(parser, &step->at, "the array is larger than 2 GiB");
  return mm__store_type(parser->store, &made, NULL, &type->type) ||
         mm__parser_store_failed(parser, &step->at);
}

static bool make_function(struct mm__parser *parser, struct mm__qualified *type,
                          const struct mm__step *step) {
  uint8_t result = mm__parser_type(parser, type->type)->kind;
  struct mm__type made = {.kind = MM__FUNCTION,
                          .flags = step->variadic ? MM__TYPE_VARIADIC : 0,
                          .align = 1,
                          .target = type->type,
                          .member_count = step->count};
  if (result == MM__ARRAY || result == MM__FUNCTION)
    return mm__parser_fail(parser, &step->at, "a function cannot return %s",
                           result == MM__ARRAY ? "an array" : "a function");
  if (result != MM__VOID && !mm__parser_complete(parser, type->type, &step->at)) return false;
  const struct mm__member *parameters = step->count ? parser->members + step->first : NULL;
  return mm__store_type(parser->store, &made, parameters, &type->type) ||
         mm__parser_store_failed(parser, &step->at);
}

static bool apply(struct mm__parser *parser, const struct mm__step *step,
                  struct mm__qualified *type) {
  bool good;
  if (step->kind == MM__ARRAY && step->decays)
    good =
        mm__parser_complete(parser, type->type, &step->at) && make_pointer(parser, type, &step->at);
  else if (step->kind == MM__ARRAY)
    return make_array(parser, type, step); /* const goes through to the elements, C11 6.7.3, 9 */
  else if (step->kind == MM__FUNCTION)
    good = make_function(parser, type, step);
  else
    good = make_pointer(parser, type, &step->at);
  type->is_const = step->is_const;
  return good;
}

/* --- steps --- */

static bool push_step(struct mm__parser *parser, const struct mm__step *step) {
  if (!MM__STORE_GROW(parser->store, parser->steps, parser->step_capacity, parser->step_count))
    return mm__parser_store_failed(parser, &step->at);
  parser->steps[parser->step_count++] = *step;
  return true;
}

/* Whether the token is a name that can only be the length of a variable array: `int n, char
 * text[n]`. */
static bool is_variable(struct mm__parser *parser) {
  const struct mm__token *token = &parser->token;
  const char *text = parser->text + token->start;
  uint32_t name;
  if (token->kind != MM__TOKEN_NAME || mm__lexer_keyword(text, token->length)) return false;
  if (!mm__store_string(parser->store, text, token->length, &name))
    return mm__parser_store_failed(parser, token);
  const struct mm__name *known = mm__store_find(parser->store, MM__NAME_CONSTANT, name);
  struct mm__token next = mm__lexer_token(parser->text, token->start + token->length);
  return (!known || known->kind != MM__NAME_CONSTANT) && next.kind == MM__TOKEN_SIGN &&
         next.sign == ']';
}

static bool parse_length(struct mm__parser *parser, enum mm__where where, struct mm__step *step) {
  struct mm__token at = parser->token;
  int64_t length;
  if (!mm__parse_constant(parser, &length)) return false;
  /* Nothing, as in GNU C, can only be a field. */
  if (length < 0 || (length == 0 && where != MM__IN_FIELD))
    return mm__parser_fail(parser, &at, "an array of %ld elements is not supported", length);
  if (length > (int64_t)SIZE_LIMIT)
    return mm__parser_fail(parser, &at, "the array is larger than 2 GiB");
  step->length = (uint32_t)length;
  return true;
}

/* Behind the `[`. C11 6.7.6.3, 7: the outermost array of a parameter is a pointer, whatever is in
 * its brackets. */
static bool parse_array(struct mm__parser *parser, enum mm__where where, struct mm__step *step) {
  step->kind = MM__ARRAY;
  if (step->decays) {
    if (!mm__parse_qualifiers(parser, &step->is_const)) return false;
    if (mm__parser_word(parser, "static")) mm__parser_next(parser);
    if (!mm__parse_qualifiers(parser, &step->is_const)) return false;
    if (mm__parser_is(parser, '*') || is_variable(parser))
      mm__parser_next(parser);
    else if (!mm__parser_is(parser, ']') && !parse_length(parser, where, step))
      return false;
  } else if (mm__parser_is(parser, ']')) {
    step->is_flexible = true;
    if (where != MM__IN_FIELD)
      return mm__parser_fail(parser, &step->at, "an array without a length is not supported");
  } else if (!parse_length(parser, where, step)) {
    return false;
  }
  return mm__parser_need(parser, ']', "`]`");
}

/* --- parameters --- */

static bool decay(struct mm__parser *parser, struct mm__declarator *declarator) {
  const struct mm__type *type = mm__parser_type(parser, declarator->type.type);
  if (type->kind == MM__ARRAY)
    declarator->type.type = type->target;
  else if (type->kind != MM__FUNCTION)
    return true;
  return make_pointer(parser, &declarator->type, &declarator->at);
}

/* `only`: it is the only parameter, so `void` means that there is none. */
static bool parse_parameter(struct mm__parser *parser, struct mm__step *step, bool only) {
  struct mm__specifiers specifiers;
  struct mm__declarator declared;
  struct mm__attributes outer = parser->attributes;
  parser->attributes = (struct mm__attributes){0};
  if (!mm__parse_specifiers(parser, MM__IN_PARAMETER, &specifiers) ||
      !mm__parse_declarator(parser, MM__IN_PARAMETER, specifiers.type, &declared) ||
      !mm__parse_no_layout(parser, "a parameter") || !decay(parser, &declared))
    return false;
  parser->attributes = outer;
  bool is_void = mm__parser_type(parser, declared.type.type)->kind == MM__VOID;
  if (only && is_void && !declared.name && mm__parser_is(parser, ')')) return true;
  if (!mm__parser_complete(parser, declared.type.type, &declared.at)) return false;
  if (mm__parser_has(parser, step->first, declared.name))
    return mm__parser_fail(parser, &declared.at, "two parameters are called `%s`",
                           parser->store->strings + declared.name);
  if (step->count == PARAMETER_LIMIT)
    return mm__parser_fail(parser, &declared.at, "more than %u parameters", PARAMETER_LIMIT);
  step->count++;
  struct mm__member parameter = {declared.name, declared.type.type, 0};
  return mm__parser_push(parser, &parameter);
}

/* Behind the `(`. */
static bool parse_parameters(struct mm__parser *parser, struct mm__step *step) {
  step->kind = MM__FUNCTION;
  step->first = parser->member_count;
  if (mm__parser_take(parser, ')')) return true;
  do {
    step->variadic = step->count && mm__parser_take(parser, MM__SIGN_DOTS);
    if (step->variadic) break;
    if (!parse_parameter(parser, step, step->count == 0)) return false;
  } while (mm__parser_take(parser, ','));
  return mm__parser_need(parser, ')', "`,` or `)`");
}

/* --- declarators --- */

static bool parse_suffixes(struct mm__parser *parser, enum mm__where where, uint32_t base) {
  for (;;) {
    struct mm__step step = {.at = parser->token};
    bool good;
    if (mm__parser_take(parser, '[')) {
      step.decays = where == MM__IN_PARAMETER && parser->step_count == base;
      good = parse_array(parser, where, &step);
    } else if (mm__parser_take(parser, '(')) {
      good = mm__parser_enter(parser) && parse_parameters(parser, &step);
      mm__parser_leave(parser);
    } else {
      return true;
    }
    if (!good || !push_step(parser, &step)) return false;
  }
}

/* At a `(`: whether a declarator is in it, and not the parameters of a function without a name. */
static bool is_nested(struct mm__parser *parser, enum mm__where where, bool *nested) {
  struct mm__token in = mm__lexer_token(parser->text, parser->token.start + 1), then;
  *nested = true;
  if (where == MM__IN_FIELD || where == MM__IN_TYPEDEF) return true;
  bool starts;
  if (!mm__parse_starts_type(parser, &in, &starts)) return false;
  *nested = !starts && !(in.kind == MM__TOKEN_SIGN && (in.sign == ')' || in.sign == MM__SIGN_DOTS));
  if (starts || in.kind != MM__TOKEN_NAME || mm__lexer_keyword(parser->text + in.start, in.length))
    return true;
  then = mm__lexer_token(parser->text, in.start + in.length);
  if (then.kind == MM__TOKEN_NAME ||
      (then.kind == MM__TOKEN_SIGN && (then.sign == '*' || then.sign == ',')))
    return mm__parser_fail(parser, &in, "unknown type `%.*s`",
                           (int)(in.length < 200 ? in.length : 200), parser->text + in.start);
  return true;
}

static bool parse_direct(struct mm__parser *parser, enum mm__where where, uint32_t base,
                         struct mm__declarator *declarator);

/* Pushes steps from the name outwards; the pointers before a name come after what follows it. */
static bool parse_steps(struct mm__parser *parser, enum mm__where where, uint32_t base,
                        struct mm__declarator *declarator) {
  struct mm__token at[POINTER_LIMIT] = {{0}};
  bool is_const[POINTER_LIMIT] = {false};
  int count = 0;
  for (; mm__parser_is(parser, '*'); count++) {
    if (count == POINTER_LIMIT)
      return mm__parser_fail(parser, &parser->token, "nested more than %d deep", POINTER_LIMIT);
    at[count] = parser->token;
    mm__parser_next(parser);
    if (!mm__parse_qualifiers(parser, &is_const[count])) return false;
  }
  bool good = mm__parser_enter(parser) && parse_direct(parser, where, base, declarator);
  mm__parser_leave(parser);
  while (good && count--) {
    struct mm__step step = {.kind = MM__POINTER, .is_const = is_const[count], .at = at[count]};
    good = push_step(parser, &step);
  }
  return good;
}

static bool parse_direct(struct mm__parser *parser, enum mm__where where, uint32_t base,
                         struct mm__declarator *declarator) {
  bool nested = false;
  if (mm__parse_refused(parser)) return false;
  if (mm__parser_is(parser, '(') && !is_nested(parser, where, &nested)) return false;
  if (nested) {
    mm__parser_next(parser);
    if (!parse_steps(parser, where, base, declarator) || !mm__parser_need(parser, ')', "`)`"))
      return false;
  } else {
    declarator->at = parser->token;
    if (parser->token.kind == MM__TOKEN_NAME && !mm__parser_name(parser, &declarator->name))
      return false;
  }
  if (declarator->name == 0 && (where == MM__IN_FIELD || where == MM__IN_TYPEDEF))
    return mm__parser_expected(parser, "a name");
  return parse_suffixes(parser, where, base);
}

bool mm__parse_declarator(struct mm__parser *parser, enum mm__where where,
                          struct mm__qualified base, struct mm__declarator *declarator) {
  uint32_t first_step = parser->step_count, first_member = parser->member_count;
  *declarator = (struct mm__declarator){.type = base};
  if (!parse_steps(parser, where, first_step, declarator) || !mm__parse_attributes(parser) ||
      mm__parse_refused(parser))
    return false;
  while (parser->step_count > first_step) {
    struct mm__step step = parser->steps[--parser->step_count];
    bool is_outermost = parser->step_count == first_step;
    if (step.is_flexible && !is_outermost)
      return mm__parser_fail(parser, &step.at, "an array of arrays without a length");
    declarator->is_flexible = step.is_flexible;
    if (!apply(parser, &step, &declarator->type)) return false;
  }
  parser->member_count = first_member;
  return true;
}
