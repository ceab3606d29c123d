/* fuzz.h - what the fuzzers share. Each takes bytes that may come from anywhere, and ends the process when a promise
 * does not hold: by the sanitizers, or by MUST. */
#ifndef SPEC_FUZZ_FUZZ_H
#define SPEC_FUZZ_FUZZ_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

#define MUST(condition)                                                                            \
  do {                                                                                             \
    if (!(condition)) {                                                                            \
      fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);                      \
      abort();                                                                                     \
    }                                                                                              \
  } while (0)

/* Exactly so many bytes: what reads past them is found. */
static inline void *copy_of(const void *bytes, size_t size) {
  void *copy = malloc(size ? size : 1);
  MUST(copy);
  memcpy(copy, bytes, size);
  return copy;
}

/* A string of exactly so many bytes and its NUL. */
static inline char *text_of(const uint8_t *bytes, size_t size) {
  char *text = malloc(size + 1);
  MUST(text);
  memcpy(text, bytes, size);
  text[size] = 0;
  return text;
}

#endif
