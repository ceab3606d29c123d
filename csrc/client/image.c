/* client/image.c - handles of mapped images, their exports and bound functions. */
#include "base/error.h"
#include "client/client.h"
#include "signature/builder.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct mm_image *handles;

static void add_handle(struct mm_image *image) {
  pthread_mutex_lock(&lock);
  image->next = handles;
  handles = image;
  pthread_mutex_unlock(&lock);
}

/* Takes the handle off the list; without one, any that nobody uses any more. NULL: there is none. */
static struct mm_image *remove_handle(const struct mm_image *image) {
  pthread_mutex_lock(&lock);
  struct mm_image **at = &handles;
  while (*at && (image ? *at != image : (*at)->users != 0)) at = &(*at)->next;
  struct mm_image *found = *at;
  if (found) *at = found->next;
  pthread_mutex_unlock(&lock);
  return found;
}

struct mm_image *mm__image_in_slot(uint32_t slot) {
  const struct mm__core_table *core = mm__core(NULL);
  struct mm_image *found = NULL;
  const struct mm__head *head;
  pthread_mutex_lock(&lock);
  for (struct mm_image *image = handles; image && core && !found; image = image->next)
    if (image->slot == slot && core->head(slot, image->serial, &head, NULL) == MM_OK) found = image;
  pthread_mutex_unlock(&lock);
  return found;
}

uint32_t mm__images_mapped(struct mm_client_image *images, uint32_t limit) {
  const struct mm__core_table *core = mm__core(NULL);
  struct mm_image_info info;
  const struct mm__head *head;
  uint32_t count = 0;
  pthread_mutex_lock(&lock);
  for (struct mm_image *image = handles; image && core; image = image->next) {
    if (!image->path || core->head(image->slot, image->serial, &head, NULL) != MM_OK ||
        core->list(image->slot, &info, NULL) != MM_OK)
      continue;
    if (count++ >= limit) continue;
    struct mm_client_image *listed = &images[count - 1];
    memset(listed, 0, sizeof *listed);
    listed->mapped_bytes = info.mapped_bytes;
    listed->slot = info.slot;
    listed->guard = info.guard;
    strncpy(listed->path, image->path, sizeof listed->path - 1);
  }
  pthread_mutex_unlock(&lock);
  return count;
}

void mm__image_mark(struct mm_image *image) {
  if (image->callable) *image->callable = image->is_mapped && !image->callbacks;
}

/* The list is whole at every moment. */
void mm__images_forked(void) {
  pthread_mutex_init(&lock, NULL);
  for (struct mm_image *image = handles; image; image = image->next)
    pthread_mutex_init(&image->lock, NULL);
}

static void free_functions(struct mm_function *function) {
  while (function) {
    struct mm_function *next = function->next;
    mm__thunk_free(function->thunk);
    mm__builder_free(function->builder);
    free(function);
    function = next;
  }
}

static void free_handle(struct mm_image *image) {
  mm__callbacks_release(image);
  free_functions(image->functions);
  mm__symbol_table_free(image->symbols);
  mm__heap_close(image->heap);
  mm__builder_free(image->builder);
  pthread_mutex_destroy(&image->lock);
  free(image->block);
  free(image->path);
  free(image);
}

/* Unmaps the image, now or, where calls are running, when the last of them ends. */
static int retire(const struct mm_image *image) {
  const struct mm__core_table *core = mm__core(NULL);
  if (!core || !image->serial) return MM_ERROR_UNMAPPED;
  int status = core->retire(image->slot, image->serial, NULL);
  if (status == MM_OK) mm__list_update();
  return status;
}

/* Nobody uses the handle; it is off the list. While its image is still mapped it goes back there, for
 * the next occasion. */
static bool try_to_free(struct mm_image *image) {
  int status = retire(image);
  bool is_gone = status == MM_OK || status == MM_ERROR_UNMAPPED;
  if (is_gone)
    free_handle(image);
  else
    add_handle(image);
  return is_gone;
}

/* Handles whose images were still mapped when they were let go of: a call through a plain pointer
 * was running, or the kernel refused. */
static void free_unused(void) {
  struct mm_image *image;
  do image = remove_handle(NULL);
  while (image && try_to_free(image));
}

void mm__image_use(struct mm_image *image) {
  __atomic_fetch_add(&image->users, 1, __ATOMIC_SEQ_CST);
}

void mm__image_drop(struct mm_image *image) {
  if (__atomic_sub_fetch(&image->users, 1, __ATOMIC_SEQ_CST) == 0 && remove_handle(image))
    try_to_free(image);
}

void mm_image_release(struct mm_image *image) {
  if (!image) return;
  free_unused();
  image->callable = NULL;
  retire(image);
  mm__image_drop(image);
}

/* The registry was checked by the Matchmaker; the copy is the same bytes at another address. */
static int copy_registry(struct mm_image *image, const struct mm__registry *from,
                         struct mm_error *error) {
  const struct mm__registry_header *header = (const struct mm__registry_header *)from->types - 1;
  image->block = malloc(header->bytes);
  if (!image->block) return mm__fail(error, MM_ERROR_MEMORY, "out of memory for the registry");
  memcpy(image->block, header, header->bytes);
  ptrdiff_t moved = (const char *)image->block - (const char *)header;
  image->registry = *from;
  image->registry.types = (const void *)((const char *)from->types + moved);
  image->registry.members = (const void *)((const char *)from->members + moved);
  image->registry.exports = (const void *)((const char *)from->exports + moved);
  image->registry.strings = from->strings + moved;
  return MM_OK;
}

char *mm__absolute_path(const char *path) {
  char *folder = path[0] == '/' ? NULL : getcwd(NULL, 0);
  char *absolute = NULL;
  if (!folder) return strdup(path);
  if (asprintf(&absolute, "%s/%s", folder, path) < 0) absolute = NULL;
  free(folder);
  return absolute;
}

static int fill_handle(const struct mm__core_table *core, struct mm_image *image, const char *path,
                       const struct mm_map_options *options, struct mm_error *error) {
  const struct mm__head *head;
  struct mm_map_options wanted = {0};
  if (options) wanted = *options;
  int status = mm__grants_complete(&wanted, path, error);
  if (status != MM_OK) return status;
  status = core->map(path, &wanted, &image->slot, &image->serial, error);
  mm__grants_free(&wanted);
  if (status != MM_OK) return status;
  image->path = mm__absolute_path(path);
  if (!image->path) return mm__fail(error, MM_ERROR_MEMORY, "%s: out of memory", path);
  status = core->head(image->slot, image->serial, &head, error);
  return status == MM_OK ? copy_registry(image, &head->registry, error) : status;
}

int mm_request_map(const char *path, const struct mm_map_options *options, struct mm_image **image,
                   struct mm_error *error) {
  const struct mm__core_table *core = mm__core(error);
  if (!core) return MM_ERROR_NOT_CONNECTED;
  if (!path || !image) return mm__fail(error, MM_ERROR_NULL, "mm_request_map got a null pointer");
  free_unused();
  struct mm_image *handle = calloc(1, sizeof *handle);
  if (!handle) return mm__fail(error, MM_ERROR_MEMORY, "%s: out of memory", path);
  handle->users = 1;
  pthread_mutex_init(&handle->lock, NULL);
  add_handle(handle);
  int status = fill_handle(core, handle, path, options, error);
  handle->is_mapped = status == MM_OK;
  if (status != MM_OK)
    mm_image_release(handle);
  else
    *image = handle;
  if (status == MM_OK) mm__list_update();
  return status;
}

/* C11 6.5.2.2, 6: what is narrower than an int, and float, goes promoted. */
static int check_promoted(const struct mm_function *function, const struct mm__registry *registry,
                          uint32_t type, struct mm_error *error) {
  const char *name = function->image->registry.strings + function->export->name;
  uint32_t fixed = function->type->member_count;
  for (uint32_t i = fixed; i < registry->types[type].member_count; i++) {
    uint32_t index = registry->members[registry->types[type].first_member + i].type;
    const struct mm__type *of = &registry->types[index];
    bool is_small = of->kind >= MM__BOOL && of->kind <= MM__ENUM && of->size < 4;
    bool is_single = of->kind == MM__FLOAT && of->size == 4;
    char text[100];
    mm__type_text(registry, index, NULL, text, sizeof text);
    if (is_small || is_single)
      return mm__fail(error, MM_ERROR_SIGNATURE,
                      "%s: variable argument %u is `%s`, which C passes as `%s`", name,
                      i - fixed + 1, text, is_small ? "int" : "double");
  }
  return MM_OK;
}

/* The type that the caller expects, for the Matchmaker to compare. A variadic function is called as
 * the type says that spells the call out, so that type stays. */
static int bind_expected(const struct mm__core_table *core, struct mm_function *function,
                         const char *expected, uint32_t *type, struct mm_error *error) {
  struct mm_image *image = function->image;
  uint32_t index = (uint32_t)(function->export - image->registry.exports);
  struct mm__builder *builder = mm__builder_new();
  if (!builder) return mm__fail(error, MM_ERROR_MEMORY, "out of memory for a prototype");
  int status = mm__builder_import(builder, &image->registry, error);
  if (status == MM_OK) status = mm__builder_function(builder, expected, type, error);
  if (status == MM_OK) status = mm__builder_view(builder, &function->spelled, error);
  if (status == MM_OK)
    status = core->bind(image->slot, image->serial, index, &function->spelled, *type,
                        &function->stub, error);
  bool is_call = status == MM_OK && function->type->flags & MM__TYPE_VARIADIC &&
                 !(function->spelled.types[*type].flags & MM__TYPE_VARIADIC);
  if (is_call) status = check_promoted(function, &function->spelled, *type, error);
  if (is_call && status == MM_OK) {
    function->builder = builder;
    function->registry = &function->spelled;
    function->type = &function->spelled.types[*type];
  } else {
    *type = function->export->type;
    mm__builder_free(builder);
  }
  return status;
}

static int bind_stub(const struct mm__core_table *core, struct mm_function *function,
                     const char *expected, uint32_t *type, struct mm_error *error) {
  struct mm_image *image = function->image;
  uint32_t index = (uint32_t)(function->export - image->registry.exports);
  if (expected) return bind_expected(core, function, expected, type, error);
  return core->bind(image->slot, image->serial, index, &image->registry, *type, &function->stub,
                    error);
}

static int make_function(struct mm_image *image, const struct mm__export *export,
                         const char *expected, struct mm_function **result,
                         struct mm_error *error) {
  const struct mm__core_table *core = mm__core(error);
  if (!core) return MM_ERROR_NOT_CONNECTED;
  struct mm_function *function = calloc(1, sizeof *function);
  if (!function) return mm__fail(error, MM_ERROR_MEMORY, "out of memory for a function");
  function->image = image;
  function->export = export;
  function->registry = &image->registry;
  function->type = &image->registry.types[export->type];
  uint32_t type = export->type, fixed = function->type->member_count;
  int status = bind_stub(core, function, expected, &type, error);
  if (status == MM_OK)
    status = mm__thunk_make(function->registry, type, fixed, image->registry.strings + export->name,
                            &function->thunk, error);
  if (status != MM_OK) {
    free_functions(function);
    return status;
  }
  *result = function;
  return MM_OK;
}

int mm_bind(struct mm_image *image, const char *name, const char *expected,
            struct mm_function **function, struct mm_error *error) {
  if (!image || !name || !function)
    return mm__fail(error, MM_ERROR_NULL, "mm_bind got a null pointer");
  const struct mm__export *export = mm__registry_find(&image->registry, name);
  if (!export)
    return mm__fail(error, MM_ERROR_NO_EXPORT, "%s has no export `%s`", image->path, name);
  int status = make_function(image, export, expected, function, error);
  if (status != MM_OK) return status;
  pthread_mutex_lock(&image->lock);
  (*function)->next = image->functions;
  image->functions = *function;
  pthread_mutex_unlock(&image->lock);
  return MM_OK;
}

void *mm_function_pointer(struct mm_function *function) { return function->stub; }

int mm_reset(struct mm_image *image, struct mm_error *error) {
  if (!image) return mm__fail(error, MM_ERROR_NULL, "mm_reset got a null pointer");
  const struct mm__core_table *core = mm__core(error);
  return core ? core->reset(image->slot, image->serial, error) : MM_ERROR_NOT_CONNECTED;
}

int mm_unmap(struct mm_image *image, struct mm_error *error) {
  if (!image) return mm__fail(error, MM_ERROR_NULL, "mm_unmap got a null pointer");
  const struct mm__core_table *core = mm__core(error);
  int status = core ? core->unmap(image->slot, image->serial, error) : (int)MM_ERROR_NOT_CONNECTED;
  if (status != MM_OK) return status;
  image->is_mapped = false;
  mm__image_mark(image);
  mm__list_update();
  return MM_OK;
}

int mm_image_info(struct mm_image *image, struct mm_image_info *info, struct mm_error *error) {
  if (!image || !info) return mm__fail(error, MM_ERROR_NULL, "mm_image_info got a null pointer");
  const struct mm__core_table *core = mm__core(error);
  const struct mm__head *head;
  if (!core) return MM_ERROR_NOT_CONNECTED;
  int status = core->head(image->slot, image->serial, &head, error);
  return status == MM_OK ? core->list(image->slot, info, error) : status;
}

int mm_image_refused(struct mm_image *image, uint32_t index, struct mm_refusal *refusal,
                     struct mm_error *error) {
  if (!image || !refusal)
    return mm__fail(error, MM_ERROR_NULL, "mm_image_refused got a null pointer");
  const struct mm__core_table *core = mm__core(error);
  return core ? core->refused(image->slot, image->serial, index, refusal, error)
              : MM_ERROR_NOT_CONNECTED;
}

int mm_mapped(uint32_t index, struct mm_image_info *info, struct mm_error *error) {
  if (!info) return mm__fail(error, MM_ERROR_NULL, "mm_mapped got a null pointer");
  const struct mm__core_table *core = mm__core(error);
  if (!core) return MM_ERROR_NOT_CONNECTED;
  for (uint32_t slot = 1; slot < MM__SLOT_COUNT; slot++)
    if (core->list(slot, info, NULL) == MM_OK && index-- == 0) return MM_OK;
  return mm__fail(error, MM_ERROR_ARGUMENT, "fewer images are mapped");
}

uint32_t mm_export_count(struct mm_image *image) { return image->registry.export_count; }

/* A string of an export, by the offset that `field` of it holds; NULL past the end. */
static const char *text_of(struct mm_image *image, uint32_t index, size_t field) {
  if (index >= image->registry.export_count) return NULL;
  const char *export = (const char *)&image->registry.exports[index];
  return image->registry.strings + *(const uint32_t *)(export + field);
}

const char *mm_export_name(struct mm_image *image, uint32_t index) {
  return text_of(image, index, offsetof(struct mm__export, name));
}

const char *mm_export_prototype(struct mm_image *image, uint32_t index) {
  return text_of(image, index, offsetof(struct mm__export, prototype));
}

const char *mm_export_doc(struct mm_image *image, uint32_t index) {
  return text_of(image, index, offsetof(struct mm__export, doc));
}
