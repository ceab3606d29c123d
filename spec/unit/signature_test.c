/* Parses declarations and prototypes, compares layouts with the compiler's own, and feeds mutated texts and blocks.
 * Usage: signature_test [MUTATIONS]; prints one line per test, exit status 1 when one failed. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <time.h>
#include <wchar.h>

#include "base/error.h"
#include "matchmaker.h"
#include "signature/builder.h"

static int failures, checks;
static unsigned mutations = 200000;

#define CHECK(condition) check(condition, __LINE__, #condition, "")
#define COUNT(array)     (sizeof(array) / sizeof *(array))

static void check(bool good, int line, const char *what, const char *detail) {
  checks++;
  if (good) return;
  failures++;
  if (failures <= 30) printf("# %s:%d: %s %s\n", __FILE__, line, what, detail);
}

#ifdef __SANITIZE_ADDRESS__
#define CAN_FAIL_ALLOCATIONS 0
#else
/* Allocation number `allowed` and all after it fail; -1: none does. */
#define CAN_FAIL_ALLOCATIONS 1
static long allocations, allowed = -1, live;
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *old, size_t size);
void __libc_free(void *old);

static bool refuse(void) { return allocations++ >= allowed && allowed >= 0; }

void *malloc(size_t size) {
  void *got = refuse() ? NULL : __libc_malloc(size);
  live += got != NULL;
  return got;
}
void *calloc(size_t count, size_t size) {
  void *got = refuse() ? NULL : __libc_calloc(count, size);
  live += got != NULL;
  return got;
}
void *realloc(void *old, size_t size) {
  void *got = refuse() ? NULL : __libc_realloc(old, size);
  live += got != NULL && old == NULL;
  return got;
}
void free(void *old) {
  live -= old != NULL;
  __libc_free(old);
}
#endif

/* --- helpers --- */

static struct mm__builder *builder;
static struct mm__registry view;
static struct mm_error error;

static void fresh(void) {
  mm__builder_free(builder);
  builder = mm__builder_new();
}

static bool declare(const char *text) {
  error.message[0] = 0;
  return mm__builder_declare(builder, text, &error) == MM_OK;
}

static bool export(const char *text) {
  error.message[0] = 0;
  return mm__builder_export(builder, text, NULL, 0x1000, &error) == MM_OK;
}

/* The canonical text of a function type, "" after an error. */
static const char *text_of(const char *prototype, const char *name) {
  static char text[8192];
  uint32_t type;
  error.message[0] = text[0] = 0;
  if (mm__builder_function(builder, prototype, &type, &error) != MM_OK) return "";
  mm__builder_view(builder, &view, &error);
  mm__type_text(&view, type, name, text, sizeof text);
  return text;
}

static void expect_text(int line, const char *prototype, const char *canonical) {
  const char *text = text_of(prototype, "f");
  check(strcmp(text, canonical) == 0, line, prototype, *text ? text : error.message);
}

static uint32_t find_type(const char *alias) {
  mm__builder_view(builder, &view, &error);
  for (uint32_t i = view.type_count; i--;)
    if (strcmp(view.strings + view.types[i].alias, alias) == 0) return i;
  return UINT32_MAX;
}

static const struct mm__type *type_named(const char *alias) {
  static const struct mm__type none = {0};
  uint32_t index = find_type(alias);
  return index == UINT32_MAX ? &none : &view.types[index];
}

static const struct mm__member *field(const struct mm__type *type, const char *name) {
  static const struct mm__member none = {0, 0, -1};
  for (uint32_t i = 0; i < type->member_count; i++)
    if (strcmp(view.strings + view.members[type->first_member + i].name, name) == 0)
      return &view.members[type->first_member + i];
  return &none;
}

static const char *check_finished(void **block, size_t *bytes, struct mm__registry *finished) {
  if (mm__builder_finish(builder, block, bytes, &error) != MM_OK) return error.message;
  return mm__registry_check(*block, *bytes, finished);
}

/* --- spelling --- */

static void writes_every_type_in_one_way(void) {
  static const struct {
    const char *spelled, *canonical;
  } rows[] = {
      {"void f()", "void f(void)"},
      {"void f(void)", "void f(void)"},
      {"void f(void);", "void f(void)"},
      {"extern inline int f(const char *word)", "int f(const char *word)"},
      {"static _Noreturn void f(int);", "void f(int)"},
      {"_Bool f(bool b)", "bool f(bool b)"},
      {"char f(signed char a, char signed b, unsigned char c)",
       "char f(signed char a, signed char b, unsigned char c)"},
      {"short f(short int a, int short b, signed short int c, short signed d)",
       "short f(short a, short b, short c, short d)"},
      {"unsigned short f(short unsigned a, unsigned short int b, int unsigned short c)",
       "unsigned short f(unsigned short a, unsigned short b, unsigned short c)"},
      {"int f(signed a, signed int b, int signed c)", "int f(int a, int b, int c)"},
      {"unsigned f(unsigned int a, int unsigned b)",
       "unsigned int f(unsigned int a, unsigned int b)"},
      {"long f(long int a, int long b, signed long int c, long int signed d)",
       "long f(long a, long b, long c, long d)"},
      {"long unsigned f(unsigned long int a, int long unsigned b)",
       "unsigned long f(unsigned long a, unsigned long b)"},
      {"long long f(long int long a, signed long long b, int long long c)",
       "long long f(long long a, long long b, long long c)"},
      {"unsigned long long f(long unsigned long int a)",
       "unsigned long long f(unsigned long long a)"},
      {"float f(double a, long double b, double long c)",
       "float f(double a, long double b, long double c)"},
      {"int f(size_t n, const ssize_t *m)", "int f(size_t n, const ssize_t *m)"},
      {"int f(char const *a, const char *const b, char const *restrict c, volatile const char *d)",
       "int f(const char *a, const char *b, const char *c, const char *d)"},
      {"int f(char *a, unsigned char const *b, const signed char *c, const int8_t *d)",
       "int f(char *a, const unsigned char *b, const signed char *c, const int8_t *d)"},
      {"const char *f(const char s[], const char t[4], char u[], char v[const restrict static 3])",
       "const char *f(const char *s, const char *t, char *u, char *v)"},
      {"int f(int n, int a[n], int b[*], int (c)[2], int d[][3])",
       "int f(int n, int *a, int *b, int *c, int (*d)[3])"},
      {"int f(const int a[2][3], const int (*b)[3])",
       "int f(const int (*a)[3], const int (*b)[3])"},
      {"int f(const void *a, void *const b, int *const *c, int **const *d, const int *const *e)",
       "int f(const void *a, void *b, int *const *c, int **const *d, const int *const *e)"},
      {"int f(const char **a, const char *const *b, char *const *c, const char *d[])",
       "int f(const char **a, const char *const *b, char *const *c, const char **d)"},
      {"int f(int *const (*a)[3], const char *const a2[2])",
       "int f(int *const (*a)[3], const char *const *a2)"},
      {"int f(const char *format, ...)", "int f(const char *format, ...)"},
      {"void f(void *base, size_t n, int (*compare)(const void *, const void *))",
       "void f(void *base, size_t n, int (*compare)(const void *, const void *))"},
      {"void f(int g(int), int (h)(void))", "void f(int (*g)(int), int (*h)(void))"},
      {"void (*f(int, void (*)(int)))(int)", "void (*f(int, void (*)(int)))(int)"},
      {"int (*(*f(void))(double))[4]", "int (*(*f(void))(double))[4]"},
      {"int (*const *f(void))(void)", "int (*const *f(void))(void)"},
      {"int ((f))(int)", "int f(int)"},
      {"struct s *f(union u *a, const struct s *b)", "struct s *f(union u *a, const struct s *b)"},
      {"int /* a */ f // b\n ( int\ta ) /**/", "int f(int a)"},
      {"int f(int size_t)", "int f(int size_t)"},
      {"int f(register int a)", "int f(int a)"},
  };
  fresh();
  for (size_t i = 0; i < COUNT(rows); i++)
    expect_text(__LINE__, rows[i].spelled, rows[i].canonical);
}

static void parses_functions_without_a_name(void) {
  fresh();
  CHECK(strcmp(text_of("int (const char *)", "f"), "int f(const char *)") == 0);
  CHECK(strcmp(text_of("int (const char *)", NULL), "int (const char *)") == 0);
  CHECK(strcmp(text_of("char *(size_t, struct point *p)", NULL),
               "char *(size_t, struct point *p)") == 0);
  CHECK(strcmp(text_of("int spell(const char *word);", NULL), "int (const char *word)") == 0);
  CHECK(strcmp(text_of("int (*(int))(double)", NULL), "int (*(int))(double)") == 0);
  CHECK(strcmp(text_of("int ()", NULL), "int (void)") == 0);
}

/* clang-format off */
#define STANDARD(X)                                                                                \
  X(int8_t) X(int16_t) X(int32_t) X(int64_t) X(uint8_t) X(uint16_t) X(uint32_t) X(uint64_t)        \
  X(int_least8_t) X(int_least16_t) X(int_least32_t) X(int_least64_t) X(uint_least8_t)              \
  X(uint_least16_t) X(uint_least32_t) X(uint_least64_t) X(int_fast8_t) X(int_fast16_t)             \
  X(int_fast32_t) X(int_fast64_t) X(uint_fast8_t) X(uint_fast16_t) X(uint_fast32_t)                \
  X(uint_fast64_t) X(intptr_t) X(uintptr_t) X(size_t) X(ssize_t) X(ptrdiff_t) X(intmax_t)          \
  X(uintmax_t) X(wchar_t) X(off_t) X(time_t)
/* clang-format on */

static void knows_the_standard_names(void) {
  static const struct {
    const char *name, *prototype, *canonical;
    uint32_t size;
    bool is_signed;
  } rows[] = {
#define ROW(type)                                                                                  \
  {#type, #type " f(" #type " *)", #type " f(" #type " *)", sizeof(type), (type)-1 < 1},
    STANDARD(ROW)
#undef ROW
  };
  fresh();
  for (size_t i = 0; i < COUNT(rows); i++) {
    expect_text(__LINE__, rows[i].prototype, rows[i].canonical);
    uint32_t type = find_type(rows[i].name);
    check(type != UINT32_MAX && view.types[type].size == rows[i].size &&
              view.types[type].kind == (rows[i].is_signed ? MM__SIGNED : MM__UNSIGNED),
          __LINE__, rows[i].name, "");
  }
  CHECK(declare("typedef unsigned long size_t; typedef int int32_t;"));
  CHECK(!declare("typedef int size_t;"));
  CHECK(!declare("enum { time_t };"));
}

/* --- layouts: one text for the compiler and for the parser --- */

enum { THREE = 3, MINUS = -2 };
/* clang-format off */
#define LAYOUTS(X)                                                                                 \
  X(point, x, y, { double x; double y; })                                                          \
  X(mixed, a, b, { char a; double b; })                                                            \
  X(tail, a, b, { double a; char b; })                                                             \
  X(shorts, a, b, { char a; short b; })                                                            \
  X(ints, a, b, { short a; int b; })                                                               \
  X(bools, a, b, { _Bool a; long b; })                                                             \
  X(wide, a, b, { char a; long double b; })                                                        \
  X(arrays, a, b, { char a[THREE]; int b[2][THREE + 1]; })                                         \
  X(pointers, a, b, { char a; const char *b; })                                                    \
  X(callbacks, a, b, { int (*a)(const void *, const void *); void (*b[2])(void); })                \
  X(self, a, b, { struct self *a; const struct self *const b; })                                   \
  X(nested, a, b, { char a; struct { char c; int d; } b; })                                        \
  X(tagged, a, b, { char a; struct inner { short c; char d; } b; })                                \
  X(unions, a, b, { char a; union { char c[9]; double d; int e; } b; })                            \
  X(deep, a, b, { short a; struct { char c; union { float d; char e[6]; } g; } b[3]; })            \
  X(several, a, b, { char c, *a, d[5]; short b; })                                                 \
  X(enums, a, b, { char a; enum { NARROW = 1 } b; })                                               \
  X(longs, a, b, { char a; enum { WIDE = 0x100000000 } b; })                                       \
  X(names, a, b, { uint8_t a; size_t b; int_fast16_t c; wchar_t d; })                              \
  X(bytes, a, b, { char a, c, d; char b; })                                                        \
  X(floats, a, b, { float a; float c; float b; })                                                  \
  X(wides, a, b, { char a; wchar_t b[0x10 >> 2]; })                                                \
  X(volatiles, a, b, { volatile const char a; volatile int b; })                                   \
  X(uses, a, b, { struct point a; struct mixed c[2]; struct tail b; })                             \
  X(anonymous, a, b, { char a; union { int i; double d; }; struct { char s; short b1; }; int b; })
/* clang-format on */

#define DEFINE(tag, x, y, ...) typedef struct tag __VA_ARGS__ tag##_t;
LAYOUTS(DEFINE)
#undef DEFINE

union all {
  char a[13];
  long double b;
  short c;
};

static void lays_out_as_the_compiler_does(void) {
  static const struct {
    const char *name, *text, *a_name, *b_name;
    size_t size, align, a, b;
  } rows[] = {
#define ROW(tag, x, y, ...)                                                                        \
  {#tag "_t",                                                                                      \
   "typedef struct " #tag " " #__VA_ARGS__ " " #tag "_t;",                                         \
   #x,                                                                                             \
   #y,                                                                                             \
   sizeof(tag##_t),                                                                                \
   _Alignof(tag##_t),                                                                              \
   offsetof(tag##_t, x),                                                                           \
   offsetof(tag##_t, y)},
    LAYOUTS(ROW)
#undef ROW
  };
  fresh();
  CHECK(declare("enum { THREE = 3, MINUS = -2 };"));
  for (size_t i = 0; i < COUNT(rows); i++) {
    check(declare(rows[i].text), __LINE__, rows[i].text, error.message);
    uint32_t index = find_type(rows[i].name);
    check(index != UINT32_MAX, __LINE__, rows[i].text, "is not there");
    if (index == UINT32_MAX) continue;
    const struct mm__type *type = &view.types[index];
    check(type->size == rows[i].size && type->align == rows[i].align &&
              field(type, rows[i].a_name)->value == (int64_t)rows[i].a &&
              field(type, rows[i].b_name)->value == (int64_t)rows[i].b,
          __LINE__, rows[i].text, "is laid out differently");
  }
  CHECK(declare("typedef union all { char a[13]; long double b; short c; } all_t;"));
  uint32_t all = find_type("all_t");
  CHECK(view.types[all].size == sizeof(union all) && view.types[all].align == 16);
  CHECK(field(&view.types[all], "c")->value == 0);
  struct mm__registry finished;
  void *block = NULL;
  size_t bytes;
  const char *wrong = check_finished(&block, &bytes, &finished);
  check(wrong == NULL, __LINE__, "the finished block", wrong);
  free(block);
}

/* --- enums and constants --- */

/* clang-format off */
#define CONSTANTS(X)                                                                               \
  X(1) X(-1) X(0x7fffffff) X(010 + 0b101) X('a') X('\n') X('\xff') X('\0') X('\377') X('\'')       \
  X(1 + 2 * 3 - 4 / 3 % 2) X((1 + 2) * 3) X(1 << 3 | 1) X(~0) X(~0u) X(-1 >> 1) X(-7 / 2)          \
  X(-7 % 4) X(0xf0 & ~0x30 ^ 1) X(1u << 31) X(0xffffffff) X(4294967295) X(1l << 40) X(- -5)        \
  X(THREE << THREE) X(MINUS * 2) X(0xffffffffu + 2u) X(-1 + 0u) X(2147483648) X(0x10L + 0x10UL)    \
  X(~(1 << 4)) X(+7) X(1ull << 62) X(1 - 2 - 3) X(64 >> 2 >> 1) X(-1l + 1u) X(0xFFul)              \
  X(1 | 2 ^ 3 & 6)
/* clang-format on */

/* The precedence without parentheses is what is tested. */
#pragma GCC diagnostic ignored "-Wparentheses"
static void calculates_constants_as_the_compiler_does(void) {
  static const struct {
    const char *text;
    int64_t value;
  } rows[] = {
#define ROW(expression) {#expression, expression},
    CONSTANTS(ROW)
#undef ROW
  };
  for (size_t i = 0; i < COUNT(rows); i++) {
    char text[256];
    fresh();
    declare("enum { THREE = 3, MINUS = -2 };");
    snprintf(text, sizeof text, "typedef enum { X = %s } e;", rows[i].text);
    check(declare(text), __LINE__, text, error.message);
    check(field(type_named("e"), "X")->value == rows[i].value, __LINE__, rows[i].text,
          "has another value");
  }
}

static void gives_enums_the_type_that_compilers_give(void) {
  static const struct {
    const char *text;
    size_t size;
    bool is_signed;
  } rows[] = {
      {"typedef enum { E1 } e;", sizeof(enum {E1}), false},
      {"typedef enum { E2 = -1 } e;", sizeof(enum {E2 = -1}), true},
      {"typedef enum { E3 = 0xffffffff } e;", sizeof(enum {E3 = 0xffffffff}), false},
      {"typedef enum { E4 = 0x100000000 } e;", sizeof(enum {E4 = 0x100000000}), false},
      {"typedef enum { E5 = -0x80000001l } e;", sizeof(enum {E5 = -0x80000001l}), true},
      {"typedef enum { E6 = -1, F6 = 0x80000000 } e;", sizeof(enum {E6 = -1, F6 = 0x80000000}),
       true},
      {"typedef enum { E7 = 2147483647, F7 } e;", sizeof(enum {E7 = 2147483647, F7 = 0x80000000}),
       false},
      {"typedef enum { E8 = 5, F8, G8 = E8 + F8, } e;", 4, false},
  };
  for (size_t i = 0; i < COUNT(rows); i++) {
    fresh();
    check(declare(rows[i].text), __LINE__, rows[i].text, error.message);
    const struct mm__type *type = type_named("e");
    check(type->size == rows[i].size && type->align == rows[i].size &&
              view.types[type->target].kind == (rows[i].is_signed ? MM__SIGNED : MM__UNSIGNED),
          __LINE__, rows[i].text, "is of another type");
  }
  CHECK(field(type_named("e"), "G8")->value == 11);
}

/* --- declarations --- */

static void declares_types_of_every_kind(void) {
  fresh();
  CHECK(declare(""));
  CHECK(declare(" ; /* nothing */ ;"));
  CHECK(declare("typedef struct node node_t; typedef node_t *list, node_a[2 - 1 + 0] ;") == false);
  CHECK(declare("typedef struct node node_t; typedef node_t *list; struct node;"));
  expect_text(__LINE__, "node_t *f(list a)", "node_t *f(list a)");
  CHECK(!export("node_t f(void)"));
  CHECK(declare("struct node { node_t *next; list *other; struct node *third; };"));
  expect_text(__LINE__, "node_t f(struct node a)", "node_t f(struct node a)");
  CHECK(type_named("node_t")->size == 24);
  CHECK(declare("typedef int fn(const char *), *fp, (*fq)(fn *), vec[3], matrix[2][3];"));
  expect_text(__LINE__, "fp f(fn a, fn *b, fq c, vec d, matrix e)",
              "fp f(fn *a, fn *b, fq c, int *d, int (*e)[3])");
  expect_text(__LINE__, "fn f", "int f(const char *)");
  CHECK(declare(
      "typedef const char *str; typedef const int cint; typedef char c; typedef const c cc;"));
  expect_text(__LINE__, "str f(str a, const c *b, cc *d, cint *e, const cint *g, cint h)",
              "str f(str a, const char *b, const char *d, cint *e, cint *g, cint h)");
  CHECK(declare("typedef enum color { RED, GREEN = 5, BLUE } color; typedef enum color paint;"));
  expect_text(__LINE__, "enum color f(color a, paint *b)", "enum color f(color a, paint *b)");
  CHECK(declare("int typedef unsigned word; struct w { word a[BLUE]; };"));
  CHECK(!declare("typedef struct w word;"));
}

static void accepts_the_same_declaration_again(void) {
  static const char *const again[] = {
      "struct node { struct node *next; int (*f)(struct node *, struct late *); };",
      "typedef struct node node; typedef int number; typedef const int *(*complicated[3])(node *);",
      "enum color { RED, GREEN }; enum { LONELY = 7 };",
      "typedef struct { int x; } plain; typedef union { int x; float y; } other;",
  };
  static const char *const different[] = {
      "struct node { struct node *next; };",
      "struct node { struct node *last; int (*f)(struct node *, struct late *); };",
      "union node { int a; };",
      "typedef long number;",
      "typedef const int number;",
      "enum color { RED };",
      "enum color { RED, GREEN, BLUE };",
      "enum { RED = 2 };",
      "enum { number };",
      "typedef int RED;",
      "struct color;",
      "typedef struct { long x; } plain;",
      "struct s { struct s { int a; } b; };",
  };
  fresh();
  for (int round = 0; round < 3; round++)
    for (size_t i = 0; i < COUNT(again); i++)
      check(declare(again[i]), __LINE__, again[i], error.message);
  mm__builder_view(builder, &view, &error);
  uint32_t types = view.type_count, strings = view.string_bytes;
  for (size_t i = 0; i < COUNT(different); i++)
    check(!declare(different[i]), __LINE__, different[i], "was accepted");
  for (size_t i = 0; i < COUNT(again); i++) CHECK(declare(again[i]));
  mm__builder_view(builder, &view, &error);
  CHECK(view.type_count == types && view.string_bytes == strings);
}

static void shares_what_is_identical(void) {
  fresh();
  CHECK(declare("struct node { struct node *next; };"));
  CHECK(export("struct node *a(struct node *x, int (*f)(int))"));
  mm__builder_view(builder, &view, &error);
  uint32_t types = view.type_count, members = view.member_count;
  CHECK(export("struct node *b(struct node *x, int (*f)(int))"));
  mm__builder_view(builder, &view, &error);
  CHECK(view.type_count == types && view.member_count == members);
  uint32_t pointers = 0;
  for (uint32_t i = 0; i < view.type_count; i++)
    pointers +=
        view.types[i].kind == MM__POINTER && view.types[view.types[i].target].kind == MM__STRUCT;
  CHECK(pointers == 1);
}

/* --- errors --- */

static void names_each_error(void) {
  static const struct {
    const char *text, *message;
  } prototypes[] = {
      {"", "prototype: expected a type before the end, at column 1 of ``"},
      {"int spell(const char *word;",
       "prototype: expected `,` or `)` before `;`, at column 27 of `int spell(const char *word;`"},
      {"foo_t f(void)", "prototype: unknown type `foo_t`, at column 1 of `foo_t f(void)`"},
      {"int f(foo_t)", "unknown type `foo_t`, at column 7"},
      {"int f(int a, foo_t *b)", "unknown type `foo_t`, at column 14"},
      {"int (foo_t a)", "unknown type `foo_t`, at column 6"},
      {"int f(enum e a)", "unknown type `enum e`"},
      {"int f(a, b)", "unknown type `a`, at column 7 of `int f(a, b)`"},
      {"f(void)", "unknown type `f`"},
      {"int", "this is not a function, at column 1"},
      {"int f", "this is not a function, at column 5"},
      {"int (*f)(void)", "this is not a function"},
      {"int f(void), g(void)", "expected the end before `,`"},
      {"int f(void) { return 1; }", "expected the end before `{`"},
      {"int while(void)", "`while` is a keyword"},
      {"int f(int int)", "these words make no type together"},
      {"unsigned float f(void)", "these words make no type together"},
      {"long long long f(void)", "these words make no type together"},
      {"int size_t f(void)", "expected the end before `f`"},
      {"size_t int f(void)", "these words make no type together"},
      {"int f(int a, char a)", "two parameters are called `a`"},
      {"int f(void a)", "nothing can be of type `void`"},
      {"int f(int, void)", "nothing can be of type `void`"},
      {"int f(void, int)", "nothing can be of type `void`"},
      {"int f(...)", "expected a type before `...`"},
      {"int f(int, ..., int)", "expected `,` or `)` before `,`"},
      {"int f(int,)", "expected a type before `)`"},
      {"int f(int a[0])", "an array of 0 elements is not supported"},
      {"int f(int a[-1])", "an array of -1 elements is not supported"},
      {"int f(int a[2][])", "an array without a length is not supported"},
      {"int f(int a[2][n])", "unknown constant `n`"},
      {"int f(int a[1.5])", "`1.5` is not an integer"},
      {"int f(int a[1x])", "`1x` is not an integer"},
      {"int f(int a[99999999999999999999])", "does not fit 64 bits"},
      {"int f(int (*a)[0x80000000])", "larger than 2 GiB"},
      {"int f(int (*a)[0x7fffffff])", "larger than 2 GiB"},
      {"int f(void)(void)", "a function cannot return a function"},
      {"int f(void)[3]", "a function cannot return an array"},
      {"int (*f(void))[3", "expected `]` before the end"},
      {"int f[3](void)", "a function can only be pointed to here"},
      {"struct s f(void)", "`s` is declared, but what is in it is not known here"},
      {"int f(struct s s)", "`s` is declared, but what is in it is not known here"},
      {"struct s { int a; } f(void)", "a prototype cannot define a type"},
      {"int f(enum { A } a)", "a prototype cannot define a type"},
      {"int f(struct)", "expected a tag or `{` before `)`"},
      {"typedef int f(void)", "`typedef` does not belong here"},
      {"register int f(void)", "`register` does not belong here"},
      {"int f(static int a)", "`static` does not belong here"},
      {"auto int f(void)", "expected a type before `auto`"},
      {"__attribute__((cdecl)) int f(void)", "the attribute `cdecl` is not supported"},
      {"int f(void) __attribute__((pure, __ms_abi__))",
       "the attribute `__ms_abi__` is not supported"},
      {"int f(void) __attribute__((aligned(8)))", "a function cannot be aligned"},
      {"int f(int a __attribute__((packed)))", "a parameter cannot be packed"},
      {"int f(void) __attribute__((format(printf, 1, 2)", "expected `,` or `)` before the end"},
      {"int f(void) __attribute__((", "expected an attribute before the end"},
      {"int f(void) __attribute__(pure)", "expected `(` before `pure`"},
      {"__int128 f(void)", "`__int128` is not supported"},
      {"int _Complex f(void)", "these words make no type together"},
      {"_Atomic int f(void)", "`_Atomic` is not supported"},
      {"int f(_Atomic(int) *a)", "`_Atomic` is not supported"},
      {"int f(int a[sizeof(int)])", "`sizeof` is not supported"},
      {"int f(va_list a)", "`va_list` is not supported"},
      {"int f(void) /* no end", "a comment without an end, at column 13"},
      {"int f(int a['x)", "a character constant without an end"},
      {"int f(int a[''])", "not a character constant of one character"},
      {"int f(int a['ab'])", "not a character constant of one character"},
      {"int f(int a['\\q'])", "not a character constant of one character"},
      {"int f(int \"a\")", "a character that does not belong here"},
      {"int @ f(void)", "a character that does not belong here"},
      {"int f(int \xc3\xa9)", "a character that does not belong here"},
      {"int f(int a[1/0])", "divided by zero"},
      {"int f(int a[2147483647 + 1])", "the number overflows"},
      {"int f(int a[1 << 32])", "shifted by too much"},
      {"int f(int a[1 << 31])", "the number overflows"},
      {"int f(int a[9223372036854775807 * 2])", "the number overflows"},
      {"int f(int a[(1 + 2])", "expected `)` before `]`"},
      {"int\nf(\x01)", "at column 7 of `int f(?)`"},
  };
  static const struct {
    const char *text, *message;
  } declarations[] = {
      {"int;", "declaration: this declares nothing"},
      {"typedef int;", "this declares nothing"},
      {"int x;", "`x` is not a type"},
      {"int f(void);", "`f` is not a type"},
      {"struct { int a; } x;", "`x` is not a type"},
      {"typedef int x", "expected `;` before the end"},
      {"struct s { int a; }", "expected `;` before the end"},
      {"struct s { int a };", "expected `;` before `}`"},
      {"struct s { int a;", "expected `}` before the end"},
      {"struct s { };", "a struct without fields is not supported"},
      {"struct s { int; };", "a field without a name"},
      {"struct s { int a : 33; };", "a bit-field of 33 bits, where 1 to 32 are possible"},
      {"struct s { int a : 0; };", "a bit-field of 0 bits"},
      {"struct s { int a : -1; };", "a bit-field of -1 bits"},
      {"struct s { bool a : 2; };", "where 1 to 1 are possible"},
      {"struct s { float a : 3; };", "a bit-field is an integer"},
      {"struct s { int *a : 3; };", "a bit-field is an integer"},
      {"struct s { int a __attribute__((aligned(8))) : 3; };", "a bit-field cannot be aligned"},
      {"struct s { int : 3; };", "a struct without fields is not supported"},
      {"struct s { int a[]; };", "only the last of several fields has no length"},
      {"struct s { int n, a[], b; };", "only the last of several fields has no length"},
      {"struct s { int n; int a[][]; };", "an array of arrays without a length"},
      {"struct s { int n; int a[2][]; };", "an array of arrays without a length"},
      {"struct s { int a, a; };", "two fields are called `a`"},
      {"struct s { int a; union { int b; struct { int a; }; }; };", "two fields are called `a`"},
      {"struct s; union s;", "`s` is already the tag of a struct"},
      {"enum s { S }; struct s;", "`s` is already the tag of an enum"},
      {"struct s { struct s a; };", "what is in it is not known here"},
      {"struct s { void a; };", "nothing can be of type `void`"},
      {"struct s { int f(void); };", "a function can only be pointed to here"},
      {"struct s { static int a; };", "`static` does not belong here"},
      {"struct s { int a; } __attribute__((aligned(3)));", "an alignment of 3 is not supported"},
      {"struct s { _Alignas(8192) int a; };", "an alignment of 8192 is not supported"},
      {"struct s { int a __attribute__((vector_size(16))); };", "`vector_size` is not supported"},
      {"typedef int t __attribute__((aligned(8)));", "a typedef cannot be aligned"},
      {"enum __attribute__((packed)) e { A };", "an enum cannot be packed"},
      {"struct s { struct __attribute__((packed)) t *a; };", "cannot be packed"},
      {"_Static_assert(1, \"\");", "`_Static_assert` is not supported"},
      {"typedef int a[];", "an array without a length is not supported"},
      {"typedef int (int);", "`int` is a keyword"},
      {"typedef int *;", "expected a name before `;`"},
      {"typedef void v[3];", "nothing can be of type `void`"},
      {"typedef typedef int a;", "`typedef` does not belong here"},
      {"enum { A, A };", "`A` is already something else"},
      {"enum { A = };", "expected a number before `}`"},
      {"enum { };", "expected a name before `}`"},
      {"enum { A B };", "expected `}` before `B`"},
      {"enum { A = 0x7fffffffffffffff, B };", "the number overflows"},
      {"enum { A = 0x8000000000000000 };", "does not fit a signed 64-bit integer"},
      {"enum e;", "unknown type `enum e`"},
      {"typedef int while;", "`while` is a keyword"},
      {"struct int { int a; };", "`int` is a keyword"},
      {"#define A", "a character that does not belong here"},
      {"typedef struct big { char a[0x40000000]; char b[0x3fffffff]; char c[1]; char d; } x;",
       "larger than 2 GiB"},
  };
  for (size_t i = 0; i < COUNT(prototypes); i++) {
    fresh();
    bool good = export(prototypes[i].text);
    check(!good && error.status == MM_ERROR_PROTOTYPE &&
              strstr(error.message, prototypes[i].message),
          __LINE__, prototypes[i].text, error.message);
  }
  for (size_t i = 0; i < COUNT(declarations); i++) {
    fresh();
    bool good = declare(declarations[i].text);
    check(!good && error.status == MM_ERROR_PROTOTYPE &&
              strstr(error.message, declarations[i].message),
          __LINE__, declarations[i].text, error.message);
  }
  fresh();
  CHECK(mm__builder_export(builder, NULL, NULL, 0, &error) == MM_ERROR_PROTOTYPE);
  CHECK(mm__builder_declare(builder, "!", NULL) == MM_ERROR_PROTOTYPE);
  CHECK(!export("int (void)") && strstr(error.message, "an export needs a name"));
  CHECK(export("int f(void)") && !export("long f(int)"));
  CHECK(strcmp(error.message, "prototype: `f` is exported already, at column 6 of `long f(int)`") ==
        0);
}

static void leaves_nothing_behind_after_an_error(void) {
  fresh();
  CHECK(declare("struct known; typedef struct known *handle;"));
  CHECK(export("int first(handle h)"));
  void *before = NULL, *after = NULL;
  size_t before_bytes, after_bytes;
  mm__builder_view(builder, &view, &error);
  uint32_t types = view.type_count, members = view.member_count, strings = view.string_bytes;
  CHECK(mm__builder_finish(builder, &before, &before_bytes, &error) == MM_OK);
  CHECK(!declare("struct known { int a; }; struct new { int b; }; enum { C }; typedef int d; !"));
  CHECK(!export("size_t second(struct other *o, int a, int a)"));
  uint32_t type;
  CHECK(mm__builder_function(builder, "wchar_t (struct other *)!", &type, &error) != MM_OK);
  CHECK(mm__builder_finish(builder, &after, &after_bytes, &error) == MM_OK);
  mm__builder_view(builder, &view, &error);
  CHECK(view.type_count == types && view.member_count == members && view.string_bytes == strings);
  CHECK(before_bytes == after_bytes && memcmp(before, after, after_bytes) == 0);
  free(before);
  free(after);
  CHECK(
      declare("struct known { long a; }; struct new { long b; }; enum { C = 4 }; typedef long d;"));
  CHECK(export("struct known second(d b[C])"));
}

static char *repeat(const char *before, const char *piece, size_t count, const char *behind) {
  size_t length = strlen(before) + strlen(piece) * count + strlen(behind);
  char *text = malloc(length + 1), *at = text + strlen(before);
  strcpy(text, before);
  for (size_t i = 0; i < count; i++, at += strlen(piece)) strcpy(at, piece);
  strcpy(at, behind);
  return text;
}

static void expect_limit(int line, const char *before, const char *piece, size_t count,
                         const char *behind, const char *message) {
  char *text = repeat(before, piece, count, behind);
  fresh();
  bool good = strstr(before, "typedef") || strstr(before, "enum") ? declare(text) : export(text);
  check(message ? !good && strstr(error.message, message) : good, line, before, error.message);
  free(text);
}

static void has_limits(void) {
  expect_limit(__LINE__, "int f(int", ", int", 126, ")", NULL);
  expect_limit(__LINE__, "int f(int", ", int", 127, ")", "more than 127 parameters");
  expect_limit(__LINE__, "int f(void)", " ", 65525, "", NULL);
  expect_limit(__LINE__, "int f(void)", " ", 65526, "", "longer than 65536 bytes");
  expect_limit(__LINE__, "int ", "*", 58, "f(void)", NULL);
  expect_limit(__LINE__, "int ", "*", 60, "f(void)", "nested more than 60 deep");
  expect_limit(__LINE__, "int ", "*", 60000, "f(void)", "nested more than 60 deep");
  expect_limit(__LINE__, "int ", "(", 60000, "f(void)", "nested more than 64 deep");
  expect_limit(__LINE__, "int f(", "int (*)(", 8000, "", "nested more than 64 deep");
  expect_limit(__LINE__, "int f(int (*a)", "[1]", 20000, ")", "nested more than 60 deep");
  expect_limit(__LINE__, "typedef ", "struct { ", 7000, "", "nested more than 64 deep");
  expect_limit(__LINE__, "enum { A = ", "(", 60000, "1", "nested more than 64 deep");
  expect_limit(__LINE__, "enum { A = ", "- ", 30000, "1", "nested more than 64 deep");
  expect_limit(__LINE__, "enum { A = 0", "+1", 30000, "};", NULL);
  expect_limit(__LINE__, "typedef int ", "a", 65000, ";", NULL);
  expect_limit(__LINE__, "", "a", 65000, " f(void)", "unknown type `aaa");
  CHECK(strchr(error.message, '\n') == NULL && strlen(error.message) < sizeof error.message - 1);
  expect_limit(__LINE__, "int f(", "(", 60000, "", "expected a type before `(`");
  expect_limit(__LINE__, "/*", "*", 60000, "", "a comment without an end");
  fresh();
  CHECK(declare("struct big { char a[0x100000]; };"));
  CHECK(export("int f(struct big a)"));
  CHECK(!export("int g(struct big a, struct big b)") && strstr(error.message, "larger than 1 MiB"));
  CHECK(declare("typedef int t0;"));
  for (int i = 1; i < 70; i++) {
    char text[100];
    snprintf(text, sizeof text, "typedef struct { t%d a; } t%d;", i - 1, i);
    if (!declare(text)) break;
  }
  CHECK(strstr(error.message, "nested more than 60 deep"));
}

/* --- what goes in memory --- */

static void counts_the_bytes_of_arguments_in_memory(void) {
  static const struct {
    const char *prototype;
    uint32_t bytes;
  } rows[] = {
      {"void f(void)", 0},
      {"void f(int a, int b, int c, int d, int e, int g)", 0},
      {"void f(int, int, int, int, int, int, int)", 8},
      {"void f(int, int, int, int, int, int, char, short)", 16},
      {"void f(double, double, double, double, double, double, double, double)", 0},
      {"void f(double, double, double, double, double, double, double, double, float)", 8},
      {"void f(long, long, long, long, long, long, double, const char *)", 8},
      {"void f(long double)", 16},
      {"void f(long, long, long, long, long, long, long, long double)", 32},
      {"void f(long, long, long, long, long, long, long, long double, long)", 40},
      {"void f(int, ...)", 0},
      {"void f(int, int, int, int, int, int, int, ...)", 8},
      {"void f(struct ii a)", 0},
      {"void f(int, int, int, int, int, struct ll)", 16},
      {"void f(int, int, int, int, int, struct ll, int)", 16},
      {"void f(int, int, int, int, int, struct ll, int, int)", 24},
      {"void f(int, int, int, int, int, int, struct ld)", 16},
      {"void f(int, int, int, int, int, struct ld)", 0},
      {"void f(double, double, double, double, double, double, double, struct dd)", 16},
      {"void f(double, double, double, double, double, double, double, struct dd, double)", 16},
      {"void f(double, double, double, double, double, double, double, struct ff)", 0},
      {"void f(double, double, double, double, double, double, double, double, struct fi)", 0},
      {"void f(struct c24 a)", 24},
      {"void f(struct c17 a)", 24},
      {"void f(struct c17 a, struct c17 b)", 48},
      {"void f(struct x87 a)", 16},
      {"void f(struct c17 a, struct x87 b)", 48},
      {"void f(union x87_int a)", 16},
      {"void f(union x87_double a)", 16},
      {"void f(union x87_longs a)", 0},
      {"struct c24 f(int, int, int, int, int)", 0},
      {"struct c24 f(int, int, int, int, int, int)", 8},
      {"struct ll f(int, int, int, int, int, int)", 0},
      {"struct x87 f(int, int, int, int, int, int)", 0},
      {"union x87_int f(int, int, int, int, int, int)", 8},
      {"union x87_double f(int, int, int, int, int, int)", 8},
      {"long double f(int, int, int, int, int, int)", 0},
      {"void f(struct mix a, int, int, int, int, int)", 0},
      {"void f(struct mix a, int, int, int, int, int, int)", 8},
      {"void f(struct fff a, double, double, double, double, double, double)", 0},
      {"void f(struct fff a, double, double, double, double, double, double, double)", 8},
      {"void f(struct straddle a, int, int, int, int)", 0},
      {"void f(struct straddle a, int, int, int, int, int)", 8},
      {"void f(union u a, int, int, int, int, int)", 0},
      {"void f(struct arr a, int, int, int, int, int)", 8},
      {"int8_t f(enum e, bool, void *, void (*)(void), size_t, const char *, enum e)", 8},
  };
  for (size_t i = 0; i < COUNT(rows); i++) {
    fresh();
    CHECK(declare(
        "struct ii { int a, b; }; struct ll { long a, b; }; struct ld { long a; double b; };"
        "struct dd { double a, b; }; struct ff { float a, b; }; struct fi { float a; int b; };"
        "struct c24 { char a[24]; }; struct c17 { char a[17]; }; struct x87 { long double a; };"
        "union x87_int { long double a; int b; }; union x87_double { long double a; double b; };"
        "union x87_longs { long double a; long b[2]; }; struct mix { float a; int b; double c; };"
        "struct fff { float a[3]; }; struct in { float a; int b; };"
        "struct straddle { int a; struct in b; }; union u { float a; char b; };"
        "struct arr { short a[7]; }; enum e { E };"));
    check(export(rows[i].prototype), __LINE__, rows[i].prototype, error.message);
    mm__builder_view(builder, &view, &error);
    char detail[40];
    snprintf(detail, sizeof detail, "%u", view.export_count ? view.exports[0].stack_bytes : 99);
    check(view.export_count == 1 && view.exports[0].stack_bytes == rows[i].bytes, __LINE__,
          rows[i].prototype, detail);
  }
}

/* --- blocks --- */

static const char *const corpus_types[] = {
    "struct point { double x, y; }; typedef struct point point_t;",
    "typedef enum color { RED, GREEN = 1 << 4, BLUE = 'a' - -2 } color;",
    "typedef struct tree { struct tree *left, *right; union { long i; const char *s; } value[2]; } "
    "tree;",
    "typedef int (*compare)(const void *, const void *); typedef const int fixed; typedef int "
    "vec[BLUE];",
    "struct later; typedef struct later *handle; enum { A = 0x10u, B = (A | 3) % 7 };",
    "struct later { handle self; fixed n; struct { char c; short s[3]; }; compare by; };",
};
static const char *const corpus[] = {
    "int spell(const char *word)",
    "void *bsearch(const void *key, const void *base, size_t n, size_t m, compare c)",
    "void (*signal(int number, void (*handler)(int)))(int)",
    "point_t middle(struct point a, const point_t *b, unsigned long long n[static 4])",
    "color mix(enum color a, color b, fixed *c, const fixed d[2][B])",
    "tree *grow(tree *t, struct tree u, handle h, struct later *const *l)",
    "int print(const char *format, ...)",
    "long double wide(long double a, float b, bool c, char d, signed char e)",
    "const char *const *names(vec v, vec *w, char *const argv[], int (*(*f)(void))[3])",
};

static void declare_corpus(void) {
  fresh();
  for (size_t i = 0; i < COUNT(corpus_types); i++)
    check(declare(corpus_types[i]), __LINE__, corpus_types[i], error.message);
}

static void finishes_a_block_that_the_checker_accepts(void) {
  struct mm__registry finished, empty;
  void *block = NULL;
  size_t bytes;
  fresh();
  CHECK(check_finished(&block, &bytes, &empty) == NULL && empty.type_count == 0);
  free(block);
  declare_corpus();
  for (size_t i = COUNT(corpus); i--;)
    check(mm__builder_export(builder, corpus[i], i ? "a\tdoc\nstring\x1b[m" : NULL, 0x1000 + i,
                             &error) == MM_OK,
          __LINE__, corpus[i], error.message);
  uint32_t type;
  CHECK(mm__builder_function(builder, "wint16 (void)", &type, &error) != MM_OK);
  CHECK(mm__builder_function(builder, "int8_t (int_fast8_t only_here)", &type, &error) == MM_OK);
  const char *wrong = check_finished(&block, &bytes, &finished);
  check(wrong == NULL, __LINE__, "the block", wrong);
  CHECK(finished.export_count == COUNT(corpus));
  const struct mm__export *spell = mm__registry_find(&finished, "spell");
  CHECK(spell && spell->address == 0x1000 && spell->doc == 0);
  CHECK(strcmp(finished.strings + spell->prototype, "int spell(const char *word)") == 0);
  const struct mm__export *wide = mm__registry_find(&finished, "wide");
  CHECK(wide && strcmp(finished.strings + wide->doc, "a\tdoc\nstring [m") == 0);
  for (uint32_t i = 0; i < finished.type_count; i++) {
    const char *alias = finished.strings + finished.types[i].alias;
    CHECK(strcmp(alias, "int_fast8_t") != 0);
    bool incomplete = finished.types[i].flags & MM__TYPE_INCOMPLETE;
    CHECK(!incomplete);
  }
  mm__builder_view(builder, &view, &error);
  for (uint32_t i = 0; i < finished.export_count; i++)
    CHECK(mm__type_equal(&finished, finished.exports[i].type, &view, view.exports[i].type));
  free(block);
}

static void reads_back_what_it_wrote(void) {
  declare_corpus();
  for (size_t i = 0; i < COUNT(corpus); i++) {
    char once[1024], name[] = "f";
    uint32_t first, second;
    CHECK(mm__builder_function(builder, corpus[i], &first, &error) == MM_OK);
    snprintf(once, sizeof once, "%s", text_of(corpus[i], name));
    const char *twice = text_of(once, name);
    check(strcmp(once, twice) == 0, __LINE__, once, twice);
    CHECK(mm__builder_function(builder, once, &second, &error) == MM_OK);
    mm__builder_view(builder, &view, &error);
    CHECK(mm__type_equal(&view, first, &view, second));
  }
}

static void tells_types_apart(void) {
  static const char *const rows[] = {"void (void)",
                                     "void (int)",
                                     "void (unsigned)",
                                     "void (long)",
                                     "void (float)",
                                     "void (double)",
                                     "void (long double)",
                                     "void (char)",
                                     "void (unsigned char)",
                                     "void (bool)",
                                     "void (char *)",
                                     "void (const char *)",
                                     "void (const unsigned char *)",
                                     "void (int, int)",
                                     "void (int, ...)",
                                     "int (void)",
                                     "void (int *)",
                                     "void (const int *)",
                                     "void (int **)",
                                     "void (int *const *)",
                                     "void (const int **)",
                                     "void (struct a *)",
                                     "void (struct b *)",
                                     "void (union c *)",
                                     "void (int (*)(int))",
                                     "void (int (*)(long))",
                                     "void (int (*)[2])",
                                     "void (int (*)[3])",
                                     "void (struct x)",
                                     "void (struct y)",
                                     "void (const char **)",
                                     "void (const char *const *)"};
  fresh();
  CHECK(declare("struct x { int a; }; struct y { int a; };"));
  for (size_t i = 0; i < COUNT(rows); i++)
    for (size_t k = 0; k < COUNT(rows); k++) {
      uint32_t a = 0, b = 0;
      CHECK(mm__builder_function(builder, rows[i], &a, &error) == MM_OK);
      CHECK(mm__builder_function(builder, rows[k], &b, &error) == MM_OK);
      mm__builder_view(builder, &view, &error);
      check(mm__type_equal(&view, a, &view, b) == (i == k), __LINE__, rows[i], rows[k]);
    }
}

static void knows_the_types_of_an_imported_registry(void) {
  struct mm__registry finished;
  void *block = NULL;
  size_t bytes;
  declare_corpus();
  for (size_t i = 0; i < COUNT(corpus); i++) CHECK(export(corpus[i]));
  CHECK(check_finished(&block, &bytes, &finished) == NULL);
  fresh();
  CHECK(mm__builder_import(builder, &finished, &error) == MM_OK);
  for (size_t i = 0; i < COUNT(corpus); i++) {
    uint32_t type = 0;
    check(mm__builder_function(builder, corpus[i], &type, &error) == MM_OK, __LINE__, corpus[i],
          error.message);
    mm__builder_view(builder, &view, &error);
    uint32_t same = 0;
    for (uint32_t k = 0; k < finished.export_count; k++)
      same += mm__type_equal(&view, type, &finished, finished.exports[k].type);
    check(same == 1, __LINE__, corpus[i], "is not the same after an import");
  }
  for (size_t i = 0; i < COUNT(corpus_types); i++)
    check(declare(corpus_types[i]), __LINE__, corpus_types[i], error.message);
  void *again = NULL;
  const char *wrong = check_finished(&again, &bytes, &view);
  check(wrong == NULL, __LINE__, "the block of an import", wrong);
  free(again);
  free(block);
}

static void keeps_standard_names_from_an_image(void) {
  struct mm__registry finished;
  void *block = NULL;
  size_t bytes;
  uint32_t type;
  fresh();
  CHECK(declare("typedef long int33_t;"));
  CHECK(check_finished(&block, &bytes, &finished) == NULL);
  for (char *at = block; at + 7 < (char *)block + bytes; at++)
    if (memcmp(at, "int33_t", 7) == 0) memcpy(at, "int32_t", 7);
  fresh();
  CHECK(mm__builder_import(builder, &finished, &error) == MM_OK);
  CHECK(mm__builder_function(builder, "int32_t (void)", &type, &error) == MM_OK);
  mm__builder_view(builder, &view, &error);
  CHECK(view.types[view.types[type].target].size == 4);
  free(block);
}

static void takes_calls_in_any_order(void) {
  struct mm__registry finished;
  void *block = NULL;
  size_t bytes;
  uint32_t early = 0, late = 0;
  fresh();
  mm__builder_view(builder, &view, &error);
  CHECK(view.type_count == 0 && view.export_count == 0);
  CHECK(export("void z(struct s *a)"));
  CHECK(mm__builder_function(builder, "void (struct s *a)", &early, &error) == MM_OK);
  mm__builder_view(builder, &view, &error);
  CHECK(check_finished(&block, &bytes, &finished) == NULL);
  free(block);
  CHECK(declare("struct s { struct s *next; int a; };"));
  CHECK(mm__builder_function(builder, "void (struct s *b)", &late, &error) == MM_OK);
  mm__builder_view(builder, &view, &error);
  CHECK(mm__type_equal(&view, early, &view, late));
  const struct mm__type *parameter = &view.types[view.members[view.types[early].first_member].type];
  CHECK(view.types[parameter->target].size == 16);
  CHECK(export("struct s a(void)"));
  mm__builder_view(builder, &view, &error);
  CHECK(strcmp(view.strings + view.exports[0].name, "a") == 0);
  CHECK(export("void m(struct s)"));
  CHECK(check_finished(&block, &bytes, &finished) == NULL && finished.export_count == 3);
  CHECK(strcmp(finished.strings + finished.exports[1].name, "m") == 0);
  free(block);
}

/* --- hostile --- */

#define LEVELS 60u
struct tower {
  struct mm__registry_header header;
  struct mm__type types[2 + 2 * LEVELS];
  struct mm__member members[127 * LEVELS];
  char strings[8];
};

/* Functions that take pointers to functions, 127 of them each, 60 deep; or structs of two structs. */
static struct tower *make_tower(bool functions) {
  struct tower *tower = calloc(1, sizeof *tower);
  uint32_t per = functions ? 127 : 2, types = 1;
  tower->types[0] = (struct mm__type){.kind = MM__STRUCT, .align = 1};
  for (uint32_t level = 0; level < LEVELS; level++) {
    uint32_t below = types - 1;
    if (functions)
      tower->types[types++] =
          (struct mm__type){.kind = MM__POINTER, .size = 8, .align = 8, .target = below};
    for (uint32_t i = 0; i < per; i++) tower->members[level * per + i].type = types - 1;
    tower->types[types++] = (struct mm__type){.kind = functions ? MM__FUNCTION : MM__STRUCT,
                                              .align = 1,
                                              .target = 0,
                                              .first_member = level * per,
                                              .member_count = per};
  }
  tower->header = (struct mm__registry_header){
      sizeof *tower, COUNT(tower->types), COUNT(tower->members), 0, sizeof tower->strings, {0}};
  return tower;
}

static void is_quick_about_types_that_multiply(void) {
  for (int functions = 0; functions < 2; functions++) {
    struct tower *one = make_tower(functions), *other = make_tower(functions);
    struct mm__registry a, b;
    char text[1000];
    uint32_t top = functions ? 2 * LEVELS : LEVELS;
    CHECK(mm__registry_check(one, sizeof *one, &a) == NULL);
    CHECK(mm__registry_check(other, sizeof *other, &b) == NULL);
    clock_t start = clock();
    CHECK(!mm__type_equal(&a, top, &b, top));
    CHECK(mm__type_equal(&a, top, &a, top));
    CHECK(mm__type_text(&a, top, "f", text, sizeof text) > 0);
    CHECK(mm__type_text(&a, top, "f", NULL, 0) > 0);
    fresh();
    mm__builder_import(builder, &a, &error);
    CHECK(clock() - start < CLOCKS_PER_SEC);
    free(one);
    free(other);
  }
}

/* Each row is a block of four types, of which the last one lies, or does not. */
static void refuses_types_that_lie(void) {
  static const struct {
    const char *wrong;
    struct mm__type last;
    struct mm__member member;
  } rows[] = {
      {NULL, {.kind = MM__ARRAY, .size = 8, .align = 4, .target = 1, .length = 2}, {0}},
      {"itself", {.kind = MM__ARRAY, .size = 8, .align = 4, .target = 3, .length = 1}, {0}},
      {"wrong size", {.kind = MM__ARRAY, .size = 8, .align = 4, .target = 1, .length = 3}, {0}},
      {"of nothing", {.kind = MM__ARRAY, .align = 1, .target = 0}, {0}},
      {NULL, {.kind = MM__FUNCTION, .member_count = 1}, {0, 1, 0}},
      {"itself", {.kind = MM__FUNCTION, .target = 3}, {0}},
      {"itself", {.kind = MM__FUNCTION, .member_count = 1}, {0, 3, 0}},
      {"without a size", {.kind = MM__FUNCTION, .member_count = 1}, {0, 0, 0}},
      {"without a result", {.kind = MM__FUNCTION, .target = 2}, {0}},
      {NULL, {.kind = MM__STRUCT, .size = 4, .align = 4, .member_count = 1}, {0, 1, 0}},
      {"itself", {.kind = MM__STRUCT, .size = 4, .align = 4, .member_count = 1}, {0, 3, 0}},
      {"without a size", {.kind = MM__UNION, .size = 4, .align = 4, .member_count = 1}, {0, 0, 0}},
      {"outside", {.kind = MM__STRUCT, .size = 4, .align = 4, .member_count = 1}, {0, 1, 1}},
      {"outside", {.kind = MM__STRUCT, .size = 4, .align = 4, .member_count = 1}, {0, 1, -4}},
      {"misaligned", {.kind = MM__STRUCT, .size = 6, .align = 4, .member_count = 1}, {0, 1, 0}},
      {"misaligned", {.kind = MM__STRUCT, .size = 4, .align = 0, .member_count = 1}, {0, 1, 0}},
      {"with contents", {.kind = MM__STRUCT, .flags = MM__TYPE_INCOMPLETE, .size = 4}, {0}},
      {NULL, {.kind = MM__POINTER, .size = 8, .align = 8, .target = 3}, {0}},
      {"no sense", {.kind = MM__POINTER, .size = 4, .align = 4}, {0}},
      {"does not exist", {.kind = MM__POINTER, .size = 8, .align = 8, .target = 4}, {0}},
      {"no sense", {.kind = MM__SIGNED, .size = 3, .align = 1}, {0}},
      {"no sense", {.kind = MM__ENUM, .size = 8, .align = 8, .target = 1}, {0}},
      {"no sense", {.kind = MM__KIND_COUNT}, {0}},
      {"no sense", {.kind = MM__VOID, .flags = 16}, {0}},
      {"do not exist", {.kind = MM__STRUCT, .align = 1, .member_count = 2}, {0}},
      {"outside of the strings", {.kind = MM__VOID, .alias = 8}, {0}},
      {"no sense", {.kind = MM__VOID}, {0, 4, 0}},
      {"no sense", {.kind = MM__VOID}, {8, 0, 0}},
  };
  struct {
    struct mm__registry_header header;
    struct mm__type types[4];
    struct mm__member member;
    char strings[8];
  } block = {{sizeof block, 4, 1, 0, 8, {0}}, {{0}}, {0}, ""};
  for (size_t i = 0; i < COUNT(rows); i++) {
    block.types[1] = (struct mm__type){.kind = MM__SIGNED, .size = 4, .align = 4};
    block.types[2] =
        (struct mm__type){.kind = MM__ARRAY, .size = 8, .align = 4, .target = 1, .length = 2};
    block.types[3] = rows[i].last;
    block.member = rows[i].member;
    const char *wrong = mm__registry_check(&block, sizeof block, &view);
    char detail[100];
    snprintf(detail, sizeof detail, "row %zu: %s", i, wrong ? wrong : "sound");
    check(rows[i].wrong ? wrong && strstr(wrong, rows[i].wrong) : !wrong, __LINE__, "a lie",
          detail);
  }
}

static uint64_t seed = 42;
static uint32_t chance(uint32_t below) {
  seed = seed * 6364136223846793005u + 1442695040888963407u;
  return (uint32_t)(seed >> 33) % below;
}

static void mutate_text(char *text, size_t size) {
  static const char *const pieces[] = {"(",    ")",       "[",     "]",        "*", "const ", ",",
                                       "int ", "struct ", "{",     "}",        ";", "...",    "/*",
                                       "'",    "1<<",     "enum ", "typedef ", "=", "-",      ":"};
  size_t length = strlen(text), at = length ? chance((uint32_t)length) : 0;
  const char *piece = pieces[chance(COUNT(pieces))];
  switch (chance(4)) {
  case 0:
    if (length) text[at] = (char)chance(256);
    break;
  case 1:
    if (length) memmove(text + at, text + at + 1, length - at);
    break;
  case 2:
    if (length + strlen(piece) < size) {
      memmove(text + at + strlen(piece), text + at, length - at + 1);
      memcpy(text + at, piece, strlen(piece));
    }
    break;
  default:
    if (length) text[at] = text[chance((uint32_t)length)];
  }
}

static void adds_a_prototype_to_a_line_or_leaves_it_out(void) {
  static const char prototype[] = "int add(int, int)";
  struct mm_error one = {.message = "add: argument 2"};
  mm__fail_prototype(&one, prototype);
  CHECK(strcmp(one.message, "add: argument 2: `int add(int, int)`") == 0);
  for (size_t room = 0; room < 40; room++) { /* behind the message, with the NUL */
    size_t length = sizeof one.message - room - 1, needed = strlen(prototype) + strlen(": ``");
    memset(one.message, 0, sizeof one.message);
    memset(one.message, 'x', length);
    mm__fail_prototype(&one, prototype);
    CHECK(strlen(one.message) == (room < needed ? length : length + needed));
  }
}

static void survives_mutated_texts(void) {
  unsigned accepted = 0;
  for (unsigned i = 0; i < mutations; i++) {
    char text[512];
    uint32_t type;
    if (i % 256 == 0) declare_corpus();
    bool type_text = chance(3) == 0;
    snprintf(text, sizeof text, "%s",
             type_text ? corpus_types[chance(COUNT(corpus_types))] : corpus[chance(COUNT(corpus))]);
    for (uint32_t k = 1 + chance(4); k--;) mutate_text(text, sizeof text);
    error.message[0] = 0;
    int status = type_text ? mm__builder_declare(builder, text, &error)
                 : i % 2   ? mm__builder_export(builder, text, text, i, &error)
                           : mm__builder_function(builder, text, &type, &error);
    accepted += status == MM_OK;
    if (status != MM_OK)
      check(status == MM_ERROR_PROTOTYPE && error.message[0], __LINE__, text, error.message);
    if (i % 256 != 255) continue;
    void *block = NULL;
    size_t bytes;
    struct mm__registry finished;
    const char *wrong = check_finished(&block, &bytes, &finished);
    check(wrong == NULL, __LINE__, "a block of mutations", wrong);
    if (!wrong) {
      fresh();
      CHECK(mm__builder_import(builder, &finished, &error) == MM_OK);
    }
    for (uint32_t k = 0; !wrong && k < finished.export_count; k++) {
      const char *prototype = finished.strings + finished.exports[k].prototype;
      if (strstr(prototype, "{...}")) continue; /* a type without a name has no text */
      bool good = mm__builder_function(builder, prototype, &type, &error) == MM_OK;
      mm__builder_view(builder, &view, &error);
      check(good && mm__type_equal(&view, type, &finished, finished.exports[k].type), __LINE__,
            prototype, good ? "is another type when it is read back" : error.message);
    }
    free(block);
  }
  CHECK(accepted > mutations / 100);
}

static void survives_mutated_blocks(void) {
  void *block = NULL;
  size_t bytes;
  unsigned accepted = 0;
  declare_corpus();
  for (size_t i = 0; i < COUNT(corpus); i++) CHECK(export(corpus[i]));
  CHECK(mm__builder_finish(builder, &block, &bytes, &error) == MM_OK);
  char *copy = malloc(bytes);
  for (unsigned i = 0; i < mutations; i++) {
    struct mm__registry finished;
    memcpy(copy, block, bytes);
    for (uint32_t k = 1 + chance(3); k--;) {
      char *at = copy + chance((uint32_t)bytes);
      *at = chance(2) ? (char)chance(256) : (char)(*at ^ 1 << chance(8));
    }
    if (mm__registry_check(copy, bytes, &finished) != NULL) continue;
    accepted++;
    char text[300];
    for (uint32_t k = 0; k < finished.export_count; k++) {
      mm__type_text(&finished, finished.exports[k].type, "f", text, sizeof text);
      mm__type_equal(&finished, finished.exports[k].type, &finished, finished.exports[0].type);
    }
    if (i % 16) continue;
    fresh();
    if (mm__builder_import(builder, &finished, &error) != MM_OK) continue;
    for (size_t k = 0; k < COUNT(corpus); k++)
      mm__builder_export(builder, corpus[k], NULL, 0, &error);
    void *again = NULL;
    size_t again_bytes;
    const char *wrong = check_finished(&again, &again_bytes, &view);
    check(wrong == NULL, __LINE__, "the block of a mutated import", wrong);
    free(again);
  }
  CHECK(accepted > mutations / 100);
  free(copy);
  free(block);
}

static void stands_every_allocation_that_fails(void) {
#if CAN_FAIL_ALLOCATIONS
  mm__builder_free(builder);
  builder = NULL;
  long before = live;
  for (long nth = 0; nth < 2000; nth++) {
    void *block = NULL;
    size_t bytes;
    struct mm__registry finished;
    int status = MM_ERROR_MEMORY, finish = MM_ERROR_MEMORY, import = MM_ERROR_MEMORY;
    allocations = 0, allowed = nth;
    struct mm__builder *own = mm__builder_new(), *other = mm__builder_new();
    for (size_t i = 0; own && i < COUNT(corpus_types); i++)
      if ((status = mm__builder_declare(own, corpus_types[i], &error)) != MM_OK) break;
    for (size_t i = 0; own && status == MM_OK && i < COUNT(corpus); i++)
      if ((status = mm__builder_export(own, corpus[i], "doc", 1, &error)) != MM_OK) break;
    if (own) finish = mm__builder_finish(own, &block, &bytes, &error);
    if (finish == MM_OK && other && mm__registry_check(block, bytes, &finished) == NULL)
      import = mm__builder_import(other, &finished, &error);
    allowed = -1;
    CHECK(status == MM_OK || status == MM_ERROR_MEMORY);
    CHECK(finish == MM_OK || finish == MM_ERROR_MEMORY);
    CHECK(import == MM_OK || import == MM_ERROR_MEMORY);
    if (own && status != MM_OK) {
      /* It goes on as if nothing had happened, when there is memory again. */
      for (size_t i = 0; i < COUNT(corpus_types); i++)
        CHECK(mm__builder_declare(own, corpus_types[i], &error) == MM_OK);
      CHECK(mm__builder_export(own, "tree *grow2(tree *t)", NULL, 1, &error) == MM_OK);
    }
    free(block);
    mm__builder_free(own);
    mm__builder_free(other);
    CHECK(live == before);
    if (status == MM_OK && finish == MM_OK && import == MM_OK) return;
  }
  CHECK(!"never enough memory");
#endif
}

int main(int count, char **arguments) {
  if (count > 1) mutations = (unsigned)atoi(arguments[count - 1]);
  if (mutations == 0) mutations = 200000;
#define RUN(test)                                                                                  \
  do {                                                                                             \
    int before = failures;                                                                         \
    test();                                                                                        \
    printf("%s %s\n", failures == before ? "ok" : "not ok", #test);                                \
  } while (0)
  RUN(writes_every_type_in_one_way);
  RUN(parses_functions_without_a_name);
  RUN(knows_the_standard_names);
  RUN(lays_out_as_the_compiler_does);
  RUN(calculates_constants_as_the_compiler_does);
  RUN(gives_enums_the_type_that_compilers_give);
  RUN(declares_types_of_every_kind);
  RUN(accepts_the_same_declaration_again);
  RUN(shares_what_is_identical);
  RUN(names_each_error);
  RUN(leaves_nothing_behind_after_an_error);
  RUN(has_limits);
  RUN(counts_the_bytes_of_arguments_in_memory);
  RUN(finishes_a_block_that_the_checker_accepts);
  RUN(reads_back_what_it_wrote);
  RUN(tells_types_apart);
  RUN(knows_the_types_of_an_imported_registry);
  RUN(keeps_standard_names_from_an_image);
  RUN(takes_calls_in_any_order);
  RUN(is_quick_about_types_that_multiply);
  RUN(refuses_types_that_lie);
  RUN(adds_a_prototype_to_a_line_or_leaves_it_out);
  RUN(survives_mutated_texts);
  RUN(survives_mutated_blocks);
  RUN(stands_every_allocation_that_fails);
  mm__builder_free(builder);
  printf("# %d checks, %d failures\n", checks, failures);
  return failures != 0;
}
