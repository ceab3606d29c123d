/* replay.c - feeds the files of a folder to a fuzzer, one after the other: what once was found stays found. */
#include <dirent.h>

#include "fuzz.h"

static void *read_all(const char *path, size_t *size) {
  FILE *file = fopen(path, "rb");
  if (!file) return NULL;
  fseek(file, 0, SEEK_END);
  *size = (size_t)ftell(file);
  rewind(file);
  void *bytes = malloc(*size + 1);
  if (bytes && fread(bytes, 1, *size, file) != *size) *size = 0;
  fclose(file);
  return bytes;
}

int main(int count, char **arguments) {
  struct dirent **names;
  int found = count == 2 ? scandir(arguments[1], &names, NULL, alphasort) : -1;
  if (found < 0) {
    fprintf(stderr, "usage: %s FOLDER\n", arguments[0]);
    return 2;
  }
  for (int i = 0; i < found; i++) {
    char path[1024];
    size_t size;
    snprintf(path, sizeof path, "%s/%s", arguments[1], names[i]->d_name);
    uint8_t *bytes = names[i]->d_name[0] == '.' ? NULL : read_all(path, &size);
    if (bytes) {
      LLVMFuzzerTestOneInput(bytes, size);
      printf("ok %s\n", path);
      fflush(stdout);
    }
    free(bytes);
    free(names[i]);
  }
  free(names);
  return 0;
}
