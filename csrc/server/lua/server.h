/* server/lua/server.h - Lua functions as exports: what the Lua module `matchmaker.server.core` is
 * made of.
 * Owns:    the exported functions, which live as long as the process, and then as the image.
 * Threads: one.
 * Signals: none are touched.
 * Errors:  raised in Lua; during a call of the image, mm_fail. */
#ifndef MM_SERVER_LUA_SERVER_H
#define MM_SERVER_LUA_SERVER_H

#include <lauxlib.h>
#include <lua.h>

#include "signature/builder.h"

#define MM__LUA_STUBS 1024u /* exported Lua functions at most; x86_64/stubs.S has as many */

/* The arguments as the caller left them in registers; results replace the first of each. */
struct mm__lua_frame {
  uint64_t integers[6]; /* rdi, rsi, rdx, rcx, r8, r9 */
  double floats[8];     /* the low halves of xmm0 to xmm7 */
};

/* The stubs, MM__LUA_STUB_BYTES each. Each calls mm__lua_called with its own index. */
#define MM__LUA_STUB_BYTES 16
extern const char mm__lua_stubs[];
/* `stack`: the arguments that are in memory. */
void mm__lua_called(uint32_t index, struct mm__lua_frame *frame, const uint64_t *stack);

/* Takes a stub for the function on top of the Lua stack, and pops that. `type` is its type. Returns
 * the stub's address. Raises when types are by value that are not scalars, or no stub is left. */
void *mm__lua_take_stub(lua_State *L, const struct mm__registry *registry, uint32_t type);
/* The Lua thread in which exported functions run from now on. */
void mm__lua_use_state(lua_State *L);

#endif
