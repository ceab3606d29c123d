/* launch/spelling/typedef.c - typedefs: declared when they are met, what they stand
 * for when it is needed. */
#include "launch/spelling/parts.h"

/* A typedef is declared without what it points to; by value it wants that, too. */
static bool complete_target(struct mm__spelling *spelling, const Dwarf_Die *type) {
  Dwarf_Die at = *type;
  for (uint32_t i = 0; i < MM__SPELLING_DEPTH; i++) {
    Dwarf_Die next;
    if (mm__dwarf_is_aggregate(mm__dwarf_tag(&at))) {
      struct mm__named *entry = mm__named_find(spelling, &at);
      bool has_tag = dwarf_diename(&at) != NULL;
      return entry && (has_tag ? mm__aggregate_define(spelling, entry)
                               : mm__named_is_declared(spelling, entry));
    }
    if (mm__dwarf_tag(&at) != DW_TAG_typedef && !mm__dwarf_is_qualifier(mm__dwarf_tag(&at)))
      return true;
    if (!mm__dwarf_type(spelling, &at, &next)) return false;
    at = next;
  }
  return mm__spelling_damaged(spelling) != NULL;
}

char *mm__spell_typedef(struct mm__spelling *spelling, Dwarf_Die *type, const char *declarator,
                        bool complete) {
  const char *name = dwarf_diename(type);
  Dwarf_Die target;
  if (!mm__dwarf_type(spelling, type, &target)) return NULL;
  if (!mm__dwarf_is_name(name)) return mm__spell(spelling, &target, declarator, complete);
  struct mm__named *entry = mm__named_find(spelling, type);
  if (!entry) return NULL;
  if (entry->state == MM__NAMED_NEW) {
    bool outer = spelling->in_parameters;
    entry->state = MM__NAMED_OPEN;
    spelling->in_parameters = false;
    char *text = mm__spell(spelling, &target, name, false);
    mm__named_declare(spelling, entry,
                      text ? mm__spelling_text(spelling, text, "typedef %s;", text) : NULL);
    spelling->in_parameters = outer;
  }
  if (!mm__named_is_declared(spelling, entry) || (complete && !complete_target(spelling, &target)))
    return NULL;
  return mm__spelling_join(spelling, name, declarator);
}
