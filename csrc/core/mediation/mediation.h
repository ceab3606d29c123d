/* core/mediation/mediation.h - what happens to a system call that image code, or a server, makes.
 * Owns:    the table of calls; the memory calls change the slot map.
 * Threads: the calling thread is the image's only one.
 * Signals: runs in the SIGSYS handler; no libc, no allocation.
 * Errors:  the kernel's numbers, as a program would see them; some calls end the image's call
 *          instead. */
#ifndef MM_CORE_MEDIATION_MEDIATION_H
#define MM_CORE_MEDIATION_MEDIATION_H

#include "core/state.h"

#include <ucontext.h>

/* One trapped call. */
struct mm__trap {
  uint32_t slot;
  int number;
  long arguments[6];
  const struct mm__record *record;
  struct mm__state *state;
  struct mm__thread_record *thread;
  ucontext_t *context;
  bool serving; /* a server under the launcher; else an image in a client */
  bool ended;   /* the image's call is over: do not return to it */
};

/* What a pointer argument points at: checked against the slot map before the kernel sees it. */
enum mm__argument_kind {
  MM__ARGUMENT_NONE = 0,
  MM__ARGUMENT_IN,       /* `bytes` are read */
  MM__ARGUMENT_OUT,      /* `bytes` are written */
  MM__ARGUMENT_IN_OF,    /* as many as argument number `bytes` says are read */
  MM__ARGUMENT_OUT_OF,   /* as many as argument number `bytes` says are written */
  MM__ARGUMENT_IN_LIST,  /* as many struct iovec, whose memory is read */
  MM__ARGUMENT_OUT_LIST, /* likewise, written */
  MM__ARGUMENT_TEXT,     /* a NUL-terminated string is read */
};

struct mm__argument {
  uint8_t kind;
  uint16_t bytes;
};

typedef long mm__action_function(struct mm__trap *trap);

struct mm__call_row {
  uint32_t number;
  uint8_t grants; /* bits of enum mm_grant: one of them is needed; 0: none is */
  bool waits;     /* may wait in the kernel for as long as it likes */
  const char *name;
  mm__action_function *client; /* NULL: refused with EPERM and reported */
  mm__action_function *server; /* NULL: passed on as it is */
  struct mm__argument arguments[6];
};

extern const struct mm__call_row mm__call_rows[];
extern const uint32_t mm__call_row_count;
const struct mm__call_row *mm__call_row(long number);
const char *
mm__call_name(long number); /* "syscall_NNN" is the caller's to make: NULL when unknown */

void mm__mediate(uint32_t slot, ucontext_t *context);

/* Whether the image itself could touch that memory so (PROT_READ, PROT_WRITE); then it can be
 * touched for it. */
bool mm__memory_usable(const struct mm__trap *trap, uint64_t low, uint64_t bytes,
                       uint32_t protection);

/* --- actions, by topic --- */
long mm__pass(struct mm__trap *trap);
long mm__answer_zero(struct mm__trap *trap);
long mm__answer_missing(struct mm__trap *trap); /* ENOSYS */
/* memory.c */
mm__action_function mm__memory_brk, mm__memory_mmap, mm__memory_munmap, mm__memory_mremap,
    mm__memory_mprotect, mm__memory_madvise;
/* process.c */
mm__action_function mm__process_exit, mm__process_fail, mm__process_clone, mm__process_tid_address,
    mm__process_arch, mm__process_kill, mm__process_tkill, mm__process_tgkill, mm__process_prlimit,
    mm__process_futex, mm__process_prctl;
/* signal.c */
mm__action_function mm__signal_action, mm__signal_mask, mm__signal_stack, mm__signal_sigreturn;
/* file.c: on descriptors */
mm__action_function mm__file_use, mm__file_output, mm__file_write, mm__file_close,
    mm__file_duplicate, mm__file_control, mm__file_ask;
/* path.c */
mm__action_function mm__path_open, mm__path_openat, mm__path_create, mm__path_stat, mm__path_lstat,
    mm__path_statat, mm__path_statx, mm__path_access, mm__path_accessat, mm__path_read_link,
    mm__path_read_linkat, mm__path_unlink, mm__path_rmdir, mm__path_unlinkat, mm__path_mkdir,
    mm__path_mkdirat, mm__path_rename, mm__path_renameat;
/* socket.c */
mm__action_function mm__socket_make, mm__socket_pair, mm__socket_bind, mm__socket_connect,
    mm__socket_accept, mm__socket_name, mm__socket_option, mm__socket_set_option;
/* message.c */
mm__action_function mm__socket_write, mm__socket_send, mm__socket_send_message,
    mm__socket_send_messages, mm__socket_receive, mm__socket_receive_message,
    mm__socket_receive_messages;
/* ready.c */
mm__action_function mm__ready_poll, mm__ready_select;
/* serve.c */
mm__action_function mm__serve_snapshot, mm__serve_present;

/* Ends the image's call from inside a trap. */
void mm__trap_end(struct mm__trap *trap, int32_t status, int32_t signal, int32_t exit_status);

#endif
