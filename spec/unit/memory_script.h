/* unit/memory_script.h - memory calls as a list of numbers: run inside an image by fixture memory_script, and natively
 * by memory_test, on pages counted from the base of an area. What has to be equal is summed up. */
#ifndef SPEC_UNIT_MEMORY_SCRIPT_H
#define SPEC_UNIT_MEMORY_SCRIPT_H

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define SCRIPT_PAGE  4096ul
#define SCRIPT_PAGES 64u /* of the area */
#define SCRIPT_OLD   48u /* of these, that were mapped at the start */
#define SCRIPT_STEPS 60u
#define SCRIPT_BRK   0x40000ul

enum script_kind {
  SCRIPT_MAP,       /* MAP_FIXED */
  SCRIPT_MAP_FRESH, /* MAP_FIXED_NOREPLACE */
  SCRIPT_UNMAP,
  SCRIPT_PROTECT,
  SCRIPT_DISCARD,
  SCRIPT_FILL,
  SCRIPT_MOVE, /* mremap to another page of the area */
  SCRIPT_SHRINK,
  SCRIPT_BRK_TO,
  SCRIPT_KINDS
};

struct script_step {
  uint8_t kind, page, pages, other; /* other: protection, or a page, or a byte */
};

/* What the area is, by what was asked for: so that only memory that can be touched is touched. 0: nothing. */
struct script_area {
  uint8_t *base, *heap;
  uint8_t protection[SCRIPT_PAGES];       /* 8: mapped */
  uint32_t origin[SCRIPT_PAGES], origins; /* pages with the same one are one mapping */
  uint64_t heap_bytes, sum;
};

static void script_add(struct script_area *area, uint64_t value) {
  area->sum = (area->sum ^ value) * 0x100000001b3u;
}

/* 0 or the errno: the same, except that which of two errors comes first is nobody's promise. */
static void script_result(struct script_area *area, int failed) { script_add(area, failed != 0); }

static uint8_t *script_at(const struct script_area *area, unsigned page) {
  return area->base + page * SCRIPT_PAGE;
}

static int script_mapped(const struct script_area *area, unsigned page, unsigned pages) {
  for (unsigned i = page; i < page + pages; i++)
    if (!area->protection[i]) return 0;
  return 1;
}

static int script_vacant(const struct script_area *area, unsigned page, unsigned pages) {
  for (unsigned i = page; i < page + pages; i++)
    if (area->protection[i]) return 0;
  return 1;
}

/* mremap(2) wants one mapping; what merges into one is not promised, so only what was made at once is moved. */
static int script_one(const struct script_area *area, unsigned page, unsigned pages) {
  for (unsigned i = page; i < page + pages; i++)
    if (!area->protection[i] || area->origin[i] != area->origin[page]) return 0;
  return page >= SCRIPT_OLD || page + pages <= SCRIPT_OLD;
}

static void script_set(struct script_area *area, unsigned page, unsigned pages, uint8_t value) {
  area->origins++;
  for (unsigned i = page; i < page + pages; i++) area->origin[i] = area->origins;
  memset(area->protection + page, value, pages);
}

static void script_map(struct script_area *area, const struct script_step *step, int how) {
  int protection = step->other & 3, fresh = how == MAP_FIXED_NOREPLACE;
  void *got = mmap(script_at(area, step->page), step->pages * SCRIPT_PAGE, protection,
                   MAP_PRIVATE | MAP_ANONYMOUS | how, -1, 0);
  script_result(area, got == MAP_FAILED);
  if (fresh) script_add(area, got == MAP_FAILED && errno == EEXIST);
  if (got != MAP_FAILED) script_set(area, step->page, step->pages, (uint8_t)(8 | protection));
}

/* To where the snapshot had nothing: over its own memory an image cannot move. */
static void script_move(struct script_area *area, const struct script_step *step) {
  unsigned to = SCRIPT_OLD + step->other % (SCRIPT_PAGES - SCRIPT_OLD), pages = step->pages;
  if (!script_one(area, step->page, pages) || to + pages > SCRIPT_PAGES) return;
  if (to < step->page + pages && step->page < to + pages) return;
  uint8_t protection = area->protection[step->page];
  void *got = mremap(script_at(area, step->page), pages * SCRIPT_PAGE, pages * SCRIPT_PAGE,
                     MREMAP_MAYMOVE | MREMAP_FIXED, script_at(area, to));
  script_result(area, got == MAP_FAILED);
  if (got == MAP_FAILED) return;
  script_set(area, step->page, pages, 0);
  script_set(area, to, pages, protection);
}

static void script_shrink(struct script_area *area, const struct script_step *step) {
  if (step->pages < 2 || !script_one(area, step->page, step->pages)) return;
  void *got = mremap(script_at(area, step->page), step->pages * SCRIPT_PAGE, SCRIPT_PAGE, 0);
  script_result(area, got == MAP_FAILED);
  if (got != MAP_FAILED) script_set(area, step->page + 1, step->pages - 1u, 0);
}

static void script_brk(struct script_area *area, const struct script_step *step) {
  uint64_t wanted = step->page * (SCRIPT_BRK / SCRIPT_PAGES);
  int failed = brk(area->heap + wanted);
  script_result(area, failed);
  if (failed) return;
  for (uint64_t i = area->heap_bytes; i < wanted; i++) script_add(area, area->heap[i]);
  if (wanted) area->heap[wanted - 1] = (uint8_t)(step->other | 1);
  area->heap_bytes = wanted;
}

static void script_fill(struct script_area *area, const struct script_step *step) {
  for (unsigned i = step->page; i < step->page + step->pages; i++)
    if (area->protection[i] == (8 | PROT_READ | PROT_WRITE))
      memset(script_at(area, i), step->other, SCRIPT_PAGE / 2);
}

static void script_do(struct script_area *area, const struct script_step *step) {
  uint8_t *low = script_at(area, step->page);
  uint64_t bytes = step->pages * SCRIPT_PAGE;
  int mapped = script_mapped(area, step->page, step->pages), failed;
  switch (step->kind) {
  case SCRIPT_MAP:
    script_map(area, step, MAP_FIXED);
    break;
  case SCRIPT_MAP_FRESH:
    script_map(area, step, MAP_FIXED_NOREPLACE);
    break;
  case SCRIPT_UNMAP:
    script_result(area, munmap(low, bytes));
    script_set(area, step->page, step->pages, 0);
    break;
  case SCRIPT_PROTECT:
    /* Over a gap the kernel changes what comes before it, and fails: nobody relies on it. */
    if (!mapped && !script_vacant(area, step->page, step->pages)) break;
    failed = mprotect(low, bytes, step->other & 3);
    script_result(area, failed);
    if (!failed) script_set(area, step->page, step->pages, (uint8_t)(8 | (step->other & 3)));
    break;
  case SCRIPT_DISCARD:
    if (mapped || script_vacant(area, step->page, step->pages))
      script_result(area, madvise(low, bytes, MADV_DONTNEED));
    break;
  case SCRIPT_FILL:
    script_fill(area, step);
    break;
  case SCRIPT_MOVE:
    script_move(area, step);
    break;
  case SCRIPT_SHRINK:
    script_shrink(area, step);
    break;
  case SCRIPT_BRK_TO:
    script_brk(area, step);
    break;
  default:
    break;
  }
}

/* Pages that can be read are summed up after every step, so that the first difference shows. */
static void script_look(struct script_area *area) {
  for (unsigned i = 0; i < SCRIPT_PAGES; i++) {
    script_add(area, area->protection[i]);
    if (!(area->protection[i] & PROT_READ)) continue;
    const uint64_t *words = (const uint64_t *)script_at(area, i);
    for (unsigned j = 0; j < SCRIPT_PAGE / 8; j += 64) script_add(area, words[j]);
  }
}

/* The sum after `count` of the steps. `base` is an area of SCRIPT_PAGES pages, filled by script_begin. */
static uint64_t script_run(struct script_area *area, const struct script_step *steps,
                           unsigned count) {
  for (unsigned i = 0; i < count; i++) {
    struct script_step step = steps[i];
    step.kind %= SCRIPT_KINDS;
    step.page %= SCRIPT_PAGES;
    step.pages = (uint8_t)(1 + step.pages % 12);
    if (step.page + step.pages > SCRIPT_PAGES) step.pages = (uint8_t)(SCRIPT_PAGES - step.page);
    script_do(area, &step);
    script_look(area);
  }
  return area->sum;
}

/* The area at the start: of the snapshot, in the image; some of it read-only, the end not mapped. 0 when it failed. */
static int script_begin(struct script_area *area) {
  uint64_t bytes = SCRIPT_PAGES * SCRIPT_PAGE, mapped = SCRIPT_OLD * SCRIPT_PAGE;
  area->base = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (area->base == MAP_FAILED) return 0;
  for (uint64_t i = 0; i < mapped; i += 8) *(uint64_t *)(area->base + i) = i * 7 + 1;
  script_set(area, 0, 20, 8 | PROT_READ | PROT_WRITE);
  script_set(area, 20, 8, 8 | PROT_READ);
  script_set(area, 28, SCRIPT_OLD - 28, 8 | PROT_READ | PROT_WRITE);
  return munmap(area->base + mapped, bytes - mapped) == 0 &&
         mprotect(area->base + 20 * SCRIPT_PAGE, 8 * SCRIPT_PAGE, PROT_READ) == 0;
}

/* A heap of the script's own: malloc takes no part in it from here on. */
static int script_begin_heap(struct script_area *area) {
  area->heap = (uint8_t *)(((uint64_t)sbrk(0) + SCRIPT_PAGE - 1) & ~(SCRIPT_PAGE - 1));
  if (brk(area->heap + SCRIPT_BRK / 2)) return 0;
  memset(area->heap, 0x5a, SCRIPT_BRK / 2);
  area->heap_bytes = SCRIPT_BRK / 2;
  return 1;
}

#endif
