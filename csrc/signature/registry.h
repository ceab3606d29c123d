/* signature/registry.h - C types and exports as one flat, position-independent block of bytes: the
 * registry.
 * Owns:    nothing; a view points into a block that someone else keeps alive.
 * Threads: a checked view is read-only, so any thread may read it.
 * Signals: no allocation, no locks, no libc: the freestanding Matchmaker reads registries too.
 * Errors:  mm__registry_check says what is wrong with a block; after it, no reader can fail. */
#ifndef MM_SIGNATURE_REGISTRY_H
#define MM_SIGNATURE_REGISTRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum mm__kind {
  MM__VOID = 0,
  MM__BOOL = 1,
  MM__SIGNED = 2,
  MM__UNSIGNED = 3,
  MM__FLOAT = 4,   /* 4, 8, or 16 bytes (x87 long double) */
  MM__ENUM = 5,    /* target: its integer type; members: its constants */
  MM__STRING = 6,  /* const char *: copied across the gate */
  MM__POINTER = 7, /* target: what it points to; opaque to the client */
  MM__ARRAY = 8,   /* target: its element; length */
  MM__STRUCT = 9,  /* members: its fields; size 0 and no members: incomplete */
  MM__UNION = 10,
  MM__FUNCTION = 11, /* target: its result; members: its parameters */
  MM__COMPLEX = 12,  /* two floats of half the size: the real part, the imaginary part */
  MM__KIND_COUNT
};

enum mm__type_flags {
  MM__TYPE_CONST = 1,      /* on the target of a pointer */
  MM__TYPE_VARIADIC = 2,   /* a function with ... */
  MM__TYPE_INCOMPLETE = 4, /* a struct, union or enum that was only named */
  MM__TYPE_CONST_NAME = 8, /* `alias` is the name of the const type */
  MM__TYPE_DISPUTED = 16,  /* a struct or union that gcc and clang pass by value differently */
};

enum mm__export_flags {
  MM__EXPORT_X87 = 1, /* its result is an aggregate that comes back in st(0) */
};

#define MM__STACK_ARGUMENTS_LIMIT 0x100000u /* bytes of a call's arguments in memory */

/* 32 bytes. Names are offsets into the strings, 0 (the empty string) for none. A type refers only
 * to types by index; only a pointer may refer to a type with a higher index than its own (so values
 * never contain themselves). */
struct mm__type {
  uint8_t kind;
  uint8_t flags;
  uint16_t align;
  uint32_t size; /* bytes */
  uint32_t name; /* spelling of a scalar ("unsigned int"), tag of a struct, union, enum ("point") */
  uint32_t target;
  uint32_t first_member;
  uint32_t member_count;
  uint32_t length;
  uint32_t alias; /* the typedef name it was reached by ("size_t"), 0 when none */
};

/* A field (value: where it lies), a constant (value), or a parameter (value: 0). */
struct mm__member {
  uint32_t name;
  uint32_t type;
  int64_t value;
};

/* Where a field lies: from which byte; for a bit-field also from which bit of that byte, and how
 * many bits wide it is. Bits count from the lowest (psABI x86-64 3.1.2). */
#define MM__FIELD(offset, shift, width)                                                            \
  ((int64_t)((uint64_t)(offset) | (uint64_t)(shift) << 32 | (uint64_t)(width) << 40))
static inline uint32_t mm__field_offset(const struct mm__member *field) {
  return (uint32_t)field->value;
}
static inline uint32_t mm__field_shift(const struct mm__member *field) {
  return (uint32_t)(field->value >> 32) & 0xff;
}
static inline uint32_t mm__field_width(const struct mm__member *field) {
  return (uint32_t)(field->value >> 40); /* 0: no bit-field */
}

struct mm__export {
  uint32_t name;
  uint32_t prototype; /* canonical text with the name: "int spell(const char *word)" */
  uint32_t doc;       /* 0: none */
  uint32_t type;      /* index of its MM__FUNCTION type */
  uint64_t address;
  uint32_t stack_bytes; /* of arguments passed in memory, a multiple of 8 (psABI x86-64 3.2.3) */
  uint32_t flags;       /* bits of enum mm__export_flags */
};

struct mm__registry_header {
  uint32_t bytes; /* of the whole block */
  uint32_t type_count, member_count, export_count, string_bytes;
  uint32_t reserved[3];
  /* then: types, members, exports (sorted by name), strings (the first byte is a NUL, the last one
   * too) */
};

/* A view of a block. Filled by mm__registry_check. */
struct mm__registry {
  const struct mm__type *types;
  const struct mm__member *members;
  const struct mm__export *exports;
  const char *strings;
  uint32_t type_count, member_count, export_count, string_bytes;
};

/* Checks every byte of a block that may come from anywhere, and fills `view`. Returns NULL when it
 * is sound, else a constant English phrase that says what is wrong. `block` must be aligned to 8.
 * Cost: linear in `bytes`.
 * Does not know where code lies: the caller checks the exports' addresses. */
const char *mm__registry_check(const void *block, size_t bytes, struct mm__registry *view);

/* The export with that name, or NULL. Logarithmic. */
const struct mm__export *mm__registry_find(const struct mm__registry *registry, const char *name);

/* Whether two types, of the same or of different registries, are the same C type: kind, size,
 * signedness, pointee tags, parameters. Parameter names and typedef names do not matter. Types that
 * are nested too deep, or too large, to be compared in a bounded time count as different. */
bool mm__type_equal(const struct mm__registry *a, uint32_t type_a, const struct mm__registry *b,
                    uint32_t type_b);

/* Whether `call` is a function type that spells out one call of the variadic type `function`: the
 * same result, the same parameters, and then those of that call. */
bool mm__type_calls(const struct mm__registry *a, uint32_t call, const struct mm__registry *b,
                    uint32_t function);

/* Writes the canonical C text of a type, declaring `name` if it is not NULL ("const char *word",
 * "int (*f)(int)").
 * Returns the length it needs without the NUL, like snprintf; never writes more than `size`. Texts
 * that are longer than 65536 bytes, and than `size`, or types nested more than 64 deep, are cut
 * with "...". */
size_t mm__type_text(const struct mm__registry *registry, uint32_t type, const char *name,
                     char *text, size_t size);

#endif
