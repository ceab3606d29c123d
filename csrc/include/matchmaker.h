/* matchmaker.h - the client's interface: map images, bind their exports, call them.
 * Owns:    the process's one Matchmaker (mm_init .. mm_finalize) and what is mapped through it.
 * Threads: every function may be called from any thread; one image runs one call at a time, others
 *          wait.
 * Signals: not async-signal-safe, except mm_error_text. SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP
 *          and SIGSYS are handled while the Matchmaker is mapped; what is not its own goes to the
 *          handler that was there.
 * Errors:  0 (MM_OK) or a negative mm_status; the details go to the caller's struct mm_error, if
 *          given. Each function names its own; any of them may answer MM_ERROR_NULL (a pointer that it
 *          cannot do without), MM_ERROR_NOT_CONNECTED, and, where memory or the kernel is asked for
 *          something, MM_ERROR_MEMORY and MM_ERROR_SYSTEM. */
#ifndef MATCHMAKER_H
#define MATCHMAKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MM_API __attribute__((visibility("default")))

/* The one table of errors: name, code, kind (what Lua sees as err.kind), text without details. */
#define MM_STATUS_TABLE(ROW)                                                                       \
  ROW(MM_ERROR_MEMORY, -1, "memory", "out of memory")                                              \
  ROW(MM_ERROR_ARGUMENT, -2, "argument", "wrong argument")                                         \
  ROW(MM_ERROR_SYSTEM, -3, "system", "a system call failed")                                       \
  ROW(MM_ERROR_UNSUPPORTED, -4, "unsupported", "this machine or kernel cannot do that")            \
  ROW(MM_ERROR_NOT_CONNECTED, -5, "not_connected", "the Matchmaker is not mapped")                 \
  ROW(MM_ERROR_BUSY, -6, "busy", "in use")                                                         \
  ROW(MM_ERROR_MISSING, -10, "missing", "no such file")                                            \
  ROW(MM_ERROR_NOT_A_FILE, -11, "not_a_file", "not a regular file")                                \
  ROW(MM_ERROR_UNREADABLE, -12, "unreadable", "not readable")                                      \
  ROW(MM_ERROR_NOT_AN_IMAGE, -13, "not_an_image", "not an image")                                  \
  ROW(MM_ERROR_DAMAGED, -14, "damaged", "the image is damaged")                                    \
  ROW(MM_ERROR_VERSION, -15, "version", "an image of another format version")                      \
  ROW(MM_ERROR_CPU, -16, "cpu", "the image needs CPU features that are missing here")              \
  ROW(MM_ERROR_PAGE_SIZE, -17, "page_size", "the image was made for another page size")            \
  ROW(MM_ERROR_POLICY, -18, "policy", "the policy does not allow that")                            \
  ROW(MM_ERROR_NEEDS, -19, "needs", "the image needs what was not granted")                        \
  ROW(MM_ERROR_LIMIT, -20, "limit", "over a limit")                                                \
  ROW(MM_ERROR_SLOT_TAKEN, -21, "slot_taken", "the slot is taken")                                 \
  ROW(MM_ERROR_NO_EXPORT, -30, "no_export", "no such export")                                      \
  ROW(MM_ERROR_SIGNATURE, -31, "signature", "the signatures differ")                               \
  ROW(MM_ERROR_PROTOTYPE, -32, "prototype", "not a C prototype")                                   \
  ROW(MM_ERROR_COUNT, -33, "count", "wrong number of arguments")                                   \
  ROW(MM_ERROR_TYPE, -34, "type", "wrong type of argument")                                        \
  ROW(MM_ERROR_RANGE, -35, "range", "argument out of range")                                       \
  ROW(MM_ERROR_NULL, -36, "null", "null where it is not allowed")                                  \
  ROW(MM_ERROR_OWNER, -37, "owner", "a pointer of another image")                                  \
  ROW(MM_ERROR_STALE, -38, "stale", "from before a reset")                                         \
  ROW(MM_ERROR_UNMAPPED, -39, "unmapped", "the image is not mapped any more")                      \
  ROW(MM_ERROR_FAULT, -40, "fault", "the call ended in a fault")                                   \
  ROW(MM_ERROR_EXIT, -41, "exit", "the image called exit")                                         \
  ROW(MM_ERROR_DEAD, -42, "dead", "the image is dead after a fault")                               \
  ROW(MM_ERROR_RESULT, -43, "result", "the image returned something that cannot be read")          \
  ROW(MM_ERROR_DEADLINE, -44, "deadline", "the call took longer than it may")                      \
  ROW(MM_ERROR_CALLBACK, -45, "callback", "a callback failed")                                     \
  ROW(MM_ERROR_INTERRUPTED, -46, "interrupted", "the call was interrupted")                        \
  ROW(MM_ERROR_SERVER, -47, "server", "the server's function failed")

/* What functions return: MM_OK, or what went wrong. */
enum mm_status {
  MM_OK = 0,
#define MM_STATUS_ROW(name, code, kind, text) name = code,
  MM_STATUS_TABLE(MM_STATUS_ROW)
#undef MM_STATUS_ROW
};

/* What a fault was doing when it happened. */
enum mm_access {
  MM_ACCESS_NONE = 0,
  MM_ACCESS_READ = 1,
  MM_ACCESS_WRITE = 2,
  MM_ACCESS_EXECUTE = 3
};

/* The facts of one failure. All strings are NUL-terminated; zero or empty means "does not apply".
 */
struct mm_error {
  int32_t status;        /* an enum mm_status */
  int32_t signal;        /* the signal that ended the call */
  int32_t access;        /* an enum mm_access */
  int32_t exit_status;   /* for MM_ERROR_EXIT */
  int32_t system_error;  /* errno of the system call that failed */
  uint32_t slot;         /* of the image concerned, 0 when none */
  uint32_t was_reset;    /* 1: the image was put back to its snapshot */
  uint32_t argument;     /* which one of the export's was wrong, from 1; 0: none */
  uint64_t address;      /* the faulting data address, or what si_addr held */
  uint64_t instruction;  /* where the fault happened */
  uint64_t offset;       /* instruction - start of symbol */
  char symbol[128];      /* the function in which the fault happened */
  char module[128];      /* the module that holds it */
  char export_name[128]; /* the export that was called */
  char image[256];       /* the image's path as it was mapped */
  char refused[256];     /* system calls that mediation refused during the call, comma-separated */
  char message[768];     /* one line, complete by itself */
  uint32_t column;       /* MM_ERROR_PROTOTYPE: where in the C text, from 1; else 0 */
  uint32_t caret;        /* as many characters of `text` stand before that place */
  char text[168];        /* what is around it, in one line */
};

/* How permissions are enforced at rest. MM_GUARD_DEFAULT is MM_GUARD_KEYS where CPU and kernel have
 * protection keys, else MM_GUARD_PAGES. There are 15 keys: images for which none is left get
 * MM_GUARD_PAGES, and mm_image_info says so. */
enum mm_guard { MM_GUARD_DEFAULT = 0, MM_GUARD_PAGES = 1, MM_GUARD_OPEN = 2, MM_GUARD_KEYS = 3 };

/* What the client lets an image do with the outside world, and what an image can say it needs. */
enum mm_grant {
  MM_GRANT_OUTPUT = 1 << 0,  /* write(2) to descriptors 1 and 2 */
  MM_GRANT_FILES = 1 << 1,   /* implied by mm_map_options.files; by itself only a need */
  MM_GRANT_SOCKETS = 1 << 2, /* sockets of its own: of the Internet and of Unix */
  MM_GRANT_JIT = 1 << 3,     /* new executable pages */
  MM_GRANT_EVERYTHING = 1 << 30,
};

/* What may be done beneath a folder. Writing includes reading. */
enum mm_files { MM_FILES_READ = 1, MM_FILES_WRITE = 2 };

/* A folder with all beneath it, but for what is mounted there. Paths of the image must begin with
 * its name, as it was given or as realpath(3) has it, and may not leave it: by "..", by symbolic
 * links, by anything. */
struct mm_grant_files {
  const char *folder;
  uint32_t access; /* bits of enum mm_files */
};

/* How asynchronous signals are kept away from a call. */
enum mm_signals {
  MM_SIGNALS_DEFER =
      0, /* handlers seen at the last look are deferred to the end of the call; costs nothing */
  MM_SIGNALS_MASK =
      1, /* every asynchronous signal is blocked for the call: two system calls more */
};

/* When handlers are looked for that the client installed after the Matchmaker's, or over them. What
 * else a call rests upon is put right then, too: docs/gate.md. */
enum mm_look {
  MM_LOOK_OFTEN = 0,  /* at each call for those that it rests upon, where it makes system calls
                         anyway; for all at the first call of a mapping, and now and then */
  MM_LOOK_ALWAYS = 1, /* at each call for all: a system call for every signal */
};

/* What a SIGINT (Ctrl-C) does to the call that it comes into, or to any function here that waits for
 * an image which another thread is in (then its handler runs first). Else nothing is changed. */
enum mm_interrupt {
  MM_INTERRUPT_DELIVER = 0, /* where the client handles it: the call ends, then its handler runs */
  MM_INTERRUPT_ERROR = 1,   /* the call ends, and that is all; also where it is not handled */
  MM_INTERRUPT_WAIT = 2,    /* its handler runs when the call has ended by itself */
};

/* What to do without although the machine has it, so that the ways of others can be tried. */
enum mm_without {
  MM_WITHOUT_FSGSBASE = 1 << 0,  /* switch FS by system calls */
  MM_WITHOUT_INCLUSIVE = 1 << 1, /* trap system calls with a selector, as before Linux 6.17 */
  MM_WITHOUT_KEYS = 1 << 2,      /* without protection keys */
  MM_WITHOUT_CLOSING = 1 << 3,   /* keys or not, images may write to the client's memory */
};

/* What mm_init is given. Zero is the default everywhere. */
struct mm_config {
  uint32_t signals;           /* enum mm_signals */
  uint32_t image_limit;       /* mapped images at once; 0: 256 */
  uint64_t image_bytes_limit; /* largest image in bytes of address space; 0: 16 GiB */
  uint32_t export_limit;      /* exports per image; 0: 4096 */
  uint32_t interrupt;         /* enum mm_interrupt */
  uint32_t without;           /* bits of enum mm_without; read by the first mm_init only */
  uint32_t unlisted;          /* 1: not in the list that mm_clients reads */
  uint32_t look;              /* enum mm_look */
  /* A policy file that has to allow what is mapped, beside those of the system and of the
   * environment: docs/policy.md. NULL: none. */
  const char *policy;
};

/* How mm_request_map maps an image, and what the image may do. Zero is the default everywhere. */
struct mm_map_options {
  uint32_t guard;         /* enum mm_guard */
  uint32_t grants;        /* bits of enum mm_grant */
  uint64_t memory_bytes;  /* new memory the image may take beyond its snapshot; 0: 1 GiB */
  uint32_t dead_on_fault; /* 1: a fault leaves the image unusable instead of reset */
  uint32_t verify;        /* 1: check the digest of the whole file, not only of its head */
  uint64_t timeout_ns;    /* of one call, those inside it and the wait for its turn; 0: none */
  const struct mm_grant_files *files; /* folders that the image may use; read by the call only */
  uint32_t file_count;
  uint32_t sealed;    /* 1: not readable at rest, and never in a core dump */
  uint32_t stateless; /* 1: reset after every call; pointers into the image do not outlive it */
  uint32_t strict;    /* 1: the client's code is not executable during a call */
};

/* What `mm_image_info` and `mm_mapped` tell. */
struct mm_image_info {
  char path[256];
  uint32_t slot;
  uint32_t guard;
  uint32_t generation; /* 1 after mapping, one more after every reset */
  uint32_t export_count;
  uint32_t segment_count;
  uint32_t dead;
  uint32_t sealed, stateless, strict;
  uint32_t locked_down; /* 1: the process is, for good */
  uint32_t
      closes_client; /* 1: in calls of this thread the image cannot write to the client's memory */
  uint64_t base;     /* the slot's first address */
  uint64_t mapped_bytes; /* address space of its segments */
  uint64_t file_bytes;
  uint64_t calls, faults;
  uint64_t guard_changes; /* how often the guard `pages` told the kernel, by mprotect(2) */
};

/* A system call that the image made since it was mapped, and that was refused. */
struct mm_refusal {
  char call[32];  /* its name, "syscall_NNN" where it has none here */
  char path[128]; /* the path it was refused for, cut off if it is long; empty: none */
  uint32_t count;
};

/* What `mm_clients` tells of one process, and of what it has mapped. */
struct mm_client_image {
  uint64_t mapped_bytes;
  uint32_t slot;
  uint32_t guard;
  char path[256];
};

struct mm_client {
  int32_t pid;
  uint32_t user;
  uint32_t is_self;    /* 1: the process that asks */
  uint32_t is_foreign; /* 1: in another pid namespace: nobody here can tell whether it still runs */
  int64_t started;     /* when it connected, in seconds since the epoch */
  uint32_t image_count;
  uint32_t reserved;
  struct mm_client_image *images;
  char command[256]; /* the beginning of its command line */
};

/* A mapped image; the handle ends with mm_image_release. */
struct mm_image;
/* An export that was bound; lives as long as its image's handle. */
struct mm_function;
/* A function of the client that an image may call; lives until mm_callback_release, at most as long
 * as its image's handle. */
struct mm_callback;

/* Maps the Matchmaker into this process, or finds it there; counted, so each mm_init needs its
 * mm_finalize. A later call with a configuration changes it for what is mapped and called from then
 * on. NULL: defaults, or what is there. Errors: MM_ERROR_ARGUMENT, MM_ERROR_UNSUPPORTED (kernel
 * without Syscall User Dispatch, or inside a slot), MM_ERROR_SLOT_TAKEN (something else is mapped at
 * the arena's base), MM_ERROR_VERSION (another copy of the library, of another version, was here
 * first), MM_ERROR_POLICY (a policy file that cannot be believed). */
MM_API int mm_init(const struct mm_config *config, struct mm_error *error);

/* Undoes one mm_init. The last one unmaps every image and the Matchmaker, and puts back the signal
 * handlers. Errors: MM_ERROR_BUSY (a call is running). */
MM_API int mm_finalize(struct mm_error *error);

/* Locks the whole process down, all its threads, for good: system calls that would change the
 * arena's mappings, take over SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS or the alternate
 * stack, or reach memory by other ways (ptrace, io_uring, userfaultfd, another seccomp filter...)
 * answer EPERM unless the Matchmaker makes them; docs/guarantees.md lists them. It sets
 * no_new_privs and takes the process's dumpable attribute (prctl(2)) away. Children inherit the
 * filter, and so do programs that they execute, which cannot map a Matchmaker of their own. All that
 * this header offers goes on to work; after the last mm_finalize the Matchmaker stays mapped, for
 * the next mm_init. A second lockdown does nothing. Errors: MM_ERROR_UNSUPPORTED (no seccomp),
 * MM_ERROR_SYSTEM (refused, or another thread has a filter that this one has not). */
MM_API int mm_lockdown(struct mm_error *error);

/* Maps the image at `path` copy-on-write at the addresses it was made for. The handle is the
 * caller's: it ends with mm_image_release. An image is mapped once in a process. Errors:
 * MM_ERROR_ARGUMENT, MM_ERROR_UNSUPPORTED (an option that this machine lacks), those from
 * MM_ERROR_MISSING to MM_ERROR_SLOT_TAKEN in the table above, in that order, MM_ERROR_FAULT (in one
 * of its on-map hooks). */
MM_API int mm_request_map(const char *path, const struct mm_map_options *options,
                          struct mm_image **image, struct mm_error *error);

/* Binds an export. `expected` is a C prototype whose types the registered one must have, or NULL;
 * names in it do not count. For a variadic function it spells out the types of one call. The function
 * belongs to the image's handle. Errors: MM_ERROR_NO_EXPORT, MM_ERROR_SIGNATURE,
 * MM_ERROR_PROTOTYPE, MM_ERROR_UNSUPPORTED, MM_ERROR_UNMAPPED. */
MM_API int mm_bind(struct mm_image *image, const char *name, const char *expected,
                   struct mm_function **function, struct mm_error *error);

/* Calls. `args` are pointers to the arguments and `result` to room for the result, as for ffi_call,
 * with two differences: `result` has the exact type (a narrow integer is not widened), or is NULL
 * where it is not wanted, and strings are copied: a `const char *` argument may point anywhere in the
 * client, and a `const char *` result points to memory of this function's, valid until its next call
 * in this thread. A struct by value is its bytes; pointers in it, `const char *` too, must be the
 * image's own (those in a union are not looked at). A type without bytes, and an argument that is
 * aligned to more than 16 bytes, cannot be passed by value: mm_bind refuses them. Errors:
 * MM_ERROR_UNMAPPED, MM_ERROR_OWNER, MM_ERROR_POLICY, MM_ERROR_DEAD, MM_ERROR_LIMIT (the arguments
 * take more than the image has room for, or more than 2,048 threads at once have called images),
 * MM_ERROR_BUSY (in a callback: another thread is in that image, and waits for one that this
 * thread is in); how the call ended: MM_ERROR_FAULT, MM_ERROR_EXIT, MM_ERROR_SERVER,
 * MM_ERROR_CALLBACK, MM_ERROR_DEADLINE, MM_ERROR_INTERRUPTED; MM_ERROR_RESULT. */
MM_API int mm_request_call(struct mm_function *function, void *result, void **args,
                           struct mm_error *error);

/* Makes `count` calls of one function, in order, for one opening of the guard: call number i as
 * mm_request_call makes it with args[i] and results[i]. `results` may be NULL, and so may each of
 * them. Where nothing has to be done between two calls, up to 256 share one crossing (docs/gate.md).
 * The first call that fails ends it; `*done`, unless NULL, is how many have returned before it; the
 * results of those that shared its crossing are not stored. Other threads wait meanwhile. Errors:
 * those of mm_request_call; MM_ERROR_ARGUMENT (results of type `const char *` are wanted: there is
 * room for one). */
MM_API int mm_request_batch(struct mm_function *function, size_t count, void **results,
                            void ***args, size_t *done, struct mm_error *error);

/* Calls `run` with the image's guard left open between the calls that it makes: what they open stays
 * open until it returns, or a call faults. The price of protection is paid once, and protection is
 * off meanwhile. Other threads wait. `run` may not leave by longjmp or an exception. Errors, before
 * `run` was called: MM_ERROR_UNMAPPED, MM_ERROR_DEAD, MM_ERROR_BUSY, MM_ERROR_DEADLINE and
 * MM_ERROR_INTERRUPTED (its turn did not come) as mm_request_call. */
MM_API int mm_open(struct mm_image *image, void (*run)(void *user), void *user,
                   struct mm_error *error);

/* Memory inside the image, for what a call gets a pointer to. mm_allocate gives `bytes` of it,
 * zeroed, aligned to 16, until mm_free, a reset (a fault resets, too) or the end of the mapping. The
 * image may write to it, and so may its client through mm_write; with MM_GUARD_PAGES the client's
 * own code may only read it. It counts as memory that the image takes. Errors of mm_allocate:
 * MM_ERROR_LIMIT; of mm_free: MM_ERROR_ARGUMENT (mm_allocate did not give it, or it is gone); of
 * both: MM_ERROR_UNMAPPED, MM_ERROR_DEAD. mm_free(image, NULL) does nothing. */
MM_API int mm_allocate(struct mm_image *image, size_t bytes, void **memory, struct mm_error *error);
MM_API int mm_free(struct mm_image *image, void *memory, struct mm_error *error);

/* Copies between the client and any memory of the image. `from` of mm_read and `to` of mm_write may
 * be any address, what an image returned included: one that is not the image's is an error and no
 * fault. Errors: MM_ERROR_RESULT (mm_read: nothing readable is there), MM_ERROR_RANGE (mm_write: the
 * image itself could not write there), MM_ERROR_UNMAPPED, MM_ERROR_DEAD. */
MM_API int mm_read(struct mm_image *image, const void *from, void *to, size_t bytes,
                   struct mm_error *error);
MM_API int mm_write(struct mm_image *image, void *to, const void *from, size_t bytes,
                    struct mm_error *error);

/* What an image calls: `args` are pointers to the arguments, as for mm_request_call, and `result` to
 * room for the result, of its exact type and zeroed. A `const char *` argument is a copy that lives
 * as long as the call; one that is returned is copied into the image, where it lives as long as
 * the image's call. Runs in the thread that called the image, on its stack; signals come in as
 * always. It may call images, this one too; it may not leave by longjmp or an exception. */
typedef void mm_callback_function(void *result, void **args, void *user);

/* Makes a C function pointer, mm_callback_pointer, by which this image and no other may call
 * `function`, in calls of its own: as an argument, or stored in its memory. `prototype` is the C
 * type, "int (const void *, const void *)"; the image's own types are known in it. 65,536 callbacks
 * may be there at once. To call one that was released, or another image's, is a fault of the image,
 * which ends its call as MM_ERROR_CALLBACK; the pointer is not given to another callback before 2^27
 * more were made. Errors: MM_ERROR_PROTOTYPE, MM_ERROR_UNSUPPORTED, MM_ERROR_UNMAPPED,
 * MM_ERROR_LIMIT. */
MM_API int mm_callback(struct mm_image *image, const char *prototype,
                       mm_callback_function *function, void *user, struct mm_callback **callback,
                       struct mm_error *error);
MM_API void *mm_callback_pointer(struct mm_callback *callback);

/* The handle ends; a callback that runs goes on. NULL is allowed. */
MM_API void mm_callback_release(struct mm_callback *callback);

/* In a callback: when it returns, the call that called back ends as MM_ERROR_CALLBACK with this
 * message, and the image is reset. */
MM_API void mm_callback_fail(const char *message);

/* Puts the image back to its snapshot; pointers into it become stale. Errors: MM_ERROR_UNMAPPED,
 * MM_ERROR_BUSY (a call is running), MM_ERROR_FAULT (in an on-map hook), MM_ERROR_DEAD (its memory
 * could not be put back once: it can only be unmapped). */
MM_API int mm_reset(struct mm_image *image, struct mm_error *error);

/* Unmaps the image; the handle stays valid and answers MM_ERROR_UNMAPPED. Errors:
 * MM_ERROR_UNMAPPED, MM_ERROR_BUSY (a call is running). */
MM_API int mm_unmap(struct mm_image *image, struct mm_error *error);

/* Unmaps the image if it still is mapped, and frees the handle, its functions and its callbacks.
 * While calls of it run, in this thread or in others, the last of them to end unmaps it, and the
 * handle lives as long as they do. NULL is allowed. */
MM_API void mm_image_release(struct mm_image *image);

/* Facts about one image, or about the mapped image number `index`, counted from 0
 * (MM_ERROR_ARGUMENT past the end). */
MM_API int mm_image_info(struct mm_image *image, struct mm_image_info *info,
                         struct mm_error *error);
MM_API int mm_mapped(uint32_t index, struct mm_image_info *info, struct mm_error *error);

/* What the image was refused, by `index` from 0 (MM_ERROR_ARGUMENT past the end); the first 39
 * different ones are kept. */
MM_API int mm_image_refused(struct mm_image *image, uint32_t index, struct mm_refusal *refusal,
                            struct mm_error *error);

/* All processes of this user that have the Matchmaker mapped, this one too, and their images; to be
 * freed by mm_clients_free. Works without mm_init. Each client keeps one small file under
 * $XDG_RUNTIME_DIR/matchmaker, else /run/user/UID/matchmaker, else /tmp/matchmaker-UID; files of
 * processes that are gone are removed on the way. Errors: MM_ERROR_SYSTEM (no /proc, or no folder
 * that is this user's alone). */
MM_API int mm_clients(struct mm_client **clients, uint32_t *count, struct mm_error *error);
MM_API void mm_clients_free(struct mm_client *clients, uint32_t count);

/* Why others do not see this process in their list (a full disk, a folder that is read-only); MM_OK
 * when they do, or are not meant to. Nothing else fails because of it. */
MM_API int mm_clients_lack(struct mm_error *error);

/* The number of exports, and the name, prototype and doc string of each; NULL past the end. Strings
 * live with the handle. The prototype is canonical C: "int spell(const char *word)". */
MM_API uint32_t mm_export_count(struct mm_image *image);
MM_API const char *mm_export_name(struct mm_image *image, uint32_t index);
MM_API const char *mm_export_prototype(struct mm_image *image, uint32_t index);
MM_API const char *mm_export_doc(struct mm_image *image, uint32_t index);

/* The plain C function pointer of a bound function: its stub, there as long as the image is mapped.
 * Calls through it pass the gate; a fault in such a call returns zero and is told by mm_take_fault,
 * which also clears it (0: no fault since the last look). Not for handlers of signals either: what
 * they interrupt may be the gate on its way into the same image, and then they wait for themselves. */
MM_API void *mm_function_pointer(struct mm_function *function);
MM_API int mm_take_fault(struct mm_error *error);

/* The text of a status, never NULL. */
MM_API const char *mm_error_text(int status);
/* The kind of a status, as Lua shows it, never NULL. */
MM_API const char *mm_error_kind(int status);

#ifdef __cplusplus
}
#endif
#endif
