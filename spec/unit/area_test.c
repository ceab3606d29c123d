/* Memory that the client asks for inside an image: given, read, written, freed, forgotten.
 * Usage: area_test FOLDER; prints one line per test, exit status 1 when one failed. */
#include "client.h"

#define MIB 0x100000ul

static unsigned char byte_at(struct mm_image *image, const void *address) {
  unsigned char byte = 0xee;
  CHECK_EQUAL(MM_OK, mm_read(image, address, &byte, 1, NULL));
  return byte;
}

static void *allocate(struct mm_image *image, size_t bytes) {
  struct mm_error error;
  void *memory = NULL;
  must(mm_allocate(image, bytes, &memory, &error), &error);
  return memory;
}

static void gives_memory_that_is_zero_and_aligned(void) {
  struct mm_image *image = map_image("record");
  static const size_t sizes[] = {0,    1,     15,    16,    17,    100,
                                 4096, 21840, 32768, 32769, 65536, 3 * MIB + 1};
  static unsigned char bytes[4 * MIB];
  for (unsigned round = 0; round < 2; round++) {
    void *blocks[sizeof sizes / sizeof *sizes];
    for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
      blocks[i] = allocate(image, sizes[i]);
      CHECK_EQUAL(0, (uint64_t)blocks[i] % 16);
      memset(bytes, 0xaa, sizeof bytes);
      CHECK_EQUAL(MM_OK, mm_read(image, blocks[i], bytes, sizes[i], NULL));
      uint64_t sum = 0;
      for (size_t n = 0; n < sizes[i]; n++) sum += bytes[n];
      CHECK_EQUAL(0, sum);
      memset(bytes, 0x55, sizes[i]);
      CHECK_EQUAL(MM_OK, mm_write(image, blocks[i], bytes, sizes[i], NULL));
    }
    for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++)
      CHECK_EQUAL(MM_OK, mm_free(image, blocks[i], NULL));
  }
  mm_image_release(image);
}

/* No two blocks overlap, whatever is freed in between. */
static void keeps_blocks_apart(void) {
  enum { COUNT = 3000 };
  static void *blocks[COUNT];
  static uint32_t sizes[COUNT];
  uint64_t chance = 99;
  struct mm_image *image = map_image("record");
  for (uint32_t step = 0; step < 4 * COUNT; step++) {
    chance = chance * 6364136223846793005u + 1442695040888963407u;
    uint32_t i = (uint32_t)(chance >> 33) % COUNT, mark;
    if (blocks[i]) {
      CHECK_EQUAL(MM_OK, mm_read(image, blocks[i], &mark, 4, NULL));
      CHECK_EQUAL(i, mark);
      CHECK_EQUAL(MM_OK, mm_read(image, (char *)blocks[i] + sizes[i] - 4, &mark, 4, NULL));
      CHECK_EQUAL(i, mark);
      CHECK_EQUAL(MM_OK, mm_free(image, blocks[i], NULL));
      blocks[i] = NULL;
    } else {
      sizes[i] = 8 + (uint32_t)(chance >> 40) % (step % 50 ? 700 : 70000);
      blocks[i] = allocate(image, sizes[i]);
      CHECK_EQUAL(MM_OK, mm_write(image, blocks[i], &i, 4, NULL));
      CHECK_EQUAL(MM_OK, mm_write(image, (char *)blocks[i] + sizes[i] - 4, &i, 4, NULL));
    }
  }
  mm_image_release(image);
}

static void is_the_image_s_to_write(void) {
  struct mm_image *image = map_image("record");
  void (*fill)(void *, unsigned long, int) = stub_of(image, "fill");
  unsigned long (*sum)(const void *, unsigned long) = stub_of(image, "sum");
  unsigned char *memory = allocate(image, 100);
  fill(memory, 100, 7);
  CHECK_EQUAL(7, byte_at(image, memory + 99));
  CHECK_EQUAL(7, memory[50]); /* read without a copy */
  CHECK_EQUAL(MM_OK, mm_write(image, memory, "\1\2", 2, NULL));
  CHECK_EQUAL(98 * 7 + 3, sum(memory, 100));
  mm_image_release(image);
}

static void write_at_rest(void *memory) { *(volatile char *)memory = 1; }

static void is_read_only_at_rest_under_pages(void) {
  struct mm_image *image = map_image("record");
  char output[1000];
  unsigned char *memory = allocate(image, 64), *second = allocate(image, 64);
  CHECK_EQUAL(MM_OK, mm_write(image, memory, "x", 1, NULL));
  void (*fill)(void *, unsigned long, int) = stub_of(image, "fill");
  fill(second, 64, 1);
  int status = in_child(write_at_rest, memory, output, sizeof output);
  CHECK_EQUAL(way.guard == MM_GUARD_PAGES, WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
  double *point = ((double *(*)(void))stub_of(image, "point"))(), written = 1;
  CHECK_EQUAL(MM_OK, mm_write(image, point, &written, sizeof written, NULL));
  status = in_child(write_at_rest, point, output, sizeof output);
  CHECK_EQUAL(way.guard == MM_GUARD_PAGES, WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
  status = in_child(write_at_rest, second, output, sizeof output);
  CHECK_EQUAL(way.guard == MM_GUARD_PAGES, WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
  mm_image_release(image);
}

static void is_not_the_image_s_to_unmap(void) {
  struct mm_image *image = map_image("record");
  int (*unmap)(void *, unsigned long) = stub_of(image, "unmap");
  void *memory = allocate(image, 65536);
  CHECK_EQUAL(MM_OK, mm_write(image, memory, "x", 1, NULL));
  CHECK_EQUAL(5, unmap(memory, 65536));
  CHECK_EQUAL('x', byte_at(image, memory));
  CHECK_EQUAL(MM_OK, mm_free(image, memory, NULL));
  mm_image_release(image);
}

static void counts_as_the_image_s_memory(void) {
  struct mm_map_options options = {.guard = way.guard, .memory_bytes = 8 * MIB};
  struct mm_image *image = map_with("record", &options);
  struct mm_error error;
  void *large = allocate(image, 6 * MIB), *more;
  CHECK_EQUAL(MM_ERROR_LIMIT, mm_allocate(image, 3 * MIB, &more, &error));
  CHECK_EQUAL(0, (uint64_t)more);
  CHECK_EQUAL(0, ((unsigned long (*)(unsigned long))stub_of(image, "grow"))(4 * MIB));
  CHECK_EQUAL(MM_OK, mm_free(image, large, NULL));
  large = allocate(image, 7 * MIB);
  CHECK_EQUAL(MM_OK, mm_reset(image, NULL));
  large = allocate(image, 8 * MIB);
  CHECK_EQUAL(MM_ERROR_LIMIT, mm_allocate(image, 1, &more, &error));
  CHECK_EQUAL(MM_ERROR_LIMIT, mm_allocate(image, SIZE_MAX, &more, &error));
  CHECK_EQUAL(MM_ERROR_LIMIT, mm_allocate(image, 1ul << 40, &more, &error));
  CHECK_EQUAL(MM_OK, mm_free(image, large, NULL));
  mm_image_release(image);
}

static void gives_a_gibibyte_within_the_limit(void) {
  struct mm_image *image = map_image("record");
  unsigned char *memory = allocate(image, 1024 * MIB);
  void (*fill)(void *, unsigned long, int) = stub_of(image, "fill");
  fill(memory + 1024 * MIB - 5000, 5000, 3);
  CHECK_EQUAL(3, byte_at(image, memory + 1024 * MIB - 1));
  CHECK_EQUAL(0, byte_at(image, memory));
  CHECK_EQUAL(MM_OK, mm_free(image, memory, NULL));
  CHECK_EQUAL(MM_ERROR_RESULT, mm_read(image, memory, &way, 1, NULL));
  mm_image_release(image);
}

static void is_gone_after_a_reset_or_a_fault(void) {
  struct mm_image *image = map_image("record");
  char byte;
  for (int round = 0; round < 2; round++) {
    char *small = allocate(image, 64), *large = allocate(image, MIB);
    CHECK_EQUAL(MM_OK, mm_write(image, small, "x", 1, NULL));
    if (round)
      ((void (*)(void))stub_of(image, "crash"))();
    else
      CHECK_EQUAL(MM_OK, mm_reset(image, NULL));
    CHECK_EQUAL(MM_ERROR_RESULT, mm_read(image, small, &byte, 1, NULL));
    CHECK_EQUAL(MM_ERROR_RANGE, mm_write(image, large, "x", 1, NULL));
    CHECK_EQUAL(MM_ERROR_ARGUMENT, mm_free(image, small, NULL));
    char *next = allocate(image, 64);
    CHECK_EQUAL(0, byte_at(image, next));
    CHECK_EQUAL(MM_OK, mm_free(image, next, NULL));
  }
  CHECK_EQUAL(MM_ERROR_FAULT, mm_take_fault(NULL));
  mm_image_release(image);
}

static void frees_only_what_it_gave(void) {
  struct mm_image *image = map_image("record");
  char *memory = allocate(image, 100), *other = allocate(image, 100);
  CHECK_EQUAL(MM_ERROR_ARGUMENT, mm_free(image, memory + 1, NULL));
  CHECK_EQUAL(MM_ERROR_ARGUMENT, mm_free(image, memory + 16, NULL));
  CHECK_EQUAL(MM_ERROR_ARGUMENT, mm_free(image, memory + 0x10000, NULL));
  CHECK_EQUAL(MM_ERROR_ARGUMENT, mm_free(image, (void *)8, NULL));
  CHECK_EQUAL(MM_ERROR_ARGUMENT, mm_free(image, (void *)-8, NULL));
  CHECK_EQUAL(MM_OK, mm_free(image, memory, NULL));
  CHECK_EQUAL(MM_ERROR_ARGUMENT, mm_free(image, memory, NULL));
  CHECK_EQUAL(MM_OK, mm_free(image, other, NULL));
  CHECK_EQUAL(MM_OK, mm_free(image, NULL, NULL));
  CHECK_EQUAL(MM_ERROR_NULL, mm_free(NULL, memory, NULL));
  CHECK_EQUAL(MM_OK, mm_unmap(image, NULL));
  CHECK_EQUAL(MM_ERROR_UNMAPPED, mm_free(image, memory, NULL));
  CHECK_EQUAL(MM_ERROR_UNMAPPED, mm_allocate(image, 1, (void **)&memory, NULL));
  mm_image_release(image);
}

static void reads_and_writes_only_the_image(void) {
  struct mm_image *image = map_image("record");
  uint64_t base = base_of(image), local = 5, strange[] = {0,
                                                          8,
                                                          UINT64_MAX,
                                                          UINT64_MAX - 7,
                                                          (uint64_t)&local,
                                                          base,
                                                          base + (1ul << 36),
                                                          base - 8,
                                                          1ul << 63};
  for (unsigned i = 0; i < sizeof strange / sizeof *strange; i++) {
    uint64_t word = 0;
    CHECK_EQUAL(MM_ERROR_RESULT, mm_read(image, (void *)strange[i], &word, 8, NULL));
    CHECK_EQUAL(MM_ERROR_RANGE, mm_write(image, (void *)strange[i], &word, 8, NULL));
  }
  char *memory = allocate(image, 65536), bytes[16] = {0};
  CHECK_EQUAL(MM_ERROR_RESULT, mm_read(image, memory + 65528, bytes, 16, NULL));
  CHECK_EQUAL(MM_ERROR_RESULT, mm_read(image, memory, bytes, SIZE_MAX, NULL));
  CHECK_EQUAL(MM_ERROR_RANGE, mm_write(image, memory, bytes, SIZE_MAX - 100, NULL));
  void *(*constant)(void) = stub_of(image, "point_constant");
  CHECK_EQUAL(MM_OK, mm_read(image, constant(), bytes, 16, NULL));
  CHECK_EQUAL(MM_ERROR_RANGE, mm_write(image, constant(), bytes, 16, NULL));
  mm_image_release(image);
}

/* What the client wrote to the snapshot's memory is put back with the rest. */
static void is_reset_where_the_client_wrote(void) {
  struct mm_image *image = map_image("record");
  double *(*point)(void) = stub_of(image, "point"), written[] = {10, 20}, read[2];
  for (int round = 0; round < 2; round++) {
    CHECK_EQUAL(MM_OK, mm_write(image, point(), written, sizeof written, NULL));
    CHECK_EQUAL(MM_OK, mm_read(image, point(), read, sizeof read, NULL));
    CHECK(read[0] == 10 && read[1] == 20);
    CHECK_EQUAL(MM_OK, mm_reset(image, NULL));
    CHECK_EQUAL(MM_OK, mm_read(image, point(), read, sizeof read, NULL));
    CHECK(read[0] == 1.5 && read[1] == -2);
  }
  mm_image_release(image);
}

/* What the client does in a callback, while the guard is open for the image. */
struct inside {
  struct mm_image *image;
  char *before, *made;
};

static void in_a_callback(void *result, void **args, void *user) {
  struct inside *inside = user;
  inside->made = allocate(inside->image, 100);
  CHECK_EQUAL(0, byte_at(inside->image, inside->made));
  CHECK_EQUAL(MM_OK, mm_write(inside->image, inside->made, "made", 5, NULL));
  CHECK_EQUAL(MM_OK, mm_write(inside->image, inside->before, "before", 7, NULL));
  CHECK_EQUAL(MM_OK, mm_free(inside->image, allocate(inside->image, MIB), NULL));
  CHECK_EQUAL(MM_ERROR_RESULT, mm_read(inside->image, (void *)8, result, 4, NULL));
  CHECK_EQUAL(MM_ERROR_RANGE, mm_write(inside->image, (void *)8, result, 4, NULL));
  *(int *)result = *(int *)args[0] + 1;
}

static void works_in_a_callback(void) {
  struct mm_image *image = map_image("callback");
  struct mm_callback *callback;
  struct mm_error error;
  struct inside inside = {.image = image, .before = allocate(image, 16)};
  char output[1000];
  must(mm_callback(image, "int (int)", in_a_callback, &inside, &callback, &error), &error);
  int (*apply)(void *, int) = stub_of(image, "apply");
  for (int round = 0; round < 2; round++) {
    CHECK_EQUAL(43, apply(mm_callback_pointer(callback), 41));
    CHECK_EQUAL('m', byte_at(image, inside.made));
    CHECK_EQUAL('b', byte_at(image, inside.before));
    int status = in_child(write_at_rest, inside.made + 0x8000, output, sizeof output);
    CHECK_EQUAL(way.guard == MM_GUARD_PAGES, WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
    status = in_child(write_at_rest, inside.before, output, sizeof output);
    CHECK_EQUAL(way.guard == MM_GUARD_PAGES, WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
  }
  CHECK_EQUAL(MM_OK, mm_reset(image, NULL));
  CHECK_EQUAL(MM_ERROR_RESULT, mm_read(image, inside.made, output, 1, NULL));
  mm_callback_release(callback);
  mm_image_release(image);
}

/* To the guard all of it is one piece; what is freed makes ever more of that. */
enum { BLOCKS = 2500, BLOCK_BYTES = 65536 };

static void free_every_other(struct mm_image *image, void **blocks, unsigned char byte) {
  for (unsigned first = 1; first <= 2; first++)
    for (unsigned i = first % 2; i < BLOCKS; i += 2) {
      CHECK_EQUAL(byte, byte_at(image, blocks[i]));
      CHECK_EQUAL(MM_OK, mm_free(image, blocks[i], NULL));
    }
}

static void may_be_freed_in_any_order(void) {
  static void *blocks[BLOCKS];
  struct mm_image *image = map_image("record");
  void (*fill)(void *, unsigned long, int) = stub_of(image, "fill");
  for (unsigned i = 0; i < BLOCKS; i++) blocks[i] = allocate(image, BLOCK_BYTES);
  fill(blocks[0], BLOCKS * BLOCK_BYTES, 7);
  free_every_other(image, blocks, 7);
  void *last = allocate(image, BLOCK_BYTES);
  fill(last, BLOCK_BYTES, 8);
  CHECK_EQUAL(8, byte_at(image, last));
  CHECK_EQUAL(MM_OK, mm_take_fault(NULL));
  mm_image_release(image);
}

static void free_in_a_callback(void *result, void **args, void *image) {
  static void *blocks[BLOCKS];
  for (unsigned i = 0; i < BLOCKS; i++) blocks[i] = allocate(image, BLOCK_BYTES);
  free_every_other(image, blocks, 0);
  *(int *)result = *(int *)args[0];
}

static void in_a_callback_too(void) {
  struct mm_image *image = map_image("callback");
  struct mm_callback *callback;
  int (*apply)(void *, int) = stub_of(image, "apply");
  must(mm_callback(image, "int (int)", free_in_a_callback, image, &callback, NULL), NULL);
  CHECK_EQUAL(3 + 1, apply(mm_callback_pointer(callback), 3));
  CHECK_EQUAL(MM_OK, mm_take_fault(NULL));
  mm_callback_release(callback);
  mm_image_release(image);
}

static void all_tests(void) {
  connect_client();
  RUN(gives_memory_that_is_zero_and_aligned);
  RUN(keeps_blocks_apart);
  RUN(is_the_image_s_to_write);
  RUN(is_read_only_at_rest_under_pages);
  RUN(is_not_the_image_s_to_unmap);
  RUN(counts_as_the_image_s_memory);
  RUN(gives_a_gibibyte_within_the_limit);
  RUN(is_gone_after_a_reset_or_a_fault);
  RUN(frees_only_what_it_gave);
  RUN(reads_and_writes_only_the_image);
  RUN(is_reset_where_the_client_wrote);
  RUN(works_in_a_callback);

  RUN(may_be_freed_in_any_order);
  RUN(in_a_callback_too);
  CHECK_EQUAL(MM_OK, mm_finalize(NULL));
}

int main(int count, char **arguments) {
  static const struct way ways[] = {{"pages", MM_GUARD_PAGES, {0}}, {"open", MM_GUARD_OPEN, {0}}};
  find_folders(count, arguments);
  return run_ways(ways, sizeof ways / sizeof *ways, all_tests);
}
