/* Checks the helpers of plugin_util.h and json.h. Built as C99 and as C++11 by every compiler there is: what holds in
 * one language must hold in the other. Prints each check that failed; exit status 1 when there was one. Apache-2.0. */

#include <stdio.h>
#include <string.h>

#include "cloudsnooze/cloudsnooze.h"
#include "cloudsnooze/json.h"

static int failures;
static int log_calls;
static uint32_t log_on;
static char said[1024];
static size_t said_len;

#define CHECK(claim) check((claim) != 0, #claim, __LINE__)

static void check(int holds, const char *claim, int line)
{
  if (!holds) {
    printf("line %d: does not hold: %s\n", line, claim);
    failures++;
  }
}

static void keep(snooze_str text)
{
  memcpy(said, text.ptr, text.len);
  said[text.len] = '\0';
  said_len = text.len;
}

static void fake_log(const snooze_host *host, const snooze_log_record *record)
{
  (void)host;
  log_calls++;
  check(record->struct_size == sizeof *record && record->fields == NULL, "the record is filled in", __LINE__);
  keep(record->message);
}

static uint32_t fake_log_enabled(const snooze_host *host, uint32_t level)
{
  (void)host;
  return level <= log_on;
}

static snooze_status fake_report_error(const snooze_host *host, snooze_status code, snooze_str text)
{
  (void)host;
  keep(text);
  return code;
}

static int64_t fake_left_ns(const snooze_host *host, const snooze_call *call)
{
  (void)host;
  return call->deadline_boot_ns;
}

static snooze_status fake_event_str(const snooze_host *host, const snooze_event *event, uint32_t field, snooze_str *out)
{
  (void)host;
  (void)event;
  /* A host that writes although it fails: the helper must not believe it. */
  *out = SNOOZE_STR("aws");
  return field == SNOOZE_FIELD_PROVIDER ? SNOOZE_OK : SNOOZE_E_NOT_FOUND;
}

static snooze_host full_host(void)
{
  snooze_host host;
  memset(&host, 0, sizeof host);
  host.struct_size = (uint32_t)sizeof host;
  host.log = fake_log;
  host.log_enabled = fake_log_enabled;
  host.report_error = fake_report_error;
  host.left_ns = fake_left_ns;
  host.event_str = fake_event_str;
  return host;
}

static void texts(void)
{
  CHECK(SNOOZE_STR("").len == 0);
  CHECK(SNOOZE_STR("a\0b").len == 3);
  CHECK(snooze_str_from(NULL).len == 0 && snooze_str_from(NULL).ptr == NULL);
  CHECK(snooze_str_from("abc").len == 3);
  CHECK(snooze_str_eq(SNOOZE_STR("abc"), snooze_str_from("abc")));
  CHECK(!snooze_str_eq(SNOOZE_STR("abc"), SNOOZE_STR("abd")));
  CHECK(!snooze_str_eq(SNOOZE_STR("abc"), SNOOZE_STR("ab")));
  CHECK(snooze_str_eq(SNOOZE_STR(""), snooze_str_from(NULL)));
}

static void tables(void)
{
  snooze_host host = full_host();
  CHECK(SNOOZE_HAS(&host, log));
  CHECK(!SNOOZE_HAS(&host, complete));
  CHECK(SNOOZE_FITS(&host, complete));
  host.struct_size = (uint32_t)offsetof(snooze_host, log);
  CHECK(!SNOOZE_HAS(&host, log));
  host.struct_size += (uint32_t)sizeof host.log - 1;
  CHECK(!SNOOZE_HAS(&host, log));
  host.struct_size += 1;
  CHECK(SNOOZE_HAS(&host, log));
  CHECK(!SNOOZE_HAS(&host, log_enabled));
}

/* `prefix` bytes of ASCII, then `letter` again and again: 600 bytes or more. */
static void log_long(const snooze_host *host, size_t prefix, const char *letter)
{
  char text[700];
  size_t len = prefix;
  memset(text, 'x', prefix);
  while (len < 600) {
    memcpy(text + len, letter, strlen(letter));
    len += strlen(letter);
  }
  text[len] = '\0';
  snooze_logf(host, SNOOZE_LOG_INFO, "%s", text);
  check(memcmp(said, text, said_len) == 0, "what is left is the beginning", __LINE__);
}

static void logging(void)
{
  snooze_host host = full_host();
  size_t prefix;
  log_on = SNOOZE_LOG_INFO;
  log_calls = 0;
  snooze_logf(&host, SNOOZE_LOG_DEBUG, "%d", 1);
  CHECK(log_calls == 0);
  snooze_logf(&host, SNOOZE_LOG_INFO, "%s-%d", "a", 7);
  CHECK(log_calls == 1 && strcmp(said, "a-7") == 0);
  host.log_enabled = NULL;
  snooze_logf(&host, SNOOZE_LOG_DEBUG, "%d", 2);
  CHECK(log_calls == 2 && strcmp(said, "2") == 0);
  host.log = NULL;
  snooze_logf(&host, SNOOZE_LOG_ERROR, "%d", 3);
  CHECK(log_calls == 2);
  host.log = fake_log;
  log_long(&host, 0, "y");
  CHECK(said_len == SNOOZE_LINE_BYTES - 1);
  /* Wherever a character meets the end of the buffer, it is kept whole or left out whole. */
  for (prefix = 0; prefix < 4; prefix++) {
    log_long(&host, prefix, "\xc3\xa9");
    CHECK((said_len - prefix) % 2 == 0 && said_len > SNOOZE_LINE_BYTES - 1 - 2);
    log_long(&host, prefix, "\xe2\x82\xac");
    CHECK((said_len - prefix) % 3 == 0 && said_len > SNOOZE_LINE_BYTES - 1 - 3);
    log_long(&host, prefix, "\xf0\x9f\x92\xa4");
    CHECK((said_len - prefix) % 4 == 0 && said_len > SNOOZE_LINE_BYTES - 1 - 4);
  }
}

static void calls(void)
{
  snooze_host host = full_host();
  snooze_event event;
  snooze_call call;
  uint32_t cancelled = SNOOZE_CANCEL_NONE;
  memset(&event, 0, sizeof event);
  memset(&call, 0, sizeof call);
  call.cancelled = &cancelled;
  call.deadline_boot_ns = 1999999;
  CHECK(snooze_failf(&host, SNOOZE_E_IO, "%s: %d", "x", 5) == SNOOZE_E_IO && strcmp(said, "x: 5") == 0);
  CHECK(snooze_cancelled(&call) == SNOOZE_CANCEL_NONE);
  cancelled = SNOOZE_CANCEL_DEADLINE;
  CHECK(snooze_cancelled(&call) == SNOOZE_CANCEL_DEADLINE);
  CHECK(snooze_left_ns(&host, &call) == 1999999);
  CHECK(snooze_left_ms(&host, &call) == 1);
  CHECK(snooze_str_eq(snooze_event_text(&host, &event, SNOOZE_FIELD_PROVIDER), SNOOZE_STR("aws")));
  CHECK(snooze_event_text(&host, &event, SNOOZE_FIELD_ZONE).ptr == NULL);
  CHECK(snooze_event_text(&host, &event, SNOOZE_FIELD_ZONE).len == 0);
  CHECK(snooze_set_result(&host, &call, SNOOZE_STR("{}")) == SNOOZE_E_UNSUPPORTED);
  snooze_progress(&host, &call, 500, SNOOZE_STR("half"));
  host.struct_size = (uint32_t)offsetof(snooze_host, log);
  said[0] = '\0';
  CHECK(snooze_failf(&host, SNOOZE_E_IO, "%s", "x") == SNOOZE_E_IO && said[0] == '\0');
  CHECK(snooze_left_ns(&host, &call) == 0);
  CHECK(snooze_event_text(&host, &event, SNOOZE_FIELD_PROVIDER).ptr == NULL);
}

/* The text of member "k" of `json` must be `expected`, or give `status`. */
static void member(const char *json, snooze_status status, const char *expected)
{
  char out[16];
  snooze_status got = snooze_json_text(snooze_str_from(json), "k", out, sizeof out);
  if (got != status || (status == SNOOZE_OK && strcmp(out, expected) != 0)) {
    printf("%s: status %d, text %s\n", json, got, got == SNOOZE_OK ? out : "");
    failures++;
  }
}

static void json_reading(void)
{
  member("{\"k\":\"v\"}", SNOOZE_OK, "v");
  member(" { \"a\" : [ 1 , {\"k\":\"no\"} , \"]\" ] , \"k\" : \"v\" } ", SNOOZE_OK, "v");
  member("{\"a\":{\"k\":\"no\"},\"b\":\"k\",\"k\":\"\"}", SNOOZE_OK, "");
  member("{\"a\":\"\\\"k\\\":\\\\\",\"n\":-1.5e3,\"t\":true,\"k\":\"v\"}", SNOOZE_OK, "v");
  member("{\"\\u006b\":\"v\"}", SNOOZE_OK, "v");
  member("{\"k\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"}", SNOOZE_OK, "\"\\/\b\f\n\r\t");
  member("{\"k\":\"\\u00e9\\u20AC\\ud83d\\ude00\"}", SNOOZE_OK, "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80");
  member("{\"k\":\"\xc3\xa9\"}", SNOOZE_OK, "\xc3\xa9");
  member("{\"k\":\"123456789012345\"}", SNOOZE_OK, "123456789012345");
  member("{\"k\":\"1234567890123456\"}", SNOOZE_E_TOO_SMALL, "");
  member("{}", SNOOZE_E_NOT_FOUND, "");
  member("{\"kk\":\"v\",\"K\":\"v\"}", SNOOZE_E_NOT_FOUND, "");
  member("{\"k\":null}", SNOOZE_E_INVALID, "");
  member("{\"k\":12}", SNOOZE_E_INVALID, "");
  member("{\"k\":{}}", SNOOZE_E_INVALID, "");
  member("{\"k\":\"a\\u0000b\"}", SNOOZE_E_INVALID, "");
  member("{\"k\":\"\\ud83d\"}", SNOOZE_E_INVALID, "");
  member("{\"k\":\"\\ud83d\\u0041\"}", SNOOZE_E_INVALID, "");
  member("{\"k\":\"\\ude00\"}", SNOOZE_E_INVALID, "");
  member("{\"k\":\"\\x\"}", SNOOZE_E_INVALID, "");
  member("{\"k\":\"\\u12g4\"}", SNOOZE_E_INVALID, "");
}

static void json_damaged(void)
{
  static const char WHOLE[] = "{ \"a\" : [1, \"\\u00e9\"] , \"k\" : \"\\ud83d\\ude00\" }";
  char room[sizeof WHOLE];
  size_t len;
  snooze_str found;
  member("", SNOOZE_E_INVALID, "");
  member("[\"k\"]", SNOOZE_E_INVALID, "");
  member("\"k\"", SNOOZE_E_INVALID, "");
  member("{\"k\"", SNOOZE_E_INVALID, "");
  member("{\"k\":", SNOOZE_E_INVALID, "");
  member("{\"k\":}", SNOOZE_E_INVALID, "");
  member("{\"k\":\"v", SNOOZE_E_INVALID, "");
  member("{k:1}", SNOOZE_E_INVALID, "");
  /* Cut anywhere, the text is never read beyond its end (the sanitizer watches), and half a value is never given. */
  for (len = 0; len + 1 < sizeof WHOLE; len++) {
    char out[16];
    char *cut = room + sizeof WHOLE - len;
    memcpy(cut, WHOLE, len);
    if (snooze_json_text(snooze_str_of(cut, len), "k", out, sizeof out) == SNOOZE_OK) {
      CHECK(strcmp(out, "\xf0\x9f\x98\x80") == 0);
    }
  }
  CHECK(snooze_json_find(SNOOZE_STR("{\"n\": 12 ,\"o\":{\"x\":[1]} }"), "n", &found) == SNOOZE_OK);
  CHECK(snooze_str_eq(found, SNOOZE_STR("12")));
  CHECK(snooze_json_find(SNOOZE_STR("{\"n\": 12 ,\"o\":{\"x\":[1]} }"), "o", &found) == SNOOZE_OK);
  CHECK(snooze_str_eq(found, SNOOZE_STR("{\"x\":[1]}")));
}

static void json_writing(void)
{
  static const char EXPECTED[] = "{\"a\":\"\\\"\\\\/\\b\\f\\n\\r\\t\\u0000\\u001f\x7f\xc3\xa9\",\"b\":null}";
  char buffer[sizeof EXPECTED];
  size_t capacity;
  for (capacity = 0; capacity < sizeof EXPECTED; capacity++) {
    snooze_json json = {buffer, capacity, 0};
    memset(buffer, '#', sizeof buffer);
    snooze_json_raw(&json, "{\"a\":");
    snooze_json_string(&json, SNOOZE_STR("\"\\/\b\f\n\r\t\0\x1f\x7f\xc3\xa9"));
    snooze_json_raw(&json, ",\"b\":");
    snooze_json_string(&json, snooze_str_from(NULL));
    snooze_json_raw(&json, "}");
    CHECK(json.length == sizeof EXPECTED - 1);
    CHECK(snooze_json_fits(&json) == (capacity == sizeof EXPECTED - 1));
    CHECK(buffer[capacity] == '#');
  }
  CHECK(memcmp(buffer, EXPECTED, sizeof EXPECTED - 1) == 0);
}

int main(void)
{
  texts();
  tables();
  logging();
  calls();
  json_reading();
  json_damaged();
  json_writing();
  printf("%d failed\n", failures);
  return failures != 0;
}
