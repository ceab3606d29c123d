/* policy.c - the input is a policy, the path of an image, and what is asked for, with NULs between them. Whatever the
 * text is, it is a policy or one line that says where it is none; what a policy says does not depend on when it is
 * asked, is never more than its limits, and what it allows with grants it allows without. */
#include "client/policy.h"
#include "fuzz.h"
#include "image/check.h"
#include "signature/builder.h"

#define EXPORTS 4

static const char *const prototypes[EXPORTS] = {"int add(int a, int b)", "int counter_get(void)",
                                                "int counter_next(void)", "void a(void)"};
static struct mm__head head;

static void make_head(void) {
  static void *block;
  struct mm_error error;
  size_t bytes;
  if (block) return;
  struct mm__builder *builder = mm__builder_new();
  for (int i = 0; i < EXPORTS; i++)
    MUST(mm__builder_export(builder, prototypes[i], NULL, 0x1000, &error) == MM_OK);
  MUST(mm__builder_finish(builder, &block, &bytes, &error) == MM_OK);
  mm__builder_free(builder);
  MUST(mm__registry_check(block, bytes, &head.registry) == NULL);
}

static void check_error(int status, const struct mm_error *error) {
  if (status == MM_OK) return;
  MUST(status == MM_ERROR_POLICY || status == MM_ERROR_LIMIT);
  MUST(error->message[0] && !strchr(error->message, '\n'));
}

/* --- patterns, looked at the slow way --- */

static bool fits_slowly(const char *pattern, const char *text) {
  bool row[65] = {true}; /* whether what there is of the pattern fits so much of the text */
  size_t length = strlen(text);
  for (; *pattern; pattern++) {
    bool before = row[0];
    row[0] = row[0] && *pattern == '*';
    for (size_t i = 1; i <= length; i++) {
      char c = text[i - 1];
      bool here = row[i];
      if (*pattern == '*')
        row[i] = here || (row[i - 1] && c != '/');
      else
        row[i] = before && (*pattern == c || (*pattern == '?' && c != '/'));
      before = here;
    }
  }
  return row[length];
}

static void check_patterns(char **patterns, const char *text) {
  for (; patterns && *patterns; patterns++)
    if (strlen(text) <= 64) MUST(mm__pattern_fits(*patterns, text) == fits_slowly(*patterns, text));
}

/* --- judging --- */

struct answer {
  int status;
  struct mm__permission permission;
  uint8_t forbidden[EXPORTS];
};

static struct answer ask(const struct mm__policy *policy, const char *path,
                         const struct mm_map_options *options) {
  struct mm__request request = {
      .file = -1, .path = path, .name = "the image", .head = &head, .options = options};
  struct answer answer = {0};
  struct mm_error error = {0};
  uint8_t *forbidden = calloc(1, EXPORTS);
  MUST(forbidden);
  answer.permission.forbidden = forbidden;
  answer.status = mm__policy_judge(policy, path, &request, &answer.permission, &error);
  check_error(answer.status, &error);
  memcpy(answer.forbidden, forbidden, EXPORTS);
  answer.permission.forbidden = NULL;
  free(forbidden);
  return answer;
}

static void check_limit(uint64_t limit, uint64_t allowed) {
  MUST(!limit || (allowed && allowed <= limit));
}

static void judge(const struct mm__policy *policy, const char *path, const uint8_t *wishes) {
  struct mm_grant_files files[] = {{"/tmp", wishes[0] & 3},
                                   {"/usr/../usr/lib", wishes[0] >> 2 & 3}};
  struct mm_map_options options = {.grants = wishes[0] >> 4,
                                   .memory_bytes = (uint64_t)wishes[1] << 20,
                                   .timeout_ns = (uint64_t)wishes[2] * 100000000,
                                   .files = files,
                                   .file_count = wishes[3] % 3};
  struct answer one = ask(policy, path, &options), same = ask(policy, path, &options);
  MUST(memcmp(&one, &same, sizeof one) == 0);
  if (one.status != MM_OK) return;
  check_limit(policy->limits.images, one.permission.images);
  check_limit(policy->limits.image_bytes, one.permission.image_bytes);
  check_limit(policy->limits.exports, one.permission.exports);
  check_limit(policy->limits.memory_bytes, one.permission.memory_bytes);
  check_limit(policy->limits.timeout_ns, one.permission.timeout_ns);
  check_limit(one.permission.memory_bytes, options.memory_bytes ? options.memory_bytes : 1);
  options.grants = options.file_count = 0;
  MUST(ask(policy, path, &options).status == MM_OK);
}

static void use(const struct mm__policy *policy, const char *path, const uint8_t *wishes) {
  for (uint32_t i = 0; i < policy->rule_count; i++) {
    check_patterns(policy->rules[i].images, path);
    check_patterns(policy->rules[i].exports, path);
  }
  judge(policy, path, wishes);
  judge(policy, "/usr/lib/matchmaker/math.mmi", wishes);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
  const uint8_t *end = memchr(bytes, 0, size);
  size_t length = end ? (size_t)(end - bytes) : size;
  char *text = copy_of(bytes, length);
  struct mm__policy *policy;
  struct mm_error error = {0};
  make_head();
  int status = mm__policy_parse(text, length, "a policy", &policy, &error);
  free(text);
  check_error(status, &error);
  MUST(status == MM_OK || strncmp(error.message, "a policy:", 9) == 0);
  if (status != MM_OK) return 0;
  uint8_t wishes[4] = {0};
  char *path = text_of(bytes + length, size - length); /* with the NUL before it, if there is one */
  size_t at = length < size, rest = length + at + strlen(path + at) + 1;
  for (size_t i = 0; i < sizeof wishes && rest + i < size; i++) wishes[i] = bytes[rest + i];
  use(policy, path + at, wishes);
  free(path);
  mm__policy_free(policy);
  return 0;
}
