/* entry.c - the input is the entry of a client in the list, once as it is and once with its digest put right, and the
 * name of its file. */
#include "client/entry.h"
#include "fuzz.h"

static void look(const void *bytes, size_t size) {
  const struct mm__entry *entry = bytes;
  if (!mm__entry_is_whole(bytes, size)) return;
  MUST(entry->bytes <= size && strlen(entry->command) < sizeof entry->command);
  for (uint32_t i = 0; i < entry->image_count; i++)
    MUST(strlen(entry->images[i].path) < sizeof entry->images[i].path);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
  struct mm__entry *entry = copy_of(bytes, size);
  struct mm__identity identity;
  char *name = text_of(bytes, size);
  if (mm__entry_name_is_good(name, &identity))
    MUST(identity.pid > 0 && strlen(name) < MM__ENTRY_NAME_BYTES);
  free(name);
  look(entry, size);
  if (size >= sizeof *entry && entry->bytes >= sizeof *entry && entry->bytes <= size) {
    entry->magic = MM__ENTRY_MAGIC;
    entry->digest = mm__entry_digest(entry);
    look(entry, size);
  }
  free(entry);
  return 0;
}
