/* base/error.c - the tables of errors, errno values and signals, and how an error is filled. */
#include "base/error.h"

#include "base/format.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

struct row {
  int status;
  const char *kind, *text;
};

static const struct row rows[] = {{MM_OK, "ok", "success"},
#define STATUS_ROW(name, code, kind, text) {code, kind, text},
                                  MM_STATUS_TABLE(STATUS_ROW)
#undef STATUS_ROW
};

static const struct row *find(int status) {
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
    if (rows[i].status == status) return &rows[i];
  static const struct row unknown = {0, "unknown", "unknown error"};
  return &unknown;
}

MM_API const char *mm_error_text(int status) { return find(status)->text; }
MM_API const char *mm_error_kind(int status) { return find(status)->kind; }

/* The message is one line, with nothing in it that a terminal obeys, whatever names stand in it. */
static int fill(struct mm_error *error, int status, const char *format, va_list list) {
  memset(error, 0, sizeof *error);
  error->status = status;
  mm__format_list(error->message, sizeof error->message, format, list);
  mm__format_line(error->message);
  return status;
}

int mm__fail(struct mm_error *error, int status, const char *format, ...) {
  if (!error) return status;
  va_list list;
  va_start(list, format);
  fill(error, status, format, list);
  va_end(list);
  return status;
}

int mm__fail_system(struct mm_error *error, int status, int number, const char *format, ...) {
  if (!error) return status;
  va_list list;
  va_start(list, format);
  fill(error, status, format, list);
  va_end(list);
  error->system_error = number;
  size_t length = strlen(error->message);
  mm__format(error->message + length, sizeof error->message - length, ": %s",
             mm__errno_text(number));
  return status;
}

int mm__fail_named(struct mm_error *error, int status, const char *name) {
  if (status == MM_OK || !error) return status;
  char text[sizeof error->message];
  mm__format(text, sizeof text, "%s: %s", name, error->message);
  memcpy(error->message, text, sizeof text);
  mm__format_line(error->message);
  return status;
}

void mm__fail_prototype(struct mm_error *error, const char *prototype) {
  size_t length = strlen(error->message);
  if (length + strlen(prototype) + sizeof ": ``" <= sizeof error->message)
    mm__format(error->message + length, sizeof error->message - length, ": `%s`", prototype);
}

/* Texts as strerror(3) has them in the C locale. */
#define ERRNO_TABLE(ROW)                                                                           \
  ROW(EPERM, "Operation not permitted")                                                            \
  ROW(ENOENT, "No such file or directory")                                                         \
  ROW(ESRCH, "No such process")                                                                    \
  ROW(EINTR, "Interrupted system call")                                                            \
  ROW(EIO, "Input/output error")                                                                   \
  ROW(ENXIO, "No such device or address")                                                          \
  ROW(E2BIG, "Argument list too long")                                                             \
  ROW(ENOEXEC, "Exec format error")                                                                \
  ROW(EBADF, "Bad file descriptor")                                                                \
  ROW(ECHILD, "No child processes")                                                                \
  ROW(EAGAIN, "Resource temporarily unavailable")                                                  \
  ROW(ENOMEM, "Cannot allocate memory")                                                            \
  ROW(EACCES, "Permission denied")                                                                 \
  ROW(EFAULT, "Bad address")                                                                       \
  ROW(EBUSY, "Device or resource busy")                                                            \
  ROW(EEXIST, "File exists")                                                                       \
  ROW(EXDEV, "Invalid cross-device link")                                                          \
  ROW(ENODEV, "No such device")                                                                    \
  ROW(ENOTDIR, "Not a directory")                                                                  \
  ROW(EISDIR, "Is a directory")                                                                    \
  ROW(EINVAL, "Invalid argument")                                                                  \
  ROW(ENFILE, "Too many open files in system")                                                     \
  ROW(EMFILE, "Too many open files")                                                               \
  ROW(ENOTTY, "Inappropriate ioctl for device")                                                    \
  ROW(ETXTBSY, "Text file busy")                                                                   \
  ROW(EFBIG, "File too large")                                                                     \
  ROW(ENOSPC, "No space left on device")                                                           \
  ROW(ESPIPE, "Illegal seek")                                                                      \
  ROW(EROFS, "Read-only file system")                                                              \
  ROW(EPIPE, "Broken pipe")                                                                        \
  ROW(EDOM, "Numerical argument out of domain")                                                    \
  ROW(ERANGE, "Numerical result out of range")                                                     \
  ROW(EDEADLK, "Resource deadlock avoided")                                                        \
  ROW(ENAMETOOLONG, "File name too long")                                                          \
  ROW(ENOSYS, "Function not implemented")                                                          \
  ROW(ELOOP, "Too many levels of symbolic links")                                                  \
  ROW(EOVERFLOW, "Value too large for defined data type")                                          \
  ROW(EAFNOSUPPORT, "Address family not supported by protocol")                                    \
  ROW(EADDRINUSE, "Address already in use")                                                        \
  ROW(EDQUOT, "Disk quota exceeded")                                                               \
  ROW(EOPNOTSUPP, "Operation not supported")                                                       \
  ROW(ECONNREFUSED, "Connection refused")                                                          \
  ROW(ETIMEDOUT, "Connection timed out")

const char *mm__errno_text(int number) {
  switch (number) {
#define TEXT_ROW(name, text)                                                                       \
  case name:                                                                                       \
    return text;
    ERRNO_TABLE(TEXT_ROW)
#undef TEXT_ROW
  }
  return "unknown error";
}

const char *mm__errno_name(int number) {
  switch (number) {
#define NAME_ROW(name, text)                                                                       \
  case name:                                                                                       \
    return #name;
    ERRNO_TABLE(NAME_ROW)
#undef NAME_ROW
  }
  return "errno";
}

#define SIGNAL_TABLE(ROW)                                                                          \
  ROW(SIGHUP)                                                                                      \
  ROW(SIGINT)                                                                                      \
  ROW(SIGQUIT)                                                                                     \
  ROW(SIGILL)                                                                                      \
  ROW(SIGTRAP)                                                                                     \
  ROW(SIGABRT)                                                                                     \
  ROW(SIGBUS)                                                                                      \
  ROW(SIGFPE)                                                                                      \
  ROW(SIGKILL)                                                                                     \
  ROW(SIGUSR1)                                                                                     \
  ROW(SIGSEGV)                                                                                     \
  ROW(SIGUSR2)                                                                                     \
  ROW(SIGPIPE)                                                                                     \
  ROW(SIGALRM)                                                                                     \
  ROW(SIGTERM)                                                                                     \
  ROW(SIGSTKFLT)                                                                                   \
  ROW(SIGCHLD)                                                                                     \
  ROW(SIGCONT)                                                                                     \
  ROW(SIGSTOP)                                                                                     \
  ROW(SIGTSTP)                                                                                     \
  ROW(SIGTTIN)                                                                                     \
  ROW(SIGTTOU)                                                                                     \
  ROW(SIGURG)                                                                                      \
  ROW(SIGXCPU)                                                                                     \
  ROW(SIGXFSZ)                                                                                     \
  ROW(SIGVTALRM)                                                                                   \
  ROW(SIGPROF)                                                                                     \
  ROW(SIGWINCH)                                                                                    \
  ROW(SIGIO)                                                                                       \
  ROW(SIGPWR)                                                                                      \
  ROW(SIGSYS)

const char *mm__signal_name(int number) {
  switch (number) {
#define SIGNAL_ROW(name)                                                                           \
  case name:                                                                                       \
    return #name;
    SIGNAL_TABLE(SIGNAL_ROW)
#undef SIGNAL_ROW
  }
  return "signal";
}
