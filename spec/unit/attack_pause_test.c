/* unit/attack_pause_test.c - ways in by memory that decides when it can be read: attack.h. */
#include "attack.h"
#include "fuse.h"

#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

/* A string of two pages and some bytes. Its length is found, then it is copied: the second look at a page is the copy. */
#define REST           100
#define LENGTH         (2 * PAGE + REST)
#define CHANGED_LENGTH (PAGE + REST)

static bool ends_early; /* in the copy. Else its end is gone there */

static void fill(int page, int nth, char *bytes) {
  memset(bytes, 'a', PAGE);
  if (page == 2 && nth == 1) bytes[REST] = 0;
  if (page == 1 && nth == 2 && ends_early) bytes[REST] = 0;
  if (page == FUSE_PAGES - 1) bytes[PAGE - 1] = 0;
}

/* What lies in the mailbox behind it is text. */
static uint64_t length_of_changing(struct target *target, const char *changing) {
  static char other[6 * PAGE];
  struct mm_function *length_of = function_of(target->image, "length_of");
  const char *argument = memset(other, 'a', sizeof other - 1);
  void *arguments[] = {&argument};
  uint64_t length = 0;
  mm_request_call(length_of, &length, arguments, NULL);
  argument = changing;
  mm_request_call(length_of, &length, arguments, NULL);
  return length;
}

/* --- userfaultfd(2) --- */

static int faults = -1;
static char *watched;
static int looks[FUSE_PAGES];
static struct target *paused_target;
static volatile bool wrote_meanwhile;

static void open_faults(struct target *target) {
  struct uffdio_api api = {.api = UFFD_API};
  (void)target;
  faults = (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
  if (faults >= 0 && ioctl(faults, UFFDIO_API, &api)) _exit(1);
}

/* By the kernel, which does not die of it. */
static void write_meanwhile(void) {
  int zero = open("/dev/zero", O_RDONLY | O_CLOEXEC);
  wrote_meanwhile = read(zero, (void *)paused_target->secret, 8) == 8;
  close(zero);
}

static void answer_fault(int page) {
  static char bytes[PAGE] __attribute__((aligned(PAGE)));
  int nth = ++looks[page];
  if (paused_target) write_meanwhile();
  if (page == 2 && nth == 1) madvise(watched + PAGE, PAGE, MADV_DONTNEED);
  if (page == 1 && nth == 2) madvise(watched + 2 * PAGE, PAGE, MADV_DONTNEED);
  fill(page, nth, bytes);
  struct uffdio_copy copy = {(uint64_t)watched + PAGE * (unsigned)page, (uint64_t)bytes, PAGE, 0,
                             0};
  ioctl(faults, UFFDIO_COPY, &copy);
}

static void *answer_faults(void *unused) {
  struct uffd_msg message;
  while (read(faults, &message, sizeof message) == sizeof message)
    answer_fault((int)((message.arg.pagefault.address - (uint64_t)watched) / PAGE));
  return unused;
}

static bool watch(void) {
  if (faults < 0) open_faults(NULL);
  watched =
      mmap(NULL, FUSE_PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  fill(0, 1, watched);
  fill(FUSE_PAGES - 1, 1, watched + (FUSE_PAGES - 1) * PAGE);
  struct uffdio_register range = {.range = {(uint64_t)watched + PAGE, 2 * PAGE},
                                  .mode = UFFDIO_REGISTER_MODE_MISSING};
  return faults >= 0 && ioctl(faults, UFFDIO_REGISTER, &range) == 0 &&
         start_thread(answer_faults, NULL);
}

static bool changes_bytes(struct target *target) {
  ends_early = true;
  return watch() && length_of_changing(target, watched) == CHANGED_LENGTH;
}

static bool takes_the_end(struct target *target) {
  return watch() && length_of_changing(target, watched) > LENGTH;
}

/* While what the client writes there is being copied. */
static bool writes_meanwhile(struct target *target) {
  paused_target = target;
  if (!watch()) return false;
  mm_write(target->image, (char *)target->secret + REST, watched + PAGE, REST, NULL);
  return wrote_meanwhile;
}

static bool has_faults(void) {
  int file = (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
  if (file >= 0) close(file);
  return file >= 0;
}

/* --- FUSE --- */

static void serve_text(struct fuse_server *server, int page, int nth, char *bytes) {
  if (page == 2 && nth == 1) fuse_forget(server, 1);
  if (page == 1 && nth == 2) fuse_forget(server, 2);
  fill(page, nth, bytes);
}

static uint64_t length_of_served(struct target *target) {
  struct fuse_server server = {.content = serve_text};
  int file = fuse_open(&server, O_RDONLY);
  const char *text = mmap(NULL, FUSE_PAGES * PAGE, PROT_READ, MAP_PRIVATE, file, 0);
  uint64_t length = length_of_changing(target, text);
  if (server.talk->reads[1] != 2) printf("not ok: it was not looked at twice");
  return length;
}

static bool changes_served_bytes(struct target *target) {
  ends_early = true;
  return length_of_served(target) == CHANGED_LENGTH;
}

static bool takes_the_served_end(struct target *target) {
  return length_of_served(target) > LENGTH;
}

/* --- O_DIRECT: open(2) --- */

static struct fuse_server slow;
static int slow_file;

/* Until it is told that it may. */
static void serve_late(struct fuse_server *server, int page, int nth, char *bytes) {
  const uint64_t value = CHANGE;
  (void)page, (void)nth;
  while (!server->talk->may_answer) usleep(1000);
  memcpy(memset(bytes, 0, PAGE), &value, sizeof value);
}

static void *read_directly(void *secret) {
  return (void *)(uint64_t)(read(slow_file, secret, PAGE) == (ssize_t)PAGE);
}

static pthread_t reader;

static void read_in_a_call(void *result, void **arguments, void *user) {
  (void)result, (void)arguments, (void)user;
  pthread_create(&reader, NULL, read_directly, (void *)callback_target->secret);
  while (!slow.talk->reads[0]) usleep(1000);
}

/* It begins when a call has the page open, and ends later. */
static bool reads_directly(struct target *target) {
  void *done;
  slow.content = serve_late;
  slow_file = fuse_open(&slow, O_RDONLY | O_DIRECT);
  call_back(target, read_in_a_call);
  if (secret_now(target) != SECRET) printf("not ok: too early");
  slow.talk->may_answer = 1;
  pthread_join(reader, &done);
  return done && secret_now(target) == CHANGE;
}

#define WITH_A_WINDOW                                                                              \
  { [NONE] = true, [PAGES] = true, [STRICT] = true }
#define WITH_A_WINDOW_FROM_BEFORE                                                                  \
  { [NONE] = true, [PAGES] = true, [STRICT] = true, [LOCKDOWN] = true }

static const struct attack attacks[] = {
    {.name = "userfaultfd changes bytes while they are copied",
     .run = changes_bytes,
     .succeeds = BUT_LOCKDOWN,
     .applies = has_faults},
    {.name = "userfaultfd takes the end of a string while it is copied",
     .run = takes_the_end,
     .applies = has_faults},
    {.name = "userfaultfd stops a copy, and another thread writes",
     .run = writes_meanwhile,
     .succeeds = WITH_A_WINDOW,
     .applies = has_faults},
    {.name = "a userfaultfd from before changes bytes while they are copied",
     .run = changes_bytes,
     .succeeds = EVERYWHERE,
     .before = open_faults,
     .applies = has_faults},
    {.name = "a userfaultfd from before takes the end of a string while it is copied",
     .run = takes_the_end,
     .before = open_faults,
     .applies = has_faults},
    {.name = "a userfaultfd from before stops a copy, and another thread writes",
     .run = writes_meanwhile,
     .succeeds = WITH_A_WINDOW_FROM_BEFORE,
     .before = open_faults,
     .applies = has_faults},
    {.name = "FUSE changes bytes while they are copied",
     .run = changes_served_bytes,
     .succeeds = EVERYWHERE,
     .applies = has_fuse},
    {.name = "FUSE takes the end of a string while it is copied",
     .run = takes_the_served_end,
     .applies = has_fuse},
    {.name = "a read with O_DIRECT begins in a call, and ends later",
     .run = reads_directly,
     .succeeds = EVERYWHERE,
     .applies = has_fuse},
};

int main(int count, char **arguments) {
  return try_attacks(attacks, sizeof attacks / sizeof *attacks, count, arguments);
}
