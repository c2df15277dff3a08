/* A plugin in C++17: one class, one macro. Header-only, by hand, over the C headers. Apache-2.0.
 *
 *   class Example : public cloudsnooze::Plugin { ... on_event ... };
 *   SNOOZE_EXPORT_PLUGIN(Example);
 *
 * Nothing thrown gets out of the plugin: every function that the host calls catches all. A thrown
 * cloudsnooze::Error is an ordinary failure with its own code. Anything else is SNOOZE_E_PANIC and poisons
 * the instance, because nobody knows in which state it was left: later calls answer SNOOZE_E_STATE, only
 * deactivate and the destructor still run, so that threads and files are given back.
 * Needs exceptions; RTTI is needed only as far as exceptions need it. */

#ifndef CLOUDSNOOZE_PLUGIN_HPP
#define CLOUDSNOOZE_PLUGIN_HPP

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <exception>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "cloudsnooze/cloudsnooze.h"
#include "cloudsnooze/json.h"

namespace cloudsnooze {

/** Borrows text for a call into the host. */
inline snooze_str borrow(std::string_view text) noexcept { return snooze_str_of(text.data(), text.size()); }

/** Text as a JSON string, escaped and in quotes; std::nullopt as `null`. */
inline std::string quote(std::optional<std::string_view> text)
{
  // A view made by default has no address, which the C function would read as absent.
  snooze_str raw = !text ? snooze_str_of(nullptr, 0) : text->empty() ? SNOOZE_STR("") : borrow(*text);
  snooze_json measure = {nullptr, 0, 0};
  snooze_json_string(&measure, raw);
  std::string out(measure.length, '\0');
  snooze_json writer = {out.data(), out.size(), 0};
  snooze_json_string(&writer, raw);
  return out;
}

/** An ordinary failure: throw it from any function of a plugin. `code` is one of SNOOZE_E_*. */
class Error : public std::runtime_error {
public:
  explicit Error(const std::string &text, snooze_status code = SNOOZE_E_INTERNAL)
      : std::runtime_error(text), code_(code < 0 ? code : SNOOZE_E_INTERNAL)
  {
  }
  /** The code for the host; always negative. */
  snooze_status code() const noexcept { return code_; }

private:
  snooze_status code_;
};

/** How a delivery ended. */
class Outcome {
public:
  /** Done. */
  static Outcome handled() { return Outcome(SNOOZE_OK, {}); }
  /** Looked at, nothing was to be done. */
  static Outcome declined() { return Outcome(SNOOZE_SKIPPED, {}); }
  /** Goes on elsewhere; Call::complete follows exactly once. The class needs SNOOZE_CAP_ASYNC. */
  static Outcome async() { return Outcome(SNOOZE_ASYNC, {}); }
  /** Failed; `text` says why. */
  static Outcome failed(std::string text, snooze_status code = SNOOZE_E_INTERNAL)
  {
    return Outcome(code < 0 ? code : SNOOZE_E_INTERNAL, std::move(text));
  }
  /** Failed now, worth another attempt while time allows. */
  static Outcome retry(std::string text) { return Outcome(SNOOZE_E_RETRY, std::move(text)); }

  snooze_status status() const noexcept { return status_; }
  const std::string &text() const noexcept { return text_; }

private:
  Outcome(snooze_status status, std::string text) : status_(status), text_(std::move(text)) {}
  snooze_status status_;
  std::string text_;
};

/** Whether the effect of a handled event really holds. */
class Verification {
public:
  /** It does. */
  static Verification confirmed() { return Verification(SNOOZE_OK, {}); }
  /** It cannot be told. */
  static Verification unknown() { return Verification(SNOOZE_SKIPPED, {}); }
  /** It does not; `text` says what was found instead. */
  static Verification refuted(std::string text, snooze_status code = SNOOZE_E_INTERNAL)
  {
    return Verification(code < 0 ? code : SNOOZE_E_INTERNAL, std::move(text));
  }

  snooze_status status() const noexcept { return status_; }
  const std::string &text() const noexcept { return text_; }

private:
  Verification(snooze_status status, std::string text) : status_(status), text_(std::move(text)) {}
  snooze_status status_;
  std::string text_;
};

/** What an instance can handle; see snooze_subscription. */
struct Subscription {
  /** Event types, exact or a dotted prefix with `*`. */
  std::vector<std::string> kinds;
  /** 0 to 999, used when the configuration names none: >= 70 critical data, 40-69 checkpoints, < 40 the rest. */
  std::uint32_t priority = 50;
  /** Time wanted, used when the configuration names none; 0 = the host's default. */
  std::chrono::microseconds budget{0};
  /** Given back by Call::handler. */
  void *handler = nullptr;
};

/** The host's services. A small value: copy it freely. Functions are [any] unless they say otherwise. */
class Host {
public:
  explicit Host(const snooze_host *host) noexcept : host_(host) {}

  /** [any, rt] True when a line of this level (SNOOZE_LOG_*) would be kept: ask before building one. */
  bool log_enabled(std::uint32_t level) const noexcept
  {
    return !SNOOZE_HAS(host_, log_enabled) || host_->log_enabled(host_, level) != 0;
  }
  /** [any, rt] Logs one line of UTF-8; the host cuts it at 480 bytes. */
  void log(std::uint32_t level, std::string_view message) const noexcept { snooze_log(host_, level, borrow(message)); }
  void error(std::string_view message) const noexcept { log(SNOOZE_LOG_ERROR, message); }
  void warning(std::string_view message) const noexcept { log(SNOOZE_LOG_WARNING, message); }
  void info(std::string_view message) const noexcept { log(SNOOZE_LOG_INFO, message); }
  void debug(std::string_view message) const noexcept { log(SNOOZE_LOG_DEBUG, message); }

  /** [main] In a constructor or activate: says what the instance can handle. Throws Error when refused. */
  std::uint64_t subscribe(const Subscription &wanted) const
  {
    std::vector<const char *> kinds;
    for (const std::string &kind : wanted.kinds) {
      kinds.push_back(kind.c_str());
    }
    kinds.push_back(nullptr);
    snooze_subscription raw{};
    raw.struct_size = sizeof raw;
    raw.priority = wanted.priority;
    raw.kinds = kinds.data();
    raw.handler = wanted.handler;
    raw.budget_us = wanted.budget.count() > 0 ? static_cast<std::uint64_t>(wanted.budget.count()) : 0;
    std::uint64_t id = 0;
    snooze_status status = SNOOZE_HAS(host_, subscribe) ? host_->subscribe(host_, &raw, &id) : SNOOZE_E_UNSUPPORTED;
    if (status < 0) {
      throw Error("the host refused the subscription with code " + std::to_string(status), status);
    }
    return id;
  }
  /** [main] The id of a field by its JSON path ("data.my.own"); 0 when the host has none. */
  std::uint32_t field_id(std::string_view path) const noexcept
  {
    return SNOOZE_HAS(host_, field_id) ? host_->field_id(host_, borrow(path)) : 0;
  }
  /** The table of an optional service ("cloudsnooze.name/1"), or nullptr. */
  const void *extension(const char *id) const noexcept
  {
    return SNOOZE_HAS(host_, get_extension) ? host_->get_extension(host_, id) : nullptr;
  }
  /** Attaches `text` to the failure that the function in progress is about to return; gives `code` back. */
  snooze_status fail(snooze_status code, std::string_view text) const noexcept
  {
    return SNOOZE_HAS(host_, report_error) ? host_->report_error(host_, code, borrow(text)) : code;
  }
  /** The C table. */
  const snooze_host *raw() const noexcept { return host_; }

private:
  const snooze_host *host_;
};

/** How an instance is made. Borrowed: valid only inside the constructor. [main] */
class Setup {
public:
  explicit Setup(const snooze_create_args &args) noexcept : args_(args) {}

  std::string_view instance_name() const noexcept { return view(args_.instance_name); }
  /** The configuration as JSON text, already valid against the class's schema. */
  std::string_view config() const noexcept { return view(args_.config); }
  /** A directory of the instance's own; may not exist yet. */
  std::string_view state_dir() const noexcept { return view(args_.state_dir); }

  /** Text of a member of the configuration, nothing when it has none. Throws Error when it is no text. */
  std::optional<std::string> config_text(const char *key) const
  {
    snooze_str value{};
    snooze_status status = snooze_json_find(args_.config, key, &value);
    if (status == SNOOZE_E_NOT_FOUND) {
      return std::nullopt;
    }
    // Decoded text is never longer than its JSON form, and the quotes leave room for the final NUL.
    std::string text(value.len, '\0');
    if (status != SNOOZE_OK || snooze_json_unquote(value, text.data(), text.size()) != SNOOZE_OK) {
      throw Error(std::string("the configuration's member ") + key + " is no text", SNOOZE_E_CONFIG);
    }
    text.resize(std::strlen(text.c_str()));
    return text;
  }
  /** As config_text, but a missing member is an Error too. */
  std::string required_text(const char *key) const
  {
    std::optional<std::string> text = config_text(key);
    if (!text) {
      throw Error(std::string("the configuration has no member ") + key, SNOOZE_E_CONFIG);
    }
    return *std::move(text);
  }

private:
  static std::string_view view(snooze_str text) noexcept { return std::string_view(text.ptr, text.len); }
  const snooze_create_args &args_;
};

/** One event. Views it gives live until on_event returns, or until Call::complete. [any, rt] but for json. */
class Event {
public:
  Event(Host host, const snooze_event *event) noexcept : host_(host), event_(event) {}

  /** SNOOZE_KIND_*; read an unknown number as SNOOZE_KIND_OTHER. */
  std::uint32_t kind() const noexcept { return event_->kind; }
  /** SNOOZE_SEVERITY_*. */
  std::uint32_t severity() const noexcept { return event_->severity; }
  /** Number of the event since the daemon started, from 1. */
  std::uint64_t seq() const noexcept { return event_->seq; }
  /** Withdraws an earlier event. */
  bool withdraws() const noexcept { return (event_->flags & SNOOZE_EVENT_CANCELLED) != 0; }
  /** Made by `snooze simulate`; do the real work all the same. */
  bool simulated() const noexcept { return (event_->flags & SNOOZE_EVENT_SIMULATED) != 0; }
  /** A drill: do only what its withdrawal lets you undo, check the rest. Comes only with SNOOZE_CAP_DRILL. */
  bool drill() const noexcept { return (event_->flags & SNOOZE_EVENT_DRILL) != 0; }

  /** Text of a field (SNOOZE_FIELD_* or from Host::field_id), nothing when absent. */
  std::optional<std::string_view> text(std::uint32_t field) const noexcept
  {
    snooze_str text = snooze_event_text(host_.raw(), event_, field);
    return text.ptr != nullptr ? std::optional<std::string_view>({text.ptr, text.len}) : std::nullopt;
  }
  /** A whole number, nothing when absent or no number. */
  std::optional<std::int64_t> integer(std::uint32_t field) const noexcept
  {
    std::int64_t value = 0;
    const snooze_host *host = host_.raw();
    bool found = SNOOZE_HAS(host, event_i64) && host->event_i64(host, event_, field, &value) == SNOOZE_OK;
    return found ? std::optional<std::int64_t>(value) : std::nullopt;
  }
  /** A number, nothing when absent or no number. */
  std::optional<double> number(std::uint32_t field) const noexcept
  {
    double value = 0;
    const snooze_host *host = host_.raw();
    bool found = SNOOZE_HAS(host, event_f64) && host->event_f64(host, event_, field, &value) == SNOOZE_OK;
    return found ? std::optional<double>(value) : std::nullopt;
  }

  /** Empty views when the event does not say. */
  std::string_view type() const noexcept { return text(SNOOZE_FIELD_TYPE).value_or(std::string_view()); }
  std::string_view id() const noexcept { return text(SNOOZE_FIELD_ID).value_or(std::string_view()); }
  std::string_view source() const noexcept { return text(SNOOZE_FIELD_SOURCE).value_or(std::string_view()); }
  std::string_view provider() const noexcept { return text(SNOOZE_FIELD_PROVIDER).value_or(std::string_view()); }
  std::string_view action() const noexcept { return text(SNOOZE_FIELD_ACTION).value_or(std::string_view()); }
  std::string_view deadline() const noexcept { return text(SNOOZE_FIELD_DEADLINE).value_or(std::string_view()); }
  std::string_view instance_id() const noexcept { return text(SNOOZE_FIELD_INSTANCE_ID).value_or(std::string_view()); }

  /** [any] The whole event as one CloudEvents JSON object. Throws Error when the host has none. */
  std::string_view json() const
  {
    snooze_str out{};
    const snooze_host *host = host_.raw();
    snooze_status status = SNOOZE_HAS(host, event_json) ? host->event_json(host, event_, &out) : SNOOZE_E_UNSUPPORTED;
    if (status < 0) {
      throw Error("the host gave no JSON of the event", status);
    }
    return std::string_view(out.ptr, out.len);
  }
  /** The C struct. */
  const snooze_event *raw() const noexcept { return event_; }

private:
  Host host_;
  const snooze_event *event_;
};

/** One delivery. Lives as long as its event. A small value: copy it for an asynchronous completion. */
class Call {
public:
  Call(Host host, const snooze_call *call) noexcept : host_(host), call_(call) {}

  /** [any, rt] Time left; zero when it is over. */
  std::chrono::nanoseconds left() const noexcept
  {
    return std::chrono::nanoseconds(snooze_left_ns(host_.raw(), call_));
  }
  /** [any, rt] True once the call is cancelled; work in steps and ask between them. */
  bool cancelled() const noexcept { return cancel_reason() != SNOOZE_CANCEL_NONE; }
  /** [any, rt] SNOOZE_CANCEL_*. */
  std::uint32_t cancel_reason() const noexcept { return snooze_cancelled(call_); }
  /** [any] A descriptor of the host's that turns readable on cancellation, for poll(); -1 when none can be had. */
  int cancel_fd() const noexcept
  {
    const snooze_host *host = host_.raw();
    return SNOOZE_HAS(host, cancel_fd) ? host->cancel_fd(host, call_) : -1;
  }
  /** 1 for the first attempt, 2 for the first retry, and so on. */
  std::uint32_t attempt() const noexcept { return call_->attempt; }
  /** Subscription::handler of the subscription that matched. */
  void *handler() const noexcept { return call_->handler; }
  /** [any, rt] How far the work is, 0 to 1000. */
  void progress(std::uint32_t permille, std::string_view text) const noexcept
  {
    snooze_progress(host_.raw(), call_, permille, borrow(text));
  }
  /** [any] Attaches a JSON object for the report. Throws Error when the host refuses it. */
  void set_result(std::string_view json) const
  {
    snooze_status status = snooze_set_result(host_.raw(), call_, borrow(json));
    // A host that keeps no results is no reason to fail the work.
    if (status < 0 && status != SNOOZE_E_UNSUPPORTED) {
      throw Error("the host refused the result with code " + std::to_string(status), status);
    }
  }
  /** [any] Ends a call that answered Outcome::async(), exactly once; gives the host's answer. */
  snooze_status complete(const Outcome &outcome) const noexcept
  {
    const snooze_host *host = host_.raw();
    return SNOOZE_HAS(host, complete) ? host->complete(host, call_, outcome.status(), borrow(outcome.text()))
                                      : SNOOZE_E_UNSUPPORTED;
  }
  /** The C struct. */
  const snooze_call *raw() const noexcept { return call_; }

private:
  Host host_;
  const snooze_call *call_;
};

/**
 * The base of a plugin class. A class gives, as `static constexpr const char *`: id, name, version,
 * description, vendor, license; it may give config_schema (JSON Schema of its configuration), url, and
 * `static constexpr std::uint64_t caps` (SNOOZE_CAP_*). Its constructor takes `(Host, const Setup &)`.
 * Thread tags are those of snooze_plugin; one on_event at a time unless the class claims REENTRANT.
 */
class Plugin {
public:
  static constexpr const char *config_schema = nullptr;
  static constexpr const char *url = "";
  static constexpr std::uint64_t caps = 0;

  Plugin() = default;
  Plugin(const Plugin &) = delete;
  Plugin &operator=(const Plugin &) = delete;
  /** [main] May throw, as every destructor derived from it may: what it throws is caught and logged. */
  virtual ~Plugin() noexcept(false) = default;

  /** [main] Opens what the instance needs. */
  virtual void activate() {}
  /** [dispatch] Touches what on_event will need, once on each pool thread. */
  virtual void warm_up() {}
  /** [dispatch, worker] Handles one event inside the time that `call` grants. */
  virtual Outcome on_event(const Event &event, const Call &call) = 0;
  /** [worker] After a handled event: does the effect really hold? */
  virtual Verification verify(const Event &, const Call &) { return Verification::unknown(); }
  /** [any] The call was cancelled, for `reason` (SNOOZE_CANCEL_*); may overlap its on_event. Must not block. */
  virtual void on_cancel(const Call &, std::uint32_t /* reason */) {}
  /** [main] Stops and joins every thread and timer of the instance. */
  virtual void deactivate() {}
};

/** The functions that the host calls. Not for authors. */
namespace thunk {

/** Runs `work` and hands what it throws to `say(code, text)`. True when the state of the plugin is unknown now. */
template <class Work, class Say> bool guarded(Work &&work, Say &&say) noexcept
{
  try {
    work();
    return false;
  } catch (const Error &error) {
    say(error.code(), error.what());
    return false;
  } catch (const std::exception &error) {
    say(SNOOZE_E_PANIC, error.what());
  } catch (...) {
    say(SNOOZE_E_PANIC, "threw something that is no std::exception");
  }
  return true;
}

template <class T> class Instance {
  static_assert(std::is_base_of_v<Plugin, T>, "a plugin class derives from cloudsnooze::Plugin");
  static_assert(std::is_constructible_v<T, Host, const Setup &>, "its constructor takes (Host, const Setup &)");

public:
  Instance(const snooze_host *host, const snooze_create_args &args) : host_(host), plugin_(host_, Setup(args))
  {
    table_.struct_size = sizeof table_;
    table_.ctx = this;
    table_.activate = &activate;
    table_.warm_up = &warm_up;
    table_.on_event = &on_event;
    table_.on_cancel = &on_cancel;
    table_.deactivate = &deactivate;
    table_.destroy = &destroy;
    table_.verify = &verify;
  }

  static snooze_status create(const snooze_host *host, const snooze_create_args *args,
                              const snooze_plugin **out) noexcept
  {
    snooze_status status = SNOOZE_OK;
    guarded([&] { *out = &std::make_unique<Instance>(host, *args).release()->table_; },
            [&](snooze_status code, const char *text) { status = Host(host).fail(code, text); });
    return status;
  }

  static const char *config_schema() noexcept { return T::config_schema; }

private:
  static Instance &of(const snooze_plugin *plugin) noexcept { return *static_cast<Instance *>(plugin->ctx); }

  /** A function that answers a status: what was thrown goes to report_error. */
  template <class Work> snooze_status answer(Work &&work) noexcept
  {
    if (poisoned_.load(std::memory_order_acquire)) {
      return host_.fail(SNOOZE_E_STATE, "the instance threw earlier and takes no more calls");
    }
    snooze_status status = SNOOZE_OK;
    bool broken = guarded([&] { status = work(); },
                          [&](snooze_status code, const char *text) { status = host_.fail(code, text); });
    if (broken) {
      poisoned_.store(true, std::memory_order_release);
    }
    return status;
  }

  /** A function without an answer: what was thrown goes to the log. */
  template <class Work> void run(const char *what, Work &&work) noexcept
  {
    Host host = host_;
    bool broken = guarded(std::forward<Work>(work), [&](snooze_status code, const char *text) {
      snooze_logf(host.raw(), SNOOZE_LOG_ERROR, "%s failed with code %d: %s", what, static_cast<int>(code), text);
    });
    if (broken) {
      poisoned_.store(true, std::memory_order_release);
    }
  }

  template <class Result> snooze_status told(const Result &result) const noexcept
  {
    return result.status() < 0 ? host_.fail(result.status(), result.text()) : result.status();
  }

  static snooze_status activate(const snooze_plugin *plugin) noexcept
  {
    Instance &self = of(plugin);
    return self.answer([&] {
      self.plugin_.activate();
      return SNOOZE_OK;
    });
  }

  static void warm_up(const snooze_plugin *plugin) noexcept
  {
    Instance &self = of(plugin);
    if (!self.poisoned_.load(std::memory_order_acquire)) {
      self.run("warm_up", [&] { self.plugin_.warm_up(); });
    }
  }

  static snooze_status on_event(const snooze_plugin *plugin, const snooze_event *event, const snooze_call *call) noexcept
  {
    Instance &self = of(plugin);
    return self.answer(
        [&] { return self.told(self.plugin_.on_event(Event(self.host_, event), Call(self.host_, call))); });
  }

  static snooze_status verify(const snooze_plugin *plugin, const snooze_event *event, const snooze_call *call) noexcept
  {
    Instance &self = of(plugin);
    return self.answer(
        [&] { return self.told(self.plugin_.verify(Event(self.host_, event), Call(self.host_, call))); });
  }

  static void on_cancel(const snooze_plugin *plugin, const snooze_call *call, std::uint32_t reason) noexcept
  {
    Instance &self = of(plugin);
    if (!self.poisoned_.load(std::memory_order_acquire)) {
      self.run("on_cancel", [&] { self.plugin_.on_cancel(Call(self.host_, call), reason); });
    }
  }

  static void deactivate(const snooze_plugin *plugin) noexcept
  {
    Instance &self = of(plugin);
    self.run("deactivate", [&] { self.plugin_.deactivate(); });
  }

  static void destroy(const snooze_plugin *plugin) noexcept
  {
    Instance *self = &of(plugin);
    // The instance is gone when its destructor throws, so nothing of it may be used to say so.
    Host host = self->host_;
    guarded([self] { delete self; },
            [&](snooze_status code, const char *text) {
              snooze_logf(host.raw(), SNOOZE_LOG_ERROR, "the destructor failed with code %d: %s",
                          static_cast<int>(code), text);
            });
  }

  Host host_;
  std::atomic<bool> poisoned_{false};
  snooze_plugin table_{};
  T plugin_;
};

} // namespace thunk

/**
 * The class record of `T`, for SNOOZE_EXPORT of several classes in one library. Internal linkage on purpose:
 * the dynamic loader would merge the records of two plugins that both call their class Example.
 */
template <class T>
static constexpr snooze_class class_record = {
    sizeof(snooze_class),
    0,
    T::caps,
    T::id,
    T::name,
    T::version,
    T::description,
    T::config_schema != nullptr ? &thunk::Instance<T>::config_schema : nullptr,
    &thunk::Instance<T>::create,
};

} // namespace cloudsnooze

/** Makes the library a plugin of one class. Once in a library, outside of any namespace. */
#define SNOOZE_EXPORT_PLUGIN(Class)                                                                         \
  SNOOZE_EXPORT(Class::vendor, Class::license, Class::url, &cloudsnooze::class_record<Class>)

#endif /* CLOUDSNOOZE_PLUGIN_HPP */
