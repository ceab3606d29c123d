/* core/slot/admit.c - whether an image may be mapped: its file, this machine, the policy, what was
 * granted, the limits; in the order in which the errors are documented. */
#include "base/error.h"
#include "base/format.h"
#include "core/mediation/outside.h"
#include "core/slot/head.h"
#include "core/slot/opening.h"
#include "image/content.h"
#include "image/cpu.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/statfs.h>

#define MOUNTED_NOEXEC 8 /* ST_NOEXEC: statfs(2), f_flags */
#define VERIFY_BYTES   (1ul << 16)

int mm__admit_options(const char *name, const struct mm_map_options *options,
                      struct mm_error *error) {
  if (!*name) return mm__fail(error, MM_ERROR_ARGUMENT, "no path was given");
  if (options->guard == MM_GUARD_KEYS && !mm__tables.has_keys)
    return mm__fail(error, MM_ERROR_UNSUPPORTED,
                    "%s: there is no guard `keys` here: CPU or kernel lack protection keys", name);
  if (options->guard == MM_GUARD_OPEN && options->sealed)
    return mm__fail(error, MM_ERROR_ARGUMENT, "%s: the guard `open` cannot seal", name);
  if (!(options->grants & MM_GRANT_FILES) != !options->file_count)
    return mm__fail(error, MM_ERROR_ARGUMENT, "%s: files are granted by naming folders", name);
  const uint32_t known =
      MM_GRANT_OUTPUT | MM_GRANT_FILES | MM_GRANT_SOCKETS | MM_GRANT_JIT | MM_GRANT_EVERYTHING;
  if (options->grants & ~known)
    return mm__fail(error, MM_ERROR_ARGUMENT, "%s: there is no grant 0x%x", name,
                    options->grants & ~known);
  if (options->guard > MM_GUARD_KEYS)
    return mm__fail(error, MM_ERROR_ARGUMENT, "%s: there is no guard %u", name, options->guard);
  return MM_OK;
}

/* Missing, not a file, unreadable: told apart by what the kernel says. */
static int open_file(struct mm__image_opening *opening) {
  long file =
      mm__call(SYS_openat, AT_FDCWD, opening->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (file == -ENOENT || file == -ENOTDIR)
    return mm__fail_system(opening->error, MM_ERROR_MISSING, (int)-file, "%s", opening->name);
  if (file == -EACCES || file == -EPERM)
    return mm__fail_system(opening->error, MM_ERROR_UNREADABLE, (int)-file, "%s", opening->name);
  if (file == -ENXIO) /* a socket, or a device that is not there */
    return mm__fail(opening->error, MM_ERROR_NOT_A_FILE, "%s: is not a regular file",
                    opening->name);
  if (file == -ELOOP)
    return mm__fail_system(opening->error, MM_ERROR_NOT_A_FILE, (int)-file, "%s", opening->name);
  if (mm__failed(file))
    return mm__fail_system(opening->error, MM_ERROR_SYSTEM, (int)-file, "%s", opening->name);
  opening->file = (int)file;
  struct statfs system;
  long result = mm__call(SYS_fstat, file, &opening->facts);
  if (mm__failed(result))
    return mm__fail_system(opening->error, MM_ERROR_SYSTEM, (int)-result, "%s", opening->name);
  if (!S_ISREG(opening->facts.st_mode))
    return mm__fail(opening->error, MM_ERROR_NOT_A_FILE, "%s: %s", opening->name,
                    S_ISDIR(opening->facts.st_mode) ? "is a folder" : "is not a regular file");
  if (!mm__failed(mm__call(SYS_fstatfs, file, &system)) && system.f_flags & MOUNTED_NOEXEC)
    return mm__fail(opening->error, MM_ERROR_UNREADABLE,
                    "%s: lies in a file system that is mounted noexec", opening->name);
  return MM_OK;
}

/* The details of the needs of one kind: lines of "kind<TAB>detail". */
static size_t need_details(const char *needs, const char *kind, char *text, size_t size) {
  size_t length = 0, kind_length = strlen(kind);
  while (*needs) {
    size_t line = 0;
    while (needs[line] && needs[line] != '\n') line++;
    if (line > kind_length + 1 && memcmp(needs, kind, kind_length) == 0 &&
        needs[kind_length] == '\t')
      length += mm__format(text + length, size - length, " (%.*s)", (int)(line - kind_length - 1),
                           needs + kind_length + 1);
    needs += line + (needs[line] == '\n');
  }
  return length;
}

/* "output (prints a banner), files (reads /usr/share/dict)" */
static void needs_text(uint32_t lacking, const char *needs, char *text, size_t size) {
  static const struct {
    uint32_t grant;
    const char *name;
  } names[] = {{MM_GRANT_OUTPUT, "output"},
               {MM_GRANT_FILES, "files"},
               {MM_GRANT_SOCKETS, "sockets"},
               {MM_GRANT_JIT, "jit"},
               {MM_GRANT_EVERYTHING, "everything"}};
  size_t length = 0;
  for (unsigned i = 0; i < sizeof names / sizeof *names; i++) {
    if (!(lacking & names[i].grant)) continue;
    length += mm__format(text + length, size - length, "%s%s", length ? ", " : "", names[i].name);
    length += need_details(needs, names[i].name, text + length, size - length);
  }
}

/* Which rule of the policy made the limit what it is: " (policy.yaml:3)", or nothing. */
static const char *ruled(const struct mm__image_opening *opening, uint64_t limit,
                         uint64_t permitted, char text[MM__RULE_BYTES + 8]) {
  text[0] = 0;
  if (permitted && permitted == limit)
    mm__format(text, MM__RULE_BYTES + 8, " (%s)", opening->permission.rule);
  return text;
}

static int check_limits(const struct mm__image_opening *opening) {
  const struct mm__host *host = &mm__tables.host;
  const struct mm__permission *permission = &opening->permission;
  uint64_t bytes = opening->head.memory_bytes, exports = opening->head.registry.export_count;
  char rule[MM__RULE_BYTES + 8];
  uint64_t limit = mm__lower_limit(host->image_limit, permission->images);
  if (opening->mapped_count >= limit)
    return mm__fail(opening->error, MM_ERROR_LIMIT, "%s: %u images are mapped already, the limit%s",
                    opening->name, opening->mapped_count,
                    ruled(opening, limit, permission->images, rule));
  limit = mm__lower_limit(host->image_bytes_limit, permission->image_bytes);
  if (bytes > limit)
    return mm__fail(opening->error, MM_ERROR_LIMIT, "%s: spans %lu bytes, over the limit of %lu%s",
                    opening->name, bytes, limit,
                    ruled(opening, limit, permission->image_bytes, rule));
  limit = mm__lower_limit(host->export_limit, MM__STUB_LIMIT - opening->head.facts->hook_count);
  limit = mm__lower_limit(limit, permission->exports);
  if (exports > limit)
    return mm__fail(opening->error, MM_ERROR_LIMIT, "%s: has %lu exports, over the limit of %lu%s",
                    opening->name, exports, limit,
                    ruled(opening, limit, permission->exports, rule));
  return MM_OK;
}

/* Fits this machine, is granted what it needs, is within the limits: in the order the errors are
 * documented. */
static int check_fit(struct mm__image_opening *opening) {
  const struct mm__facts *facts = opening->head.facts;
  const struct mm__host *host = &mm__tables.host;
  const char *missing = mm__cpu_missing(facts->cpu, mm__tables.cpu);
  if (missing)
    return mm__fail(opening->error, MM_ERROR_CPU,
                    "%s: needs the CPU feature %s, which this CPU lacks", opening->name, missing);
  if (facts->page_bytes != MM__PAGE)
    return mm__fail(opening->error, MM_ERROR_PAGE_SIZE, "%s: made for pages of %u bytes, not %d",
                    opening->name, facts->page_bytes, MM__PAGE);
  const struct mm__request request = {opening->file, opening->path, opening->name, &opening->head,
                                      opening->options};
  int status = host->judge ? host->judge(&request, &opening->permission, opening->error) : MM_OK;
  if (status != MM_OK) return status;
  uint32_t grants = opening->options->grants;
  uint32_t lacking = grants & MM_GRANT_EVERYTHING ? 0 : facts->needs & ~grants;
  if (lacking) {
    char names[400];
    needs_text(lacking, opening->head.needs, names, sizeof names);
    return mm__fail(opening->error, MM_ERROR_NEEDS, "%s: needs what was not granted: %s",
                    opening->name, names);
  }
  return check_limits(opening);
}

/* Reads the whole file once; what is read later is what the digest was of, as long as nobody writes
 * to the file. Through memory that is not in use yet. */
static int verify(const struct mm__image_opening *opening) {
  const struct mm__facts *facts = opening->head.facts;
  uint64_t digest;
  if (!opening->options->verify) return MM_OK;
  _Static_assert(VERIFY_BYTES <= MM__PLACE_RANGES, "there is room");
  long result = mm__content_digest(opening->file, facts->head_bytes, facts->file_bytes,
                                   (void *)mm__kept_ranges(&opening->kept), VERIFY_BYTES, &digest);
  if (mm__failed(result))
    return mm__fail_system(opening->error, MM_ERROR_UNREADABLE, (int)-result, "%s", opening->name);
  if (digest != facts->content_digest)
    return mm__fail(opening->error, MM_ERROR_DAMAGED,
                    "%s: is damaged: the digest of its contents does not match", opening->name);
  return MM_OK;
}

int mm__admit(struct mm__image_opening *opening) {
  int status = open_file(opening);
  if (status == MM_OK)
    status = mm__fail_named(opening->error,
                            mm__head_load(opening->file, (uint64_t)opening->facts.st_size,
                                          &opening->kept, &opening->head, opening->error),
                            opening->name);
  if (status == MM_OK) status = verify(opening);
  if (status == MM_OK) status = check_fit(opening);
  return status;
}
