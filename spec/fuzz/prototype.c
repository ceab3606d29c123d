/* prototype.c - the input is a word that says what each part is, and the parts, with NULs between them: C declarations,
 * prototypes and types. What is built of them passes the checker, and canonical text means what it came from. */
#include "readers.h"

static void use(struct mm__builder *builder, uint8_t what, const char *text) {
  struct mm_error error;
  uint32_t type;
  bool is_const;
  int status = MM_OK;
  switch (what % 4) {
  case 0:
    status = mm__builder_declare(builder, text, &error);
    break;
  case 1:
    status = mm__builder_export(builder, text, "a doc", 0x1000, &error);
    break;
  case 2:
    status = mm__builder_function(builder, text, &type, &error);
    break;
  case 3:
    status = mm__builder_type(builder, text, &type, &is_const, &error);
    break;
  }
  MUST(status == MM_OK || error.message[0]);
  MUST(status == MM_OK || !strchr(error.message, '\n'));
}

/* Where the text was not cut. */
static void check_text(const struct mm__registry *registry) {
  for (uint32_t i = 0; i < some(registry->export_count); i++) {
    const char *prototype = registry->strings + registry->exports[i].prototype;
    struct mm__builder *builder = mm__builder_new();
    struct mm__registry view;
    struct mm_error error;
    uint32_t type;
    MUST(builder && mm__builder_import(builder, registry, &error) == MM_OK);
    if (!strstr(prototype, "...") &&
        mm__builder_function(builder, prototype, &type, &error) == MM_OK &&
        mm__builder_view(builder, &view, &error) == MM_OK)
      MUST(mm__type_equal(&view, type, registry, registry->exports[i].type));
    mm__builder_free(builder);
  }
}

static void finish(struct mm__builder *builder) {
  struct mm__registry registry;
  struct mm_error error;
  void *block;
  size_t bytes;
  if (mm__builder_finish(builder, &block, &bytes, &error) != MM_OK) return;
  void *exact = copy_of(block, bytes);
  free(block);
  MUST(mm__registry_check(exact, bytes, &registry) == NULL);
  read_registry(&registry);
  check_text(&registry);
  free(exact);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
  struct mm__builder *builder = mm__builder_new();
  MUST(builder);
  while (size > 1) {
    const uint8_t *end = memchr(bytes + 1, 0, size - 1);
    size_t length = end ? (size_t)(end - bytes) : size;
    char *text = text_of(bytes + 1, length - 1);
    use(builder, bytes[0], text);
    free(text);
    length += end != NULL;
    bytes += length, size -= length;
  }
  finish(builder);
  mm__builder_free(builder);
  return 0;
}
