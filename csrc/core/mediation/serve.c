/* core/mediation/serve.c - a server under the launcher: how it starts, and how it asks for its
 * snapshot. */
#include "base/error.h"
#include "core/fault/fault.h"
#include "core/gate/gate.h"
#include "core/mediation/mediation.h"

#include <errno.h>
#include <matchmaker/server.h>
#include <sys/mman.h>

static struct mm__range server_ranges[MM__RANGE_LIMIT];

long mm__serve_present(struct mm__trap *trap) {
  (void)trap;
  return 0;
}

long mm__serve_snapshot(struct mm__trap *trap) {
  uint64_t low = (uint64_t)trap->arguments[0];
  struct mm__snapshot_request request;
  if (!mm__slot_map_covers(&trap->state->map, low, low + sizeof request, PROT_READ)) return -EFAULT;
  memcpy(&request, (const void *)low, sizeof request);
  if (request.size_bytes != sizeof request || request.hook_count > MM__HOOK_LIMIT) return -EINVAL;
  const struct _libc_fpstate *registers = trap->context->uc_mcontext.fpregs;
  struct mm__snapshot snapshot = {
      .slot = trap->slot,
      .range_count = trap->state->map.count,
      .ranges = trap->state->map.ranges,
      .tls_base = mm__fs_ask(),
      .stack_pointer = (uint64_t)trap->context->uc_mcontext.gregs[REG_RSP],
      .heap_low = mm__tables.serve.heap_low,
      .heap_high = trap->state->heap_high,
      .heap_limit = MM__SLOT_BASE(trap->slot) + MM__HEAP_LIMIT_OFFSET,
      .refused_threads = trap->state->refused_threads,
      .mxcsr = registers->mxcsr & ~0x3fu, /* control bits only: SDM vol. 1, 10.2.3 */
      .x87_control = registers->cwd,
      .path = request.path,
      .registrations = request.registrations,
      .hooks = request.hooks,
      .hook_count = (uint32_t)request.hook_count,
  };
  uint64_t fs = snapshot.tls_base;
  trap->thread->anchor->selector = 0;
  mm__fs_write(mm__tables.host_fs);
  int failure = mm__tables.serve.snapshot(&snapshot);
  mm__fs_write(fs);
  trap->thread->anchor->selector = 1;
  return -failure;
}

/* Set up under mm__core_lock by the table's `serve`. */
int mm__serve_start(const struct mm__serve *serve, struct mm_error *error);
int mm__serve_start(const struct mm__serve *serve, struct mm_error *error) {
  if (serve->slot == 0 || serve->slot >= MM__SLOT_COUNT || serve->range_count > MM__RANGE_LIMIT / 2)
    return mm__fail(error, MM_ERROR_ARGUMENT, "slot %u cannot be served", serve->slot);
  int status = mm__tables_open(error);
  if (status != MM_OK) return status;
  mm__tables.serve = *serve;
  mm__signals_serve();
  mm__tables.host_fs = mm__fs_ask();
  mm__tables_close();
  /* Armed anew, with an alternate stack on which the launcher can write an image. */
  struct mm__thread_record *thread;
  status = mm__thread_find(&thread, error);
  if (status != MM_OK) return status;
  mm__thread_disarm(thread);
  status = mm__thread_find(&thread, error);
  if (status != MM_OK) return status;
  struct mm__state *state = &mm__states[serve->slot];
  state->map.ranges = server_ranges;
  state->map.capacity = MM__RANGE_LIMIT;
  for (uint32_t i = 0; i < serve->range_count; i++)
    if (mm__slot_map_insert(&state->map, serve->ranges[i]) != MM_OK)
      return mm__fail(error, MM_ERROR_LIMIT, "too many ranges");
  state->heap_high = serve->heap_low;
  state->owner = &thread->seen;
  thread->anchor->selector = 1;
  mm__fs_write(0);
  mm__gate_serve(serve->entry, serve->stack_pointer);
}
