/* unit/aggregate_test.c - structs, unions and complex numbers through the C interface. */
#include <complex.h>
#include <math.h>

#include "client.h"

struct point {
  double x, y;
};
struct mixed {
  long a;
  float b;
};
struct large {
  long a[5];
  const char *name;
};
union number {
  long integer;
  double real;
};
struct holder {
  int n;
  void *at[2];
};
struct node {
  struct holder in;
  struct node *next;
};
struct triple {
  char a, b, c;
};

static struct mm_image *image;
static struct mm_error error;

static int call(const char *name, void *result, void **arguments) {
  return mm_request_call(function_of(image, name), result, arguments, &error);
}
#define CALL(name, result, ...) must(call(name, result, (void *[]){__VA_ARGS__}), &error)

static void returns_what_fits_registers(void) {
  struct point p = {1.5, -0.0}, q;
  CALL("mirror", &q, &p);
  CHECK(signbit(q.x) && q.x == 0 && q.y == 1.5);
  struct mixed m = {5, 7.0f}, n;
  CALL("swap", &n, &m);
  CHECK(n.a == 7 && n.b == 5.0f);
  union number u = {.real = 3};
  CALL("halve", &u, &u);
  CHECK(u.real == 1.5);
  long double third = 1;
  CALL("third", &third, &third);
  CHECK(third == 1.0L / 3);
}

/* What lies behind the three bytes stays as it is. */
static void writes_no_more_than_the_type(void) {
  struct {
    struct triple t;
    char guard[29];
  } in = {{1, 2, 3}, {0}}, out;
  memset(&out, 0x55, sizeof out);
  CALL("rotate", &out.t, &in.t);
  CHECK(out.t.a == 2 && out.t.b == 3 && out.t.c == 1 && out.guard[0] == 0x55);
}

static void passes_complex_numbers(void) {
  double _Complex z = 1 + 2 * I;
  CALL("conjugate", &z, &z);
  CHECK(creal(z) == 1 && cimag(z) == -2);
  float _Complex f = 3 + 4 * I;
  CALL("turn", &f, &f);
  CHECK(crealf(f) == -4 && cimagf(f) == 3);
  long double _Complex l = 1 + 2 * I;
  CALL("square", &l, &l);
  CHECK(creall(l) == -3 && cimagl(l) == 4);
}

static void returns_through_memory(void) {
  struct large l = {{1, 2, 3, 4, 5}, NULL}, got;
  long by = 10;
  CALL("shift", &got, &l, &by);
  CHECK(got.a[0] == 11 && got.a[4] == 15);
  CHECK((uint64_t)got.name > base_of(image) && (uint64_t)got.name - base_of(image) < 1ul << 36);
  CHECK(call("shift", NULL, (void *[]){&l, &by}) == MM_OK);
  CALL("elsewhere", &got, NULL);
  CHECK(got.a[0] == 7 && got.a[1] == 0 && (uint64_t)got.name == 8);
}

static void passes_what_registers_do_not_hold(void) {
  long a = 1, b = 2, c = 4, d = 8, e = 16;
  struct mixed m = {32, 64}, n = {128, 256};
  struct point p = {512, 1024};
  struct large l = {{0, 0, 0, 0, 2048}, NULL};
  double x = 4096, sum;
  CALL("last", &sum, &a, &b, &c, &d, &e, &m, &p, &l, &n, &x);
  CHECK(sum == 8191);
}

static void counts_alignment_from_the_start_of_the_whole(void) {
  struct unaligned {
    float a;
    double b __attribute__((packed));
  } u = {1, 2};
  struct aligned_again {
    float a;
    struct unaligned rest;
  } a = {4, {8, 16}}, got;
  CALL("put_behind", &got, &u, &a);
  CHECK(got.a == 12 && got.rest.a == 1 && got.rest.b == 18);
}

static void what_goes_in_memory_takes_the_whole_along(void) {
  union {
    long double number;
    long words[2];
  } o = {.words = {2, 3}};
  long a = 1, sum = 0;
  CALL("words", &sum, &a, &o);
  CHECK_EQUAL(321, sum);
}

static void takes_only_pointers_of_the_image(void) {
  struct node n;
  int followed;
  CALL("chain", &n, NULL);
  union number u = {.integer = (long)&n};
  CALL("follows", &followed, &n, &u); /* a union may hold anything */
  CHECK_EQUAL((int)(long)&n, followed);
  n.in.at[1] = &n;
  CHECK_EQUAL(MM_ERROR_OWNER, call("follows", &followed, (void *[]){&n, &u}));
  CHECK(strcmp(error.message, "follows: argument 1 holds in `at` a pointer of the client: `int "
                              "follows(struct node n, union number u)`") == 0);
  CHECK_EQUAL(1, error.argument);
  n.in.at[1] = (void *)(base_of(image) ^ 1ul << 36);
  CHECK_EQUAL(MM_ERROR_OWNER, call("follows", &followed, (void *[]){&n, &u}));
  CHECK(strcmp(error.message, "follows: argument 1 holds in `at` a pointer of another image: `int "
                              "follows(struct node n, union number u)`") == 0);
  struct large l = {{0}, "ours"};
  long by = 0;
  CHECK_EQUAL(MM_ERROR_OWNER, call("shift", &l, (void *[]){&l, &by}));
  CHECK(strstr(error.message, "argument 1 holds in `name`") != NULL);
}

static void leaves_the_result_alone_after_a_fault(void) {
  struct large l = {{1, 2, 3, 4, 5}, NULL}, got = {{9}, NULL};
  CHECK_EQUAL(MM_ERROR_FAULT, call("fails", &got, (void *[]){&l}));
  CHECK(got.a[0] == 9);
  long by = 1;
  CALL("shift", &got, &l, &by);
  CHECK(got.a[0] == 2);
}

/* The x87 has eight registers: what a call left in one of them would be missed soon. */
static void leaves_no_x87_register_behind(void) {
  struct large l = {{1}, NULL};
  long double _Complex z = 2;
  long double third = 1;
  for (int i = 0; i < 20; i++) {
    CALL("square", &z, &z);
    CALL("third", &third, &third);
    z = third = 1;
    call("fails", NULL, (void *[]){&l});
  }
  long double a = 1, b = 2;
  __asm__ volatile("fadd %%st(1), %%st" : "+t"(a) : "u"(b));
  CHECK(a == 3);
}

static void spells_variadic_calls_out(void) {
  struct mm_function *total;
  int count = 12, none = 0;
  long terms[12], sum;
  void *arguments[13] = {&count};
  for (int i = 0; i < 12; i++) {
    terms[i] = 1l << (i * 5);
    arguments[i + 1] = &terms[i];
  }
  must(mm_bind(image, "total",
               "long (int, long, long, long, long, long, long, long, long, long, long, long, long)",
               &total, &error),
       &error);
  must(mm_request_call(total, &sum, arguments, &error), &error);
  CHECK_EQUAL(0x84210842108421, sum);
  must(mm_bind(image, "total", "long (int)", &total, &error), &error);
  must(mm_request_call(total, &sum, (void *[]){&none}, &error), &error);
  CHECK_EQUAL(0, sum);
  must(mm_bind(image, "total", "long (int, ...)", &total, &error), &error);
  must(mm_request_call(total, &sum, (void *[]){&none}, &error), &error);
  CHECK_EQUAL(0, sum);
}

static void checks_how_a_variadic_call_is_spelled(void) {
  static const char *const rows[][2] = {
      {"long (int, float)", "total: variable argument 1 is `float`, which C passes as `double`"},
      {"long (int, long, short)", "variable argument 2 is `short`, which C passes as `int`"},
      {"long (int, bool)", "`bool`, which C passes as `int`"},
      {"long (long, long)", "expected `long total(long, long)`, the image has"},
      {"int (int, long)", "expected `int total(int, long)`"},
      {"long (void)", "expected `long total(void)`"},
      {"long (int, long, ...)", "expected `long total(int, long, ...)`"},
  };
  struct mm_function *function;
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    CHECK_EQUAL(MM_ERROR_SIGNATURE, mm_bind(image, "total", rows[i][0], &function, &error));
    if (!strstr(error.message, rows[i][1])) printf("# %s\n", error.message);
    CHECK(strstr(error.message, rows[i][1]) != NULL);
  }
}

static void all_tests(void) {
  connect_client();
  image = map_image("aggregate");
  RUN(returns_what_fits_registers);
  RUN(writes_no_more_than_the_type);
  RUN(passes_complex_numbers);
  RUN(returns_through_memory);
  RUN(passes_what_registers_do_not_hold);
  RUN(counts_alignment_from_the_start_of_the_whole);
  RUN(what_goes_in_memory_takes_the_whole_along);
  RUN(takes_only_pointers_of_the_image);
  RUN(leaves_the_result_alone_after_a_fault);
  RUN(leaves_no_x87_register_behind);
  RUN(spells_variadic_calls_out);
  RUN(checks_how_a_variadic_call_is_spelled);
  mm_image_release(image);
  must(mm_finalize(&error), &error);
}

int main(int count, char **arguments) {
  static const struct way ways[] = {{"pages", MM_GUARD_PAGES, {0}}, {"open", MM_GUARD_OPEN, {0}}};
  find_folders(count, arguments);
  return run_ways(ways, sizeof ways / sizeof *ways, all_tests);
}
