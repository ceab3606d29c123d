/* launch/spelling/aggregate.c - structs and unions: defined once by their tag, or where
 * they are used. */
#include "launch/spelling/parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *word_of(int tag) { return tag == DW_TAG_union_type ? "union" : "struct"; }

static char *spell_field(struct mm__spelling *spelling, Dwarf_Die *field) {
  const char *name = dwarf_diename(field);
  Dwarf_Attribute attribute;
  Dwarf_Word bits;
  Dwarf_Die type;
  char *declarator, *text;
  if (name && !mm__dwarf_is_name(name))
    return mm__spelling_refuse(spelling, "no field can be called `%s`", name);
  if (!mm__dwarf_type(spelling, field, &type)) return NULL;
  if (!dwarf_attr(field, DW_AT_bit_size, &attribute))
    declarator = mm__spelling_text(spelling, NULL, "%s", name ? name : "");
  else if (dwarf_formudata(&attribute, &bits) == 0)
    declarator = mm__spelling_text(spelling, NULL, "%s : %lu", name ? name : "", bits);
  else
    return mm__spelling_damaged(spelling);
  text = declarator ? mm__spell(spelling, &type, declarator, true) : NULL;
  free(declarator);
  return text;
}

/* So many bits without a name, up to the bit number `to`, behind `fields`. */
static char *spell_filling(struct mm__spelling *spelling, char *fields, uint32_t bits,
                           uint64_t to) {
  uint64_t at = to - bits;
  while (at < to && fields) {
    uint64_t width = 8 - at % 8 < to - at ? 8 - at % 8 : to - at;
    fields = mm__spelling_text(spelling, fields, "%sunsigned char : %lu; ", fields, width);
    at += width;
  }
  return fields;
}

static char *spell_placed(struct mm__spelling *spelling, Dwarf_Die *field,
                          const struct mm__placed *placed) {
  char *text = spell_field(spelling, field);
  if (!text || !placed->aligned) return text;
  return mm__spelling_text(spelling, text, "%s __attribute__((aligned(%u)))", text,
                           placed->aligned);
}

/* "{ int a; int b; }" */
static char *spell_fields(struct mm__spelling *spelling, Dwarf_Die *aggregate,
                          const struct mm__layout *layout) {
  char *fields = mm__spelling_text(spelling, NULL, "%s", "");
  const struct mm__placed *placed = layout->fields;
  Dwarf_Die child;
  for (int more = dwarf_child(aggregate, &child); more == 0 && fields;
       more = dwarf_siblingof(&child, &child)) {
    int tag = dwarf_tag(&child);
    char *field = NULL;
    if (tag == DW_TAG_inheritance || tag == DW_TAG_variant_part)
      mm__spelling_refuse(spelling, "it has more in it than fields");
    else if (mm__layout_has(&child))
      field = spell_placed(spelling, &child, placed);
    else
      continue;
    if (field) fields = spell_filling(spelling, fields, placed->filling, placed->place);
    if (field && fields)
      fields = mm__spelling_text(spelling, fields, "%s%s; ", fields, field);
    else
      free(fields), fields = NULL;
    free(field);
    placed++;
  }
  if (fields)
    fields = spell_filling(spelling, fields, layout->whole.filling, layout->whole.bytes * 8);
  return fields ? mm__spelling_text(spelling, fields, "{ %s}", fields) : NULL;
}

/* " __attribute__((packed, aligned(4)))" */
static char *spell_attributes(struct mm__spelling *spelling, const struct mm__placement *whole) {
  char aligned[40] = "";
  const char *packed = whole->is_packed ? "packed" : "";
  if (!whole->is_packed && !whole->aligned) return mm__spelling_text(spelling, NULL, "%s", "");
  if (whole->aligned)
    snprintf(aligned, sizeof aligned, "%saligned(%u)", *packed ? ", " : "", whole->aligned);
  return mm__spelling_text(spelling, NULL, " __attribute__((%s%s))", packed, aligned);
}

static char *spell_body(struct mm__spelling *spelling, Dwarf_Die *aggregate,
                        const struct mm__layout *layout) {
  const char *word = word_of(dwarf_tag(aggregate)), *name = dwarf_diename(aggregate);
  char *fields = spell_fields(spelling, aggregate, layout);
  if (!fields)
    return mm__spelling_refuse(spelling, "`%s %s`: %s", word, name ? name : "without a name",
                               spelling->why);
  char *attributes = spell_attributes(spelling, &layout->whole);
  if (attributes)
    fields = mm__spelling_text(spelling, fields, "%s%s %s%s%s", word, attributes, name ? name : "",
                               name ? " " : "", fields);
  else
    free(fields), fields = NULL;
  free(attributes);
  return fields;
}

/* "struct point { ... }", or what it would be refused for. */
static char *spell_definition(struct mm__spelling *spelling, Dwarf_Die *aggregate) {
  const char *name = dwarf_diename(aggregate), *wrong = NULL;
  struct mm__layout layout = {.count = 0};
  Dwarf_Attribute attribute;
  Dwarf_Word convention = 0;
  if (dwarf_attr(aggregate, DW_AT_calling_convention, &attribute))
    dwarf_formudata(&attribute, &convention);
  if (dwarf_hasattr(aggregate, DW_AT_declaration))
    wrong = "what is in it is not known where it is used";
  else if (convention == DW_CC_pass_by_reference)
    wrong = "it is not passed as C passes structs";
  else
    wrong = mm__layout_of(aggregate, &layout);
  char *text = wrong ? mm__spelling_refuse(spelling, "`%s %s`: %s", word_of(dwarf_tag(aggregate)),
                                           name ? name : "without a name", wrong)
                     : spell_body(spelling, aggregate, &layout);
  free(layout.fields);
  return text;
}

bool mm__aggregate_define(struct mm__spelling *spelling, struct mm__named *entry) {
  if (entry->state == MM__NAMED_NEW) {
    bool outer = spelling->in_parameters;
    entry->state = MM__NAMED_OPEN;
    spelling->in_parameters = false;
    char *text = spell_definition(spelling, &entry->die);
    mm__named_declare(spelling, entry,
                      text ? mm__spelling_text(spelling, text, "%s;", text) : NULL);
    spelling->in_parameters = outer;
  }
  return mm__named_is_declared(spelling, entry);
}

/* Without a tag it is defined where it is used. */
static char *spell_untagged(struct mm__spelling *spelling, Dwarf_Die *aggregate,
                            const char *declarator) {
  struct mm__named *entry = mm__named_find(spelling, aggregate);
  if (!entry) return NULL;
  if (spelling->in_parameters)
    return mm__spelling_refuse(spelling,
                               "a struct or union without a name cannot be in a prototype");
  if (entry->state != MM__NAMED_NEW && !mm__named_is_declared(spelling, entry)) return NULL;
  entry->state = MM__NAMED_OPEN;
  char *text = spell_definition(spelling, aggregate);
  entry->state = text ? MM__NAMED_DECLARED : MM__NAMED_REFUSED;
  if (!text && !(entry->why = strdup(spelling->why))) return mm__spelling_no_memory(spelling);
  return text
             ? mm__spelling_text(spelling, text, "%s%s%s", text, *declarator ? " " : "", declarator)
             : NULL;
}

/* What is only pointed to and has no name in C is void. */
char *mm__spell_aggregate(struct mm__spelling *spelling, Dwarf_Die *type, const char *declarator,
                          bool complete) {
  const char *word = word_of(dwarf_tag(type)), *name = dwarf_diename(type);
  if (mm__dwarf_is_name(name)) {
    struct mm__named *entry = mm__named_find(spelling, type);
    if (!entry ||
        !(complete ? mm__aggregate_define(spelling, entry) : mm__named_postpone(spelling, entry)))
      return NULL;
    return mm__spelling_text(spelling, NULL, "%s %s%s%s", word, name, *declarator ? " " : "",
                             declarator);
  }
  char *text = name ? mm__spelling_refuse(spelling, "`%s` is not a name in C", name)
                    : spell_untagged(spelling, type, declarator);
  return text || complete ? text : mm__spelling_join(spelling, "void", declarator);
}
