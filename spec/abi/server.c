/* The server of the generated functions. */
#include "abi.h"

#include <matchmaker/server.h>

#define FUNCTION(result, name, parameters)                                                         \
  MM_EXPORT(result, name, parameters)                                                              \
  result name parameters
#include "functions.h"

MM_EXPORT(unsigned long, wrong_arguments, (void))
MM_EXPORT(void *, anchor_here, (void))
unsigned long wrong_arguments(void) { return wrong; }
void *anchor_here(void) { return anchor; }

int main(void) { return mm_snapshot(0); }
