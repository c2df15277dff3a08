/* As much JSON as a C plugin needs: read a member of its configuration, write a line of its own.
 * Written by hand; static inline, C99 and C++11, no allocation. Apache-2.0.
 *
 * Not a validator: the host hands over valid JSON. Text that is not JSON gives an error or a wrong
 * answer, but is never read past its end. */

#ifndef CLOUDSNOOZE_JSON_H
#define CLOUDSNOOZE_JSON_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "cloudsnooze/status.h"
#include "cloudsnooze/text.h"

/** Longest member name that snooze_json_find can look for, bytes. */
#define SNOOZE_JSON_KEY_BYTES 127

/** [any] Leaves out the white space at `at`. */
static inline const char *snooze_json_blank(const char *at, const char *end)
{
  while (at < end && (*at == ' ' || *at == '\t' || *at == '\n' || *at == '\r')) {
    at++;
  }
  return at;
}

/** [any] The end of the string that starts with the quote at `at`, behind its last quote; NULL when it has none. */
static inline const char *snooze_json_string_end(const char *at, const char *end)
{
  for (at++; at < end; at++) {
    if (*at == '\\') {
      at++;
    } else if (*at == '"') {
      return at + 1;
    }
  }
  return NULL;
}

/** [any] The end of the value that starts at `at`; NULL when it has none. */
static inline const char *snooze_json_value_end(const char *at, const char *end)
{
  size_t depth = 0;
  while (at < end) {
    if (*at == '"') {
      at = snooze_json_string_end(at, end);
      if (at == NULL || depth == 0) {
        return at;
      }
      continue;
    }
    if (depth == 0 && (*at == ',' || *at == '}' || *at == ']')) {
      return at;
    }
    if (*at == '{' || *at == '[') {
      depth++;
    } else if (*at == '}' || *at == ']') {
      depth--;
      if (depth == 0) {
        return at + 1;
      }
    }
    at++;
  }
  return NULL;
}

/** [any] The number that four hexadecimal digits at `at` make, or UINT32_MAX. */
static inline uint32_t snooze_json_hex4(const char *at, const char *end)
{
  uint32_t value = 0;
  int i;
  if (end - at < 4) {
    return UINT32_MAX;
  }
  for (i = 0; i < 4; i++) {
    unsigned char c = (unsigned char)at[i];
    uint32_t digit = c >= '0' && c <= '9'   ? c - (uint32_t)'0'
                     : c >= 'a' && c <= 'f' ? c - (uint32_t)'a' + 10
                     : c >= 'A' && c <= 'F' ? c - (uint32_t)'A' + 10
                                            : 16;
    if (digit > 15) {
      return UINT32_MAX;
    }
    value = value * 16 + digit;
  }
  return value;
}

/** [any] Writes the code point as UTF-8 and gives the number of bytes, 1 to 4. */
static inline size_t snooze_json_utf8(uint32_t code, char out[4])
{
  if (code < 0x80) {
    out[0] = (char)code;
    return 1;
  }
  if (code < 0x800) {
    out[0] = (char)(0xC0u | (code >> 6));
    out[1] = (char)(0x80u | (code & 0x3Fu));
    return 2;
  }
  if (code < 0x10000) {
    out[0] = (char)(0xE0u | (code >> 12));
    out[1] = (char)(0x80u | ((code >> 6) & 0x3Fu));
    out[2] = (char)(0x80u | (code & 0x3Fu));
    return 3;
  }
  out[0] = (char)(0xF0u | (code >> 18));
  out[1] = (char)(0x80u | ((code >> 12) & 0x3Fu));
  out[2] = (char)(0x80u | ((code >> 6) & 0x3Fu));
  out[3] = (char)(0x80u | (code & 0x3Fu));
  return 4;
}

/**
 * [any] Decodes the escape whose backslash is at `*at` and moves behind it. Gives the code point, or
 * UINT32_MAX for what is no escape, half of a surrogate pair, or NUL, which a C string cannot hold.
 */
static inline uint32_t snooze_json_escape(const char **at, const char *end)
{
  static const char NAMES[] = "\"\\/bfnrt";
  static const char VALUES[] = "\"\\/\b\f\n\r\t";
  uint32_t code;
  uint32_t low;
  const char *name;
  if (end - *at < 2) {
    return UINT32_MAX;
  }
  name = (*at)[1] != '\0' ? strchr(NAMES, (*at)[1]) : NULL;
  if (name != NULL) {
    *at += 2;
    return (uint32_t)(unsigned char)VALUES[name - NAMES];
  }
  code = (*at)[1] == 'u' ? snooze_json_hex4(*at + 2, end) : UINT32_MAX;
  if (code == UINT32_MAX || code == 0 || (code >= 0xDC00 && code <= 0xDFFF)) {
    return UINT32_MAX;
  }
  *at += 6;
  if (code < 0xD800 || code > 0xDBFF) {
    return code;
  }
  low = end - *at >= 2 && (*at)[0] == '\\' && (*at)[1] == 'u' ? snooze_json_hex4(*at + 2, end) : UINT32_MAX;
  if (low < 0xDC00 || low > 0xDFFF) {
    return UINT32_MAX;
  }
  *at += 6;
  return 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
}

/**
 * [any] Decodes a JSON string, quotes included, into the NUL-terminated `out` of `capacity` bytes.
 * SNOOZE_E_INVALID when `json` is no such string or holds U+0000, SNOOZE_E_TOO_SMALL when it does not
 * fit; `out` holds nothing of use then.
 */
static inline snooze_status snooze_json_unquote(snooze_str json, char *out, size_t capacity)
{
  const char *at = json.ptr;
  const char *end;
  size_t used = 0;
  if (json.len < 2 || at[0] != '"' || at[json.len - 1] != '"') {
    return SNOOZE_E_INVALID;
  }
  end = at + json.len - 1;
  at++;
  while (at < end) {
    char bytes[4];
    size_t count = 1;
    if (*at == '\\') {
      uint32_t code = snooze_json_escape(&at, end);
      if (code == UINT32_MAX) {
        return SNOOZE_E_INVALID;
      }
      count = snooze_json_utf8(code, bytes);
    } else if (*at == '\0' || *at == '"') {
      return SNOOZE_E_INVALID;
    } else {
      bytes[0] = *at++;
    }
    if (used + count >= capacity) {
      return SNOOZE_E_TOO_SMALL;
    }
    memcpy(out + used, bytes, count);
    used += count;
  }
  if (capacity == 0) {
    return SNOOZE_E_TOO_SMALL;
  }
  out[used] = '\0';
  return SNOOZE_OK;
}

/**
 * [any] Finds the member `key` of the JSON object `json` and writes its value to `out` as the JSON text
 * it is (`"text"`, `12`, `{...}`), borrowed from `json`. Looks at the object itself, not into the
 * objects in it; of two members of one name the first counts. SNOOZE_E_NOT_FOUND when there is none,
 * SNOOZE_E_INVALID when `json` is no object.
 */
static inline snooze_status snooze_json_find(snooze_str json, const char *key, snooze_str *out)
{
  const char *end = json.len != 0 ? json.ptr + json.len : json.ptr;
  const char *at = json.len != 0 ? snooze_json_blank(json.ptr, end) : end;
  if (at == end || *at != '{') {
    return SNOOZE_E_INVALID;
  }
  at = snooze_json_blank(at + 1, end);
  while (at < end && *at == '"') {
    char name[SNOOZE_JSON_KEY_BYTES + 1];
    snooze_str quoted;
    const char *value;
    const char *behind = snooze_json_string_end(at, end);
    if (behind == NULL) {
      return SNOOZE_E_INVALID;
    }
    quoted.ptr = at;
    quoted.len = (size_t)(behind - at);
    at = snooze_json_blank(behind, end);
    if (at == end || *at != ':') {
      return SNOOZE_E_INVALID;
    }
    value = snooze_json_blank(at + 1, end);
    behind = snooze_json_value_end(value, end);
    if (behind == NULL || behind == value) {
      return SNOOZE_E_INVALID;
    }
    if (snooze_json_unquote(quoted, name, sizeof name) == SNOOZE_OK && strcmp(name, key) == 0) {
      /* A bare number or word ends where the comma stands: give it back without the blanks before it. */
      while (behind[-1] == ' ' || behind[-1] == '\t' || behind[-1] == '\n' || behind[-1] == '\r') {
        behind--;
      }
      out->ptr = value;
      out->len = (size_t)(behind - value);
      return SNOOZE_OK;
    }
    at = snooze_json_blank(behind, end);
    at = at < end && *at == ',' ? snooze_json_blank(at + 1, end) : at;
  }
  return at < end && *at == '}' ? SNOOZE_E_NOT_FOUND : SNOOZE_E_INVALID;
}

/**
 * [any] The text of the member `key` of the JSON object `json`, NUL-terminated in `out`. Errors are
 * those of snooze_json_find and snooze_json_unquote; a member that is no string is SNOOZE_E_INVALID.
 */
static inline snooze_status snooze_json_text(snooze_str json, const char *key, char *out, size_t capacity)
{
  snooze_str value;
  snooze_status status = snooze_json_find(json, key, &value);
  return status == SNOOZE_OK ? snooze_json_unquote(value, out, capacity) : status;
}

/** A buffer of the caller's that takes JSON text. Start it with `{buffer, sizeof buffer, 0}`. */
typedef struct snooze_json {
  /** The buffer. */
  char *data;
  /** Its size, bytes. */
  size_t capacity;
  /** Bytes wanted so far; larger than `capacity` when something did not fit and was left out. */
  size_t length;
} snooze_json;

/** [any, rt] Appends bytes as they are. What does not fit is left out, but counted. */
static inline void snooze_json_bytes(snooze_json *json, const char *bytes, size_t count)
{
  if (json->length <= json->capacity && count <= json->capacity - json->length) {
    memcpy(json->data + json->length, bytes, count);
  }
  json->length += count;
}

/** [any, rt] Appends JSON text as it is: brackets, commas, names, numbers. */
static inline void snooze_json_raw(snooze_json *json, const char *text)
{
  snooze_json_bytes(json, text, strlen(text));
}

/** [any, rt] Appends text as a JSON string, escaped and in quotes; text whose `ptr` is NULL as `null`. */
static inline void snooze_json_string(snooze_json *json, snooze_str text)
{
  static const char DIGITS[] = "0123456789abcdef";
  static const char PLAIN[] = "\b\t\n\f\r\"\\";
  static const char ESCAPED[] = "btnfr\"\\";
  size_t i;
  if (text.ptr == NULL) {
    snooze_json_raw(json, "null");
    return;
  }
  snooze_json_raw(json, "\"");
  for (i = 0; i < text.len; i++) {
    unsigned char c = (unsigned char)text.ptr[i];
    const char *plain = c != 0 ? strchr(PLAIN, c) : NULL;
    char escape[6] = {'\\', 'u', '0', '0', '0', '0'};
    if (plain != NULL) {
      escape[1] = ESCAPED[plain - PLAIN];
      snooze_json_bytes(json, escape, 2);
    } else if (c < 0x20) {
      escape[4] = DIGITS[c >> 4];
      escape[5] = DIGITS[c & 15u];
      snooze_json_bytes(json, escape, 6);
    } else {
      snooze_json_bytes(json, text.ptr + i, 1);
    }
  }
  snooze_json_raw(json, "\"");
}

/** Non-zero when everything that was appended fitted. */
static inline int snooze_json_fits(const snooze_json *json)
{
  return json->length <= json->capacity;
}

#endif /* CLOUDSNOOZE_JSON_H */
