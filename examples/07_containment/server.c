/* Does all that one would not want in one's own process. */
#include <matchmaker/server.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

static int calls;

MM_EXPORT(int, count, (void), "how many calls this copy of the image has seen")
int count(void) { return ++calls; }

MM_EXPORT(int, divide, (int a, int b))
int divide(int a, int b) {
  calls++;
  return a / b;
}

MM_EXPORT(void, crash, (void))
void crash(void) {
  calls++;
  *(volatile int *)16 = 1;
}

MM_EXPORT(void, leave, (int status))
void leave(int status) {
  calls++;
  exit(status);
}

MM_EXPORT(void, give_up, (void))
void give_up(void) {
  calls++;
  abort();
}

MM_EXPORT(int, deepen, (int depth), "calls itself until there is no stack left")
int deepen(int depth) {
  volatile char room[1000] = {1};
  int deeper = depth < 0 ? 0 : deepen(depth + 1);
  return deeper + room[0];
}

MM_EXPORT(void, wait, (void), "for ever")
void wait(void) {
  for (volatile int i = 0;; i++) {
  }
}

MM_EXPORT(int, wipe, (const char *path))
int wipe(const char *path) { return remove(path); }

int main(void) { return mm_snapshot(NULL); }
