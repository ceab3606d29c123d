/* launch/spelling/named.c - the types with names that were met, and what became of them. */
#include "launch/spelling/parts.h"

#include "base/error.h"

#include <search.h>
#include <stdlib.h>
#include <string.h>

static int compare(const void *a, const void *b) {
  const char *left = ((const struct mm__named *)a)->at, *right = ((const struct mm__named *)b)->at;
  return (left > right) - (left < right);
}

struct mm__named *mm__named_find(struct mm__spelling *spelling, const Dwarf_Die *die) {
  struct mm__named *entry = calloc(1, sizeof *entry);
  if (entry) *entry = (struct mm__named){.at = die->addr, .die = *die};
  struct mm__named **found = entry ? tsearch(entry, &spelling->entries, compare) : NULL;
  if (!found || *found != entry) free(entry);
  if (found) return *found;
  mm__spelling_no_memory(spelling);
  return NULL;
}

void mm__named_free(void *entry) {
  free(((struct mm__named *)entry)->why);
  free(entry);
}

void mm__named_declare(struct mm__spelling *spelling, struct mm__named *entry, char *text) {
  struct mm_error error;
  int status = text ? mm__builder_declare(spelling->builder, text, &error) : MM_OK;
  if (status != MM_OK) mm__spelling_refuse(spelling, "%s", error.message);
  if (status == MM_ERROR_MEMORY) spelling->status = status;
  entry->state = text && status == MM_OK ? MM__NAMED_DECLARED : MM__NAMED_REFUSED;
  free(text);
  if (entry->state == MM__NAMED_REFUSED && !(entry->why = strdup(spelling->why)))
    mm__spelling_no_memory(spelling);
}

bool mm__named_is_declared(struct mm__spelling *spelling, const struct mm__named *entry) {
  const char *name = dwarf_diename((Dwarf_Die *)&entry->die);
  if (entry->state == MM__NAMED_OPEN)
    mm__spelling_refuse(spelling, "`%s` contains itself", name ? name : "a type without a name");
  if (entry->state == MM__NAMED_REFUSED)
    mm__spelling_refuse(spelling, "%s", entry->why ? entry->why : "out of memory");
  return entry->state == MM__NAMED_DECLARED;
}

bool mm__named_postpone(struct mm__spelling *spelling, struct mm__named *entry) {
  if (entry->is_pending || dwarf_hasattr(&entry->die, DW_AT_declaration)) return true;
  if (spelling->pending_count == spelling->pending_capacity) {
    uint32_t capacity = spelling->pending_capacity ? 2 * spelling->pending_capacity : 64;
    struct mm__named **larger = realloc(spelling->pending, capacity * sizeof(struct mm__named *));
    if (!larger) return mm__spelling_no_memory(spelling) != NULL;
    spelling->pending = larger;
    spelling->pending_capacity = capacity;
  }
  entry->is_pending = true;
  spelling->pending[spelling->pending_count++] = entry;
  return true;
}
