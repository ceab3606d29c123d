/* base/format.h - text without stdio: bounded formatting for messages, in handlers too.
 * Owns:    nothing.
 * Threads: pure.
 * Signals: safe anywhere.
 * Errors:  none; text that does not fit is cut, always NUL-terminated. */
#ifndef MM_BASE_FORMAT_H
#define MM_BASE_FORMAT_H

#include <stdarg.h>
#include <stddef.h>

/* Understands %s %.*s %c %d %i %u %x %ld %lu %lx %lld %llu %llx %zu %p and %%, no other flags or
 * widths.
 * Returns the number of characters written, without the NUL. */
size_t mm__format(char *text, size_t size, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
size_t mm__format_list(char *text, size_t size, const char *format, va_list list);

/* Makes a line out of text with the names of others in it, which a terminal shows and does not obey:
 * control characters, also those beyond ASCII (C1, as UTF-8 has them), become spaces. */
void mm__format_line(char *text);

/* `text`, or, where it is too long to stand in a message, its end in `room` with "..." before it. */
#define MM__BRIEF_BYTES 256
const char *mm__brief(const char *text, char room[MM__BRIEF_BYTES]);

#endif
