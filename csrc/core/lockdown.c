/* core/lockdown.c - a seccomp filter that refuses everybody but the Matchmaker what would change the
 * arena, its handlers, or how its threads are watched: seccomp(2).
 *
 * Who asks is told by the instruction pointer; a jump to one of our own system-call instructions is
 * not told from us. Paths and memory behind pointers cannot be seen by a filter: /proc/PID/mem is
 * kept from other processes, and from ourselves without CAP_DAC_OVERRIDE, by PR_SET_DUMPABLE. */
#include "core/lockdown.h"

#include "base/error.h"
#include "core/guard/guard.h"
#include "core/state.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/personality.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#define X32_BIT            0x40000000u /* of system-call numbers: asm/unistd.h */
#define WINDOW_LOW         ((uint32_t)(MM__ARENA_LOW >> 32))
#define WINDOW_HIGH        ((uint32_t)(MM__ARENA_HIGH >> 32))
#define SYS_map_shadow     453
#define SYS_seal           462
#define PERSONALITY_IS_ASK 0xffffffffu

_Static_assert((uint32_t)MM__ARENA_LOW == 0 && (uint32_t)MM__ARENA_HIGH == 0,
               "the upper halves of addresses decide");

enum test { ALWAYS, BITS, EQUAL };
enum action { REFUSE, ALLOW, RANGE, POINTER };

/* For a call with this number, if the test of one argument's lower half succeeds: refuse or allow;
 * or refuse when the range touches the arena, or when the pointer is not null. Else the next rule. */
struct rule {
  uint16_t number;
  uint8_t action;
  uint8_t first, second; /* arguments: address and length, or the pointer */
  uint8_t test, tested;
  uint32_t value;
};

static const struct rule rules[] = {
    {SYS_mprotect, RANGE, 0, 1, 0, 0, 0},
    {SYS_pkey_mprotect, RANGE, 0, 1, 0, 0, 0},
    {SYS_munmap, RANGE, 0, 1, 0, 0, 0},
    {SYS_mmap, RANGE, 0, 1, 0, 0, 0},
    {SYS_madvise, RANGE, 0, 1, 0, 0, 0},
    {SYS_mremap, RANGE, 0, 1, 0, 0, 0},
    {SYS_mremap, RANGE, 0, 2, 0, 0, 0},
    {SYS_mremap, RANGE, 4, 2, BITS, 3, MREMAP_FIXED | MREMAP_DONTUNMAP},
    {SYS_remap_file_pages, RANGE, 0, 1, 0, 0, 0},
    {SYS_map_shadow, RANGE, 0, 1, 0, 0, 0},
    {SYS_seal, RANGE, 0, 1, 0, 0, 0},
    {SYS_brk, RANGE, 0, 0, 0, 0, 0}, /* the break is an address; twice it is no less in the way */
    {SYS_shmat, POINTER, 1, 0, 0, 0, 0}, /* how long the segment is, is not said */
    {SYS_process_madvise, REFUSE, 0, 0, 0, 0, 0},
    {SYS_process_vm_writev, REFUSE, 0, 0, 0, 0, 0},
    {SYS_ptrace, REFUSE, 0, 0, 0, 0, 0},
    {SYS_pidfd_getfd, REFUSE, 0, 0, 0, 0, 0},
    {SYS_modify_ldt, REFUSE, 0, 0, 0, 0, 0},
    {SYS_userfaultfd, REFUSE, 0, 0, 0, 0, 0},
    {SYS_io_uring_setup, REFUSE, 0, 0, 0, 0, 0},
    {SYS_io_uring_enter, REFUSE, 0, 0, 0, 0, 0},
    {SYS_io_uring_register, REFUSE, 0, 0, 0, 0, 0},
    {SYS_io_setup, REFUSE, 0, 0, 0, 0, 0},
    {SYS_io_submit, REFUSE, 0, 0, 0, 0, 0},
    {SYS_vmsplice, REFUSE, 0, 0, 0, 0, 0},
    {SYS_seccomp, REFUSE, 0, 0, 0, 0, 0},
    {SYS_prctl, REFUSE, 0, 0, EQUAL, 0, PR_SET_SYSCALL_USER_DISPATCH},
    {SYS_prctl, REFUSE, 0, 0, EQUAL, 0, PR_SET_SECCOMP},
    {SYS_prctl, REFUSE, 0, 0, EQUAL, 0, PR_SET_DUMPABLE},
    {SYS_prctl, REFUSE, 0, 0, EQUAL, 0, PR_SET_PTRACER},
    {SYS_personality, ALLOW, 0, 0, EQUAL, 0, PERSONALITY_IS_ASK},
    {SYS_personality, REFUSE, 0, 0, BITS, 0, READ_IMPLIES_EXEC},
    {SYS_rt_sigaction, POINTER, 1, 0, EQUAL, 0, SIGSEGV},
    {SYS_rt_sigaction, POINTER, 1, 0, EQUAL, 0, SIGBUS},
    {SYS_rt_sigaction, POINTER, 1, 0, EQUAL, 0, SIGFPE},
    {SYS_rt_sigaction, POINTER, 1, 0, EQUAL, 0, SIGILL},
    {SYS_rt_sigaction, POINTER, 1, 0, EQUAL, 0, SIGTRAP},
    {SYS_rt_sigaction, POINTER, 1, 0, EQUAL, 0, SIGSYS},
    {SYS_sigaltstack, POINTER, 0, 0, 0, 0, 0},
};
#define RULES (sizeof rules / sizeof *rules)

struct program {
  uint16_t length;
  struct sock_filter code[16 + 16 * RULES];
};

static void add(struct program *program, uint16_t code, uint32_t value, uint8_t yes, uint8_t no) {
  program->code[program->length++] = (struct sock_filter){code, yes, no, value};
}

static void load(struct program *program, size_t offset) {
  add(program, BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset, 0, 0);
}
#define FIELD(name)      offsetof(struct seccomp_data, name)
#define LOWER(argument)  (FIELD(args) + 8ul * (argument))
#define HIGHER(argument) (LOWER(argument) + 4)

static void jump(struct program *program, uint16_t condition, uint32_t value, uint8_t yes,
                 uint8_t no) {
  add(program, BPF_JMP | condition | BPF_K, value, yes, no);
}

static void answer(struct program *program, bool allow) {
  add(program, BPF_RET | BPF_K, allow ? SECCOMP_RET_ALLOW : SECCOMP_RET_ERRNO | EPERM, 0, 0);
}

/* Refuses [address, address + length) if it touches the window. Coarse by 4 GiB below it, where
 * nothing is, to need no carry. A range from above it cannot wrap around: the kernel has refused. */
static void add_range(struct program *program, unsigned address, unsigned length) {
  load(program, HIGHER(address));
  jump(program, BPF_JGE, WINDOW_HIGH, 8, 0);
  jump(program, BPF_JGE, WINDOW_LOW, 6, 0);
  load(program, HIGHER(length));
  jump(program, BPF_JGE, WINDOW_LOW, 4, 0);
  add(program, BPF_MISC | BPF_TAX, 0, 0, 0);
  load(program, HIGHER(address));
  add(program, BPF_ALU | BPF_ADD | BPF_X, 0, 0, 0);
  jump(program, BPF_JGE, WINDOW_LOW - 1, 0, 1);
  answer(program, false);
}

static void add_pointer(struct program *program, unsigned argument) {
  load(program, HIGHER(argument));
  jump(program, BPF_JEQ, 0, 0, 2);
  load(program, LOWER(argument));
  jump(program, BPF_JEQ, 0, 1, 0);
  answer(program, false);
}

/* The number is loaded before each rule, and after it. */
static void add_rule(struct program *program, const struct rule *rule) {
  uint16_t other = program->length, fails = 0;
  jump(program, BPF_JEQ, rule->number, 0, 0);
  if (rule->test != ALWAYS) {
    load(program, LOWER(rule->tested));
    fails = program->length;
    jump(program, rule->test == BITS ? BPF_JSET : BPF_JEQ, rule->value, 0, 0);
  }
  if (rule->action == RANGE)
    add_range(program, rule->first, rule->second);
  else if (rule->action == POINTER)
    add_pointer(program, rule->first);
  else
    answer(program, rule->action == ALLOW);
  if (fails) program->code[fails].jf = (uint8_t)(program->length - fails - 1);
  load(program, FIELD(nr));
  program->code[other].jf = (uint8_t)(program->length - other - 1);
}

/* Little-endian: the lower half comes first. The pointer is that behind the instruction. What runs
 * elsewhere in the arena is an image whose calls are not trapped. */
static void add_origin(struct program *program) {
  load(program, FIELD(instruction_pointer) + 4);
  jump(program, BPF_JGE, WINDOW_LOW, 0, 7);
  jump(program, BPF_JGE, WINDOW_HIGH, 6, 0);
  jump(program, BPF_JEQ, (uint32_t)((uint64_t)mm__text_start >> 32), 0, 4);
  load(program, FIELD(instruction_pointer));
  jump(program, BPF_JGT, (uint32_t)(uint64_t)mm__text_start, 0, 2);
  jump(program, BPF_JGT, (uint32_t)(uint64_t)mm__text_end, 1, 0);
  answer(program, true);
  answer(program, false);
}

static void build(struct program *program) {
  program->length = 0;
  load(program, FIELD(arch));
  jump(program, BPF_JEQ, AUDIT_ARCH_X86_64, 1, 0);
  answer(program, false);
  add_origin(program);
  load(program, FIELD(nr));
  jump(program, BPF_JGE, X32_BIT, 0, 1);
  answer(program, false);
  for (unsigned i = 0; i < RULES; i++) add_rule(program, &rules[i]);
  answer(program, true);
}

static int install(struct mm_error *error) {
  struct program program;
  build(&program);
  struct sock_fprog filter = {program.length, program.code};
  long result = mm__call(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  /* Without SPEC_ALLOW, kernels before 5.16 would slow the whole process down. */
  if (!mm__failed(result))
    result = mm__call(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
                      SECCOMP_FILTER_FLAG_TSYNC | SECCOMP_FILTER_FLAG_SPEC_ALLOW, &filter);
  if (!mm__failed(result) && result > 0)
    return mm__fail(error, MM_ERROR_SYSTEM,
                    "cannot lock down: thread %ld has a seccomp filter of its own", result);
  if (mm__failed(result))
    return mm__fail_system(error, MM_ERROR_SYSTEM, (int)-result,
                           "cannot install the filter of system calls");
  mm__call(SYS_prctl, PR_SET_DUMPABLE, 0, 0, 0, 0);
  return MM_OK;
}

int mm__lockdown(struct mm_error *error) {
  struct mm__thread_record *thread;
  uint32_t needed = SECCOMP_RET_ERRNO;
  int status = mm__thread_find(&thread, error);
  if (status != MM_OK) return status;
  if (mm__failed(mm__call(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &needed)))
    return mm__fail(error, MM_ERROR_UNSUPPORTED, "this kernel has no filters of system calls");
  mm__still_lock(&mm__core_lock);
  if (!mm__tables.locked_down) {
    status = mm__tables_open(error);
    if (status == MM_OK) {
      status = install(error);
      mm__tables.locked_down = status == MM_OK;
      mm__tables_close();
    }
  }
  mm__still_unlock(&mm__core_lock);
  return status;
}
