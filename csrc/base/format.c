/* base/format.c - a writer that counts, and a reader of the few conversions messages need. */
#include "base/format.h"

#include <stdbool.h>
#include <stdint.h>

struct output {
  char *text;
  size_t size, length;
};

static void put(struct output *out, char c) {
  if (out->length + 1 < out->size) out->text[out->length++] = c;
}

static void put_text(struct output *out, const char *text, int limit) {
  if (!text) text = "(null)";
  for (int i = 0; text[i] && (limit < 0 || i < limit); i++) put(out, text[i]);
}

static void put_number(struct output *out, uint64_t number, unsigned base) {
  char digits[24];
  int count = 0;
  do {
    digits[count++] = "0123456789abcdef"[number % base];
    number /= base;
  } while (number);
  while (count) put(out, digits[--count]);
}

/* The argument of %d, %u or %x, widened; `longs` counts the l's, z is one. */
static uint64_t take(va_list *list, int longs, bool is_signed) {
  if (longs) return va_arg(*list, unsigned long);
  return is_signed ? (uint64_t)(int64_t)va_arg(*list, int) : va_arg(*list, unsigned);
}

static void convert(struct output *out, char kind, int longs, int precision, va_list *list) {
  if (kind == 's') {
    put_text(out, va_arg(*list, const char *), precision);
  } else if (kind == 'c') {
    put(out, (char)va_arg(*list, int));
  } else if (kind == 'p') {
    put_text(out, "0x", -1);
    put_number(out, (uintptr_t)va_arg(*list, void *), 16);
  } else if (kind == 'd' || kind == 'i') {
    int64_t number = (int64_t)take(list, longs, true);
    if (number < 0) put(out, '-');
    put_number(out, number < 0 ? -(uint64_t)number : (uint64_t)number, 10);
  } else if (kind == 'u' || kind == 'x') {
    put_number(out, take(list, longs, false), kind == 'u' ? 10 : 16);
  } else {
    put(out, kind);
  }
}

size_t mm__format_list(char *text, size_t size, const char *format, va_list outer) {
  struct output out = {text, size, 0};
  va_list list;
  if (!size) return 0;
  va_copy(list, outer);
  for (const char *at = format; *at; at++) {
    if (*at != '%') {
      put(&out, *at);
      continue;
    }
    int precision = -1, longs = 0;
    at++;
    if (at[0] == '.' && at[1] == '*') precision = va_arg(list, int), at += 2;
    while (*at == 'l' || *at == 'z') longs++, at++;
    if (!*at) break;
    convert(&out, *at, longs, precision, &list);
  }
  va_end(list);
  out.text[out.length] = 0;
  return out.length;
}

size_t mm__format(char *text, size_t size, const char *format, ...) {
  va_list list;
  va_start(list, format);
  size_t length = mm__format_list(text, size, format, list);
  va_end(list);
  return length;
}

void mm__format_line(char *text) {
  for (uint8_t *c = (uint8_t *)text; *c; c++) {
    bool is_c1 = c[0] == 0xc2 && c[1] >= 0x80 && c[1] < 0xa0;
    if (*c < ' ' || *c == 127 || is_c1) *c = ' ';
    if (is_c1) *++c = ' ';
  }
}

const char *mm__brief(const char *text, char room[MM__BRIEF_BYTES]) {
  size_t length = 0;
  while (text[length]) length++;
  if (length < MM__BRIEF_BYTES) return text;
  mm__format(room, MM__BRIEF_BYTES, "...%s", text + length - MM__BRIEF_BYTES + 4);
  return room;
}
