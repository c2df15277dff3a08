// A plugin that throws what its configuration asks for, where it asks for it: {"at": "on_event", "what": "int"}.
// Apache-2.0.

#include <stdexcept>
#include <string>

#include "cloudsnooze/plugin.hpp"

class Throws : public cloudsnooze::Plugin {
public:
  static constexpr const char *id = "org.cloudsnooze.test.throws";
  static constexpr const char *name = "throws";
  static constexpr const char *version = "1.0.0";
  static constexpr const char *description = "Throws";
  static constexpr const char *vendor = "The CloudSnooze authors";
  static constexpr const char *license = "Apache-2.0";

  Throws(cloudsnooze::Host, const cloudsnooze::Setup &setup)
      : at_(setup.required_text("at")), what_(setup.required_text("what"))
  {
    here("constructor");
  }
  // Neither marked noexcept(false) nor needing to be: the base class saw to it.
  ~Throws() override { here("destructor"); }

  void activate() override { here("activate"); }
  void warm_up() override { here("warm_up"); }
  cloudsnooze::Outcome on_event(const cloudsnooze::Event &, const cloudsnooze::Call &) override
  {
    here("on_event");
    return cloudsnooze::Outcome::handled();
  }
  cloudsnooze::Verification verify(const cloudsnooze::Event &, const cloudsnooze::Call &) override
  {
    here("verify");
    return cloudsnooze::Verification::confirmed();
  }
  void on_cancel(const cloudsnooze::Call &, std::uint32_t) override { here("on_cancel"); }
  void deactivate() override { here("deactivate"); }

private:
  void here(const char *place) const
  {
    if (at_ != place) {
      return;
    }
    if (what_ == "int") {
      throw 42;
    }
    if (what_ == "error") {
      throw cloudsnooze::Error("busy on purpose", SNOOZE_E_BUSY);
    }
    throw std::runtime_error("thrown on purpose");
  }

  std::string at_;
  std::string what_;
};

SNOOZE_EXPORT_PLUGIN(Throws);
