// A real smarmd in a directory of its own: configuration, plugin directory, state, control socket,
// notify socket, JSON log.
//
// Every wait has a deadline and looks for an event (a log record, an exit, a message); a case that
// fails prints the daemon's log. What is started here is ended here.
#pragma once

#include "tests/runner/cases.hpp"

#include <doctest/doctest.h>
#include <sys/types.h>
#include <nlohmann/json.hpp>

#include <chrono>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace integration {

using Json = nlohmann::json;
using std::chrono::milliseconds;
using namespace std::chrono_literals;

// How long an event may take on a busy machine, a sanitizer included; Valgrind is slower still.
#if SMARM_VALGRIND
inline constexpr milliseconds kPatience{300'000};
#else
inline constexpr milliseconds kPatience{30'000};
#endif

struct Output {
  int exit = -1;
  std::string out, err;
  Json json() const { return Json::parse(out); }
};
// Runs a program to its end. Killed, and the case fails, when it takes longer than kPatience.
Output run_program(const std::vector<std::string>& arguments,
                   const std::map<std::string, std::string>& environment = {});

// Field -> text that it must have; every one must match.
using Match = std::map<std::string, std::string>;

class DaemonProcess {
 public:
  // Makes the directory and the default configuration; nothing runs yet.
  DaemonProcess();
  DaemonProcess(const DaemonProcess&) = delete;
  DaemonProcess& operator=(const DaemonProcess&) = delete;
  ~DaemonProcess();  // kills what still runs

  Json config;                      // what start() and write_config() write
  bool reads_notifications = true;  // as a service manager does; false: it is wedged
  void write_config() const;
  void write_config_text(std::string_view text) const;

  // Starts the daemon; the second form waits for its `daemon.ready`. `errors`, when it is a
  // descriptor, is the daemon's stderr in place of the log file.
  void start(const std::vector<std::string>& more_arguments = {},
             const std::map<std::string, std::string>& environment = {}, int errors = -1);
  void start_ready(const std::vector<std::string>& more_arguments = {},
                   const std::map<std::string, std::string>& environment = {});
  // Starts the daemon as a service manager does that passes it a listening socket under that name,
  // or, with "a:b", twice under two.
  void start_activated(int socket, const std::string& names);
  void signal(int number) const;
  // The exit code; 128 + number when a signal ended it.
  int wait_exit(milliseconds limit = kPatience);
  int stop();  // SIGTERM and wait_exit
  bool running();
  pid_t pid() const { return pid_; }

  // Copies a fixture into the plugin directory the way `install` and `mv` do: complete or not at
  // all.
  void install(const std::string& fixture, const std::string& as = {}) const;
  void install_bytes(std::string_view bytes, const std::string& as) const;
  void remove(const std::string& file) const;

  Output ctl(std::vector<std::string> arguments) const;
  Json plugin(const std::string& name)
      const;  // as `smarmctl --json plugins` lists it; null when it does not
  Json wait_plugin_state(const std::string& name, const std::string& state);

  // The log so far: every line that is JSON.
  std::vector<Json> log() const;
  std::string log_text() const;
  std::vector<Json> logged(const std::string& event, const Match& match = {}) const;
  // Waits until there are `count` records of that event that match, and returns the last.
  Json wait_log(const std::string& event, const Match& match = {}, std::size_t count = 1);

  // Waits until it is done; the case fails when the daemon ends before, or patience does.
  void until(const std::function<bool()>& done, const std::string& what);

  // sd_notify messages received so far, in order.
  std::vector<std::string> notifications();
  void wait_notification(const std::string& part);

  const std::filesystem::path& directory() const { return directory_; }
  std::filesystem::path plugins() const { return directory_ / "plugins"; }
  std::filesystem::path config_file() const { return directory_ / "smarmd.json"; }
  std::filesystem::path socket() const { return directory_ / "control.sock"; }

 private:
  std::filesystem::path directory_;
  pid_t pid_ = -1;
  std::optional<int> exit_;
  int notify_fd_ = -1;
  std::vector<std::string> notified_;
};

std::filesystem::path fixture_file(const std::string& name);
std::filesystem::path own_plugin_file(const std::string& name);  // of tests/integration/plugins
std::string read_file(const std::filesystem::path& file);

}  // namespace integration
