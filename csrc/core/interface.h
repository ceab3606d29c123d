/* core/interface.h - the Matchmaker's one call table, and what its callers see of its state.
 * Owns:    nothing; the table lies read-only in the Matchmaker, at its ELF entry.
 * Threads: every call takes the Matchmaker's lock where it must; calls through stubs take only
 *          their image's.
 * Signals: the table's functions are called from ordinary code, never from handlers.
 * Errors:  0 or a negative mm_status, with a struct mm_error that may be NULL. */
#ifndef MM_CORE_INTERFACE_H
#define MM_CORE_INTERFACE_H

#include "core/slot/layout.h"
#include "image/check.h"
#include "matchmaker.h"

#define MM__CORE_VERSION 3
#define MM__CORE_MAGIC   0x72656b616d68634dull /* "Mchmaker" */

/* What a host lends of each of its threads, in static thread-local storage that starts as zero:
 * what must live exactly as long as the thread, whether the Matchmaker is mapped or not. */
struct mm__anchor {
  void *record;                    /* the thread's record in the Matchmaker */
  uint64_t stack_low, stack_bytes; /* the alternate signal stack made for it; 0: it had one */
  uint64_t host_stack[3];          /* the one that was there before: a stack_t */
  uint64_t own_low, own_high;      /* the thread's own stack, once it runs a callback; 0: unknown */
  uint8_t selector;                /* Syscall User Dispatch: 0 allow, 1 block */
  uint8_t reserved[3];
  int32_t refused; /* why its last call could not be made, if it could not be made ready for any */
};

/* A request to map, for the policy to judge: the image is intact and fits this machine. */
struct mm__request {
  int file;                /* the image, open */
  const char *path, *name; /* as it was asked for, and for messages */
  const struct mm__head *head;
  const struct mm_map_options *options;
};

#define MM__RULE_BYTES 192

/* What the policy allows; zero: as much as anyone may. */
struct mm__permission {
  uint64_t images, image_bytes, exports, memory_bytes, timeout_ns;
  const uint8_t
      *forbidden; /* by export, 1: may not be called; the policy's until it is asked again */
  char rule[MM__RULE_BYTES]; /* which rule says so: "/etc/matchmaker/policy.yaml:12" */
};

typedef int mm__judge_function(const struct mm__request *request, struct mm__permission *permission,
                               struct mm_error *error);

/* What the host process lends the Matchmaker. Copied by init. */
struct mm__host {
  uint64_t size_bytes;
  /* Offset from FS of a struct mm__anchor (initial-exec); its library is never unloaded (-z
   * nodelete). */
  int64_t anchor_offset;
  /* Called on a thread's first crossing: arrange for `thread_ended(anchor)` at its exit. May be
   * NULL. */
  void (*thread_started)(struct mm__anchor *anchor);
  /* Called for each image that is to be mapped, under mm__core_lock. NULL: no policy. */
  mm__judge_function *judge;
  uint32_t trace;     /* bits of enum mm__trace, from MM_TRACE */
  uint32_t signals;   /* enum mm_signals */
  uint32_t interrupt; /* enum mm_interrupt */
  uint32_t look;      /* enum mm_look */
  uint32_t image_limit, export_limit;
  uint64_t image_bytes_limit;
  uint32_t has_fsgsbase; /* AT_HWCAP2 bit 1: FS may be switched without a system call */
  uint32_t without;      /* bits of enum mm_without */
  int64_t rseq_offset;   /* from FS, of what libc registers with rseq(2); 0: nothing */
  uint32_t configured;   /* 0: a later user without wishes of its own; what was configured stays */
};

enum mm__trace {
  MM__TRACE_SYSCALL = 1,
  MM__TRACE_GATE = 2,
  MM__TRACE_IMAGE = 4,
  MM__TRACE_GUARD = 8
};

/* How the last call through a stub in this thread ended, if not by returning. */
struct mm__outcome {
  int32_t status; /* 0: it returned. MM_ERROR_FAULT, _EXIT, _DEAD, _UNMAPPED, ... */
  int32_t signal, access, exit_status;
  uint32_t slot, export_index, refused_count;
  uint64_t address, instruction;
  const char
      *text; /* what happened, where the status says too little; of this thread or constant */
  /* numbers of system calls refused during the call (counted on success, too) */
  uint32_t refused[8];
  uint32_t was_reset; /* 1: the image was put back to its snapshot */
  uint32_t overflow;  /* 1: the image's stack overflowed */
  uint64_t done;      /* calls of the batch that had returned before */
  char said[256];     /* MM_ERROR_SERVER: the image's message */
};

/* One per thread that ever crossed. Clients read the first fields. */
struct mm__thread {
  uint32_t depth; /* gates this thread is inside of */
  uint32_t id;
  struct mm__outcome outcome;
  /* the rest is core/state.h's */
};

/* Around a fork(2), in the thread that forks: pthread_atfork(3). */
enum mm__fork { MM__FORK_PREPARE, MM__FORK_PARENT, MM__FORK_CHILD };

#define MM__FOR_EVER (~0ul) /* of a time in ns: none */

/* An image taken for this thread: nobody else calls, resets or unmaps it until `leave`. */
struct mm__hold {
  struct mm__thread *thread; /* its outcome.status tells how a call through a stub ended */
  uint32_t slot;
  uint32_t generation;
  uint64_t mailbox_mark; /* what lay in the mailbox before; more is forgotten when the hold ends */
  uint32_t one_by_one; /* each call is to have a crossing of its own: it is timed, or reset after */
};

/* A function of the host that an image may call. */
struct mm__callback_target {
  void *function;       /* any C function type */
  uint64_t stack_bytes; /* of its arguments in memory; a multiple of 8, at most 64 KiB */
};

static inline bool mm__callback_is_stub(uint64_t address) {
  return address - (MM__ARENA_LOW + MM__CALLBACKS_OFFSET) < (uint64_t)MM__CALLBACK_INDEXES
                                                                << MM__STUB_SHIFT;
}

struct mm__serve;

struct mm__core_table {
  uint64_t magic;
  uint32_t version;
  uint32_t size_bytes;

  /* One more user: the first sets handlers up; later ones only count (and change the
   * configuration). When it fails and there is no user, *last is 1: as below. */
  int (*init)(const struct mm__host *host, int *last, struct mm_error *error);
  /* One user less; after the last: images unmapped, handlers put back, all memory of slot 0
   * released but the Matchmaker's own ELF segments, which the caller unmaps when *last is 1: after
   * a lockdown they stay, and *last is 0.
   * MM_ERROR_BUSY while a call runs; MM_ERROR_NOT_CONNECTED, with *last, when there was no user. */
  int (*finalize)(int *last, struct mm_error *error);
  /* A thread that started is about to exit, on its own stack. */
  void (*thread_ended)(struct mm__anchor *anchor);
  /* Keeps the tables whole over a fork. In the child, images that other threads were in are put
   * back to their snapshots. Several copies of the client library may all call it. */
  void (*fork)(enum mm__fork when);

  /* Maps the image at `path`; its slot is its name from then on, together with its generation of
   * mapping `serial`. */
  int (*map)(const char *path, const struct mm_map_options *options, uint32_t *slot,
             uint64_t *serial, struct mm_error *error);
  /* The checked, read-only head of a mapped image (valid until it is unmapped). */
  int (*head)(uint32_t slot, uint64_t serial, const struct mm__head **head, struct mm_error *error);
  /* Validates a thunk: the function type `type` of `expected` must equal the registered one of
   * export `index`.
   * For a variadic export it may be one call of it: mm__type_calls. Gives the stub's address. */
  int (*bind)(uint32_t slot, uint64_t serial, uint32_t index, const struct mm__registry *expected,
              uint32_t type, void **stub, struct mm_error *error);
  /* Takes the image for this thread, waiting for its turn; holds nest. `wait_ns`: for so long at
   * most, as a part of the first call's time; 0: what the image gives a call. MM_ERROR_UNMAPPED,
   * _DEAD, _DEADLINE. */
  int (*enter)(uint32_t slot, uint64_t serial, uint64_t wait_ns, struct mm__hold *hold,
               struct mm_error *error);
  void (*leave)(const struct mm__hold *hold);
  /* Within a hold: what its calls open stays open until it ends, or until a fault. */
  void (*keep_open)(const struct mm__hold *hold);
  /* Within a hold: its calls may take so long, whatever the image was mapped with. */
  int (*limit)(const struct mm__hold *hold, uint64_t timeout_ns, struct mm_error *error);
  /* Within a hold: the next call has so many bytes of arguments on the stack, whatever its export's
   * type says: it is variadic. MM_ERROR_LIMIT. */
  int (*stack)(const struct mm__hold *hold, uint64_t bytes, struct mm_error *error);
  /* Within a hold: copies a string of `size` bytes, the last of them NUL, whatever becomes of it
   * meanwhile (NULL: zeros), into the image's mailbox and says where it is; the end of the hold
   * empties it. MM_ERROR_LIMIT when it is full. */
  int (*stage)(const struct mm__hold *hold, const void *bytes, uint64_t size, uint64_t *address,
               struct mm_error *error);
  /* Within a hold: `count` calls of the export that `stub` stands for, in one crossing; they are
   * noted in the mailbox from `batch` on: core/gate/batch.h. Says how many have returned, at least
   * one and perhaps not all: then the rest is to be asked for again. 0: as with a stub, the thread's
   * outcome says why, and after how many. */
  uint64_t (*batch)(void *stub, uint64_t batch, uint64_t count);
  /* Within a hold: the length of a string of the image, if a NUL comes within `limit` readable
   * bytes of it. */
  int (*string)(const struct mm__hold *hold, uint64_t address, uint64_t limit, uint64_t *length,
                struct mm_error *error);
  /* Within a hold: takes memory in the slot for the client, zeroed, in multiples of MM__AREA_GRAIN
   * and aligned to it, counted as the image's. A reset takes it back. MM_ERROR_LIMIT. */
  int (*claim)(const struct mm__hold *hold, uint64_t bytes, uint64_t *address,
               struct mm_error *error);
  int (*release)(const struct mm__hold *hold, uint64_t address, uint64_t bytes,
                 struct mm_error *error);
  /* Within a hold: copies from the image what its own code could read (else MM_ERROR_RESULT), or to
   * where that could write (else MM_ERROR_RANGE). Any address will do. */
  int (*read)(const struct mm__hold *hold, uint64_t address, void *to, uint64_t bytes,
              struct mm_error *error);
  int (*write)(const struct mm__hold *hold, uint64_t address, const void *from, uint64_t bytes,
               struct mm_error *error);
  /* A pointer by which the image, and no other, may call a function of the host: it runs on the
   * host's FS and stack. MM_ERROR_UNMAPPED, _LIMIT, _MEMORY. */
  int (*callback_make)(uint32_t slot, uint64_t serial, const struct mm__callback_target *target,
                       void **pointer, struct mm_error *error);
  /* From now on to call it is a fault of the image. True: it does not run, and is forgotten; false:
   * it still runs, its function has to stay, and this is to be called again. */
  bool (*callback_free)(void *pointer, uint64_t serial);
  /* In a callback: when it returns, the call that called back ends as MM_ERROR_CALLBACK. */
  void (*callback_fail)(const char *text);
  /* How the last call through a stub in this thread ended; clears it. Fills `error`: all facts but
   * symbol and module; the message is only what happened ("SIGSEGV writing 0x0", "exit(3)"), for
   * the client to complete. */
  int (*outcome)(struct mm_error *error);
  int (*reset)(uint32_t slot, uint64_t serial, struct mm_error *error);
  int (*unmap)(uint32_t slot, uint64_t serial, struct mm_error *error);
  /* The same, but when a call is running, MM_ERROR_BUSY, the image is unmapped at its end. */
  int (*retire)(uint32_t slot, uint64_t serial, struct mm_error *error);
  /* The facts of the mapped image in `slot`. */
  int (*list)(uint32_t slot, struct mm_image_info *info, struct mm_error *error);
  /* What it was refused, by index. MM_ERROR_UNMAPPED, MM_ERROR_ARGUMENT past the end. */
  int (*refused)(uint32_t slot, uint64_t serial, uint32_t index, struct mm_refusal *refusal,
                 struct mm_error *error);

  /* Refuses the process for good what could go around the guards: core/lockdown.h. */
  int (*lockdown)(struct mm_error *error);

  /* For the launcher alone: takes over the calling thread as a server in `slot`. Does not return.
   * */
  int (*serve)(const struct mm__serve *serve, struct mm_error *error);
};

/* --- The launcher's side --- */

struct mm__range; /* core/slot/map.h */

/* What the Matchmaker tells the launcher's snapshot function. */
struct mm__snapshot {
  uint32_t slot;
  uint32_t range_count;
  const struct mm__range *ranges; /* the true map of the slot, ascending */
  uint64_t tls_base, stack_pointer;
  uint64_t heap_low, heap_high, heap_limit;
  uint64_t refused_threads; /* clone() calls answered EAGAIN */
  uint32_t mxcsr, x87_control;
  const char *path;          /* as mm_snapshot got it, or NULL */
  const void *registrations; /* the server's list: struct mm_registration, in server memory */
  const uint64_t *hooks;
  uint32_t hook_count;
};

struct mm__serve {
  uint32_t slot;
  uint32_t range_count;
  const struct mm__range
      *ranges; /* what the launcher mapped in the slot: program, interpreter, stack, mailbox */
  uint64_t entry, stack_pointer; /* where to jump, with which stack */
  uint64_t heap_low;             /* end of the program */
  /* Called on the launcher's FS, on a stack of its own, with system calls allowed. Returns 0 or an
   * errno for the server; does not return when the image was written. */
  int (*snapshot)(const struct mm__snapshot *snapshot);
  /* The server ended before its snapshot: exit (signal 0) or a fault. Does not return. */
  void (*ended)(int exit_status, int signal, uint64_t instruction, uint64_t address);
};

/* The call by which the server library reaches the launcher: a number no kernel has. It answers
 * ENOSYS without us. */
#define MM__CALL_SNAPSHOT 0x4d4d0001 /* (const struct mm__snapshot_request *) */
#define MM__CALL_PRESENT  0x4d4d0002 /* () -> 0 under the launcher */
/* The call by which an image ends its client's call: (const char *message). */
#define MM__CALL_FAIL 0x4d4d0003

struct mm__snapshot_request {
  uint64_t size_bytes;
  const char *path;
  const void *registrations;
  const uint64_t *hooks;
  uint64_t hook_count;
};

#endif
