/* launch/spelling/plain.c - types that need no name: base types, pointers, qualifiers, arrays,
 * functions. */
#include "launch/spelling/parts.h"

#include <stdlib.h>
#include <string.h>

/* By its size and encoding: the names differ from compiler to compiler. DWARF 5, 7.8. */
char *mm__spell_base(struct mm__spelling *spelling, Dwarf_Die *type, const char *declarator) {
  static const struct {
    unsigned encoding;
    int size;
    const char *hint, *words; /* `hint` must be in the name */
  } table[] = {{DW_ATE_boolean, 1, "", "bool"},
               {DW_ATE_signed_char, 1, "signed", "signed char"},
               {DW_ATE_signed_char, 1, "", "char"},
               {DW_ATE_unsigned_char, 1, "", "unsigned char"},
               {DW_ATE_signed, 1, "", "signed char"},
               {DW_ATE_signed, 2, "", "short"},
               {DW_ATE_signed, 4, "", "int"},
               {DW_ATE_signed, 8, "long long", "long long"},
               {DW_ATE_signed, 8, "", "long"},
               {DW_ATE_unsigned, 1, "", "unsigned char"},
               {DW_ATE_unsigned, 2, "", "unsigned short"},
               {DW_ATE_unsigned, 4, "", "unsigned int"},
               {DW_ATE_unsigned, 8, "long long", "unsigned long long"},
               {DW_ATE_unsigned, 8, "", "unsigned long"},
               {DW_ATE_UTF, 1, "", "unsigned char"},
               {DW_ATE_UTF, 2, "", "unsigned short"},
               {DW_ATE_UTF, 4, "", "unsigned int"},
               {DW_ATE_float, 4, "", "float"},
               {DW_ATE_float, 8, "", "double"},
               {DW_ATE_float, 16, "long double", "long double"},
               {DW_ATE_complex_float, 8, "", "float _Complex"},
               {DW_ATE_complex_float, 16, "", "double _Complex"},
               {DW_ATE_complex_float, 32, "long double", "long double _Complex"}};
  const char *name = dwarf_diename(type);
  Dwarf_Attribute attribute;
  Dwarf_Word encoding = 0;
  int size = dwarf_bytesize(type);
  if (!name) name = "";
  if (!dwarf_attr(type, DW_AT_encoding, &attribute) || dwarf_formudata(&attribute, &encoding) != 0)
    return mm__spelling_damaged(spelling);
  for (size_t i = 0; i < sizeof table / sizeof *table; i++)
    if (table[i].encoding == encoding && table[i].size == size && strstr(name, table[i].hint))
      return mm__spelling_join(spelling, table[i].words, declarator);
  return mm__spelling_refuse(spelling, "`%s` is not supported", name);
}

char *mm__spell_pointer(struct mm__spelling *spelling, Dwarf_Die *type, const char *declarator) {
  Dwarf_Die target;
  if (!mm__dwarf_type(spelling, type, &target)) return NULL;
  int tag = mm__dwarf_bare_tag(spelling, &target);
  bool wraps = tag == DW_TAG_array_type || tag == DW_TAG_subroutine_type;
  char *inner = mm__spelling_text(spelling, NULL, wraps ? "(*%s)" : "*%s", declarator);
  char *text = inner ? mm__spell(spelling, &target, inner, false) : NULL;
  free(inner);
  return text;
}

/* Only const means something here. It stands before all but a pointer. */
char *mm__spell_qualified(struct mm__spelling *spelling, Dwarf_Die *type, const char *declarator,
                          bool complete) {
  Dwarf_Die next;
  if (!mm__dwarf_type(spelling, type, &next)) return NULL;
  if (dwarf_tag(type) != DW_TAG_const_type ||
      mm__dwarf_bare_tag(spelling, &next) == DW_TAG_subroutine_type)
    return mm__spell(spelling, &next, declarator, complete);
  if (!mm__dwarf_is_pointer(mm__dwarf_bare_tag(spelling, &next))) {
    char *text = mm__spell(spelling, &next, declarator, complete);
    return text ? mm__spelling_text(spelling, text, "const %s", text) : NULL;
  }
  char *inner = mm__spelling_text(spelling, NULL, "const %s", declarator);
  char *text = inner ? mm__spell(spelling, &next, inner, complete) : NULL;
  free(inner);
  return text;
}

/* One dimension, "[3]" or "[]". */
static char *add_dimension(struct mm__spelling *spelling, Dwarf_Die *range, char *declarator) {
  Dwarf_Attribute attribute;
  Dwarf_Sword number;
  bool is_count = dwarf_attr(range, DW_AT_count, &attribute) != NULL;
  if (!is_count && !dwarf_attr(range, DW_AT_upper_bound, &attribute))
    return mm__spelling_text(spelling, declarator, "%s[]", declarator);
  if (dwarf_formsdata(&attribute, &number) != 0) {
    free(declarator);
    return mm__spelling_refuse(spelling, "an array whose length varies is not supported");
  }
  /* The largest upper bound stands for -1, that of an array without elements. */
  uint64_t length = (uint64_t)number + (is_count ? 0 : 1);
  return mm__spelling_text(spelling, declarator, "%s[%lu]", declarator, length);
}

char *mm__spell_array(struct mm__spelling *spelling, Dwarf_Die *type, const char *declarator) {
  Dwarf_Die element, range;
  char *inner = mm__spelling_text(spelling, NULL, "%s", declarator), *text = NULL;
  for (int more = dwarf_child(type, &range); more == 0 && inner;
       more = dwarf_siblingof(&range, &range))
    if (dwarf_tag(&range) == DW_TAG_subrange_type) inner = add_dimension(spelling, &range, inner);
  if (inner && dwarf_hasattr(type, DW_AT_GNU_vector))
    mm__spelling_refuse(spelling, "vector types are not supported");
  else if (inner && mm__dwarf_type(spelling, type, &element))
    text = mm__spell(spelling, &element, inner, true);
  free(inner);
  return text;
}

/* --- functions --- */

static char *spell_parameter(struct mm__spelling *spelling, Dwarf_Die *parameter) {
  const char *name = dwarf_diename(parameter);
  Dwarf_Die type;
  if (!mm__dwarf_type(spelling, parameter, &type)) return NULL;
  return mm__spell(spelling, &type, mm__dwarf_is_name(name) ? name : "", true);
}

static char *spell_parameters(struct mm__spelling *spelling, Dwarf_Die *function) {
  char *list = mm__spelling_text(spelling, NULL, "%s", "");
  Dwarf_Die child;
  for (int more = dwarf_child(function, &child); more == 0 && list;
       more = dwarf_siblingof(&child, &child)) {
    int tag = dwarf_tag(&child);
    if (tag != DW_TAG_formal_parameter && tag != DW_TAG_unspecified_parameters) continue;
    bool is_dots = tag == DW_TAG_unspecified_parameters;
    if (is_dots && !*list) continue; /* int f() */
    char *one =
        is_dots ? mm__spelling_text(spelling, NULL, "...") : spell_parameter(spelling, &child);
    if (!one) {
      free(list);
      return NULL;
    }
    list = mm__spelling_text(spelling, list, "%s%s%s", list, *list ? ", " : "", one);
    free(one);
  }
  return list && !*list ? mm__spelling_text(spelling, list, "void") : list;
}

char *mm__spell_function(struct mm__spelling *spelling, Dwarf_Die *function,
                         const char *declarator) {
  bool outer = spelling->in_parameters;
  Dwarf_Die result;
  if (!mm__dwarf_type(spelling, function, &result)) return NULL;
  spelling->in_parameters = true;
  char *parameters = spell_parameters(spelling, function);
  spelling->in_parameters = outer;
  if (!parameters) return NULL;
  char *inner = mm__spelling_text(spelling, parameters, "%s(%s)", declarator, parameters);
  char *text = inner ? mm__spell(spelling, &result, inner, true) : NULL;
  free(inner);
  return text;
}
