/* unit/named_test.c - what the debug information gives the registry (image named.mmi) is what typing
 * it gives (typed.mmi): every export and every type. Usage: named_test FOLDER ($MM_BUILD: the build
 * folder). */
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "image/check.h"

static uint64_t *read_file(const char *name, uint64_t *bytes) {
  const char *build = getenv("MM_BUILD") ? getenv("MM_BUILD") : "build";
  char path[4096];
  snprintf(path, sizeof path, "%s/image/%s.mmi", build, name);
  FILE *file = fopen(path, "rb");
  if (!file || fseek(file, 0, SEEK_END) != 0) return NULL;
  *bytes = (uint64_t)ftell(file);
  rewind(file);
  uint64_t *start = malloc(*bytes + 8);
  if (fread(start, 1, *bytes, file) != *bytes) *bytes = 0;
  fclose(file);
  return start;
}

static bool read_registry(const char *name, struct mm__registry *registry) {
  struct mm__head head;
  struct mm_error error;
  uint64_t bytes, head_bytes;
  uint64_t *start = read_file(name, &bytes); /* kept: the registry lies in it */
  if (!start || mm__head_bytes(start, bytes, bytes, &head_bytes, &error) != MM_OK ||
      mm__head_check(start, head_bytes, bytes, &head, &error) != MM_OK)
    return false;
  *registry = head.registry;
  return true;
}

static const char *text(const struct mm__registry *in, uint32_t offset) {
  return in->strings + offset;
}

static void compare_exports(const struct mm__registry *a, const struct mm__registry *b) {
  CHECK(a->export_count >= 50 && a->export_count == b->export_count);
  for (uint32_t i = 0; i < a->export_count && i < b->export_count; i++) {
    const struct mm__export *left = &a->exports[i], *right = &b->exports[i];
    CHECK(strcmp(text(a, left->name), text(b, right->name)) == 0);
    CHECK(strcmp(text(a, left->prototype), text(b, right->prototype)) == 0);
    CHECK(strcmp(text(a, left->doc), text(b, right->doc)) == 0);
    CHECK(left->stack_bytes == right->stack_bytes);
    CHECK(mm__type_equal(a, left->type, b, right->type));
  }
}

/* Whether `b` has a type with the same tag and typedef name, and the same contents. */
static bool has(const struct mm__registry *b, const struct mm__registry *a, uint32_t type) {
  for (uint32_t i = 0; i < b->type_count; i++)
    if (strcmp(text(a, a->types[type].name), text(b, b->types[i].name)) == 0 &&
        strcmp(text(a, a->types[type].alias), text(b, b->types[i].alias)) == 0 &&
        a->types[type].align == b->types[i].align && mm__type_equal(a, type, b, i))
      return true;
  return false;
}

static unsigned compare_types(const struct mm__registry *a, const struct mm__registry *b) {
  unsigned named = 0;
  for (uint32_t i = 0; i < a->type_count; i++) {
    const struct mm__type *type = &a->types[i];
    /* What a standard name stands for has a name of its own, which need not be typed. */
    bool found = strncmp(text(a, type->alias), "__", 2) == 0 || has(b, a, i);
    if (!found) printf("# lacks %s %s\n", text(a, type->name), text(a, type->alias));
    CHECK(found);
    named += type->alias != 0 || type->kind == MM__STRUCT || type->kind == MM__UNION;
  }
  return named;
}

int main(void) {
  struct mm__registry typed, named;
  bool good = read_registry("typed", &typed) && read_registry("named", &named);
  CHECK(good);
  if (good) {
    compare_exports(&typed, &named);
    CHECK(compare_types(&typed, &named) >= 15);
    CHECK(compare_types(&named, &typed) >= 15);
  }
  printf("%s the_debug_information_says_what_was_typed\n", failures ? "not ok" : "ok");
  return failures != 0;
}
