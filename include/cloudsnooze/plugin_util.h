/* The small tools of a C or C++ plugin: text, logging, errors, time, the entry record.
 * Written by hand, because these are functions and macros, not layouts. C99 and C++11. Apache-2.0.
 *
 * Nothing here allocates or keeps state. Every helper asks the host's table whether it offers the
 * function (SNOOZE_HAS) before it calls it, so a plugin stays alive with an older, smaller host. */

#ifndef CLOUDSNOOZE_PLUGIN_UTIL_H
#define CLOUDSNOOZE_PLUGIN_UTIL_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "cloudsnooze/event.h"
#include "cloudsnooze/host.h"
#include "cloudsnooze/layout.h"
#include "cloudsnooze/plugin.h"
#include "cloudsnooze/status.h"
#include "cloudsnooze/text.h"
#include "cloudsnooze/version.h"

/** Bytes of the stack buffer of snooze_logf and snooze_failf, its final NUL included. */
#define SNOOZE_LINE_BYTES 480

/* __attribute__, __typeof__ and __atomic are what gcc, clang and the compilers that follow them offer in every
 * dialect; the standards before C23 have no portable words for them. */
#define SNOOZE_PRINTF(format_index, first_index) __attribute__((format(printf, format_index, first_index)))

/**
 * True when the table behind the pointer `table` is large enough to hold `member`: for numbers that a
 * later minor version appended to snooze_event or snooze_call.
 */
#define SNOOZE_FITS(table, member)                                                                 \
  (offsetof(__typeof__(*(table)), member) + sizeof((table)->member) <= (table)->struct_size)

/** True when the table behind the pointer `table` offers the function `member`. */
#define SNOOZE_HAS(table, member) (SNOOZE_FITS(table, member) && (table)->member != NULL)

/** The borrowed text of a string literal. An expression: not for the initialiser of a static object. */
#define SNOOZE_STR(literal) snooze_str_of("" literal, sizeof(literal) - 1)

/** Borrows `len` bytes at `ptr` as text; they must be UTF-8. */
static inline snooze_str snooze_str_of(const char *ptr, size_t len)
{
  snooze_str text;
  text.ptr = ptr;
  text.len = len;
  return text;
}

/** Borrows a NUL-terminated string as text; NULL gives empty text. */
static inline snooze_str snooze_str_from(const char *text)
{
  return snooze_str_of(text, text != NULL ? strlen(text) : 0);
}

/** Non-zero when both texts hold the same bytes. */
static inline int snooze_str_eq(snooze_str a, snooze_str b)
{
  return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

/**
 * Formats into `line` and gives the text back. What does not fit is cut between two characters, never
 * inside one: the host refuses text that is not UTF-8.
 */
SNOOZE_PRINTF(2, 0)
static inline snooze_str snooze_format(char line[SNOOZE_LINE_BYTES], const char *format, va_list args)
{
  int wanted = vsnprintf(line, SNOOZE_LINE_BYTES, format, args);
  size_t len;
  if (wanted < 0) {
    /* Only an encoding error of a wide character ends here: the bare format still says something. */
    return snooze_str_from(format);
  }
  len = (size_t)wanted;
  if (len >= SNOOZE_LINE_BYTES) {
    len = SNOOZE_LINE_BYTES - 1;
    /* The final NUL took the place of the first byte cut away, so the last character kept may miss
     * its end: go back to its first byte, and keep it only when it is whole. */
    while (len > 0 && ((unsigned char)line[len - 1] & 0xC0u) == 0x80u) {
      len--;
    }
    if (len > 0 && ((unsigned char)line[len - 1] & 0x80u) != 0) {
      unsigned char first = (unsigned char)line[len - 1];
      size_t whole = first >= 0xF0u ? 4 : first >= 0xE0u ? 3 : 2;
      len = len - 1 + whole <= SNOOZE_LINE_BYTES - 1 ? len - 1 + whole : len - 1;
    }
  }
  return snooze_str_of(line, len);
}

/** [any, rt] Logs one line of text without formatting it. `level` is SNOOZE_LOG_*. */
static inline void snooze_log(const snooze_host *host, uint32_t level, snooze_str message)
{
  snooze_log_record record;
  if (!SNOOZE_HAS(host, log)) {
    return;
  }
  memset(&record, 0, sizeof record);
  record.struct_size = (uint32_t)sizeof record;
  record.level = level;
  record.message = message;
  host->log(host, &record);
}

/** [any, rt] Logs one line, made as printf makes it; formats nothing when the level is off. */
SNOOZE_PRINTF(3, 4)
static inline void snooze_logf(const snooze_host *host, uint32_t level, const char *format, ...)
{
  char line[SNOOZE_LINE_BYTES];
  va_list args;
  if (!SNOOZE_HAS(host, log) || (SNOOZE_HAS(host, log_enabled) && !host->log_enabled(host, level))) {
    return;
  }
  va_start(args, format);
  snooze_log(host, level, snooze_format(line, format, args));
  va_end(args);
}

/**
 * [any] Says why the function in progress fails, as printf says it, and gives `code` back:
 * `return snooze_failf(host, SNOOZE_E_IO, "%s: %s", path, strerror(errno));`
 */
SNOOZE_PRINTF(3, 4)
static inline snooze_status snooze_failf(const snooze_host *host, snooze_status code, const char *format, ...)
{
  char line[SNOOZE_LINE_BYTES];
  va_list args;
  if (!SNOOZE_HAS(host, report_error)) {
    return code;
  }
  va_start(args, format);
  host->report_error(host, code, snooze_format(line, format, args));
  va_end(args);
  return code;
}

/**
 * [any, rt] SNOOZE_CANCEL_*: 0 while the call may go on. Work in steps and ask between them. One load
 * with acquire order, so what the host wrote before it cancelled is visible afterwards.
 */
static inline uint32_t snooze_cancelled(const snooze_call *call)
{
  return __atomic_load_n(call->cancelled, __ATOMIC_ACQUIRE);
}

/** [any, rt] Nanoseconds left for the call; 0 when the time is over, or when the host cannot tell. */
static inline int64_t snooze_left_ns(const snooze_host *host, const snooze_call *call)
{
  return SNOOZE_HAS(host, left_ns) ? host->left_ns(host, call) : 0;
}

/** [any, rt] Whole milliseconds left for the call, rounded down. See snooze_left_ns. */
static inline int64_t snooze_left_ms(const snooze_host *host, const snooze_call *call)
{
  return snooze_left_ns(host, call) / 1000000;
}

/**
 * [any, rt] Text of a field of the event (SNOOZE_FIELD_*, or an id from snooze_host.field_id), borrowed
 * as long as the event lives. Absent: `ptr` is NULL and `len` 0.
 */
static inline snooze_str snooze_event_text(const snooze_host *host, const snooze_event *event, uint32_t field)
{
  snooze_str text = snooze_str_of(NULL, 0);
  if (!SNOOZE_HAS(host, event_str) || host->event_str(host, event, field, &text) != SNOOZE_OK) {
    return snooze_str_of(NULL, 0);
  }
  return text;
}

/** [any, rt] Tells how far the work is, 0 to 1000. Does nothing when the host does not ask. */
static inline void snooze_progress(const snooze_host *host, const snooze_call *call, uint32_t permille, snooze_str text)
{
  if (SNOOZE_HAS(host, progress)) {
    host->progress(host, call, permille, text);
  }
}

/** [any] Attaches a JSON object to the call for the report. SNOOZE_E_UNSUPPORTED when the host keeps none. */
static inline snooze_status snooze_set_result(const snooze_host *host, const snooze_call *call, snooze_str json)
{
  return SNOOZE_HAS(host, set_result) ? host->set_result(host, call, json) : SNOOZE_E_UNSUPPORTED;
}

/** What the entry record says the plugin was built with, and the word for C linkage. */
#ifdef __cplusplus
#define SNOOZE_SDK "c++"
#define SNOOZE_EXTERN extern "C"
#else
#define SNOOZE_SDK "c"
#define SNOOZE_EXTERN extern
#endif

/**
 * Defines the one symbol that a plugin exports. Write it once in a library, at the end of a source file
 * and outside of any namespace: `SNOOZE_EXPORT("Example Inc.", "Apache-2.0", "https://example.org", &my_class);`
 * with string literals for the maker, the SPDX licence and the home page ("" for none), and the address of
 * each class. The plugin asks for minor version 0, so every host of this major takes it: it is the helpers'
 * SNOOZE_HAS that keeps that promise.
 */
#define SNOOZE_EXPORT(vendor_text, license_text, url_text, ...)                                    \
  static const snooze_class *const snooze_exported_classes[] = {__VA_ARGS__};                      \
  /* Visible whatever -fvisibility says; g++ takes the word on a declaration only. */              \
  SNOOZE_EXTERN __attribute__((visibility("default"))) const snooze_entry snooze_plugin_entry_v1;  \
  __attribute__((used)) const snooze_entry snooze_plugin_entry_v1 = {                              \
      SNOOZE_ENTRY_MAGIC,                                                                          \
      SNOOZE_ABI_MAJOR,                                                                            \
      SNOOZE_ABI_MINOR,                                                                            \
      0,                                                                                           \
      64,                                                                                          \
      sizeof(snooze_entry),                                                                        \
      0,                                                                                           \
      SNOOZE_ABI_DIGEST,                                                                           \
      {0, 0, 0, 0},                                                                                \
      snooze_exported_classes,                                                                     \
      sizeof(snooze_exported_classes) / sizeof(snooze_exported_classes[0]),                        \
      vendor_text,                                                                                 \
      license_text,                                                                                \
      url_text,                                                                                    \
      SNOOZE_SDK}

#endif /* CLOUDSNOOZE_PLUGIN_UTIL_H */
