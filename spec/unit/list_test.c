/* unit/list_test.c - the list of clients under fork, exec, kill, limits, and what others put in its folder.
 * Usage: list_test FOLDER [KILLS CLIENTS] */
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "client.h"
#include "client/entry.h"

static char runtime[600], list_folder[640];

/* A new runtime folder for each test. */
static void new_runtime(void) {
  static int number;
  snprintf(runtime, sizeof runtime, "%s/%d-%d", folder, getpid(), number++);
  snprintf(list_folder, sizeof list_folder, "%s/matchmaker", runtime);
  CHECK_EQUAL(0, mkdir(runtime, 0700));
  setenv("XDG_RUNTIME_DIR", runtime, 1);
}

static void make_list_folder(void) { CHECK_EQUAL(0, mkdir(list_folder, 0700)); }

/* How many images the client `pid` has in the list; -1: it is not there. */
static int images_of(pid_t pid) {
  struct mm_client *clients = NULL;
  uint32_t count = 0;
  struct mm_error error;
  int images = -1;
  must(mm_clients(&clients, &count, &error), &error);
  for (uint32_t i = 0; i < count; i++)
    if (clients[i].pid == pid) images = (int)clients[i].image_count;
  mm_clients_free(clients, count);
  return images;
}

static uint32_t count_clients(void) {
  struct mm_client *clients = NULL;
  uint32_t count = 0;
  struct mm_error error;
  must(mm_clients(&clients, &count, &error), &error);
  mm_clients_free(clients, count);
  return count;
}

static int file_count(void) {
  struct dirent **names;
  int count = scandir(list_folder, &names, NULL, NULL);
  for (int i = 0; i < count; i++) free(names[i]);
  if (count >= 0) free(names);
  return count - 2;
}

/* --- a child that does something and then waits to be killed --- */

struct child {
  pid_t pid;
  int ready; /* a byte comes, or the end when it executes something else */
  int hold;  /* closing it ends a child that reads it */
};

static int say_ready; /* in the child */

static void ready(void) {
  if (write(say_ready, "", 1) != 1) _exit(1);
}

static struct child start(void (*body)(void)) {
  int told[2], hold[2];
  struct child child = {0};
  CHECK_EQUAL(0, pipe2(told, O_CLOEXEC) | pipe2(hold, O_CLOEXEC));
  fflush(stdout);
  child.pid = fork();
  if (child.pid == 0) {
    close(hold[1]);
    close(told[0]);
    dup2(hold[0], 0);
    say_ready = told[1];
    body();
    ready();
    for (;;) pause();
  }
  close(hold[0]);
  close(told[1]);
  child.ready = told[0];
  child.hold = hold[1];
  return child;
}

static void wait_ready(const struct child *child) {
  char byte;
  while (read(child->ready, &byte, 1) < 0 && errno == EINTR) {
  }
}

/* How it ended: a wait status. */
static int stop(const struct child *child) {
  int status = -1;
  kill(child->pid, SIGKILL);
  waitpid(child->pid, &status, 0);
  close(child->ready);
  close(child->hold);
  return status;
}

static struct mm_image *mapped;
static int (*add)(int, int);

static void map_math(void) {
  connect_client();
  mapped = map_image("math");
  add = (int (*)(int, int))stub_of(mapped, "add");
}

static void finalize(void) {
  struct mm_error error;
  mm_image_release(mapped);
  must(mm_finalize(&error), &error);
}

static void call(void) { CHECK_EQUAL(3, add(1, 2)); }
static void become_cat(void) {
  map_math();
  execl("/bin/cat", "cat", (char *)NULL);
}

/* --- tests --- */

static void a_forked_child_that_calls_is_a_client(void) {
  new_runtime();
  map_math();
  call();
  CHECK_EQUAL(1, images_of(getpid()));
  struct child caller = start(call);
  wait_ready(&caller);
  CHECK_EQUAL(1, images_of(caller.pid));
  CHECK_EQUAL(1, images_of(getpid()));
  stop(&caller);
  CHECK_EQUAL(-1, images_of(caller.pid));
  finalize();
  CHECK_EQUAL(0, file_count());
}

static void map_another(void) { map_image("text"); }

static void a_forked_child_that_maps_is_a_client(void) {
  new_runtime();
  map_math();
  struct child child = start(map_another);
  wait_ready(&child);
  CHECK_EQUAL(2, images_of(child.pid));
  CHECK_EQUAL(1, images_of(getpid()));
  stop(&child);
  finalize();
}

static void exit_well(void) { exit(0); }

static void a_forked_child_leaves_its_parents_entry(void) {
  new_runtime();
  map_math();
  struct child child = start(exit_well);
  wait_ready(&child);
  CHECK_EQUAL(1, images_of(getpid()));
  stop(&child);
  finalize();
}

static void *fork_and_end(void *unused) {
  pid_t child = fork();
  if (child == 0) exit(0);
  waitpid(child, NULL, 0);
  return unused;
}

/* Such a child has no entry of its own, and knows that of its parent. */
static void so_does_a_child_of_a_thread_that_never_called(void) {
  pthread_t thread;
  new_runtime();
  map_math();
  pthread_create(&thread, NULL, fork_and_end, NULL);
  pthread_join(thread, NULL);
  CHECK_EQUAL(1, images_of(getpid()));
  finalize();
}

static void what_a_client_executes_is_none(void) {
  new_runtime();
  struct child child = start(become_cat);
  wait_ready(&child);
  CHECK_EQUAL(1, file_count());
  CHECK_EQUAL(-1, images_of(child.pid));
  CHECK_EQUAL(0, file_count());
  stop(&child);
}

static void a_killed_client_is_removed_by_who_looks(void) {
  new_runtime();
  struct child child = start(map_math);
  wait_ready(&child);
  CHECK_EQUAL(1, images_of(child.pid));
  kill(child.pid, SIGKILL);
  waitid(P_PID, (id_t)child.pid, &(siginfo_t){0},
         WEXITED | WNOWAIT); /* it waits for us: a zombie */
  CHECK_EQUAL(1, file_count());
  CHECK_EQUAL(-1, images_of(child.pid));
  CHECK_EQUAL(0, file_count());
  stop(&child);
}

static void connect_and_end(void) {
  connect_client();
  exit(0);
}

static void who_ends_without_finalize_leaves_nothing(void) {
  new_runtime();
  struct child child = start(connect_and_end);
  wait_ready(&child);
  stop(&child);
  CHECK_EQUAL(0, file_count());
}

static void what_was_killed_does_not_pile_up(void) {
  new_runtime();
  for (int i = 0; i < 20; i++) {
    struct child child = start(map_math);
    wait_ready(&child);
    stop(&child);
  }
  CHECK(file_count() < 20);
  for (int i = 0; i < 40; i++) {
    struct child child = start(connect_and_end);
    wait_ready(&child);
    stop(&child);
  }
  CHECK(file_count() < 4);
}

/* --- entries of others, and what only looks like one --- */

static struct mm__entry *entry_of(const struct mm__identity *identity) {
  static union {
    struct mm__entry entry;
    char room[sizeof(struct mm__entry) + sizeof(struct mm_client_image)];
  } made;
  memset(&made, 0, sizeof made);
  struct mm_client_image *image = made.entry.images;
  made.entry.magic = MM__ENTRY_MAGIC;
  made.entry.bytes = sizeof made;
  made.entry.image_count = 1;
  made.entry.identity = *identity;
  image->slot = 7;
  snprintf(image->path, sizeof image->path, "/a.mmi");
  made.entry.digest = mm__entry_digest(&made.entry);
  return &made.entry;
}

static void path_of(const struct mm__identity *identity, char *path, size_t size) {
  snprintf(path, size, "%s/" MM__ENTRY_NAME, list_folder, identity->pid, identity->start,
           identity->pid_namespace, 1ul);
}

static void write_file(const char *path, const void *bytes, size_t size) {
  int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  CHECK_EQUAL(size, write(file, bytes, size));
  close(file);
}

static void forge(const struct mm__identity *identity) {
  char path[900];
  path_of(identity, path, sizeof path);
  write_file(path, entry_of(identity), sizeof(struct mm__entry) + sizeof(struct mm_client_image));
}

static struct mm__identity self(void) {
  struct mm__identity identity;
  struct mm_error error;
  must(mm__identity_of_self(&identity, &error), &error);
  return identity;
}

static void a_pid_that_came_again_is_another_process(void) {
  new_runtime();
  make_list_folder();
  struct mm__identity identity = self();
  identity.start--;
  forge(&identity);
  CHECK_EQUAL(-1, images_of(getpid()));
  CHECK_EQUAL(0, file_count());
}

static void a_pid_of_another_namespace_is_left_alone(void) {
  struct mm_client *clients = NULL;
  uint32_t count = 0;
  new_runtime();
  make_list_folder();
  struct mm__identity identity = self();
  identity.pid_namespace++;
  forge(&identity);
  CHECK_EQUAL(MM_OK, mm_clients(&clients, &count, NULL));
  CHECK_EQUAL(1, count);
  if (count == 1) {
    CHECK_EQUAL(1, clients[0].is_foreign);
    CHECK_EQUAL(0, clients[0].is_self);
    CHECK_EQUAL(1, clients[0].image_count);
  }
  mm_clients_free(clients, count);
  CHECK_EQUAL(1, file_count());
}

static void only_what_is_mapped_is_believed(void) {
  new_runtime();
  map_math();
  struct mm__identity identity = self();
  forge(&identity);
  CHECK_EQUAL(1, images_of(getpid()));
  CHECK_EQUAL(1, count_clients());
  finalize();
}

static void make_strange(const char *path, int kind) {
  static const char zeros[sizeof(struct mm__entry)];
  switch (kind) {
  case 0:
    CHECK_EQUAL(0, mkfifo(path, 0600));
    break;
  case 1:
    CHECK_EQUAL(0, symlink("/etc/passwd", path));
    break;
  case 2:
    CHECK_EQUAL(0, mkdir(path, 0700));
    break;
  case 3:
    write_file(path, "", 0);
    break;
  case 4:
    write_file(path, zeros, sizeof zeros);
    break;
  case 5:
    write_file(path, "x", 1);
    CHECK_EQUAL(0, truncate(path, 1l << 40));
    break;
  case 6:
    CHECK_EQUAL(0, symlink(path, path));
    break;
  }
}

/* Half of it is the old one: its writer was killed in the middle of it. */
static void what_was_half_written_is_passed_over(void) {
  char path[900];
  struct mm__identity identity = self();
  new_runtime();
  make_list_folder();
  path_of(&identity, path, sizeof path);
  must(mm_init(&(struct mm_config){.unlisted = 1}, NULL), NULL);
  struct mm__entry *entry = entry_of(&identity);
  entry->started++;
  write_file(path, entry, entry->bytes);
  CHECK_EQUAL(-1, images_of(getpid()));
  forge(&identity);
  CHECK_EQUAL(0, images_of(getpid())); /* of which none is mapped */
  must(mm_finalize(NULL), NULL);
}

static void what_is_no_entry_is_passed_over(void) {
  char path[900];
  struct mm__identity identity = self();
  connect_client();
  for (int kind = 0; kind < 7; kind++) {
    new_runtime();
    make_list_folder();
    path_of(&identity, path, sizeof path);
    make_strange(path, kind);
    CHECK_EQUAL(0, count_clients());
    CHECK_EQUAL(1, file_count());
  }
  must(mm_finalize(NULL), NULL);
}

static void other_names_are_left_alone(void) {
  static const char *const others[] = {
      "x",       ".hidden",  "1",        "1.2.3",   "01.2.3.4", "-1.2.3.4",        "1.2.3.4.5",
      "1.2.3.g", " 1.2.3.4", "1.2.3.4 ", "0.2.3.4", "1.+2.3.4", "4294967297.2.3.4"};
  char path[900];
  const int count = sizeof others / sizeof *others;
  new_runtime();
  make_list_folder();
  for (int i = 0; i < count; i++) {
    snprintf(path, sizeof path, "%s/%s", list_folder, others[i]);
    write_file(path, "", 0);
  }
  CHECK_EQUAL(0, count_clients());
  CHECK_EQUAL(count, file_count());
}

/* --- a folder that will not do: the client works, and says what it lacks --- */

static void works_but_is_not_seen(const char *why) {
  struct mm_error error = {0};
  map_math();
  call();
  CHECK_EQUAL(MM_ERROR_SYSTEM, mm_clients_lack(&error));
  CHECK(strstr(error.message, why) != NULL);
  if (!strstr(error.message, why)) printf("# %s\n", error.message);
  finalize();
}

static void refuses_the_folder(void) {
  struct mm_client *clients;
  uint32_t count;
  works_but_is_not_seen("must be a folder of this user's");
  CHECK_EQUAL(MM_ERROR_SYSTEM, mm_clients(&clients, &count, NULL));
}

static void a_link_is_no_folder(void) {
  char elsewhere[700];
  new_runtime();
  snprintf(elsewhere, sizeof elsewhere, "%s/elsewhere", runtime);
  CHECK_EQUAL(0, mkdir(elsewhere, 0700) | symlink(elsewhere, list_folder));
  refuses_the_folder();
  CHECK_EQUAL(0, rmdir(elsewhere));
}

static void a_folder_for_everybody_is_refused(void) {
  new_runtime();
  make_list_folder();
  CHECK_EQUAL(0, chmod(list_folder, 0777));
  refuses_the_folder();
}

static void somebody_elses_folder_is_refused(void) {
  new_runtime();
  make_list_folder();
  if (chown(list_folder, 1, 1) == 0) refuses_the_folder(); /* as root only */
}

static void a_limit_on_files_is_no_signal(void) {
  struct rlimit old, none = {0, RLIM_INFINITY};
  new_runtime();
  CHECK_EQUAL(0, getrlimit(RLIMIT_FSIZE, &old) | setrlimit(RLIMIT_FSIZE, &none));
  works_but_is_not_seen("File too large");
  CHECK_EQUAL(0, setrlimit(RLIMIT_FSIZE, &old));
  CHECK_EQUAL(0, file_count());
}

static void no_descriptors_are_no_obstacle(void) {
  struct rlimit old, none;
  new_runtime();
  map_math();
  getrlimit(RLIMIT_NOFILE, &old);
  none = (struct rlimit){0, old.rlim_max};
  CHECK_EQUAL(0, setrlimit(RLIMIT_NOFILE, &none));
  CHECK_EQUAL(MM_OK, mm_unmap(mapped, NULL));
  CHECK_EQUAL(MM_ERROR_SYSTEM, mm_clients_lack(NULL));
  CHECK_EQUAL(0, setrlimit(RLIMIT_NOFILE, &old));
  finalize();
}

static void a_folder_that_went_away_is_made_again(void) {
  char command[800];
  struct mm_error error;
  new_runtime();
  map_math();
  snprintf(command, sizeof command, "rm -r %s", list_folder);
  CHECK_EQUAL(0, system(command));
  must(mm_unmap(mapped, &error), &error);
  map_image("text");
  CHECK_EQUAL(MM_OK, mm_clients_lack(NULL));
  CHECK_EQUAL(1, images_of(getpid()));
  finalize();
}

/* As root: /proc stays that of the outer namespace. */
static void in_new_namespace(void) {
  if (unshare(CLONE_NEWPID)) exit(0);
  pid_t inner = fork();
  if (inner == 0) {
    works_but_is_not_seen("/proc is that of another pid namespace");
    exit(failures != 0);
  }
  int status = 0;
  waitpid(inner, &status, 0);
  exit(status != 0);
}

static void a_foreign_proc_is_not_believed(void) {
  new_runtime();
  struct child child = start(in_new_namespace);
  int status = 0;
  CHECK_EQUAL(child.pid, waitpid(child.pid, &status, 0));
  CHECK_EQUAL(0, status);
}

/* As root: a file system of one page, which then cannot be written at all. */
static void a_full_or_read_only_disk_is_no_obstacle(void) {
  char path[700];
  new_runtime();
  if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
      mount("tmpfs", runtime, "tmpfs", 0, "size=4096,mode=700"))
    return;
  snprintf(path, sizeof path, "%s/full", runtime);
  static const char page[4096];
  write_file(path, page, sizeof page);
  works_but_is_not_seen("No space left on device");
  CHECK_EQUAL(0, file_count());
  CHECK_EQUAL(0, unlink(path) | rmdir(list_folder));
  CHECK_EQUAL(0, mount("tmpfs", runtime, "tmpfs", MS_REMOUNT | MS_RDONLY, NULL));
  works_but_is_not_seen("Read-only file system");
}

/* --- many, and at every moment --- */

static int kills = 50, crowd = 50;

/* All that a client does in its life. One that is killed has all of it behind it, and some of it again. */
static void come_and_go(void) {
  for (bool first = true;; first = false) {
    map_math();
    call();
    CHECK_EQUAL(MM_OK, mm_reset(mapped, NULL));
    finalize();
    if (failures) _exit(1);
    if (first) ready();
  }
}

static void killed_at_any_moment_it_hurts_nobody(void) {
  new_runtime();
  struct child witness = start(map_math);
  wait_ready(&witness);
  srand(1);
  for (int i = 0; i < kills; i++) {
    struct child child = start(come_and_go);
    wait_ready(&child);
    usleep((useconds_t)rand() % 5000);
    if (i % 3 == 0) images_of(child.pid);
    CHECK_EQUAL(SIGKILL, stop(&child)); /* and it did not end before */
    if (i % 2) CHECK_EQUAL(1, images_of(witness.pid));
    if (i % 2) CHECK_EQUAL(1, file_count());
  }
  CHECK_EQUAL(1, count_clients());
  stop(&witness);
  CHECK_EQUAL(0, count_clients());
  CHECK_EQUAL(0, file_count());
  map_math(); /* and whoever comes afterwards */
  call();
  finalize();
}

static void many_at_once(void) {
  struct child *children = calloc((size_t)crowd, sizeof *children);
  new_runtime();
  connect_client(); /* the folder */
  for (int i = 0; i < crowd; i++) children[i] = start(map_math);
  for (int i = 0; i < crowd; i++) wait_ready(&children[i]);
  CHECK_EQUAL(crowd + 1, count_clients());
  CHECK_EQUAL(1, images_of(children[crowd - 1].pid));
  for (int i = 0; i < crowd; i++) stop(&children[i]);
  CHECK_EQUAL(1, count_clients());
  CHECK_EQUAL(1, file_count());
  free(children);
  must(mm_finalize(NULL), NULL);
}

static void tests(void) {
  if (kills + crowd > 100) alarm(10 * TEST_SECONDS);
  RUN(a_forked_child_that_calls_is_a_client);
  RUN(a_forked_child_that_maps_is_a_client);
  RUN(a_forked_child_leaves_its_parents_entry);
  RUN(so_does_a_child_of_a_thread_that_never_called);
  RUN(who_ends_without_finalize_leaves_nothing);
  RUN(what_a_client_executes_is_none);
  RUN(a_killed_client_is_removed_by_who_looks);
  RUN(what_was_killed_does_not_pile_up);
  RUN(a_pid_that_came_again_is_another_process);
  RUN(a_pid_of_another_namespace_is_left_alone);
  RUN(only_what_is_mapped_is_believed);
  RUN(what_was_half_written_is_passed_over);
  RUN(what_is_no_entry_is_passed_over);
  RUN(other_names_are_left_alone);
  RUN(a_link_is_no_folder);
  RUN(a_folder_for_everybody_is_refused);
  RUN(somebody_elses_folder_is_refused);
  RUN(a_limit_on_files_is_no_signal);
  RUN(no_descriptors_are_no_obstacle);
  RUN(a_folder_that_went_away_is_made_again);
  RUN(killed_at_any_moment_it_hurts_nobody);
  RUN(many_at_once);
  RUN(a_foreign_proc_is_not_believed);
  RUN(a_full_or_read_only_disk_is_no_obstacle);
}

int main(int count, char **arguments) {
  static const struct way ways[] = {{"as ever", MM_GUARD_PAGES, {0}}};
  find_folders(count, arguments);
  if (count == 4) kills = atoi(arguments[2]), crowd = atoi(arguments[3]);
  return run_ways(ways, 1, tests);
}
