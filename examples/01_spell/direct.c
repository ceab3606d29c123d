/* The same without an image: every process loads the dictionary for itself. The answers, times and
 * memory of the image are compared with these.
 *
 *     direct AFF DIC time      loads; prints the milliseconds that it took
 *     direct AFF DIC check     for each line it reads: "1 WORD", or "0 WORD<tab>SUGGESTION<tab>..."
 *     direct AFF DIC memory    loads, checks a word, prints "ready PID", waits for end of input */
#include <hunspell/hunspell.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static double milliseconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static void check(Hunhandle *handle) {
  char word[1024], **list;
  while (fgets(word, sizeof word, stdin)) {
    word[strcspn(word, "\n")] = 0;
    if (Hunspell_spell(handle, word)) {
      printf("1 %s\n", word);
      continue;
    }
    printf("0 %s", word);
    int count = Hunspell_suggest(handle, &list, word);
    for (int i = 0; i < count; i++) printf("\t%s", list[i]);
    Hunspell_free_list(handle, &list, count);
    putchar('\n');
  }
}

static int misuse(const char *program) {
  fprintf(stderr, "usage: %s AFF DIC time|check|memory\n", program);
  return 2;
}

int main(int count, char **arguments) {
  if (count != 4) return misuse(arguments[0]);
  for (int i = 1; i < 3; i++)
    if (access(arguments[i], R_OK) != 0) {
      perror(arguments[i]);
      return 1;
    }
  double start = milliseconds();
  Hunhandle *handle = Hunspell_create(arguments[1], arguments[2]);
  double end = milliseconds();
  if (strcmp(arguments[3], "time") == 0) {
    printf("%.3f\n", end - start);
  } else if (strcmp(arguments[3], "check") == 0) {
    check(handle);
  } else if (strcmp(arguments[3], "memory") == 0) {
    Hunspell_spell(handle, "word");
    printf("ready %d\n", (int)getpid());
    fflush(stdout);
    while (getchar() != EOF) continue;
  } else {
    return misuse(arguments[0]);
  }
  Hunspell_destroy(handle);
  return 0;
}
