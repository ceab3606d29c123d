/* core/guard/keys.c - PKRU, and who may have what open in it. docs/gate.md argues the design. */
#include "core/guard/keys.h"

#include <sys/mman.h>

#define BITS(key)     (3u << 2 * (key)) /* access disable, write disable: Intel SDM vol. 3, 4.6.2 */
#define NO_WRITE(key) (2u << 2 * (key))
#define KEY_COUNT     16u

static struct {
  uint32_t taken;    /* PKRU bits of keys that images have */
  uint32_t rest;     /* what these bits are at rest */
  uint32_t readable; /* of keys that some thread may have been left able to read with */
} keys;

static uint32_t read_rights(void) {
  uint32_t rights;
  __asm__ volatile("rdpkru" : "=a"(rights) : "c"(0) : "rdx");
  return rights;
}

static uint32_t rights_of(const struct mm__thread_record *thread) {
  return keys.rest & ~thread->open_keys;
}

static bool is_record(const struct mm__thread_record *thread) {
  uint64_t offset = (uint64_t)thread - (uint64_t)mm__threads;
  return offset < sizeof mm__threads && offset % sizeof *thread == 0;
}

/* Who jumps to the instruction itself, with registers of its own, gets no further than what a
 * thread has open anyhow. */
static void write_rights(const struct mm__thread_record *thread) {
  uint32_t rights = (read_rights() & ~keys.taken) | rights_of(thread);
  __asm__ volatile("wrpkru" : "+a"(rights), "+r"(thread) : "c"(0), "d"(0) : "memory");
  if (is_record(thread) && (rights & keys.taken) == rights_of(thread)) return;
  mm__say("PKRU is %x: somebody else opened it", rights);
  mm__call(SYS_kill, mm__call(SYS_getpid), SIGKILL);
}

void mm__keys_start(void) {
  memset(&keys, 0, sizeof keys);
  mm__tables.has_keys = 0;
  if (mm__tables.host.without & MM_WITHOUT_KEYS) return;
  long key = mm__call(SYS_pkey_alloc, 0, PKEY_DISABLE_ACCESS);
  if (mm__failed(key)) return;
  mm__tables.has_keys = 1;
  mm__call(SYS_pkey_free, key);
}

/* Threads keep their rights to a key that was given back. So a key that was readable once does not
 * seal anything. */
uint32_t mm__key_take(bool sealed) {
  uint32_t unfit = 0, taken = 0;
  while (mm__tables.has_keys && !taken) {
    long key = mm__call(SYS_pkey_alloc, 0, PKEY_DISABLE_ACCESS);
    if (mm__failed(key)) break;
    if (sealed && keys.readable & BITS(key))
      unfit |= 1u << key;
    else
      taken = (uint32_t)key;
  }
  for (uint32_t key = 1; key < KEY_COUNT; key++)
    if (unfit >> key & 1) mm__call(SYS_pkey_free, key);
  if (!taken) return 0;
  keys.taken |= BITS(taken);
  keys.rest |= sealed ? BITS(taken) : NO_WRITE(taken);
  if (!sealed) keys.readable |= BITS(taken);
  return taken;
}

void mm__key_give_back(uint32_t key) {
  if (!key) return;
  keys.taken &= ~BITS(key);
  keys.rest &= ~BITS(key);
  mm__call(SYS_pkey_free, key);
}

void mm__key_open(struct mm__thread_record *thread, uint32_t key) {
  if (!key) return;
  thread->open_keys |= BITS(key);
  write_rights(thread);
}

void mm__key_close(struct mm__thread_record *thread, uint32_t key) {
  if (!key) return;
  thread->open_keys &= ~BITS(key);
  write_rights(thread);
}

void mm__keys_apply(const struct mm__thread_record *thread) {
  if (keys.taken) write_rights(thread);
}
