/* core/host/connect.c - a loader for one ELF file, the embedded one. */
#include "core/host/connect.h"

#include "base/error.h"

#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define HWCAP2_FSGSBASE 2ul /* asm/hwcap2.h */
#define POLLS           1000

extern const unsigned char mm__core_elf[], mm__core_elf_end[];

static const Elf64_Phdr *loads(const Elf64_Ehdr *elf) {
  return (const Elf64_Phdr *)(mm__core_elf + elf->e_phoff);
}

/* From the first to the last page of the Matchmaker's segments. */
static void span(const Elf64_Ehdr *elf, unsigned long *low, unsigned long *high) {
  *low = ~0ul, *high = 0;
  for (int i = 0; i < elf->e_phnum; i++) {
    const Elf64_Phdr *load = &loads(elf)[i];
    if (load->p_type != PT_LOAD) continue;
    unsigned long end = (load->p_vaddr + load->p_memsz + MM__PAGE - 1) & ~(MM__PAGE - 1ul);
    if (load->p_vaddr < *low) *low = load->p_vaddr & ~(MM__PAGE - 1ul);
    if (end > *high) *high = end;
  }
}

static int protection_of(const Elf64_Phdr *load) {
  return (load->p_flags & PF_R ? PROT_READ : 0) | (load->p_flags & PF_W ? PROT_WRITE : 0) |
         (load->p_flags & PF_X ? PROT_EXEC : 0);
}

/* Who finds a half-built Matchmaker sees a table without its magic and waits; so the first segment,
 * which has it, comes last. */
static int fill(const Elf64_Ehdr *elf) {
  for (int i = elf->e_phnum - 1; i >= 0; i--) {
    const Elf64_Phdr *load = &loads(elf)[i];
    if (load->p_type != PT_LOAD) continue;
    unsigned long low = load->p_vaddr & ~(MM__PAGE - 1ul);
    unsigned long bytes = (load->p_vaddr + load->p_memsz - low + MM__PAGE - 1) & ~(MM__PAGE - 1ul);
    if (mprotect((void *)low, bytes, PROT_READ | PROT_WRITE)) return -1;
    memcpy((void *)load->p_vaddr, mm__core_elf + load->p_offset, load->p_filesz);
    if (mprotect((void *)low, bytes, protection_of(load))) return -1;
  }
  return 0;
}

/* Reads without faulting: what lies there may be anybody's. */
static int peek(struct mm__core_table *table, unsigned long address) {
  struct iovec here = {table, sizeof *table}, there = {(void *)address, sizeof *table};
  return process_vm_readv(getpid(), &here, 1, &there, 1, 0) == (ssize_t)sizeof *table ? 0 : -1;
}

static bool fits(const struct mm__core_table *table) {
  return table->version == MM__CORE_VERSION && table->size_bytes == sizeof *table;
}

const struct mm__core_table *mm__connected(void) {
  unsigned long address = ((const Elf64_Ehdr *)mm__core_elf)->e_entry;
  struct mm__core_table table;
  bool there = peek(&table, address) == 0 && table.magic == MM__CORE_MAGIC;
  return there && fits(&table) ? (const struct mm__core_table *)address : NULL;
}

static const struct mm__core_table *find(unsigned long address, struct mm_error *error) {
  struct mm__core_table table;
  for (int i = 0; i < POLLS; i++) {
    if (peek(&table, address) == 0 && table.magic == MM__CORE_MAGIC) {
      if (fits(&table)) return (const struct mm__core_table *)address;
      mm__fail(error, MM_ERROR_VERSION,
               "this process holds a Matchmaker of version %u, this library is version %d",
               table.version, MM__CORE_VERSION);
      return NULL;
    }
    nanosleep(&(struct timespec){0, 1000000}, NULL);
  }
  mm__fail(error, MM_ERROR_SLOT_TAKEN, "something else is mapped at the arena's base, 0x%lx",
           (unsigned long)MM__ARENA_LOW);
  return NULL;
}

const struct mm__core_table *mm__connect(struct mm_error *error) {
  const Elf64_Ehdr *elf = (const Elf64_Ehdr *)mm__core_elf;
  unsigned long low, high;
  if (MM__IN_ARENA(__builtin_frame_address(0))) {
    mm__fail(error, MM_ERROR_UNSUPPORTED, "a server cannot be a client: it runs inside a slot");
    return NULL;
  }
  span(elf, &low, &high);
  void *place = mmap((void *)low, high - low, PROT_NONE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
  if (place == MAP_FAILED && errno == EEXIST) return find(elf->e_entry, error);
  if (place == MAP_FAILED && errno == EPERM) { /* a lockdown: one that stayed, or our parent's */
    const struct mm__core_table *table = mm__connected();
    if (!table) mm__fail(error, MM_ERROR_UNSUPPORTED, "this process was started locked down");
    return table;
  }
  if (place == MAP_FAILED) {
    mm__fail_system(error, MM_ERROR_MEMORY, errno, "cannot map the Matchmaker");
    return NULL;
  }
  if (place != (void *)low) {
    munmap(place, high - low);
    return find(elf->e_entry, error);
  }
  if (fill(elf)) {
    mm__fail_system(error, MM_ERROR_MEMORY, errno, "cannot map the Matchmaker");
    munmap(place, high - low);
    return NULL;
  }
  return (const struct mm__core_table *)elf->e_entry;
}

void mm__disconnect(void) { munmap((void *)MM__ARENA_LOW, MM__SLOT_BYTES); }

static unsigned trace_bits(const char *words) {
  static const struct {
    const char *word;
    unsigned bit;
  } known[] = {{"syscall", MM__TRACE_SYSCALL},
               {"gate", MM__TRACE_GATE},
               {"image", MM__TRACE_IMAGE},
               {"guard", MM__TRACE_GUARD}};
  unsigned bits = 0;
  while (words && *words) {
    size_t length = strcspn(words, ",");
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
      if (length == strlen(known[i].word) && !strncmp(words, known[i].word, length))
        bits |= known[i].bit;
    words += length + (words[length] == ',');
  }
  return bits;
}

/* glibc's, since 2.35. */
extern const ptrdiff_t __rseq_offset __attribute__((weak));
extern const unsigned __rseq_size __attribute__((weak));

void mm__host_defaults(struct mm__host *host) {
  host->size_bytes = sizeof *host;
  host->has_fsgsbase = (getauxval(AT_HWCAP2) & HWCAP2_FSGSBASE) != 0;
  if (&__rseq_size && __rseq_size) host->rseq_offset = __rseq_offset;
  host->trace = trace_bits(getenv("MM_TRACE"));
}
