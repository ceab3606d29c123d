/* client/memory.c - an image's memory, as its client asks for it, reads it and writes it. */
#include "base/error.h"
#include "client/client.h"

/* What one access needs at hand. */
struct access {
  const struct mm__core_table *core;
  struct mm__hold hold;
};

/* Takes the image, if it still is of the generation. */
static int enter(struct access *access, struct mm_image *image, uint32_t generation,
                 struct mm_error *error) {
  access->core = mm__core(error);
  if (!access->core) return MM_ERROR_NOT_CONNECTED;
  int status = access->core->enter(image->slot, image->serial, MM__FOR_EVER, &access->hold, error);
  if (status != MM_OK || !generation || generation == access->hold.generation) return status;
  access->core->leave(&access->hold);
  return mm__fail(error, MM_ERROR_STALE, "it is from before the image was reset");
}

static int leave(const struct access *access, int status) {
  access->core->leave(&access->hold);
  return status;
}

int mm__image_current(struct mm_image *image, uint32_t generation, struct mm_error *error) {
  struct access access;
  int status = enter(&access, image, generation, error);
  return status == MM_OK ? leave(&access, MM_OK) : status;
}

int mm__image_allocate(struct mm_image *image, uint64_t bytes, const void *content,
                       uint64_t *address, uint32_t *generation, struct mm_error *error) {
  struct access access;
  int status = enter(&access, image, 0, error);
  if (status != MM_OK) return status;
  *generation = access.hold.generation;
  return leave(&access, mm__heap_allocate(&image->heap, access.core, &access.hold, bytes, content,
                                          address, error));
}

int mm__image_free(struct mm_image *image, uint32_t generation, uint64_t address,
                   struct mm_error *error) {
  struct access access;
  int status = enter(&access, image, generation, error);
  if (status != MM_OK) return status;
  return leave(&access, mm__heap_free(image->heap, access.core, &access.hold, address, error));
}

int mm__image_read(struct mm_image *image, uint32_t generation, uint64_t address, void *to,
                   uint64_t bytes, struct mm_error *error) {
  struct access access;
  int status = enter(&access, image, generation, error);
  if (status != MM_OK) return status;
  return leave(&access, access.core->read(&access.hold, address, to, bytes, error));
}

int mm__image_write(struct mm_image *image, uint32_t generation, uint64_t address, const void *from,
                    uint64_t bytes, struct mm_error *error) {
  struct access access;
  int status = enter(&access, image, generation, error);
  if (status != MM_OK) return status;
  return leave(&access, access.core->write(&access.hold, address, from, bytes, error));
}

int mm__image_text(struct mm_image *image, uint32_t generation, uint64_t address,
                   struct mm__value *value, struct mm_error *error) {
  struct access access;
  int status = enter(&access, image, generation, error);
  if (status != MM_OK) return status;
  return leave(&access, mm__text_take(access.core, &access.hold, address, value, error));
}

/* --- the C interface --- */

int mm_allocate(struct mm_image *image, size_t bytes, void **memory, struct mm_error *error) {
  uint32_t generation;
  uint64_t address = 0;
  if (!image || !memory) return mm__fail(error, MM_ERROR_NULL, "mm_allocate got a null pointer");
  int status = mm__image_allocate(image, bytes, NULL, &address, &generation, error);
  *memory = (void *)address;
  return status;
}

int mm_free(struct mm_image *image, void *memory, struct mm_error *error) {
  if (!image) return mm__fail(error, MM_ERROR_NULL, "mm_free got a null pointer");
  return memory ? mm__image_free(image, 0, (uint64_t)memory, error) : MM_OK;
}

int mm_read(struct mm_image *image, const void *from, void *to, size_t bytes,
            struct mm_error *error) {
  if (!image || !to) return mm__fail(error, MM_ERROR_NULL, "mm_read got a null pointer");
  return mm__image_read(image, 0, (uint64_t)from, to, bytes, error);
}

int mm_write(struct mm_image *image, void *to, const void *from, size_t bytes,
             struct mm_error *error) {
  if (!image || !from) return mm__fail(error, MM_ERROR_NULL, "mm_write got a null pointer");
  return mm__image_write(image, 0, (uint64_t)to, from, bytes, error);
}
