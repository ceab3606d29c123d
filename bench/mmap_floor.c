/* bench/mmap_floor.c - what the kernel takes for an image's segments: the mmap calls alone.
 *
 *     mmap_floor IMAGE N     N times; prints "SEGMENTS MAP_NS UNMAP_NS", medians */
#define _GNU_SOURCE
#include <elf.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static double nanoseconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static int protection_of(const Elf64_Phdr *segment) {
  return (segment->p_flags & PF_R ? PROT_READ : 0) | (segment->p_flags & PF_W ? PROT_WRITE : 0) |
         (segment->p_flags & PF_X ? PROT_EXEC : 0);
}

/* A segment may end in zeros that the file does not hold. */
static int map(int file, const Elf64_Phdr *segment) {
  char *low = (char *)segment->p_vaddr;
  size_t from_file = segment->p_filesz, all = segment->p_memsz;
  int protection = protection_of(segment), flags = MAP_PRIVATE | MAP_FIXED_NOREPLACE;
  if (from_file && mmap(low, from_file, protection, flags, file, (off_t)segment->p_offset) != low)
    return -1;
  if (all > from_file && mmap(low + from_file, all - from_file, protection, flags | MAP_ANONYMOUS,
                              -1, 0) != low + from_file)
    return -1;
  return 0;
}

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* The PT_LOAD segments, in `headers`; -1: not such a file. */
static int read_segments(int file, Elf64_Phdr *headers, int limit) {
  Elf64_Ehdr elf;
  int count = 0;
  if (pread(file, &elf, sizeof elf, 0) != (ssize_t)sizeof elf ||
      memcmp(elf.e_ident, ELFMAG, SELFMAG) != 0)
    return -1;
  for (int i = 0; i < elf.e_phnum && count < limit; i++) {
    off_t offset = (off_t)(elf.e_phoff + (size_t)i * sizeof *headers);
    if (pread(file, &headers[count], sizeof *headers, offset) != (ssize_t)sizeof *headers)
      return -1;
    if (headers[count].p_type == PT_LOAD && headers[count].p_memsz > 0) count++;
  }
  return count;
}

static int measure(int file, const Elf64_Phdr *segments, int count, int rounds) {
  double *mapping = calloc((size_t)rounds, sizeof *mapping);
  double *unmapping = calloc((size_t)rounds, sizeof *unmapping);
  if (!mapping || !unmapping) return 1;
  for (int round = 0; round < rounds; round++) {
    double start = nanoseconds();
    for (int i = 0; i < count; i++)
      if (map(file, &segments[i]) != 0) {
        perror("mmap_floor: mmap");
        return 1;
      }
    double middle = nanoseconds();
    for (int i = 0; i < count; i++) munmap((void *)segments[i].p_vaddr, segments[i].p_memsz);
    mapping[round] = middle - start;
    unmapping[round] = nanoseconds() - middle;
  }
  qsort(mapping, (size_t)rounds, sizeof *mapping, by_value);
  qsort(unmapping, (size_t)rounds, sizeof *unmapping, by_value);
  printf("%d %.0f %.0f\n", count, mapping[rounds / 2], unmapping[rounds / 2]);
  free(mapping);
  free(unmapping);
  return 0;
}

int main(int count, char **arguments) {
  static Elf64_Phdr segments[4096];
  int rounds = count == 3 ? atoi(arguments[2]) : 0;
  if (rounds <= 0) {
    fprintf(stderr, "usage: %s IMAGE N\n", arguments[0]);
    return 2;
  }
  int file = open(arguments[1], O_RDONLY | O_CLOEXEC);
  int segment_count = file < 0 ? -1 : read_segments(file, segments, 4096);
  if (segment_count < 0) {
    fprintf(stderr, "mmap_floor: %s is not an image\n", arguments[1]);
    return 1;
  }
  int status = measure(file, segments, segment_count, rounds);
  close(file);
  return status;
}
