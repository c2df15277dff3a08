// A complete CloudSnooze plugin in C++17: appends one line of JSON about each event to a file, and proves it.
// Configuration: {"file": "/path"}. Apache-2.0.

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <string>
#include <utility>

#include <fcntl.h>
#include <unistd.h>

#include <cloudsnooze/plugin.hpp>

using cloudsnooze::Call, cloudsnooze::Error, cloudsnooze::Event, cloudsnooze::Host, cloudsnooze::Outcome,
    cloudsnooze::Setup, cloudsnooze::Verification, cloudsnooze::quote;

namespace {

constexpr std::pair<const char *, std::uint32_t> FIELDS[] = {
    {"type", SNOOZE_FIELD_TYPE},
    {"id", SNOOZE_FIELD_ID},
    {"source", SNOOZE_FIELD_SOURCE},
    {"severity", SNOOZE_FIELD_SEVERITY},
    {"provider", SNOOZE_FIELD_PROVIDER},
    {"action", SNOOZE_FIELD_ACTION},
    {"deadline", SNOOZE_FIELD_DEADLINE},
    {"instanceID", SNOOZE_FIELD_INSTANCE_ID},
    {"instanceType", SNOOZE_FIELD_INSTANCE_TYPE},
    {"zone", SNOOZE_FIELD_ZONE},
    {"region", SNOOZE_FIELD_REGION},
    {"noticeKind", SNOOZE_FIELD_NOTICE_KIND},
};

// A descriptor that closes itself, also when something is thrown.
class File {
public:
  explicit File(const std::string &path)
      : path_(path), fd_(open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640))
  {
    check(fd_ >= 0, "open");
  }
  ~File() { close(fd_); }
  File(const File &) = delete;
  File &operator=(const File &) = delete;

  // One write of the whole line, then fsync: the machine is about to go away, and its page cache with it.
  void append(const std::string &line)
  {
    errno = ENOSPC; // A short write sets no errno of its own.
    check(write(fd_, line.data(), line.size()) == static_cast<ssize_t>(line.size()), "write");
    check(fsync(fd_) == 0, "sync");
  }

private:
  void check(bool done, const char *what) const
  {
    if (!done) {
      throw Error(std::string("cannot ") + what + " " + path_ + ": " + std::strerror(errno), SNOOZE_E_IO);
    }
  }

  std::string path_;
  int fd_;
};

class Cpp final : public cloudsnooze::Plugin {
public:
  static constexpr const char *id = "org.cloudsnooze.example.cpp";
  static constexpr const char *name = "cpp";
  static constexpr const char *version = "1.0.0";
  static constexpr const char *description = "Appends one line of JSON about each event to a file";
  static constexpr const char *vendor = "The CloudSnooze authors";
  static constexpr const char *license = "Apache-2.0";
  static constexpr const char *url = "";
  static constexpr std::uint64_t caps = SNOOZE_CAP_PROCESS_OK;
  static constexpr const char *config_schema = R"({
    "type": "object",
    "additionalProperties": false,
    "required": ["file"],
    "properties": {
      "file": {"type": "string", "minLength": 1, "description": "File that gets one line of JSON for each event"}
    }
  })";

  Cpp(Host host, const Setup &setup) : host_(host), file_(setup.required_text("file"))
  {
    if (file_.empty()) {
      throw Error("the configuration needs \"file\": the path to write to", SNOOZE_E_CONFIG);
    }
  }

  Outcome on_event(const Event &event, const Call &call) override
  {
    auto left = std::chrono::duration_cast<std::chrono::milliseconds>(call.left());
    host_.info("event " + std::to_string(event.seq()) + " of severity " + std::to_string(event.severity()) + ", " +
               std::to_string(left.count()) + " ms left");
    std::string line = R"({"plugin":"cpp")";
    for (const auto &[key, field] : FIELDS) {
      line += std::string(",\"") + key + "\":" + quote(event.text(field));
    }
    if (call.cancelled()) {
      return Outcome::failed("cancelled before the line was written", SNOOZE_E_CANCELLED);
    }
    File(file_).append(line + "}\n");
    call.set_result(R"({"lines":1})");
    return Outcome::handled();
  }

  // Asked after a handled event: is the line with this event's id really in the file?
  Verification verify(const Event &event, const Call &) override
  {
    const std::string wanted = ",\"id\":" + quote(event.text(SNOOZE_FIELD_ID));
    std::ifstream file(file_);
    for (std::string line; std::getline(file, line);) {
      if (line.find(wanted) != std::string::npos) {
        return Verification::confirmed();
      }
    }
    return Verification::refuted("no line of " + file_ + " holds " + wanted, SNOOZE_E_NOT_FOUND);
  }

private:
  Host host_;
  std::string file_;
};

} // namespace

SNOOZE_EXPORT_PLUGIN(Cpp);
