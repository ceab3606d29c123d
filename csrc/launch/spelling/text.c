/* launch/spelling/text.c - texts that are made, and why one could not be. */
#include "launch/spelling/parts.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

char *mm__spelling_refuse(struct mm__spelling *spelling, const char *format, ...) {
  char why[MM__WHY_BYTES]; /* an argument may be the old one */
  va_list list;
  va_start(list, format);
  vsnprintf(why, sizeof why, format, list);
  va_end(list);
  memcpy(spelling->why, why, sizeof why);
  return NULL;
}

char *mm__spelling_no_memory(struct mm__spelling *spelling) {
  spelling->status = MM_ERROR_MEMORY;
  return mm__spelling_refuse(spelling, "out of memory");
}

char *mm__spelling_damaged(struct mm__spelling *spelling) {
  return mm__spelling_refuse(spelling, "the debug information is damaged");
}

char *mm__spelling_text(struct mm__spelling *spelling, char *consumed, const char *format, ...) {
  char *text;
  va_list list;
  va_start(list, format);
  int length = vasprintf(&text, format, list);
  va_end(list);
  free(consumed);
  return length < 0 ? mm__spelling_no_memory(spelling) : text;
}

char *mm__spelling_join(struct mm__spelling *spelling, const char *words, const char *declarator) {
  return mm__spelling_text(spelling, NULL, "%s%s%s", words, *declarator ? " " : "", declarator);
}
