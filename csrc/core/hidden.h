/* core/hidden.h - included before every file of the freestanding Matchmaker (-include): nothing in
 * it is reached through a global offset table, because there is no dynamic linker to fill one.
 * Owns:    nothing.
 * Threads: none.
 * Signals: none.
 * Errors:  none. */
#pragma GCC visibility push(hidden)
