/* Sorts: qsort(3), with whatever comparison the client brings. */
#include <matchmaker/server.h>
#include <stdlib.h>

MM_EXPORT(void, sort, (int *numbers, size_t count, int (*compare)(const int *, const int *)),
          "sorts in place")
void sort(int *numbers, size_t count, int (*compare)(const int *, const int *)) {
  qsort(numbers, count, sizeof *numbers, (int (*)(const void *, const void *))compare);
}

int main(void) { return mm_snapshot(NULL); }
