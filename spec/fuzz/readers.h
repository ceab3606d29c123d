/* readers.h - everything that reads a registry which the checker found sound: none of it may fail. */
#ifndef SPEC_FUZZ_READERS_H
#define SPEC_FUZZ_READERS_H

#include "fuzz.h"
#include "signature/builder.h"
#include "signature/registry.h"

#define MOST 64u /* of many, some are enough */

static inline uint32_t some(uint32_t count) { return count < MOST ? count : MOST; }

static inline void read_types(const struct mm__registry *registry) {
  for (uint32_t i = 0; i < some(registry->type_count); i++) {
    char text[300], tiny[5];
    size_t length = mm__type_text(registry, i, "name", text, sizeof text);
    MUST(strlen(text) < sizeof text && (length >= sizeof text || strlen(text) == length));
    MUST(mm__type_text(registry, i, "name", tiny, sizeof tiny) == length);
    for (uint32_t j = 0; j < some(registry->type_count); j++)
      MUST(mm__type_equal(registry, i, registry, j) == mm__type_equal(registry, j, registry, i));
  }
}

static inline void read_exports(const struct mm__registry *registry) {
  for (uint32_t i = 0; i < registry->export_count; i++) {
    const struct mm__export *export = &registry->exports[i];
    MUST(mm__registry_find(registry, registry->strings + export->name) == export);
    MUST(registry->types[export->type].kind == MM__FUNCTION);
  }
}

/* As mm_bind does it, with the caller's prototype. */
static inline void bind_some(const struct mm__registry *registry) {
  struct mm__builder *builder = mm__builder_new();
  struct mm__registry view;
  struct mm_error error;
  uint32_t type;
  MUST(builder);
  if (mm__builder_import(builder, registry, &error) == MM_OK)
    for (uint32_t i = 0; i < some(registry->export_count); i++) {
      const char *prototype = registry->strings + registry->exports[i].prototype;
      if (mm__builder_function(builder, prototype, &type, &error) != MM_OK) continue;
      MUST(mm__builder_view(builder, &view, &error) == MM_OK);
      mm__type_equal(&view, type, registry, registry->exports[i].type);
    }
  mm__builder_free(builder);
}

static inline void read_registry(const struct mm__registry *registry) {
  read_types(registry);
  read_exports(registry);
  bind_some(registry);
}

#endif
