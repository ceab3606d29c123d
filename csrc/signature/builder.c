/* signature/builder.c - the builder's calls: each parses one text into the store, or takes back all
 * of it. */
#include "signature/builder.h"

#include "base/error.h"
#include "signature/finish.h"
#include "signature/import.h"
#include "signature/parser.h"

#include <stdlib.h>
#include <string.h>

#define DOC_LIMIT       65536u
#define PROTOTYPE_LIMIT 65536u

struct mm__builder {
  struct mm__store store;
};

struct mm__builder *mm__builder_new(void) {
  struct mm__builder *builder = malloc(sizeof *builder);
  if (builder && mm__store_open(&builder->store)) return builder;
  free(builder);
  return NULL;
}

void mm__builder_free(struct mm__builder *builder) {
  if (!builder) return;
  mm__store_close(&builder->store);
  free(builder);
}

/* Ends a call that began at the mark. */
static int done(struct mm__builder *builder, struct mm__parser *parser,
                const struct mm__mark *mark) {
  mm__parser_close(parser);
  if (parser->status != MM_OK) mm__store_undo(&builder->store, mark);
  return parser->status;
}

int mm__builder_declare(struct mm__builder *builder, const char *text, struct mm_error *error) {
  struct mm__mark mark = mm__store_mark(&builder->store);
  struct mm__parser parser;
  if (mm__parser_open(&parser, &builder->store, "declaration", text, error))
    mm__parse_declarations(&parser);
  return done(builder, &parser, &mark);
}

int mm__builder_function(struct mm__builder *builder, const char *prototype, uint32_t *type,
                         struct mm_error *error) {
  struct mm__mark mark = mm__store_mark(&builder->store);
  struct mm__declarator declared;
  struct mm__parser parser;
  if (mm__parser_open(&parser, &builder->store, "prototype", prototype, error) &&
      mm__parse_prototype(&parser, &declared))
    *type = declared.type.type;
  return done(builder, &parser, &mark);
}

int mm__builder_type(struct mm__builder *builder, const char *text, uint32_t *type, bool *is_const,
                     struct mm_error *error) {
  struct mm__mark mark = mm__store_mark(&builder->store);
  struct mm__declarator declared;
  struct mm__parser parser;
  if (mm__parser_open(&parser, &builder->store, "type", text, error) &&
      mm__parse_type_name(&parser, &declared)) {
    *type = declared.type.type;
    *is_const = declared.type.is_const;
  }
  return done(builder, &parser, &mark);
}

int mm__builder_import(struct mm__builder *builder, const struct mm__registry *registry,
                       struct mm_error *error) {
  return mm__import(&builder->store, registry, error);
}

/* --- exports --- */

static bool add_prototype(struct mm__parser *parser, const struct mm__declarator *declared,
                          struct mm__export *export) {
  struct mm__store *store = parser->store;
  struct mm__registry view = mm__store_view(store);
  const char *name = store->strings + declared->name;
  size_t size = mm__type_text(&view, declared->type.type, name, NULL, 0) + 1;
  if (size > PROTOTYPE_LIMIT)
    return mm__parser_fail(parser, &declared->at, "the prototype is longer than %u bytes",
                           PROTOTYPE_LIMIT);
  char *text = malloc(size);
  if (!text) store->status = MM_ERROR_MEMORY;
  if (text) mm__type_text(&view, declared->type.type, name, text, size);
  bool good = text && mm__store_string(store, text, size - 1, &export->prototype);
  free(text);
  return good || mm__parser_store_failed(parser, &declared->at);
}

/* The checker lets through no control characters but the ends of lines and tabs. */
static bool add_doc(struct mm__parser *parser, const struct mm__declarator *declared,
                    const char *doc, struct mm__export *export) {
  size_t length = strnlen(doc, DOC_LIMIT + 1);
  if (length > DOC_LIMIT)
    return mm__parser_fail(parser, &declared->at, "the doc string is longer than %u bytes",
                           DOC_LIMIT);
  char *copy = malloc(length + 1);
  if (!copy) parser->store->status = MM_ERROR_MEMORY;
  for (size_t i = 0; copy && i < length; i++) {
    unsigned char c = (unsigned char)doc[i];
    copy[i] = doc[i];
    if ((c < ' ' && c != '\n' && c != '\t') || c == 127) copy[i] = ' ';
  }
  bool good = copy && mm__store_string(parser->store, copy, length, &export->doc);
  free(copy);
  return good || mm__parser_store_failed(parser, &declared->at);
}

static bool add_export(struct mm__parser *parser, const struct mm__declarator *declared,
                       const char *doc, uint64_t address) {
  struct mm__store *store = parser->store;
  struct mm__name name = {
      .name = declared->name, .kind = MM__NAME_EXPORT, .type = declared->type.type};
  struct mm__export export = {
      .name = declared->name, .type = declared->type.type, .address = address};
  struct mm__registry view = mm__store_view(store);
  if (!declared->name) return mm__parser_fail(parser, &declared->at, "an export needs a name");
  if (mm__store_find(store, MM__NAME_EXPORT, declared->name))
    return mm__parser_fail(parser, &declared->at, "`%s` is exported already",
                           store->strings + declared->name);
  uint64_t bytes = mm__classify_stack_bytes(&view, export.type, store->passing);
  if (bytes > MM__STACK_ARGUMENTS_LIMIT)
    return mm__parser_fail(parser, &declared->at, "its arguments are larger than 1 MiB");
  export.stack_bytes = (uint32_t)bytes;
  const struct mm__type *result = &view.types[view.types[export.type].target];
  const struct mm__passing *passing = &store->passing[view.types[export.type].target];
  bool is_aggregate = result->kind == MM__STRUCT || result->kind == MM__UNION;
  if (is_aggregate && !mm__classify_returns_memory(result, passing) &&
      mm__classify_eightbyte(passing, 0) == MM__X87)
    export.flags = MM__EXPORT_X87;
  if (!add_prototype(parser, declared, &export)) return false;
  if (doc && !add_doc(parser, declared, doc, &export)) return false;
  return (mm__store_name(store, &name) && mm__store_export(store, &export)) ||
         mm__parser_store_failed(parser, &declared->at);
}

int mm__builder_export(struct mm__builder *builder, const char *prototype, const char *doc,
                       uint64_t address, struct mm_error *error) {
  struct mm__mark mark = mm__store_mark(&builder->store);
  struct mm__declarator declared;
  struct mm__parser parser;
  if (mm__parser_open(&parser, &builder->store, "prototype", prototype, error) &&
      mm__parse_prototype(&parser, &declared))
    add_export(&parser, &declared, doc, address);
  return done(builder, &parser, &mark);
}

/* --- results --- */

int mm__builder_view(struct mm__builder *builder, struct mm__registry *view,
                     struct mm_error *error) {
  (void)error;
  mm__store_settle(&builder->store);
  *view = mm__store_view(&builder->store);
  return MM_OK;
}

int mm__builder_finish(struct mm__builder *builder, void **block, size_t *bytes,
                       struct mm_error *error) {
  mm__store_settle(&builder->store);
  int status = mm__finish(&builder->store, block, bytes);
  return status == MM_OK ? MM_OK : mm__fail(error, status, "out of memory for the registry");
}
