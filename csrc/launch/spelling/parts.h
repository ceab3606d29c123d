/* launch/spelling/parts.h - what the files of the spelling know of each other: one for each kind of
 * type.
 * Owns:    struct mm__spelling. Texts are the caller's, to free.
 * Threads: one.
 * Signals: none are touched.
 * Errors:  NULL or false, and `why` says why; `status` tells when memory ran out. */
#ifndef MM_LAUNCH_SPELLING_PARTS_H
#define MM_LAUNCH_SPELLING_PARTS_H

#include "launch/spelling/spelling.h"
#include "signature/placement.h"

#include <dwarf.h>

#define MM__SPELLING_DEPTH 60u
#define MM__WHY_BYTES      400

enum mm__named_state {
  MM__NAMED_NEW,
  MM__NAMED_OPEN,
  MM__NAMED_DECLARED,
  MM__NAMED_REFUSED,
};

/* A typedef, struct, union or enum, by its DIE. */
struct mm__named {
  const void *at;
  Dwarf_Die die;
  enum mm__named_state state;
  bool is_pending;
  char *why; /* it was refused */
};

struct mm__spelling {
  struct mm__builder *builder;
  void *entries;              /* tsearch(3) */
  struct mm__named **pending; /* pointed to by the prototype, or by those before in the list */
  uint32_t pending_count, pending_capacity;
  uint32_t depth;
  bool in_parameters; /* where C defines no types */
  int status;         /* MM_ERROR_MEMORY stays */
  char why[MM__WHY_BYTES];
};

/* The declaration of `declarator` as being of that type. `complete`: what is in the type has to be
 * known. */
char *mm__spell(struct mm__spelling *spelling, Dwarf_Die *type, const char *declarator,
                bool complete);

/* --- text.c --- */

/* These three: always NULL. */
char *mm__spelling_refuse(struct mm__spelling *spelling, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
char *mm__spelling_no_memory(struct mm__spelling *spelling);
char *mm__spelling_damaged(struct mm__spelling *spelling);
/* A new text. `consumed`, if not NULL, is freed. */
char *mm__spelling_text(struct mm__spelling *spelling, char *consumed, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
char *mm__spelling_join(struct mm__spelling *spelling, const char *words, const char *declarator);

/* --- dwarf.c --- */

bool mm__dwarf_is_name(const char *name); /* in C */
/* False: damaged. A type that is not there is void, and has no address. */
bool mm__dwarf_type(struct mm__spelling *spelling, Dwarf_Die *die, Dwarf_Die *type);
/* The tag of the type without its qualifiers. */
int mm__dwarf_bare_tag(struct mm__spelling *spelling, const Dwarf_Die *type);

static inline int mm__dwarf_tag(Dwarf_Die *type) { return type->addr ? dwarf_tag(type) : 0; }
static inline bool mm__dwarf_is_aggregate(int tag) {
  return tag == DW_TAG_structure_type || tag == DW_TAG_class_type || tag == DW_TAG_union_type;
}
static inline bool mm__dwarf_is_qualifier(int tag) {
  return tag == DW_TAG_const_type || tag == DW_TAG_volatile_type || tag == DW_TAG_restrict_type;
}
static inline bool mm__dwarf_is_pointer(int tag) {
  return tag == DW_TAG_pointer_type || tag == DW_TAG_reference_type ||
         tag == DW_TAG_rvalue_reference_type;
}

/* --- named.c --- */

/* What is known of that type; new, if it was not met before. */
struct mm__named *mm__named_find(struct mm__spelling *spelling, const Dwarf_Die *die);
/* Ends what began when the entry became OPEN. `text` is consumed, NULL: it was refused. */
void mm__named_declare(struct mm__spelling *spelling, struct mm__named *entry, char *text);
/* Says why an entry cannot be used; true: it can. */
bool mm__named_is_declared(struct mm__spelling *spelling, const struct mm__named *entry);
/* Defined, if it can be, when the prototype is spelled. */
bool mm__named_postpone(struct mm__spelling *spelling, struct mm__named *entry);
void mm__named_free(void *entry);

/* --- plain.c --- */

char *mm__spell_base(struct mm__spelling *spelling, Dwarf_Die *type, const char *declarator);
char *mm__spell_pointer(struct mm__spelling *spelling, Dwarf_Die *type, const char *declarator);
char *mm__spell_qualified(struct mm__spelling *spelling, Dwarf_Die *type, const char *declarator,
                          bool complete);
char *mm__spell_array(struct mm__spelling *spelling, Dwarf_Die *type, const char *declarator);
char *mm__spell_function(struct mm__spelling *spelling, Dwarf_Die *function,
                         const char *declarator);

/* --- aggregate.c --- */

char *mm__spell_aggregate(struct mm__spelling *spelling, Dwarf_Die *type, const char *declarator,
                          bool complete);
/* Declares what is in a struct or union with a tag. */
bool mm__aggregate_define(struct mm__spelling *spelling, struct mm__named *entry);

/* --- layout.c --- */

/* How a struct or union is laid out, and what its declaration has to say for it. */
struct mm__layout {
  struct mm__placement whole;
  struct mm__placed *fields; /* one for each child that mm__layout_has says; the caller's to free */
  uint32_t count;
};

/* NULL, or a phrase that says why C cannot; `fields` is to be freed then, too. */
const char *mm__layout_of(Dwarf_Die *aggregate, struct mm__layout *layout);
bool mm__layout_has(Dwarf_Die *child);

/* --- enum.c, typedef.c --- */

char *mm__spell_enum(struct mm__spelling *spelling, Dwarf_Die *type, const char *declarator);
char *mm__spell_typedef(struct mm__spelling *spelling, Dwarf_Die *type, const char *declarator,
                        bool complete);

#endif
