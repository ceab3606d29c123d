/* client/type.c - C types by their text, in the scope of an image's own types. So two images may
 * mean different things by one name. */
#include "base/error.h"
#include "client/client.h"
#include "signature/builder.h"

static int start(struct mm_image *image, struct mm_error *error) {
  struct mm__builder *builder = mm__builder_new();
  if (!builder) return mm__fail(error, MM_ERROR_MEMORY, "out of memory for types");
  int status = mm__builder_import(builder, &image->registry, error);
  if (status == MM_OK)
    image->builder = builder;
  else
    mm__builder_free(builder);
  return status;
}

int mm__image_type(struct mm_image *image, const char *text, uint32_t *type, bool *is_const,
                   struct mm_error *error) {
  int status = image->builder ? MM_OK : start(image, error);
  if (status != MM_OK) return status;
  status = mm__builder_type(image->builder, text, type, is_const, error);
  mm__builder_view(image->builder, &image->types, NULL); /* also a failure may have moved it */
  return status;
}
