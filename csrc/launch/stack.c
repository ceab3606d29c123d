/* launch/stack.c - a program's initial stack (psABI x86-64 3.4.1): arguments, environment, vectors.
 * */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/error.h"
#include "launch/launch.h"

#ifndef AT_MINSIGSTKSZ
#define AT_MINSIGSTKSZ 51
#endif

/* What a server may know of its surroundings: all that is in its memory goes into the file. */
static const char *const always_kept[] = {"PATH", "HOME", "LANG", "TZ", "LD_LIBRARY_PATH", NULL};
/* No call in a client may write to a GOT. */
static const char bind_now[] = "LD_BIND_NOW=1";

static bool is_name(const char *variable, const char *name) {
  size_t length = strlen(name);
  return strncmp(variable, name, length) == 0 && variable[length] == '=';
}

static bool is_kept(const char *variable, char **kept) {
  if (is_name(variable, "LD_BIND_NOW")) return false;
  if (strncmp(variable, "LC_", 3) == 0 || strncmp(variable, "LUA_PATH", 8) == 0 ||
      strncmp(variable, "LUA_CPATH", 9) == 0)
    return true;
  for (uint32_t i = 0; always_kept[i]; i++)
    if (is_name(variable, always_kept[i])) return true;
  for (uint32_t i = 0; kept[i]; i++)
    if (is_name(variable, kept[i])) return true;
  return false;
}

/* The strings grow down from the top of the stack, the vectors lie below them. */
struct building {
  char *strings;
  uint64_t *words;
  uint64_t count;
};

static uint64_t put_bytes(struct building *building, const void *bytes, size_t size) {
  building->strings -= size;
  memcpy(building->strings, bytes, size);
  return (uint64_t)building->strings;
}

static uint64_t put_string(struct building *building, const char *string) {
  return put_bytes(building, string, strlen(string) + 1);
}

static void put_word(struct building *building, uint64_t word) {
  building->words[building->count++] = word;
}

static void put_pair(struct building *building, uint64_t type, uint64_t value) {
  put_word(building, type);
  put_word(building, value);
}

/* A value that holds for the server as for the launcher. */
static void put_same(struct building *building, unsigned long type) {
  errno = 0;
  unsigned long value = getauxval(type);
  if (errno != ENOENT) put_pair(building, type, value);
}

static uint64_t headers_address(const struct mm__program *program) {
  for (uint32_t i = 0; i < program->elf.e_phnum; i++) {
    const Elf64_Phdr *load = &program->headers[i];
    if (load->p_type == PT_LOAD && load->p_offset <= program->elf.e_phoff &&
        program->elf.e_phoff - load->p_offset < load->p_filesz)
      return program->bias + load->p_vaddr + (program->elf.e_phoff - load->p_offset);
  }
  return 0;
}

/* No AT_SYSINFO_EHDR: libc would keep pointers into a vDSO that no client has. No AT_RSEQ_*: rseq
 * is refused. */
static void put_auxiliary(struct building *building, const struct mm__start *start, uint64_t random,
                          uint64_t platform, uint64_t name) {
  static const unsigned long same[] = {AT_PAGESZ, AT_HWCAP, AT_HWCAP2, AT_CLKTCK,     AT_UID,
                                       AT_EUID,   AT_GID,   AT_EGID,   AT_MINSIGSTKSZ};
  const struct mm__program *program = start->program;
  put_pair(building, AT_PHDR, headers_address(program));
  put_pair(building, AT_PHENT, sizeof(Elf64_Phdr));
  put_pair(building, AT_PHNUM, program->elf.e_phnum);
  put_pair(building, AT_BASE, start->interpreter ? start->interpreter->bias : 0);
  put_pair(building, AT_ENTRY, program->bias + program->elf.e_entry);
  put_pair(building, AT_FLAGS, 0);
  for (uint32_t i = 0; i < sizeof same / sizeof same[0]; i++) put_same(building, same[i]);
  put_pair(building, AT_SECURE, 0);
  put_pair(building, AT_RANDOM, random);
  put_pair(building, AT_PLATFORM, platform);
  put_pair(building, AT_EXECFN, name);
  put_pair(building, AT_NULL, 0);
}

static size_t text_bytes(char **strings) {
  size_t bytes = 0;
  for (; *strings; strings++) bytes += strlen(*strings) + 1 + sizeof(uint64_t);
  return bytes;
}

static void put_vectors(struct building *building, const struct mm__start *start) {
  uint64_t arguments = 0;
  while (start->arguments[arguments]) arguments++;
  put_word(building, arguments);
  for (uint64_t i = 0; i < arguments; i++)
    put_word(building, put_string(building, start->arguments[i]));
  put_word(building, 0);
  for (char **variable = environ; *variable; variable++)
    if (is_kept(*variable, start->kept)) put_word(building, put_string(building, *variable));
  put_word(building, put_string(building, bind_now));
  put_word(building, 0);
}

int mm__stack_build(const struct mm__start *start, uint64_t *stack_pointer,
                    struct mm_error *error) {
  uint8_t random_bytes[16];
  struct building building = {(char *)start->stack_high, NULL, 0};
  size_t bytes = text_bytes(start->arguments) + text_bytes(environ) + 4096;
  if (bytes > MM__STACK_BYTES / 4)
    return mm__fail(error, MM_ERROR_LIMIT, "the arguments and the environment are too long");
  if (getrandom(random_bytes, sizeof random_bytes, 0) != sizeof random_bytes)
    return mm__fail_system(error, MM_ERROR_SYSTEM, errno, "cannot get random bytes");
  building.words = calloc(1, bytes);
  if (!building.words)
    return mm__fail(error, MM_ERROR_MEMORY, "out of memory for the server's stack");
  put_bytes(&building, (uint64_t[1]){0}, sizeof(uint64_t)); /* as the kernel ends a stack */
  uint64_t name = put_string(&building, start->program->path);
  uint64_t platform = put_string(&building, "x86_64");
  uint64_t random = put_bytes(&building, random_bytes, sizeof random_bytes);
  put_vectors(&building, start);
  put_auxiliary(&building, start, random, platform, name);
  uint64_t top = ((uint64_t)building.strings - building.count * sizeof(uint64_t)) & ~15ul;
  memcpy((void *)top, building.words, building.count * sizeof(uint64_t));
  free(building.words);
  *stack_pointer = top;
  return MM_OK;
}
