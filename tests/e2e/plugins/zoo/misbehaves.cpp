// A plugin in C++ that throws in the function its configuration names: {"throws_in": "...", "what": "..."}. Apache-2.0.

#include <stdexcept>
#include <string>

#include <poll.h>

#include <cloudsnooze/plugin.hpp>

using cloudsnooze::Call, cloudsnooze::Error, cloudsnooze::Event, cloudsnooze::Host, cloudsnooze::Outcome,
    cloudsnooze::Setup, cloudsnooze::Verification;

namespace {

class Misbehaves final : public cloudsnooze::Plugin {
public:
  static constexpr const char *id = "org.cloudsnooze.test.misbehaves-cpp";
  static constexpr const char *name = "misbehaves-cpp";
  static constexpr const char *version = "1.0.0";
  static constexpr const char *description = "Throws wherever its configuration says";
  static constexpr const char *vendor = "The CloudSnooze authors";
  static constexpr const char *license = "Apache-2.0";

  Misbehaves(Host, const Setup &setup) : throws_in_(setup.required_text("throws_in")), what_(setup.required_text("what"))
  {
    reach("constructor");
  }
  ~Misbehaves() noexcept(false) override { reach("destructor"); }

  void activate() override { reach("activate"); }
  void warm_up() override { reach("warm_up"); }
  Outcome on_event(const Event &, const Call &call) override
  {
    reach("on_event");
    if (throws_in_ == "on_cancel") {
      pollfd cancelled = {call.cancel_fd(), POLLIN, 0};
      poll(&cancelled, 1, 60000);
    }
    return Outcome::handled();
  }
  Verification verify(const Event &, const Call &) override
  {
    reach("verify");
    return Verification::unknown();
  }
  void on_cancel(const Call &, std::uint32_t) override { reach("on_cancel"); }
  void deactivate() override { reach("deactivate"); }

private:
  void reach(const std::string &function) const
  {
    if (function != throws_in_) {
      return;
    }
    if (what_ == "a number") {
      throw 42;
    }
    if (what_ == "an error") {
      throw Error("an ordinary failure in " + function, SNOOZE_E_IO);
    }
    throw std::runtime_error("a bear was met in " + function);
  }

  std::string throws_in_;
  std::string what_;
};

} // namespace

SNOOZE_EXPORT_PLUGIN(Misbehaves);
