/* image/writer.c - head, segments and tail go into a temporary file, which is renamed when it is
 * whole. */
#include "image/writer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/error.h"
#include "image/arena.h"
#include "image/check.h"
#include "image/content.h"
#include "image/plan.h"
#include "image/tail.h"

#define NOTE_HEAD_BYTES (sizeof(Elf64_Nhdr) + 12)
#define BUFFER_BYTES    (256u << 10)

/* One image while it is written. */
struct writing {
  const struct mm__source *source;
  struct mm__facts facts;
  struct mm__registry registry;
  struct mm__plan plan;
  struct mm__tail tail;
  uint8_t *head;
  uint64_t notes_offset, notes_bytes;
  const char *path; /* that the image will have */
  char *temporary;  /* that of the file until then */
  int descriptor;
  struct mm_error *error;
};

static uint64_t round_up(uint64_t value, uint64_t unit) { return (value + unit - 1) & ~(unit - 1); }

static uint64_t note_bytes(uint64_t descriptor_bytes) {
  return NOTE_HEAD_BYTES + round_up(descriptor_bytes, 8);
}

static uint64_t module_string_bytes(const struct mm__source *source) {
  uint64_t bytes = 2; /* the empty string, and a NUL at the very end */
  for (uint32_t i = 0; i < source->module_count; i++)
    bytes += strlen(source->modules[i].path) + strlen(source->modules[i].build_id) + 2;
  return bytes;
}

static uint64_t modules_bytes(const struct mm__source *source) {
  return sizeof(struct mm__modules_header) + source->module_count * sizeof(struct mm__module) +
         module_string_bytes(source);
}

static bool heap_is_writable(const struct mm__source *source) {
  uint64_t low = source->facts.heap_low;
  for (uint32_t i = 0; i < source->region_count && low < source->facts.heap_high; i++) {
    const struct mm__region *region = &source->regions[i];
    if (region->high <= low) continue;
    if (region->low > low || (region->protection & PROT_WRITE) == 0) return false;
    low = region->high;
  }
  return low >= source->facts.heap_high;
}

static void complete_facts(struct writing *writing) {
  struct mm__facts *facts = &writing->facts;
  *facts = writing->source->facts;
  facts->version = MM__FORMAT_VERSION;
  facts->facts_bytes = sizeof *facts;
  facts->page_bytes = MM__PAGE;
  for (uint32_t i = 0; i < writing->plan.segment_count; i++)
    if ((writing->plan.segments[i].protection & (PROT_WRITE | PROT_EXEC)) ==
        (PROT_WRITE | PROT_EXEC))
      facts->needs |= MM_GRANT_JIT;
  if (!heap_is_writable(writing->source)) facts->heap_low = facts->heap_high;
}

/* Gives the notes and the segments their places in the file. */
static int lay_out(struct writing *writing) {
  const struct mm__source *source = writing->source;
  struct mm__plan *plan = &writing->plan;
  writing->notes_offset = sizeof(Elf64_Ehdr) + (plan->segment_count + 1) * sizeof(Elf64_Phdr);
  writing->notes_bytes = note_bytes(sizeof(struct mm__facts)) + note_bytes(source->registry_bytes) +
                         note_bytes(modules_bytes(source));
  if (source->needs) writing->notes_bytes += note_bytes(strlen(source->needs) + 1);
  uint64_t offset = round_up(writing->notes_offset + writing->notes_bytes, MM__PAGE);
  if (offset > MM__HEAD_LIMIT)
    return mm__fail(writing->error, MM_ERROR_LIMIT,
                    "the registry and the modules are too big for an image");
  writing->facts.head_bytes = offset;
  for (uint32_t i = 0; i < plan->segment_count; i++) {
    plan->segments[i].offset = offset;
    offset += plan->segments[i].data_high - plan->segments[i].low;
  }
  int status = mm__tail_make(&writing->tail, source, &writing->registry, plan,
                             writing->notes_offset, writing->notes_bytes, offset, writing->error);
  writing->facts.file_bytes = offset + writing->tail.size;
  return status;
}

static void put_elf_header(const struct writing *writing) {
  Elf64_Ehdr *elf = (Elf64_Ehdr *)writing->head;
  memcpy(elf->e_ident, ELFMAG, SELFMAG);
  elf->e_ident[EI_CLASS] = ELFCLASS64;
  elf->e_ident[EI_DATA] = ELFDATA2LSB;
  elf->e_ident[EI_VERSION] = EV_CURRENT;
  elf->e_type = ET_EXEC;
  elf->e_machine = EM_X86_64;
  elf->e_version = EV_CURRENT;
  elf->e_phoff = sizeof *elf;
  elf->e_shoff = writing->tail.headers_offset;
  elf->e_ehsize = sizeof *elf;
  elf->e_phentsize = sizeof(Elf64_Phdr);
  elf->e_phnum = (Elf64_Half)(writing->plan.segment_count + 1);
  elf->e_shentsize = sizeof(Elf64_Shdr);
  elf->e_shnum = writing->tail.section_count;
  elf->e_shstrndx = writing->tail.names_section;
}

static void put_program_headers(const struct writing *writing) {
  Elf64_Phdr *header = (Elf64_Phdr *)(writing->head + sizeof(Elf64_Ehdr));
  *header++ = (Elf64_Phdr){.p_type = PT_NOTE,
                           .p_flags = PF_R,
                           .p_offset = writing->notes_offset,
                           .p_filesz = writing->notes_bytes,
                           .p_align = 8};
  for (uint32_t i = 0; i < writing->plan.segment_count; i++) {
    const struct mm__segment *segment = &writing->plan.segments[i];
    *header++ = (Elf64_Phdr){.p_type = PT_LOAD,
                             .p_flags = segment->header_flags | PF_R |
                                        ((segment->protection & PROT_WRITE) ? PF_W : 0u) |
                                        ((segment->protection & PROT_EXEC) ? PF_X : 0u),
                             .p_offset = segment->offset,
                             .p_vaddr = segment->low,
                             .p_paddr = segment->low,
                             .p_filesz = segment->data_high - segment->low,
                             .p_memsz = segment->high - segment->low,
                             .p_align = MM__PAGE};
  }
}

/* Writes a note's header at `*cursor`, moves the cursor behind the note, and returns where its
 * descriptor goes. */
static uint8_t *put_note(uint8_t **cursor, uint32_t type, uint64_t bytes) {
  Elf64_Nhdr *header = (Elf64_Nhdr *)*cursor;
  *header = (Elf64_Nhdr){sizeof(MM__NOTE_OWNER), (Elf64_Word)bytes, type};
  memcpy(header + 1, MM__NOTE_OWNER, sizeof(MM__NOTE_OWNER));
  *cursor += note_bytes(bytes);
  return (uint8_t *)header + NOTE_HEAD_BYTES;
}

static uint32_t put_string(char *strings, uint32_t *used, const char *string) {
  uint32_t place = *used;
  size_t size = strlen(string) + 1;
  memcpy(strings + place, string, size);
  *used += (uint32_t)size;
  return place;
}

static void put_modules(const struct mm__source *source, uint8_t *descriptor) {
  struct mm__modules_header *header = (struct mm__modules_header *)descriptor;
  struct mm__module *module = (struct mm__module *)(header + 1);
  char *strings = (char *)(module + source->module_count);
  uint32_t used = 1;
  *header =
      (struct mm__modules_header){source->module_count, (uint32_t)module_string_bytes(source)};
  for (uint32_t i = 0; i < source->module_count; i++) {
    const struct mm__source_module *from = &source->modules[i];
    module[i] = (struct mm__module){from->low, from->high, from->bias,
                                    put_string(strings, &used, from->path), 0};
    if (from->build_id[0] != 0) module[i].build_id = put_string(strings, &used, from->build_id);
  }
}

/* Everything up to the first segment; the digest is the last thing that goes in. */
static int make_head(struct writing *writing) {
  const struct mm__source *source = writing->source;
  struct mm__head checked;
  writing->head = calloc(1, writing->facts.head_bytes);
  if (!writing->head)
    return mm__fail(writing->error, MM_ERROR_MEMORY, "out of memory for the image's head");
  put_elf_header(writing);
  put_program_headers(writing);
  uint8_t *cursor = writing->head + writing->notes_offset;
  struct mm__facts *facts =
      (struct mm__facts *)put_note(&cursor, MM__NOTE_FACTS, sizeof(struct mm__facts));
  *facts = writing->facts;
  memcpy(put_note(&cursor, MM__NOTE_REGISTRY, source->registry_bytes), source->registry,
         source->registry_bytes);
  put_modules(source, put_note(&cursor, MM__NOTE_MODULES, modules_bytes(source)));
  if (source->needs) {
    size_t bytes = strlen(source->needs) + 1;
    memcpy(put_note(&cursor, MM__NOTE_NEEDS, bytes), source->needs, bytes);
  }
  facts->head_digest = 0;
  facts->head_digest = mm__digest(writing->head, facts->head_bytes);
  struct mm_error wrong;
  if (mm__head_check(writing->head, facts->head_bytes, facts->file_bytes, &checked, &wrong) != 0)
    return mm__fail(writing->error, MM_ERROR_DAMAGED, "this memory cannot become an image: it %s",
                    wrong.message);
  return MM_OK;
}

static int write_bytes(struct writing *writing, const void *bytes, uint64_t size, uint64_t offset) {
  for (uint64_t done = 0; done < size;) {
    ssize_t wrote = pwrite(writing->descriptor, (const uint8_t *)bytes + done, size - done,
                           (off_t)(offset + done));
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote <= 0)
      return mm__fail_system(writing->error, MM_ERROR_SYSTEM, wrote ? errno : ENOSPC,
                             "cannot write %s", writing->path);
    done += (uint64_t)wrote;
  }
  return MM_OK;
}

/* Writes memory that may have unreadable pages in it, which stay holes. `written`: how much was
 * readable. */
static int write_memory(struct writing *writing, uint64_t low, uint64_t high, uint64_t offset,
                        uint64_t *written) {
  *written = 0;
  /* What is in memory is copied at once, into large folios, of which clients' calls of mprotect(2)
   * cost less; what has to be faulted in meanwhile, into single pages. */
  madvise((void *)low, high - low, MADV_POPULATE_READ);
  for (uint64_t at = low; at < high;) {
    ssize_t wrote =
        pwrite(writing->descriptor, (const void *)at, high - at, (off_t)(offset + at - low));
    if (wrote > 0) {
      at += (uint64_t)wrote;
      *written += (uint64_t)wrote;
    } else if (wrote < 0 && errno == EFAULT) {
      at = (at & -(uint64_t)MM__PAGE) + MM__PAGE;
    } else if (wrote == 0 || errno != EINTR) {
      return mm__fail_system(writing->error, MM_ERROR_SYSTEM, wrote ? errno : ENOSPC,
                             "cannot write %s", writing->path);
    }
  }
  return MM_OK;
}

/* Whether a run is all that its region is. */
static bool fills_region(const struct mm__source *source, const struct mm__run *run) {
  for (uint32_t i = 0; i < source->region_count; i++)
    if (source->regions[i].low == run->low) return source->regions[i].high == run->high;
  return false;
}

static int write_segment(struct writing *writing, const struct mm__segment *segment) {
  for (uint32_t i = 0; i < segment->run_count; i++) {
    const struct mm__run *run = &writing->plan.runs[segment->first_run + i];
    uint64_t written;
    int status = write_memory(writing, run->low, run->high,
                              segment->offset + run->low - segment->low, &written);
    if (status) return status;
    if (written == 0 && fills_region(writing->source, run))
      return mm__fail(writing->error, MM_ERROR_UNREADABLE,
                      "the memory at 0x%lx-0x%lx cannot be read", run->low, run->high);
  }
  return MM_OK;
}

static int write_digest(struct writing *writing) {
  uint8_t *buffer = malloc(BUFFER_BYTES);
  if (!buffer)
    return mm__fail(writing->error, MM_ERROR_MEMORY, "out of memory for the image's digest");
  long failed =
      mm__content_digest(writing->descriptor, writing->facts.head_bytes, writing->facts.file_bytes,
                         buffer, BUFFER_BYTES, &writing->facts.content_digest);
  free(buffer);
  if (failed)
    return mm__fail_system(writing->error, MM_ERROR_SYSTEM, (int)-failed, "cannot read %s",
                           writing->path);
  return MM_OK;
}

static int write_file(struct writing *writing) {
  int status = MM_OK;
  for (uint32_t i = 0; status == MM_OK && i < writing->plan.segment_count; i++)
    status = write_segment(writing, &writing->plan.segments[i]);
  if (status == MM_OK)
    status = write_bytes(writing, writing->tail.bytes, writing->tail.size,
                         writing->facts.file_bytes - writing->tail.size);
  if (status == MM_OK) status = write_digest(writing);
  if (status == MM_OK) status = make_head(writing);
  if (status == MM_OK) status = write_bytes(writing, writing->head, writing->facts.head_bytes, 0);
  return status;
}

/* Opens "FOLDER/.NAME.XXXXXX", with so much of the name that it does not become too long. */
static int open_temporary(struct writing *writing) {
  const char *path = writing->path;
  const char *slash = strrchr(path, '/');
  const char *name = slash ? slash + 1 : path;
  size_t size = strlen(path) + sizeof("..XXXXXX");
  writing->temporary = malloc(size);
  if (!writing->temporary)
    return mm__fail(writing->error, MM_ERROR_MEMORY, "out of memory for a path");
  snprintf(writing->temporary, size, "%.*s.%.200s.XXXXXX", (int)(name - path), path, name);
  writing->descriptor = mkstemp(writing->temporary);
  if (writing->descriptor < 0) {
    int number = errno;
    free(writing->temporary);
    writing->temporary = NULL;
    return mm__fail_system(writing->error, MM_ERROR_SYSTEM, number, "cannot write %s", path);
  }
  fcntl(writing->descriptor, F_SETFD, FD_CLOEXEC);
  fchmod(writing->descriptor, 0600); /* whatever the umask */
  return MM_OK;
}

int mm__image_file_place(const char *path, struct mm_error *error) {
  struct stat facts;
  if (stat(path, &facts) != 0 || S_ISREG(facts.st_mode)) return MM_OK;
  if (S_ISDIR(facts.st_mode))
    return mm__fail_system(error, MM_ERROR_NOT_A_FILE, EISDIR, "cannot write %s", path);
  return mm__fail(error, MM_ERROR_NOT_A_FILE, "cannot write %s: it is not a regular file", path);
}

int mm__image_file_write(const char *path, const struct mm__source *source,
                         struct mm_error *error) {
  struct writing writing = {.source = source, .path = path, .descriptor = -1, .error = error};
  const char *wrong =
      mm__registry_check(source->registry, source->registry_bytes, &writing.registry);
  int status = mm__image_file_place(path, error);
  if (status != MM_OK) return status;
  if (wrong) return mm__fail(error, MM_ERROR_DAMAGED, "the registry is damaged: %s", wrong);
  if ((status = mm__plan_make(&writing.plan, source, error)) != MM_OK) return status;
  complete_facts(&writing);
  if ((status = lay_out(&writing)) != MM_OK || (status = open_temporary(&writing)) != MM_OK ||
      (status = write_file(&writing)) != MM_OK)
    goto done;
  if (rename(writing.temporary, path) != 0) {
    status = mm__fail_system(error, MM_ERROR_SYSTEM, errno, "cannot write %s", path);
    goto done;
  }
done:
  if (writing.descriptor >= 0) close(writing.descriptor);
  if (writing.temporary && status != MM_OK) unlink(writing.temporary);
  free(writing.temporary);
  free(writing.head);
  mm__tail_free(&writing.tail);
  mm__plan_free(&writing.plan);
  return status;
}
