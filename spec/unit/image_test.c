/* Writes images from memory that was mapped into a free slot, and checks them with the checker and
 * with the tools that people use. Usage: image_test FOLDER; prints one line per test, exit status 1
 * when one failed. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/digest.h"
#include "check.h"
#include "image/arena.h"
#include "image/check.h"
#include "image/content.h"
#include "image/cpu.h"
#include "image/writer.h"
#include "signature/builder.h"

#define SLOT       700u
#define BASE       MM__SLOT_BASE(SLOT)
#define TEXT       (BASE + MM__PROGRAM_OFFSET)
#define DATA       (TEXT + 0x10000)
#define HEAP       (DATA + 0x400000)
#define LIBRARY    (BASE + MM__MMAP_OFFSET)
#define SPARSE     (LIBRARY + 0x10000000ul)
#define SPARSE_END (SPARSE + (3ul << 30))
#define STACK_HIGH (BASE + MM__STACK_HIGH_OFFSET)
#define PAST_END   (SPARSE_END + 0x100000ul)
#define KIB        1024ul

static char folder[512], image_path[600];

static void *map(uint64_t address, uint64_t bytes, int protection, int descriptor, off_t offset) {
  int flags = MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE | (descriptor < 0 ? MAP_ANONYMOUS : 0);
  void *got = mmap((void *)address, bytes, protection, flags, descriptor, offset);
  if (got == MAP_FAILED) {
    perror("mmap");
    exit(1);
  }
  return got;
}

/* --- the fake server --- */

static struct mm__region regions[32];
static struct mm__source_module modules[2];
static struct mm__source source;
static void *registry;
static size_t registry_bytes;

static void region(uint64_t low, uint64_t bytes, uint32_t protection, uint32_t flags) {
  regions[source.region_count++] = (struct mm__region){low, low + bytes, protection, flags};
}

/* The C library's own segments, as the dynamic linker would map them. */
static void map_library(void) {
  int descriptor = open("/lib/x86_64-linux-gnu/libm.so.6", O_RDONLY | O_CLOEXEC);
  Elf64_Ehdr elf;
  Elf64_Phdr headers[16];
  if (descriptor < 0 || pread(descriptor, &elf, sizeof elf, 0) != sizeof elf || elf.e_phnum > 16 ||
      pread(descriptor, headers, elf.e_phnum * sizeof *headers, (off_t)elf.e_phoff) < 0)
    exit(1);
  modules[0] =
      (struct mm__source_module){LIBRARY, 0, LIBRARY, "/lib/x86_64-linux-gnu/libm.so.6", "c0ffee"};
  for (int i = 0; i < elf.e_phnum; i++) {
    if (headers[i].p_type != PT_LOAD) continue;
    uint64_t low = LIBRARY + (headers[i].p_vaddr & ~0xffful);
    uint64_t high = (LIBRARY + headers[i].p_vaddr + headers[i].p_memsz + 0xfff) & ~0xffful;
    int protection = (headers[i].p_flags & PF_W)   ? PROT_READ | PROT_WRITE
                     : (headers[i].p_flags & PF_X) ? PROT_READ | PROT_EXEC
                                                   : PROT_READ;
    map(low, high - low, protection, descriptor, (off_t)(headers[i].p_offset & ~0xffful));
    region(low, high - low, (uint32_t)protection, MM__REGION_FILE);
    modules[0].high = high;
  }
  close(descriptor);
  source.modules = modules;
  source.module_count = 1;
}

/* A mapping that goes on behind the end of its file: touching it there is SIGBUS. */
static void map_past_end(void) {
  FILE *file = tmpfile();
  fprintf(file, "short");
  fflush(file);
  map(PAST_END, 3 * MM__PAGE, PROT_READ, fileno(file), 0);
  fclose(file);
  region(PAST_END, 3 * MM__PAGE, PROT_READ, MM__REGION_FILE);
}

static void make_server(void) {
  void *slot = mmap((void *)BASE, MM__SLOT_BYTES, PROT_NONE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
  if (slot != (void *)BASE) exit(1);
  memset(map(STACK_HIGH - MM__STACK_BYTES, MM__STACK_BYTES, PROT_READ | PROT_WRITE, -1, 0), 0xee,
         MM__STACK_BYTES);
  region(STACK_HIGH - MM__STACK_BYTES, MM__STACK_BYTES - 0x3000, PROT_READ | PROT_WRITE,
         MM__REGION_ZERO);
  region(STACK_HIGH - 0x3000, 0x3000, PROT_READ | PROT_WRITE, 0);
  memset(map(STACK_HIGH, MM__MAILBOX_BYTES, PROT_READ | PROT_WRITE, -1, 0), 0xdd, 0x1000);
  region(STACK_HIGH, MM__MAILBOX_BYTES, PROT_READ | PROT_WRITE, MM__REGION_ZERO);
  uint8_t *text = map(TEXT, 0x10000, PROT_READ | PROT_WRITE, -1, 0);
  memset(text, 0xc3, 0x10000);
  mprotect(text, 0x10000, PROT_READ | PROT_EXEC);
  region(TEXT, 0x10000, PROT_READ | PROT_EXEC, 0);
  uint8_t *data = map(DATA, 0x400000, PROT_READ | PROT_WRITE, -1, 0);
  memset(data, 7, 0x1000);
  memset(data + 0x200000, 8, 0x1000); /* behind a long run of zeros that were never touched */
  data[0x201000] = 0;                 /* touched, but zero */
  data[0x280000] = 9;                 /* half a MiB of zeros before it, less of them touched */
  region(DATA, 0x400000, PROT_READ | PROT_WRITE, 0);
  memset(map(HEAP, 0x20000, PROT_READ | PROT_WRITE, -1, 0), 'h', 0x20000);
  region(HEAP, 0x20000, PROT_READ | PROT_WRITE, 0);
  map_library();
  uint8_t *sparse = map(SPARSE, SPARSE_END - SPARSE, PROT_READ | PROT_WRITE, -1, 0);
  memset(sparse + (1ul << 30), 's', 64 * KIB);
  region(SPARSE, SPARSE_END - SPARSE, PROT_READ | PROT_WRITE, 0);
  map_past_end();
  source.regions = regions;
}

static void make_registry(void) {
  struct mm__builder *builder = mm__builder_new();
  struct mm_error error;
  CHECK(mm__builder_export(builder, "int spell(const char *word)", "1 if right", TEXT + 0x10,
                           &error) == 0);
  CHECK(mm__builder_export(builder, "int add(int a, int b)", NULL, TEXT + 0x20, &error) == 0);
  CHECK(mm__builder_finish(builder, &registry, &registry_bytes, &error) == 0);
  mm__builder_free(builder);
  source.registry = registry;
  source.registry_bytes = registry_bytes;
  source.needs = "output\tprints a banner\n";
}

static void make_facts(void) {
  struct mm__facts *facts = &source.facts;
  facts->slot = SLOT;
  facts->tls_base = DATA + 0x100;
  facts->stack_low = STACK_HIGH - MM__STACK_BYTES;
  facts->stack_high = STACK_HIGH;
  facts->stack_pointer = STACK_HIGH - 0x2000;
  facts->heap_low = HEAP;
  facts->heap_high = HEAP + 0x1f000;
  facts->heap_limit = BASE + MM__HEAP_LIMIT_OFFSET;
  facts->mailbox_low = STACK_HIGH;
  facts->mailbox_high = STACK_HIGH + MM__MAILBOX_BYTES;
  facts->mxcsr = 0x1f80;
  facts->x87_control = 0x37f;
  facts->needs = MM_GRANT_OUTPUT;
  facts->hook_count = 1;
  facts->hooks[0] = TEXT + 0x30;
  mm__cpu_features(facts->cpu);
  strcpy(facts->server, "image_test");
}

/* --- helpers --- */

static uint64_t file_bytes;

/* The head of the file at `path`, in a block of exactly its size, so that a sanitizer sees a read
 * past its end. */
static void *read_head(const char *path, uint64_t *head_bytes, struct mm_error *error) {
  struct stat status;
  int descriptor = open(path, O_RDONLY | O_CLOEXEC);
  void *start = malloc(MM__PAGE), *whole = NULL;
  if (descriptor < 0 || fstat(descriptor, &status) != 0) exit(1);
  file_bytes = (uint64_t)status.st_size;
  ssize_t got = pread(descriptor, start, MM__PAGE, 0);
  if (mm__head_bytes(start, (uint64_t)got, file_bytes, head_bytes, error) == MM_OK) {
    whole = malloc(*head_bytes);
    if (pread(descriptor, whole, *head_bytes, 0) != (ssize_t)*head_bytes) exit(1);
  }
  free(start);
  close(descriptor);
  return whole;
}

static int check(const void *head, uint64_t bytes, uint64_t whole, struct mm_error *error) {
  struct mm__head result;
  return mm__head_check(head, bytes, whole, &result, error);
}

/* As a client does it: the size first. */
static int check_bytes(const void *bytes, uint64_t have, uint64_t whole, struct mm_error *error) {
  uint64_t head_bytes;
  int status = mm__head_bytes(bytes, have < MM__PAGE ? have : MM__PAGE, whole, &head_bytes, error);
  if (status != MM_OK) return status;
  return head_bytes <= have ? check(bytes, head_bytes, whole, error) : MM_ERROR_DAMAGED;
}

static struct mm__facts *facts_of(void *head) {
  Elf64_Phdr *notes = (Elf64_Phdr *)((Elf64_Ehdr *)head + 1);
  return (struct mm__facts *)((uint8_t *)head + notes->p_offset + 24);
}

static void sign(void *head, uint64_t bytes) {
  facts_of(head)->head_digest = 0;
  facts_of(head)->head_digest = mm__digest(head, bytes);
}

static unsigned count_files(const char *name) {
  char command[1200];
  unsigned count = 0;
  snprintf(command, sizeof command, "ls -A '%s' | grep -c -- '%s'", folder, name);
  FILE *pipe = popen(command, "r");
  if (!pipe || fscanf(pipe, "%u", &count) != 1) count = ~0u;
  if (pipe) pclose(pipe);
  return count;
}

static uint64_t random_state = 88172645463325252ull;

static uint64_t random_number(void) { /* xorshift64, Marsaglia 2003 */
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  random_state ^= random_state << 17;
  return random_state;
}

static double seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* --- the tests --- */

static void writes_an_image_that_the_checker_accepts(void) {
  struct mm_error error = {0};
  struct mm__head head;
  struct stat status;
  uint64_t bytes;
  double start = seconds();
  CHECK(mm__image_file_write(image_path, &source, &error) == MM_OK);
  double took = seconds() - start;
  if (error.message[0]) printf("# %s\n", error.message);
  CHECK(stat(image_path, &status) == 0 && (status.st_mode & 0777) == 0600);
  CHECK((uint64_t)status.st_blocks * 512 < 4u << 20);
  CHECK(took < 5); /* 3 GiB, nearly all of it never touched */
  void *memory = read_head(image_path, &bytes, &error);
  CHECK(memory && mm__head_check(memory, bytes, file_bytes, &head, &error) == MM_OK);
  printf("# %s; %u segments, %lu bytes of head, %.0f ms\n", error.message, head.load_count, bytes,
         took * 1e3);
  CHECK(head.registry.export_count == 2 && mm__registry_find(&head.registry, "spell") != NULL);
  CHECK(head.module_count == 1 && head.modules[0].low == LIBRARY);
  CHECK(strcmp(head.module_strings + head.modules[0].build_id, "c0ffee") == 0);
  CHECK(strcmp(head.needs, source.needs) == 0);
  CHECK(head.facts->slot == SLOT && head.facts->stack_pointer == source.facts.stack_pointer);
  free(memory);
}

/* What a client would see at `address`. */
static uint8_t byte_at(const struct mm__head *head, int descriptor, uint64_t address,
                       bool *mapped) {
  uint8_t byte = 0;
  *mapped = false;
  for (uint32_t i = 0; i < head->load_count; i++) {
    const Elf64_Phdr *load = &head->loads[i];
    if (address < load->p_vaddr || address - load->p_vaddr >= load->p_memsz) continue;
    *mapped = true;
    if (address - load->p_vaddr < load->p_filesz &&
        pread(descriptor, &byte, 1, (off_t)(load->p_offset + address - load->p_vaddr)) != 1)
      *mapped = false;
  }
  return byte;
}

static void keeps_every_byte_and_zeroes_what_is_of_no_use(void) {
  struct mm__head head;
  struct mm_error error;
  uint64_t bytes;
  bool mapped;
  void *memory = read_head(image_path, &bytes, &error);
  int descriptor = open(image_path, O_RDONLY | O_CLOEXEC);
  CHECK(mm__head_check(memory, bytes, file_bytes, &head, &error) == MM_OK);
  const uint64_t kept[] = {TEXT,
                           TEXT + 0xffff,
                           DATA,
                           DATA + 0x1000,
                           DATA + 0x200000,
                           DATA + 0x201000,
                           DATA + 0x280000,
                           DATA + 0x3fffff,
                           HEAP + 5,
                           LIBRARY,
                           modules[0].high - 1,
                           LIBRARY + 0x20000,
                           SPARSE,
                           SPARSE + (1ul << 30),
                           SPARSE_END - 1,
                           STACK_HIGH - 1,
                           STACK_HIGH - 0x3000,
                           PAST_END};
  for (size_t i = 0; i < sizeof kept / sizeof kept[0]; i++)
    CHECK(byte_at(&head, descriptor, kept[i], &mapped) == *(uint8_t *)kept[i] && mapped);
  const uint64_t zeroed[] = {STACK_HIGH - 0x3001, STACK_HIGH - MM__STACK_BYTES, STACK_HIGH,
                             STACK_HIGH + MM__MAILBOX_BYTES - 1, PAST_END + 2 * MM__PAGE};
  for (size_t i = 0; i < sizeof zeroed / sizeof zeroed[0]; i++)
    CHECK(byte_at(&head, descriptor, zeroed[i], &mapped) == 0 && mapped);
  byte_at(&head, descriptor, STACK_HIGH - MM__STACK_BYTES - 1, &mapped);
  CHECK(!mapped);
  CHECK(head.load_count < 16);
  for (uint32_t i = 0; i < head.load_count; i++) /* memory never touched is anonymous */
    if (head.loads[i].p_vaddr == SPARSE) CHECK(head.loads[i].p_filesz == 0);
  close(descriptor);
  free(memory);
}

static void rejects_the_file_cut_at_every_length(void) {
  struct mm_error error = {0};
  uint64_t bytes;
  uint8_t *whole = read_head(image_path, &bytes, &error);
  for (uint64_t length = 0; length < bytes; length++) {
    uint8_t *cut = malloc(length);
    if (length) memcpy(cut, whole, length);
    error.message[0] = 0;
    int status = check_bytes(cut, length, length, &error);
    CHECK(status == MM_ERROR_DAMAGED || (status == MM_ERROR_NOT_AN_IMAGE && length < SELFMAG));
    CHECK(error.message[0] != 0);
    free(cut);
  }
  CHECK(check(whole, bytes, file_bytes - 1, &error) == MM_ERROR_DAMAGED &&
        strstr(error.message, "truncated"));
  CHECK(check(whole, bytes, bytes, &error) == MM_ERROR_DAMAGED &&
        strstr(error.message, "truncated"));
  CHECK(check(whole, bytes, file_bytes + 1, &error) == MM_ERROR_DAMAGED);
  free(whole);
}

static void rejects_every_byte_of_the_head_changed(void) {
  struct mm_error error;
  uint64_t bytes;
  uint8_t *head = read_head(image_path, &bytes, &error);
  for (uint64_t i = 0; i < bytes; i++)
    for (unsigned value = 1; value < 256; value += value < 4 ? 1 : 61) {
      head[i] ^= (uint8_t)value;
      int status = check_bytes(head, bytes, file_bytes, &error);
      CHECK(status == MM_ERROR_DAMAGED || status == MM_ERROR_NOT_AN_IMAGE ||
            status == MM_ERROR_VERSION);
      head[i] ^= (uint8_t)value;
    }
  CHECK(check(head, bytes, file_bytes, &error) == MM_OK);
  free(head);
}

/* What may be believed of a head that passed: nothing of it leads out of its slot. */
static void check_sane(const struct mm__head *head, uint64_t whole) {
  uint64_t low = MM__SLOT_BASE(head->facts->slot), high = low + MM__SLOT_BYTES;
  CHECK(head->facts->slot > 0 && head->facts->slot < MM__SLOT_COUNT);
  for (uint32_t i = 0; i < head->load_count; i++) {
    CHECK(head->loads[i].p_vaddr >= low + MM__STACK_LOW_OFFSET &&
          head->loads[i].p_memsz <= high - head->loads[i].p_vaddr);
    CHECK(head->loads[i].p_filesz <= whole &&
          head->loads[i].p_offset <= whole - head->loads[i].p_filesz);
    low = head->loads[i].p_vaddr + head->loads[i].p_memsz - MM__STACK_LOW_OFFSET;
  }
  CHECK(strlen(head->needs) < 4096);
  for (uint32_t i = 0; i < head->module_count; i++)
    CHECK(strlen(head->module_strings + head->modules[i].path) < 4096);
}

static void survives_signed_lies(unsigned rounds) {
  static const uint64_t values[] = {0,
                                    1,
                                    7,
                                    8,
                                    0xfff,
                                    0x1000,
                                    0x7fffffff,
                                    0xffffffff,
                                    0x100000000,
                                    0x7fffffffffffffff,
                                    0x8000000000000000,
                                    0xffffffffffffffff,
                                    0xfffffffffffff000};
  struct mm_error error;
  struct mm__head result;
  uint64_t bytes;
  unsigned accepted = 0;
  uint8_t *original = read_head(image_path, &bytes, &error);
  uint8_t *head = malloc(bytes);
  Elf64_Phdr *notes = (Elf64_Phdr *)((Elf64_Ehdr *)original + 1);
  uint64_t used = notes->p_offset + notes->p_filesz;
  for (unsigned round = 0; round < rounds; round++) {
    memcpy(head, original, bytes);
    for (uint64_t n = 1 + random_number() % 3; n > 0; n--) {
      uint64_t at = random_number() % used & ~7ul;
      switch (random_number() % 4) {
      case 0:
        head[at + random_number() % 8] ^= (uint8_t)(1u << random_number() % 8);
        break;
      case 1:
        head[at + random_number() % 8] = (uint8_t)random_number();
        break;
      case 2:
        memcpy(head + at, &values[random_number() % (sizeof values / sizeof *values)], 8);
        break;
      case 3:
        memcpy(head + at + 4 * (random_number() & 1),
               &values[random_number() % (sizeof values / sizeof *values)], 4);
        break;
      }
    }
    uint64_t expected;
    if (mm__head_bytes(head, MM__PAGE, file_bytes, &expected, &error) != MM_OK || expected != bytes)
      continue;
    notes = (Elf64_Phdr *)((Elf64_Ehdr *)head + 1);
    if (notes->p_offset + 24 + sizeof(struct mm__facts) > bytes) continue;
    sign(head, bytes);
    if (mm__head_check(head, bytes, file_bytes, &result, &error) == MM_OK) {
      check_sane(&result, file_bytes);
      accepted++;
    }
  }
  printf("# %u lies, %u of them harmless\n", rounds, accepted);
  free(head);
  free(original);
}

static void tells_a_version_before_a_digest(void) {
  struct mm_error error;
  uint64_t bytes;
  void *head = read_head(image_path, &bytes, &error);
  facts_of(head)->version = 2;
  CHECK(check(head, bytes, file_bytes, &error) == MM_ERROR_VERSION);
  CHECK(strstr(error.message, "version 2") && strstr(error.message, "version 1"));
  facts_of(head)->version = 1;
  facts_of(head)->created_seconds ^= 1;
  CHECK(check(head, bytes, file_bytes, &error) == MM_ERROR_DAMAGED &&
        strstr(error.message, "digest"));
  free(head);
}

static void knows_other_files(void) {
  static const struct {
    const char *path;
    const char *message;
  } others[] = {{"/bin/ls", "is an ELF file but not an image"},
                {"/lib/x86_64-linux-gnu/libc.so.6", "is an ELF file but not an image"},
                {"/etc/passwd", "is not an image, and not even an ELF file"},
                {"/dev/null", "is empty"}};
  for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
    struct mm_error error = {0};
    uint64_t bytes;
    CHECK(read_head(others[i].path, &bytes, &error) == NULL);
    CHECK(error.status == MM_ERROR_NOT_AN_IMAGE && strcmp(error.message, others[i].message) == 0);
  }
}

static void lies_about(void (*lie)(struct mm__facts *, Elf64_Phdr *), const char *message) {
  struct mm_error error = {0};
  uint64_t bytes;
  uint8_t *head = read_head(image_path, &bytes, &error);
  lie(facts_of(head), (Elf64_Phdr *)((Elf64_Ehdr *)head + 1) + 1);
  uint64_t shorter;
  if (mm__head_bytes(head, MM__PAGE, file_bytes, &shorter, &error) == MM_OK && shorter < bytes)
    bytes = shorter;
  sign(head, bytes);
  CHECK(check(head, bytes, file_bytes, &error) == MM_ERROR_DAMAGED);
  CHECK(strstr(error.message, message) != NULL);
  if (!strstr(error.message, message))
    printf("# wanted \"%s\", got \"%s\"\n", message, error.message);
  free(head);
}

#define LIE(name, statement)                                                                       \
  static void name(struct mm__facts *facts, Elf64_Phdr *loads) {                                   \
    (void)facts, (void)loads;                                                                      \
    statement;                                                                                     \
  }
LIE(notes_odd, loads[-1].p_filesz += 4)
LIE(notes_huge, loads[-1].p_filesz = MM__HEAD_LIMIT)
LIE(notes_wrap, loads[-1].p_filesz = -(uint64_t)8)
LIE(notes_cut, loads[-1].p_filesz = 16)
LIE(note_more, loads[-1].p_filesz += 8)
LIE(facts_owner, ((uint32_t *)facts)[-6] = 12)
LIE(facts_endless, ((uint32_t *)facts)[-5] = 0xfffffff0)
LIE(facts_few, ((uint32_t *)facts)[-5] = 8)
LIE(facts_short, ((uint32_t *)facts)[-5] -= 8)
LIE(head_longer, facts->head_bytes += MM__PAGE)
LIE(pages_large, facts->page_bytes = 0x20000)
LIE(pages_odd, facts->page_bytes = 0x1800)
LIE(slot_zero, facts->slot = 0)
LIE(slot_past, facts->slot = MM__SLOT_COUNT)
LIE(slot_other, facts->slot = SLOT - 1)
LIE(overlap, loads[1].p_vaddr = loads[0].p_vaddr)
LIE(huge, loads[0].p_memsz = -(uint64_t)MM__PAGE)
LIE(outside_file, loads[0].p_offset = (file_bytes + MM__PAGE) & -(uint64_t)MM__PAGE)
LIE(over_head, loads[0].p_offset = 0)
LIE(empty, loads[0].p_memsz = loads[0].p_filesz = 0)
LIE(aligned_more, loads[0].p_align = 2ul * MM__PAGE)
LIE(flags, loads[0].p_flags |= 0x200000)
LIE(stack_constant, loads[0].p_flags = PF_R)
LIE(stack_below, facts->stack_low -= MM__PAGE)
LIE(stack_odd, facts->stack_high -= 16)
LIE(stack_pointer_above, facts->stack_pointer = facts->stack_high + 16)
LIE(mailbox_odd, facts->mailbox_high -= 16)
LIE(tls_odd, facts->tls_base += 1)
LIE(text_in_no_file, loads[2].p_filesz = 0)
LIE(heap_below, facts->heap_low = facts->heap_high = STACK_HIGH)
LIE(heap_limit_below, facts->heap_limit = facts->heap_low)
LIE(heap_limit_odd, facts->heap_limit -= 8)
LIE(x87, facts->x87_control = 0x10000)
LIE(unaligned, loads[0].p_vaddr += 8)
LIE(too_much_file, loads[0].p_filesz = loads[0].p_memsz + MM__PAGE)
LIE(interpreter, loads[0].p_type = PT_INTERP)
LIE(write_execute, loads[0].p_flags = PF_R | PF_W | PF_X)
LIE(unreadable, loads[0].p_flags = PF_X)
LIE(text_not_code, loads[2].p_flags = PF_R)
LIE(stack_outside, facts->stack_high += MM__SLOT_BYTES)
LIE(stack_pointer, facts->stack_pointer = facts->stack_low)
LIE(stack_unaligned, facts->stack_pointer += 8)
LIE(mailbox_on_stack, facts->mailbox_low = facts->stack_low)
LIE(tls_in_text, facts->tls_base = TEXT)
LIE(tls_wraps, facts->tls_base = -(uint64_t)8)
LIE(heap_backwards, facts->heap_high = facts->heap_low - 1)
LIE(heap_past, facts->heap_limit += MM__SLOT_BYTES)
LIE(heap_in_text, facts->heap_low = TEXT)
LIE(mxcsr, facts->mxcsr = 0x10000)
LIE(needs, facts->needs = 1u << 20)
LIE(hooks, facts->hook_count = 17)
LIE(hook, facts->hooks[0] = DATA)
LIE(spare_hook, facts->hooks[5] = TEXT)
LIE(name, memset(facts->server, 'x', sizeof facts->server))
LIE(reserved, facts->reserved[7] = 1)
LIE(page_size, facts->page_bytes = 12)

static struct mm__head head_of(const struct mm__facts *facts, Elf64_Phdr *loads) {
  struct mm__head head;
  const char *start = (const char *)(loads - 1) - sizeof(Elf64_Ehdr);
  CHECK(mm__head_check(start, facts->head_bytes, file_bytes, &head, NULL) == MM_OK);
  return head;
}
LIE(needs_cut, *(char *)head_of(facts, loads).needs = 0)
LIE(needs_with_escape, *(char *)head_of(facts, loads).needs = 27)
static void past_file(struct mm__facts *facts, Elf64_Phdr *loads) {
  Elf64_Phdr *last = &loads[head_of(facts, loads).load_count - 1];
  last->p_offset = (file_bytes - 1) & -(uint64_t)MM__PAGE;
  last->p_memsz = last->p_filesz = 2ul * MM__PAGE;
}
LIE(needs_with_delete, *(char *)head_of(facts, loads).needs = 127)
LIE(export_in_data, ((struct mm__export *)head_of(facts, loads).registry.exports)->address = DATA)
LIE(module_first, *(char *)head_of(facts, loads).module_strings = 'x')
static void module_last(struct mm__facts *facts, Elf64_Phdr *loads) {
  struct mm__head head = head_of(facts, loads);
  const struct mm__modules_header *header = (const void *)head.modules;
  ((char *)head.module_strings)[header[-1].string_bytes - 1] = 'x';
}
LIE(module_below, ((struct mm__module *)head_of(facts, loads).modules)->low = 0)
LIE(module_empty, ((struct mm__module *)head_of(facts, loads).modules)->high = LIBRARY)
LIE(module_path, ((struct mm__module *)head_of(facts, loads).modules)->path = 1u << 20)
LIE(module_build_id, ((struct mm__module *)head_of(facts, loads).modules)->build_id = 1u << 20)
LIE(module_outside, ((struct mm__module *)head_of(facts, loads).modules)->high += MM__SLOT_BYTES)

static void names_each_lie(void) {
  lies_about(notes_odd, "notes have an impossible size");
  lies_about(notes_huge, "notes have an impossible size");
  lies_about(notes_wrap, "notes have an impossible size");
  lies_about(notes_cut, "its first note does not hold the facts");
  lies_about(note_more, "it has a note that is not known");
  lies_about(facts_owner, "its first note does not hold the facts");
  lies_about(facts_endless, "its first note does not hold the facts");
  lies_about(facts_few, "its first note does not hold the facts");
  lies_about(facts_short, "its facts have the wrong size");
  lies_about(head_longer, "its head is not as long as it says");
  lies_about(pages_large, "its page size is impossible");
  lies_about(pages_odd, "its page size is impossible");
  lies_about(slot_zero, "its slot is impossible");
  lies_about(slot_past, "its slot is impossible");
  lies_about(slot_other, "outside of its slot");
  lies_about(overlap, "overlaps");
  lies_about(huge, "outside of its slot");
  lies_about(outside_file, "in the file");
  lies_about(past_file, "in the file");
  lies_about(over_head, "in the file");
  lies_about(empty, "a segment has an impossible size");
  lies_about(aligned_more, "page-aligned");
  lies_about(flags, "impossible permissions");
  lies_about(stack_constant, "its stack does not lie in writable memory");
  lies_about(stack_below, "its stack does not lie in writable memory");
  lies_about(stack_odd, "its stack does not lie in writable memory");
  lies_about(stack_pointer_above, "its stack pointer does not lie in its stack");
  lies_about(mailbox_odd, "its mailbox does not lie in writable memory");
  lies_about(tls_odd, "thread-local");
  lies_about(text_in_no_file, "a hook does not lie in its code");
  lies_about(heap_below, "its heap has impossible bounds");
  lies_about(heap_limit_below, "its heap has impossible bounds");
  lies_about(heap_limit_odd, "its heap has impossible bounds");
  lies_about(x87, "floating-point");
  lies_about(needs_with_delete, "control character");
  lies_about(export_in_data, "an export does not lie in its code");
  lies_about(module_first, "the strings of its modules have no end");
  lies_about(module_last, "the strings of its modules have no end");
  lies_about(module_below, "a module lies outside of its slot");
  lies_about(module_empty, "a module lies outside of its slot");
  lies_about(module_path, "a module has no name");
  lies_about(module_build_id, "a module has no name");
  lies_about(unaligned, "page-aligned");
  lies_about(too_much_file, "impossible size");
  lies_about(interpreter, "not PT_LOAD");
  lies_about(write_execute, "writable and executable");
  lies_about(unreadable, "permissions");
  lies_about(text_not_code, "hook");
  lies_about(stack_outside, "stack");
  lies_about(stack_pointer, "stack pointer");
  lies_about(stack_unaligned, "stack pointer");
  lies_about(mailbox_on_stack, "mailbox");
  lies_about(tls_in_text, "thread-local");
  lies_about(tls_wraps, "thread-local");
  lies_about(heap_backwards, "its heap has impossible bounds");
  lies_about(heap_past, "its heap has impossible bounds");
  lies_about(heap_in_text, "its heap does not lie in writable memory");
  lies_about(mxcsr, "floating-point");
  lies_about(needs, "unknown");
  lies_about(needs_cut, "the text of its needs has no end");
  lies_about(needs_with_escape, "control character");
  lies_about(module_outside, "a module lies outside of its slot");
  lies_about(hooks, "hooks");
  lies_about(hook, "hook");
  lies_about(spare_hook, "hook");
  lies_about(name, "name of its server");
  lies_about(reserved, "reserved");
  lies_about(page_size, "page size");
}

/* Runs a tool on the image: it must succeed, say nothing on standard error, and its output must
 * hold `wanted`. */
static void tool(const char *command, const char *wanted) {
  char line[8192];
  snprintf(line, sizeof line,
           "%s '%s' >'%s/output' 2>'%s/complaints' && test ! -s '%s/complaints' && grep -q -- '%s' "
           "'%s/output'",
           command, image_path, folder, folder, folder, wanted, folder);
  bool clean = system(line) == 0;
  CHECK(clean);
  if (clean) return;
  printf("# %s\n", command);
  fflush(stdout);
  snprintf(line, sizeof line, "head -5 '%s/complaints'", folder);
  CHECK(system(line) == 0);
}

static void is_clean_for_the_tools(void) {
  tool("readelf -lW", "LOAD");
  tool("readelf -nW", "Matchmaker");
  tool("readelf -SW", ".text@libm.so.6");
  tool("readelf -sW", "spell");
  tool("readelf -aW", "EXEC");
  tool("nm", "T spell");
  tool("nm", " t .*sincos\\|[iW] .*sincos\\|t sin");
  tool("nm -g", "T add");
  tool("objdump -d --no-show-raw-insn", "<spell>:");
  tool("objdump -h", ".note.matchmaker");
  if (system("command -v gdb >/dev/null") == 0)
    tool("gdb -nx -batch -ex 'info address spell' -ex 'info symbol sin' -ex 'x/i spell'", "ret");
}

static int digest_of(const char *path, uint64_t head_bytes, uint64_t *digest) {
  uint8_t *buffer = malloc(64 * KIB);
  struct stat status;
  int descriptor = open(path, O_RDONLY | O_CLOEXEC);
  int failed = fstat(descriptor, &status) ||
               mm__content_digest(descriptor, head_bytes, (uint64_t)status.st_size, buffer,
                                  64 * KIB, digest);
  free(buffer);
  close(descriptor);
  return failed;
}

static void digests_the_contents_whether_or_not_there_are_holes(void) {
  struct mm_error error;
  uint64_t bytes, digest;
  char command[1400], copy[620];
  void *head = read_head(image_path, &bytes, &error);
  uint64_t recorded = facts_of(head)->content_digest;
  snprintf(copy, sizeof copy, "%s/copy.bin", folder);
  snprintf(command, sizeof command, "cp --sparse=never '%s' '%s'", image_path, copy);
  CHECK(recorded != 0);
  CHECK(digest_of(image_path, bytes, &digest) == 0 && digest == recorded);
  CHECK(system(command) == 0);
  CHECK(digest_of(copy, bytes, &digest) == 0 && digest == recorded);
  int descriptor = open(copy, O_RDWR | O_CLOEXEC);
  CHECK(pwrite(descriptor, "x", 1, (off_t)(file_bytes - 3)) == 1);
  close(descriptor);
  CHECK(digest_of(copy, bytes, &digest) == 0 && digest != recorded);
  unlink(copy);
  free(head);
}

static void leaves_nothing_behind_when_it_fails(void) {
  struct mm_error error = {0};
  struct mm__source wrong = source;
  struct stat before, after;
  stat(image_path, &before);
  wrong.facts.stack_pointer = 1;
  CHECK(mm__image_file_write(image_path, &wrong, &error) == MM_ERROR_DAMAGED &&
        strstr(error.message, "stack pointer"));
  CHECK(stat(image_path, &after) == 0 && before.st_ino == after.st_ino);
  CHECK(mm__image_file_write("/nowhere/x.mmi", &source, &error) == MM_ERROR_SYSTEM &&
        error.system_error == ENOENT);
  CHECK(strstr(error.message, "/nowhere/x.mmi") != NULL);
  CHECK(mm__image_file_write(folder, &source, &error) == MM_ERROR_NOT_A_FILE);
  CHECK(count_files("XXXXXX\\|^\\.") == 0);
}

static void refuses_memory_that_cannot_be_read(void) {
  struct mm_error error = {0};
  struct mm__source wrong = source;
  struct mm__region list[32];
  memcpy(list, regions, sizeof regions);
  for (uint32_t i = 0; i < source.region_count; i++)
    if (list[i].low == PAST_END) list[i].low += MM__PAGE;
  wrong.regions = list;
  CHECK(mm__image_file_write(image_path, &wrong, &error) == MM_ERROR_UNREADABLE);
  CHECK(strstr(error.message, "cannot be read") != NULL);
}

static void says_when_memory_is_in_too_many_pieces(void) {
  struct mm_error error = {0};
  struct mm__source wrong = source;
  struct mm__region *list = calloc(3000, sizeof *list);
  for (uint32_t i = 0; i < 3000; i++)
    list[i] = (struct mm__region){SPARSE + 2 * i * MM__PAGE, SPARSE + (2 * i + 1) * MM__PAGE,
                                  PROT_READ, 0};
  wrong.regions = list;
  wrong.region_count = 3000;
  CHECK(mm__image_file_write(image_path, &wrong, &error) == MM_ERROR_LIMIT &&
        strstr(error.message, "3000 pieces"));
  free(list);
}

static void declares_the_need_of_memory_that_is_writable_and_executable(void) {
  struct mm_error error = {0};
  struct mm__source other = source;
  struct mm__region list[32];
  uint64_t bytes;
  memcpy(list, regions, sizeof regions);
  list[3].protection |= PROT_WRITE;
  other.regions = list;
  CHECK(mm__image_file_write(image_path, &other, &error) == MM_OK);
  void *head = read_head(image_path, &bytes, &error);
  CHECK(head && (facts_of(head)->needs & MM_GRANT_JIT) != 0);
  CHECK(check(head, bytes, file_bytes, &error) == MM_OK);
  free(head);
}

static void names_the_missing_cpu_feature(void) {
  uint32_t here[MM__CPU_WORDS], needed[MM__CPU_WORDS] = {0};
  mm__cpu_features(here);
  CHECK(mm__cpu_missing(here, here) == NULL);
  CHECK(mm__cpu_missing(needed, here) == NULL);
  needed[2] = 1u << 5;
  uint32_t none[MM__CPU_WORDS] = {0};
  CHECK(strcmp(mm__cpu_missing(needed, none), "avx2") == 0);
  needed[2] = 0;
  needed[7] = 1;
  CHECK(mm__cpu_missing(needed, none) != NULL);
}

/* A client's status for the image, in a process whose slot is free. */
static int map_in_child(uint32_t exports) {
  int status = -1;
  pid_t child = fork();
  if (child == 0) {
    struct mm_map_options options = {.grants = MM_GRANT_OUTPUT};
    struct mm_image *image;
    munmap((void *)BASE, MM__SLOT_BYTES);
    if (mm_init(NULL, NULL) != MM_OK) _exit(200);
    status = mm_request_map(image_path, &options, &image, NULL);
    _exit(status == MM_OK && mm_export_count(image) != exports ? 201 : -status);
  }
  waitpid(child, &status, 0);
  CHECK(WIFEXITED(status));
  return -WEXITSTATUS(status);
}

static void is_mapped_where_the_cpu_has_what_it_needs(void) {
  struct mm_error error;
  uint32_t before = source.facts.cpu[0];
  CHECK(mm__image_file_write(image_path, &source, &error) == MM_OK);
  CHECK(map_in_child(2) == MM_OK);
  source.facts.cpu[0] = ~0u;
  CHECK(mm__image_file_write(image_path, &source, &error) == MM_OK);
  CHECK(map_in_child(2) == MM_ERROR_CPU);
  source.facts.cpu[0] = before;
}

/* Heads of some size have a place that is prepared for them. */
static void is_mapped_however_large_its_head_is(void) {
  static const uint32_t counts[] = {200, 900, 4000};
  void *registry_before = registry;
  uint64_t bytes_before = registry_bytes;
  for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
    struct mm__builder *builder = mm__builder_new();
    struct mm_error error;
    char prototype[64];
    for (uint32_t n = 0; n < counts[i]; n++) {
      snprintf(prototype, sizeof prototype, "int function_number_%u(void)", n);
      CHECK(mm__builder_export(builder, prototype, NULL, TEXT + 0x20, &error) == 0);
    }
    CHECK(mm__builder_finish(builder, &registry, &registry_bytes, &error) == 0);
    mm__builder_free(builder);
    source.registry = registry;
    source.registry_bytes = registry_bytes;
    CHECK(mm__image_file_write(image_path, &source, &error) == MM_OK);
    CHECK(map_in_child(counts[i]) == MM_OK);
    free(registry);
  }
  source.registry = registry = registry_before;
  source.registry_bytes = registry_bytes = bytes_before;
}

int main(int count, char **arguments) {
  snprintf(folder, sizeof folder, "%s", count > 1 ? arguments[1] : "/tmp");
  snprintf(image_path, sizeof image_path, "%s/unit.mmi", folder);
  make_server();
  make_registry();
  make_facts();
#define RUN(test, ...)                                                                             \
  do {                                                                                             \
    int before = failures;                                                                         \
    test(__VA_ARGS__);                                                                             \
    printf("%s %s\n", failures == before ? "ok" : "not ok", #test);                                \
  } while (0)
  RUN(writes_an_image_that_the_checker_accepts);
  RUN(keeps_every_byte_and_zeroes_what_is_of_no_use);
  RUN(rejects_the_file_cut_at_every_length);
  RUN(rejects_every_byte_of_the_head_changed);
  RUN(survives_signed_lies, count > 2 ? (unsigned)atoi(arguments[2]) : 100000);
  RUN(tells_a_version_before_a_digest);
  RUN(knows_other_files);
  RUN(names_each_lie);
  RUN(is_clean_for_the_tools);
  RUN(digests_the_contents_whether_or_not_there_are_holes);
  RUN(leaves_nothing_behind_when_it_fails);
  RUN(refuses_memory_that_cannot_be_read);
  RUN(says_when_memory_is_in_too_many_pieces);
  RUN(declares_the_need_of_memory_that_is_writable_and_executable);
  RUN(names_the_missing_cpu_feature);
  RUN(is_mapped_where_the_cpu_has_what_it_needs);
  RUN(is_mapped_however_large_its_head_is);
  unlink(image_path);
  free(registry);
  printf("# %d checks, %d failures\n", checks, failures);
  return failures != 0;
}
