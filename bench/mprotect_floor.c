/* bench/mprotect_floor.c - what mprotect(2) alone costs that opens and closes around a call: so many
 * pieces of one written page each opened one by one, and closed by so many calls.
 *
 *     mprotect_floor OPENING CLOSING     prints the nanoseconds of a round, the least of many */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

#define PAGE   4096ul
#define STRIDE (16 * PAGE)
#define ROUNDS 300

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

static void check(int result) {
  if (result == 0) return;
  perror("mprotect_floor");
  exit(1);
}

static void toggle(char *memory, unsigned long opening, unsigned long closing) {
  unsigned long each = (opening + closing - 1) / closing;
  for (unsigned long i = 0; i < opening; i++)
    check(mprotect(memory + i * STRIDE, PAGE, PROT_READ | PROT_WRITE));
  for (unsigned long i = 0; i < opening; i += each) {
    unsigned long last = i + each < opening ? i + each : opening;
    check(mprotect(memory + i * STRIDE, (last - 1 - i) * STRIDE + PAGE, PROT_READ));
  }
}

int main(int count, char **arguments) {
  unsigned long opening = count > 2 ? strtoul(arguments[1], NULL, 10) : 0;
  unsigned long closing = count > 2 ? strtoul(arguments[2], NULL, 10) : 0;
  double best = 1e18;
  if (opening == 0 || closing == 0 || opening > 1000) return 2;
  char *memory =
      mmap(NULL, opening * STRIDE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return 3;
  for (unsigned long i = 0; i < opening; i++) {
    memory[i * STRIDE] = 1;
    check(madvise(memory + i * STRIDE, PAGE, MADV_RANDOM)); /* as the guard keeps pieces apart */
  }
  check(mprotect(memory, opening * STRIDE, PROT_READ));
  for (int i = 0; i < ROUNDS; i++) {
    double start = now();
    toggle(memory, opening, closing);
    double taken = now() - start;
    if (taken < best) best = taken;
  }
  printf("%.0f\n", best);
  return 0;
}
