/* signature/builder.h - parses C declarations and prototypes, and builds a registry from them.
 * Owns:    everything it parsed, until mm__builder_free.
 * Threads: one builder, one thread.
 * Signals: not for handlers; allocates.
 * Errors:  MM_ERROR_PROTOTYPE with what is wrong, its column and the text there; MM_ERROR_MEMORY.
 *          After an error the builder is as it was before the call. */
#ifndef MM_SIGNATURE_BUILDER_H
#define MM_SIGNATURE_BUILDER_H

#include "matchmaker.h"
#include "signature/registry.h"

struct mm__builder;

struct mm__builder *mm__builder_new(void); /* NULL: out of memory */
void mm__builder_free(struct mm__builder *builder);

/* Adds the types that `text` declares (several declarations are allowed): enums, typedefs, and
 * structs or unions. The same declaration may come again, as a header does in two units of one
 * server. */
int mm__builder_declare(struct mm__builder *builder, const char *text, struct mm_error *error);

/* Adds an export. `prototype` is a full one with its name, "int spell(const char *word)". A second
 * export of one name is an error. `doc` may be NULL. */
int mm__builder_export(struct mm__builder *builder, const char *prototype, const char *doc,
                       uint64_t address, struct mm_error *error);

/* Parses a function type, with or without a name ("int (const char *)"), into the builder without
 * exporting it. `type` is its index in every later view; a finished block leaves it out. */
int mm__builder_function(struct mm__builder *builder, const char *prototype, uint32_t *type,
                         struct mm_error *error);

/* Parses the name of a type ("struct point", "int[4]", "const char *") into the builder; `is_const`
 * of the type itself. */
int mm__builder_type(struct mm__builder *builder, const char *text, uint32_t *type, bool *is_const,
                     struct mm_error *error);

/* Makes the typedef names, tags and enum constants of a checked registry known, so that a prototype
 * may use an image's own types. For a fresh builder: of a name that is known already, the old
 * meaning stays. */
int mm__builder_import(struct mm__builder *builder, const struct mm__registry *registry,
                       struct mm_error *error);

/* A view of what was built so far; valid until the builder changes or goes. Its exports are sorted.
 * */
int mm__builder_view(struct mm__builder *builder, struct mm__registry *view,
                     struct mm_error *error);

/* The finished block: malloc'ed, aligned to 8, the caller frees it. */
int mm__builder_finish(struct mm__builder *builder, void **block, size_t *bytes,
                       struct mm_error *error);

#endif
