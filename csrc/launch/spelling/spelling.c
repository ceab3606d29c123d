/* launch/spelling/spelling.c - spells types inside out, as C does: each type puts its part around
 * the declarator, and hands the longer declarator to the type it is made of. Names are
 * declared to the builder when they are first met, those that are only pointed to when the prototype
 * is spelled. */
#include "launch/spelling/parts.h"

#include "base/error.h"

#include <search.h>
#include <stdlib.h>
#include <string.h>

static char *spell_tag(struct mm__spelling *spelling, Dwarf_Die *type, const char *declarator,
                       bool complete) {
  int tag = mm__dwarf_tag(type);
  if (mm__dwarf_is_aggregate(tag)) return mm__spell_aggregate(spelling, type, declarator, complete);
  if (mm__dwarf_is_qualifier(tag)) return mm__spell_qualified(spelling, type, declarator, complete);
  if (mm__dwarf_is_pointer(tag)) return mm__spell_pointer(spelling, type, declarator);
  switch (tag) {
  case 0:
    return mm__spelling_join(spelling, "void", declarator);
  case DW_TAG_unspecified_type: /* C++: decltype(nullptr) */
    return mm__spelling_text(spelling, NULL, "void *%s", declarator);
  case DW_TAG_base_type:
    return mm__spell_base(spelling, type, declarator);
  case DW_TAG_array_type:
    return mm__spell_array(spelling, type, declarator);
  case DW_TAG_subroutine_type:
    return mm__spell_function(spelling, type, declarator);
  case DW_TAG_enumeration_type:
    return mm__spell_enum(spelling, type, declarator);
  case DW_TAG_typedef:
    return mm__spell_typedef(spelling, type, declarator, complete);
  case DW_TAG_atomic_type:
    return mm__spelling_refuse(spelling, "`_Atomic` is not supported");
  default:
    return mm__spelling_refuse(spelling, "a type that C does not have (DWARF tag 0x%x)",
                               (unsigned)tag);
  }
}

char *mm__spell(struct mm__spelling *spelling, Dwarf_Die *type, const char *declarator,
                bool complete) {
  if (spelling->depth == MM__SPELLING_DEPTH)
    return mm__spelling_refuse(spelling, "a type is nested more than %u deep", MM__SPELLING_DEPTH);
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
  tdestroy(spelling->entries, mm__named_free);
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
    struct mm__named *entry = spelling->pending[i];
    good = good && (mm__aggregate_define(spelling, entry) || !is_known(spelling, &entry->die)) &&
           spelling->status == MM_OK;
    entry->is_pending = false;
  }
  spelling->pending_count = 0;
  return good;
}

int mm__spelling_prototype(struct mm__spelling *spelling, Dwarf_Die *function, const char *name,
                           char **prototype, struct mm_error *error) {
  *prototype = mm__spell_function(spelling, function, name);
  if (define_pending(spelling) && *prototype && spelling->status == MM_OK) return MM_OK;
  free(*prototype);
  *prototype = NULL;
  int status = spelling->status == MM_OK ? MM_ERROR_PROTOTYPE : spelling->status;
  return mm__fail(error, status, "%s", spelling->why);
}
