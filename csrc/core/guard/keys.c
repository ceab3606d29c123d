/* core/guard/keys.c - PKRU, and who may have what open in it. docs/gate.md argues the design. */
#include "core/guard/keys.h"

#include <errno.h>
#include <linux/rseq.h>
#include <sys/mman.h>

#define BITS(key)     (3u << 2 * (key)) /* access disable, write disable: Intel SDM vol. 3, 4.6.2 */
#define NO_WRITE(key) (2u << 2 * (key))
#define KEY_COUNT     16u

static struct {
  uint32_t taken;    /* PKRU bits of keys that images have */
  uint32_t rest;     /* what these bits are at rest */
  uint32_t readable; /* of keys that some thread may have been left able to read with */
  uint32_t changes;  /* begun or done, of the first two: any thread may look at them meanwhile */
} keys;

uint32_t mm__rights[MM__THREAD_LIMIT + 1], mm__closing;

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

/* Of the keys that are taken; odd: one was being changed. */
static bool changed_since(const struct mm__thread_record *thread) {
  return thread->rights_seen % 2 ||
         thread->rights_seen != __atomic_load_n(&keys.changes, __ATOMIC_ACQUIRE);
}

/* Under mm__core_lock. In this order: no thread finds a key that is taken and open. */
static void take(uint32_t bits, uint32_t rest) {
  __atomic_fetch_add(&keys.changes, 1, __ATOMIC_SEQ_CST);
  __atomic_store_n(&keys.rest, keys.rest | rest, __ATOMIC_RELEASE);
  __atomic_store_n(&keys.taken, keys.taken | bits, __ATOMIC_RELEASE);
  __atomic_fetch_add(&keys.changes, 1, __ATOMIC_SEQ_CST);
}

static void give_back(uint32_t bits) {
  __atomic_fetch_add(&keys.changes, 1, __ATOMIC_SEQ_CST);
  __atomic_store_n(&keys.taken, keys.taken & ~bits, __ATOMIC_RELEASE);
  __atomic_store_n(&keys.rest, keys.rest & ~bits, __ATOMIC_RELEASE);
  __atomic_fetch_add(&keys.changes, 1, __ATOMIC_SEQ_CST);
}

/* Who jumps to the instruction itself, with registers of its own, gets no further than what a
 * thread has open anyhow. Once more, when another thread took a key or gave one back meanwhile. */
static void write_rights(struct mm__thread_record *thread) {
  uint32_t rights;
  do {
    thread->rights_seen = __atomic_load_n(&keys.changes, __ATOMIC_ACQUIRE);
    rights = (read_rights() & ~keys.taken) | rights_of(thread);
    __asm__ volatile("wrpkru" : "+a"(rights), "+r"(thread) : "c"(0), "d"(0) : "memory");
    if (is_record(thread) && (rights & keys.taken) == rights_of(thread)) return;
  } while (is_record(thread) && changed_since(thread));
  mm__keys_forged(rights);
}

_Noreturn void mm__keys_forged(uint32_t rights) {
  mm__say("PKRU is %x: somebody else opened it", rights);
  mm__call(SYS_kill, mm__call(SYS_getpid), SIGKILL);
  __builtin_unreachable();
}

/* Linux 6.12 opens every key before it writes a signal's frame (sig_prepare_pkru in
 * arch/x86/kernel/signal.c); older ones kill a process whose alternate stack is closed. */
static bool opens_for_signals(void) {
  struct {
    char fields[6][65]; /* struct new_utsname: linux/utsname.h */
  } name;
  unsigned parts[2] = {0}, part = 0;
  if (mm__failed(mm__call(SYS_uname, &name))) return false;
  for (const char *c = name.fields[2]; part < 2 && (*c == '.' || (*c >= '0' && *c <= '9')); c++)
    if (*c == '.')
      part++;
    else
      parts[part] = parts[part] * 10 + (unsigned)(*c - '0');
  return parts[0] > 6 || (parts[0] == 6 && parts[1] >= 12);
}

void mm__keys_start(void) {
  memset(&keys, 0, sizeof keys);
  mm__tables.has_keys = mm__closing = 0;
  if (mm__tables.host.without & MM_WITHOUT_KEYS) return;
  long key = mm__call(SYS_pkey_alloc, 0, PKEY_DISABLE_ACCESS);
  if (mm__failed(key)) return;
  mm__tables.has_keys = 1;
  mm__closing =
      mm__has_fsgsbase && !(mm__tables.host.without & MM_WITHOUT_CLOSING) && opens_for_signals();
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
  take(BITS(taken), sealed ? BITS(taken) : NO_WRITE(taken));
  if (!sealed) keys.readable |= BITS(taken);
  return taken;
}

void mm__key_give_back(uint32_t key) {
  if (!key) return;
  give_back(BITS(key));
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
  mm__keys_keep(thread); /* for the image that called */
}

uint32_t mm__keys_keep(const struct mm__thread_record *thread) {
  if (!thread->closes) return 0;
  mm__rights[thread->number + 1] = read_rights() | NO_WRITE(0);
  return thread->number + 1;
}

/* --- restartable sequences: the kernel writes to their area whenever the thread was preempted, with
 * the thread's own rights: rseq(2). So the thread has to do without; libc then asks getcpu(2). --- */

#define RSEQ_BYTES     32u /* of what libc registers */
#define RSEQ_SIGNATURE 0x53053053u

static long change_rseq(const void *area, int flags) {
  return mm__call(SYS_rseq, area, RSEQ_BYTES, flags, RSEQ_SIGNATURE);
}

static const void *rseq_of(const struct mm__thread_record *thread) {
  return (const void *)(thread->fs + (uint64_t)mm__tables.host.rseq_offset);
}

/* Somebody else's area cannot be found out; that there is none, can. */
static bool has_none(void) {
  struct {
    uint8_t bytes[RSEQ_BYTES];
  } area __attribute__((aligned(32)));
  memset(&area, 0, sizeof area);
  long result = change_rseq(&area, 0);
  if (!mm__failed(result)) result = change_rseq(&area, RSEQ_FLAG_UNREGISTER);
  return !mm__failed(result) || result == -ENOSYS;
}

void mm__keys_adopt(struct mm__thread_record *thread) {
  if (!mm__closing) return;
  if (mm__tables.host.rseq_offset)
    thread->took_rseq |= !mm__failed(change_rseq(rseq_of(thread), RSEQ_FLAG_UNREGISTER));
  thread->closes = has_none();
}

void mm__keys_forsake(struct mm__thread_record *thread) {
  mm__rights[thread->number + 1] = 0;
  if (thread->took_rseq) change_rseq(rseq_of(thread), 0);
}

void mm__keys_apply(struct mm__thread_record *thread) {
  if (keys.taken) write_rights(thread);
}
