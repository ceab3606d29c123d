// refuse/signature_bad.cc - must not compile: the definition has another signature than the export.
#include <matchmaker/server.h>

extern "C" {
MM_EXPORT(int, spell, (const char *word), "1 if the word is in the dictionary")
int spell(int word) { return word; }
}

int main() { return mm_snapshot(nullptr); }
