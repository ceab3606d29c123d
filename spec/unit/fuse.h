/* unit/fuse.h - a file system of one file, whose server decides when a read ends, and with what: fuse(4), linux/fuse.h. */
#ifndef SPEC_UNIT_FUSE_H
#define SPEC_UNIT_FUSE_H

#include "client.h"

#include <fcntl.h>
#include <linux/fuse.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/uio.h>

#define FUSE_PAGES 4
#define FUSE_PAGE  4096u

/* What the server says, and is told. */
struct fuse_talk {
  volatile int reads[FUSE_PAGES]; /* of each page */
  volatile int may_answer;
};

struct fuse_server {
  int device;
  struct fuse_talk *talk;
  /* What the nth reader of a page gets, from 1 on. It may wait, and forget pages. */
  void (*content)(struct fuse_server *server, int page, int nth, char *bytes);
};

static void fuse_answer(const struct fuse_server *server, uint64_t unique, int error,
                        const void *body, size_t bytes) {
  struct fuse_out_header head = {(uint32_t)(sizeof head + bytes), error, unique};
  struct iovec parts[] = {{&head, sizeof head}, {(void *)body, bytes}};
  if (writev(server->device, parts, 2) < 0 && errno != ENOENT) _exit(1);
}

/* The next access to it asks the server again. */
static UNUSED void fuse_forget(const struct fuse_server *server, int page) {
  struct fuse_notify_inval_inode_out what = {FUSE_ROOT_ID, (int64_t)FUSE_PAGE * page, FUSE_PAGE};
  fuse_answer(server, 0, FUSE_NOTIFY_INVAL_INODE, &what, sizeof what);
}

static void fuse_answer_read(struct fuse_server *server, const struct fuse_in_header *head) {
  static char bytes[FUSE_PAGES * FUSE_PAGE];
  const struct fuse_read_in *wanted = (const void *)(head + 1);
  uint64_t end = wanted->offset + wanted->size;
  if (end > sizeof bytes) end = sizeof bytes;
  for (uint64_t at = wanted->offset; at < end; at += FUSE_PAGE) {
    int page = (int)(at / FUSE_PAGE);
    server->content(server, page, ++server->talk->reads[page], bytes + at);
  }
  fuse_answer(server, head->unique, 0, bytes + wanted->offset,
              end > wanted->offset ? end - wanted->offset : 0);
}

static void fuse_serve_one(struct fuse_server *server, const struct fuse_in_header *head) {
  const struct fuse_init_in *offer = (const void *)(head + 1);
  struct fuse_init_out terms = {.major = FUSE_KERNEL_VERSION, .max_write = FUSE_PAGE};
  struct fuse_attr_out facts = {.attr = {.ino = FUSE_ROOT_ID,
                                         .size = FUSE_PAGES * FUSE_PAGE,
                                         .mode = S_IFREG | 0644,
                                         .nlink = 1,
                                         .blksize = FUSE_PAGE}};
  struct fuse_open_out opened = {.fh = 1};
  switch (head->opcode) {
  case FUSE_INIT: /* nothing is read ahead */
    terms.minor =
        offer->minor < FUSE_KERNEL_MINOR_VERSION ? offer->minor : FUSE_KERNEL_MINOR_VERSION;
    return fuse_answer(server, head->unique, 0, &terms, sizeof terms);
  case FUSE_GETATTR:
    return fuse_answer(server, head->unique, 0, &facts, sizeof facts);
  case FUSE_OPEN:
    return fuse_answer(server, head->unique, 0, &opened, sizeof opened);
  case FUSE_READ:
    return fuse_answer_read(server, head);
  case FUSE_FLUSH:
  case FUSE_RELEASE:
    return fuse_answer(server, head->unique, 0, NULL, 0);
  case FUSE_FORGET:
  case FUSE_BATCH_FORGET:
  case FUSE_INTERRUPT:
    return;
  default:
    return fuse_answer(server, head->unique, -ENOSYS, NULL, 0);
  }
}

/* A process of its own: who is killed while it waits for an answer of its own never ends. */
static _Noreturn void fuse_serve(struct fuse_server *server) {
  static char request[FUSE_MIN_READ_BUFFER + FUSE_PAGE] __attribute__((aligned(8)));
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  limit_time();
  while (read(server->device, request, sizeof request) > 0)
    fuse_serve_one(server, (const void *)request);
  _exit(0);
}

static void fuse_tell(const char *path, const char *text) {
  int file = open(path, O_WRONLY | O_CLOEXEC);
  if (file < 0 || write(file, text, strlen(text)) < 0) _exit(1);
  close(file);
}

/* Mounts of the process's own; who may not has them in a user namespace: user_namespaces(7). */
static bool fuse_own_mounts(void) {
  unsigned user = getuid(), group = getgid();
  char text[64];
  if (unshare(CLONE_NEWNS) != 0) {
    if (unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) return false;
    fuse_tell("/proc/self/setgroups", "deny");
    snprintf(text, sizeof text, "%u %u 1", user, user);
    fuse_tell("/proc/self/uid_map", text);
    snprintf(text, sizeof text, "%u %u 1", group, group);
    fuse_tell("/proc/self/gid_map", text);
  }
  return mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
}

/* Mounts the file on a file of the folder, and opens it. Negative: it cannot be done here. */
static UNUSED int fuse_open(struct fuse_server *server, int flags) {
  char path[600], options[100];
  struct stat facts;
  snprintf(path, sizeof path, "%s/fuse-%d", folder, getpid());
  server->talk = mmap(NULL, FUSE_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (!fuse_own_mounts()) return -1;
  server->device = open("/dev/fuse", O_RDWR | O_CLOEXEC);
  close(open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  snprintf(options, sizeof options, "fd=%d,rootmode=100644,user_id=%u,group_id=%u", server->device,
           getuid(), getgid());
  if (server->device < 0 || mount("fuse", path, "fuse", MS_NOSUID | MS_NODEV, options)) return -1;
  if (fork() == 0) fuse_serve(server);
  close(server->device);
  int file = open(path, flags | O_CLOEXEC);
  umount2(path, MNT_DETACH); /* what is open stays */
  unlink(path);
  return file >= 0 && fstat(file, &facts) == 0 && facts.st_size ? file : -1;
}

static UNUSED bool has_fuse(void) {
  int status;
  pid_t child = fork();
  if (child == 0) {
    struct fuse_server server = {0};
    _exit(fuse_open(&server, O_RDONLY) < 0);
  }
  waitpid(child, &status, 0);
  return status == 0;
}

#endif
