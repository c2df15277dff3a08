// Checks the values of plugin.hpp: texts, configuration, outcomes, what reaches the host. Prints each check that
// failed; exit status 1 when there was one. Apache-2.0.

#include <cstdio>
#include <string>
#include <vector>

#include "cloudsnooze/plugin.hpp"

using namespace cloudsnooze;

static int failures;
static std::vector<std::string> seen;

#define CHECK(claim) check((claim), #claim, __LINE__)

static void check(bool holds, const char *claim, int line)
{
  if (!holds) {
    std::printf("line %d: does not hold: %s\n", line, claim);
    failures++;
  }
}

// What `work` throws: its code and text, or nothing.
template <class Work> static std::optional<std::pair<snooze_status, std::string>> thrown(Work &&work)
{
  try {
    work();
  } catch (const Error &error) {
    return std::make_pair(error.code(), std::string(error.what()));
  }
  return std::nullopt;
}

static void texts()
{
  CHECK(quote("a\"b\n") == "\"a\\\"b\\n\"");
  CHECK(quote(std::string_view()) == "\"\"");
  CHECK(quote(std::nullopt) == "null");
  CHECK(borrow("abc").len == 3);
}

static void codes_are_always_failures()
{
  CHECK(Error("x").code() == SNOOZE_E_INTERNAL);
  CHECK(Error("x", SNOOZE_E_IO).code() == SNOOZE_E_IO);
  // A failure with the code of a success would be reported as a success.
  CHECK(Error("x", SNOOZE_OK).code() == SNOOZE_E_INTERNAL);
  CHECK(Outcome::failed("x", SNOOZE_SKIPPED).status() == SNOOZE_E_INTERNAL);
  CHECK(Verification::refuted("x", SNOOZE_OK).status() == SNOOZE_E_INTERNAL);
  CHECK(Outcome::handled().status() == SNOOZE_OK);
  CHECK(Outcome::declined().status() == SNOOZE_SKIPPED);
  CHECK(Outcome::async().status() == SNOOZE_ASYNC);
  CHECK(Outcome::retry("later").status() == SNOOZE_E_RETRY && Outcome::retry("later").text() == "later");
  CHECK(Verification::confirmed().status() == SNOOZE_OK);
  CHECK(Verification::unknown().status() == SNOOZE_SKIPPED);
}

static void configuration()
{
  snooze_create_args args{};
  args.struct_size = sizeof args;
  args.config = SNOOZE_STR("{\"text\":\"a\\u00e9\",\"empty\":\"\",\"number\":1}");
  Setup setup(args);
  CHECK(setup.instance_name().empty());
  CHECK(setup.config_text("text") == "a\xc3\xa9");
  CHECK(setup.config_text("empty") == "");
  CHECK(setup.config_text("none") == std::nullopt);
  CHECK(setup.required_text("text") == "a\xc3\xa9");
  auto missing = thrown([&] { setup.required_text("none"); });
  CHECK(missing && missing->first == SNOOZE_E_CONFIG && missing->second == "the configuration has no member none");
  auto number = thrown([&] { setup.config_text("number"); });
  CHECK(number && number->first == SNOOZE_E_CONFIG && number->second == "the configuration's member number is no text");
}

static snooze_status fake_subscribe(const snooze_host *, const snooze_subscription *wanted, uint64_t *id)
{
  for (const char *const *kind = wanted->kinds; *kind != nullptr; kind++) {
    seen.push_back(*kind);
  }
  seen.push_back(std::to_string(wanted->priority) + " " + std::to_string(wanted->budget_us));
  *id = 9;
  return wanted->priority > 999 ? SNOOZE_E_INVALID : SNOOZE_OK;
}

static snooze_status fake_complete(const snooze_host *, const snooze_call *, snooze_status code, snooze_str text)
{
  seen.push_back(std::to_string(code) + " " + std::string(text.ptr, text.len));
  return SNOOZE_OK;
}

static snooze_status fake_set_result(const snooze_host *, const snooze_call *, snooze_str)
{
  return SNOOZE_E_INVALID;
}

static snooze_status fake_event_i64(const snooze_host *, const snooze_event *, uint32_t field, int64_t *out)
{
  *out = 5;
  return field == 100 ? SNOOZE_OK : SNOOZE_E_NOT_FOUND;
}

static void what_reaches_the_host()
{
  snooze_host table{};
  table.struct_size = sizeof table;
  table.subscribe = fake_subscribe;
  table.complete = fake_complete;
  table.set_result = fake_set_result;
  table.event_i64 = fake_event_i64;
  Host host(&table);
  CHECK(host.subscribe({{"cloud.spot.*", "custom.x"}, 70, std::chrono::milliseconds(2), nullptr}) == 9);
  CHECK((seen == std::vector<std::string>{"cloud.spot.*", "custom.x", "70 2000"}));
  auto refused = thrown([&] { host.subscribe({{}, 1000, {}, nullptr}); });
  CHECK(refused && refused->first == SNOOZE_E_INVALID);
  CHECK(host.field_id("data.x") == 0 && host.extension("x/1") == nullptr);
  CHECK(host.fail(SNOOZE_E_BUSY, "x") == SNOOZE_E_BUSY);
  host.info("nobody listens");

  snooze_event event{};
  event.flags = SNOOZE_EVENT_CANCELLED;
  Event seen_event(host, &event);
  CHECK(seen_event.withdraws() && !seen_event.simulated());
  CHECK(seen_event.integer(100) == 5 && !seen_event.integer(101) && !seen_event.number(100));
  CHECK(seen_event.type().empty() && !seen_event.text(SNOOZE_FIELD_ZONE));
  auto no_json = thrown([&] { seen_event.json(); });
  CHECK(no_json && no_json->first == SNOOZE_E_UNSUPPORTED);

  uint32_t cancelled = SNOOZE_CANCEL_SUPERSEDED;
  snooze_call raw{};
  raw.cancelled = &cancelled;
  Call call(host, &raw);
  CHECK(call.cancelled() && call.cancel_reason() == SNOOZE_CANCEL_SUPERSEDED);
  CHECK(call.left().count() == 0 && call.cancel_fd() == -1);
  seen.clear();
  CHECK(call.complete(Outcome::failed("no disk", SNOOZE_E_IO)) == SNOOZE_OK);
  CHECK((seen == std::vector<std::string>{"-10 no disk"}));
  auto bad_result = thrown([&] { call.set_result("[]"); });
  CHECK(bad_result && bad_result->first == SNOOZE_E_INVALID);
  table.set_result = nullptr;
  CHECK(!thrown([&] { call.set_result("{}"); }));
}

int main()
{
  texts();
  codes_are_always_failures();
  configuration();
  what_reaches_the_host();
  std::printf("%d failed\n", failures);
  return failures != 0;
}
