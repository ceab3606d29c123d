/* image/writer.h - writes memory of this process into an image file.
 * Owns:    the temporary file while it writes; nothing afterwards.
 * Threads: one; the memory must not change meanwhile.
 * Signals: not for handlers; allocates.
 * Errors:  MM_ERROR_SYSTEM, MM_ERROR_MEMORY, MM_ERROR_LIMIT, MM_ERROR_DAMAGED (the facts contradict
 *          the memory), MM_ERROR_NOT_A_FILE, with a complete one-line message. */
#ifndef MM_IMAGE_WRITER_H
#define MM_IMAGE_WRITER_H

#include "image/format.h"
#include "matchmaker.h"

enum mm__region_flags {
  MM__REGION_ZERO = 1, /* what lies here is of no use: it becomes zero */
  MM__REGION_FILE = 2, /* a file's pages: what is not resident is not zero */
};

/* Whole pages with one protection (PROT_ bits). Without any it is left out. */
struct mm__region {
  uint64_t low, high;
  uint32_t protection;
  uint32_t flags;
};

struct mm__source_module {
  uint64_t low, high, bias;
  const char *path;     /* where its symbols are read from */
  const char *build_id; /* hexadecimal, or "" */
};

/* What an image is made of. All memory stays the caller's. */
struct mm__source {
  /* The writer fills the version, sizes, digests and page_bytes in, adds MM_GRANT_JIT to the needs
   * when memory is writable and executable, and empties the heap's bounds when the heap is not all
   * writable. */
  struct mm__facts facts;
  const void *registry; /* a finished block */
  size_t registry_bytes;
  const struct mm__source_module *modules; /* ascending by `low` */
  uint32_t module_count;
  const char *needs;                /* lines "kind\tdetail\n"; NULL: no note */
  const struct mm__region *regions; /* ascending, disjoint, of this process's memory */
  uint32_t region_count;
};

/* Whether an image may take the name `path`: MM_ERROR_NOT_A_FILE when what has it is a folder, a
 * device, a pipe or a socket, which rename(2) would replace. */
int mm__image_file_place(const char *path, struct mm_error *error);

/* Writes the image to a temporary file beside `path`, mode 0600, and renames it. On failure nothing
 * is left behind and what was at `path` is untouched. Pages that cannot be read inside a region
 * that can become zero; a region of which nothing can be read is an error. */
int mm__image_file_write(const char *path, const struct mm__source *source, struct mm_error *error);

#endif
