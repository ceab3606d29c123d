/* launch/spelling/enum.c - enums; one that C cannot spell is its integer. */
#include "launch/spelling/parts.h"

#include <stdlib.h>

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
  char *text = mm__spelling_text(spelling, NULL, "enum %s%s{", name ? name : "", name ? " " : "");
  int64_t low = 0, high = 0;
  bool good = !dwarf_hasattr(type, DW_AT_declaration);
  Dwarf_Die child;
  for (int more = dwarf_child(type, &child); more == 0 && text && good;
       more = dwarf_siblingof(&child, &child)) {
    int64_t value;
    if (dwarf_tag(&child) != DW_TAG_enumerator) continue;
    good = constant_of(&child, &value) && mm__dwarf_is_name(dwarf_diename(&child));
    if (!good) break;
    low = value < low ? value : low;
    high = value > high ? value : high;
    text = mm__spelling_text(spelling, text, "%s %s = %ld,", text, dwarf_diename(&child), value);
  }
  bool is_wide = low < INT32_MIN || high > (low < 0 ? INT32_MAX : (int64_t)UINT32_MAX);
  if (text && good && dwarf_bytesize(type) == (is_wide ? 8 : 4))
    return mm__spelling_text(spelling, text, "%s }", text);
  free(text);
  return mm__spelling_refuse(spelling, "an enum that C cannot spell");
}

static char *spell_integer(struct mm__spelling *spelling, Dwarf_Die *type, const char *declarator) {
  static const char *const words[] = {
      [1] = "unsigned char", [2] = "unsigned short", [4] = "unsigned int", [8] = "unsigned long"};
  Dwarf_Die integer;
  int size = dwarf_bytesize(type);
  if (!mm__dwarf_type(spelling, type, &integer)) return NULL;
  if (integer.addr) return mm__spell(spelling, &integer, declarator, true);
  if (size < 1 || size > 8 || !words[size])
    return mm__spelling_refuse(spelling, "an enum without a size");
  return mm__spelling_join(spelling, words[size], declarator);
}

/* An enum that cannot be declared is the integer that it is. */
char *mm__spell_enum(struct mm__spelling *spelling, Dwarf_Die *type, const char *declarator) {
  const char *name = dwarf_diename(type);
  if (!name && !spelling->in_parameters) {
    char *text = spell_constants(spelling, type);
    if (text)
      return mm__spelling_text(spelling, text, "%s%s%s", text, *declarator ? " " : "", declarator);
  }
  if (mm__dwarf_is_name(name)) {
    struct mm__named *entry = mm__named_find(spelling, type);
    if (!entry) return NULL;
    if (entry->state == MM__NAMED_NEW) {
      char *text = spell_constants(spelling, type);
      mm__named_declare(spelling, entry,
                        text ? mm__spelling_text(spelling, text, "%s;", text) : NULL);
    }
    if (entry->state == MM__NAMED_DECLARED)
      return mm__spelling_text(spelling, NULL, "enum %s%s%s", name, *declarator ? " " : "",
                               declarator);
  }
  return spell_integer(spelling, type, declarator);
}
