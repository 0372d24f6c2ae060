// The page of misbehaving plugins: one after the other runs in the real daemon, on two workers,
// beside the echo plugin under open-loop load. Its clients must see no error and no reply later
// than 50 ms, and the log must say what became of the plugin.
//
// This is the one test that asserts a time. It runs alone (tests/integration/meson.build), and
// takes out the machine's own stalls and what other processes took: see open_loop.hpp. Under a
// sanitizer only errors and records count.
#include "tests/integration/daemon_process.hpp"
#include "tests/integration/open_loop.hpp"

#include <algorithm>
#include <fstream>
#include <iostream>
#include <thread>

using namespace integration;

// AddressSanitizer's own handlers end the process at every fault, and it takes what an abandoned
// actor had for leaked.
#if defined(__SANITIZE_ADDRESS__)
#define FAULT_CASE(name)                                                                         \
  TEST_CASE(name* doctest::skip() *                                                              \
            doctest::description("AddressSanitizer ends the process at a fault, and takes what " \
                                 "an abandoned actor had for leaked"))
#else
#define FAULT_CASE(name) TEST_CASE(name)
#endif
// ThreadSanitizer holds signals back: no loop is stopped by one.
// A sanitizer's interceptors stand in the place of the runtime's.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define LOOP_CASE(name)       \
  TEST_CASE(                  \
      name* doctest::skip() * \
      doctest::description(   \
          "a sanitizer holds signals back, or takes what an abandoned actor had for leaked"))
#define ESCAPE_CASE(name)     \
  TEST_CASE(                  \
      name* doctest::skip() * \
      doctest::description("a sanitizer's interceptors stand in the place of the runtime's"))
#else
#define LOOP_CASE(name) TEST_CASE(name)
#define ESCAPE_CASE(name) TEST_CASE(name)
#endif

namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kTimed = false;
#else
constexpr bool kTimed = true;
#endif

constexpr milliseconds kLeastLoad{1200};  // how long each runs beside the load
constexpr int kRestarts = 5;

// How a plugin that goes on until its file is removed comes to its end.
enum class End {
  stops,     // when it is asked to, or killed by unwinding
  abandoned  // it cannot be unwound
};

struct Runner {
  const char* name;
  End end;
};

struct Panicker {  // panics at each start until it is quarantined
  const char* name;
  const char* reason;  // how it begins
  const char* type;
};

struct Noted {  // goes on until its file is removed; these words are in its records meanwhile
  const char* name;
  std::vector<std::string> words;
};

long available_mib() {
  std::ifstream in("/proc/meminfo");
  for (std::string key; in >> key;) {
    long kib = 0;
    if (key == "MemAvailable:" && in >> kib) return kib / 1024;
  }
  return 0;
}

class Page {
 public:
  explicit Page(const std::vector<std::string>& plugins) {
    daemon.config["runtime"]["shutdown_ms"] = 300;
    daemon.config["log"]["level"] = "info";
    auto& overrides = daemon.config["plugins"]["overrides"];
    for (const std::string& name : plugins)
      overrides[name] = {{"max_restarts", kRestarts}, {"window_s", 60}, {"backoff_ms", {10, 50}}};
    overrides["echo"]["config"] = {{"listen", "127.0.0.1:0"}};
    const std::string echo = read_file(SMARM_BUILD_DIR "/plugins/echo/echo.so");
    REQUIRE_FALSE(echo.empty());
    daemon.install_bytes(echo, "echo.so");
    daemon.start_ready();
    const std::string line = daemon.wait_log("plugin.log", {{"plugin", "echo"}}).at("message");
    port_ = static_cast<std::uint16_t>(std::stoi(line.substr(line.rfind(':') + 1)));
    echo_pid_ = daemon.plugin("echo").at("pid");
  }

  // Load from before the plugin comes until it is gone; `during` says what must happen meanwhile.
  template <class F>
  void beside_load(const char* name, F during) {
    CAPTURE(std::string(name));
    OpenLoop load(port_, daemon.pid());
    const auto least = std::chrono::steady_clock::now() + kLeastLoad;
    daemon.install(name);
    during([least] { std::this_thread::sleep_until(least); });
    const LoadReport report = load.finish();
    std::cout << "  " << name << ": " << report.text() << std::endl;
    CHECK(report.error == "");
    CHECK(report.requests > 0);
    if (!kTimed) return;
    if (report.had_its_cpus()) {
      CHECK(report.late == 0);
    } else {
      std::cout << "SKIP: lateness beside " << name << ": other processes had the CPUs"
                << std::endl;
    }
  }

  void remove(const char* name) {
    daemon.remove(std::string(name) + ".so");
    daemon.wait_log("plugin.removed", {{"plugin", name}});
  }

  // The daemon is as it was: the same echo plugin, and it ends as it should.
  void end() {
    CHECK(daemon.plugin("echo").at("pid") == echo_pid_);
    CHECK(daemon.stop() == 0);
  }

  DaemonProcess daemon;

 private:
  std::uint16_t port_ = 0;
  std::string echo_pid_;
};

void run(Page& page, const Runner& r) {
  const Match mine = {{"plugin", r.name}};
  page.beside_load(r.name, [&](auto least_load) {
    page.daemon.wait_log("plugin.started", mine);
    least_load();
    CHECK(page.daemon.logged("plugin.panicked", mine).empty());
    CHECK(page.daemon.plugin(r.name).at("state") == "running");
    page.remove(r.name);
  });
  CHECK(page.daemon.logged("plugin.stopped", mine).size() == (r.end == End::stops));
  CHECK(page.daemon.logged("daemon.stuck", mine).empty());
  const std::vector<Json> panics = page.daemon.logged("plugin.panicked", mine);
  CHECK(panics.size() == (r.end == End::abandoned));
  for (const Json& panic : panics) {
    const std::string reason = panic.at("reason");
    CHECK_MESSAGE(reason.starts_with("killed; "), reason);
    CHECK_MESSAGE(reason.find("abandoned") != reason.npos, reason);
  }
}

void run(Page& page, const Panicker& p) {
  const Match mine = {{"plugin", p.name}};
  page.beside_load(p.name, [&](auto least_load) {
    page.daemon.wait_log("plugin.quarantined", mine);
    least_load();
    page.remove(p.name);
  });
  const std::vector<Json> panics = page.daemon.logged("plugin.panicked", mine);
  CHECK(panics.size() == kRestarts + 1);
  for (const Json& panic : panics) {
    const std::string reason = panic.at("reason");
    CHECK_MESSAGE(reason.find(p.reason) == 0, reason);
    CHECK(panic.at("type") == p.type);
    CHECK(std::string(panic.at("backtrace")).find(std::string(p.name) + ".g") != std::string::npos);
  }
}

void run(Page& page, const Noted& n) {
  const auto is_said = [&] {
    std::string records;
    for (const Json& record : page.daemon.log())
      if (record.value("plugin", "") == n.name) records += record.dump();
    return std::ranges::all_of(n.words, [&records](const std::string& word) {
      return records.find(word) != records.npos;
    });
  };
  page.beside_load(n.name, [&](auto least_load) {
    page.daemon.until(is_said, std::string("the record of ") + n.name);
    least_load();
    page.remove(n.name);
  });
}

template <class Row>
void run_all(const std::vector<Row>& rows) {
  std::vector<std::string> names;
  for (const Row& row : rows) names.emplace_back(row.name);
  Page page(names);
  for (const Row& row : rows) run(page, row);
  page.end();
}

}  // namespace

TEST_SUITE("misbehaving") {
  LOOP_CASE("loops that never wait: the others have their turns, and a kill ends the loops") {
    std::vector<Runner> rows = {{"integer_loop", End::abandoned},
                                {"x87_loop", End::abandoned},
                                {"empty_loop", End::abandoned},
                                {"spin", End::abandoned},
                                {"memcpy_hog", End::abandoned}};
    if (__builtin_cpu_supports("avx2")) {
      rows.push_back({"avx_loop", End::abandoned});
    } else {
      std::cout << "  avx_loop: left out, this CPU has no AVX2\n";
    }
    run_all(rows);
  }

  TEST_CASE("plugins that allocate, lock and linger as they should not") {
    run_all<Runner>({{"hog", End::stops},
                     {"lock_across_yield", End::stops},
                     {"static_init_allocates", End::stops},
                     {"ignores_stop", End::stops}});
  }

  FAULT_CASE("a kill that is caught") { run_all<Runner>({{"swallows_kill", End::abandoned}}); }

  FAULT_CASE("stacks that overflow") {
    run_all<Panicker>({{"overflow", "stack overflow: used ", "smarm::StackOverflow"},
                       {"big_frames", "stack overflow: used ", "smarm::StackOverflow"},
                       {"printf_overflow", "stack overflow: used ", "smarm::StackOverflow"}});
  }

  FAULT_CASE("faults") {
    run_all<Panicker>(
        {{"null_read", "SIGSEGV: access to address 0x0 in null_read.g", "smarm::Fault"},
         {"null_call", "SIGSEGV: call of address 0x0 in null_call.g", "smarm::Fault"},
         {"div_zero", "SIGFPE (arithmetic) in div_zero.g", "smarm::Fault"},
         {"abort", "abort() was called in abort.g", "smarm::Fault"}});
  }

  FAULT_CASE("exceptions") {
    std::vector<Panicker> rows = {{"throws_int", "", "int"},
                                  {"throws_in_destructor", "", "std::logic_error"}};
    if (kTimed)  // a sanitizer's allocator ends the process instead
      rows.push_back({"allocates_too_much", "std::bad_alloc", "std::bad_alloc"});
    run_all(rows);
  }

  TEST_CASE("a blocking sleep on every worker") {
    run_all<Noted>({{"blocks", {"blocks its thread in clock_nanosleep"}}});
  }

  ESCAPE_CASE("exit() is refused, and ends its caller") {
    run_all<Panicker>({{"exits", "called exit(3) in exits.g", "smarm::Fault"}});
  }

  ESCAPE_CASE("a handler of SIGSEGV is refused or put back") {
    run_all<Noted>(
        {{"replaces_segv_handler", {"all refused", "undone", "the handler of SIGSEGV"}}});
  }

  ESCAPE_CASE("a forked child does not go on as a second daemon") {
    run_all<Noted>({{"forks", {"forks: ends: exit 70", "forks: done"}}});
  }

  ESCAPE_CASE("a thread of the plugin's own that throws") {
    run_all<Noted>({{"thread_throws", {"a thread of its own threw std::runtime_error"}}});
  }

  TEST_CASE("a gigabyte in a mailbox that nobody reads") {
    if (available_mib() < 3000) {
      std::cout << "  flood: left out, less than 3 GB of memory are available\n";
      return;
    }
    run_all<Noted>({{"flood", {"all sent", "mailbox.grew"}}});
  }
}
