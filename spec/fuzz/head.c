/* head.c - the input is the head of an image. Its digest is put right: it tells damage, and would keep everything
 * else from being tried. */
#include "base/digest.h"
#include "image/check.h"
#include "readers.h"

#define FILE_BYTES_LIMIT (1ul << 40)

/* NULL: there is no room for them. */
static struct mm__facts *facts_of(uint8_t *head, uint64_t head_bytes) {
  const Elf64_Phdr *note = (const Elf64_Phdr *)(head + sizeof(Elf64_Ehdr));
  uint64_t at = note->p_offset + sizeof(Elf64_Nhdr) + 12; /* "Matchmaker", padded */
  return at + sizeof(struct mm__facts) <= head_bytes ? (struct mm__facts *)(head + at) : NULL;
}

static void check_head(uint8_t *bytes, uint64_t head_bytes) {
  struct mm__head head;
  struct mm_error error;
  struct mm__facts *facts = facts_of(bytes, head_bytes);
  if (facts) facts->head_digest = 0;
  if (facts) facts->head_digest = mm__digest(bytes, head_bytes);
  uint64_t file_bytes = facts ? facts->file_bytes : head_bytes;
  if (mm__head_check(bytes, head_bytes, file_bytes, &head, &error) != MM_OK) {
    MUST(error.message[0]);
    return;
  }
  MUST(head.load_count >= 1 && head.facts->stack_low < head.facts->stack_high);
  read_registry(&head.registry);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
  struct mm_error error;
  uint64_t head_bytes;
  uint8_t *start = copy_of(bytes, size);
  if (mm__head_bytes(start, size, FILE_BYTES_LIMIT, &head_bytes, &error) == MM_OK &&
      head_bytes <= size) {
    uint8_t *head = copy_of(bytes, head_bytes);
    check_head(head, head_bytes);
    free(head);
  }
  free(start);
  return 0;
}
