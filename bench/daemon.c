/* bench/daemon.c - the same functions behind a Unix socket, and a client that measures them.
 *
 *     daemon serve SOCKET AFF DIC                serves one client after the other, until its
 *                                                standard input ends
 *     daemon ask SOCKET add|spell N free|CPU     N calls; prints the median nanoseconds of one
 *     daemon ask SOCKET spell N free|CPU WORD
 *
 * Records of one size over SOCK_SEQPACKET, and a server that blocks in its read: as fast as a
 * daemon can be. */
#define _GNU_SOURCE
#include <errno.h>
#include <hunspell/hunspell.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define BATCHES         25
#define CONNECT_SECONDS 20
#define FREE            (-1)

enum operation { ADD, SPELL, PIN };

struct request {
  int32_t operation;
  int32_t a, b; /* PIN: a is the processor, or FREE */
  char word[116];
};

static int fail(const char *what) {
  fprintf(stderr, "daemon: %s: %s\n", what, strerror(errno));
  return 1;
}

static int pin(int processor) {
  cpu_set_t set;
  CPU_ZERO(&set);
  for (int i = 0; i < CPU_SETSIZE; i++)
    if (processor == FREE || processor == i) CPU_SET(i, &set);
  return sched_setaffinity(0, sizeof set, &set);
}

static int address_of(const char *path, struct sockaddr_un *address) {
  *address = (struct sockaddr_un){.sun_family = AF_UNIX};
  if (strlen(path) >= sizeof address->sun_path) {
    errno = ENAMETOOLONG;
    return -1;
  }
  strcpy(address->sun_path, path);
  return socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
}

/* --- the server --- */

static int32_t answer(Hunhandle *handle, struct request *request) {
  request->word[sizeof request->word - 1] = 0;
  switch (request->operation) {
  case ADD:
    return (int32_t)((uint32_t)request->a + (uint32_t)request->b);
  case SPELL:
    return Hunspell_spell(handle, request->word) != 0;
  case PIN:
    return pin(request->a);
  }
  return -1;
}

static void serve_client(Hunhandle *handle, int client) {
  struct request request;
  while (read(client, &request, sizeof request) == (ssize_t)sizeof request) {
    int32_t result = answer(handle, &request);
    if (write(client, &result, sizeof result) != (ssize_t)sizeof result) break;
  }
  close(client);
}

static int serve(const char *path, const char *aff, const char *dic) {
  struct sockaddr_un address;
  int listener = address_of(path, &address);
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  signal(SIGPIPE, SIG_IGN);
  Hunhandle *handle = Hunspell_create(aff, dic);
  unlink(path);
  if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof address) != 0 ||
      listen(listener, 4) != 0)
    return fail(path);
  struct pollfd waited[2] = {{listener, POLLIN, 0}, {0, POLLIN, 0}};
  while (poll(waited, 2, -1) > 0 && waited[1].revents == 0) {
    int client = accept(listener, NULL, NULL);
    if (client >= 0) serve_client(handle, client);
  }
  unlink(path);
  Hunspell_destroy(handle);
  return 0;
}

/* --- the client --- */

static double nanoseconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static int call(int server, const struct request *request, int32_t *result) {
  if (write(server, request, sizeof *request) != (ssize_t)sizeof *request) return -1;
  return read(server, result, sizeof *result) == (ssize_t)sizeof *result ? 0 : -1;
}

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* The daemon may still be loading its dictionary. */
static int connect_patiently(const char *path) {
  struct sockaddr_un address;
  for (int i = 0; i < CONNECT_SECONDS * 100; i++) {
    int server = address_of(path, &address);
    if (server < 0) return -1;
    if (connect(server, (struct sockaddr *)&address, sizeof address) == 0) return server;
    close(server);
    usleep(10000);
  }
  return -1;
}

static int ask(const char *path, struct request *request, long calls, int processor) {
  double batch[BATCHES];
  struct request pinning = {.operation = PIN, .a = processor};
  int32_t result;
  int server = connect_patiently(path);
  long each = calls / BATCHES > 0 ? calls / BATCHES : 1;
  if (server < 0) return fail(path);
  if (pin(processor) != 0 || call(server, &pinning, &result) != 0 || result != 0)
    return fail("sched_setaffinity");
  for (int i = 0; i < BATCHES; i++) {
    double start = nanoseconds();
    for (long j = 0; j < each; j++) {
      request->a = (int32_t)j;
      if (call(server, request, &result) != 0) return fail("call");
    }
    batch[i] = (nanoseconds() - start) / (double)each;
  }
  close(server);
  qsort(batch, BATCHES, sizeof *batch, by_value);
  printf("%.1f\n", batch[BATCHES / 2]);
  return 0;
}

static int misuse(void) {
  fputs("usage: daemon serve SOCKET AFF DIC\n"
        "       daemon ask SOCKET add|spell N free|CPU [WORD]\n",
        stderr);
  return 2;
}

int main(int count, char **arguments) {
  if (count == 5 && strcmp(arguments[1], "serve") == 0)
    return serve(arguments[2], arguments[3], arguments[4]);
  if (count < 6 || strcmp(arguments[1], "ask") != 0) return misuse();
  struct request request = {.operation = strcmp(arguments[3], "spell") == 0 ? SPELL : ADD, .b = 1};
  if (count > 6) snprintf(request.word, sizeof request.word, "%s", arguments[6]);
  int processor = strcmp(arguments[5], "free") == 0 ? FREE : atoi(arguments[5]);
  return ask(arguments[2], &request, atol(arguments[4]), processor);
}
