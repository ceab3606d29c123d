/* abi.h - what the generated sources share: a server's functions, and the program that calls them. */
#ifndef SPEC_ABI_H
#define SPEC_ABI_H

#include <complex.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char room[64];
static char *anchor = room; /* pointers in values point to behind it */
static unsigned long wrong; /* a bit for each argument that came otherwise than it was sent */

/* Writes the bytes of a value, given as digits, the highest first. */
static void put(void *to, const char *digits) {
  char pair[3] = "";
  for (size_t i = strlen(digits) / 2; i--;) {
    memcpy(pair, digits + 2 * i, 2);
    *(unsigned char *)to = (unsigned char)strtoul(pair, NULL, 16);
    to = (char *)to + 1;
  }
}

#endif
