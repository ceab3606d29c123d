/* launch/snapshot.c - collects a stopped server's memory, modules and exports, and has the image
 * written. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "base/error.h"
#include "image/cpu.h"
#include "image/symbols.h"
#include "launch/launch.h"

#define RED_ZONE_BYTES 128u /* psABI x86-64 3.2.2: below the stack pointer, still in use */

static const char *server_name, *output_path;
static char **named_exports;
static bool has_complained; /* a snapshot failed, and why has been said */

void mm__snapshot_prepare(const char *server, const char *output, char **named) {
  server_name = server;
  output_path = output;
  named_exports = named;
}

/* The memory of a snapshot, cut where the kernel knows a file from memory, and where the stack is
 * used. */
struct regions {
  struct mm__region *list;
  uint32_t count, capacity;
};

static bool add_region(struct regions *regions, struct mm__region region) {
  struct mm__region *last = regions->count ? &regions->list[regions->count - 1] : NULL;
  if (region.low >= region.high) return true;
  if (last && last->high == region.low && last->protection == region.protection &&
      last->flags == region.flags) {
    last->high = region.high;
    return true;
  }
  if (regions->count == regions->capacity) {
    uint32_t capacity = regions->capacity ? 2 * regions->capacity : 64;
    struct mm__region *larger = realloc(regions->list, capacity * sizeof *larger);
    if (!larger) return false;
    regions->list = larger;
    regions->capacity = capacity;
  }
  regions->list[regions->count++] = region;
  return true;
}

/* The part of [low, high) whose contents matter: not the mailbox, and not the stack that is not in
 * use. */
static bool add_part(struct regions *regions, const struct mm__facts *facts, uint64_t low,
                     uint64_t high, uint32_t protection, uint32_t flags) {
  uint64_t used = (facts->stack_pointer - RED_ZONE_BYTES) & -(uint64_t)MM__PAGE;
  const uint64_t zero[2][2] = {{facts->stack_low, used}, {facts->mailbox_low, facts->mailbox_high}};
  for (uint32_t i = 0; i < 2; i++) {
    uint64_t from = zero[i][0], to = zero[i][1];
    if (from >= high || to <= low) continue;
    from = from > low ? from : low;
    to = to < high ? to : high;
    if (!add_region(regions, (struct mm__region){low, from, protection, flags}) ||
        !add_region(regions, (struct mm__region){from, to, protection, flags | MM__REGION_ZERO}))
      return false;
    low = to;
  }
  return add_region(regions, (struct mm__region){low, high, protection, flags});
}

static int collect_regions(struct regions *regions, const struct mm__snapshot *snapshot,
                           const struct mm__process *process, const struct mm__facts *facts,
                           struct mm_error *error) {
  uint32_t next = 0;
  for (uint32_t i = 0; i < snapshot->range_count; i++) {
    const struct mm__range *range = &snapshot->ranges[i];
    while (next < process->mapping_count && process->mappings[next].high <= range->low) next++;
    for (uint32_t j = next; j < process->mapping_count && process->mappings[j].low < range->high;
         j++) {
      const struct mm__mapping *mapping = &process->mappings[j];
      uint64_t low = mapping->low > range->low ? mapping->low : range->low;
      uint64_t high = mapping->high < range->high ? mapping->high : range->high;
      if (!add_part(regions, facts, low, high, range->protection,
                    mapping->inode != 0 ? MM__REGION_FILE : 0))
        return mm__fail(error, MM_ERROR_MEMORY, "out of memory for the list of regions");
    }
  }
  return MM_OK;
}

static int fill_facts(struct mm__facts *facts, const struct mm__snapshot *snapshot,
                      struct mm_error *error) {
  uint64_t base = MM__SLOT_BASE(snapshot->slot);
  memset(facts, 0, sizeof *facts);
  facts->slot = snapshot->slot;
  facts->tls_base = snapshot->tls_base;
  facts->stack_high = base + MM__STACK_HIGH_OFFSET;
  facts->stack_low = facts->stack_high - MM__STACK_BYTES;
  facts->stack_pointer = (snapshot->stack_pointer - RED_ZONE_BYTES) & ~15ul;
  if (facts->stack_pointer <= facts->stack_low || facts->stack_pointer > facts->stack_high)
    return mm__fail(error, MM_ERROR_ARGUMENT,
                    "mm_snapshot was called on another stack than the program's own");
  if (facts->tls_base < base || facts->tls_base >= base + MM__SLOT_BYTES)
    return mm__fail(error, MM_ERROR_ARGUMENT, "the server has no thread-local storage of its own");
  facts->heap_low = snapshot->heap_low;
  facts->heap_high = snapshot->heap_high;
  facts->heap_limit = snapshot->heap_limit;
  facts->mailbox_low = base + MM__MAILBOX_OFFSET;
  facts->mailbox_high = facts->mailbox_low + MM__MAILBOX_BYTES;
  facts->mxcsr = snapshot->mxcsr;
  facts->x87_control = snapshot->x87_control;
  if (snapshot->hook_count > MM__HOOK_LIMIT)
    return mm__fail(error, MM_ERROR_LIMIT,
                    "%u functions are registered with mm_on_map; %u are allowed",
                    snapshot->hook_count, MM__HOOK_LIMIT);
  if (snapshot->hook_count != 0 &&
      !mm__server_readable(snapshot, (uint64_t)snapshot->hooks,
                           snapshot->hook_count * sizeof *snapshot->hooks))
    return mm__fail(error, MM_ERROR_ARGUMENT, "the list of hooks does not lie in memory");
  facts->hook_count = snapshot->hook_count;
  if (snapshot->hook_count != 0)
    memcpy(facts->hooks, snapshot->hooks, snapshot->hook_count * sizeof *snapshot->hooks);
  mm__cpu_features(facts->cpu);
  facts->created_seconds = (uint64_t)time(NULL);
  snprintf(facts->server, sizeof facts->server, "%s", server_name);
  return MM_OK;
}

/* What an image cannot hold, one line for each. Returns an errno. */
static int complain(const struct mm__snapshot *snapshot) {
  int number = 0;
  if (snapshot->refused_threads != 0) {
    mm__say("%s tried to start %lu thread%s; an image has one thread", server_name,
            snapshot->refused_threads, snapshot->refused_threads == 1 ? "" : "s");
    number = EAGAIN;
  }
  if (mm__descriptors_complain() != 0) number = EBUSY;
  return number;
}

static int write_image(const struct mm__snapshot *snapshot, const char *path,
                       struct mm_error *error) {
  struct mm__process process = {0};
  struct mm__collected collected = {0};
  struct regions regions = {0};
  struct mm__source source = {0};
  int status = fill_facts(&source.facts, snapshot, error);
  if (status != MM_OK || (status = mm__process_read(&process, snapshot->slot, error)) != MM_OK ||
      (status = mm__registrations_read(snapshot, &process, named_exports, &collected, error)) !=
          MM_OK ||
      (status = collect_regions(&regions, snapshot, &process, &source.facts, error)) != MM_OK)
    goto done;
  source.facts.needs = collected.need_bits;
  source.registry = collected.registry;
  source.registry_bytes = collected.registry_bytes;
  source.modules = process.modules;
  source.module_count = process.module_count;
  source.needs = collected.needs;
  source.regions = regions.list;
  source.region_count = regions.count;
  status = mm__image_file_write(path, &source, error);
done:
  free(regions.list);
  mm__collected_free(&collected);
  mm__process_free(&process);
  return status;
}

static int errno_of(const struct mm_error *error) {
  if (error->system_error != 0) return error->system_error;
  return error->status == MM_ERROR_MEMORY ? ENOMEM : EINVAL;
}

int mm__snapshot_taken(const struct mm__snapshot *snapshot) {
  struct mm_error error;
  const char *path = output_path;
  int number = complain(snapshot);
  has_complained = true;
  if (number != 0) return number;
  if (snapshot->path) {
    path = mm__server_string(snapshot, snapshot->path);
    if (!path || path[0] == 0) {
      mm__say("mm_snapshot got a path that is not a string");
      return EFAULT;
    }
  }
  if (write_image(snapshot, path, &error) != MM_OK) {
    mm__say_error(&error);
    return errno_of(&error);
  }
  _exit(0);
}

/* "symbol+0x12 in libc.so.6", or just the address. */
static void describe(uint64_t address, char *text, size_t size) {
  struct mm__process process = {0};
  struct mm__symbols symbols = {0};
  uint64_t offset = 0;
  snprintf(text, size, "0x%lx", address);
  if (!MM__IN_ARENA(address) || mm__process_read(&process, MM__SLOT_OF(address), NULL) != MM_OK)
    return;
  for (uint32_t i = 0; i < process.module_count; i++) {
    const struct mm__source_module *module = &process.modules[i];
    if (address < module->low || address >= module->high) continue;
    const char *slash = strrchr(module->path, '/');
    const char *file = slash ? slash + 1 : module->path;
    mm__symbols_add_module(&symbols, module, NULL);
    const char *name = mm__symbols_find(&symbols, address, &offset);
    if (name)
      snprintf(text, size, "%s+0x%lx in %s", name, offset, file);
    else
      snprintf(text, size, "0x%lx in %s", address - module->bias, file);
  }
  mm__symbols_free(&symbols);
  mm__process_free(&process);
}

void mm__server_ended(int exit_status, int signal, uint64_t instruction, uint64_t address) {
  char place[512];
  if (signal == 0) {
    if (has_complained) _exit(1);
    mm__say("%s exited with status %d before its snapshot", server_name, exit_status);
    _exit(1);
  }
  describe(instruction, place, sizeof place);
  mm__say("%s crashed before its snapshot: %s at %s (address 0x%lx)", server_name,
          mm__signal_name(signal), place, address);
  _exit(1);
}
