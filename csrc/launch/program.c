/* launch/program.c - finds an ELF file and says in one line why it cannot be a server. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "launch/launch.h"

#define HEADER_LIMIT      128u
#define DYNAMIC_LIMIT     4096u
#define INTERPRETER_LIMIT 4096u

static int refuse(const struct mm__program *program, struct mm_error *error, const char *why) {
  return mm__fail(error, MM_ERROR_ARGUMENT, "%s %s", program->path, why);
}

/* Looks a name without a slash up as execvp(3) does. NULL: not found. The caller frees the path. */
static char *find_in_path(const char *name) {
  const char *folders = getenv("PATH");
  struct stat status;
  char *path = NULL;
  if (strchr(name, '/')) return strdup(name);
  if (!folders) folders = "/usr/local/bin:/usr/bin:/bin";
  for (;;) {
    size_t length = strcspn(folders, ":");
    const char *folder = length ? folders : ".";
    if (asprintf(&path, "%.*s/%s", length ? (int)length : 1, folder, name) < 0) return NULL;
    if (stat(path, &status) == 0 && S_ISREG(status.st_mode) && access(path, X_OK) == 0) return path;
    free(path);
    if (folders[length] == 0) return NULL;
    folders += length + 1;
  }
}

static int open_file(struct mm__program *program, uint64_t *file_bytes, struct mm_error *error) {
  struct stat status;
  if (stat(program->path, &status) != 0)
    return mm__fail_system(error, MM_ERROR_MISSING, errno, "cannot open %s", program->path);
  if (!S_ISREG(status.st_mode)) return refuse(program, error, "is not a regular file");
  if (access(program->path, X_OK) != 0) return refuse(program, error, "is not executable");
  program->descriptor = open(program->path, O_RDONLY | O_CLOEXEC);
  if (program->descriptor < 0)
    return mm__fail_system(error, MM_ERROR_UNREADABLE, errno, "cannot read %s", program->path);
  *file_bytes = (uint64_t)status.st_size;
  return MM_OK;
}

static bool read_at(const struct mm__program *program, void *bytes, uint64_t size,
                    uint64_t offset) {
  return pread(program->descriptor, bytes, size, (off_t)offset) == (ssize_t)size;
}

static int check_header(struct mm__program *program, struct mm_error *error) {
  Elf64_Ehdr *elf = &program->elf;
  ssize_t got = pread(program->descriptor, elf, sizeof *elf, 0);
  if (got >= 2 && memcmp(elf, "#!", 2) == 0)
    return refuse(program, error,
                  "is a script; only a native program can be a server: give its interpreter "
                  "as SERVER and the script as its argument");
  if (got < EI_NIDENT || memcmp(elf->e_ident, ELFMAG, SELFMAG) != 0)
    return refuse(program, error, "is not an ELF program");
  if (elf->e_ident[EI_CLASS] == ELFCLASS32)
    return refuse(program, error, "is a 32-bit program; a server is a 64-bit one");
  if (got < (ssize_t)sizeof *elf || elf->e_ident[EI_CLASS] != ELFCLASS64 ||
      elf->e_ident[EI_DATA] != ELFDATA2LSB || elf->e_phentsize != sizeof(Elf64_Phdr) ||
      elf->e_phnum == 0 || elf->e_phnum > HEADER_LIMIT)
    return refuse(program, error, "is a damaged ELF file");
  if (elf->e_machine != EM_X86_64)
    return refuse(program, error, "is a program for another kind of CPU, not for x86-64");
  if (elf->e_type == ET_EXEC)
    return refuse(program, error,
                  "is not position-independent: compile it with -fPIE and link it with -pie (or "
                  "-static-pie)");
  if (elf->e_type != ET_DYN) return refuse(program, error, "is an ELF file but not a program");
  return MM_OK;
}

/* PT_LOADs must be in order, inside the file, and share no page: each is mapped by itself. */
static const char *check_loads(struct mm__program *program, uint64_t file_bytes) {
  uint64_t page = MM__PAGE - 1, low = UINT64_MAX, high = 0;
  program->align = MM__PAGE;
  for (uint32_t i = 0; i < program->elf.e_phnum; i++) {
    const Elf64_Phdr *load = &program->headers[i];
    if (load->p_type != PT_LOAD || load->p_memsz == 0) continue;
    if (load->p_filesz > load->p_memsz || load->p_offset > file_bytes ||
        load->p_filesz > file_bytes - load->p_offset || load->p_vaddr > MM__SLOT_BYTES ||
        load->p_memsz > MM__SLOT_BYTES || ((load->p_vaddr ^ load->p_offset) & page) != 0)
      return "is a damaged ELF file: a segment lies outside of it";
    if (low != UINT64_MAX && (load->p_vaddr & ~page) < high)
      return "has segments that share a page or are out of order";
    if (low == UINT64_MAX) low = load->p_vaddr & ~page;
    high = (load->p_vaddr + load->p_memsz + page) & ~page;
    if (load->p_align > program->align && (load->p_align & (load->p_align - 1)) == 0)
      program->align = load->p_align;
  }
  if (low == UINT64_MAX) return "has nothing to load";
  program->low = low;
  program->high = high;
  return NULL;
}

static const Elf64_Phdr *find_header(const struct mm__program *program, uint32_t type) {
  for (uint32_t i = 0; i < program->elf.e_phnum; i++)
    if (program->headers[i].p_type == type) return &program->headers[i];
  return NULL;
}

/* A static PIE says so (DF_1_PIE); without that, and without an interpreter, it is a shared
 * library. */
static bool is_static_pie(const struct mm__program *program) {
  const Elf64_Phdr *dynamic = find_header(program, PT_DYNAMIC);
  for (uint64_t i = 0; dynamic && i < dynamic->p_filesz / sizeof(Elf64_Dyn) && i < DYNAMIC_LIMIT;
       i++) {
    Elf64_Dyn entry;
    if (!read_at(program, &entry, sizeof entry, dynamic->p_offset + i * sizeof entry) ||
        entry.d_tag == DT_NULL)
      return false;
    if (entry.d_tag == DT_FLAGS_1) return (entry.d_un.d_val & DF_1_PIE) != 0;
  }
  return false;
}

static int read_interpreter(struct mm__program *program, struct mm_error *error) {
  const Elf64_Phdr *header = find_header(program, PT_INTERP);
  if (!header)
    return program->elf.e_entry != 0 && is_static_pie(program)
               ? MM_OK
               : refuse(program, error, "is a shared library, not a program");
  if (header->p_filesz < 2 || header->p_filesz > INTERPRETER_LIMIT)
    return refuse(program, error, "is a damaged ELF file: its interpreter has no name");
  program->interpreter = calloc(1, header->p_filesz + 1);
  if (!program->interpreter) return mm__fail(error, MM_ERROR_MEMORY, "out of memory");
  if (!read_at(program, program->interpreter, header->p_filesz, header->p_offset))
    return refuse(program, error, "is a damaged ELF file: its interpreter has no name");
  return MM_OK;
}

int mm__program_open(struct mm__program *program, const char *name, bool is_interpreter,
                     struct mm_error *error) {
  uint64_t file_bytes = 0;
  const char *wrong;
  int status;
  memset(program, 0, sizeof *program);
  program->descriptor = -1;
  program->path = find_in_path(name);
  if (!program->path) return mm__fail(error, MM_ERROR_MISSING, "%s: no such program in PATH", name);
  if ((status = open_file(program, &file_bytes, error)) != MM_OK ||
      (status = check_header(program, error)) != MM_OK)
    goto fail;
  program->headers = calloc(program->elf.e_phnum, sizeof *program->headers);
  if (!program->headers) {
    status = mm__fail(error, MM_ERROR_MEMORY, "out of memory");
    goto fail;
  }
  if (!read_at(program, program->headers, program->elf.e_phnum * sizeof *program->headers,
               program->elf.e_phoff))
    wrong = "is a damaged ELF file: its program headers lie outside of it";
  else
    wrong = check_loads(program, file_bytes);
  if (wrong) {
    status = refuse(program, error, wrong);
    goto fail;
  }
  if (!is_interpreter && (status = read_interpreter(program, error)) != MM_OK) goto fail;
  return MM_OK;
fail:
  mm__program_close(program);
  return status;
}

void mm__program_close(struct mm__program *program) {
  if (program->descriptor >= 0) close(program->descriptor);
  free(program->interpreter);
  free(program->headers);
  free(program->path);
  memset(program, 0, sizeof *program);
  program->descriptor = -1;
}
