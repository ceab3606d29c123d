/* binding/machine.c - what this machine and kernel offer, found by asking, for `matchmaker doctor`.
 */
#include "binding/binding.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/auxv.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

/* Linux: Documentation/admin-guide/syscall-user-dispatch.rst; older headers lack them. */
#define DISPATCH            59
#define DISPATCH_OFF        0ul
#define DISPATCH_OUTSIDE_OF 1ul
#define DISPATCH_INSIDE_OF  2ul
/* Linux: include/uapi/linux/fs.h, PAGEMAP_SCAN with its struct pm_scan_arg */
#define PAGEMAP_SCAN_BYTES 96
#define PAGEMAP_SCAN       _IOC(_IOC_READ | _IOC_WRITE, 'f', 16, PAGEMAP_SCAN_BYTES)
#define HWCAP2_FSGSBASE_   2ul /* asm/hwcap2.h, AT_HWCAP2 of getauxval(3) */

struct dispatch {
  bool any, inclusive;
};

/* In a thread of its own, as dispatch belongs to a thread. The first way lets every address through
 * but for the empty range, the second none but it. */
static void *try_dispatch(void *argument) {
  struct dispatch *found = argument;
  static char selector;
  found->any = prctl(DISPATCH, DISPATCH_OUTSIDE_OF, 0ul, 0ul, &selector) == 0;
  prctl(DISPATCH, DISPATCH_OFF, 0ul, 0ul, 0ul);
  found->inclusive = prctl(DISPATCH, DISPATCH_INSIDE_OF, 4096ul, 1ul, 0ul) == 0;
  prctl(DISPATCH, DISPATCH_OFF, 0ul, 0ul, 0ul);
  return NULL;
}

static struct dispatch find_dispatch(void) {
  struct dispatch found = {false, false};
  pthread_t thread;
  if (pthread_create(&thread, NULL, try_dispatch, &found) == 0) pthread_join(thread, NULL);
  return found;
}

static bool has_keys(void) {
  int key = pkey_alloc(0, 0);
  if (key < 0) return false;
  pkey_free(key);
  return true;
}

static bool has_pagemap_scan(void) {
  uint64_t nothing[PAGEMAP_SCAN_BYTES / 8] = {PAGEMAP_SCAN_BYTES};
  int file = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
  if (file < 0) return false;
  bool found = ioctl(file, PAGEMAP_SCAN, nothing) >= 0 || errno != ENOTTY;
  close(file);
  return found;
}

static void set(lua_State *L, const char *field, bool found) {
  lua_pushboolean(L, found);
  lua_setfield(L, -2, field);
}

int mm__machine(lua_State *L) {
  struct dispatch dispatch = find_dispatch();
  lua_createtable(L, 0, 5);
  set(L, "dispatch", dispatch.any);
  set(L, "inclusive", dispatch.inclusive);
  set(L, "fsgsbase", getauxval(AT_HWCAP2) & HWCAP2_FSGSBASE_);
  set(L, "keys", has_keys());
  set(L, "pagemap_scan", has_pagemap_scan());
  return 1;
}
