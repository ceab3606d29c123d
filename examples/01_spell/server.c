/* A spelling server: hunspell with its dictionary loaded, kept as an image.
 *
 *     cc -fPIE -pie server.c -o spell_server -lmatchmaker-server -lhunspell-1.7
 *     matchmaker snapshot -o spell.mmi ./spell_server hu_HU.aff hu_HU.dic
 *
 * Loading takes tens to hundreds of milliseconds, once, here. Who maps spell.mmi has it done. */
#include <hunspell/hunspell.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <matchmaker/server.h>

static Hunhandle *dictionary_handle;
static char *dictionary_path;
static char *suggestions;
static size_t suggestions_size;

MM_EXPORT(int, spell, (const char *word), "1 if the word is in the dictionary, else 0")
int spell(const char *word) { return Hunspell_spell(dictionary_handle, word) != 0; }

/* Room for `bytes` more behind `used`. */
static int grow(size_t used, size_t bytes) {
  if (used + bytes <= suggestions_size) return 1;
  size_t size = 2 * (used + bytes);
  char *larger = realloc(suggestions, size);
  if (!larger) return 0;
  suggestions = larger;
  suggestions_size = size;
  return 1;
}

MM_EXPORT(const char *, suggest, (const char *word),
          "words like this one, a line each, the likeliest first; valid until the next call")
const char *suggest(const char *word) {
  char **list = NULL;
  size_t used = 0;
  int count = Hunspell_suggest(dictionary_handle, &list, word);
  if (!grow(0, 1)) return NULL;
  for (int i = 0; i < count; i++) {
    size_t length = strlen(list[i]);
    if (!grow(used, length + 2)) break;
    if (used) suggestions[used++] = '\n';
    memcpy(suggestions + used, list[i], length);
    used += length;
  }
  suggestions[used] = 0;
  Hunspell_free_list(dictionary_handle, &list, count);
  return suggestions;
}

MM_EXPORT(int, add_word, (const char *word),
          "teaches the word to this process's copy, until a reset; 0 when that worked")
int add_word(const char *word) { return Hunspell_add(dictionary_handle, word); }

MM_EXPORT(const char *, encoding, (void), "what the dictionary's words are encoded in")
const char *encoding(void) { return Hunspell_get_dic_encoding(dictionary_handle); }

MM_EXPORT(const char *, dictionary, (void), "the path of the .dic file that was loaded")
const char *dictionary(void) { return dictionary_path; }

MM_EXPORT(void, crash, (void), "writes to address 0, to show what becomes of it")
void crash(void) {
  volatile int *volatile nowhere = NULL;
  *nowhere = 1;
}

MM_EXPORT(int, add, (int a, int b), "the sum: a call that costs nothing but the call")
int add(int a, int b) { return (int)((unsigned)a + (unsigned)b); }

int main(int count, char **arguments) {
  if (count != 3) {
    fprintf(stderr, "usage: %s AFF DIC\n", arguments[0]);
    return 2;
  }
  /* Hunspell takes a file that is not there for an empty one. */
  for (int i = 1; i < 3; i++)
    if (access(arguments[i], R_OK) != 0) {
      perror(arguments[i]);
      return 1;
    }
  dictionary_path = realpath(arguments[2], NULL);
  dictionary_handle = Hunspell_create(arguments[1], arguments[2]);
  if (!dictionary_handle || !dictionary_path) return 1;
  return mm_snapshot(NULL) == 0 ? 0 : 1;
}
