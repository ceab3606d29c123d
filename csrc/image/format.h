/* image/format.h - the layout of an image file: an ELF-64 executable whose notes carry the facts.
 * Owns:    nothing.
 * Threads: constants and plain structs.
 * Signals: none.
 * Errors:  none.
 *
 * The file:  ELF header, program headers, notes (together: the head), then the segments' bytes,
 * page-aligned in the file, then symbol table, string tables and section headers. Offsets of
 * PT_LOAD grow with the addresses. Zero pages are holes. The head starts at offset 0 and is
 * `head_bytes` long; nothing a client believes lies outside of it. */
#ifndef MM_IMAGE_FORMAT_H
#define MM_IMAGE_FORMAT_H

#include <elf.h>
#include <stdint.h>

#define MM__NOTE_OWNER     "Matchmaker" /* n_namesz 11, padded to 12 */
#define MM__FORMAT_VERSION 1
#define MM__HEAD_LIMIT     (16u << 20)
#define MM__SEGMENT_LIMIT  1024u /* PT_LOAD entries */
#define MM__HOOK_LIMIT     16u
#define MM__CPU_WORDS      8u
/* A flag of a read-only PT_LOAD (PF_MASKOS): memory of no file, which is zero when it is discarded.
 * */
#define MM__PF_ANONYMOUS 0x00100000u

enum mm__note_type {
  MM__NOTE_FACTS = 1,    /* struct mm__facts */
  MM__NOTE_REGISTRY = 2, /* the block of signature/registry.h */
  MM__NOTE_MODULES = 3,  /* struct mm__module[], then their strings */
  MM__NOTE_NEEDS = 4,    /* lines "kind\tdetail\n", NUL-terminated */
};

/* Notes are 8-aligned (gABI "Note Section", 64-bit objects: p_align 8): an Elf64_Nhdr and the
 * owner's name are 12 + 12 bytes, so every descriptor starts at a file offset that is a multiple of
 * 8, and the next note at the next such one. PT_NOTE is the first program header, its notes come
 * right after the last one; then zeros up to a whole page. The notes come in the order of their
 * types, each once; the needs may be missing. */

/* The facts. All fields are checked by the checker; zero in `reserved`. */
struct mm__facts {
  uint32_t version; /* first, so that other versions can be told apart */
  uint32_t facts_bytes;
  uint64_t head_digest;    /* XXH64, seed 0, of the head with this field zeroed */
  uint64_t content_digest; /* of the rest of the file: see image/content.h; 0: not computed */
  uint64_t head_bytes;
  uint64_t file_bytes;
  uint32_t page_bytes;
  uint32_t slot;
  uint64_t tls_base;  /* FS */
  uint64_t stack_low; /* mapped from here; below it is the guard */
  uint64_t stack_high;
  uint64_t stack_pointer;                   /* calls start below it */
  uint64_t heap_low, heap_high, heap_limit; /* brk: start, current, how far it may grow */
  uint64_t mailbox_low, mailbox_high;
  uint32_t mxcsr;
  uint32_t x87_control;
  uint32_t needs; /* bits of enum mm_grant */
  uint32_t hook_count;
  uint64_t hooks[MM__HOOK_LIMIT]; /* on-map hooks, addresses of code */
  uint32_t cpu[MM__CPU_WORDS];    /* features its code was selected for: see image/cpu.h */
  uint64_t created_seconds;       /* since the epoch */
  char server[128];               /* what it was made from, for people */
  uint64_t reserved[8];
};

/* A module that was loaded in the server. `path` and `build_id` are offsets into the note's
 * strings. */
struct mm__module {
  uint64_t low, high; /* the addresses it spans */
  uint64_t bias;      /* add to its own addresses */
  uint32_t path;
  uint32_t build_id; /* hexadecimal, or the empty string */
};

/* The note: this header, `count` modules, then `string_bytes` of strings (first byte and last byte
 * NUL). */
struct mm__modules_header {
  uint32_t count;
  uint32_t string_bytes;
};

#endif
