/* core/fault/deliver.c - runs a handler of the host on the stack it expects.
 *
 * Our handlers run on the alternate stack. A handler of the host that did not ask for that runs on
 * the stack of what was interrupted, with its signal frame there: were the frame left where the
 * kernel put it, the next signal's would overwrite it, because the kernel sees that the alternate
 * stack is not in use. So the frame moves, and the host's own restorer returns from it.
 * Source: arch/x86/kernel/signal_64.c (x64_setup_rt_frame), arch/x86/kernel/fpu/signal.c;
 * psABI x86-64 3.2.2 (red zone). */
#include "core/fault/fault.h"

#include <signal.h>

#define RED_ZONE       128ul
#define XSTATE_MAGIC   0x46505853u /* FP_XSTATE_MAGIC1, asm/sigcontext.h */
#define MAGIC_OFFSET   464u        /* of struct _fpx_sw_bytes in the legacy area */
#define LEGACY_BYTES   512u
#define ON_STACK(s, a) ((uint64_t)(a) - (uint64_t)(s).ss_sp < (s).ss_size)

/* The kernel's struct ucontext: glibc's is longer behind the mask. */
struct kernel_context {
  uint64_t flags, link;
  stack_t stack;
  mcontext_t machine;
  uint64_t mask;
};
_Static_assert(sizeof(mcontext_t) == 256 && sizeof(struct kernel_context) == 304,
               "struct ucontext of asm/ucontext.h");

struct signal_frame {
  uint64_t return_address;
  struct kernel_context context;
  siginfo_t info;
};

static uint64_t floating_point_bytes(const struct _libc_fpstate *registers) {
  const uint32_t *software = (const uint32_t *)((const uint8_t *)registers + MAGIC_OFFSET);
  return software[0] == XSTATE_MAGIC ? software[1] : LEGACY_BYTES;
}

static uint64_t move_registers(struct kernel_context *context, uint64_t low) {
  if (!context->machine.fpregs) return low;
  uint64_t bytes = floating_point_bytes(context->machine.fpregs);
  low = (low - bytes) & ~63ul;
  memcpy((void *)low, context->machine.fpregs, bytes);
  context->machine.fpregs = (void *)low;
  return low;
}

static _Noreturn void jump(const struct signal_frame *frame, uint64_t handler, int signal) {
  __asm__ volatile("movq %0, %%rsp\n\t"
                   "jmp *%1"
                   :
                   : "r"(frame), "r"(handler), "D"((long)signal), "S"(&frame->info),
                     "d"(&frame->context), "a"(0l)
                   : "memory");
  __builtin_unreachable();
}

static _Noreturn void move(const struct mm__action *host, int signal, const siginfo_t *info,
                           const ucontext_t *context) {
  struct signal_frame copy = {.return_address = host->restorer, .info = *info};
  memcpy(&copy.context, context, sizeof copy.context);
  uint64_t low = (uint64_t)context->uc_mcontext.gregs[REG_RSP] - RED_ZONE;
  low = move_registers(&copy.context, low) - sizeof copy;
  struct signal_frame *frame = (struct signal_frame *)((low & ~15ul) - 8);
  *frame = copy;
  jump(frame, host->handler, signal);
}

void mm__deliver(const struct mm__action *host, int signal, siginfo_t *info, ucontext_t *context) {
  const stack_t *alternate = &context->uc_stack;
  bool here = ON_STACK(*alternate, __builtin_frame_address(0));
  bool was = ON_STACK(*alternate, context->uc_mcontext.gregs[REG_RSP]);
  if (here && !was && !(host->flags & SA_ONSTACK)) move(host, signal, info, context);
  ((void (*)(int, siginfo_t *, void *))host->handler)(signal, info, context);
}
