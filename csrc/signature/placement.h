/* signature/placement.h - what a declaration in C has to say beside its fields, for them to come to
 * lie where they do: packed, aligned, bit-fields without a name.
 * Owns:    nothing.
 * Threads: pure.
 * Signals: safe anywhere.
 * Errors:  false: no declaration in C does that. */
#ifndef MM_SIGNATURE_PLACEMENT_H
#define MM_SIGNATURE_PLACEMENT_H

#include "signature/registry.h"

struct mm__placed {
  uint64_t place, bits; /* its first bit, and how many; of a flexible array none */
  uint32_t align;       /* of its type, in bytes */
  uint32_t unit;        /* of a bit-field: the bits of its type; 0: it is none */
  uint32_t wanted;      /* the alignment that is known to be said of it, 0: none is */
  bool is_anonymous;    /* nothing can be said of it: that would be its type's */
  /* What has to be said: */
  uint32_t aligned; /* in bytes; 0: nothing */
  uint32_t filling; /* bits without a name in front of it */
};

struct mm__placement {
  uint64_t bytes;
  uint32_t align; /* 0: not known; then found */
  bool is_union;
  bool is_guess; /* a gap may have been filled by bits without a name, which count when the whole is
                    passed by value; else it is an alignment, if it can be one */
  /* What has to be said: */
  bool is_packed;
  uint32_t aligned; /* of the whole */
  uint32_t filling; /* behind the last field */
};

#define MM__FILLING_LIMIT 4096u /* bits in one gap */

/* The rules are those of the psABI x86-64 3.1.2, and of gcc's manual for the attributes. */
bool mm__place_fields(struct mm__placement *whole, struct mm__placed *fields, uint32_t count);

#endif
