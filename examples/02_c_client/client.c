/* A C program that spells through an image: map, bind, call, unmap.
 *
 *     cc client.c -o client -lmatchmaker
 *     ./client spell.mmi kutya kuyta
 *
 * Prints a line for each word. Exit status: 0, 1 when something failed, 2 for wrong usage. */
#include <stdio.h>

#include <matchmaker.h>

struct speller {
  struct mm_image *image;
  struct mm_function *spell, *suggest;
};

/* The signatures may be left out. Giving them makes an image with others fail here, and not in the
 * middle of a call. */
static int open_speller(struct speller *speller, const char *path, struct mm_error *error) {
  int status = mm_request_map(path, NULL, &speller->image, error);
  if (status == MM_OK)
    status = mm_bind(speller->image, "spell", "int (const char *)", &speller->spell, error);
  if (status == MM_OK)
    status =
        mm_bind(speller->image, "suggest", "const char *(const char *)", &speller->suggest, error);
  return status;
}

static int print_word(const struct speller *speller, const char *word, struct mm_error *error) {
  void *arguments[] = {&word};
  const char *suggestions = NULL;
  int right = 0;
  int status = mm_request_call(speller->spell, &right, arguments, error);
  if (status != MM_OK) return status;
  if (right) {
    printf("%s: right\n", word);
    return MM_OK;
  }
  status = mm_request_call(speller->suggest, &suggestions, arguments, error);
  if (status != MM_OK) return status;
  printf("%s: wrong", word);
  /* One a line; the string is ours until this thread's next call. */
  for (const char *c = suggestions; c && *c; c++) {
    if (c == suggestions || *c == '\n') fputs(c == suggestions ? "; perhaps " : ", ", stdout);
    if (*c != '\n') putchar(*c);
  }
  putchar('\n');
  return MM_OK;
}

int main(int count, char **arguments) {
  struct mm_error error = {0};
  struct speller speller = {0};
  if (count < 3) {
    fprintf(stderr, "usage: %s IMAGE WORD...\n", arguments[0]);
    return 2;
  }
  int status = mm_init(NULL, &error);
  if (status != MM_OK) {
    fprintf(stderr, "%s\n", error.message);
    return 1;
  }
  status = open_speller(&speller, arguments[1], &error);
  for (int i = 2; i < count && status == MM_OK; i++)
    status = print_word(&speller, arguments[i], &error);
  /* Whatever happened inside the image, this process is as it was, and can say so. */
  if (status != MM_OK) fprintf(stderr, "%s\n", error.message);
  mm_image_release(speller.image);
  if (mm_finalize(&error) != MM_OK) fprintf(stderr, "%s\n", error.message);
  return status == MM_OK ? 0 : 1;
}
