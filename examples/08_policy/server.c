/* A counter, with an export for everyone and one for few; it would like to print. */
#include <matchmaker/server.h>
#include <stdio.h>

static int value;

MM_EXPORT(int, counter_next, (void), "one more")
int counter_next(void) { return ++value; }

MM_EXPORT(void, counter_set, (int to), "for administrators")
void counter_set(int to) { value = to; }

MM_EXPORT(int, print, (void), "prints it; the number of bytes, negative when it could not")
int print(void) {
  int bytes = printf("the counter is %d\n", value);
  return fflush(stdout) == 0 ? bytes : -1;
}

int main(void) { return mm_snapshot(NULL); }
