/* image/check.c - checks a head front to back; each check relies only on those before it. */
#include "image/check.h"

#include <string.h>

#include "base/digest.h"
#include "base/error.h"
#include "image/arena.h"

/* Every digest, range and string below comes from a file that anybody may have written. Each check
 * relies only on those before it: shape of the ELF header, bounds, version, digest, program
 * headers, notes, facts, registry, modules. */

#define NOTE_HEAD_BYTES 24u /* Elf64_Nhdr, then "Matchmaker" with its NUL, padded to 8 */
#define PAGE_LIMIT      0x10000u
#define TLS_BYTES                                                                                  \
  64u /* self pointer, stack canary and pointer guard lie here: psABI x86-64 4.1.3 */

_Static_assert(sizeof(MM__NOTE_OWNER) == 11,
               "the owner with its NUL ends 8-aligned behind an Nhdr");
_Static_assert(sizeof(struct mm__facts) % 8 == 0, "the next note starts where the facts end");

struct note {
  uint32_t type;
  const uint8_t *descriptor;
  uint64_t bytes;
};

struct check {
  const uint8_t *bytes;
  uint64_t head_bytes, file_bytes;
  struct mm__head *head;
  struct mm_error *error;
};

static int damaged(const struct check *check, const char *what) {
  return mm__fail(check->error, MM_ERROR_DAMAGED, "is damaged: %s", what);
}

static int truncated(struct mm_error *error, uint64_t file_bytes, uint64_t wanted) {
  return mm__fail(error, MM_ERROR_DAMAGED,
                  "is damaged: truncated, %lu of at least %lu bytes are there", file_bytes, wanted);
}

/* Everything in the ELF header that is the same in all images. */
static bool is_image_header(const Elf64_Ehdr *elf) {
  static const uint8_t ident[EI_NIDENT] = {ELFMAG0,    ELFMAG1,     ELFMAG2,    ELFMAG3,
                                           ELFCLASS64, ELFDATA2LSB, EV_CURRENT, ELFOSABI_SYSV};
  return memcmp(elf->e_ident, ident, EI_NIDENT) == 0 && elf->e_type == ET_EXEC &&
         elf->e_machine == EM_X86_64 && elf->e_version == EV_CURRENT && elf->e_flags == 0 &&
         elf->e_ehsize == sizeof(Elf64_Ehdr) && elf->e_phentsize == sizeof(Elf64_Phdr) &&
         elf->e_phoff == sizeof(Elf64_Ehdr) && elf->e_phnum >= 2 && elf->e_phnum != PN_XNUM;
}

/* The notes are the first program header, and come right after the last one: no other ELF writer
 * lays a file out so. */
static bool is_image_note(const Elf64_Ehdr *elf, const Elf64_Phdr *note) {
  return note->p_type == PT_NOTE && note->p_vaddr == 0 && note->p_memsz == 0 &&
         note->p_align == 8 &&
         note->p_offset == sizeof *elf + (uint64_t)elf->e_phnum * sizeof *note;
}

int mm__head_bytes(const void *start, uint64_t bytes, uint64_t file_bytes, uint64_t *head_bytes,
                   struct mm_error *error) {
  const Elf64_Ehdr *elf = start;
  const Elf64_Phdr *note = (const Elf64_Phdr *)(elf + 1);
  if (file_bytes == 0) return mm__fail(error, MM_ERROR_NOT_AN_IMAGE, "is empty");
  if (bytes < SELFMAG || memcmp(elf->e_ident, ELFMAG, SELFMAG) != 0)
    return mm__fail(error, MM_ERROR_NOT_AN_IMAGE, "is not an image, and not even an ELF file");
  if (bytes < sizeof *elf + sizeof *note)
    return truncated(error, file_bytes, sizeof *elf + sizeof *note);
  if (!is_image_header(elf) || !is_image_note(elf, note))
    return mm__fail(error, MM_ERROR_NOT_AN_IMAGE, "is an ELF file but not an image");
  if (note->p_filesz % 8 != 0 || note->p_filesz > MM__HEAD_LIMIT)
    return mm__fail(error, MM_ERROR_DAMAGED, "is damaged: its notes have an impossible size");
  uint64_t end = (note->p_offset + note->p_filesz + MM__PAGE - 1) & -(uint64_t)MM__PAGE;
  if (end > MM__HEAD_LIMIT)
    return mm__fail(error, MM_ERROR_DAMAGED, "is damaged: its notes have an impossible size");
  if (end > file_bytes) return truncated(error, file_bytes, end);
  *head_bytes = end;
  return MM_OK;
}

/* Takes the next note off [*cursor, end). Notes are 8-aligned (gABI, "Note Section", 64-bit
 * objects). */
static bool next_note(const uint8_t **cursor, const uint8_t *end, struct note *note) {
  static const char owner[NOTE_HEAD_BYTES - sizeof(Elf64_Nhdr)] = MM__NOTE_OWNER;
  const Elf64_Nhdr *header = (const Elf64_Nhdr *)*cursor;
  uint64_t room = (uint64_t)(end - *cursor);
  if (room < NOTE_HEAD_BYTES || header->n_namesz != sizeof(MM__NOTE_OWNER) ||
      memcmp(header + 1, owner, sizeof owner) != 0)
    return false;
  uint64_t padded = ((uint64_t)header->n_descsz + 7) & ~7ul;
  if (padded > room - NOTE_HEAD_BYTES) return false;
  *note = (struct note){header->n_type, *cursor + NOTE_HEAD_BYTES, header->n_descsz};
  *cursor += NOTE_HEAD_BYTES + padded;
  return true;
}

/* The digest of the head as it was before the writer put the digest in. */
static uint64_t head_digest(const uint8_t *head, uint64_t bytes, const struct mm__facts *facts) {
  uint64_t field = (uint64_t)((const uint8_t *)&facts->head_digest - head);
  uint64_t block = field & ~31ul;
  uint8_t copy[32];
  struct mm__digest digest;
  memcpy(copy, head + block, sizeof copy);
  memset(copy + (field - block), 0, sizeof facts->head_digest);
  mm__digest_start(&digest);
  mm__digest_add(&digest, head, block);
  mm__digest_add(&digest, copy, sizeof copy);
  return mm__digest_finish(&digest, head + block + sizeof copy, bytes - block - sizeof copy);
}

/* Before this has passed, nothing of the facts but the version and the digest may be believed. */
static int check_facts_intact(const struct check *check, const uint8_t **cursor,
                              const uint8_t *end) {
  struct note note;
  if (!next_note(cursor, end, &note) || note.type != MM__NOTE_FACTS || note.bytes < 16)
    return damaged(check, "its first note does not hold the facts");
  const struct mm__facts *facts = (const struct mm__facts *)note.descriptor;
  if (facts->version != MM__FORMAT_VERSION)
    return mm__fail(check->error, MM_ERROR_VERSION,
                    "is an image of format version %u; this Matchmaker reads version %u",
                    facts->version, (unsigned)MM__FORMAT_VERSION);
  if (note.bytes != sizeof *facts || facts->facts_bytes != sizeof *facts)
    return damaged(check, "its facts have the wrong size");
  if (facts->head_digest != head_digest(check->bytes, check->head_bytes, facts))
    return damaged(check, "the digest of its head does not match");
  if (facts->head_bytes != check->head_bytes)
    return damaged(check, "its head is not as long as it says");
  if (facts->file_bytes > check->file_bytes)
    return truncated(check->error, check->file_bytes, facts->file_bytes);
  if (facts->file_bytes < check->file_bytes)
    return damaged(check, "the file is longer than it says");
  if (facts->page_bytes < MM__PAGE || facts->page_bytes > PAGE_LIMIT ||
      (facts->page_bytes & (facts->page_bytes - 1)) != 0)
    return damaged(check, "its page size is impossible");
  if (facts->slot == 0 || facts->slot >= MM__SLOT_COUNT)
    return damaged(check, "its slot is impossible");
  check->head->facts = facts;
  return MM_OK;
}

/* One PT_LOAD, which must lie behind `low` in memory and behind `offset` in the file. */
static const char *check_load(const struct check *check, const Elf64_Phdr *load, uint64_t low,
                              uint64_t offset) {
  const struct mm__facts *facts = check->head->facts;
  uint64_t mask = facts->page_bytes - 1, high = MM__SLOT_BASE(facts->slot) + MM__SLOT_BYTES;
  if (load->p_type != PT_LOAD) return "a program header is not PT_LOAD";
  if (((load->p_vaddr | load->p_memsz | load->p_offset | load->p_filesz) & mask) != 0 ||
      load->p_align != facts->page_bytes)
    return "a segment is not page-aligned";
  if (load->p_memsz == 0 || load->p_filesz > load->p_memsz)
    return "a segment has an impossible size";
  if (load->p_vaddr < low || load->p_vaddr >= high || load->p_memsz > high - load->p_vaddr)
    return "a segment overlaps another one, or lies outside of its slot";
  if (load->p_offset < offset || load->p_offset > check->file_bytes ||
      load->p_filesz > check->file_bytes - load->p_offset)
    return "a segment overlaps another one in the file, or lies outside of it";
  if ((load->p_flags & ~(uint32_t)(PF_R | PF_W | PF_X | MM__PF_ANONYMOUS)) != 0 ||
      (load->p_flags & PF_R) == 0)
    return "a segment has impossible permissions";
  if ((load->p_flags & PF_W) != 0 && (load->p_flags & PF_X) != 0 &&
      (facts->needs & MM_GRANT_JIT) == 0)
    return "a segment is writable and executable, and the need for that is not declared";
  return NULL;
}

static int check_loads(const struct check *check) {
  struct mm__head *head = check->head;
  uint64_t low = MM__SLOT_BASE(head->facts->slot) + MM__STACK_LOW_OFFSET;
  uint64_t offset = check->head_bytes;
  head->loads = (const Elf64_Phdr *)(head->elf + 1) + 1;
  head->load_count = head->elf->e_phnum - 1u;
  head->memory_bytes = 0;
  if (head->load_count > MM__SEGMENT_LIMIT) return damaged(check, "it has too many segments");
  for (uint32_t i = 0; i < head->load_count; i++) {
    const Elf64_Phdr *load = &head->loads[i];
    const char *wrong = check_load(check, load, low, offset);
    if (wrong) return damaged(check, wrong);
    low = load->p_vaddr + load->p_memsz;
    offset = load->p_offset + load->p_filesz;
    head->memory_bytes += load->p_memsz;
  }
  return MM_OK;
}

/* The index of the first segment that ends above `address`. */
static uint32_t find_load(const struct mm__head *head, uint64_t address) {
  uint32_t low = 0, high = head->load_count;
  while (low < high) {
    uint32_t middle = low + (high - low) / 2;
    if (head->loads[middle].p_vaddr + head->loads[middle].p_memsz <= address)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

/* Whether [low, high), not empty, lies in segments that can be read and written. */
static bool is_writable(const struct mm__head *head, uint64_t low, uint64_t high) {
  if (low >= high) return false;
  for (uint32_t i = find_load(head, low); i < head->load_count; i++) {
    const Elf64_Phdr *load = &head->loads[i];
    if (load->p_vaddr > low || (load->p_flags & PF_W) == 0) return false;
    low = load->p_vaddr + load->p_memsz;
    if (low >= high) return true;
  }
  return false;
}

/* Whether code that came from the file lies at `address`. */
static bool is_code(const struct mm__head *head, uint64_t address) {
  uint32_t i = find_load(head, address);
  return i < head->load_count && address >= head->loads[i].p_vaddr &&
         address - head->loads[i].p_vaddr < head->loads[i].p_filesz &&
         (head->loads[i].p_flags & PF_X) != 0;
}

static const char *check_memory(const struct mm__head *head) {
  const struct mm__facts *facts = head->facts;
  uint64_t mask = facts->page_bytes - 1;
  uint64_t low = MM__SLOT_BASE(facts->slot) + MM__PROGRAM_OFFSET;
  uint64_t high = MM__SLOT_BASE(facts->slot) + MM__SLOT_BYTES;
  if (((facts->stack_low | facts->stack_high) & mask) != 0 ||
      !is_writable(head, facts->stack_low, facts->stack_high))
    return "its stack does not lie in writable memory";
  if (facts->stack_pointer <= facts->stack_low || facts->stack_pointer > facts->stack_high ||
      facts->stack_pointer % 16 != 0)
    return "its stack pointer does not lie in its stack";
  if (((facts->mailbox_low | facts->mailbox_high) & mask) != 0 ||
      !is_writable(head, facts->mailbox_low, facts->mailbox_high))
    return "its mailbox does not lie in writable memory";
  if (facts->mailbox_low < facts->stack_high && facts->stack_low < facts->mailbox_high)
    return "its mailbox overlaps its stack";
  if (facts->tls_base % 8 != 0 || facts->tls_base > high - TLS_BYTES ||
      !is_writable(head, facts->tls_base, facts->tls_base + TLS_BYTES))
    return "its thread-local storage does not lie in writable memory";
  if (facts->heap_low < low || facts->heap_high < facts->heap_low ||
      facts->heap_limit < facts->heap_high || facts->heap_limit > high ||
      (facts->heap_limit & mask) != 0)
    return "its heap has impossible bounds";
  if (facts->heap_low < facts->heap_high && !is_writable(head, facts->heap_low, facts->heap_high))
    return "its heap does not lie in writable memory";
  return NULL;
}

static const char *check_values(const struct mm__head *head) {
  const struct mm__facts *facts = head->facts;
  const uint32_t grants =
      MM_GRANT_OUTPUT | MM_GRANT_FILES | MM_GRANT_SOCKETS | MM_GRANT_JIT | MM_GRANT_EVERYTHING;
  if ((facts->mxcsr & 0xffff0000) != 0 || (facts->x87_control & 0xffff0000) != 0)
    return "its floating-point control words are impossible"; /* ldmxcsr would raise #GP */
  if ((facts->needs & ~grants) != 0) return "it needs something unknown";
  if (facts->hook_count > MM__HOOK_LIMIT) return "it has too many hooks";
  for (uint32_t i = 0; i < MM__HOOK_LIMIT; i++)
    if (i < facts->hook_count ? !is_code(head, facts->hooks[i]) : facts->hooks[i] != 0)
      return "a hook does not lie in its code";
  if (facts->server[sizeof facts->server - 1] != 0) return "the name of its server has no end";
  for (uint32_t i = 0; i < sizeof facts->reserved / sizeof facts->reserved[0]; i++)
    if (facts->reserved[i] != 0) return "a reserved field is not zero";
  return NULL;
}

static const char *check_registry(struct mm__head *head, const struct note *note) {
  const char *wrong = mm__registry_check(note->descriptor, note->bytes, &head->registry);
  if (wrong) return wrong;
  for (uint32_t i = 0; i < head->registry.export_count; i++)
    if (!is_code(head, head->registry.exports[i].address))
      return "an export does not lie in its code";
  return NULL;
}

static const char *check_modules(struct mm__head *head, const struct note *note) {
  const struct mm__modules_header *header = (const struct mm__modules_header *)note->descriptor;
  uint64_t low = MM__SLOT_BASE(head->facts->slot), high = low + MM__SLOT_BYTES;
  if (note->bytes < sizeof *header ||
      note->bytes != sizeof *header + (uint64_t)header->count * sizeof(struct mm__module) +
                         header->string_bytes)
    return "its list of modules has the wrong size";
  head->module_count = header->count;
  head->modules = (const struct mm__module *)(header + 1);
  head->module_strings = (const char *)(head->modules + header->count);
  if (header->string_bytes == 0 || head->module_strings[0] != 0 ||
      head->module_strings[header->string_bytes - 1] != 0)
    return "the strings of its modules have no end";
  for (uint32_t i = 0; i < head->module_count; i++) {
    const struct mm__module *module = &head->modules[i];
    if (module->low < low || module->high <= module->low || module->high > high)
      return "a module lies outside of its slot";
    if (module->path >= header->string_bytes || module->build_id >= header->string_bytes)
      return "a module has no name";
    low = module->low;
  }
  return NULL;
}

static const char *check_needs(struct mm__head *head, const struct note *note) {
  const char *text = (const char *)note->descriptor;
  if (note->bytes == 0 || text[note->bytes - 1] != 0 || strlen(text) != note->bytes - 1)
    return "the text of its needs has no end";
  for (const char *c = text; *c; c++)
    if (*c != '\t' && *c != '\n' && ((unsigned char)*c < 0x20 || *c == 0x7f))
      return "the text of its needs holds a control character";
  head->needs = text;
  return NULL;
}

/* The rest of the notes: a registry, modules, and perhaps needs, each once, in this order and
 * nothing else. */
static int check_notes(const struct check *check, const uint8_t *cursor, const uint8_t *end) {
  struct note note;
  const char *wrong;
  if (!next_note(&cursor, end, &note) || note.type != MM__NOTE_REGISTRY)
    return damaged(check, "its registry is missing");
  if ((wrong = check_registry(check->head, &note)) != NULL) return damaged(check, wrong);
  if (!next_note(&cursor, end, &note) || note.type != MM__NOTE_MODULES)
    return damaged(check, "its list of modules is missing");
  if ((wrong = check_modules(check->head, &note)) != NULL) return damaged(check, wrong);
  check->head->needs = "";
  if (cursor == end) return MM_OK;
  if (!next_note(&cursor, end, &note) || note.type != MM__NOTE_NEEDS || cursor != end)
    return damaged(check, "it has a note that is not known");
  if ((wrong = check_needs(check->head, &note)) != NULL) return damaged(check, wrong);
  return MM_OK;
}

int mm__head_check(const void *head, uint64_t head_bytes, uint64_t file_bytes,
                   struct mm__head *result, struct mm_error *error) {
  struct check check = {head, head_bytes, file_bytes, result, error};
  const char *wrong;
  uint64_t expected = 0;
  int status = mm__head_bytes(head, head_bytes, file_bytes, &expected, error);
  if (status) return status;
  if (expected != head_bytes)
    return mm__fail(error, MM_ERROR_ARGUMENT, "has a head of %lu bytes, not of %lu", expected,
                    head_bytes);
  memset(result, 0, sizeof *result);
  result->elf = head;
  const Elf64_Phdr *notes = (const Elf64_Phdr *)(result->elf + 1);
  const uint8_t *cursor = check.bytes + notes->p_offset, *end = cursor + notes->p_filesz;
  if ((status = check_facts_intact(&check, &cursor, end)) != 0) return status;
  if ((status = check_loads(&check)) != 0) return status;
  if ((wrong = check_memory(result)) != NULL || (wrong = check_values(result)) != NULL)
    return damaged(&check, wrong);
  return check_notes(&check, cursor, end);
}
