/* matchmaker/server.h - the server's interface: register exports, snapshot the process into an
 * image.
 * Owns:    the list of what is registered; nothing else.
 * Threads: a server has one thread; mm_snapshot names the others when there are any.
 * Signals: none are touched.
 * Errors:  -1 with errno, and one line on stderr. */
#ifndef MATCHMAKER_SERVER_H
#define MATCHMAKER_SERVER_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What an on-map hook learns. `reason` is 0 after a map and 1 after a reset. */
struct mm_map_info {
  uint32_t size_bytes;
  uint32_t reason;
  uint32_t generation;
  uint32_t reserved;
};

/* One registration, linked into the list by a constructor of the file that made it. */
struct mm_registration {
  const char *result;     /* text of the result type; a whole declaration when `kind` is a type; a
                             need's kind; NULL: the debug information has the prototype */
  const char *name;       /* NULL: `result` is a complete prototype with its name */
  const char *parameters; /* with its parentheses; a need's detail */
  const char *doc;        /* NULL when there is none */
  void (*function)(void);
  struct mm_registration *next;
  uint32_t kind; /* 0 export, 1 type, 2 need */
  uint32_t reserved;
};

/* Registers what the macros made. */
void mm_register(struct mm_registration *registration);

/* Writes the image to `path` (NULL: where -o said) and ends the process with status 0. Returns only
 * when it fails. */
int mm_snapshot(const char *path);

/* Registers a function at run time. The strings are copied. `prototype` NULL: name, prototype and
 * types are those that the function has in the debug information of its program or library. Returns
 * 0, or -1 with errno (EINVAL, ENOMEM). */
int mm_export(void *function, const char *prototype, const char *doc);

/* Ends the call that a client made, as an error of kind "server" with this message; the image is
 * then as after a fault. Outside of a client's call it ends the process. */
void mm_fail(const char *message) __attribute__((noreturn));

/* Registers a function called in each client after it mapped or reset the image. At most 16. */
void mm_on_map(void (*hook)(const struct mm_map_info *info));

#define MM__JOIN2(a, b) a##b
#define MM__JOIN(a, b)  MM__JOIN2(a, b)
#define MM__REGISTER(tag, result, name, parameters, doc, function, kind)                           \
  static struct mm_registration MM__JOIN(mm__record_, tag) = {                                     \
      result, name, parameters, doc, (void (*)(void))(function), 0, kind, 0};                      \
  __attribute__((constructor, used)) static void MM__JOIN(mm__register_, tag)(void) {              \
    mm_register(&MM__JOIN(mm__record_, tag));                                                      \
  }

#define MM__EXPORT4(result, name, parameters, doc)                                                 \
  result name parameters;                                                                          \
  MM__REGISTER(name, #result, #name, #parameters, doc, name, 0)
#define MM__EXPORT3(result, name, parameters) MM__EXPORT4(result, name, parameters, 0)
#define MM__PICK(a, b, c, d, chosen, ...)     chosen

/* MM_EXPORT(int, spell, (const char *word), "doc") declares the function with the very text it
 * registers, so that a definition with another signature does not compile. The doc string may be
 * left out. No semicolon is needed after it. */
#define MM_EXPORT(...) MM__PICK(__VA_ARGS__, MM__EXPORT4, MM__EXPORT3, , )(__VA_ARGS__)

/* MM_EXPORT_NAME(spell, "doc") registers a function that was declared before; its prototype and
 * its types are read from the debug information (-g) when the image is made. The doc string may be
 * left out. No semicolon is needed after it. */
#define MM_EXPORT_NAME(...)  MM__PICK(__VA_ARGS__, , , MM__NAME2, MM__NAME1, )(__VA_ARGS__)
#define MM__NAME2(name, doc) MM__REGISTER(name, 0, #name, 0, doc, name, 0)
#define MM__NAME1(name)      MM__NAME2(name, 0)

/* MM_TYPE(struct point { double x, y; };) declares a type to the compiler and to the registry. */
#define MM_TYPE(...)                                                                               \
  __VA_ARGS__                                                                                      \
  MM__REGISTER(MM__JOIN(type_, __COUNTER__), #__VA_ARGS__, 0, 0, 0, 0, 1)

/* MM_NEED("output", "prints a banner") says what the client must grant.
 * Kinds: output, files, sockets, jit, everything. */
#define MM_NEED(need, detail) MM__REGISTER(MM__JOIN(need_, __COUNTER__), need, 0, detail, 0, 0, 2)

#ifdef __cplusplus
}
#endif
#endif
