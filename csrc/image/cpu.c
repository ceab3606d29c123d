/* image/cpu.c - the features of this CPU, asked of the CPU and of the states that the kernel saves.
 * */
#include "image/cpu.h"

#include <cpuid.h>

/* Source: Intel SDM vol. 2A, CPUID; vol. 1, 13.3 (XCR0). One word per register that holds features.
 */
enum word { LEAF1_C, LEAF1_D, LEAF7_B, LEAF7_C, LEAF7_D, LEAF7_1_A, EXTENDED_C, EXTENDED_D };

/* What the kernel must save on a context switch before code may use a feature. */
enum state { ANY = 0, AVX = 0x6, AVX512 = 0xe6, AMX = 0x60000 };

/* Features by which compilers, ifunc resolvers and hand-written dispatchers select code. What only
 * makes the same instructions faster (erms, fsrm), or is for kernels, is left out: an image runs
 * without it. */
static const struct feature {
  uint8_t word, bit;
  uint32_t state;
  const char *name;
} features[] = {
    {LEAF1_D, 8, ANY, "cx8"},
    {LEAF1_D, 15, ANY, "cmov"},
    {LEAF1_D, 23, ANY, "mmx"},
    {LEAF1_D, 25, ANY, "sse"},
    {LEAF1_D, 26, ANY, "sse2"},
    {LEAF1_C, 0, ANY, "sse3"},
    {LEAF1_C, 1, ANY, "pclmulqdq"},
    {LEAF1_C, 9, ANY, "ssse3"},
    {LEAF1_C, 12, AVX, "fma"},
    {LEAF1_C, 13, ANY, "cx16"},
    {LEAF1_C, 19, ANY, "sse4.1"},
    {LEAF1_C, 20, ANY, "sse4.2"},
    {LEAF1_C, 22, ANY, "movbe"},
    {LEAF1_C, 23, ANY, "popcnt"},
    {LEAF1_C, 25, ANY, "aes"},
    {LEAF1_C, 26, ANY, "xsave"},
    {LEAF1_C, 28, AVX, "avx"},
    {LEAF1_C, 29, AVX, "f16c"},
    {LEAF1_C, 30, ANY, "rdrand"},
    {LEAF7_B, 3, ANY, "bmi1"},
    {LEAF7_B, 5, AVX, "avx2"},
    {LEAF7_B, 8, ANY, "bmi2"},
    {LEAF7_B, 11, ANY, "rtm"},
    {LEAF7_B, 16, AVX512, "avx512f"},
    {LEAF7_B, 17, AVX512, "avx512dq"},
    {LEAF7_B, 18, ANY, "rdseed"},
    {LEAF7_B, 19, ANY, "adx"},
    {LEAF7_B, 21, AVX512, "avx512ifma"},
    {LEAF7_B, 23, ANY, "clflushopt"},
    {LEAF7_B, 24, ANY, "clwb"},
    {LEAF7_B, 28, AVX512, "avx512cd"},
    {LEAF7_B, 29, ANY, "sha"},
    {LEAF7_B, 30, AVX512, "avx512bw"},
    {LEAF7_B, 31, AVX512, "avx512vl"},
    {LEAF7_C, 1, AVX512, "avx512vbmi"},
    {LEAF7_C, 5, ANY, "waitpkg"},
    {LEAF7_C, 6, AVX512, "avx512vbmi2"},
    {LEAF7_C, 8, ANY, "gfni"},
    {LEAF7_C, 9, AVX, "vaes"},
    {LEAF7_C, 10, AVX, "vpclmulqdq"},
    {LEAF7_C, 11, AVX512, "avx512vnni"},
    {LEAF7_C, 12, AVX512, "avx512bitalg"},
    {LEAF7_C, 14, AVX512, "avx512vpopcntdq"},
    {LEAF7_C, 22, ANY, "rdpid"},
    {LEAF7_C, 27, ANY, "movdiri"},
    {LEAF7_C, 28, ANY, "movdir64b"},
    {LEAF7_D, 8, AVX512, "avx512vp2intersect"},
    {LEAF7_D, 22, AMX, "amx-bf16"},
    {LEAF7_D, 23, AVX512, "avx512fp16"},
    {LEAF7_D, 24, AMX, "amx-tile"},
    {LEAF7_D, 25, AMX, "amx-int8"},
    {LEAF7_1_A, 4, AVX, "avxvnni"},
    {LEAF7_1_A, 5, AVX512, "avx512bf16"},
    {LEAF7_1_A, 23, AVX, "avxifma"},
    {EXTENDED_C, 0, ANY, "lahf"},
    {EXTENDED_C, 5, ANY, "lzcnt"},
    {EXTENDED_C, 6, ANY, "sse4a"},
    {EXTENDED_C, 8, ANY, "prefetchw"},
    {EXTENDED_C, 11, AVX, "xop"},
    {EXTENDED_C, 16, AVX, "fma4"},
    {EXTENDED_C, 21, ANY, "tbm"},
    {EXTENDED_D, 31, ANY, "3dnow"},
};
#define FEATURE_COUNT (sizeof features / sizeof features[0])

_Static_assert(EXTENDED_D + 1 == MM__CPU_WORDS, "one word per register");

static uint64_t enabled_states(uint32_t leaf1_c) {
  uint32_t low = 0, high = 0;
  if (leaf1_c & bit_OSXSAVE) __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (uint64_t)high << 32 | low;
}

static void read_words(uint32_t words[MM__CPU_WORDS]) {
  uint32_t a, b, c, d, limit, extended_limit;
  for (uint32_t i = 0; i < MM__CPU_WORDS; i++) words[i] = 0;
  __cpuid(0, limit, b, c, d);
  __cpuid(1, a, b, words[LEAF1_C], words[LEAF1_D]);
  if (limit >= 7) {
    __cpuid_count(7, 0, a, words[LEAF7_B], words[LEAF7_C], words[LEAF7_D]);
    if (a >= 1) __cpuid_count(7, 1, words[LEAF7_1_A], b, c, d);
  }
  __cpuid(0x80000000, extended_limit, b, c, d);
  if (extended_limit >= 0x80000001) __cpuid(0x80000001, a, b, words[EXTENDED_C], words[EXTENDED_D]);
}

void mm__cpu_features(uint32_t words[MM__CPU_WORDS]) {
  uint32_t all[MM__CPU_WORDS];
  read_words(all);
  uint64_t enabled = enabled_states(all[LEAF1_C]);
  for (uint32_t i = 0; i < MM__CPU_WORDS; i++) words[i] = 0;
  for (uint32_t i = 0; i < FEATURE_COUNT; i++) {
    const struct feature *feature = &features[i];
    if ((enabled & feature->state) == feature->state)
      words[feature->word] |= all[feature->word] & (uint32_t)1 << feature->bit;
  }
}

const char *mm__cpu_name(const uint32_t words[MM__CPU_WORDS], uint32_t *next) {
  while (*next < FEATURE_COUNT) {
    const struct feature *feature = &features[(*next)++];
    if (words[feature->word] >> feature->bit & 1) return feature->name;
  }
  return NULL;
}

const char *mm__cpu_missing(const uint32_t needed[MM__CPU_WORDS],
                            const uint32_t present[MM__CPU_WORDS]) {
  uint32_t missing[MM__CPU_WORDS], first = 0;
  for (uint32_t i = 0; i < MM__CPU_WORDS; i++) missing[i] = needed[i] & ~present[i];
  const char *name = mm__cpu_name(missing, &first);
  if (name) return name;
  for (uint32_t i = 0; i < MM__CPU_WORDS; i++)
    if (missing[i] != 0) return "a feature without a name";
  return NULL;
}
