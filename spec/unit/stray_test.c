/* Touches images from outside of the gate, and looks from outside at what the guard opens when.
 * Usage: stray_test FOLDER; prints one line per test, exit status 1 when one failed. */
#include "client.h"

#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>

#include "client/client.h"

#define TABLES        0x200000000000ul /* the Matchmaker's own slot */
#define MAILBOX_BYTES 0x4000000ul

/* Where the code of an export is, as a debugger or a symbol table would tell. */
static uint64_t entry_of(struct mm_image *image, const char *name) {
  return function_of(image, name)->export->address;
}

static uint64_t address_in(struct mm_image *image, int which) {
  return CALL_LONG_INT(image, "address_of", which);
}

/* --- raw calls --- */

static void a_raw_call_to_an_entry_is_made_through_the_gate(void) {
  struct mm_image *math = map_image("math"), *tls = map_image("tls");
  struct mm_image_info info;
  for (int i = 0; i < 3; i++)
    CHECK_EQUAL(i + 41, ((int (*)(int, int))entry_of(math, "add"))(i, 41));
  CHECK_EQUAL(MM_OK, mm_image_info(math, &info, NULL));
  CHECK_EQUAL(3, info.calls);
  double (*mix)(int, double, int, double, int, double, int, double, int, double, int, double, int,
                double, int, double, int, double, int, double) = (void *)entry_of(math, "mix");
  CHECK(mix(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20) == 2870);
  long double (*f80)(long double) = (void *)entry_of(math, "f80");
  CHECK(f80(0x1.fffffffffffffffep+100L) == 0x1.fffffffffffffffep+100L);
  CHECK_EQUAL(101, ((int (*)(void))entry_of(math, "counter_next"))());
  CHECK_EQUAL(102, CALL_INT(math, "counter_next"));
  errno = 5;
  CHECK_EQUAL(33, ((int (*)(int))entry_of(tls, "errno_set"))(9));
  CHECK_EQUAL(9, ((int (*)(void))entry_of(tls, "errno_get"))());
  CHECK_EQUAL(5, errno);
  mm_image_release(math);
  mm_image_release(tls);
}

static void a_fault_in_a_raw_call_is_contained(void) {
  struct mm_image *image = map_image("crash");
  struct mm_error error;
  CHECK_EQUAL(0, ((int (*)(void))entry_of(image, "read_null"))());
  CHECK_EQUAL(MM_ERROR_FAULT, mm_take_fault(&error));
  CHECK(strcmp(error.symbol, "read_null") == 0);
  CHECK_EQUAL(100, CALL_INT(image, "counter_get"));
  mm_image_release(image);
}

/* --- accesses that are rejected --- */

struct stray {
  const char *name;
  void (*access)(struct mm_image *image);
  const char *says; /* part of the diagnostic */
};

__attribute__((noinline, noclone)) static void write_byte(uint64_t address) {
  *(volatile uint8_t *)address = 1;
}

static void call_middle(struct mm_image *image) {
  ((void (*)(void))(entry_of(image, "counter_get") + 1))();
}
static void call_before(struct mm_image *image) {
  ((void (*)(void))(entry_of(image, "counter_get") - 1))();
}
static void call_hidden(struct mm_image *image) {
  uint64_t address = address_in(image, 0);
  ((void (*)(void))address)();
}
static void call_data(struct mm_image *image) {
  uint64_t address = address_in(image, 2);
  ((void (*)(void))address)();
}
static void write_data(struct mm_image *image) { write_byte(address_in(image, 2)); }
static void write_text(struct mm_image *image) { write_byte(entry_of(image, "counter_get")); }
static void copy_over_data(struct mm_image *image) {
  static char zeros[4096];
  void *(*volatile copy)(void *, const void *, size_t) = memcpy;
  copy((void *)address_in(image, 2), zeros, 64);
}
static void write_stack(struct mm_image *image) { write_byte(base_of(image) + 0x1000000ul - 4096); }
static void write_unmapped(struct mm_image *image) { write_byte(base_of(image) + 0x100); }
static void read_unmapped(struct mm_image *image) {
  (void)*(volatile uint8_t *)(base_of(image) + 0x100);
}
static void write_tables(struct mm_image *image) {
  (void)image;
  write_byte(TABLES);
}
static void write_stub(struct mm_image *image) {
  write_byte((uint64_t)stub_of(image, "counter_get"));
}
static void write_empty_slot(struct mm_image *image) {
  (void)image;
  write_byte(TABLES + 767 * SLOT_BYTES + 0x123);
}

static const struct stray strays[] = {
    {"a call to the middle of an export", call_middle, "executing 0x%lx (counter_get+0x1) in "},
    {"a call to just before an entry", call_before, "executing 0x"},
    {"a call to a function that is no export", call_hidden, "executing 0x"},
    {"a call to data", call_data, "executing 0x"},
    {"a write to data", write_data, "writing 0x"},
    {"a write to an entry", write_text, "writing 0x%lx (counter_get+0x0) in "},
    {"a memcpy to data", copy_over_data, "writing 0x"},
    {"a write to the stack", write_stack, "writing 0x"},
    {"a write where nothing is mapped", write_unmapped, "writing 0x"},
    {"a read where nothing is mapped", read_unmapped, "reading 0x"},
    {"a write to the Matchmaker", write_tables, "in the Matchmaker"},
    {"a write to a stub", write_stub, "in the Matchmaker"},
    {"a write to an empty slot", write_empty_slot, "writing 0x"},
};

static void stray_body(void *stray_) {
  const struct stray *stray = stray_;
  connect_client();
  stray->access(map_image("gate"));
  printf("it went on\n");
}

static void rejects_each_stray_access_with_a_line_and_then_SIGSEGV(void) {
  for (unsigned i = 0; i < sizeof strays / sizeof *strays; i++) {
    const struct stray *stray = &strays[i];
    char output[2048], says[128];
    int failed = failures, status = in_child(stray_body, (void *)stray, output, sizeof output);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
    CHECK(strstr(output, "it went on") == NULL);
    const char *line = strstr(output, "rejected: client code at 0x");
    CHECK(line != NULL);
    /* %lx in `says` stands for whatever address there is. */
    snprintf(says, sizeof says, "%s", stray->says);
    char *rest = strstr(says, "%lx");
    if (rest) *rest = 0;
    line = line ? strstr(line, says) : NULL;
    CHECK(line != NULL);
    if (rest) CHECK(line && strstr(line, rest + 3) != NULL);
    if (strstr(says, "Matchmaker") == NULL && stray->access != write_empty_slot)
      CHECK(strstr(output, "image/gate.mmi") != NULL);
    if (failures != failed) printf("# in %s: status %d: %s\n", stray->name, status, output);
  }
}

/* --- a client with a handler of its own --- */

static sigjmp_buf back;
static siginfo_t got_info;
static uint64_t got_error, got_instruction;
static volatile int got_count;

static void own_handler(int signal, siginfo_t *info, void *context) {
  const ucontext_t *interrupted = context;
  got_info = *info;
  got_error = (uint64_t)interrupted->uc_mcontext.gregs[REG_ERR];
  got_instruction = (uint64_t)interrupted->uc_mcontext.gregs[REG_RIP];
  got_count += signal == SIGSEGV;
  siglongjmp(back, 1);
}

static void handled_body(void *unused) {
  (void)unused;
  struct sigaction action = {.sa_sigaction = own_handler, .sa_flags = SA_SIGINFO};
  sigaction(SIGSEGV, &action, NULL);
  connect_client();
  struct mm_image *image = map_image("gate");
  uint64_t data = address_in(image, 2), hidden = address_in(image, 0);
  for (int i = 0; i < 3; i++) {
    if (sigsetjmp(back, 1) == 0) write_byte(data);
    CHECK_EQUAL(2 * i + 1, got_count);
    CHECK_EQUAL(data, got_info.si_addr);
    CHECK_EQUAL(SEGV_ACCERR, got_info.si_code);
    CHECK_EQUAL(2, got_error & 2);
    if (sigsetjmp(back, 1) == 0) ((void (*)(void))hidden)();
    CHECK_EQUAL(2 * i + 2, got_count);
    CHECK_EQUAL(hidden, got_info.si_addr);
    CHECK_EQUAL(hidden, got_instruction);
    CHECK_EQUAL(100, CALL_INT(image, "counter_get"));
  }
  /* What is none of ours gets there without a line. */
  if (sigsetjmp(back, 1) == 0) write_byte(0x5000);
  CHECK_EQUAL(7, got_count);
  CHECK_EQUAL(0x5000, got_info.si_addr);
  struct openness openness = openness_of(base_of(image));
  CHECK_EQUAL(0, openness.writable + openness.executable);
  mm_image_release(image);
  CHECK_EQUAL(MM_OK, mm_finalize(NULL));
  struct sigaction now;
  sigaction(SIGSEGV, NULL, &now);
  CHECK(now.sa_sigaction == own_handler);
  if (sigsetjmp(back, 1) == 0) write_byte(0x5000);
  CHECK_EQUAL(8, got_count);
  if (failures) _exit(1);
}

static void hands_a_stray_access_on_to_the_handler_that_was_there(void) {
  char output[8192];
  int status = in_child(handled_body, NULL, output, sizeof output);
  CHECK_EQUAL(0, status);
  int lines = 0;
  for (const char *line = output; (line = strstr(line, "rejected:")) != NULL; line++) lines++;
  CHECK_EQUAL(6, lines);
  if (status) printf("%s\n", output);
}

static void gives_EFAULT_for_a_system_call_that_would_write_into_an_image(void) {
  struct mm_image *image = map_image("gate");
  uint64_t data = address_in(image, 2);
  int zero = open("/dev/zero", O_RDONLY | O_CLOEXEC);
  CHECK(read(zero, (void *)data, 4) == -1 && errno == EFAULT);
  CHECK(read(zero, (void *)entry_of(image, "counter_get"), 4) == -1 && errno == EFAULT);
  CHECK(read(zero, (void *)TABLES, 4) == -1 && errno == EFAULT);
  close(zero);
  CHECK_EQUAL(100, CALL_INT(image, "counter_get"));
  mm_image_release(image);
}

static void lets_the_client_read(void) {
  struct mm_image *image = map_image("gate");
  CHECK_EQUAL(100, *(const int *)address_in(image, 2));
  CHECK(*(const uint8_t *)entry_of(image, "counter_get") != 0);
  mm_image_release(image);
}

/* --- what is open when --- */

static bool closed(struct mm_image *image) {
  struct openness openness = openness_of(base_of(image));
  return openness.writable == 0 && openness.executable == 0 && openness.readable > 0;
}

static bool open_now(struct mm_image *image) {
  struct openness openness = openness_of(base_of(image));
  return openness.writable > 0 && openness.executable > 0;
}

static uint64_t writable_and_executable;

static void find_both(const struct mapping *mapping, void *unused) {
  (void)unused;
  writable_and_executable += mapping->protection[1] == 'w' && mapping->protection[2] == 'x';
}

static void is_closed_at_rest_whatever_happened(void) {
  struct mm_image *crash = map_image("crash"), *memory = map_image("memory"),
                  *hook = map_image("hook"), *hook_crash = map_image("hook_crash"),
                  *text = map_image("text");
  struct mm_image *all[] = {crash, memory, hook, hook_crash, text};
  void *chunk = &(uint64_t){1 << 20}, *seed = &(uint32_t){5};
  void *arguments[] = {chunk, seed};
  for (unsigned i = 0; i < 5; i++) CHECK(closed(all[i]));
  CALL_INT(crash, "counter_get");
  CHECK(closed(crash));
  CALL_INT(crash, "read_null");
  CHECK(closed(crash));
  CALL_INT_INT(crash, "call_exit", 3);
  CHECK(closed(crash));
  CALL_INT_INT(crash, "overflow", 0);
  CHECK(closed(crash));
  int result;
  CHECK_EQUAL(MM_OK, mm_request_call(function_of(memory, "keep"), &result, arguments, NULL));
  CHECK(closed(memory));
  CALL_LONG(memory, "discard");
  CALL_LONG(memory, "map_over");
  CALL_LONG(memory, "unmap_and_map");
  CALL_INT(memory, "make_writable");
  CALL_INT(memory, "grow_remap_snapshot");
  CHECK(closed(memory));
  CHECK_EQUAL(MM_OK, mm_reset(memory, NULL));
  CHECK(closed(memory));
  CALL_INT(hook, "crash");
  CHECK(closed(hook));
  CALL_INT(hook_crash, "crash"); /* its hook crashes, too: it is dead */
  CHECK(closed(hook_crash));
  mm_take_fault(NULL);
  const char *word = "word";
  void *words[] = {&word};
  uint64_t length;
  CHECK_EQUAL(MM_OK, mm_request_call(function_of(text, "length"), &length, words, NULL));
  CHECK(closed(text));
  char *too_long = memset(calloc(1, MAILBOX_BYTES + 1), 'x', MAILBOX_BYTES);
  int status =
      mm_request_call(function_of(text, "join"), &length, (void *[]){&word, &too_long}, NULL);
  CHECK_EQUAL(MM_ERROR_LIMIT, status);
  CHECK(closed(text));
  free(too_long);
  for (unsigned i = 0; i < 5; i++) {
    CHECK(closed(all[i]));
    mm_image_release(all[i]);
  }
}

/* Calls an export in a thread of its own, and looks while it waits inside. */
struct meeting {
  pthread_t thread;
  void *stub;
  uint64_t first; /* argument before `at`, if any */
  volatile int at[2];
};

static void *meeting_body(void *meeting_) {
  struct meeting *meeting = meeting_;
  if (meeting->first)
    ((int (*)(uint64_t, uint64_t))meeting->stub)(meeting->first, (uint64_t)meeting->at);
  else
    ((int (*)(uint64_t))meeting->stub)((uint64_t)meeting->at);
  mm_take_fault(NULL);
  return NULL;
}

static void meet(struct meeting *meeting, struct mm_image *image, const char *export,
                 uint64_t first) {
  *meeting = (struct meeting){.stub = stub_of(image, export), .first = first};
  pthread_create(&meeting->thread, NULL, meeting_body, meeting);
  while (!meeting->at[0]) usleep(100);
}

static void part(struct meeting *meeting) {
  meeting->at[1] = 1;
  pthread_join(meeting->thread, NULL);
}

static void opens_only_the_image_that_is_called(void) {
  struct mm_image *a = map_image("gate"), *b = map_image("gate_other"), *c = map_image("math");
  struct meeting meeting;
  meet(&meeting, a, "meet", 0);
  CHECK(open_now(a) && closed(b) && closed(c));
  writable_and_executable = 0;
  each_mapping(base_of(a), base_of(a) + SLOT_BYTES, find_both, NULL);
  CHECK_EQUAL(0, writable_and_executable);
  part(&meeting);
  CHECK(closed(a));
  /* A calls B: both are inside. */
  meet(&meeting, a, "call_meet", (uint64_t)stub_of(b, "meet"));
  CHECK(open_now(a) && open_now(b) && closed(c));
  part(&meeting);
  CHECK(closed(a) && closed(b));
  /* A has called B, which is done. */
  meet(&meeting, a, "call_then_meet", (uint64_t)stub_of(b, "counter_next"));
  CHECK(open_now(a) && closed(b) && closed(c));
  part(&meeting);
  /* A has called itself, and stays open. */
  meet(&meeting, a, "call_then_meet", (uint64_t)stub_of(a, "counter_next"));
  CHECK(open_now(a) && closed(b));
  part(&meeting);
  meet(&meeting, a, "meet_then_crash", 0);
  CHECK(open_now(a));
  part(&meeting);
  CHECK(closed(a) && closed(b) && closed(c));
  mm_image_release(a);
  mm_image_release(b);
  mm_image_release(c);
}

static void a_call_inside_is_refused_unmapping_and_resetting(void) {
  struct mm_image *image = map_image("gate");
  struct meeting meeting;
  struct mm_error error;
  meet(&meeting, image, "meet", 0);
  CHECK_EQUAL(MM_ERROR_BUSY, mm_unmap(image, &error));
  CHECK_EQUAL(MM_ERROR_BUSY, mm_finalize(&error));
  part(&meeting);
  CHECK_EQUAL(101, CALL_INT(image, "counter_next"));
  mm_image_release(image);
}

static struct layout {
  char text[64][40];
  int count;
} layouts[2];

static void add_line(const struct mapping *mapping, void *layout_) {
  struct layout *layout = layout_;
  if (layout->count < 64)
    snprintf(layout->text[layout->count++], 40, "%lx %lx %s", mapping->low, mapping->high,
             mapping->protection);
}

static void toggles_nothing_when_it_is_open(void) {
  struct mm_map_options options = {.guard = MM_GUARD_OPEN};
  struct mm_image *image = map_with("gate", &options);
  uint64_t base = base_of(image);
  struct meeting meeting;
  memset(layouts, 0, sizeof layouts);
  each_mapping(base, base + SLOT_BYTES, add_line, &layouts[0]);
  CHECK(open_now(image));
  meet(&meeting, image, "meet", 0);
  each_mapping(base, base + SLOT_BYTES, add_line, &layouts[1]);
  part(&meeting);
  CHECK(memcmp(&layouts[0], &layouts[1], sizeof layouts[0]) == 0);
  *(int *)address_in(image, 2) = 7; /* as the server could */
  CHECK_EQUAL(7, CALL_INT(image, "counter_get"));
  mm_image_release(image);
}

static void all_tests(void) {
  RUN(rejects_each_stray_access_with_a_line_and_then_SIGSEGV);
  RUN(hands_a_stray_access_on_to_the_handler_that_was_there);
  connect_client();
  RUN(a_raw_call_to_an_entry_is_made_through_the_gate);
  RUN(a_fault_in_a_raw_call_is_contained);
  RUN(gives_EFAULT_for_a_system_call_that_would_write_into_an_image);
  RUN(lets_the_client_read);
  RUN(is_closed_at_rest_whatever_happened);
  RUN(opens_only_the_image_that_is_called);
  RUN(a_call_inside_is_refused_unmapping_and_resetting);
  RUN(toggles_nothing_when_it_is_open);
  CHECK_EQUAL(MM_OK, mm_finalize(NULL));
}

int main(int count, char **arguments) {
  static const struct way ways[] = {
      {"pages", MM_GUARD_PAGES, {0}},
      {"pages, without either, masking",
       MM_GUARD_PAGES,
       {.signals = MM_SIGNALS_MASK, .without = MM_WITHOUT_INCLUSIVE | MM_WITHOUT_FSGSBASE}},
  };
  find_folders(count, arguments);
  return run_ways(ways, sizeof ways / sizeof *ways, all_tests);
}
