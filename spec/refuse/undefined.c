/* refuse/undefined.c - must not compile: the export has a type that nobody declared. */
#include <matchmaker/server.h>

MM_EXPORT(int, spell, (dictionary * words))
int spell(dictionary *words) { return words != 0; }

int main(void) { return mm_snapshot(0); }
