/* launch/registration.c - reads the list that a server's constructors made, believing no pointer in
 * it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/error.h"
#include "launch/debug.h"
#include "launch/launch.h"
#include "matchmaker/server.h"
#include "signature/builder.h"

#define REGISTRATION_LIMIT 65536u
#define STRING_LIMIT       65536u

enum { EXPORT = 0, TYPE = 1, NEED = 2 };

static const struct {
  const char *kind;
  uint32_t bit;
} needs[] = {{"output", MM_GRANT_OUTPUT},
             {"files", MM_GRANT_FILES},
             {"sockets", MM_GRANT_SOCKETS},
             {"jit", MM_GRANT_JIT},
             {"everything", MM_GRANT_EVERYTHING}};

bool mm__server_readable(const struct mm__snapshot *snapshot, uint64_t address, uint64_t bytes) {
  for (uint32_t i = 0; i < snapshot->range_count; i++) {
    const struct mm__range *range = &snapshot->ranges[i];
    if (range->high <= address) continue;
    if (range->low > address || (range->protection & PROT_READ) == 0) return false;
    if (bytes <= range->high - address) return true;
    bytes -= range->high - address;
    address = range->high;
  }
  return false;
}

const char *mm__server_string(const struct mm__snapshot *snapshot, const void *address) {
  const char *string = address;
  uint64_t checked = (uint64_t)string;
  for (uint64_t i = 0; i < STRING_LIMIT; i++) {
    if ((uint64_t)string + i >= checked) {
      uint64_t page = (checked & -(uint64_t)MM__PAGE) + MM__PAGE;
      if (!mm__server_readable(snapshot, checked, page - checked)) return NULL;
      checked = page;
    }
    if (string[i] == 0) return string;
  }
  return NULL;
}

/* One pass over the list for one kind of registration; `use` copies what it needs. */
struct reading {
  const struct mm__snapshot *snapshot;
  struct mm__builder *builder;
  struct mm__debug *debug;
  struct mm__collected *collected;
  struct mm_error *error;
  bool has_bare;
};

static int unreadable(const struct reading *reading, const char *what) {
  return mm__fail(reading->error, MM_ERROR_ARGUMENT, "the list of registrations is damaged: %s",
                  what);
}

/* A string that may be missing. */
static bool read_string(const struct reading *reading, const char *address, const char **string) {
  *string = address ? mm__server_string(reading->snapshot, address) : NULL;
  return address == NULL || *string != NULL;
}

static int use_type(struct reading *reading, const struct mm_registration *registration) {
  const char *text;
  if (!read_string(reading, registration->result, &text) || !text)
    return unreadable(reading, "a type has no text");
  return mm__builder_declare(reading->builder, text, reading->error);
}

/* Without a prototype: the debug information has it. */
static bool is_bare(const struct mm_registration *registration) {
  return registration->kind == EXPORT && !registration->result;
}

static int use_bare(struct reading *reading, const struct mm_registration *registration) {
  const char *name, *doc;
  if (!is_bare(registration)) return MM_OK;
  if (!read_string(reading, registration->name, &name) ||
      !read_string(reading, registration->doc, &doc))
    return unreadable(reading, "an export has no text");
  return mm__debug_export_at(reading->debug, (uint64_t)registration->function, name, doc,
                             reading->error);
}

static int find_bare(struct reading *reading, const struct mm_registration *registration) {
  if (is_bare(registration)) reading->has_bare = true;
  return MM_OK;
}

static int use_export(struct reading *reading, const struct mm_registration *registration) {
  const char *result, *name, *parameters, *doc;
  char *prototype = NULL;
  if (is_bare(registration)) return MM_OK;
  if (!read_string(reading, registration->result, &result) || !result ||
      !read_string(reading, registration->name, &name) ||
      !read_string(reading, registration->parameters, &parameters) || (name && !parameters) ||
      !read_string(reading, registration->doc, &doc))
    return unreadable(reading, "an export has no text");
  int length = name ? asprintf(&prototype, "%s %s%s", result, name, parameters)
                    : asprintf(&prototype, "%s", result);
  if (length < 0) return mm__fail(reading->error, MM_ERROR_MEMORY, "out of memory for a prototype");
  int status = mm__builder_export(reading->builder, prototype, doc,
                                  (uint64_t)registration->function, reading->error);
  free(prototype);
  return status;
}

static int use_need(struct reading *reading, const struct mm_registration *registration) {
  const char *kind, *detail;
  char *text = NULL, *old = reading->collected->needs;
  if (!read_string(reading, registration->result, &kind) || !kind ||
      !read_string(reading, registration->parameters, &detail))
    return unreadable(reading, "a need has no text");
  uint32_t bit = 0;
  for (uint32_t i = 0; i < sizeof needs / sizeof needs[0]; i++)
    if (strcmp(needs[i].kind, kind) == 0) bit = needs[i].bit;
  if (bit == 0)
    return mm__fail(
        reading->error, MM_ERROR_ARGUMENT,
        "MM_NEED(\"%s\"): no such need; there are output, files, sockets, jit and everything",
        kind);
  if (asprintf(&text, "%s%s\t%s\n", old ? old : "", kind, detail ? detail : "") < 0)
    return mm__fail(reading->error, MM_ERROR_MEMORY, "out of memory for the needs");
  for (char *c = text + (old ? strlen(old) : 0) + strlen(kind) + 1; c[0] && c[1]; c++)
    if ((unsigned char)*c < 0x20 || *c == 0x7f)
      *c = ' '; /* one line each, and nothing that a terminal obeys */
  free(old);
  reading->collected->needs = text;
  reading->collected->need_bits |= bit;
  return MM_OK;
}

static int pass(struct reading *reading, uint32_t kind,
                int (*use)(struct reading *, const struct mm_registration *)) {
  const struct mm_registration *registration = reading->snapshot->registrations;
  for (uint32_t i = 0; registration; i++, registration = registration->next) {
    if (i == REGISTRATION_LIMIT) return unreadable(reading, "it has no end");
    if ((uint64_t)registration % _Alignof(struct mm_registration) != 0 ||
        !mm__server_readable(reading->snapshot, (uint64_t)registration, sizeof *registration))
      return unreadable(reading, "an entry does not lie in memory");
    if (registration->kind > NEED) return unreadable(reading, "an entry is of an unknown kind");
    int status = registration->kind == kind ? use(reading, registration) : MM_OK;
    if (status != MM_OK) return status;
  }
  return MM_OK;
}

/* What is registered or named without a prototype, after all the types that were typed. */
static int read_debug(struct reading *reading, const struct mm__process *process, char **named) {
  int status = pass(reading, EXPORT, find_bare);
  if (status != MM_OK || (!reading->has_bare && !named[0])) return status;
  status = mm__debug_open(&reading->debug, process, reading->builder, reading->error);
  if (status == MM_OK) status = pass(reading, EXPORT, use_bare);
  for (; status == MM_OK && *named; named++)
    status = mm__debug_export(reading->debug, *named, reading->error);
  mm__debug_close(reading->debug);
  return status;
}

int mm__registrations_read(const struct mm__snapshot *snapshot, const struct mm__process *process,
                           char **named, struct mm__collected *collected, struct mm_error *error) {
  struct reading reading = {
      .snapshot = snapshot, .builder = mm__builder_new(), .collected = collected, .error = error};
  int status;
  memset(collected, 0, sizeof *collected);
  if (!reading.builder) return mm__fail(error, MM_ERROR_MEMORY, "out of memory for the registry");
  /* Types first: an export may be registered before the types that it uses. */
  if ((status = pass(&reading, TYPE, use_type)) == MM_OK &&
      (status = pass(&reading, EXPORT, use_export)) == MM_OK &&
      (status = read_debug(&reading, process, named)) == MM_OK &&
      (status = pass(&reading, NEED, use_need)) == MM_OK)
    status = mm__builder_finish(reading.builder, &collected->registry, &collected->registry_bytes,
                                error);
  mm__builder_free(reading.builder);
  if (status != MM_OK) mm__collected_free(collected);
  return status;
}

void mm__collected_free(struct mm__collected *collected) {
  free(collected->registry);
  free(collected->needs);
  memset(collected, 0, sizeof *collected);
}
