/* unit/attack.h - ways in, tried at every level of protection: each has to succeed where it is said to.
 *
 * An attack runs in a child of its own, against an image that holds a secret. It succeeds if it returns true, or if the
 * image is changed afterwards. docs/guarantees.md is compared with what is printed here. */
#ifndef SPEC_UNIT_ATTACK_H
#define SPEC_UNIT_ATTACK_H

#include "client.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/prctl.h>

#define SECRET 0x5ec2e7a11ba5e5ull
#define CHANGE 0x1234567ull
#define PAGE   4096ul
#define NOBODY 65534
enum { LINGERS = 1, GO_ON = 2 }; /* what `linger` says, and waits for */

enum level { NONE, PAGES, KEYS, STRICT, LOCKDOWN, KEYS_LOCKDOWN, LEVELS };
static const char *const level_names[] = {"none",   "pages",    "keys",
                                          "strict", "lockdown", "keys and lockdown"};

struct target {
  struct mm_image *image;
  volatile uint64_t *secret;
  void *entry, *hidden, *middle;
  volatile int *go_on;
  char path[700]; /* of the image, where it may be changed */
  int memory;     /* /proc/self/mem, opened before the lockdown */
  pid_t sibling;  /* that waits for a byte, then attacks the parent */
  int wake;
};

enum user { ANYBODY, NOBODY_IN_PARTICULAR /* without capabilities */, ROOT };

struct attack {
  const char *name;
  bool (*run)(struct target *target);
  bool succeeds[LEVELS];
  bool sealed; /* the image is, where there is a guard */
  bool copied; /* the image's file may be changed */
  bool kills;  /* it succeeds if the process dies of it */
  bool closes; /* keys stop it where they close the client's memory; elsewhere they say nothing */
  bool with_keys; /* it is about protection keys */
  enum user user;
  uint32_t grants;
  uint64_t timeout_ns;
  void (*before)(struct target *target);
  bool (*applies)(void); /* whether kernel and machine have what it takes; NULL: all have */
};

static uint64_t secret_now(const struct target *target) {
  uint64_t value = 0;
  mm_read(target->image, (const void *)target->secret, &value, sizeof value, NULL);
  return value;
}

struct trial {
  const struct attack *attack;
  enum level level;
};

static void copy_image(const char *from, const char *path) {
  static char bytes[4 << 20];
  int file = open(from, O_RDONLY | O_CLOEXEC);
  ssize_t length = read(file, bytes, sizeof bytes);
  close(file);
  file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (length <= 0 || write(file, bytes, (size_t)length) != length) _exit(1);
  close(file);
}

static void become_nobody(void) {
  if (getuid() == 0 && (setgid(NOBODY) || setuid(NOBODY) || prctl(PR_SET_DUMPABLE, 1))) _exit(1);
}

static void try(void *trial_) {
  const struct trial *trial = trial_;
  const struct attack *attack = trial->attack;
  static const uint32_t guards[] = {MM_GUARD_OPEN,  MM_GUARD_PAGES, MM_GUARD_KEYS,
                                    MM_GUARD_PAGES, MM_GUARD_PAGES, MM_GUARD_KEYS};
  struct mm_map_options options = {.guard = guards[trial->level],
                                   .grants = attack->grants,
                                   .sealed = attack->sealed && trial->level != NONE,
                                   .strict = trial->level == STRICT,
                                   .timeout_ns = attack->timeout_ns};
  struct target target = {.memory = open("/proc/self/mem", O_RDWR | O_CLOEXEC)};
  struct mm_error error;
  char original[640];
  snprintf(original, sizeof original, "%s/image/secret.mmi", build_folder);
  snprintf(target.path, sizeof target.path, "%s/secret.mmi", folder);
  if (attack->copied) copy_image(original, target.path);
  bool keys = trial->level == KEYS || trial->level == KEYS_LOCKDOWN;
  if (attack->closes && !keys) way.config.without = MM_WITHOUT_CLOSING;
  connect_client();
  must(mm_request_map(attack->copied ? target.path : original, &options, &target.image, &error),
       &error);
#define ADDRESS(name) ((void *(*)(void))stub_of(target.image, name))()
  target.secret = ADDRESS("secret_address");
  target.entry = ADDRESS("entry_address");
  target.hidden = ADDRESS("hidden_address");
  target.middle = ADDRESS("middle_address");
  target.go_on = ADDRESS("go_on_address");
  if (attack->user == NOBODY_IN_PARTICULAR) become_nobody();
  prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0); /* where Yama would help */
  if (attack->before) attack->before(&target);
  uint64_t before = secret_now(&target);
  bool locked = trial->level == LOCKDOWN || trial->level == KEYS_LOCKDOWN;
  if (locked && mm_lockdown(NULL) != MM_OK) printf("cannot lock down\n");
  struct mm_image_info info;
  must(mm_image_info(target.image, &info, &error), &error);
  if (attack->closes && keys && !info.closes_client) printf("open ");
  printf("begun ");
  fflush(stdout);
  bool succeeded = attack->run(&target);
  if (succeeded || secret_now(&target) != before) printf("SUCCEEDED");
}

static void try_all(const struct attack *attack) {
  char output[4096];
  if ((attack->with_keys && !has_keys()) || (attack->applies && !attack->applies())) {
    printf("# attack %s: not here\n", attack->name);
    return;
  }
  for (unsigned level = 0; level < LEVELS; level++) {
    struct trial trial = {attack, level};
    bool keys = level == KEYS || level == KEYS_LOCKDOWN;
    if ((keys && !has_keys()) || (attack->with_keys && !keys)) continue;
    if (attack->user == ROOT && getuid()) continue;
    int status = in_child(try, &trial, output, sizeof output);
    bool succeeded = strstr(output, "SUCCEEDED") || (attack->kills && WIFSIGNALED(status)) ||
                     (WIFEXITED(status) && WEXITSTATUS(status) == 77);
    if (strstr(output, "open begun")) continue;
    bool right = succeeded == attack->succeeds[level] && strstr(output, "begun") &&
                 !strstr(output, "not ok");
    CHECK(right);
    if (!right) printf("# status %x: %.200s\n", (unsigned)status, output);
    printf("%s attack %s, %s: %s\n", right ? "ok" : "not ok", attack->name, level_names[level],
           attack->succeeds[level] ? "not stopped" : "stopped");
    fflush(stdout);
  }
}

/* A kernel without them kills who tries. */
static UNUSED bool has_32_bit_calls(void) {
  int status;
  pid_t child = fork();
  if (child == 0) {
    long number = 20; /* getpid */
    __asm__ volatile("int $0x80" : "+a"(number) : : "memory", "r8", "r9", "r10", "r11");
    _exit((int)number != getpid());
  }
  waitpid(child, &status, 0);
  return status == 0;
}

/* --- threads: libc blocks all signals while it starts one, in both, and a strict call would kill who is
 * there. So they go on together. One is started at a time. --- */

static struct starting {
  void *(*body)(void *argument);
  void *argument;
  pthread_barrier_t both;
} starting UNUSED;

static UNUSED void *run_started(void *unused) {
  (void)unused;
  struct starting mine = starting;
  pthread_barrier_wait(&starting.both);
  return mine.body(mine.argument);
}

static UNUSED pthread_t start_thread(void *(*body)(void *), void *argument) {
  pthread_t thread;
  starting.body = body;
  starting.argument = argument;
  if (pthread_barrier_init(&starting.both, NULL, 2) ||
      pthread_create(&thread, NULL, run_started, NULL))
    abort();
  pthread_barrier_wait(&starting.both);
  return thread;
}

/* --- callbacks: during one, the secret's page is open --- */

static struct target *callback_target UNUSED;

static UNUSED struct mm_function *make_callback(struct target *target,
                                                mm_callback_function *function, void **pointer) {
  struct mm_callback *callback;
  struct mm_error error;
  callback_target = target;
  must(mm_callback(target->image, "void (void)", function, NULL, &callback, &error), &error);
  *pointer = mm_callback_pointer(callback);
  return function_of(target->image, "call_back");
}

static UNUSED int call_back(struct target *target, mm_callback_function *function) {
  void *pointer;
  struct mm_function *call = make_callback(target, function, &pointer);
  void *arguments[] = {&pointer};
  int result = 0;
  return mm_request_call(call, &result, arguments, NULL);
}

/* argv[2]: only the attack of this name. Returns the exit status. */
static int try_attacks(const struct attack *attacks, size_t count, int argument_count,
                       char **arguments) {
  find_folders(argument_count, arguments);
  for (size_t i = 0; i < count; i++)
    if (argument_count < 3 || strcmp(arguments[2], attacks[i].name) == 0) try_all(&attacks[i]);
  return failures != 0;
}

/* What succeeds where: */
#define UP_TO_GUARD                                                                                \
  { [NONE] = true }
#define BUT_LOCKDOWN                                                                               \
  { [NONE] = true, [PAGES] = true, [KEYS] = true, [STRICT] = true }
#define BUT_KEYS                                                                                   \
  { [NONE] = true, [PAGES] = true, [STRICT] = true, [LOCKDOWN] = true }
#define EVERYWHERE                                                                                 \
  { true, true, true, true, true, true }
#define NONE_AND_KEYS                                                                              \
  { [NONE] = true, [KEYS] = true, [KEYS_LOCKDOWN] = true }

#endif
