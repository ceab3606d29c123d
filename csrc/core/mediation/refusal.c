/* core/mediation/refusal.c - what an image asked for and did not get. */
#include "core/mediation/mediation.h"
#include "core/mediation/outside.h"

#include <string.h>

/* Of the call that runs, for its error. */
static void name_in_outcome(struct mm__outcome *outcome, uint32_t number) {
  uint32_t most = sizeof outcome->refused / sizeof *outcome->refused;
  for (uint32_t i = 0; i < outcome->refused_count && i < most; i++)
    if (outcome->refused[i] == number) return;
  if (outcome->refused_count < most) outcome->refused[outcome->refused_count++] = number;
}

/* As much of it as fits, with nothing that a terminal obeys. */
static void copy_path(char *to, size_t size, const char *path) {
  size_t i = 0;
  for (; path && path[i] && i + 1 < size; i++)
    to[i] = (unsigned char)path[i] < 0x20 || path[i] == 0x7f ? '?' : path[i];
  to[i] = 0;
}

static void count(struct mm__outside *outside, uint32_t number, const char *path) {
  struct mm__refusal wanted = {.number = number, .count = 1};
  copy_path(wanted.path, sizeof wanted.path, path);
  for (uint32_t i = 0; i < outside->refusal_count; i++) {
    struct mm__refusal *known = &outside->refusals[i];
    if (known->number != number || strcmp(known->path, wanted.path) != 0) continue;
    known->count++;
    return;
  }
  if (outside->refusal_count < MM__REFUSAL_LIMIT)
    outside->refusals[outside->refusal_count++] = wanted;
}

long mm__refuse(struct mm__trap *trap, const char *path, long answer) {
  name_in_outcome(&trap->thread->seen.outcome, (uint32_t)trap->number);
  count(mm__outside_of(trap->record), (uint32_t)trap->number, path);
  return answer;
}
