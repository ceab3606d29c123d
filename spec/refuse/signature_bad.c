/* refuse/signature_bad.c - must not compile: the definition has another signature than the export. */
#include <matchmaker/server.h>

MM_EXPORT(int, spell, (const char *word), "1 if the word is in the dictionary")
int spell(int word) { return word; }

int main(void) { return mm_snapshot(0); }
