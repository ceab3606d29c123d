/* launch/launch.h - what the launcher's parts share: the program, its place, and how to complain.
 * Owns:    the descriptors and lists named below.
 * Threads: one.
 * Signals: none are touched.
 * Errors:  0, or a negative mm_status with a complete line in the struct mm_error. */
#ifndef MM_LAUNCH_LAUNCH_H
#define MM_LAUNCH_LAUNCH_H

#include <elf.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/interface.h"
#include "core/slot/map.h"
#include "image/writer.h"
#include "matchmaker.h"

/* Prints "matchmaker: ...\n" on standard error, in one write. */
void mm__say(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* An error's message, and beneath it the C text that a parser stopped in, with a caret. */
void mm__say_error(const struct mm_error *error);

/* --- program.c: an ELF file that can be loaded into a slot --- */

struct mm__program {
  char *path;
  int descriptor;
  Elf64_Ehdr elf;
  Elf64_Phdr *headers;
  uint64_t low, high; /* whole pages, before the bias is added */
  uint64_t align;     /* the largest p_align */
  char *interpreter;  /* path, NULL when it has none */
  uint64_t bias;      /* set by mm__program_load */
};

/* Opens `name`, looking along PATH when it has no slash, and checks that it can run in a slot: an
 * executable 64-bit x86-64 ELF file that is position-independent. With `is_interpreter` it may be a
 * shared object. */
int mm__program_open(struct mm__program *program, const char *name, bool is_interpreter,
                     struct mm_error *error);
void mm__program_close(struct mm__program *program);

#define MM__LAUNCH_RANGES 64

/* What was mapped in the slot, ascending. */
struct mm__loaded {
  struct mm__range ranges[MM__LAUNCH_RANGES];
  uint32_t count;
};

/* --- load.c --- */

/* Reserves the whole slot, inaccessible. */
int mm__slot_reserve(uint32_t slot, struct mm_error *error);
/* Maps the program's segments over the reservation from `address` on (before `limit`), and sets its
 * bias. */
int mm__program_load(struct mm__program *program, uint64_t address, uint64_t limit,
                     struct mm__loaded *loaded, struct mm_error *error);
/* Maps stack and mailbox. */
int mm__stack_load(uint32_t slot, struct mm__loaded *loaded, struct mm_error *error);

/* --- stack.c --- */

struct mm__start {
  const struct mm__program *program, *interpreter; /* interpreter NULL: static */
  char **arguments;                                /* ends with NULL */
  char **kept; /* names of variables that stay, ends with NULL */
  uint64_t stack_high;
};

/* Builds the initial stack (psABI x86-64 3.4.1) and says where it starts. */
int mm__stack_build(const struct mm__start *start, uint64_t *stack_pointer, struct mm_error *error);

/* --- slot.c --- */

/* Chooses the slot for an image that will be at `output`: the one it has now, else one by its name
 * that no other image in its folder has. */
uint32_t mm__slot_choose(const char *output);

/* --- process.c: what the kernel and the files say about the server --- */

struct mm__mapping {
  uint64_t low, high, offset, device, inode;
  uint32_t protection;
  char *path;
};

struct mm__process {
  struct mm__mapping *mappings; /* of one slot, ascending */
  uint32_t mapping_count;
  struct mm__source_module *modules;
  uint32_t module_count;
};

int mm__process_read(struct mm__process *process, uint32_t slot, struct mm_error *error);
void mm__process_free(struct mm__process *process);

/* --- descriptor.c --- */

/* Remembers which descriptors the launcher was started with. */
void mm__descriptors_remember(void);
/* Says one line for each descriptor above 2 that the server opened. Returns how many. */
unsigned mm__descriptors_complain(void);

/* --- registration.c: the server's list, read with suspicion --- */

struct mm__collected {
  void *registry;
  size_t registry_bytes;
  char *needs; /* NULL: none */
  uint32_t need_bits;
};

/* Whether [address, address + bytes) is readable server memory. */
bool mm__server_readable(const struct mm__snapshot *snapshot, uint64_t address, uint64_t bytes);
/* The string at `address` in server memory, or NULL when it has no end there. */
const char *mm__server_string(const struct mm__snapshot *snapshot, const void *address);
/* `named`: lists of functions to export from the debug information, ends with NULL. */
int mm__registrations_read(const struct mm__snapshot *snapshot, const struct mm__process *process,
                           char **named, struct mm__collected *collected, struct mm_error *error);
void mm__collected_free(struct mm__collected *collected);

/* --- snapshot.c: what the Matchmaker calls --- */

/* `server` is its name for messages, `output` an absolute path, `named` what to export from the
 * debug information, ends with NULL; all stay the caller's. */
void mm__snapshot_prepare(const char *server, const char *output, char **named);
int mm__snapshot_taken(const struct mm__snapshot *snapshot);
void mm__server_ended(int exit_status, int signal, uint64_t instruction, uint64_t address);

#endif
