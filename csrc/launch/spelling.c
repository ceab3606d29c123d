/* launch/spelling.c - spells types inside out, as C does: each type puts its part around the
 * declarator, and hands the longer declarator to the type it is made of. Names are declared to the
 * builder when they are first met, those that are only pointed to when the prototype is spelled. */
#include "launch/spelling.h"

#include <dwarf.h>
#include <search.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "signature/lexer.h"

#define DEPTH_LIMIT 60u
#define WHY_BYTES   400

enum state { NEW, OPEN, DECLARED, REFUSED };

/* A typedef, struct, union or enum, by its DIE. */
struct named {
  const void *at;
  Dwarf_Die die;
  enum state state;
  bool is_pending;
  char *why; /* it was refused */
};

struct mm__spelling {
  struct mm__builder *builder;
  void *entries;          /* tsearch(3) */
  struct named **pending; /* pointed to by the prototype, or by those before in the list */
  uint32_t pending_count, pending_capacity;
  uint32_t depth;
  bool in_parameters; /* where C defines no types */
  int status;         /* MM_ERROR_MEMORY stays */
  char why[WHY_BYTES];
};

static char *spell(struct mm__spelling *spelling, Dwarf_Die *type, const char *declarator,
                   bool complete);

/* --- failures --- */

/* Always NULL. */
static char *refuse(struct mm__spelling *spelling, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static char *refuse(struct mm__spelling *spelling, const char *format, ...) {
  char why[WHY_BYTES]; /* an argument may be the old one */
  va_list list;
  va_start(list, format);
  vsnprintf(why, sizeof why, format, list);
  va_end(list);
  memcpy(spelling->why, why, sizeof why);
  return NULL;
}

static char *out_of_memory(struct mm__spelling *spelling) {
  spelling->status = MM_ERROR_MEMORY;
  return refuse(spelling, "out of memory");
}

static char *damaged(struct mm__spelling *spelling) {
  return refuse(spelling, "the debug information is damaged");
}

/* A new text. `consumed`, if not NULL, is freed. */
static char *text_of(struct mm__spelling *spelling, char *consumed, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static char *text_of(struct mm__spelling *spelling, char *consumed, const char *format, ...) {
  char *text;
  va_list list;
  va_start(list, format);
  int length = vasprintf(&text, format, list);
  va_end(list);
  free(consumed);
  return length < 0 ? out_of_memory(spelling) : text;
}

static char *join(struct mm__spelling *spelling, const char *words, const char *declarator) {
  return text_of(spelling, NULL, "%s%s%s", words, *declarator ? " " : "", declarator);
}

/* --- reading --- */

static bool is_usable(const char *name) {
  if (!name) return false;
  size_t length = strlen(name);
  struct mm__token token = mm__lexer_token(name, 0);
  return token.kind == MM__TOKEN_NAME && token.length == length && !mm__lexer_keyword(name, length);
}

/* False: damaged. A type that is not there is void, and has no address. */
static bool type_of(struct mm__spelling *spelling, Dwarf_Die *die, Dwarf_Die *type) {
  Dwarf_Attribute attribute;
  memset(type, 0, sizeof *type);
  if (!dwarf_attr_integrate(die, DW_AT_type, &attribute)) return true;
  if (!dwarf_formref_die(&attribute, type)) return damaged(spelling) != NULL;
  /* A declaration that stands for a type unit. */
  if (dwarf_attr(type, DW_AT_signature, &attribute) && !dwarf_formref_die(&attribute, type))
    return damaged(spelling) != NULL;
  return true;
}

static int tag_of(Dwarf_Die *type) { return type->addr ? dwarf_tag(type) : 0; }

static bool is_aggregate(int tag) {
  return tag == DW_TAG_structure_type || tag == DW_TAG_class_type || tag == DW_TAG_union_type;
}

static bool is_qualifier(int tag) {
  return tag == DW_TAG_const_type || tag == DW_TAG_volatile_type || tag == DW_TAG_restrict_type;
}

static bool is_pointer(int tag) {
  return tag == DW_TAG_pointer_type || tag == DW_TAG_reference_type ||
         tag == DW_TAG_rvalue_reference_type;
}

/* The tag of the type without its qualifiers. */
static int bare_tag(struct mm__spelling *spelling, const Dwarf_Die *type) {
  Dwarf_Die at = *type;
  for (uint32_t i = 0; i < DEPTH_LIMIT && is_qualifier(tag_of(&at)); i++) {
    Dwarf_Die next;
    if (!type_of(spelling, &at, &next)) return 0;
    at = next;
  }
  return tag_of(&at);
}

static const char *word_of(int tag) { return tag == DW_TAG_union_type ? "union" : "struct"; }

/* --- what was met before --- */

static int compare(const void *a, const void *b) {
  const char *left = ((const struct named *)a)->at, *right = ((const struct named *)b)->at;
  return (left > right) - (left < right);
}

static struct named *entry_of(struct mm__spelling *spelling, const Dwarf_Die *die) {
  struct named *entry = calloc(1, sizeof *entry);
  if (entry) *entry = (struct named){.at = die->addr, .die = *die};
  struct named **found = entry ? tsearch(entry, &spelling->entries, compare) : NULL;
  if (!found || *found != entry) free(entry);
  if (found) return *found;
  out_of_memory(spelling);
  return NULL;
}

static void free_entry(void *entry) {
  free(((struct named *)entry)->why);
  free(entry);
}

/* Ends what began when the entry became OPEN. `text` is consumed, NULL: it was refused. */
static void declare(struct mm__spelling *spelling, struct named *entry, char *text) {
  struct mm_error error;
  int status = text ? mm__builder_declare(spelling->builder, text, &error) : MM_OK;
  if (status != MM_OK) refuse(spelling, "%s", error.message);
  if (status == MM_ERROR_MEMORY) spelling->status = status;
  entry->state = text && status == MM_OK ? DECLARED : REFUSED;
  free(text);
  if (entry->state == REFUSED && !(entry->why = strdup(spelling->why))) out_of_memory(spelling);
}

/* Says why an entry cannot be used; true: it can. */
static bool is_declared(struct mm__spelling *spelling, const struct named *entry) {
  const char *name = dwarf_diename((Dwarf_Die *)&entry->die);
  if (entry->state == OPEN)
    refuse(spelling, "`%s` contains itself", name ? name : "a type without a name");
  if (entry->state == REFUSED) refuse(spelling, "%s", entry->why ? entry->why : "out of memory");
  return entry->state == DECLARED;
}

static bool add_pending(struct mm__spelling *spelling, struct named *entry) {
  if (entry->is_pending || dwarf_hasattr(&entry->die, DW_AT_declaration)) return true;
  if (spelling->pending_count == spelling->pending_capacity) {
    uint32_t capacity = spelling->pending_capacity ? 2 * spelling->pending_capacity : 64;
    struct named **larger = realloc(spelling->pending, capacity * sizeof(struct named *));
    if (!larger) return out_of_memory(spelling) != NULL;
    spelling->pending = larger;
    spelling->pending_capacity = capacity;
  }
  entry->is_pending = true;
  spelling->pending[spelling->pending_count++] = entry;
  return true;
}

/* --- types without names --- */

/* By its size and encoding: the names differ from compiler to compiler. DWARF 5, 7.8. */
static char *spell_base(struct mm__spelling *spelling, Dwarf_Die *type, const char *declarator) {
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
    return damaged(spelling);
  for (size_t i = 0; i < sizeof table / sizeof *table; i++)
    if (table[i].encoding == encoding && table[i].size == size && strstr(name, table[i].hint))
      return join(spelling, table[i].words, declarator);
  return refuse(spelling, "`%s` is not supported", name);
}

static char *spell_pointer(struct mm__spelling *spelling, Dwarf_Die *type, const char *declarator) {
  Dwarf_Die target;
  if (!type_of(spelling, type, &target)) return NULL;
  int tag = bare_tag(spelling, &target);
  bool wraps = tag == DW_TAG_array_type || tag == DW_TAG_subroutine_type;
  char *inner = text_of(spelling, NULL, wraps ? "(*%s)" : "*%s", declarator);
  char *text = inner ? spell(spelling, &target, inner, false) : NULL;
  free(inner);
  return text;
}

/* Only const means something here. It stands before all but a pointer. */
static char *spell_qualified(struct mm__spelling *spelling, Dwarf_Die *type, const char *declarator,
                             bool complete) {
  Dwarf_Die next;
  if (!type_of(spelling, type, &next)) return NULL;
  if (dwarf_tag(type) != DW_TAG_const_type || bare_tag(spelling, &next) == DW_TAG_subroutine_type)
    return spell(spelling, &next, declarator, complete);
  if (!is_pointer(bare_tag(spelling, &next))) {
    char *text = spell(spelling, &next, declarator, complete);
    return text ? text_of(spelling, text, "const %s", text) : NULL;
  }
  char *inner = text_of(spelling, NULL, "const %s", declarator);
  char *text = inner ? spell(spelling, &next, inner, complete) : NULL;
  free(inner);
  return text;
}

/* One dimension, "[3]" or "[]". */
static char *add_dimension(struct mm__spelling *spelling, Dwarf_Die *range, char *declarator) {
  Dwarf_Attribute attribute;
  Dwarf_Sword number;
  bool is_count = dwarf_attr(range, DW_AT_count, &attribute) != NULL;
  if (!is_count && !dwarf_attr(range, DW_AT_upper_bound, &attribute))
    return text_of(spelling, declarator, "%s[]", declarator);
  if (dwarf_formsdata(&attribute, &number) != 0) {
    free(declarator);
    return refuse(spelling, "an array whose length varies is not supported");
  }
  /* The largest upper bound stands for -1, that of an array without elements. */
  uint64_t length = (uint64_t)number + (is_count ? 0 : 1);
  return text_of(spelling, declarator, "%s[%lu]", declarator, length);
}

static char *spell_array(struct mm__spelling *spelling, Dwarf_Die *type, const char *declarator) {
  Dwarf_Die element, range;
  char *inner = text_of(spelling, NULL, "%s", declarator), *text = NULL;
  for (int more = dwarf_child(type, &range); more == 0 && inner;
       more = dwarf_siblingof(&range, &range))
    if (dwarf_tag(&range) == DW_TAG_subrange_type) inner = add_dimension(spelling, &range, inner);
  if (inner && dwarf_hasattr(type, DW_AT_GNU_vector))
    refuse(spelling, "vector types are not supported");
  else if (inner && type_of(spelling, type, &element))
    text = spell(spelling, &element, inner, true);
  free(inner);
  return text;
}

/* --- functions --- */

static char *spell_parameter(struct mm__spelling *spelling, Dwarf_Die *parameter) {
  const char *name = dwarf_diename(parameter);
  Dwarf_Die type;
  if (!type_of(spelling, parameter, &type)) return NULL;
  return spell(spelling, &type, is_usable(name) ? name : "", true);
}

static char *spell_parameters(struct mm__spelling *spelling, Dwarf_Die *function) {
  char *list = text_of(spelling, NULL, "%s", "");
  Dwarf_Die child;
  for (int more = dwarf_child(function, &child); more == 0 && list;
       more = dwarf_siblingof(&child, &child)) {
    int tag = dwarf_tag(&child);
    if (tag != DW_TAG_formal_parameter && tag != DW_TAG_unspecified_parameters) continue;
    bool is_dots = tag == DW_TAG_unspecified_parameters;
    if (is_dots && !*list) continue; /* int f() */
    char *one = is_dots ? text_of(spelling, NULL, "...") : spell_parameter(spelling, &child);
    if (!one) {
      free(list);
      return NULL;
    }
    list = text_of(spelling, list, "%s%s%s", list, *list ? ", " : "", one);
    free(one);
  }
  return list && !*list ? text_of(spelling, list, "void") : list;
}

static char *spell_function(struct mm__spelling *spelling, Dwarf_Die *function,
                            const char *declarator) {
  bool outer = spelling->in_parameters;
  Dwarf_Die result;
  if (!type_of(spelling, function, &result)) return NULL;
  spelling->in_parameters = true;
  char *parameters = spell_parameters(spelling, function);
  spelling->in_parameters = outer;
  if (!parameters) return NULL;
  char *inner = text_of(spelling, parameters, "%s(%s)", declarator, parameters);
  char *text = inner ? spell(spelling, &result, inner, true) : NULL;
  free(inner);
  return text;
}

/* --- structs and unions --- */

static char *spell_field(struct mm__spelling *spelling, Dwarf_Die *field) {
  const char *name = dwarf_diename(field);
  Dwarf_Attribute attribute;
  Dwarf_Word bits;
  Dwarf_Die type;
  char *declarator, *text;
  if (name && !is_usable(name)) return refuse(spelling, "no field can be called `%s`", name);
  if (!type_of(spelling, field, &type)) return NULL;
  if (!dwarf_attr(field, DW_AT_bit_size, &attribute))
    declarator = text_of(spelling, NULL, "%s", name ? name : "");
  else if (dwarf_formudata(&attribute, &bits) == 0)
    declarator = text_of(spelling, NULL, "%s : %lu", name ? name : "", bits);
  else
    return damaged(spelling);
  text = declarator ? spell(spelling, &type, declarator, true) : NULL;
  free(declarator);
  return text;
}

/* "{ int a; int b; }" */
static char *spell_fields(struct mm__spelling *spelling, Dwarf_Die *aggregate) {
  char *fields = text_of(spelling, NULL, "%s", "");
  Dwarf_Die child;
  for (int more = dwarf_child(aggregate, &child); more == 0 && fields;
       more = dwarf_siblingof(&child, &child)) {
    int tag = dwarf_tag(&child);
    char *field = NULL;
    bool is_field = tag == DW_TAG_member && !dwarf_hasattr(&child, DW_AT_external) &&
                    !dwarf_hasattr(&child, DW_AT_declaration);
    if (tag == DW_TAG_inheritance || tag == DW_TAG_variant_part)
      refuse(spelling, "it has more in it than fields");
    else if (is_field)
      field = spell_field(spelling, &child);
    else
      continue;
    if (field)
      fields = text_of(spelling, fields, "%s%s; ", fields, field);
    else
      free(fields), fields = NULL;
    free(field);
  }
  return fields ? text_of(spelling, fields, "{ %s}", fields) : NULL;
}

/* "struct point { ... }", or what it would be refused for. */
static char *spell_definition(struct mm__spelling *spelling, Dwarf_Die *aggregate) {
  const char *word = word_of(dwarf_tag(aggregate)), *name = dwarf_diename(aggregate);
  const char *tag = name ? name : "without a name", *wrong = NULL;
  Dwarf_Attribute attribute;
  Dwarf_Word convention = 0;
  if (dwarf_attr(aggregate, DW_AT_calling_convention, &attribute))
    dwarf_formudata(&attribute, &convention);
  if (dwarf_hasattr(aggregate, DW_AT_declaration))
    wrong = "what is in it is not known where it is used";
  else if (convention == DW_CC_pass_by_reference)
    wrong = "it is not passed as C passes structs";
  else
    wrong = mm__layout_wrong(aggregate);
  if (wrong) return refuse(spelling, "`%s %s`: %s", word, tag, wrong);
  char *fields = spell_fields(spelling, aggregate);
  if (!fields) return refuse(spelling, "`%s %s`: %s", word, tag, spelling->why);
  return text_of(spelling, fields, "%s %s%s%s", word, name ? name : "", name ? " " : "", fields);
}

/* Declares what is in a struct or union with a tag. */
static bool define(struct mm__spelling *spelling, struct named *entry) {
  if (entry->state == NEW) {
    bool outer = spelling->in_parameters;
    entry->state = OPEN;
    spelling->in_parameters = false;
    char *text = spell_definition(spelling, &entry->die);
    declare(spelling, entry, text ? text_of(spelling, text, "%s;", text) : NULL);
    spelling->in_parameters = outer;
  }
  return is_declared(spelling, entry);
}

/* Without a tag it is defined where it is used. */
static char *spell_untagged(struct mm__spelling *spelling, Dwarf_Die *aggregate,
                            const char *declarator) {
  struct named *entry = entry_of(spelling, aggregate);
  if (!entry) return NULL;
  if (spelling->in_parameters)
    return refuse(spelling, "a struct or union without a name cannot be in a prototype");
  if (entry->state != NEW && !is_declared(spelling, entry)) return NULL;
  entry->state = OPEN;
  char *text = spell_definition(spelling, aggregate);
  entry->state = text ? DECLARED : REFUSED;
  if (!text && !(entry->why = strdup(spelling->why))) return out_of_memory(spelling);
  return text ? text_of(spelling, text, "%s%s%s", text, *declarator ? " " : "", declarator) : NULL;
}

/* What is only pointed to and has no name in C is void. */
static char *spell_aggregate(struct mm__spelling *spelling, Dwarf_Die *type, const char *declarator,
                             bool complete) {
  const char *word = word_of(dwarf_tag(type)), *name = dwarf_diename(type);
  if (is_usable(name)) {
    struct named *entry = entry_of(spelling, type);
    if (!entry || !(complete ? define(spelling, entry) : add_pending(spelling, entry))) return NULL;
    return text_of(spelling, NULL, "%s %s%s%s", word, name, *declarator ? " " : "", declarator);
  }
  char *text = name ? refuse(spelling, "`%s` is not a name in C", name)
                    : spell_untagged(spelling, type, declarator);
  return text || complete ? text : join(spelling, "void", declarator);
}

/* --- enums --- */

static bool constant_of(Dwarf_Die *enumerator, int64_t *value) {
  Dwarf_Attribute attribute;
  Dwarf_Word word;
  Dwarf_Sword number;
  if (!dwarf_attr(enumerator, DW_AT_const_value, &attribute)) return false;
  unsigned form = dwarf_whatform(&attribute);
  if (form == DW_FORM_sdata || form == DW_FORM_implicit_const) {
    if (dwarf_formsdata(&attribute, &number) != 0) return false;
    *value = number;
    return true;
  }
  if (dwarf_formudata(&attribute, &word) != 0 || word > INT64_MAX) return false;
  *value = (int64_t)word;
  return true;
}

/* "enum color { RED = 1, GREEN = 2 }". NULL: the constants do not say all. */
static char *spell_constants(struct mm__spelling *spelling, Dwarf_Die *type) {
  const char *name = dwarf_diename(type);
  char *text = text_of(spelling, NULL, "enum %s%s{", name ? name : "", name ? " " : "");
  int64_t low = 0, high = 0;
  bool good = !dwarf_hasattr(type, DW_AT_declaration);
  Dwarf_Die child;
  for (int more = dwarf_child(type, &child); more == 0 && text && good;
       more = dwarf_siblingof(&child, &child)) {
    int64_t value;
    if (dwarf_tag(&child) != DW_TAG_enumerator) continue;
    good = constant_of(&child, &value) && is_usable(dwarf_diename(&child));
    if (!good) break;
    low = value < low ? value : low;
    high = value > high ? value : high;
    text = text_of(spelling, text, "%s %s = %ld,", text, dwarf_diename(&child), value);
  }
  bool is_wide = low < INT32_MIN || high > (low < 0 ? INT32_MAX : (int64_t)UINT32_MAX);
  if (text && good && dwarf_bytesize(type) == (is_wide ? 8 : 4))
    return text_of(spelling, text, "%s }", text);
  free(text);
  return refuse(spelling, "an enum that C cannot spell");
}

static char *spell_integer(struct mm__spelling *spelling, Dwarf_Die *type, const char *declarator) {
  static const char *const words[] = {
      [1] = "unsigned char", [2] = "unsigned short", [4] = "unsigned int", [8] = "unsigned long"};
  Dwarf_Die integer;
  int size = dwarf_bytesize(type);
  if (!type_of(spelling, type, &integer)) return NULL;
  if (integer.addr) return spell(spelling, &integer, declarator, true);
  if (size < 1 || size > 8 || !words[size]) return refuse(spelling, "an enum without a size");
  return join(spelling, words[size], declarator);
}

/* An enum that cannot be declared is the integer that it is. */
static char *spell_enum(struct mm__spelling *spelling, Dwarf_Die *type, const char *declarator) {
  const char *name = dwarf_diename(type);
  if (!name && !spelling->in_parameters) {
    char *text = spell_constants(spelling, type);
    if (text) return text_of(spelling, text, "%s%s%s", text, *declarator ? " " : "", declarator);
  }
  if (is_usable(name)) {
    struct named *entry = entry_of(spelling, type);
    if (!entry) return NULL;
    if (entry->state == NEW) {
      char *text = spell_constants(spelling, type);
      declare(spelling, entry, text ? text_of(spelling, text, "%s;", text) : NULL);
    }
    if (entry->state == DECLARED)
      return text_of(spelling, NULL, "enum %s%s%s", name, *declarator ? " " : "", declarator);
  }
  return spell_integer(spelling, type, declarator);
}

/* --- typedefs --- */

/* A typedef is declared without what it points to; by value it wants that, too. */
static bool complete_target(struct mm__spelling *spelling, const Dwarf_Die *type) {
  Dwarf_Die at = *type;
  for (uint32_t i = 0; i < DEPTH_LIMIT; i++) {
    Dwarf_Die next;
    if (is_aggregate(tag_of(&at))) {
      struct named *entry = entry_of(spelling, &at);
      bool has_tag = dwarf_diename(&at) != NULL;
      return entry && (has_tag ? define(spelling, entry) : is_declared(spelling, entry));
    }
    if (tag_of(&at) != DW_TAG_typedef && !is_qualifier(tag_of(&at))) return true;
    if (!type_of(spelling, &at, &next)) return false;
    at = next;
  }
  return damaged(spelling) != NULL;
}

static char *spell_typedef(struct mm__spelling *spelling, Dwarf_Die *type, const char *declarator,
                           bool complete) {
  const char *name = dwarf_diename(type);
  Dwarf_Die target;
  if (!type_of(spelling, type, &target)) return NULL;
  if (!is_usable(name)) return spell(spelling, &target, declarator, complete);
  struct named *entry = entry_of(spelling, type);
  if (!entry) return NULL;
  if (entry->state == NEW) {
    bool outer = spelling->in_parameters;
    entry->state = OPEN;
    spelling->in_parameters = false;
    char *text = spell(spelling, &target, name, false);
    declare(spelling, entry, text ? text_of(spelling, text, "typedef %s;", text) : NULL);
    spelling->in_parameters = outer;
  }
  if (!is_declared(spelling, entry) || (complete && !complete_target(spelling, &target)))
    return NULL;
  return join(spelling, name, declarator);
}

/* --- any type --- */

static char *spell_tag(struct mm__spelling *spelling, Dwarf_Die *type, const char *declarator,
                       bool complete) {
  int tag = tag_of(type);
  if (is_aggregate(tag)) return spell_aggregate(spelling, type, declarator, complete);
  if (is_qualifier(tag)) return spell_qualified(spelling, type, declarator, complete);
  if (is_pointer(tag)) return spell_pointer(spelling, type, declarator);
  switch (tag) {
  case 0:
    return join(spelling, "void", declarator);
  case DW_TAG_unspecified_type: /* C++: decltype(nullptr) */
    return text_of(spelling, NULL, "void *%s", declarator);
  case DW_TAG_base_type:
    return spell_base(spelling, type, declarator);
  case DW_TAG_array_type:
    return spell_array(spelling, type, declarator);
  case DW_TAG_subroutine_type:
    return spell_function(spelling, type, declarator);
  case DW_TAG_enumeration_type:
    return spell_enum(spelling, type, declarator);
  case DW_TAG_typedef:
    return spell_typedef(spelling, type, declarator, complete);
  case DW_TAG_atomic_type:
    return refuse(spelling, "`_Atomic` is not supported");
  default:
    return refuse(spelling, "a type that C does not have (DWARF tag 0x%x)", (unsigned)tag);
  }
}

/* The declaration of `declarator` as being of that type, which the caller frees. `complete`: what
 * is in the type has to be known. NULL: `why` says why not. */
static char *spell(struct mm__spelling *spelling, Dwarf_Die *type, const char *declarator,
                   bool complete) {
  if (spelling->depth == DEPTH_LIMIT)
    return refuse(spelling, "a type is nested more than %u deep", DEPTH_LIMIT);
  spelling->depth++;
  char *text = spell_tag(spelling, type, declarator, complete);
  spelling->depth--;
  return text;
}

/* --- the whole --- */

struct mm__spelling *mm__spelling_new(struct mm__builder *builder) {
  struct mm__spelling *spelling = calloc(1, sizeof *spelling);
  if (spelling) spelling->builder = builder;
  return spelling;
}

void mm__spelling_free(struct mm__spelling *spelling) {
  if (!spelling) return;
  tdestroy(spelling->entries, free_entry);
  free(spelling->pending);
  free(spelling);
}

/* Whether the registry knows what is in a struct or union of that name. */
static bool is_known(struct mm__spelling *spelling, Dwarf_Die *aggregate) {
  struct mm__registry view;
  uint8_t kind = dwarf_tag(aggregate) == DW_TAG_union_type ? MM__UNION : MM__STRUCT;
  if (mm__builder_view(spelling->builder, &view, NULL) != MM_OK) return true;
  for (uint32_t i = 0; i < view.type_count; i++)
    if (view.types[i].kind == kind && !(view.types[i].flags & MM__TYPE_INCOMPLETE) &&
        strcmp(view.strings + view.types[i].name, dwarf_diename(aggregate)) == 0)
      return true;
  return false;
}

/* What is pointed to may stay opaque, unless its name means something else already. */
static bool define_pending(struct mm__spelling *spelling) {
  bool good = true;
  for (uint32_t i = 0; i < spelling->pending_count; i++) {
    struct named *entry = spelling->pending[i];
    good = good && (define(spelling, entry) || !is_known(spelling, &entry->die)) &&
           spelling->status == MM_OK;
    entry->is_pending = false;
  }
  spelling->pending_count = 0;
  return good;
}

int mm__spelling_prototype(struct mm__spelling *spelling, Dwarf_Die *function, const char *name,
                           char **prototype, struct mm_error *error) {
  *prototype = spell_function(spelling, function, name);
  if (define_pending(spelling) && *prototype && spelling->status == MM_OK) return MM_OK;
  free(*prototype);
  *prototype = NULL;
  int status = spelling->status == MM_OK ? MM_ERROR_PROTOTYPE : spelling->status;
  return mm__fail(error, status, "%s", spelling->why);
}
