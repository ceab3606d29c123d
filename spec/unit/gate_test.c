/* Calls images through their stubs and compares what the processor holds before and after, register by register.
 * Usage: gate_test FOLDER; prints one line per test, exit status 1 when one failed. */
#include "client.h"

/* --- the processor's state around a call; no register is believed afterwards, so all of it is static --- */

struct machine {
  uint64_t rbx, rbp, r12, r13, r14, r15, rsp, rflags;
  uint32_t mxcsr;
  uint16_t x87
      [14]; /* fnstenv: control word, status word and tag word are each the first half of four bytes */
};

#define X87_CONTROL(machine) ((machine).x87[0])
#define X87_STATUS(machine)  ((machine).x87[2])
#define X87_TAGS(machine)    ((machine).x87[4])

__attribute__((used)) struct machine machine_before, machine_after;
__attribute__((used)) uint64_t machine_stack, machine_result;
void *machine_around(void *stub);

/* The odd number of words on the stack keeps it aligned as a call wants it. */
#define KEEP(machine)                                                                              \
  "mov %rbx, " #machine "(%rip)\n\tmov %rbp, " #machine "+8(%rip)\n\t"                             \
  "mov %r12, " #machine "+16(%rip)\n\tmov %r13, " #machine "+24(%rip)\n\t"                         \
  "mov %r14, " #machine "+32(%rip)\n\tmov %r15, " #machine "+40(%rip)\n\t"                         \
  "mov %rsp, " #machine "+48(%rip)\n\t"

#define KEEP_FLAGS(machine)                                                                        \
  "pushfq\n\tpop " #machine "+56(%rip)\n\tstmxcsr " #machine "+64(%rip)\n\t"                       \
  "fnstenv " #machine "+68(%rip)\n\tfldenv " #machine "+68(%rip)\n\t"

__asm__(
    ".text\n\t"
    ".type machine_around, @function\n"
    "machine_around:\n\t"
    "push %rbx\n\tpush %rbp\n\tpush %r12\n\tpush %r13\n\tpush %r14\n\tpush %r15\n\t"
    "sub $8, %rsp\n\t"
    "mov %rsp, machine_stack(%rip)\n\t"
    "movabs $0x1111111111111111, %rbx\n\tmovabs $0x2222222222222222, %rbp\n\t"
    "movabs $0x3333333333333333, %r12\n\tmovabs $0x4444444444444444, %r13\n\t"
    "movabs $0x5555555555555555, %r14\n\tmovabs $0x6666666666666666, %r15\n\t" KEEP(machine_before)
        KEEP_FLAGS(machine_before) "call *%rdi\n\t" KEEP(
            machine_after) "mov machine_stack(%rip), %rsp\n\t" KEEP_FLAGS(machine_after) "cld\n\tfn"
                                                                                         "init\n\t"
                                                                                         "mov "
                                                                                         "%rax, "
                                                                                         "machine_"
                                                                                         "result(%"
                                                                                         "rip)\n\t"
                                                                                         "add $8, "
                                                                                         "%rsp\n\t"
                                                                                         "pop "
                                                                                         "%r15\n\tp"
                                                                                         "op "
                                                                                         "%r14\n\tp"
                                                                                         "op "
                                                                                         "%r13\n\tp"
                                                                                         "op "
                                                                                         "%r12\n\tp"
                                                                                         "op "
                                                                                         "%rbp\n\tp"
                                                                                         "op "
                                                                                         "%rbx\n\t"
                                                                                         "ret\n\t"
                                                                                         ".size "
                                                                                         "machine_"
                                                                                         "around, "
                                                                                         ". - "
                                                                                         "machine_"
                                                                                         "around\n"
                                                                                         "\t");

static uint32_t get_mxcsr(void) {
  uint32_t control;
  __asm__ volatile("stmxcsr %0" : "=m"(control));
  return control;
}

static void set_rounding(uint32_t mxcsr, uint16_t x87) {
  __asm__ volatile("ldmxcsr %0\n\tfldcw %1" : : "m"(mxcsr), "m"(x87));
}

#define MXCSR_DEFAULT 0x1f80u
#define X87_DEFAULT   0x037fu
#define FLAG_NT       0x4000ul
#define FLAG_DF       0x400ul
#define FLAG_AC       0x40000ul
#define FLAG_TF       0x100ul
#define STUB_BYTES    32

/* With several floating-point environments of the client. In the second, every control bit and two of the flags of
 * MXCSR differ from the default; in the third, exceptions are not masked; the word of the fourth is the one with
 * which `spoil_x87_pending` ends. */
static void check_around(void *stub, uint64_t result) {
  static const struct {
    uint32_t mxcsr;
    uint16_t x87;
  } environments[] = {
      {MXCSR_DEFAULT, X87_DEFAULT}, {0xffe1, 0x0c7f}, {0x5d80, 0x027b}, {MXCSR_DEFAULT, 0x0360}};
  for (unsigned i = 0; i < sizeof environments / sizeof *environments; i++) {
    set_rounding(environments[i].mxcsr, environments[i].x87);
    machine_around(stub);
    set_rounding(MXCSR_DEFAULT, X87_DEFAULT);
    CHECK_EQUAL(environments[i].mxcsr, machine_before.mxcsr);
    CHECK_EQUAL(result, (uint32_t)machine_result);
    CHECK_EQUAL(machine_before.rbx, machine_after.rbx);
    CHECK_EQUAL(machine_before.rbp, machine_after.rbp);
    CHECK_EQUAL(machine_before.r12, machine_after.r12);
    CHECK_EQUAL(machine_before.r13, machine_after.r13);
    CHECK_EQUAL(machine_before.r14, machine_after.r14);
    CHECK_EQUAL(machine_before.r15, machine_after.r15);
    CHECK_EQUAL(machine_before.rsp, machine_after.rsp);
    CHECK_EQUAL(machine_before.mxcsr, machine_after.mxcsr);
    CHECK_EQUAL(X87_CONTROL(machine_before), X87_CONTROL(machine_after));
    CHECK_EQUAL(0xffff, X87_TAGS(machine_after)); /* all registers empty */
    CHECK_EQUAL(0, X87_STATUS(machine_after) & 0x80);
    CHECK_EQUAL(0, machine_after.rflags & (FLAG_DF | FLAG_AC | FLAG_NT | FLAG_TF));
  }
}

static void comes_back_with_every_register_whatever_the_image_did(void) {
  static const char *const names[] = {"spoil_registers",   "spoil_stack_pointer", "spoil_direction",
                                      "spoil_mxcsr",       "spoil_x87_control",   "spoil_x87_stack",
                                      "spoil_x87_pending", "spoil_x87_flags",     "spoil_all"};
  struct mm_image *image = map_image("crash"), *gate = map_image("gate");
  for (unsigned i = 0; i < sizeof names / sizeof *names; i++) {
    int before = failures;
    check_around(stub_of(image, names[i]), 7);
    if (failures != before) printf("# in %s\n", names[i]);
  }
  check_around(stub_of(gate, "spoil_alignment"), 7);
  check_around(stub_of(gate, "spoil_nested_task"), 7);
  CHECK_EQUAL(MM_OK, mm_take_fault(NULL));
  mm_image_release(image);
  mm_image_release(gate);
}

static void comes_back_wherever_the_image_says_that_fs_is(void) {
  struct mm_image *image = map_image("crash"), *other = map_image("gate");
  int (*spoil)(uint64_t) = stub_of(image, "spoil_thread_pointer");
  const uint64_t places[] = {0, 1ul << 45, base_of(image), base_of(other), ~0ul};
  CALL_INT(other, "counter_get");
  for (unsigned i = 0; i < sizeof places / sizeof *places; i++) CHECK_EQUAL(7, spoil(places[i]));
  CHECK_EQUAL(MM_OK, mm_take_fault(NULL));
  mm_image_release(image);
  mm_image_release(other);
}

static void break_frames(void *image) {
  uint64_t (*break_them)(uint64_t, uint64_t) = stub_of(image, "break_frames");
  uint64_t here = (uint64_t)__builtin_frame_address(0) & ~7ul;
  printf("came back with %ld", break_them(here - 4096, here));
}

static void stops_the_program_when_its_frame_is_none(void) {
  struct mm_image *image = map_image("gate");
  char output[512];
  int status = in_child(break_frames, image, output, sizeof output);
  CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
  CHECK(strstr(output, "the gate lost its frame") != NULL);
  mm_image_release(image);
}

static void comes_back_with_every_register_after_a_fault(void) {
  struct mm_image *image = map_image("crash"), *gate = map_image("gate");
  struct mm_error error;
  check_around(stub_of(image, "spoil_all_then_crash"), 0);
  CHECK_EQUAL(MM_ERROR_FAULT, mm_take_fault(&error));
  CHECK_EQUAL(SIGSEGV, error.signal);
  check_around(stub_of(image, "lost_stack"), 0);
  if (!emulated) check_around(stub_of(image, "unaligned"), 0);
  check_around(stub_of(gate, "trace_itself"), 0);
  CHECK_EQUAL(MM_ERROR_FAULT, mm_take_fault(&error));
  CHECK_EQUAL(SIGTRAP, error.signal);
  CHECK_EQUAL(100, CALL_INT(image, "counter_get"));
  mm_image_release(image);
  mm_image_release(gate);
}

/* --- arguments --- */

struct loads {
  uint64_t registers[7]; /* rdi rsi rdx rcx r8 r9 rax */
  uint64_t stack[9];
  uint8_t vectors[8][32];
};

uint64_t call_with(void *stub, const struct loads *loads);
uint64_t call_with_xmm(void *stub, const struct loads *loads);

#define VECTOR(instruction, kind, n) #instruction " 128+32*" #n "(%r12), %" #kind #n "\n\t"
#define VECTORS(i, k)                                                                              \
  VECTOR(i, k, 0)                                                                                  \
  VECTOR(i, k, 1)                                                                                  \
  VECTOR(i, k, 2)                                                                                  \
  VECTOR(i, k, 3)                                                                                  \
  VECTOR(i, k, 4)                                                                                  \
  VECTOR(i, k, 5)                                                                                  \
  VECTOR(i, k, 6)                                                                                  \
  VECTOR(i, k, 7)
#define CALL_WITH(name, vectors, after)                                                            \
  __asm__(".text\n\t.type " #name ", @function\n" #name ":\n\t"                                    \
          "push %rbp\n\tmov %rsp, %rbp\n\tpush %rbx\n\tpush %r12\n\t"                              \
          "mov %rdi, %rbx\n\tmov %rsi, %r12\n\tsub $80, %rsp\n\t"                                  \
          "lea 56(%r12), %rsi\n\tmov %rsp, %rdi\n\tmov $9, %ecx\n\trep movsq\n\t" vectors          \
          "mov 0(%r12), %rdi\n\tmov 8(%r12), %rsi\n\tmov 16(%r12), %rdx\n\t"                       \
          "mov 24(%r12), %rcx\n\tmov 32(%r12), %r8\n\tmov 40(%r12), %r9\n\t"                       \
          "mov 48(%r12), %rax\n\tcall *%rbx\n\t" after                                             \
          "lea -16(%rbp), %rsp\n\tpop %r12\n\tpop %rbx\n\tpop %rbp\n\tret\n\t"                     \
          ".size " #name ", . - " #name "\n\t")
CALL_WITH(call_with_xmm, VECTORS(movups, xmm), "");
CALL_WITH(call_with, VECTORS(vmovups, ymm), "vzeroupper\n\t");
_Static_assert(offsetof(struct loads, vectors) == 128, "the assembly knows it");

static void fill_loads(struct loads *loads) {
  uint8_t *bytes = (uint8_t *)loads;
  for (size_t i = 0; i < sizeof *loads; i++) bytes[i] = (uint8_t)(i * 37 + 11);
}

static void passes_every_argument_register_and_stack_argument(void) {
  struct mm_image *image = map_image("gate");
  struct loads loads;
  fill_loads(&loads);
  const uint64_t *seen = (const uint64_t *)call_with_xmm(stub_of(image, "keep_registers"), &loads);
  CHECK(memcmp(seen, loads.registers, sizeof loads.registers) == 0);
  CHECK(memcmp(seen + 15, loads.stack, sizeof loads.stack) == 0);
  mm_image_release(image);
}

static void shows_the_image_none_of_the_clients_registers(void) {
  struct mm_image *image = map_image("gate");
  machine_around(stub_of(image, "keep_registers"));
  const uint64_t *seen = (const uint64_t *)machine_result;
  for (int i = 7; i <= 12; i++) CHECK_EQUAL(0, seen[i]); /* rbx, r10, r12 to r15 */
  CHECK_EQUAL(8, seen[13] % 16);                         /* psABI 3.2.2: aligned at the call */
  CHECK(seen[13] - base_of(image) < SLOT_BYTES);
  CHECK_EQUAL(0, seen[14] & (FLAG_DF | FLAG_AC));
  mm_image_release(image);
}

static void passes_vectors_of_16_and_32_bytes(void) {
  struct mm_image *image = map_image("gate");
  struct loads loads;
  fill_loads(&loads);
  const uint8_t *seen = (const uint8_t *)call_with_xmm(stub_of(image, "keep_xmm"), &loads);
  for (int i = 0; i < 8; i++) CHECK(memcmp(seen + 16 * i, loads.vectors[i], 16) == 0);
  if (__builtin_cpu_supports("avx")) {
    seen = (const uint8_t *)call_with(stub_of(image, "keep_ymm"), &loads);
    for (int i = 0; i < 8; i++) CHECK(memcmp(seen + 32 * i, loads.vectors[i], 32) == 0);
  }
  mm_image_release(image);
}

static void passes_numbers_of_every_width_and_place(void) {
  struct mm_image *image = map_image("math");
  double (*mix)(int, double, int, double, int, double, int, double, int, double, int, double, int,
                double, int, double, int, double, int, double) = stub_of(image, "mix");
  CHECK(mix(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20) == 2870);
  int64_t (*narrow)(int8_t, uint8_t, int16_t, uint16_t, int32_t, uint32_t, int8_t, uint8_t, int16_t,
                    uint16_t, bool, float) = stub_of(image, "narrow");
  CHECK_EQUAL(-128 + 2 * 255 + 3l * -32768 + 4l * 65535 + 5l * INT32_MIN + 6l * UINT32_MAX -
                  7l * 128 + 8 * 255 - 9l * 32768 + 10l * 65535 + 11 + 18,
              narrow(-128, 255, -32768, 65535, INT32_MIN, UINT32_MAX, -128, 255, -32768, 65535,
                     true, 1.5f));
  long double (*align_long)(int, int, int, int, int, int, int, long double, int, long double) =
      stub_of(image, "align_long");
  CHECK(align_long(1, 2, 3, 4, 5, 6, 7, 8, 9, 10) == 385);
  long double (*mix_long)(long double, int, long double, double, long double, float) =
      stub_of(image, "mix_long");
  CHECK(mix_long(1, 2, 3, 4, 5, 6) == 91);
  mm_image_release(image);
}

static void returns_all_64_bits_of_a_long_double(void) {
  struct mm_image *image = map_image("math");
  volatile long double number = 0x1.fffffffffffffffep+16000L, got = 0;
  long double (*identity)(long double) = stub_of(image, "f80");
  CHECK(identity(number) == number);
  /* Were anything left on the x87 stack, it would overflow after eight calls. */
  for (int i = 0; i < 20; i++) CHECK(identity(i + 0.5L) == i + 0.5L);
  void *arguments[] = {(void *)&number};
  CHECK_EQUAL(MM_OK, mm_request_call(function_of(image, "f80"), (void *)&got, arguments, NULL));
  CHECK(got == number);
  mm_image_release(image);
}

static void computes_with_the_images_own_rounding(void) {
  struct mm_image *image = map_image("rounding");
  double (*quotient)(double, double) = stub_of(image, "quotient");
  long double (*quotient_long)(long double, long double) = stub_of(image, "quotient_long");
  volatile double ten = 10, one = 1;
  double nearest = one / ten;
  set_rounding(MXCSR_DEFAULT | 1 << 13, X87_DEFAULT | 1 << 10); /* the client rounds down */
  double down = one / ten, up = quotient(1, 10);
  double down_again = one / ten;
  long double long_down = (long double)one / ten, long_up = quotient_long(1, 10);
  uint32_t control = get_mxcsr();
  set_rounding(MXCSR_DEFAULT, X87_DEFAULT);
  CHECK(down < up && down == down_again && (nearest == up || nearest == down));
  CHECK(long_down < long_up);
  CHECK_EQUAL(1, control >> 13 & 3);
  CHECK_EQUAL(2, CALL_INT(image, "rounding_sse"));
  CHECK_EQUAL(2, CALL_INT(image, "rounding_x87"));
  CHECK_EQUAL(1, CALL_INT(image, "round_down"));
  CHECK_EQUAL(2, CALL_INT(image, "rounding_sse")); /* for the next call it is as in the server */
  CHECK_EQUAL(2, CALL_INT(image, "rounding_x87"));
  CHECK_EQUAL(MXCSR_DEFAULT, get_mxcsr() & ~0x3fu);
  mm_image_release(image);
}

static __thread int own = 5;

static void keeps_errno_and_thread_locals_apart(void) {
  struct mm_image *image = map_image("tls");
  errno = 77;
  own = 6;
  CHECK_EQUAL(33, CALL_INT(image, "errno_get"));
  CHECK_EQUAL(33, CALL_INT_INT(image, "errno_set", 5));
  CHECK_EQUAL(77, errno);
  CHECK_EQUAL(5, CALL_INT(image, "errno_get"));
  CALL_INT_INT(image, "number_set", 1234);
  CHECK_EQUAL(1234, CALL_INT(image, "number_get"));
  CHECK_EQUAL(6, own);
  CHECK(CALL_LONG(image, "errno_address") - base_of(image) < SLOT_BYTES);
  CHECK((uint64_t)&errno - base_of(image) >= SLOT_BYTES);
  mm_image_release(image);
}

/* --- calls inside calls --- */

typedef int ping_function(uint64_t other, uint64_t self, int depth);

static void calls_to_and_fro_between_images(void) {
  struct mm_image *a = map_image("nested"), *b = map_image("nested_other");
  ping_function *ping = stub_of(a, "ping"), *pong = stub_of(b, "ping");
  int (*call_at)(uint64_t, int) = stub_of(a, "call_at");
  CHECK_EQUAL(14, call_at((uint64_t)stub_of(b, "twice"), 7));
  CHECK_EQUAL(1, ping((uint64_t)pong, (uint64_t)ping, 1));
  CHECK_EQUAL(500, ping((uint64_t)pong, (uint64_t)ping, 500));
  CHECK_EQUAL(251, CALL_INT(a, "entered_count") - 1); /* call_at's, and half of the pairs */
  CHECK_EQUAL(250, CALL_INT(b, "came_back_count"));
  mm_image_release(a);
  mm_image_release(b);
}

static void calls_itself_through_its_own_stub(void) {
  struct mm_image *image = map_image("nested");
  int64_t (*sum_ten_at)(uint64_t, int64_t) = stub_of(image, "sum_ten_at");
  ping_function *ping = stub_of(image, "ping");
  CHECK_EQUAL(385, sum_ten_at((uint64_t)stub_of(image, "sum_ten"), 1));
  CHECK_EQUAL(385 + 55, sum_ten_at((uint64_t)stub_of(image, "sum_ten"), 2));
  CHECK_EQUAL(3000, ping((uint64_t)ping, (uint64_t)ping, 3000));
  CHECK_EQUAL(10000, CALL_INT_INT(image, "recurse", 10000));
  CHECK_EQUAL(2, CALL_INT_INT(image, "twice", 1));
  mm_image_release(image);
}

static void contains_calls_inside_calls_that_never_end(void) {
  struct mm_image *a = map_image("nested"), *b = map_image("nested_other");
  ping_function *ping = stub_of(a, "ping"), *pong = stub_of(b, "ping");
  struct mm_error error;
  CHECK_EQUAL(0, ping((uint64_t)pong, (uint64_t)ping, 1000000));
  CHECK_EQUAL(MM_ERROR_FAULT, mm_take_fault(&error));
  CHECK_EQUAL(SIGSEGV, error.signal);
  CHECK(strstr(error.message, "stack overflow") != NULL);
  CHECK_EQUAL(0, ping((uint64_t)ping, (uint64_t)ping, 1000000));
  CHECK_EQUAL(MM_ERROR_FAULT, mm_take_fault(&error));
  CHECK_EQUAL(0, CALL_INT(a, "entered_count")); /* both are as in the snapshot */
  CHECK_EQUAL(0, CALL_INT(b, "entered_count"));
  CHECK_EQUAL(4, ping((uint64_t)pong, (uint64_t)ping, 4));
  mm_image_release(a);
  mm_image_release(b);
}

/* Wherever the stack ends: the Matchmaker works for the inner call on it, and is never interrupted by that. */
static void an_image_with_little_stack_left_calls_whole_or_not_at_all(const char *export) {
  struct mm_image *a = map_image("gate"), *b = map_image("crash");
  int (*call)(uint64_t, uint64_t) = stub_of(a, export);
  uint64_t crash = (uint64_t)stub_of(b, "read_null"), get = (uint64_t)stub_of(b, "counter_get");
  for (uint64_t room = 16; room < 0x5000; room += 16) {
    CHECK_EQUAL(0, call(crash, room));
    CHECK_EQUAL(MM_ERROR_FAULT, mm_take_fault(NULL));
  }
  CHECK_EQUAL(100, call(get, 0x5000));
  CHECK_EQUAL(MM_OK, mm_take_fault(NULL));
  CHECK_EQUAL(100, CALL_INT(a, "counter_get"));
  CHECK_EQUAL(100, CALL_INT(b, "counter_get"));
  CHECK_EQUAL(MM_OK, mm_unmap(a, NULL));
  CHECK_EQUAL(MM_OK, mm_unmap(b, NULL));
  mm_image_release(a);
  mm_image_release(b);
}

static void ends_every_call_around_a_fault(void) {
  struct mm_image *a = map_image("nested"), *b = map_image("nested_other");
  ping_function *ping = stub_of(a, "ping_crash"), *pong = stub_of(b, "ping_crash");
  struct mm_error error;
  CALL_INT_INT(a, "twice", 1);
  for (int depth = 0; depth < 6; depth++) {
    CHECK_EQUAL(0, ping((uint64_t)pong, (uint64_t)ping, depth));
    CHECK_EQUAL(MM_ERROR_FAULT, mm_take_fault(&error));
    CHECK_EQUAL(depth % 2 ? base_of(b) : base_of(a), error.instruction & ~(SLOT_BYTES - 1));
    CHECK_EQUAL(0, CALL_INT(a, "came_back_count"));
    CHECK_EQUAL(0, CALL_INT(b, "came_back_count"));
    CHECK_EQUAL(0, CALL_INT(a, "entered_count"));
  }
  CHECK_EQUAL(MM_OK, mm_take_fault(NULL));
  check_around(stub_of(a, "entered_count"), 0);
  mm_image_release(a);
  mm_image_release(b);
}

static void tells_of_the_image_that_faulted_whether_it_was_reset(void) {
  struct mm_map_options options = {.guard = way.guard}, stays_dead = options;
  stays_dead.dead_on_fault = 1;
  struct mm_image *a = map_with("nested", &options), *b = map_with("nested_other", &stays_dead);
  ping_function *ping = stub_of(a, "ping_crash"), *pong = stub_of(b, "ping_crash");
  struct mm_error error;
  CHECK_EQUAL(0, pong((uint64_t)ping, (uint64_t)pong, 1));
  CHECK_EQUAL(MM_ERROR_FAULT, mm_take_fault(&error));
  CHECK_EQUAL(base_of(a), error.instruction & ~(SLOT_BYTES - 1));
  CHECK_EQUAL(1, error.was_reset);
  CHECK_EQUAL(MM_OK, mm_reset(b, NULL));
  CHECK_EQUAL(0, ping((uint64_t)pong, (uint64_t)ping, 1));
  CHECK_EQUAL(MM_ERROR_FAULT, mm_take_fault(&error));
  CHECK_EQUAL(base_of(b), error.instruction & ~(SLOT_BYTES - 1));
  CHECK_EQUAL(0, error.was_reset);
  mm_image_release(a);
  mm_image_release(b);
}

/* With AC, whatever is not aligned faults: the Matchmaker's own C must not meet it. */
static void crosses_and_mediates_with_the_alignment_check_on(void) {
  struct mm_image *a = map_image("gate"), *b = map_image("nested_other");
  uint64_t (*call)(uint64_t, uint64_t) = stub_of(a, "call_with_flags");
  CHECK_EQUAL(0, call((uint64_t)stub_of(b, "entered_count"), FLAG_AC));
  CHECK_EQUAL(100, call((uint64_t)stub_of(a, "counter_get"), FLAG_AC));
  CHECK_EQUAL(getpid(), CALL_INT(a, "ask_with_alignment_check"));
  CHECK_EQUAL(MM_OK, mm_take_fault(NULL));
  mm_image_release(a);
  mm_image_release(b);
}

static void an_image_is_called_with_clean_flags_by_another_too(void) {
  struct mm_image *a = map_image("gate"), *b = map_image("gate_other");
  uint64_t (*call)(uint64_t, uint64_t) = stub_of(a, "call_with_flags");
  const uint64_t *seen =
      (const uint64_t *)call((uint64_t)stub_of(b, "keep_registers"), FLAG_DF | FLAG_NT | FLAG_AC);
  CHECK_EQUAL(0, seen[14] & (FLAG_DF | FLAG_NT | FLAG_AC));
  mm_image_release(a);
  mm_image_release(b);
}

static void answers_zero_for_a_dead_image(void) {
  struct mm_map_options options = {.guard = way.guard, .dead_on_fault = 1};
  struct mm_image *image = map_with("crash", &options);
  struct mm_error error;
  CALL_INT(image, "read_null");
  CHECK_EQUAL(MM_ERROR_FAULT, mm_take_fault(&error));
  CHECK_EQUAL(0, error.was_reset);
  check_around(stub_of(image, "counter_get"), 0);
  CHECK_EQUAL(MM_ERROR_DEAD, mm_take_fault(&error));
  CHECK_EQUAL(MM_OK, mm_reset(image, &error));
  check_around(stub_of(image, "counter_get"), 100);
  mm_image_release(image);
}

static void a_stub_behind_the_last_export_leads_nowhere(void) {
  struct mm_image *image = map_image("crash");
  uint64_t last = 0;
  for (uint32_t i = 0; i < mm_export_count(image); i++) {
    uint64_t stub = (uint64_t)stub_of(image, mm_export_name(image, i));
    if (stub > last) last = stub;
  }
  CHECK_EQUAL(0, ((int (*)(void))(last + STUB_BYTES))());
  CHECK_EQUAL(MM_ERROR_NO_EXPORT, mm_take_fault(NULL));
  mm_image_release(image);
}

struct large {
  long a[5];
  const char *name;
};
struct point {
  double x, y;
};

/* In every register that can hold a result. */
static void answers_zeros_of_every_kind_for_a_dead_image(void) {
  struct mm_map_options options = {.guard = way.guard, .dead_on_fault = 1};
  struct mm_image *image = map_with("aggregate", &options);
  struct point (*mirror)(struct point) = stub_of(image, "mirror");
  long double (*third)(long double) = stub_of(image, "third");
  long double _Complex (*square)(long double _Complex) = stub_of(image, "square");
  struct large (*fails)(struct large) = stub_of(image, "fails");
  fails((struct large){{1}, NULL});
  CHECK_EQUAL(MM_ERROR_FAULT, mm_take_fault(NULL));
  struct point p = mirror((struct point){1, 2});
  CHECK(p.x == 0 && p.y == 0);
  CHECK(third(3) == 0);
  long double _Complex z = square(2 + 2i);
  CHECK(__real__ z == 0 && __imag__ z == 0);
  CHECK_EQUAL(MM_ERROR_DEAD, mm_take_fault(NULL));
  mm_image_release(image);
}

/* --- fork --- */

static struct mm_image *calls;

static void child_body(void *image_) {
  struct mm_image *image = image_;
  /* A fork starts without the trap: it must be there again before the first call. */
  if (CALL_LONG(calls, "open_socket") != (uint64_t)-EPERM) _exit(5);
  if (CALL_LONG(calls, "process") != (uint64_t)getpid()) _exit(6);
  if (CALL_INT(image, "counter_next") != 101 + 5) _exit(1);
  CALL_INT_INT(image, "counter_set", 1000);
  struct mm_image *other = map_image("crash"); /* and maps */
  if (CALL_INT(other, "read_null") != 0 || mm_take_fault(NULL) != MM_ERROR_FAULT) _exit(2);
  if (CALL_INT(other, "counter_get") != 100) _exit(3);
  if (mm_finalize(NULL) != MM_OK) _exit(4);
}

static void a_forked_child_calls_and_its_writes_stay_its_own(void) {
  struct mm_image *image = map_image("math");
  char output[1024];
  calls = map_image("syscall");
  CHECK_EQUAL(-EPERM, CALL_LONG(calls, "open_socket"));
  for (int i = 0; i < 5; i++) CALL_INT(image, "counter_next");
  for (int i = 0; i < 3; i++) {
    CHECK_EQUAL(0, in_child(child_body, image, output, sizeof output));
    if (output[0]) printf("# %s\n", output);
  }
  CHECK_EQUAL(105, CALL_INT(image, "counter_get"));
  CHECK_EQUAL(106, CALL_INT(image, "counter_next"));
  mm_image_release(image);
  mm_image_release(calls);
}

static void all_tests(void) {
  connect_client();
  RUN(comes_back_with_every_register_whatever_the_image_did);
  RUN(comes_back_with_every_register_after_a_fault);
  RUN(comes_back_wherever_the_image_says_that_fs_is);
  if (way.guard != MM_GUARD_KEYS) RUN(stops_the_program_when_its_frame_is_none);
  RUN(passes_every_argument_register_and_stack_argument);
  RUN(shows_the_image_none_of_the_clients_registers);
  RUN(passes_vectors_of_16_and_32_bytes);
  RUN(passes_numbers_of_every_width_and_place);
  RUN(returns_all_64_bits_of_a_long_double);
  RUN(computes_with_the_images_own_rounding);
  RUN(keeps_errno_and_thread_locals_apart);
  RUN(calls_to_and_fro_between_images);
  RUN(calls_itself_through_its_own_stub);
  RUN(contains_calls_inside_calls_that_never_end);
  RUN(an_image_with_little_stack_left_calls_whole_or_not_at_all, "call_with_room");
  RUN(an_image_with_little_stack_left_calls_whole_or_not_at_all, "call_with_room_elsewhere");
  RUN(ends_every_call_around_a_fault);
  RUN(tells_of_the_image_that_faulted_whether_it_was_reset);
  RUN(crosses_and_mediates_with_the_alignment_check_on);
  RUN(an_image_is_called_with_clean_flags_by_another_too);
  RUN(answers_zero_for_a_dead_image);
  RUN(a_stub_behind_the_last_export_leads_nowhere);
  RUN(answers_zeros_of_every_kind_for_a_dead_image);
  RUN(a_forked_child_calls_and_its_writes_stay_its_own);
  CHECK_EQUAL(MM_OK, mm_finalize(NULL));
}

int main(int count, char **arguments) {
  static const struct way ways[] = {
      {"pages", MM_GUARD_PAGES, {0}},
      {"open", MM_GUARD_OPEN, {0}},
      {"pages, with a selector", MM_GUARD_PAGES, {.without = MM_WITHOUT_INCLUSIVE}},
      {"open, with a selector", MM_GUARD_OPEN, {.without = MM_WITHOUT_INCLUSIVE}},
      {"open, without FSGSBASE", MM_GUARD_OPEN, {.without = MM_WITHOUT_FSGSBASE}},
      {"pages, without either, masking",
       MM_GUARD_PAGES,
       {.signals = MM_SIGNALS_MASK, .without = MM_WITHOUT_INCLUSIVE | MM_WITHOUT_FSGSBASE}},
      {"keys", MM_GUARD_KEYS, {0}},
      {"keys, without FSGSBASE", MM_GUARD_KEYS, {.without = MM_WITHOUT_FSGSBASE}},
  };
  find_folders(count, arguments);
  return run_ways(ways, sizeof ways / sizeof *ways, all_tests);
}
