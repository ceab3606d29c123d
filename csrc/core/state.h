/* core/state.h - everything the Matchmaker remembers: its tables (read-only at rest) and its
 * running state.
 * Owns:    the records of mapped images, the per-image and per-thread state, the previous signal
 *          handlers.
 * Threads: tables change under mm__lock; a slot's state under the slot's own lock; a thread's
 *          record is its own.
 * Signals: handlers read tables and change only the state of the thread they interrupted.
 * Errors:  none. */
#ifndef MM_CORE_STATE_H
#define MM_CORE_STATE_H

#include "base/system.h"
#include "core/fs.h"
#include "core/gate/frame.h"
#include "core/interface.h"
#include "core/slot/map.h"

#include <signal.h>
#include <string.h>
#include <ucontext.h>

#define MM__SIGNAL_COUNT          65
#define MM__SIGNAL_BIT(signal)    (1ul << ((signal)-1)) /* in the kernel's masks: sigset_t */
#define MM__DEFERRED_LIMIT        8
#define MM__RANGE_LIMIT           16384ul
#define MM__ALTERNATE_STACK_BYTES 0x10000ul
#define MM__SERVER_STACK_BYTES    0x200000ul
#define MM__CALLBACK_TEXT         512

/* The kernel's struct sigaction (arch/x86/include/uapi/asm/signal.h). */
struct mm__action {
  uint64_t handler;
  uint64_t flags;
  uint64_t restorer;
  uint64_t mask;
};

/* What the gate needs to know of one stub. */
struct mm__entry {
  uint64_t address;
  uint32_t stack_bytes;
  uint16_t x87_result;
  uint16_t is_forbidden; /* by the policy */
};

/* Where our copy of an image's head lies: core/slot/head.h. */
struct mm__kept {
  uint64_t low; /* 0: there is none */
  uint64_t head_bytes;
};

/* What is known of a mapped image; read-only at rest. The gate's part comes first. */
struct mm__record {
  uint64_t serial; /* 0: nothing is mapped here */
  const struct mm__entry *entries;
  uint32_t stub_count; /* exports, then hooks */
  uint32_t guard;
  uint64_t tls_base, stack_pointer;
  uint32_t mxcsr;
  uint16_t x87_control;
  uint16_t folder_count; /* that are granted: core/mediation/outside.h */
  uint32_t grants;
  uint8_t dead_on_fault, sealed, stateless, key; /* key: 0 none */
  uint8_t strict;
  uint8_t is_watched; /* each call that opens it looks for other handlers of faults and traps */
  uint64_t memory_limit;
  uint64_t timeout_ns; /* of one call; 0: none */
  uint64_t file_bytes;
  struct mm__head head;
  struct mm__kept kept;
  char path[240];
} __attribute__((
    aligned(512))); /* so that each lies in one page, which is all that is opened for it */

enum mm__death {
  MM__DEAD = 1,
  MM__ABANDONED = 2, /* by the threads of a parent process */
  MM__SHUT = 3,      /* closed in one piece, because the kernel refused to close its pages */
  MM__LOST = 4,      /* and as it refused that, too, its memory was given up */
};
enum mm__opening { MM__CLOSED = 0, MM__OPEN_PIECES = 1, MM__OPEN_ALL = 2 };

struct mm__piece; /* core/guard/pieces.h */

_Static_assert(sizeof(struct mm__record) == 512, "a record lies in one page");

/* What changes while an image is mapped. The assembly knows `frame` and the size. */
struct mm__state {
  struct mm__frame *frame;  /* the newest call's */
  uint64_t tls_base;        /* the image's FS */
  struct mm__thread *owner; /* the thread inside, or preparing a call */
  uint32_t lock;            /* futex: 0 free, 1 taken: core/gate/turn.c */
  uint32_t waiting;         /* threads that wait for it */
  uint32_t depth;           /* calls inside one another */
  uint32_t holds;           /* how often the owner has entered: calls, staging, reset */
  uint32_t guard_open;      /* enum mm__opening */
  uint32_t dead;            /* 0, or an enum mm__death */
  uint32_t generation, map_changed;
  uint64_t stack;        /* the next call of this thread starts below it */
  uint64_t heap_high;    /* brk */
  uint64_t memory_bytes; /* taken since the snapshot */
  uint64_t mailbox_used;
  uint64_t mailbox_open; /* writable up to here, ahead of a call; 0: not */
  uint64_t mailbox_high; /* ever used up to here */
  struct mm__piece *pieces;
  uint64_t piece_class;  /* of the call that runs */
  uint64_t wide_classes; /* need more pieces than there can be: everything is opened for them */
  uint32_t piece_count;
  uint32_t stack_bytes; /* of the next call's arguments; 0: as its export says */
  uint64_t timeout_ns;  /* of the calls in this hold; 0: the image's own */
  uint64_t waited_ns;   /* for it, of the time that the first call of this hold may take */
  uint32_t rest;        /* PROT_ bits that pages keep at rest */
  uint32_t is_used;     /* a call ran since the last reset */
  uint32_t kept_open;   /* the guard stays open until the hold ends */
  uint32_t all_written; /* which pages were written since the last reset is not known */
  uint32_t retired;     /* its client has let go of it: whoever leaves last unmaps it */
  uint32_t refused;     /* errno, when the kernel refused to change a permission; 0: not lately */
  uint64_t calls, faults, guard_changes;
  struct mm__slot_map map;
  uint64_t refused_threads;
} __attribute__((aligned(1ul << MM__STATE_SHIFT)));
_Static_assert(sizeof(struct mm__state) == 1ul << MM__STATE_SHIFT, "the assembly shifts");
_Static_assert(__builtin_offsetof(struct mm__state, frame) == 0, "the assembly reads it");
_Static_assert(__builtin_offsetof(struct mm__state, tls_base) == MM__STATE_TLS_BASE,
               "the assembly reads it");

/* The rest of a thread's record: interface.h shows only the beginning to clients. */
struct mm__thread_record {
  struct mm__thread seen;
  struct mm__frame *frame;   /* the newest call's, of any image */
  struct mm__anchor *anchor; /* whose thread this is */
  uint64_t fs;
  ucontext_t *trap;  /* what the handler of a trapped system call interrupted, while it runs */
  uint64_t deferred; /* asynchronous signals that wait for the end of the call */
  uint64_t crossings;
  uint64_t looked_at, look_pause; /* when it looked for handlers last, and how long that will do */
  uint64_t limit_ns;              /* what the timer was set to */
  uint32_t deferred_count;
  int32_t timer; /* of deadlines, if it has one */
  uint32_t has_timer;
  uint32_t is_limited;    /* the timer runs, for a call that this thread is in */
  uint32_t limited_depth; /* how many calls are around that one */
  int32_t ending;         /* with this status, as soon as the call can be ended; 0: not */
  uint32_t strict_depth;  /* calls of strict images inside one another */
  uint32_t open_keys;     /* bits of PKRU: of images that this thread is in */
  uint32_t rights_seen;   /* how often keys had been taken and given back when it wrote PKRU */
  uint32_t closes;        /* its own memory, in calls of images that have a key */
  uint32_t took_rseq;     /* away from it, for that */
  uint32_t in_hook;       /* a fault of an on-map hook does not reset: the hooks would run again */
  siginfo_t deferred_info[MM__DEFERRED_LIMIT];
  struct mm__callback_frame *callback; /* the newest that runs */
  const struct mm__state *waits_for;   /* under mm__turn_lock */
  /* What the callback said that failed last. */
  char callback_text[MM__CALLBACK_TEXT];
  uint32_t used; /* claimed */
  uint32_t number;
};

struct mm__tables {
  struct mm__record records[MM__SLOT_COUNT];
  /* The host's handlers that ours displaced: at level 0 the one that was there first, above it each
   * that the host put over ours since. */
  struct mm__action previous[MM__HANDLER_LEVELS][MM__SIGNAL_COUNT];
  uint8_t level[MM__SIGNAL_COUNT]; /* the newest */
  struct mm__host host;
  struct mm__serve serve;
  uint64_t ours;            /* bit per signal whose handler is ours */
  uint64_t host_fs;         /* the launcher's */
  uint32_t deadline_signal; /* 0: no call is limited yet */
  uint32_t has_keys;
  uint32_t locked_down;        /* for good: core/lockdown.h */
  uint32_t cpu[MM__CPU_WORDS]; /* features of this machine: CPUID is slow in virtual machines */
};

extern struct mm__tables mm__tables;
extern struct mm__state mm__states[MM__SLOT_COUNT];
/* The last one is for a thread that never crossed. */
extern struct mm__thread_record mm__threads[MM__THREAD_LIMIT + 1];
/* Syscall User Dispatch knows its inclusive mode: no selector is needed. */
extern uint32_t mm__inclusive;
extern uint32_t mm__users;

/* What a forked child finds zero: madvise(2), MADV_WIPEONFORK. It does not inherit Syscall User
 * Dispatch, so no thread of it is armed. */
struct mm__wiped {
  uint8_t armed[MM__THREAD_LIMIT]; /* by number of the record */
  uint32_t is_same_process;
};
extern struct mm__wiped mm__wiped;
extern uint8_t mm__text_start[], mm__text_end[], mm__tables_start[], mm__tables_end[];
extern uint8_t mm__wiped_start[], mm__wiped_end[], mm__image_end[];

/* --- lock.c --- */
void mm__lock(uint32_t *lock);
void mm__unlock(uint32_t *lock);
/* Asynchronous signals are blocked in the thread that has one: none comes between, and none forks. */
struct mm__still_lock {
  uint32_t word;
  uint64_t blocked; /* the signals that locking has blocked; its owner's */
};
void mm__still_lock(struct mm__still_lock *lock);
void mm__still_unlock(struct mm__still_lock *lock);
extern struct mm__still_lock mm__core_lock;
extern uint32_t mm__turn_lock;              /* of gate/turn.c; nothing is taken under it */
extern struct mm__still_lock mm__life_lock; /* of init and finalize; taken before mm__core_lock */

/* Opens the tables, or one record of them, for writing, and closes them. Under mm__core_lock. When
 * they cannot be opened: MM_ERROR_MEMORY, and nothing is to be closed. */
int mm__tables_open(struct mm_error *error);
void mm__tables_close(void);
int mm__record_open(const struct mm__record *record, struct mm_error *error);
void mm__record_close(const struct mm__record *record);

/* --- thread.c --- */
/* The calling thread's record, armed; NULL with an error when the kernel refuses. `fs` is the
 * host's. */
struct mm__thread_record *mm__thread_arm(uint64_t fs, struct mm_error *error);
int mm__thread_find(struct mm__thread_record **thread, struct mm_error *error);
/* What a call needs of its thread, in case the host took it away: faults and traps that are not
 * blocked, an alternate stack. False: the kernel refused. */
bool mm__thread_ready(struct mm__thread_record *thread);
/* The first half of it. */
void mm__thread_unblock(void);
void mm__thread_ended(struct mm__anchor *anchor);
void mm__thread_disarm(struct mm__thread_record *thread);
/* Frees a record. */
void mm__thread_forget(struct mm__thread_record *thread);
/* The record that the thread of this anchor had before a fork, or NULL. */
struct mm__thread_record *mm__thread_before_fork(const struct mm__anchor *anchor);
static inline struct mm__anchor *mm__thread_anchor(uint64_t fs) {
  return (struct mm__anchor *)(fs + (uint64_t)mm__tables.host.anchor_offset);
}
/* The armed record of the thread with this FS, or NULL. An anchor outlives the Matchmaker: what it
 * points to may be nobody's by now, or somebody else's. */
static inline struct mm__thread_record *mm__thread_known(uint64_t fs) {
  struct mm__anchor *anchor = mm__thread_anchor(fs);
  struct mm__thread_record *thread = anchor->record;
  return thread && thread->anchor == anchor && mm__wiped.armed[thread->number] ? thread : 0;
}

/* --- fork.c --- */
void mm__fork(enum mm__fork when);
/* In a child that has just been found to be one: what its parent's other threads had is nobody's. */
void mm__fork_adopt(struct mm__thread_record *thread);
/* Then, with the thread armed: the images that they were in are reset. */
void mm__fork_reset(struct mm__thread_record *thread);

/* --- a stub's address and back --- */
static inline uint64_t mm__stub_address(uint32_t slot, uint32_t index) {
  return MM__ARENA_LOW + MM__STUBS_OFFSET + ((uint64_t)slot << MM__STUBS_SLOT_SHIFT) +
         ((uint64_t)index << MM__STUB_SHIFT);
}

static inline struct mm__record *mm__record_of(uint32_t slot, uint64_t serial) {
  if (slot == 0 || slot >= MM__SLOT_COUNT) return 0;
  struct mm__record *record = &mm__tables.records[slot];
  return record->serial != 0 && record->serial == serial ? record : 0;
}

/* Writes a line to descriptor 2, with the Matchmaker's name in front. */
void mm__say(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
