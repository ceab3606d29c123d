/* signature/registry.c - checks a block that may come from anywhere; after it, readers need no
 * checks of their own. */
#include "signature/registry.h"

#include <string.h>

#define TYPE_LIMIT      65536u
#define MEMBER_LIMIT    1048576u
#define PARAMETER_LIMIT 127u
#define SIZE_LIMIT      0x7fffffffu

static bool is_identifier(const char *text) {
  if (!*text || (*text >= '0' && *text <= '9')) return false;
  for (; *text; text++) {
    char c = *text;
    bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
    if (!letter && !(c >= '0' && c <= '9')) return false;
  }
  return true;
}

static const char *check_strings(const struct mm__registry *view) {
  if (view->string_bytes == 0) return "no strings";
  if (view->strings[0] || view->strings[view->string_bytes - 1]) return "unterminated strings";
  for (uint32_t i = 0; i < view->string_bytes; i++) {
    uint8_t c = (uint8_t)view->strings[i];
    if ((c > 0 && c < 32 && c != '\n' && c != '\t') || c == 127)
      return "a control character in a string";
  }
  return NULL;
}

static bool scalar(const struct mm__type *type) {
  return type->member_count == 0 && type->length == 0 && type->target == 0;
}

static bool aligned(const struct mm__type *type) {
  return type->align && !(type->align & (type->align - 1)) && type->size % type->align == 0;
}

static bool integer_size(uint32_t size) { return size == 1 || size == 2 || size == 4 || size == 8; }

/* A type that an object can have. */
static bool complete_object(const struct mm__type *type) {
  return type->kind != MM__VOID && type->kind != MM__FUNCTION &&
         !(type->flags & MM__TYPE_INCOMPLETE);
}

/* A bit-field lies in as few bytes as hold it, which may be one more than its type has. */
static bool fits(const struct mm__type *type, const struct mm__member *field,
                 const struct mm__type *of) {
  uint32_t shift = mm__field_shift(field), width = mm__field_width(field);
  uint64_t size = width ? (shift + width + 7) / 8 : of->size;
  bool is_integer = of->kind >= MM__BOOL && of->kind <= MM__ENUM && of->kind != MM__FLOAT;
  if (field->value < 0 || mm__field_offset(field) + size > type->size) return false;
  return width ? is_integer && shift < 8 && width <= of->size * 8 : shift == 0;
}

static const char *check_fields(const struct mm__registry *view, uint32_t index) {
  const struct mm__type *type = &view->types[index];
  for (uint32_t i = 0; i < type->member_count; i++) {
    const struct mm__member *field = &view->members[type->first_member + i];
    if (field->type >= index) return "a type that contains itself";
    const struct mm__type *of = &view->types[field->type];
    if (!complete_object(of)) return "a field without a size";
    if (!fits(type, field, of)) return "a field outside of its type";
  }
  return NULL;
}

static const char *check_function(const struct mm__registry *view, uint32_t index) {
  const struct mm__type *type = &view->types[index];
  if (type->target >= index) return "a type that contains itself";
  const struct mm__type *result = &view->types[type->target];
  if (result->kind == MM__ARRAY || (result->kind != MM__VOID && !complete_object(result)))
    return "a function without a result type";
  if (type->member_count > PARAMETER_LIMIT) return "too many parameters";
  for (uint32_t i = 0; i < type->member_count; i++) {
    const struct mm__member *parameter = &view->members[type->first_member + i];
    if (parameter->type >= index) return "a type that contains itself";
    const struct mm__type *of = &view->types[parameter->type];
    if (!complete_object(of) || of->kind == MM__ARRAY) return "a parameter without a size";
  }
  return NULL;
}

static const char *check_aggregate(const struct mm__registry *view, uint32_t index) {
  const struct mm__type *type = &view->types[index];
  if (type->flags & MM__TYPE_INCOMPLETE)
    return type->size || type->member_count || !type->name ? "an incomplete type with contents"
                                                           : NULL;
  return aligned(type) ? check_fields(view, index) : "a misaligned type";
}

static const char *check_array(const struct mm__registry *view, uint32_t index) {
  const struct mm__type *type = &view->types[index];
  if (type->target >= index) return "a type that contains itself";
  const struct mm__type *element = &view->types[type->target];
  if (!complete_object(element) || type->align != element->align) return "an array of nothing";
  return (uint64_t)element->size * type->length == type->size ? NULL : "an array of the wrong size";
}

static const char *check_type(const struct mm__registry *view, uint32_t index) {
  const struct mm__type *type = &view->types[index];
  const char *bad = "a type that makes no sense";
  bool is_aggregate = type->kind == MM__STRUCT || type->kind == MM__UNION;
  if (type->kind >= MM__KIND_COUNT || type->size > SIZE_LIMIT) return bad;
  if (type->flags > 31 || (type->flags & MM__TYPE_DISPUTED && !is_aggregate)) return bad;
  if (type->name >= view->string_bytes || type->alias >= view->string_bytes)
    return "a name outside of the strings";
  if (type->target >= view->type_count) return "a type that does not exist";
  if (type->member_count > view->member_count ||
      type->first_member > view->member_count - type->member_count)
    return "members that do not exist";
  switch (type->kind) {
  case MM__VOID:
    return scalar(type) && type->size == 0 ? NULL : bad;
  case MM__BOOL:
    return scalar(type) && type->size == 1 && type->align == 1 ? NULL : bad;
  case MM__SIGNED:
  case MM__UNSIGNED:
    return scalar(type) && integer_size(type->size) && type->align == type->size ? NULL : bad;
  case MM__FLOAT:
    return scalar(type) && (type->size == 4 || type->size == 8 || type->size == 16) &&
                   type->align == type->size
               ? NULL
               : bad;
  case MM__COMPLEX:
    return scalar(type) && (type->size == 8 || type->size == 16 || type->size == 32) &&
                   type->align == type->size / 2
               ? NULL
               : bad;
  case MM__ENUM: {
    uint8_t kind = view->types[type->target].kind;
    return type->target < index && (kind == MM__SIGNED || kind == MM__UNSIGNED) &&
                   view->types[type->target].size == type->size && type->align == type->size
               ? NULL
               : bad;
  }
  case MM__STRING:
    return scalar(type) && type->size == 8 && type->align == 8 ? NULL : bad;
  case MM__POINTER:
    return type->size == 8 && type->align == 8 && !type->member_count ? NULL : bad;
  case MM__ARRAY:
    return check_array(view, index);
  case MM__FUNCTION:
    return type->size == 0 ? check_function(view, index) : bad;
  default:
    return check_aggregate(view, index);
  }
}

/* What a function's arguments take in memory at most: each passed there, and aligned. */
static uint64_t stack_limit(const struct mm__registry *view, const struct mm__type *function) {
  uint64_t bytes = 0;
  for (uint32_t i = 0; i < function->member_count; i++)
    bytes +=
        ((uint64_t)view->types[view->members[function->first_member + i].type].size + 15) & ~15ull;
  return bytes;
}

/* The Matchmaker trusts the flag no further: it only decides which registers are cleared. */
static bool returns_x87(const struct mm__registry *view, const struct mm__export *export) {
  const struct mm__type *result = &view->types[view->types[export->type].target];
  return export->flags == MM__EXPORT_X87 && result->size == 16 &&
         (result->kind == MM__STRUCT || result->kind == MM__UNION);
}

static const char *check_exports(const struct mm__registry *view) {
  for (uint32_t i = 0; i < view->export_count; i++) {
    const struct mm__export *export = &view->exports[i];
    if (export->name >= view->string_bytes || export->prototype >= view->string_bytes ||
        export->doc >= view->string_bytes)
      return "an export's text outside of the strings";
    if (!is_identifier(view->strings + export->name)) return "an export without a name";
    if (i && strcmp(view->strings + view->exports[i - 1].name, view->strings + export->name) >= 0)
      return "exports out of order";
    if (!view->strings[export->prototype]) return "an export without a prototype";
    if (export->type >= view->type_count || view->types[export->type].kind != MM__FUNCTION)
      return "an export that is not a function";
    if (export->stack_bytes % 8 || export->stack_bytes > MM__STACK_ARGUMENTS_LIMIT ||
        export->stack_bytes > stack_limit(view, &view->types[export->type]))
      return "an export with impossible arguments";
    if (export->flags && !returns_x87(view, export)) return "an export with an impossible result";
  }
  return NULL;
}

const char *mm__registry_check(const void *block, size_t bytes, struct mm__registry *view) {
  struct mm__registry_header header;
  if (bytes < sizeof header || (uintptr_t)block % 8) return "too short";
  memcpy(&header, block, sizeof header);
  if (header.bytes != bytes) return "of another length than it says";
  if (header.reserved[0] || header.reserved[1] || header.reserved[2]) return "not of this version";
  if (header.type_count > TYPE_LIMIT || header.member_count > MEMBER_LIMIT ||
      header.export_count > TYPE_LIMIT)
    return "too big";
  uint64_t sum = sizeof header + (uint64_t)header.type_count * sizeof(struct mm__type) +
                 (uint64_t)header.member_count * sizeof(struct mm__member) +
                 (uint64_t)header.export_count * sizeof(struct mm__export) + header.string_bytes;
  if (sum != bytes) return "of another length than its parts";
  view->types = (const struct mm__type *)((const uint8_t *)block + sizeof header);
  view->members = (const struct mm__member *)(view->types + header.type_count);
  view->exports = (const struct mm__export *)(view->members + header.member_count);
  view->strings = (const char *)(view->exports + header.export_count);
  view->type_count = header.type_count;
  view->member_count = header.member_count;
  view->export_count = header.export_count;
  view->string_bytes = header.string_bytes;
  const char *wrong = check_strings(view);
  for (uint32_t i = 0; i < view->member_count && !wrong; i++)
    if (view->members[i].name >= view->string_bytes || view->members[i].type >= view->type_count)
      wrong = "a member that makes no sense";
  for (uint32_t i = 0; i < view->type_count && !wrong; i++) wrong = check_type(view, i);
  return wrong ? wrong : check_exports(view);
}

const struct mm__export *mm__registry_find(const struct mm__registry *registry, const char *name) {
  uint32_t low = 0, high = registry->export_count;
  while (low < high) {
    uint32_t middle = low + (high - low) / 2;
    int order = strcmp(registry->strings + registry->exports[middle].name, name);
    if (order == 0) return &registry->exports[middle];
    if (order < 0)
      low = middle + 1;
    else
      high = middle;
  }
  return NULL;
}
