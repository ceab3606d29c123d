/* unit/process.h - what a process has: signal handlers, masks, descriptors, mappings; to see whether
 * all of it is as it was. */
#ifndef SPEC_UNIT_PROCESS_H
#define SPEC_UNIT_PROCESS_H

#include "client.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/syscall.h>

/* Mappings of the kernel that lie side by side may be split or joined; what matters is which pages have which
 * protection, and what is in them. Nothing is left out: stack, thread-local storage and mailbox count, too. */
struct layout {
  struct mapping pieces[1024];
  unsigned count;
};

static UNUSED void add_piece(const struct mapping *mapping, void *layout_) {
  struct layout *layout = layout_;
  struct mapping *last = layout->count ? &layout->pieces[layout->count - 1] : NULL;
  if (last && last->high == mapping->low && strcmp(last->protection, mapping->protection) == 0 &&
      last->inode == mapping->inode)
    last->high = mapping->high;
  else if (layout->count < sizeof layout->pieces / sizeof *layout->pieces)
    layout->pieces[layout->count++] = *mapping;
}

struct process {
  struct {
    uint64_t handler, flags, restorer, mask;
  } actions[65];
  uint64_t mask;
  stack_t stack;
  int descriptors;
  uint64_t thread_pointer;
};

static UNUSED void look_at_process(struct process *process) {
  memset(process, 0, sizeof *process);
  for (int signal = 1; signal < 65; signal++)
    syscall(SYS_rt_sigaction, signal, NULL, &process->actions[signal], 8);
  syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, &process->mask, 8);
  sigaltstack(NULL, &process->stack);
  DIR *list = opendir("/proc/self/fd");
  while (list && readdir(list)) process->descriptors++;
  if (list) closedir(list);
  process->thread_pointer = (uint64_t)__builtin_thread_pointer();
}

#endif
