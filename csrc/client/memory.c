/* client/memory.c - an image's memory, as its client reads it: always within what is mapped. */
#include "base/error.h"
#include "client/client.h"

#include <string.h>

/* Takes the image, if it still is of the generation (0: any). */
static int enter(const struct mm__core_table *core, struct mm_image *image, uint32_t generation,
                 struct mm__hold *hold, struct mm_error *error) {
  int status = core->enter(image->slot, image->serial, hold, error);
  if (status != MM_OK) return mm__fail(error, status, "%s", mm_error_text(status));
  if (!generation || generation == hold->generation) return MM_OK;
  core->leave(hold);
  return mm__fail(error, MM_ERROR_STALE, "from before the image was reset");
}

int mm__image_text(struct mm_image *image, uint32_t generation, uint64_t address,
                   struct mm__value *value, struct mm_error *error) {
  const struct mm__core_table *core = mm__core(error);
  struct mm__hold hold;
  if (!core) return MM_ERROR_NOT_CONNECTED;
  int status = enter(core, image, generation, &hold, error);
  if (status != MM_OK) return status;
  status = mm__text_take(core, &hold, address, value, error);
  core->leave(&hold);
  return status;
}
