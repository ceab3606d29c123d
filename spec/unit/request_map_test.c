/* mm_request_map itself, on a copy of an image that is cut, changed, or in the way of something:
 * each time it has to say what is wrong and to leave nothing mapped. Usage: request_map_test FOLDER
 * [ROUNDS]; prints one line per test, exit status 1 when one failed. Deterministic. */
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/digest.h"
#include "client/inspect.h"
#include "image/arena.h"
#include "image/format.h"
#include "matchmaker.h"
#include "signature/registry.h"

#define NOTE_HEAD_BYTES 24u
#define ADD_PROTOTYPE   "int (int, int)"

static int failures, checks;
static struct mm_error error;

#define CHECK(condition)                                                                           \
  do {                                                                                             \
    checks++;                                                                                      \
    if (!(condition)) {                                                                            \
      failures++;                                                                                  \
      if (failures <= 20)                                                                          \
        printf("# %s:%d: %s (%s: %s)\n", __FILE__, __LINE__, #condition,                           \
               mm_error_kind(error.status), error.message);                                        \
    }                                                                                              \
  } while (0)

/* --- the copy that is operated on --- */

static char copy_path[600];
static int copy;
static uint8_t *whole; /* as it should be */
static uint64_t whole_bytes, head_bytes, notes_end;
static uint8_t *head; /* as it is */

static struct mm__facts *facts_of(uint8_t *bytes) {
  const Elf64_Phdr *notes = (const Elf64_Phdr *)(bytes + sizeof(Elf64_Ehdr));
  return (struct mm__facts *)(bytes + notes->p_offset + NOTE_HEAD_BYTES);
}

static void put(const void *bytes, uint64_t size, uint64_t offset) {
  if (pwrite(copy, bytes, size, (off_t)offset) != (ssize_t)size) {
    perror(copy_path);
    exit(1);
  }
}

static void restore(void) {
  memcpy(head, whole, head_bytes);
  put(head, head_bytes, 0);
}

/* Writes the head as it is now, with a digest that is right. */
static void put_signed(void) {
  struct mm__facts *facts = facts_of(head);
  facts->head_digest = 0;
  facts->head_digest = mm__digest(head, head_bytes);
  put(head, head_bytes, 0);
}

static void make_copy(const char *folder, const char *image) {
  struct stat status;
  int file = open(image, O_RDONLY | O_CLOEXEC);
  snprintf(copy_path, sizeof copy_path, "%s/copy.mmi", folder);
  copy = open(copy_path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (file < 0 || fstat(file, &status) != 0 || copy < 0) {
    perror(file < 0 ? image : copy_path);
    exit(1);
  }
  whole_bytes = (uint64_t)status.st_size;
  whole = malloc(whole_bytes);
  if (read(file, whole, whole_bytes) != (ssize_t)whole_bytes) exit(1);
  close(file);
  head_bytes = facts_of(whole)->head_bytes;
  const Elf64_Phdr *notes = (const Elf64_Phdr *)(whole + sizeof(Elf64_Ehdr));
  notes_end = notes->p_offset + notes->p_filesz;
  head = malloc(head_bytes);
  put(whole, whole_bytes, 0);
  restore();
}

/* --- what is left behind --- */

struct counts {
  uint64_t matchmaker_bytes, others;
  int next_descriptor;
};

static struct counts count(void) {
  struct counts counts = {0};
  char line[600];
  FILE *maps = fopen("/proc/self/maps", "re");
  while (fgets(line, sizeof line, maps)) {
    uint64_t low, high;
    if (sscanf(line, "%lx-%lx", &low, &high) != 2 || !MM__IN_ARENA(low)) continue;
    if (MM__SLOT_OF(low) == 0)
      counts.matchmaker_bytes += high - low;
    else
      counts.others++;
  }
  fclose(maps);
  counts.next_descriptor = dup(0);
  close(counts.next_descriptor);
  return counts;
}

static struct counts clean;

static void check_nothing_left(void) {
  struct counts now = count();
  CHECK(now.others == clean.others);
  CHECK(now.matchmaker_bytes == clean.matchmaker_bytes);
  CHECK(now.next_descriptor == clean.next_descriptor);
}

/* --- mapping --- */

static int map_with(const struct mm_map_options *options, struct mm_image **image) {
  memset(&error, 0, sizeof error);
  *image = NULL;
  return mm_request_map(copy_path, options, image, &error);
}

/* Maps the copy; if that works, looks at all that the image tells of itself, and unmaps it. */
static int map_once(void) {
  struct mm_image *image;
  int status = map_with(NULL, &image);
  if (status != MM_OK) {
    CHECK(image == NULL && error.status == status);
    CHECK(strncmp(error.message, copy_path, strlen(copy_path)) == 0);
    return status;
  }
  struct mm_image_info info;
  CHECK(mm_image_info(image, &info, &error) == MM_OK && info.segment_count > 0);
  for (uint32_t i = 0; i < mm_export_count(image); i++) {
    struct mm_function *function;
    const char *name = mm_export_name(image, i), *doc = mm_export_doc(image, i);
    CHECK(name && mm_export_prototype(image, i));
    if (doc) CHECK(strlen(doc) < head_bytes);
    mm_bind(image, name, NULL, &function, &error);
  }
  CHECK(mm_unmap(image, &error) == MM_OK);
  mm_image_release(image);
  return MM_OK;
}

static int map_status(const struct mm_map_options *options) {
  struct mm_image *image;
  int status = map_with(options, &image);
  mm_image_release(image);
  check_nothing_left();
  return status;
}

static bool says(const char *text) { return strstr(error.message, text) != NULL; }

static uint64_t random_state = 88172645463325252ull;

static uint64_t random_number(void) { /* xorshift64, Marsaglia 2003 */
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  random_state ^= random_state << 17;
  return random_state;
}

/* --- the tests --- */

static void maps_the_copy_and_calls_it(void) {
  struct mm_image *image;
  struct mm_function *add;
  int a = 40, b = 2, sum = 0;
  CHECK(map_with(NULL, &image) == MM_OK);
  CHECK(mm_bind(image, "add", ADD_PROTOTYPE, &add, &error) == MM_OK);
  CHECK(mm_request_call(add, &sum, (void *[]){&a, &b}, &error) == MM_OK && sum == 42);
  mm_image_release(image);
  check_nothing_left();
}

static void refuse_cut(uint64_t length) {
  if (ftruncate(copy, (off_t)length) != 0) exit(1);
  int status = map_once();
  CHECK(status == (length < SELFMAG ? MM_ERROR_NOT_AN_IMAGE : MM_ERROR_DAMAGED));
  if (length == 0) CHECK(says("is empty"));
  if (length % 64 == 0) check_nothing_left();
}

static void refuses_the_file_cut_at_every_length_of_its_head_and_many_after_it(void) {
  uint64_t step = (whole_bytes - head_bytes) / 1000 | 1;
  for (uint64_t length = whole_bytes - 1; length > head_bytes; length -= step) {
    refuse_cut(length);
    if (length < head_bytes + step) break;
  }
  for (uint64_t length = head_bytes + 1; length-- > 0;) refuse_cut(length);
  put(whole, whole_bytes, 0);
  if (ftruncate(copy, (off_t)whole_bytes + 1) != 0) exit(1);
  CHECK(map_status(NULL) == MM_ERROR_DAMAGED && says("longer"));
  if (ftruncate(copy, (off_t)whole_bytes) != 0) exit(1);
  CHECK(map_status(NULL) == MM_OK);
}

static void refuse_changed(uint64_t at, uint8_t bits) {
  head[at] = whole[at] ^ bits;
  put(head + at, 1, at);
  int status = map_once();
  CHECK(status == MM_ERROR_DAMAGED || status == MM_ERROR_NOT_AN_IMAGE ||
        status == MM_ERROR_VERSION);
  head[at] = whole[at];
  put(head + at, 1, at);
}

static void refuses_any_byte_of_its_head_changed(unsigned rounds) {
  for (uint64_t at = 0; at < head_bytes; at++) refuse_changed(at, (uint8_t)(1u << at % 8));
  for (unsigned round = 0; round < rounds; round++) {
    refuse_changed(random_number() % head_bytes, (uint8_t)(1 + random_number() % 255));
    if (round % 64 == 0) check_nothing_left();
  }
  check_nothing_left();
  CHECK(map_status(NULL) == MM_OK);
}

/* Mostly where it hurts: numbers become other numbers, at their own places. */
static void tell_a_lie(void) {
  static const uint64_t values[] = {0,
                                    1,
                                    7,
                                    8,
                                    0xfff,
                                    0x1000,
                                    0x7fffffff,
                                    0xffffffff,
                                    0x7fffffffffffffff,
                                    1ull << 63,
                                    ~0ull,
                                    ~0xfffull,
                                    1ull << 36,
                                    0x5000ull << 32,
                                    0x2000ull << 32};
  uint64_t value = values[random_number() % (sizeof values / sizeof *values)];
  uint64_t at = random_number() % notes_end & ~7ul;
  switch (random_number() % 5) {
  case 0:
    head[at + random_number() % 8] ^= (uint8_t)(1u << random_number() % 8);
    break;
  case 1:
    head[at + random_number() % 8] = (uint8_t)random_number();
    break;
  case 2:
    memcpy(head + at, &value, 8);
    break;
  case 3:
    memcpy(head + at + 4 * (random_number() & 1), &value, 4);
    break;
  case 4: /* a number that is right somewhere else */
    memcpy(head + at, whole + (random_number() % notes_end & ~7ul), 8);
    break;
  }
}

static bool is_map_error(int status) {
  return (status <= MM_ERROR_NOT_AN_IMAGE && status >= MM_ERROR_SLOT_TAKEN) ||
         status == MM_ERROR_MEMORY;
}

static void survives_lies_with_a_right_digest(unsigned rounds) {
  unsigned accepted = 0;
  const Elf64_Phdr *notes = (const Elf64_Phdr *)(head + sizeof(Elf64_Ehdr));
  for (unsigned round = 0; round < rounds; round++) {
    for (uint64_t n = 1 + random_number() % 3; n > 0; n--) tell_a_lie();
    if (notes->p_offset <= head_bytes - NOTE_HEAD_BYTES - sizeof(struct mm__facts) &&
        notes->p_offset % 8 == 0)
      put_signed();
    else
      put(head, head_bytes, 0);
    int status = map_once(), before = failures;
    CHECK(status == MM_OK || is_map_error(status));
    if (status == MM_OK) accepted++;
    if (status == MM_OK || round % 64 == 0) check_nothing_left();
    if (failures != before) printf("# that was in round %u\n", round);
    restore();
  }
  printf("# %u lies, %u of them harmless\n", rounds, accepted);
  CHECK(accepted > 0 && accepted < rounds);
  CHECK(map_status(NULL) == MM_OK);
}

static void tells_another_version(void) {
  facts_of(head)->version = 99;
  put_signed();
  CHECK(map_status(NULL) == MM_ERROR_VERSION && says("version 99") && says("version 1"));
  restore();
}

static void names_a_cpu_feature_that_is_missing_and_inspects_all_the_same(void) {
  struct mm__facts *facts = facts_of(head);
  struct mm__inspection inspection;
  for (uint32_t word = 0; word < MM__CPU_WORDS; word++) {
    facts->cpu[word] = ~0u;
    put_signed();
    CHECK(map_status(NULL) == MM_ERROR_CPU && says("feature"));
    CHECK(mm__inspect(copy_path, false, &inspection, NULL) == MM_OK);
    CHECK(inspection.head.facts->cpu[word] == ~0u);
    mm__inspect_end(&inspection);
    facts->cpu[word] = facts_of(whole)->cpu[word];
  }
  restore();
}

#define BIG_PAGE    0x10000ul
#define UP(address) (((address) + BIG_PAGE - 1) & ~(BIG_PAGE - 1))

/* Puts a segment behind those before it, in memory and in the file. */
static void lay(Elf64_Phdr *load, uint64_t low, uint64_t high, uint64_t bytes) {
  load->p_offset =
      load[-1].p_type == PT_LOAD ? load[-1].p_offset + load[-1].p_filesz : UP(head_bytes);
  load->p_vaddr = load->p_paddr = low;
  load->p_memsz = high - low;
  load->p_filesz = bytes;
  load->p_flags = PF_R | PF_W | PF_X;
  load->p_align = BIG_PAGE;
}

/* The same image as a machine with larger pages might have made it: stack, program and libraries
 * are a segment each, and what program headers are left over are small ones between them. */
static void tells_another_page_size(void) {
  struct mm__facts *facts = facts_of(head);
  uint64_t base = MM__SLOT_BASE(facts->slot), high = UP(facts->heap_high);
  Elf64_Phdr *load = (Elf64_Phdr *)(head + sizeof(Elf64_Ehdr)) + 1;
  int count_of_loads = ((Elf64_Ehdr *)head)->e_phnum - 1;
  CHECK(count_of_loads > 3);
  facts->page_bytes = BIG_PAGE;
  put_signed();
  CHECK(map_status(NULL) == MM_ERROR_DAMAGED && says("page-aligned"));
  facts->needs = MM_GRANT_JIT;
  lay(load, facts->stack_low, facts->mailbox_high, 0);
  lay(load + 1, base + MM__PROGRAM_OFFSET, high, high - base - MM__PROGRAM_OFFSET);
  for (int i = 2; i < count_of_loads - 1; i++, high += BIG_PAGE)
    lay(load + i, high, high + BIG_PAGE, 0);
  lay(load + count_of_loads - 1, base + MM__MMAP_OFFSET, base + MM__MMAP_LIMIT_OFFSET, 0);
  put_signed();
  CHECK(map_status(NULL) == MM_ERROR_PAGE_SIZE && says("65536"));
  restore();
}

/* What MAP_FIXED would put over something else. */
static void refuses_a_segment_that_leaves_its_slot(void) {
  Elf64_Phdr *loads = (Elf64_Phdr *)(head + sizeof(Elf64_Ehdr)) + 1;
  Elf64_Phdr *last = loads + ((Elf64_Ehdr *)head)->e_phnum - 2;
  Elf64_Phdr right = *last;
  const uint64_t lies[][2] = {{right.p_vaddr, right.p_memsz + MM__SLOT_BYTES},
                              {right.p_vaddr + MM__SLOT_BYTES, right.p_memsz},
                              {right.p_vaddr, (~right.p_vaddr & ~0xffful)},
                              {right.p_vaddr, -right.p_vaddr + MM__PAGE},
                              {0x7f0000000000, MM__PAGE},
                              {0x10000, MM__PAGE}};
  for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
    last->p_vaddr = lies[i][0], last->p_memsz = lies[i][1];
    last->p_filesz = 0;
    put_signed();
    CHECK(map_status(NULL) == MM_ERROR_DAMAGED && says("outside of its slot"));
  }
  *last = right;
  loads->p_vaddr = MM__ARENA_LOW;
  put_signed();
  CHECK(map_status(NULL) == MM_ERROR_DAMAGED && says("outside of its slot"));
  restore();
}

/* Where in the head the address of the first export is. The registry is in the second note. */
static uint64_t *first_export(void) {
  struct mm__facts *facts = facts_of(head);
  Elf64_Nhdr *note = (Elf64_Nhdr *)(facts + 1);
  struct mm__registry registry;
  CHECK(note->n_type == MM__NOTE_REGISTRY);
  const char *wrong =
      mm__registry_check((uint8_t *)note + NOTE_HEAD_BYTES, note->n_descsz, &registry);
  CHECK(!wrong && registry.export_count > 0);
  const uint64_t *address = &registry.exports[0].address;
  return (uint64_t *)(head + ((const uint8_t *)address - head));
}

static void refuses_an_export_that_is_not_in_its_code(void) {
  struct mm__facts *facts = facts_of(head);
  uint64_t *address = first_export(), right = *address;
  const uint64_t wrong[] = {0,
                            1,
                            ~0ull,
                            (uint64_t)&map_once,
                            MM__ARENA_LOW,
                            MM__SLOT_BASE(facts->slot),
                            facts->stack_pointer,
                            facts->mailbox_low,
                            facts->tls_base,
                            right + MM__SLOT_BYTES};
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    *address = wrong[i];
    put_signed();
    CHECK(map_status(NULL) == MM_ERROR_DAMAGED && says("export"));
  }
  *address = right;
  put_signed();
  CHECK(map_status(NULL) == MM_OK);
  restore();
}

static void names_the_needs_that_are_not_granted(void) {
  facts_of(head)->needs = MM_GRANT_OUTPUT | MM_GRANT_SOCKETS;
  put_signed();
  CHECK(map_status(NULL) == MM_ERROR_NEEDS && says("output, sockets"));
  CHECK(map_status(&(struct mm_map_options){.grants = MM_GRANT_OUTPUT}) == MM_ERROR_NEEDS &&
        says(": sockets"));
  CHECK(map_status(&(struct mm_map_options){.grants = MM_GRANT_EVERYTHING}) == MM_OK);
  restore();
}

static void names_the_mapping_that_is_in_its_slot(void) {
  static const uint64_t places[] = {0, MM__PROGRAM_OFFSET, 0x123456000, MM__SLOT_BYTES - MM__PAGE};
  uint64_t base = MM__SLOT_BASE(facts_of(whole)->slot);
  for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
    struct mm_image *image;
    char address[32];
    char *there = mmap((void *)(base + places[i]), MM__PAGE, PROT_READ,
                       MAP_PRIVATE | MAP_FIXED_NOREPLACE, copy, 0);
    CHECK((uint64_t)there == base + places[i]);
    snprintf(address, sizeof address, "%lx-%lx", base + places[i], base + places[i] + MM__PAGE);
    CHECK(map_with(NULL, &image) == MM_ERROR_SLOT_TAKEN && image == NULL);
    CHECK(says(address) && says("copy.mmi"));
    CHECK(memcmp(there, whole, MM__PAGE) == 0);
    munmap(there, MM__PAGE);
    check_nothing_left();
  }
  CHECK(map_status(NULL) == MM_OK);
}

static void names_the_image_that_has_its_slot(void) {
  struct mm_image *first, *second = NULL;
  char other[700];
  snprintf(other, sizeof other, "%s.link", copy_path);
  unlink(other);
  CHECK(link(copy_path, other) == 0);
  CHECK(map_with(NULL, &first) == MM_OK);
  CHECK(mm_request_map(other, NULL, &second, &error) == MM_ERROR_SLOT_TAKEN && second == NULL);
  CHECK(strncmp(error.message, other, strlen(other)) == 0 && says("--slot"));
  const char *named = strstr(error.message, "by the image ");
  CHECK(named && strncmp(named + 13, copy_path, strlen(copy_path)) == 0 &&
        named[13 + strlen(copy_path)] == ';');
  mm_image_release(first);
  unlink(other);
  check_nothing_left();
}

static int map_within(struct mm_config config) {
  CHECK(mm_init(&config, &error) == MM_OK);
  CHECK(mm_finalize(&error) == MM_OK); /* only its limits stay */
  return map_status(NULL);
}

static void keeps_the_limits(void) {
  uint64_t memory = 0;
  const Elf64_Ehdr *elf = (const Elf64_Ehdr *)whole;
  const Elf64_Phdr *load = (const Elf64_Phdr *)(elf + 1) + 1;
  struct mm_image *image;
  for (int i = 0; i < elf->e_phnum - 1; i++) memory += load[i].p_memsz;
  CHECK(map_within((struct mm_config){.image_bytes_limit = memory - 1}) == MM_ERROR_LIMIT);
  CHECK(says("spans"));
  CHECK(map_within((struct mm_config){.image_bytes_limit = memory}) == MM_OK);
  CHECK(map_within((struct mm_config){.export_limit = 5}) == MM_ERROR_LIMIT && says("exports"));
  CHECK(map_within((struct mm_config){.image_limit = 1}) == MM_OK);
  CHECK(map_with(NULL, &image) == MM_OK);
  facts_of(head)->created_seconds++; /* the limit is told before the slot */
  put_signed();
  struct mm_image *second = NULL;
  CHECK(mm_request_map(copy_path, NULL, &second, &error) == MM_ERROR_LIMIT && says("1 images"));
  mm_image_release(image);
  restore();
  CHECK(map_within((struct mm_config){0}) == MM_OK);
}

/* Each fails by itself in the tests above; together, the first one is told. */
static void tells_what_is_wrong_in_the_documented_order(void) {
  struct mm__facts *facts = facts_of(head);
  uint64_t base = MM__SLOT_BASE(facts->slot);
  void *there =
      mmap((void *)base, MM__PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  struct mm_image *image;
  CHECK(mm_init(&(struct mm_config){.export_limit = 5}, &error) == MM_OK);
  facts->version = 2, facts->cpu[0] = ~0u, facts->needs = MM_GRANT_OUTPUT;
  put_signed();
  CHECK(map_with(NULL, &image) == MM_ERROR_VERSION);
  facts->version = MM__FORMAT_VERSION;
  put(head, head_bytes, 0);
  CHECK(map_with(NULL, &image) == MM_ERROR_DAMAGED);
  put_signed();
  CHECK(map_with(NULL, &image) == MM_ERROR_CPU);
  facts->cpu[0] = facts_of(whole)->cpu[0];
  put_signed();
  CHECK(map_with(NULL, &image) == MM_ERROR_NEEDS);
  restore();
  CHECK(map_with(NULL, &image) == MM_ERROR_LIMIT);
  CHECK(mm_init(&(struct mm_config){0}, &error) == MM_OK);
  CHECK(map_with(NULL, &image) == MM_ERROR_SLOT_TAKEN);
  munmap(there, MM__PAGE);
  CHECK(mm_finalize(&error) == MM_OK && mm_finalize(&error) == MM_OK);
  CHECK(map_status(NULL) == MM_OK);
}

static void finds_any_changed_byte_of_its_contents_when_asked_to_verify(void) {
  struct mm_map_options verifying = {.verify = 1};
  CHECK(map_status(&verifying) == MM_OK);
  for (int round = 0; round < 200; round++) {
    uint64_t at = head_bytes + random_number() % (whole_bytes - head_bytes);
    uint8_t changed = whole[at] ^ (uint8_t)(1 + random_number() % 255);
    if (round == 0) at = head_bytes;
    if (round == 1) at = whole_bytes - 1;
    if (round < 2) changed = (uint8_t)~whole[at];
    put(&changed, 1, at);
    CHECK(map_status(&verifying) == MM_ERROR_DAMAGED && says("contents"));
    if (round % 10 == 0) CHECK(map_status(NULL) == MM_OK);
    put(whole + at, 1, at);
  }
  CHECK(map_status(&verifying) == MM_OK);
}

static void survives_lies_in_a_lockdown(unsigned rounds) {
  CHECK(mm_lockdown(&error) == MM_OK);
  survives_lies_with_a_right_digest(rounds);
  refuses_a_segment_that_leaves_its_slot();
  CHECK(map_status(NULL) == MM_OK);
}

int main(int count_of_arguments, char **arguments) {
  const char *folder = count_of_arguments > 1 ? arguments[1] : "/tmp";
  unsigned rounds = count_of_arguments > 2 ? (unsigned)atoi(arguments[2]) : 50000;
  char image[700], program[600];
  snprintf(program, sizeof program, "%s", arguments[0]);
  snprintf(image, sizeof image, "%s/../image/math.mmi", dirname(program));
  make_copy(folder, image);
  if (mm_init(NULL, &error) != MM_OK) {
    printf("# %s\n", error.message);
    return 1;
  }
  map_once();
  clean = count();
#define RUN(test, ...)                                                                             \
  do {                                                                                             \
    int before = failures;                                                                         \
    test(__VA_ARGS__);                                                                             \
    printf("%s %s\n", failures == before ? "ok" : "not ok", #test);                                \
    fflush(stdout);                                                                                \
  } while (0)
  RUN(maps_the_copy_and_calls_it);
  RUN(refuses_the_file_cut_at_every_length_of_its_head_and_many_after_it);
  RUN(refuses_any_byte_of_its_head_changed, rounds);
  RUN(survives_lies_with_a_right_digest, rounds);
  RUN(tells_another_version);
  RUN(names_a_cpu_feature_that_is_missing_and_inspects_all_the_same);
  RUN(tells_another_page_size);
  RUN(refuses_a_segment_that_leaves_its_slot);
  RUN(refuses_an_export_that_is_not_in_its_code);
  RUN(names_the_needs_that_are_not_granted);
  RUN(names_the_mapping_that_is_in_its_slot);
  RUN(names_the_image_that_has_its_slot);
  RUN(keeps_the_limits);
  RUN(tells_what_is_wrong_in_the_documented_order);
  RUN(finds_any_changed_byte_of_its_contents_when_asked_to_verify);
  RUN(survives_lies_in_a_lockdown, rounds / 5); /* the last: it is for good */
  CHECK(mm_finalize(&error) == MM_OK);
  printf("# %d checks, %d failures\n", checks, failures);
  unlink(copy_path);
  free(whole);
  free(head);
  return failures != 0;
}
