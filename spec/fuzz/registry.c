/* registry.c - the input is a registry's block. */
#include "readers.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
  struct mm__registry registry;
  void *block = copy_of(bytes, size);
  if (!mm__registry_check(block, size, &registry)) read_registry(&registry);
  free(block);
  return 0;
}
