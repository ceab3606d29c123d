/* refuse/result_bad.c - must not compile: the definition has another result than the export. */
#include <matchmaker/server.h>

MM_EXPORT(int, spell, (const char *word))
const char *spell(const char *word) { return word; }

int main(void) { return mm_snapshot(0); }
