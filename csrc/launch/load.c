/* launch/load.c - reserves a slot, and maps a program's segments and a stack into it. */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "base/error.h"
#include "launch/launch.h"

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000 /* Linux 4.17 */
#endif

static uint64_t page_down(uint64_t address) { return address & -(uint64_t)MM__PAGE; }

static uint64_t page_up(uint64_t address) { return page_down(address + MM__PAGE - 1); }

int mm__slot_reserve(uint32_t slot, struct mm_error *error) {
  void *base = (void *)MM__SLOT_BASE(slot);
  void *got = mmap(base, MM__SLOT_BYTES, PROT_NONE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
  if (got == base) return MM_OK;
  if (got != MAP_FAILED) { /* a kernel that does not know the flag took the address as a hint */
    munmap(got, MM__SLOT_BYTES);
    errno = EEXIST;
  }
  if (errno == ENOMEM)
    return mm__fail(
        error, MM_ERROR_MEMORY,
        "cannot reserve the 64 GiB of address space of slot %u: is it limited (ulimit -v)?", slot);
  return mm__fail_system(error, MM_ERROR_SLOT_TAKEN, errno, "cannot reserve slot %u at 0x%lx", slot,
                         MM__SLOT_BASE(slot));
}

static int map(uint64_t low, uint64_t high, int protection, uint32_t flags, int descriptor,
               uint64_t offset, struct mm__loaded *loaded, struct mm_error *error) {
  int kind = MAP_PRIVATE | MAP_FIXED | (descriptor < 0 ? MAP_ANONYMOUS | MAP_NORESERVE : 0);
  if (loaded->count == MM__LAUNCH_RANGES)
    return mm__fail(error, MM_ERROR_LIMIT, "the program has too many segments");
  if (mmap((void *)low, high - low, protection, kind, descriptor, (off_t)offset) == MAP_FAILED)
    return mm__fail_system(error, MM_ERROR_SYSTEM, errno, "cannot map 0x%lx-0x%lx", low, high);
  loaded->ranges[loaded->count++] = (struct mm__range){low, high, (uint32_t)protection, flags};
  return MM_OK;
}

/* The rest of the last page that came from the file is zero, and belongs to .bss: elf(5), PT_LOAD.
 */
static int clear_tail(uint64_t file_end, int protection, struct mm_error *error) {
  uint64_t low = page_down(file_end), bytes = page_up(file_end) - file_end;
  bool closed = (protection & PROT_WRITE) == 0;
  if (bytes == 0) return MM_OK;
  if (closed && mprotect((void *)low, MM__PAGE, PROT_READ | PROT_WRITE) != 0)
    return mm__fail_system(error, MM_ERROR_SYSTEM, errno, "cannot open 0x%lx for writing", low);
  memset((void *)file_end, 0, bytes);
  if (closed && mprotect((void *)low, MM__PAGE, protection) != 0)
    return mm__fail_system(error, MM_ERROR_SYSTEM, errno, "cannot close 0x%lx", low);
  return MM_OK;
}

static int load_segment(const struct mm__program *program, const Elf64_Phdr *load,
                        struct mm__loaded *loaded, struct mm_error *error) {
  uint64_t start = program->bias + load->p_vaddr, low = page_down(start);
  uint64_t file_end = start + load->p_filesz, memory_high = page_up(start + load->p_memsz);
  uint64_t file_high = load->p_filesz ? page_up(file_end) : low;
  int protection = ((load->p_flags & PF_R) ? PROT_READ : 0) |
                   ((load->p_flags & PF_W) ? PROT_WRITE : 0) |
                   ((load->p_flags & PF_X) ? PROT_EXEC : 0);
  int status = MM_OK;
  if (file_high > low)
    status = map(low, file_high, protection, MM__RANGE_FILE, program->descriptor,
                 page_down(load->p_offset), loaded, error);
  if (status == MM_OK && file_high > low && load->p_memsz > load->p_filesz)
    status = clear_tail(file_end, protection, error);
  if (status == MM_OK && memory_high > file_high)
    status = map(file_high, memory_high, protection, 0, -1, 0, loaded, error);
  return status;
}

int mm__program_load(struct mm__program *program, uint64_t address, uint64_t limit,
                     struct mm__loaded *loaded, struct mm_error *error) {
  uint64_t base = (address + program->align - 1) & -program->align;
  int status = MM_OK;
  if (base >= limit || program->high - program->low > limit - base)
    return mm__fail(error, MM_ERROR_LIMIT, "%s is too big for its slot", program->path);
  program->bias = base - program->low;
  for (uint32_t i = 0; status == MM_OK && i < program->elf.e_phnum; i++)
    if (program->headers[i].p_type == PT_LOAD && program->headers[i].p_memsz > 0)
      status = load_segment(program, &program->headers[i], loaded, error);
  return status;
}

int mm__stack_load(uint32_t slot, struct mm__loaded *loaded, struct mm_error *error) {
  uint64_t high = MM__SLOT_BASE(slot) + MM__STACK_HIGH_OFFSET;
  uint64_t mailbox = MM__SLOT_BASE(slot) + MM__MAILBOX_OFFSET;
  int status = map(high - MM__STACK_BYTES, high, PROT_READ | PROT_WRITE, MM__RANGE_STACK, -1, 0,
                   loaded, error);
  if (status != MM_OK) return status;
  return map(mailbox, mailbox + MM__MAILBOX_BYTES, PROT_READ | PROT_WRITE, MM__RANGE_MAILBOX, -1, 0,
             loaded, error);
}
