/* core/gate/stub_ring.c - addresses for callbacks, 2,048 to a chunk of 64 KiB. All chunks are the
 * same shared memory, mapped again and again. */
#include "core/gate/stub_ring.h"

#include "base/error.h"
#include "core/gate/callback.h"

#include <sys/mman.h>

#define CHUNK_SHIFT 11
#define CHUNK       (1u << CHUNK_SHIFT)
#define CHUNK_BYTES ((uint64_t)CHUNK << MM__STUB_SHIFT)
#define CHUNKS      (MM__CALLBACK_INDEXES >> CHUNK_SHIFT)
#define LIVE_LIMIT  65536u /* each may hold a chunk, and a process has 65,530 mappings */
#define STUBS       (MM__ARENA_LOW + MM__CALLBACKS_OFFSET)
#define RECORDS     (MM__ARENA_LOW + MM__CALLBACK_RECORDS_OFFSET)

static uint32_t live; /* callbacks, of all images */
static uint32_t next; /* the index to be given; at the start of a chunk: a new one is taken */
static uint32_t in_chunk[CHUNKS]; /* live ones, and one more while it is being given from */
static uint64_t model;            /* the first mapping of the stubs: 0, or its address */

static void unmap_chunk(uint32_t chunk) {
  mm__call(SYS_munmap, STUBS + chunk * CHUNK_BYTES, CHUNK_BYTES);
  mm__call(SYS_munmap, RECORDS + chunk * CHUNK_BYTES, CHUNK_BYTES);
}

static void release_chunk(uint32_t chunk) {
  if (--in_chunk[chunk] == 0) unmap_chunk(chunk);
}

/* The model lies where no chunk is: behind the last. */
static long make_model(void) {
  long place = mm__call(SYS_mmap, STUBS + CHUNKS * CHUNK_BYTES, CHUNK_BYTES, PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
  if (mm__failed(place)) return place;
  for (uint64_t at = 0; at < CHUNK_BYTES; at += MM__PAGE)
    memcpy((void *)(place + at), mm__callback_page, MM__PAGE);
  long result = mm__call(SYS_mprotect, place, CHUNK_BYTES, PROT_READ | PROT_EXEC);
  if (mm__failed(result))
    mm__call(SYS_munmap, place, CHUNK_BYTES);
  else
    model = (uint64_t)place;
  return result;
}

/* An old size of 0 makes mremap(2) map shared pages again. */
static long map_chunk(uint32_t chunk) {
  long result = model ? 0 : make_model();
  if (!mm__failed(result))
    result = mm__call(SYS_mmap, RECORDS + chunk * CHUNK_BYTES, CHUNK_BYTES, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
  if (mm__failed(result)) return result;
  result = mm__call(SYS_mremap, model, 0, CHUNK_BYTES, MREMAP_MAYMOVE | MREMAP_FIXED,
                    STUBS + chunk * CHUNK_BYTES);
  if (mm__failed(result)) unmap_chunk(chunk);
  return result;
}

/* A chunk of which nothing is in use, from `next` on. */
static int take_chunk(struct mm_error *error) {
  uint32_t chunk = next >> CHUNK_SHIFT;
  while (in_chunk[chunk]) chunk = (chunk + 1) % CHUNKS;
  long result = map_chunk(chunk);
  if (mm__failed(result))
    return mm__fail_system(error, MM_ERROR_MEMORY, (int)-result, "cannot map stubs for callbacks");
  in_chunk[chunk] = 1;
  next = chunk << CHUNK_SHIFT;
  return MM_OK;
}

static int take(uint32_t *index, struct mm_error *error) {
  if (live >= LIVE_LIMIT)
    return mm__fail(error, MM_ERROR_LIMIT, "more than %u callbacks at once", LIVE_LIMIT);
  if (next % CHUNK == 0) {
    int status = take_chunk(error);
    if (status != MM_OK) return status;
  }
  *index = next++;
  live++;
  in_chunk[*index >> CHUNK_SHIFT]++;
  if (next % CHUNK == 0) release_chunk(*index >> CHUNK_SHIFT);
  next %= MM__CALLBACK_INDEXES;
  return MM_OK;
}

int mm__callback_make(uint32_t slot, uint64_t serial, const struct mm__callback_target *target,
                      void **pointer, struct mm_error *error) {
  uint32_t index = 0;
  if (!mm__record_of(slot, serial))
    return mm__fail(error, MM_ERROR_UNMAPPED, "the image is not mapped any more");
  mm__still_lock(&mm__core_lock);
  int status = take(&index, error);
  if (status == MM_OK)
    mm__callbacks[index] = (struct mm__callback){.target = *target, .serial = serial};
  mm__still_unlock(&mm__core_lock);
  if (status == MM_OK) *pointer = (void *)(STUBS + ((uint64_t)index << MM__STUB_SHIFT));
  return status;
}

static void forget(uint32_t index) {
  memset(&mm__callbacks[index], 0, sizeof *mm__callbacks);
  live--;
  release_chunk(index >> CHUNK_SHIFT);
}

bool mm__callback_free(void *pointer, uint64_t serial) {
  struct mm__callback *callback = mm__callback_at((uint64_t)pointer);
  uint32_t index = (uint32_t)(callback - mm__callbacks);
  bool idle = true;
  mm__still_lock(&mm__core_lock);
  /* It may be that of a Matchmaker that is gone. */
  if (in_chunk[index >> CHUNK_SHIFT] && callback->serial == serial) {
    __atomic_store_n(&callback->is_freed, 1, __ATOMIC_SEQ_CST);
    idle = !__atomic_load_n(&callback->running, __ATOMIC_SEQ_CST);
    if (idle) forget(index);
  }
  mm__still_unlock(&mm__core_lock);
  return idle;
}

void mm__callbacks_stop(void) {
  mm__call(SYS_munmap, STUBS, CHUNKS * CHUNK_BYTES + CHUNK_BYTES);
  mm__call(SYS_munmap, RECORDS, CHUNKS * CHUNK_BYTES);
  memset(in_chunk, 0, sizeof in_chunk);
  live = next = 0;
  model = 0;
}
