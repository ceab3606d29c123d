/* unit/check.h - counts what a unit program checks; a failure is shown, and the program goes on. */
#ifndef SPEC_UNIT_CHECK_H
#define SPEC_UNIT_CHECK_H

#include <stdio.h>

static int failures, checks;

#define CHECK(condition)                                                                           \
  do {                                                                                             \
    checks++;                                                                                      \
    if (!(condition)) {                                                                            \
      failures++;                                                                                  \
      printf("# %s:%d: %s\n", __FILE__, __LINE__, #condition);                                     \
    }                                                                                              \
  } while (0)

#endif
