/* core/fault/report.c - faults and crossings in words. */
#include "base/error.h"
#include "base/format.h"
#include "core/fault/fault.h"
#include "core/mediation/mediation.h"

#include <signal.h>

static const char *const access_words[] = {"", "reading", "writing", "executing"};

void mm__outcome_text(const struct mm__outcome *outcome, char *text, size_t size) {
  const char *signal = mm__signal_name(outcome->signal);
  if (outcome->text)
    mm__format(text, size, "%s", outcome->text);
  else if (outcome->status == MM_ERROR_EXIT)
    mm__format(text, size, "exit(%d)", outcome->exit_status);
  else if (outcome->status == MM_ERROR_SERVER)
    mm__format(text, size, "%s", outcome->said);
  else if (outcome->status != MM_ERROR_FAULT)
    mm__format(text, size, "%s", mm_error_text(outcome->status));
  else if (outcome->overflow)
    mm__format(text, size, "stack overflow (%s %s 0x%lx)", signal,
               access_words[outcome->access & 3], outcome->address);
  else if (outcome->access == MM_ACCESS_EXECUTE && outcome->address >= MM__PAGE &&
           !MM__IN_ARENA(outcome->address))
    mm__format(text, size, "%s executing client code at 0x%lx", signal, outcome->address);
  else if (outcome->access)
    mm__format(text, size, "%s %s 0x%lx", signal, access_words[outcome->access & 3],
               outcome->address);
  else
    mm__format(text, size, "%s", signal);
}

/* The nearest export at or below an address: all the names there are without opening the file. */
static void name_place(const struct mm__record *record, uint64_t address, char *text, size_t size) {
  const struct mm__registry *registry = &record->head.registry;
  const struct mm__export *best = 0;
  for (uint32_t i = 0; i < registry->export_count; i++) {
    const struct mm__export *export = &registry->exports[i];
    if (export->address <= address && (!best || export->address > best->address)) best = export;
  }
  if (best && address - best->address < 0x10000)
    mm__format(text, size, " (%s+0x%lx)", registry->strings + best->name, address - best->address);
}

void mm__reject(uint64_t address, uint64_t instruction, uint32_t access) {
  const struct mm__record *record = &mm__tables.records[MM__SLOT_OF(address)];
  char place[192] = "";
  const char *path = MM__SLOT_OF(address) == 0 ? "the Matchmaker" : "an empty slot";
  if (record->serial) {
    path = record->path;
    name_place(record, address, place, sizeof place);
  }
  mm__say("rejected: client code at 0x%lx was %s 0x%lx%s in %s, not through the gate", instruction,
          access ? access_words[access & 3] : "accessing", address, place, path);
}

static const char *export_name(const struct mm__frame *frame) {
  const struct mm__registry *registry = &mm__tables.records[frame->slot].head.registry;
  if (frame->export_index >= registry->export_count) return "(on-map hook)";
  return registry->strings + registry->exports[frame->export_index].name;
}

void mm__trace_enter(const struct mm__frame *frame) {
  mm__say("gate: %s enters slot %u depth %u stack 0x%lx", export_name(frame), frame->slot,
          frame->thread->depth, frame->image_stack);
}

void mm__trace_leave(const struct mm__frame *frame) {
  mm__say("gate: %s leaves slot %u rax 0x%lx", export_name(frame), frame->slot, frame->rax);
}
