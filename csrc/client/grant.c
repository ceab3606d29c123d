/* client/grant.c - the folders of a grant, by every name that paths of the image may begin with: as
 * it was given, made absolute, and as realpath(3) has it. */
#include "base/error.h"
#include "client/client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Without slashes to spare. */
static void squeeze(char *name) {
  char *to = name;
  for (const char *from = name; *from; from++)
    if (*from != '/' || to == name || to[-1] != '/') *to++ = *from;
  while (to > name + 1 && to[-1] == '/') to--;
  *to = 0;
}

static int check(const struct mm_grant_files *files, const char *path, struct mm_error *error) {
  if (!files->folder || !*files->folder)
    return mm__fail(error, MM_ERROR_ARGUMENT, "%s: a granted folder has no name", path);
  if (!files->access || files->access & ~(uint32_t)(MM_FILES_READ | MM_FILES_WRITE))
    return mm__fail(error, MM_ERROR_ARGUMENT, "%s: there is no access 0x%x to the folder %s", path,
                    files->access, files->folder);
  return MM_OK;
}

static void add(struct mm_map_options *options, struct mm_grant_files *list, char *name,
                uint32_t access) {
  if (access & MM_FILES_WRITE) access |= MM_FILES_READ;
  list[options->file_count++] = (struct mm_grant_files){name, access};
}

void mm__grants_free(struct mm_map_options *options) {
  for (uint32_t i = 0; i < options->file_count; i++) free((char *)options->files[i].folder);
  free((struct mm_grant_files *)options->files);
  options->files = NULL;
  options->file_count = 0;
}

int mm__grants_complete(struct mm_map_options *options, const char *path, struct mm_error *error) {
  const struct mm_grant_files *given = options->files;
  uint32_t count = options->file_count;
  struct mm_grant_files *list = count ? calloc(2ul * count, sizeof *list) : NULL;
  int status = MM_OK;
  options->files = list;
  options->file_count = 0;
  if (!count) return MM_OK;
  if (!list) return mm__fail(error, MM_ERROR_MEMORY, "%s: out of memory", path);
  options->grants |= MM_GRANT_FILES;
  for (uint32_t i = 0; i < count && status == MM_OK; i++) {
    status = check(&given[i], path, error);
    char *name = status == MM_OK ? mm__absolute_path(given[i].folder) : NULL;
    if (!name) continue;
    squeeze(name);
    add(options, list, name, given[i].access);
    char *real = realpath(name, NULL);
    if (real && strcmp(real, name) != 0)
      add(options, list, real, given[i].access);
    else
      free(real); /* what does not exist is told by who opens it */
  }
  if (status == MM_OK && options->file_count < count)
    status = mm__fail(error, MM_ERROR_MEMORY, "%s: out of memory", path);
  if (status != MM_OK) mm__grants_free(options);
  return status;
}
