/* core/fault/handler.c - one handler for all synchronous signals: FS tells whose fault it is. */
#include "core/fault/fault.h"
#include "core/gate/callback.h"
#include "core/gate/gate.h"
#include "core/guard/guard.h"
#include "core/guard/keys.h"
#include "core/guard/strict.h"
#include "core/mediation/mediation.h"

#include <signal.h>
#include <ucontext.h>

#ifndef SYS_USER_DISPATCH
#define SYS_USER_DISPATCH 2 /* si_code of SIGSYS: asm-generic/siginfo.h */
#endif

/* Bits of a page fault's error code: Intel SDM vol. 3, 4.7. */
#define FAULT_WRITE     2ul
#define FAULT_FETCH     16ul
#define TRAP_PAGE_FAULT 14
/* EFLAGS that code may leave set to its caller's harm: TF, DF, NT, AC. */
#define HARMFUL_FLAGS (0x100l | 0x400l | 0x4000l | 0x40000l)

static uint32_t access_of(int signal, const ucontext_t *context) {
  if (signal != SIGSEGV && signal != SIGBUS) return MM_ACCESS_NONE;
  if (context->uc_mcontext.gregs[REG_TRAPNO] != TRAP_PAGE_FAULT) return MM_ACCESS_NONE;
  uint64_t code = (uint64_t)context->uc_mcontext.gregs[REG_ERR];
  if (code & FAULT_FETCH) return MM_ACCESS_EXECUTE;
  return code & FAULT_WRITE ? MM_ACCESS_WRITE : MM_ACCESS_READ;
}

struct mm__frame *mm__fault_keep(uint32_t slot, const struct mm__outcome *outcome, uint64_t mask) {
  struct mm__frame *frame = mm__states[slot].frame;
  struct mm__outcome *kept = &frame->thread->outcome;
  uint32_t refused_count = kept->refused_count;
  uint32_t refused[8];
  memcpy(refused, kept->refused, sizeof refused);
  *kept = *outcome;
  kept->refused_count = refused_count;
  memcpy(kept->refused, refused, sizeof refused);
  kept->slot = slot;
  kept->export_index = frame->export_index;
  for (struct mm__frame *f = frame; f && !f->masked; f = f->outer) f->host_mask = mask;
  return frame;
}

void mm__fault_end(uint32_t slot, ucontext_t *context, const struct mm__outcome *outcome) {
  struct mm__thread_record *thread = (struct mm__thread_record *)mm__states[slot].owner;
  /* The gate's landing runs with everything asynchronous blocked; it puts the caller's mask back at
   * the end. A fault inside a trap interrupted our own handler: the mask that counts is that of
   * what the trap interrupted. */
  const ucontext_t *interrupted = thread->trap ? thread->trap : context;
  struct mm__frame *frame =
      mm__fault_keep(slot, outcome, *(const uint64_t *)&interrupted->uc_sigmask);
  *(uint64_t *)&context->uc_sigmask = mm__asynchronous_mask;
  thread->trap = 0;
  greg_t *registers = context->uc_mcontext.gregs;
  registers[REG_RIP] = (greg_t)mm__gate_fault;
  registers[REG_RSP] = registers[REG_RBX] = (greg_t)frame;
  registers[REG_EFL] &= ~HARMFUL_FLAGS;
}

/* A jump into nothing says little; who jumped is on the stack. */
static uint64_t culprit(const struct mm__state *state, const ucontext_t *context, uint32_t access) {
  uint64_t instruction = (uint64_t)context->uc_mcontext.gregs[REG_RIP];
  uint64_t stack = (uint64_t)context->uc_mcontext.gregs[REG_RSP];
  if (access != MM_ACCESS_EXECUTE || stack % 8 || state->dead >= MM__SHUT) return instruction;
  if (!mm__slot_map_covers(&state->map, stack, stack + 8, 1)) return instruction;
  uint64_t caller = *(const uint64_t *)stack;
  return mm__slot_map_covers(&state->map, caller - 1, caller, 4) ? caller - 1 : instruction;
}

static void end_with_signal(uint32_t slot, int signal, const siginfo_t *info, ucontext_t *context) {
  struct mm__state *state = &mm__states[slot];
  struct mm__outcome outcome = {.status = MM_ERROR_FAULT, .signal = signal};
  outcome.access = (int32_t)access_of(signal, context);
  outcome.address = info->si_code > 0 ? (uint64_t)info->si_addr : 0;
  const ucontext_t *trap = ((struct mm__thread_record *)state->frame->thread)->trap;
  outcome.instruction = trap ? (uint64_t)trap->uc_mcontext.gregs[REG_RIP]
                             : culprit(state, context, (uint32_t)outcome.access);
  const struct mm__facts *facts = mm__tables.records[slot].head.facts;
  if (outcome.access == MM_ACCESS_EXECUTE && mm__callback_is_stub(outcome.address)) {
    outcome.status = MM_ERROR_CALLBACK;
    outcome.text = mm__callback_freed;
  }
  if (state->refused) {
    outcome.status = MM_ERROR_MEMORY;
    outcome.text = mm__guard_refused;
  }
  outcome.overflow =
      outcome.address < facts->stack_low && outcome.address >= facts->stack_low - MM__STACK_BYTES;
  mm__fault_end(slot, context, &outcome);
}

/* Whether it was the guard that stood in the way of what the image may do: the access then goes on.
 * */
static bool opens(uint32_t slot, int signal, const siginfo_t *info, const ucontext_t *context) {
  static const uint32_t wanted[] = {
      [MM_ACCESS_READ] = 1, [MM_ACCESS_WRITE] = 2, [MM_ACCESS_EXECUTE] = 4};
  uint64_t address = (uint64_t)info->si_addr;
  uint32_t access = access_of(signal, context);
  if (signal != SIGSEGV || info->si_code != SEGV_ACCERR || !access) return false;
  if (!MM__IN_ARENA(address) || MM__SLOT_OF(address) != slot) return false;
  return mm__guard_fault(&mm__tables.records[slot], &mm__states[slot], address, wanted[access]);
}

static void end_server(int signal, const siginfo_t *info, const ucontext_t *context) {
  mm__fs_write(mm__tables.host_fs);
  mm__thread_anchor(mm__tables.host_fs)->selector = 0;
  mm__tables.serve.ended(0, signal, (uint64_t)context->uc_mcontext.gregs[REG_RIP],
                         info->si_code > 0 ? (uint64_t)info->si_addr : 0);
}

/* An execute fault exactly on the entry of an export becomes a call through the gate; anything else
 * is a stray. */
static bool redirect(uint64_t address, ucontext_t *context) {
  uint32_t slot = MM__SLOT_OF(address);
  const struct mm__record *record = &mm__tables.records[slot];
  if (!record->serial) return false;
  const struct mm__registry *registry = &record->head.registry;
  for (uint32_t i = 0; i < registry->export_count; i++) {
    if (registry->exports[i].address != address || record->entries[i].is_forbidden) continue;
    context->uc_mcontext.gregs[REG_RIP] = (greg_t)mm__stub_address(slot, i);
    return true;
  }
  return false;
}

static void host_fault(int signal, siginfo_t *info, ucontext_t *context, uint32_t level) {
  uint64_t address = (uint64_t)info->si_addr;
  if (access_of(signal, context) == MM_ACCESS_EXECUTE && mm__strict_wait(address)) return;
  if (info->si_code > 0 && (signal == SIGSEGV || signal == SIGBUS) && MM__IN_ARENA(address)) {
    uint32_t access = access_of(signal, context);
    uint64_t instruction = (uint64_t)context->uc_mcontext.gregs[REG_RIP];
    if (access == MM_ACCESS_EXECUTE && instruction == address && redirect(address, context)) return;
    mm__reject(address, instruction, access);
  }
  mm__forward(signal, info, context, level);
}

void mm__fault_handle(int signal, siginfo_t *info, void *context_, uint32_t level) {
  ucontext_t *context = context_;
  bool serving = mm__tables.serve.snapshot != 0;
  uint64_t fs = mm__fs_ask();
  bool inside = serving || (MM__IN_ARENA(fs) && MM__SLOT_OF(fs) != 0);
  /* An image's fault that a handler over ours got first, and handed on, is ours all the same. */
  if (!inside && MM__IS_CHAINED(context)) {
    mm__chained(signal, info, context, level);
    return;
  }
  if (inside && !serving)
    mm__keys_apply((struct mm__thread_record *)mm__states[MM__SLOT_OF(fs)].owner);
  if (signal == SIGSYS && info->si_code == SYS_USER_DISPATCH && inside) {
    uint32_t slot = serving ? mm__tables.serve.slot : MM__SLOT_OF(fs);
    struct mm__thread_record *thread = (struct mm__thread_record *)mm__states[slot].owner;
    thread->trap = context;
    mm__mediate(slot, context);
    thread->trap = 0;
    return;
  }
  if (serving)
    end_server(signal, info, context);
  else if (inside && mm__states[MM__SLOT_OF(fs)].frame) {
    if (!opens(MM__SLOT_OF(fs), signal, info, context))
      end_with_signal(MM__SLOT_OF(fs), signal, info, context);
  } else
    host_fault(signal, info, context, level);
}
