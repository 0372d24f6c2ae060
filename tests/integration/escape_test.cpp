// What plugins do outside their actors, in the real daemon: they end the process, take its signals
// over, fork, throw on threads of their own. Each beside echo, whose client must be answered.
#include "tests/integration/daemon_process.hpp"
#include "tests/integration/echo_client.hpp"

#include <signal.h>

using namespace integration;

// A sanitizer's interceptors stand in the place of ours.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define ESCAPE_CASE(name)     \
  TEST_CASE(                  \
      name* doctest::skip() * \
      doctest::description("a sanitizer's interceptors stand in the place of the runtime's"))
#else
#define ESCAPE_CASE(name) TEST_CASE(name)
#endif

namespace {

// A daemon with echo and a client; checks at its end that echo never stopped.
class Beside {
 public:
  Beside() : port_(install_echo(daemon)) {}
  void start() {
    daemon.config["runtime"]["threads"] = 2;
    daemon.start_ready();
    pid_ = daemon.plugin("echo").at("pid");
    client_.emplace(daemon, port_);
    CHECK(client_->answers());
  }
  void check_end() {
    CHECK(client_->answers());
    CHECK(daemon.plugin("echo").at("pid") == pid_);
    CHECK(daemon.stop() == 0);
  }
  bool answers() { return client_->answers(); }

  DaemonProcess daemon;

 private:
  std::uint16_t port_;
  std::string pid_;
  std::optional<EchoClient> client_;
};

Match contained(const char* plugin, const char* result) {
  return {{"plugin", plugin}, {"result", result}};
}

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_SUITE("escapes") {
  ESCAPE_CASE("exit and its kin are a panic of the actor") {
    Beside b;
    for (const char* name : {"exits", "quick_exits", "exits_in_job"}) {
      b.daemon.config["plugins"]["overrides"][name] = {
          {"max_restarts", 2}, {"window_s", 60}, {"backoff_ms", {10, 50}}};
    }
    b.start();
    const std::map<std::string, std::vector<std::string>> words = {
        {"exits", {"called exit(3) in exits.g1.so+0x"}},
        {"quick_exits",
         {"called quick_exit(4) in quick_exits.g1.so+0x", "called _exit(5) in ",
          "called _Exit(6) in "}},
        {"exits_in_job", {"called exit(3) in exits_in_job.g1.so+0x", "in a job of block_on_io"}},
    };
    for (const auto& [name, all] : words) {
      CAPTURE(name);
      b.daemon.install(name);
      b.daemon.wait_log("plugin.quarantined", {{"plugin", name}});
      CHECK(b.answers());
      const auto panics = b.daemon.logged("plugin.panicked", {{"plugin", name}});
      REQUIRE(panics.size() == 3);
      std::string reasons;
      for (const Json& panic : panics) {
        CHECK(panic.at("type") == "smarm::Fault");
        CHECK(has(panic.at("backtrace"), name + ".g1.so"));
        reasons += panic.at("reason").get<std::string>() + "\n";
      }
      for (const std::string& word : all) CHECK_MESSAGE(has(reasons, word), reasons);
      CHECK_MESSAGE(!has(reasons, "abandoned"), reasons);
      const bool in_jobs = name == "exits_in_job";  // one a life
      CHECK(b.daemon.plugin(name).at("blocking_jobs_total") == (in_jobs ? 3 : 0));
    }
    b.check_end();
  }

  ESCAPE_CASE("on_fault abort: an exit of a plugin ends the daemon with a report") {
    DaemonProcess d;
    d.config["runtime"]["on_fault"] = "abort";
    d.start_ready();
    d.install("exits");
    CHECK(d.wait_exit() == 128 + SIGABRT);
    CHECK_MESSAGE(has(d.log_text(), "smarm: called exit(3) in exits.g1.so+0x"), d.log_text());
  }

  ESCAPE_CASE("an exit inside libc, for an actor, ends the daemon with a report") {
    DaemonProcess d;
    d.start_ready();
    d.install("calls_err");
    CHECK(d.wait_exit() == 128 + SIGABRT);
    const std::string log = d.log_text();
    CHECK_MESSAGE(has(log, "smarm: a library function ended the process for an actor"), log);
    CHECK_MESSAGE(has(log, "the innermost code of its own is in calls_err.g1.so"), log);
  }

  ESCAPE_CASE("an exit on a thread of a plugin's own ends that thread") {
    Beside b;
    b.start();
    b.daemon.install("thread_exits");
    b.daemon.wait_log("plugin.log", {{"message", "thread_exits: joined both"}});
    CHECK(b.daemon.logged("plugin.log", {{"message", "thread_exits: unwound"}}).size() == 1);
    const auto records = b.daemon.logged("plugin.contained", contained("thread_exits", "ended"));
    REQUIRE(records.size() == 2);
    for (const Json& r : records)
      CHECK_MESSAGE(has(r.at("message"), "a thread of its own called exit(3) in "), r.dump());
    CHECK(b.daemon.plugin("thread_exits").at("state") == "running");
    b.check_end();
  }

  ESCAPE_CASE("what nothing catches on a thread of a plugin's own ends that thread") {
    Beside b;
    b.start();
    b.daemon.install("thread_throws");
    b.daemon.wait_log("plugin.log", {{"message", "thread_throws: joined both"}});
    const auto records = b.daemon.logged("plugin.contained", contained("thread_throws", "ended"));
    REQUIRE(records.size() == 2);
    CHECK_MESSAGE(has(records[0].at("message"),
                      "a thread of its own threw std::runtime_error, which nothing caught: nobody "
                      "catches 100000 in "),
                  records[0].dump());
    CHECK_MESSAGE(has(records[1].at("message"), "a thread of its own called abort() in "),
                  records[1].dump());
    b.check_end();
  }

  ESCAPE_CASE("the host's signals are refused by name, and put back after a system call") {
    for (const int async_ms : {10, 0}) {
      CAPTURE(async_ms);
      Beside b;
      b.daemon.config["runtime"]["async_preempt_ms"] = async_ms;
      b.start();
      b.daemon.install("replaces_segv_handler");
      const Match refused = contained("replaces_segv_handler", "refused");
      b.daemon.wait_log("plugin.log", {{"message", "replaces_segv_handler: all refused"}});
      // Once for each signal and function, however often the plugin asks.
      CHECK(b.daemon.logged("plugin.contained", refused).size() == 3 * 9 + 1);
      // Without a monitor it is the supervisor that looks, when something happens.
      if (async_ms == 0) b.daemon.install("throws_at_once");
      b.daemon.wait_log("plugin.log", {{"message", "replaces_segv_handler: undone"}});
      const Json record =
          b.daemon.wait_log("plugin.contained", contained("replaces_segv_handler", "restored"));
      CHECK_MESSAGE(has(record.at("message"), "the handler of SIGSEGV"), record.dump());
#if !SMARM_VALGRIND  // it loses its stack where a signal handler moves it
      // It is the host's in deed: a null pointer is a panic.
      b.daemon.install("null_read");
      b.daemon.wait_log("plugin.panicked", {{"plugin", "null_read"}});
#endif
      b.check_end();
    }
  }

  ESCAPE_CASE("a child that an actor forks may exec and exit, and does no harm otherwise") {
    Beside b;
    b.start();
    b.daemon.install("forks");
    b.daemon.wait_log("plugin.log", {{"message", "forks: done"}});
    for (const char* said :
         {"exec: exit 7", "allocates: exit 8", "sleeps: exit 70", "sends: exit 70",
          "unparks: exit 70", "closes: exit 70", "its parent's stream: reads", "ends: exit 70",
          "posix_spawn: exit 9", "vfork: exit 10"}) {
      const std::string message = std::string("forks: ") + said;
      CHECK_MESSAGE(b.daemon.logged("plugin.log", {{"message", message}}).size() == 1, message);
    }
    CHECK(has(b.daemon.log_text(), "smarm: a forked child called the runtime"));
    b.check_end();
  }

  ESCAPE_CASE(
      "a plugin's exit handler runs once, when its image goes, and at the latest at the end") {
    const auto count = [](const DaemonProcess& d) {
      const std::string log = d.log_text();
      std::size_t n = 0;
      for (auto at = log.find("registers_atexit: the handler ran"); at != log.npos;
           at = log.find("registers_atexit: the handler ran", at + 1))
        ++n;
      return n;
    };
    Beside b;
    b.start();
    b.daemon.install("registers_atexit");
    b.daemon.wait_log("plugin.started", {{"plugin", "registers_atexit"}});
    CHECK(count(b.daemon) == 0);
    b.daemon.remove("registers_atexit.so");
    b.daemon.wait_log("plugin.removed", {{"plugin", "registers_atexit"}});
    b.check_end();
    CHECK(count(b.daemon) == 1);
  }

  ESCAPE_CASE("the report of a process that ends shows the other actors") {
    Beside b;
    b.daemon.config["runtime"]["async_preempt_ms"] = 0;  // spin keeps its worker
    b.start();
    b.daemon.install("spin");
    b.daemon.wait_log("plugin.started", {{"plugin", "spin"}});
    b.daemon.install("wild_write");
    CHECK(b.daemon.wait_exit() == 128 + SIGSEGV);
    const std::string log = b.daemon.log_text();
    CHECK_MESSAGE(has(log, "the innermost code of its own is in wild_write.g1.so"), log);
    const auto meanwhile = log.find("smarm: meanwhile");
    REQUIRE_MESSAGE(meanwhile != std::string::npos, log);
    CHECK_MESSAGE(has(log.substr(meanwhile), "(spin.g1.so+0x"), log);
    CHECK_MESSAGE(has(log, "smarm: waiting: actor "), log);
    CHECK_FALSE(has(log, "does not answer"));
  }
}
