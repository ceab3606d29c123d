/* client/connection.c - connects this library to the process's Matchmaker, counts its users, and
 * sees threads end and processes fork. */
#include "base/error.h"
#include "client/client.h"
#include "client/policy.h"
#include "core/host/connect.h"

#include <link.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>

/* What this library keeps of each thread. The anchor outlives every connection. */
static __thread struct {
  struct mm__anchor anchor;
  char *text;
  size_t text_bytes;
} here __attribute__((tls_model("initial-exec")));

static const struct mm__core_table *core;
static unsigned users;
static pthread_key_t thread_key;
static pthread_once_t watch_once = PTHREAD_ONCE_INIT;
static int watch_error;

/* Without a Matchmaker there is nobody to ask: the alternate stack that was made for the thread
 * goes. */
static void release_alone(struct mm__anchor *anchor) {
  stack_t stack;
  if (!anchor->stack_low) return;
  if (sigaltstack(NULL, &stack) == 0 && (uint64_t)stack.ss_sp == anchor->stack_low)
    sigaltstack(&(stack_t){.ss_flags = SS_DISABLE}, NULL);
  munmap((void *)anchor->stack_low, anchor->stack_bytes);
  anchor->stack_low = 0;
}

static void thread_ends(void *unused) {
  (void)unused;
  free(here.text);
  here.text = NULL;
  here.text_bytes = 0;
  const struct mm__core_table *table = mm__connected();
  if (table)
    table->thread_ended(&here.anchor);
  else
    release_alone(&here.anchor);
}

/* --- fork --- */

static const struct mm__core_table *forking; /* what this copy has prepared */

/* Under the loader's lock, so that nobody unmaps the Matchmaker while its locks are taken. */
static int prepare_in_turn(struct dl_phdr_info *info, size_t size, void *unused) {
  (void)info, (void)size, (void)unused;
  forking = core;
  if (forking) forking->fork(MM__FORK_PREPARE);
  return 1;
}

static void before_fork(void) { dl_iterate_phdr(prepare_in_turn, NULL); }

static void after_fork(enum mm__fork when) {
  const struct mm__core_table *table = forking;
  forking = NULL;
  if (table) table->fork(when);
}

static void in_parent(void) { after_fork(MM__FORK_PARENT); }
static void in_child(void) {
  mm__images_forked();
  mm__list_forked();
  mm__policies_forked();
  after_fork(MM__FORK_CHILD);
}

static void watch_process(void) {
  watch_error = pthread_key_create(&thread_key, thread_ends);
  if (!watch_error) watch_error = pthread_atfork(before_fork, in_parent, in_child);
}

static void watch_thread(struct mm__anchor *anchor) { pthread_setspecific(thread_key, anchor); }

static void thread_starts(struct mm__anchor *anchor) {
  watch_thread(anchor);
  mm__list_thread_started();
}

char *mm__thread_text(size_t bytes) {
  if (bytes <= here.text_bytes) return here.text;
  size_t size = here.text_bytes ? here.text_bytes : 256;
  while (size < bytes) size *= 2;
  char *larger = malloc(size);
  if (!larger) return NULL;
  free(here.text);
  here.text = larger;
  here.text_bytes = size;
  watch_thread(&here.anchor);
  return larger;
}

void mm__thread_show_stack(void) {
  pthread_attr_t attributes;
  void *low;
  size_t bytes;
  if (here.anchor.own_high) return;
  here.anchor.own_high = 1; /* nothing, but it was looked for */
  if (pthread_getattr_np(pthread_self(), &attributes)) return;
  if (pthread_attr_getstack(&attributes, &low, &bytes) == 0) {
    here.anchor.own_low = (uint64_t)low;
    here.anchor.own_high = (uint64_t)low + bytes;
  }
  pthread_attr_destroy(&attributes);
}

int32_t mm__call_status(void) {
  const struct mm__thread *thread = here.anchor.record;
  return thread ? thread->outcome.status : (int32_t)MM_ERROR_SYSTEM;
}

const struct mm__core_table *mm__core(struct mm_error *error) {
  const struct mm__core_table *table = __atomic_load_n(&core, __ATOMIC_ACQUIRE);
  if (!table) mm__fail(error, MM_ERROR_NOT_CONNECTED, "the Matchmaker is not mapped: call init");
  return table;
}

static int check_config(const struct mm_config *config, struct mm_error *error) {
  if (config->signals > MM_SIGNALS_MASK)
    return mm__fail(error, MM_ERROR_ARGUMENT, "there is no way %u to keep signals away",
                    config->signals);
  if (config->interrupt > MM_INTERRUPT_WAIT)
    return mm__fail(error, MM_ERROR_ARGUMENT, "there is no way %u to take an interrupt",
                    config->interrupt);
  if (config->look > MM_LOOK_ALWAYS)
    return mm__fail(error, MM_ERROR_ARGUMENT, "there is no way %u to look for handlers",
                    config->look);
  if (config->without & ~(uint32_t)(MM_WITHOUT_FSGSBASE | MM_WITHOUT_INCLUSIVE | MM_WITHOUT_KEYS |
                                    MM_WITHOUT_CLOSING))
    return mm__fail(error, MM_ERROR_ARGUMENT, "there is nothing 0x%x to do without",
                    config->without);
  return MM_OK;
}

static int connect_with(const struct mm_config *config, struct mm_error *error) {
  const struct mm__core_table *table = core ? core : mm__connect(error);
  struct mm__host host = {0};
  if (!table) return MM_ERROR_NOT_CONNECTED;
  mm__host_defaults(&host);
  host.anchor_offset = (int64_t)((uint64_t)&here.anchor - (uint64_t)__builtin_thread_pointer());
  host.thread_started = thread_starts;
  if (config) {
    host.configured = 1;
    host.signals = config->signals;
    host.interrupt = config->interrupt;
    host.look = config->look;
    host.image_limit = config->image_limit;
    host.export_limit = config->export_limit;
    host.image_bytes_limit = config->image_bytes_limit;
    host.without = config->without;
  }
  host.judge = mm__policies_judge();
  int last, status = table->init(&host, &last, error);
  if (last) mm__disconnect();
  if (status != MM_OK) return status;
  __atomic_store_n(&core, table, __ATOMIC_RELEASE);
  if (users++ == 0 || config) mm__list_join(!config || !config->unlisted);
  return MM_OK;
}

/* Another copy of this library, in another file, has locks of its own; and one in the Matchmaker
 * would be unmapped under who waits for it. What all copies share is the loader's lock, which
 * dl_iterate_phdr(3) holds while it calls. */
struct turn {
  const struct mm_config *config;
  struct mm_error *error;
  int status;
};

static int connect_in_turn(struct dl_phdr_info *info, size_t size, void *turn_) {
  struct turn *turn = turn_;
  (void)info, (void)size;
  turn->status = connect_with(turn->config, turn->error);
  if (turn->status == MM_ERROR_NOT_CONNECTED) turn->status = turn->error->status;
  return 1; /* once is enough */
}

static int disconnect_in_turn(struct dl_phdr_info *info, size_t size, void *turn_) {
  struct turn *turn = turn_;
  int last = 0;
  (void)info, (void)size;
  const struct mm__core_table *table = mm__core(turn->error);
  turn->status = table ? table->finalize(&last, turn->error) : MM_ERROR_NOT_CONNECTED;
  if (turn->status == MM_OK && --users == 0) {
    __atomic_store_n(&core, NULL, __ATOMIC_RELEASE);
    mm__list_leave();
  }
  if (last) mm__disconnect();
  return 1;
}

int mm_init(const struct mm_config *config, struct mm_error *error) {
  struct mm_error ours;
  struct turn turn = {config, error ? error : &ours, MM_OK}; /* connecting tells its status by it */
  int status = config ? check_config(config, turn.error) : MM_OK;
  /* Before the turn: names of users may take libraries. */
  if (status == MM_OK && (config || !mm__core(NULL)))
    status = mm__policies_load(config ? config->policy : NULL, turn.error);
  if (status != MM_OK) return status;
  pthread_once(&watch_once, watch_process);
  if (watch_error)
    return mm__fail_system(error, MM_ERROR_SYSTEM, watch_error, "cannot watch threads and forks");
  dl_iterate_phdr(connect_in_turn, &turn);
  return turn.status;
}

int mm_lockdown(struct mm_error *error) {
  const struct mm__core_table *table = mm__core(error);
  return table ? table->lockdown(error) : MM_ERROR_NOT_CONNECTED;
}

int mm_finalize(struct mm_error *error) {
  struct turn turn = {NULL, error, MM_OK};
  dl_iterate_phdr(disconnect_in_turn, &turn);
  return turn.status;
}
