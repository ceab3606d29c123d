/* launch/spelling/dwarf.c - what the spelling asks of the debug information. */
#include "launch/spelling/parts.h"

#include "signature/lexer.h"

#include <string.h>

bool mm__dwarf_is_name(const char *name) {
  if (!name) return false;
  size_t length = strlen(name);
  struct mm__token token = mm__lexer_token(name, 0);
  return token.kind == MM__TOKEN_NAME && token.length == length && !mm__lexer_keyword(name, length);
}

bool mm__dwarf_type(struct mm__spelling *spelling, Dwarf_Die *die, Dwarf_Die *type) {
  Dwarf_Attribute attribute;
  memset(type, 0, sizeof *type);
  if (!dwarf_attr_integrate(die, DW_AT_type, &attribute)) return true;
  if (!dwarf_formref_die(&attribute, type)) return mm__spelling_damaged(spelling) != NULL;
  /* A declaration that stands for a type unit. */
  if (dwarf_attr(type, DW_AT_signature, &attribute) && !dwarf_formref_die(&attribute, type))
    return mm__spelling_damaged(spelling) != NULL;
  return true;
}

int mm__dwarf_bare_tag(struct mm__spelling *spelling, const Dwarf_Die *type) {
  Dwarf_Die at = *type;
  for (uint32_t i = 0; i < MM__SPELLING_DEPTH && mm__dwarf_is_qualifier(mm__dwarf_tag(&at)); i++) {
    Dwarf_Die next;
    if (!mm__dwarf_type(spelling, &at, &next)) return 0;
    at = next;
  }
  return mm__dwarf_tag(&at);
}
