/* signature/store.h - what a builder has so far: a registry that grows, and the names that its
 * types go by.
 * Owns:    all its memory, until mm__store_close.
 * Threads: one store, one thread.
 * Signals: not for handlers; allocates.
 * Errors:  false, with the reason in `status` and `limit` until the next mm__store_undo. */
#ifndef MM_SIGNATURE_STORE_H
#define MM_SIGNATURE_STORE_H

#include "signature/classify.h"
#include "signature/registry.h"

/* Deeper types would be cut by mm__type_text and mm__type_equal, which stop at 64. */
#define MM__TYPE_DEPTH_LIMIT 60u

/* What the registry does not say about a type; one for each. */
struct mm__extra {
  uint32_t
      completed;   /* an incomplete type: 1 + the index of the complete one, 0 when there is none */
  uint32_t origin; /* the reverse */
  uint32_t depth;
};

enum mm__name_kind { MM__NAME_TYPEDEF, MM__NAME_CONSTANT, MM__NAME_TAG, MM__NAME_EXPORT };

struct mm__name {
  uint32_t name; /* an offset into the strings */
  uint8_t kind;
  bool is_const; /* a typedef of a const type */
  uint32_t type; /* a constant's: 1 + the index of its enum, 0 while that is being read */
  int64_t value; /* a constant's */
};

/* Finds things by their hash. Things are numbered in the order in which they came, and leave in the
 * reverse one. */
struct mm__index {
  uint32_t *heads; /* 1 + the newest thing, 0 for none */
  struct mm__link {
    uint32_t hash, next;
  } * links;
  uint32_t count, capacity;
};

struct mm__store {
  struct mm__type *types;
  struct mm__extra *extras;
  struct mm__passing *passing;
  struct mm__member *members;
  struct mm__export *exports;
  struct mm__name *names;
  char *strings;
  uint32_t *starts; /* of each string */
  uint32_t member_count, export_count, string_bytes;
  uint32_t type_capacity, extra_capacity, passing_capacity, member_capacity, export_capacity;
  uint32_t name_capacity, string_capacity, start_capacity;
  struct mm__index type_index, name_index, string_index; /* their counts are the counts */
  int status;        /* MM_OK, MM_ERROR_MEMORY or MM_ERROR_LIMIT */
  const char *limit; /* which one */
};

/* How much there was. */
struct mm__mark {
  uint32_t types, members, exports, names, strings, string_bytes;
};

bool mm__store_open(struct mm__store *store);
void mm__store_close(struct mm__store *store);

/* mm__store_undo forgets all that came after the mark, and the failure. */
struct mm__mark mm__store_mark(const struct mm__store *store);
void mm__store_undo(struct mm__store *store, const struct mm__mark *mark);

/* Makes room for one item more in any growing array, or sets the status. */
#define MM__STORE_GROW(store, items, capacity, count)                                              \
  ((items) = mm__store_grown(store, items, &(capacity), count, sizeof *(items)),                   \
   (store)->status == MM_OK)
void *mm__store_grown(struct mm__store *store, void *items, uint32_t *capacity, uint32_t count,
                      size_t item_bytes);

bool mm__store_string(struct mm__store *store, const char *text, size_t length, uint32_t *offset);

/* The type like `type`, which is added if there is none. `members`, NULL: those that it says are
 * already its own. */
bool mm__store_type(struct mm__store *store, const struct mm__type *type,
                    const struct mm__member *members, uint32_t *index);
/* Appends one without looking for one like it. */
bool mm__store_append(struct mm__store *store, const struct mm__type *type, uint32_t *index);
/* The same type by another typedef name, 0 for none. */
bool mm__store_alias(struct mm__store *store, uint32_t type, uint32_t alias, bool is_const,
                     uint32_t *index);
bool mm__store_member(struct mm__store *store, const struct mm__member *member);
bool mm__store_scalar(struct mm__store *store, uint8_t kind, uint32_t size, const char *name,
                      uint32_t *index);

/* From now on the incomplete struct or union and its typedefs are what `complete` is. */
bool mm__store_complete(struct mm__store *store, uint32_t incomplete, uint32_t complete);
/* The complete type if it was completed, else itself. */
uint32_t mm__store_now(const struct mm__store *store, uint32_t type);

/* NULL when there is none; valid until the next is added. Typedefs and constants share one name
 * space in C. */
struct mm__name *mm__store_find(const struct mm__store *store, uint8_t kind, uint32_t name);
bool mm__store_name(struct mm__store *store, const struct mm__name *name);

bool mm__store_export(struct mm__store *store, const struct mm__export *export);

/* Lets pointers point to the complete types, and sorts the exports. */
void mm__store_settle(struct mm__store *store);
struct mm__registry mm__store_view(const struct mm__store *store);

#endif
