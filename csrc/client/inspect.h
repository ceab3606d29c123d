/* client/inspect.h - the facts of an image without mapping it: its checked head.
 * Owns:    a copy of the head, until mm__inspect_end.
 * Threads: any; an inspection belongs to its caller.
 * Signals: not for handlers.
 * Errors:  0 or a negative mm_status, with a complete line in the struct mm_error. */
#ifndef MM_CLIENT_INSPECT_H
#define MM_CLIENT_INSPECT_H

#include "image/check.h"

struct mm_image;

struct mm__inspection {
  struct mm__head head; /* points into the copy */
  void *copy;
};

/* Reads and checks the head of the file at `path`, whether or not the image could be mapped here;
 * with `whole`, the digest of the rest of the file too. Errors: MM_ERROR_MISSING, _NOT_A_FILE,
 * _UNREADABLE, _NOT_AN_IMAGE, _DAMAGED, _VERSION, _MEMORY, _SYSTEM. */
int mm__inspect(const char *path, bool whole, struct mm__inspection *inspection,
                struct mm_error *error);
/* The same of a mapped image, whatever became of its file. Errors: MM_ERROR_NOT_CONNECTED,
 * _UNMAPPED, _DEAD, _MEMORY. */
int mm__inspect_mapped(struct mm_image *image, struct mm__inspection *inspection,
                       struct mm_error *error);
void mm__inspect_end(struct mm__inspection *inspection);

#endif
