// Exhibit in C++17: the header-only layer plugin.hpp of 1.0, with an exception that becomes an error. It must never change:
// what was built from it is here.
//
// Configuration: {"file": "/path"}; "fail" has on_event throw this text. Apache-2.0.

#include <cstdio>
#include <stdexcept>
#include <string>

#include <cloudsnooze/plugin.hpp>

using cloudsnooze::Call, cloudsnooze::Event, cloudsnooze::Host, cloudsnooze::Outcome, cloudsnooze::Setup,
    cloudsnooze::Verification, cloudsnooze::quote;

namespace {

class Layer final : public cloudsnooze::Plugin {
public:
  static constexpr const char *id = "org.cloudsnooze.museum." NAME;
  static constexpr const char *name = NAME;
  static constexpr const char *version = "1.0.0";
  static constexpr const char *description = "An exhibit of the museum";
  static constexpr const char *vendor = "The CloudSnooze authors";
  static constexpr const char *license = "Apache-2.0";
  static constexpr const char *url = "";
  static constexpr std::uint64_t caps = SNOOZE_CAP_PROCESS_OK;
  static constexpr const char *config_schema = R"({"type": "object", "additionalProperties": false, "required": ["file"],
    "properties": {"file": {"type": "string", "minLength": 1}, "fail": {"type": "string"}}})";

  Layer(Host host, const Setup &setup)
      : host_(host), file_(setup.required_text("file")), fail_(setup.config_text("fail").value_or(""))
  {
    note("created");
  }
  ~Layer() override { note("destroyed"); }

  Outcome on_event(const Event &event, const Call &call) override
  {
    if (!fail_.empty()) {
      throw std::runtime_error(fail_);
    }
    host_.info("an exhibit handles an event");
    handled_ = std::string(event.id());
    note("handled " + handled_);
    call.set_result("{\"type\":" + quote(event.type()) + "}");
    return call.left().count() > 0 ? Outcome::handled() : Outcome::failed("no time is left", SNOOZE_E_DEADLINE);
  }

  Verification verify(const Event &event, const Call &) override
  {
    return event.id() == handled_ ? Verification::confirmed()
                                                   : Verification::refuted("another was handled", SNOOZE_E_NOT_FOUND);
  }

private:
  void note(const std::string &what) const
  {
    if (std::FILE *file = std::fopen(file_.c_str(), "a")) {
      std::fputs((NAME " " + what + "\n").c_str(), file);
      std::fclose(file);
    }
  }

  Host host_;
  std::string file_, fail_, handled_;
};

} // namespace

SNOOZE_EXPORT_PLUGIN(Layer);
