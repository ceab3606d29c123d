/* core/slot/image.c - the life of a mapped image. Segments are private mappings of the file, so a
 * reset is a DONTNEED. */
#include "core/slot/image.h"

#include "base/error.h"
#include "base/format.h"
#include "core/fault/fault.h"
#include "core/gate/gate.h"
#include "core/guard/guard.h"
#include "core/guard/keys.h"
#include "core/mediation/outside.h"
#include "core/slot/area.h"
#include "core/slot/head.h"
#include "image/content.h"
#include "image/cpu.h"

#include <errno.h>
#include <fcntl.h>
#include <matchmaker/server.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <time.h>

#define DEFAULT_MEMORY (1ull << 30)
#define MOUNTED_NOEXEC 8 /* ST_NOEXEC: statfs(2), f_flags */
#define VERIFY_BYTES   (1ul << 20)
#define PAGE_UP(bytes) (((bytes) + MM__PAGE - 1) & ~(uint64_t)(MM__PAGE - 1))

/* Counters: nothing is permitted or forbidden by them, so they need not be closed at rest. */
static uint64_t last_serial;
static uint32_t mapped_count;

/* Serials are never used twice, also not by the next Matchmaker of this process: handles outlive
 * both. */
void mm__image_start(void) {
  struct timespec now;
  mm__call(SYS_clock_gettime, CLOCK_MONOTONIC, &now);
  last_serial = (uint64_t)now.tv_sec * 1000000000ul + (uint64_t)now.tv_nsec;
}

/* What is at hand while an image is being mapped. */
struct opening {
  const char *path;
  const char *name; /* the path, for messages */
  const struct mm_map_options *options;
  struct mm__thread_record *thread;
  struct mm_error *error;
  int file;
  struct stat facts;
  struct mm__kept kept;
  struct mm__head head;
  struct mm__permission permission;
  uint32_t slot;
  uint32_t guard, key; /* in force */
};

long mm__slot_reserve(uint64_t low, uint64_t bytes) {
  return mm__call(SYS_mmap, low, bytes, PROT_NONE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
}

static uint32_t protection_of(const Elf64_Phdr *load) {
  return (load->p_flags & PF_R ? PROT_READ : 0) | (load->p_flags & PF_W ? PROT_WRITE : 0) |
         (load->p_flags & PF_X ? PROT_EXEC : 0);
}

/* Missing, not a file, unreadable: told apart by what the kernel says. */
static int open_file(struct opening *opening) {
  long file =
      mm__call(SYS_openat, AT_FDCWD, opening->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (file == -ENOENT || file == -ENOTDIR)
    return mm__fail_system(opening->error, MM_ERROR_MISSING, (int)-file, "%s", opening->name);
  if (file == -EACCES || file == -EPERM)
    return mm__fail_system(opening->error, MM_ERROR_UNREADABLE, (int)-file, "%s", opening->name);
  if (file == -ENXIO || file == -ELOOP)
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

/* The checker speaks of the bytes; the message needs the file. */
static int name_file(const struct opening *opening, int status) {
  if (status == MM_OK || !opening->error) return status;
  char text[sizeof opening->error->message];
  mm__format(text, sizeof text, "%s: %s", opening->name, opening->error->message);
  memcpy(opening->error->message, text, sizeof text);
  return status;
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

/* The lower of the two limits. */
static uint64_t lower(uint64_t limit, uint64_t permitted) {
  return permitted && permitted < limit ? permitted : limit;
}

/* Which rule of the policy made the limit what it is: " (policy.yaml:3)", or nothing. */
static const char *ruled(const struct opening *opening, uint64_t limit, uint64_t permitted,
                         char text[MM__RULE_BYTES + 8]) {
  text[0] = 0;
  if (permitted && permitted == limit)
    mm__format(text, MM__RULE_BYTES + 8, " (%s)", opening->permission.rule);
  return text;
}

static int check_limits(const struct opening *opening) {
  const struct mm__host *host = &mm__tables.host;
  const struct mm__permission *permission = &opening->permission;
  uint64_t bytes = opening->head.memory_bytes, exports = opening->head.registry.export_count;
  char rule[MM__RULE_BYTES + 8];
  uint64_t limit = lower(host->image_limit, permission->images);
  if (mapped_count >= limit)
    return mm__fail(opening->error, MM_ERROR_LIMIT, "%s: %u images are mapped already, the limit%s",
                    opening->name, mapped_count, ruled(opening, limit, permission->images, rule));
  limit = lower(host->image_bytes_limit, permission->image_bytes);
  if (bytes > limit)
    return mm__fail(opening->error, MM_ERROR_LIMIT, "%s: spans %lu bytes, over the limit of %lu%s",
                    opening->name, bytes, limit,
                    ruled(opening, limit, permission->image_bytes, rule));
  limit = lower(host->export_limit, MM__STUB_LIMIT - opening->head.facts->hook_count);
  limit = lower(limit, permission->exports);
  if (exports > limit)
    return mm__fail(opening->error, MM_ERROR_LIMIT, "%s: has %lu exports, over the limit of %lu%s",
                    opening->name, exports, limit,
                    ruled(opening, limit, permission->exports, rule));
  return MM_OK;
}

/* Fits this machine, is granted what it needs, is within the limits: in the order the errors are
 * documented. */
static int check_fit(struct opening *opening) {
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
 * to the file. */
static int verify(const struct opening *opening) {
  const struct mm__facts *facts = opening->head.facts;
  uint64_t digest;
  if (!opening->options->verify) return MM_OK;
  long buffer = mm__call(SYS_mmap, 0, VERIFY_BYTES, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mm__failed(buffer))
    return mm__fail_system(opening->error, MM_ERROR_MEMORY, (int)-buffer, "%s", opening->name);
  long result = mm__content_digest(opening->file, facts->head_bytes, facts->file_bytes,
                                   (void *)buffer, VERIFY_BYTES, &digest);
  mm__call(SYS_munmap, buffer, VERIFY_BYTES);
  if (mm__failed(result))
    return mm__fail_system(opening->error, MM_ERROR_UNREADABLE, (int)-result, "%s", opening->name);
  if (digest != facts->content_digest)
    return mm__fail(opening->error, MM_ERROR_DAMAGED,
                    "%s: is damaged: the digest of its contents does not match", opening->name);
  return MM_OK;
}

/* Finds the line of /proc/self/maps that lies in [low, high): who is in the way. */
static void find_occupant(uint64_t low, uint64_t high, char *text, size_t size) {
  char buffer[2048];
  uint32_t kept = 0;
  mm__format(text, size, "an unknown mapping");
  long file = mm__call(SYS_openat, AT_FDCWD, "/proc/self/maps", O_RDONLY | O_CLOEXEC);
  if (mm__failed(file)) return;
  for (bool done = false; !done;) {
    long count = mm__call(SYS_read, file, buffer + kept, sizeof buffer - kept);
    if (count <= 0) break;
    kept += (uint32_t)count;
    uint32_t start = 0;
    for (uint32_t end = 0; end < kept && !done; end++) {
      if (buffer[end] != '\n') continue;
      uint64_t address = 0;
      for (uint32_t i = start; i < end && buffer[i] != '-'; i++) {
        uint32_t digit = (uint32_t)(buffer[i] <= '9' ? buffer[i] - '0' : buffer[i] - 'a' + 10);
        address = address * 16 + digit;
      }
      done = address >= low && address < high;
      if (done) mm__format(text, size, "%.*s", (int)(end - start), buffer + start);
      start = end + 1;
    }
    memmove(buffer, buffer + start, kept - start);
    kept -= start;
    if (kept == sizeof buffer) kept = 0;
  }
  mm__call(SYS_close, file);
}

static int reserve(const struct opening *opening) {
  const struct mm__record *other = &mm__tables.records[opening->slot];
  if (other->serial)
    return mm__fail(
        opening->error, MM_ERROR_SLOT_TAKEN,
        "%s: its slot %u is taken by the image %s; snapshot one of them with another --slot",
        opening->name, opening->slot, other->path);
  uint64_t low = MM__SLOT_BASE(opening->slot);
  long result = mm__call(SYS_mmap, low, MM__SLOT_BYTES, PROT_NONE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
  if (result == (long)low) return MM_OK;
  if (!mm__failed(result)) { /* a kernel before 4.17 took the flag for a hint */
    mm__call(SYS_munmap, result, MM__SLOT_BYTES);
    result = -EEXIST;
  }
  if (result == -EEXIST) {
    char occupant[256];
    find_occupant(low, low + MM__SLOT_BYTES, occupant, sizeof occupant);
    return mm__fail(opening->error, MM_ERROR_SLOT_TAKEN, "%s: its slot %u is taken by %s",
                    opening->name, opening->slot, occupant);
  }
  return mm__fail_system(opening->error, MM_ERROR_MEMORY, (int)-result,
                         "%s: cannot reserve slot %u", opening->name, opening->slot);
}

/* What one mmap can map: segments that follow each other in memory and in the file, and rest alike.
 * */
struct stretch {
  uint64_t low, offset, file_bytes, memory_bytes;
  uint32_t rest;
};

static struct stretch stretch_of(const Elf64_Phdr *load, uint32_t rest) {
  return (struct stretch){load->p_vaddr, load->p_offset, PAGE_UP(load->p_filesz),
                          PAGE_UP(load->p_memsz), protection_of(load) & rest};
}

static bool extend(struct stretch *stretch, const struct stretch *next) {
  if (stretch->rest != next->rest || stretch->file_bytes != stretch->memory_bytes ||
      stretch->low + stretch->memory_bytes != next->low ||
      stretch->offset + stretch->file_bytes != next->offset)
    return false;
  stretch->file_bytes += next->file_bytes;
  stretch->memory_bytes += next->memory_bytes;
  return true;
}

static long map_stretch(const struct stretch *stretch, int file) {
  long result = 0;
  if (stretch->file_bytes)
    result = mm__call(SYS_mmap, stretch->low, stretch->file_bytes, stretch->rest,
                      MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE, file, stretch->offset);
  if (!mm__failed(result) && stretch->memory_bytes > stretch->file_bytes)
    result = mm__call(SYS_mmap, stretch->low + stretch->file_bytes,
                      stretch->memory_bytes - stretch->file_bytes, stretch->rest,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0);
  return result;
}

/* The slot map as the snapshot has it. */
static int fill_map(struct mm__state *state, const struct mm__head *head) {
  const struct mm__facts *facts = head->facts;
  state->map.count = 0;
  for (uint32_t i = 0; i < head->load_count; i++) {
    const Elf64_Phdr *load = &head->loads[i];
    struct mm__range range = {load->p_vaddr, load->p_vaddr + PAGE_UP(load->p_memsz),
                              protection_of(load), MM__RANGE_IMAGE};
    if (range.low >= facts->heap_low && range.low < facts->heap_high) range.flags |= MM__RANGE_HEAP;
    if (!(load->p_flags & (PF_W | MM__PF_ANONYMOUS))) range.flags |= MM__RANGE_FILE;
    int status = mm__slot_map_insert(&state->map, range);
    if (status != MM_OK) return status;
  }
  return MM_OK;
}

static int map_loads(const struct opening *opening) {
  const struct mm__head *head = &opening->head;
  uint32_t rest = mm__guard_rest(opening->guard, opening->options->sealed);
  for (uint32_t i = 0; i < head->load_count;) {
    struct stretch stretch = stretch_of(&head->loads[i], rest);
    for (i++; i < head->load_count; i++) {
      struct stretch next = stretch_of(&head->loads[i], rest);
      if (!extend(&stretch, &next)) break;
    }
    long result = map_stretch(&stretch, opening->file);
    if (mm__failed(result))
      return mm__fail_system(opening->error, MM_ERROR_MEMORY, (int)-result, "%s: cannot map 0x%lx",
                             opening->name, stretch.low);
  }
  return MM_OK;
}

/* Stubs are one shared page, mapped once for every 128: an old size of 0 makes mremap(2) map shared
 * pages again. */
static int map_stubs(const struct opening *opening, uint32_t count) {
  for (uint32_t first = 0; first < count; first += MM__STUBS_PER_PAGE) {
    long result = mm__call(SYS_mremap, MM__ARENA_LOW + MM__STUBS_OFFSET, 0, MM__PAGE,
                           MREMAP_MAYMOVE | MREMAP_FIXED, mm__stub_address(opening->slot, first));
    if (mm__failed(result))
      return mm__fail_system(opening->error, MM_ERROR_MEMORY, (int)-result, "%s: cannot map stubs",
                             opening->name);
  }
  return MM_OK;
}

/* Nothing changed yet since the snapshot. The first fields stay: the thread that maps holds the
 * image, and others with a stale stub may be waiting at its lock. */
static int start_state(const struct opening *opening) {
  struct mm__state *state = &mm__states[opening->slot];
  const struct mm__facts *facts = opening->head.facts;
  uint64_t kept = __builtin_offsetof(struct mm__state, guard_open);
  memset((uint8_t *)state + kept, 0, sizeof *state - kept);
  state->tls_base = facts->tls_base;
  state->map.ranges = mm__kept_ranges(&opening->kept);
  state->map.capacity = MM__RANGE_LIMIT;
  state->rest = mm__guard_rest(opening->guard, opening->options->sealed);
  state->pieces = mm__kept_pieces(&opening->kept);
  struct mm__outside *outside = (struct mm__outside *)mm__kept_outside(&opening->kept);
  outside->descriptor_count = outside->refusal_count = 0;
  state->mailbox_high = facts->mailbox_low;
  state->heap_high = facts->heap_high;
  state->generation = 1;
  if (fill_map(state, &opening->head) == MM_OK) return MM_OK;
  return mm__fail(opening->error, MM_ERROR_LIMIT, "%s: too many segments", opening->name);
}

static int seal_head(const struct opening *opening) {
  struct mm__granted *granted = mm__granted_of(&opening->kept);
  granted->longest_ns = opening->permission.timeout_ns;
  mm__format(granted->rule, sizeof granted->rule, "%s", opening->permission.rule);
  long result = mm__head_seal(&opening->kept, &opening->head, opening->permission.forbidden);
  if (!mm__failed(result)) return MM_OK;
  return mm__fail_system(opening->error, MM_ERROR_MEMORY, (int)-result, "%s", opening->name);
}

static void release_slot(uint32_t slot, uint32_t stub_count) {
  mm__call(SYS_munmap, MM__SLOT_BASE(slot), MM__SLOT_BYTES);
  uint64_t pages = (stub_count + MM__STUBS_PER_PAGE - 1) / MM__STUBS_PER_PAGE;
  if (pages) mm__call(SYS_munmap, mm__stub_address(slot, 0), pages * MM__PAGE);
}

static void record_image(const struct opening *opening, uint32_t stub_count) {
  struct mm__record *record = &mm__tables.records[opening->slot];
  record->guard = opening->guard;
  record->key = (uint8_t)opening->key;
  record->sealed = opening->options->sealed != 0;
  record->stateless = opening->options->stateless != 0;
  record->strict = opening->options->strict != 0;
  record->grants = opening->options->grants;
  record->folder_count = (uint16_t)opening->options->file_count;
  record->dead_on_fault = opening->options->dead_on_fault != 0;
  record->timeout_ns =
      opening->options->timeout_ns ? opening->options->timeout_ns : opening->permission.timeout_ns;
  record->memory_limit = opening->options->memory_bytes
                             ? opening->options->memory_bytes
                             : lower(DEFAULT_MEMORY, opening->permission.memory_bytes);
  record->stub_count = stub_count;
  record->file_bytes = (uint64_t)opening->facts.st_size;
  record->head = opening->head;
  record->entries = mm__kept_entries(&opening->kept);
  record->stack_pointer = opening->head.facts->stack_pointer;
  record->tls_base = opening->head.facts->tls_base;
  record->mxcsr = opening->head.facts->mxcsr;
  record->x87_control = (uint16_t)opening->head.facts->x87_control;
  mm__format(record->path, sizeof record->path, "%s", opening->path);
  record->kept = opening->kept;
  record->serial = ++last_serial;
  mapped_count++;
}

/* Keys where there are any; without one that is left, pages. */
static void choose_guard(struct opening *opening) {
  uint32_t guard = opening->options->guard;
  if (guard == MM_GUARD_DEFAULT) guard = mm__tables.has_keys ? MM_GUARD_KEYS : MM_GUARD_PAGES;
  if (guard == MM_GUARD_KEYS) opening->key = mm__key_take(opening->options->sealed);
  opening->guard = guard == MM_GUARD_KEYS && !opening->key ? MM_GUARD_PAGES : guard;
}

/* Everything that can fail comes first; then the tables learn of it. The image is held then: nobody
 * calls before its hooks ran. */
static int build(struct opening *opening) {
  int status = open_file(opening);
  if (status == MM_OK)
    status = name_file(opening, mm__head_load(opening->file, (uint64_t)opening->facts.st_size,
                                              &opening->kept, &opening->head, opening->error));
  if (status == MM_OK) status = verify(opening);
  if (status == MM_OK) status = check_fit(opening);
  if (status != MM_OK) return status;
  opening->slot = opening->head.facts->slot;
  status = mm__folders_record(mm__granted_of(&opening->kept), opening->options, opening->name,
                              opening->error);
  if (status == MM_OK) status = reserve(opening);
  if (status != MM_OK) return status;
  status = mm__image_enter(&mm__states[opening->slot], opening->thread, 1);
  if (status != MM_OK) {
    release_slot(opening->slot, 0);
    return mm__turn_failed(opening->name, status, opening->error);
  }
  uint32_t stub_count = opening->head.registry.export_count + opening->head.facts->hook_count;
  choose_guard(opening);
  status = map_loads(opening);
  if (status == MM_OK) status = map_stubs(opening, stub_count);
  if (status == MM_OK) status = seal_head(opening);
  if (status == MM_OK) status = start_state(opening);
  if (status != MM_OK) {
    release_slot(opening->slot, stub_count);
    mm__key_give_back(opening->key);
    mm__image_leave(&mm__states[opening->slot]);
    return status;
  }
  mm__record_open(&mm__tables.records[opening->slot]);
  record_image(opening, stub_count);
  mm__record_close(&mm__tables.records[opening->slot]);
  mm__key_open(opening->thread, opening->key);
  mm__guard_adopt(&mm__tables.records[opening->slot], &mm__states[opening->slot],
                  MM__SLOT_BASE(opening->slot), MM__SLOT_BASE(opening->slot + 1));
  return MM_OK;
}

static int check_options(const char *name, const struct mm_map_options *options,
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

int mm__image_map(const char *path, const struct mm_map_options *options, uint32_t *slot,
                  uint64_t *serial, struct mm_error *error) {
  struct mm_map_options chosen = {0};
  if (options) chosen = *options;
  char room[MM__BRIEF_BYTES];
  const char *name = mm__brief(path ? path : "", room);
  int status = check_options(name, &chosen, error);
  if (status != MM_OK) return status;
  struct mm__thread_record *thread;
  status = mm__thread_find(&thread, error);
  if (status != MM_OK) return status;
  status = mm__deadline_check(chosen.timeout_ns, error);
  if (status != MM_OK) return status;
  struct opening opening = {
      .path = path, .name = name, .options = &chosen, .thread = thread, .error = error, .file = -1};
  mm__still_lock(&mm__core_lock);
  status = build(&opening);
  if (status != MM_OK) mm__head_release(&opening.kept);
  if (opening.file >= 0) mm__call(SYS_close, opening.file);
  if (status == MM_OK) {
    *slot = opening.slot;
    *serial = mm__tables.records[opening.slot].serial;
  }
  mm__still_unlock(&mm__core_lock);
  if (status != MM_OK) return status;
  if (mm__tables.host.trace & MM__TRACE_IMAGE)
    mm__say("image: mapped %s in slot %u, %u segments, %lu bytes", path, opening.slot,
            opening.head.load_count, opening.head.memory_bytes);
  status = mm__image_hooks(opening.slot, thread, 0, error);
  mm__states[opening.slot].is_used = 0;
  mm__image_leave(&mm__states[opening.slot]);
  if (status != MM_OK) mm__image_unmap(opening.slot, thread, 0);
  return status;
}

int mm__image_unmap(uint32_t slot, struct mm__thread_record *thread, struct mm_error *error) {
  struct mm__record *record = &mm__tables.records[slot];
  struct mm__state *state = &mm__states[slot];
  mm__still_lock(&mm__core_lock);
  int status = mm__image_enter(state, thread, 0);
  if (status == MM_OK && state->holds > 1) {
    mm__image_leave(state);
    status = MM_ERROR_BUSY;
  }
  if (status != MM_OK) {
    mm__still_unlock(&mm__core_lock);
    return mm__fail(error, status, "%s: a call is running", record->path);
  }
  struct mm__kept kept = record->kept;
  mm__descriptors_close(record);
  if (mm__tables.host.trace & MM__TRACE_IMAGE)
    mm__say("image: unmapped %s from slot %u", record->path, slot);
  release_slot(slot, record->stub_count);
  mm__key_close(thread, record->key);
  mm__key_give_back(record->key);
  mm__record_open(record);
  memset(record, 0, sizeof *record);
  mm__record_close(record);
  mapped_count--;
  mm__head_release(&kept);
  mm__image_leave(state);
  mm__still_unlock(&mm__core_lock);
  return MM_OK;
}

/* Every mapping the image made goes; every segment has the protection it rests with. */
static void restore_mappings(const struct mm__record *record, struct mm__state *state) {
  for (uint32_t i = 0; i < state->map.count; i++) {
    const struct mm__range *range = &state->map.ranges[i];
    if (!(range->flags & MM__RANGE_IMAGE)) mm__slot_reserve(range->low, range->high - range->low);
  }
  for (uint32_t i = 0; i < record->head.load_count; i++) {
    const Elf64_Phdr *load = &record->head.loads[i];
    mm__call(SYS_mprotect, load->p_vaddr, PAGE_UP(load->p_memsz),
             mm__at_rest(state, protection_of(load)));
  }
  fill_map(state, &record->head);
  mm__guard_adopt(record, state, MM__SLOT_BASE(state - mm__states),
                  MM__SLOT_BASE(state - mm__states + 1));
  state->heap_high = record->head.facts->heap_high;
  state->memory_bytes = 0;
}

int mm__image_reset_held(uint32_t slot, struct mm__thread_record *thread, struct mm_error *error) {
  struct mm__record *record = &mm__tables.records[slot];
  struct mm__state *state = &mm__states[slot];
  state->kept_open = 0;
  mm__guard_close(record, state);
  mm__guard_empty_mailbox(record, state);
  mm__descriptors_close(record);
  mm__area_empty(record, state);
  bool known, done = mm__guard_reset(record, state, &known);
  for (uint32_t i = 0; !known && i < record->head.load_count; i++) {
    const Elf64_Phdr *load = &record->head.loads[i];
    if (load->p_flags & PF_W || state->map_changed)
      done &= mm__guard_discard(load->p_vaddr, PAGE_UP(load->p_memsz));
  }
  if (state->map_changed) restore_mappings(record, state);
  state->map_changed = 0;
  state->generation++;
  state->dead = 0;
  if (mm__tables.host.trace & MM__TRACE_IMAGE)
    mm__say("image: reset %s, generation %u", record->path, state->generation);
  int status = done ? mm__image_hooks(slot, thread, 1, error)
                    : mm__fail(error, MM_ERROR_SYSTEM,
                               "%s: the kernel does not give its memory back", record->path);
  state->is_used = 0; /* hooks are part of it */
  if (status != MM_OK) state->dead = MM__DEAD;
  return status;
}

int mm__image_reset(uint32_t slot, struct mm__thread_record *thread, struct mm_error *error) {
  struct mm__state *state = &mm__states[slot];
  int status = mm__image_enter(state, thread, 1);
  if (status != MM_OK) return mm__turn_failed(mm__tables.records[slot].path, status, error);
  status = MM_ERROR_BUSY;
  if (state->depth)
    mm__fail(error, status, "%s: a call is running", mm__tables.records[slot].path);
  else
    status = mm__image_reset_held(slot, thread, error);
  mm__image_leave(state);
  return status;
}

int mm__image_hooks(uint32_t slot, struct mm__thread_record *thread, uint32_t reason,
                    struct mm_error *error) {
  const struct mm__record *record = &mm__tables.records[slot];
  struct mm__state *state = &mm__states[slot];
  uint32_t exports = record->head.registry.export_count;
  struct mm__outcome untold = thread->seen.outcome;
  for (uint32_t i = 0; i < record->head.facts->hook_count; i++) {
    struct mm_map_info info = {sizeof info, reason, state->generation, 0};
    uint64_t low = record->head.facts->mailbox_low;
    mm__guard_open_mailbox(record, state, low + MM__PAGE);
    memcpy((void *)low, &info, sizeof info);
    state->mailbox_used = sizeof info;
    thread->seen.outcome.status = MM_OK;
    /* A hook that fails must not be reset by running hooks again. */
    thread->in_hook = 1;
    ((void (*)(uint64_t))mm__stub_address(slot, exports + i))(low);
    thread->in_hook = 0;
    if (thread->seen.outcome.status == MM_OK) continue;
    char text[160];
    mm__outcome_text(&thread->seen.outcome, text, sizeof text);
    thread->seen.outcome.status = MM_OK;
    return mm__fail(error, MM_ERROR_FAULT, "%s: its on-map hook ended in %s", record->path, text);
  }
  thread->seen.outcome = untold;
  return MM_OK;
}
