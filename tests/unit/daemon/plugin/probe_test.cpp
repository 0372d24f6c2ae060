#include "daemon/plugin/probe.hpp"

#include "runtime/base/valgrind.hpp"
#include "tests/unit/daemon/plugin/temp_directory.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <string>

using namespace smarmd::plugin;
using namespace smarmd::plugin::test;
using namespace std::chrono_literals;

namespace {

constexpr auto kPatience = 60s;  // for what must not hang: generous, the machine may be busy

std::string refusal(std::string_view name, std::chrono::milliseconds timeout = kPatience) {
  const auto result = probe(probe_host(), fixture(name), timeout);
  REQUIRE_FALSE(result.has_value());
  CHECK(result.error().find('\n') == std::string::npos);
  return result.error();
}

bool no_child_left() {
  siginfo_t info{};
  return ::waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == -1 && errno == ECHILD;
}

}  // namespace

TEST_CASE("a good plugin passes the probe") {
  const auto result = probe(probe_host(), fixture("throws_at_once"), kPatience);
  CHECK_MESSAGE(result.has_value(), result.error());
  CHECK(no_child_left());
}

TEST_CASE("a static constructor that throws is named with its exception") {
  CHECK(refusal("throws_in_static_init") ==
        "has a static constructor that threw std::runtime_error: no licence file");
}

TEST_CASE("a static constructor that hangs is ended after the time") {
  const auto start = std::chrono::steady_clock::now();
  CHECK(refusal("hangs_in_static_init", 1500ms) ==
        "hung for 1.500 s while it was loaded (a static constructor)");
  CHECK(std::chrono::steady_clock::now() - start < kPatience);
  CHECK(no_child_left());
}

TEST_CASE("a probe that is cancelled ends at once and leaves no child") {
  int ends[2];
  REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
  ::close(ends[1]);  // readable: the end of the pipe
  const auto result = probe(probe_host(), fixture("hangs_in_static_init"), 1h, ends[0]);
  ::close(ends[0]);
  REQUIRE_FALSE(result.has_value());
  CHECK(result.error() == "was not probed to the end: smarmd stops");
  CHECK(no_child_left());
}

TEST_CASE("a static constructor that crashes is named with the signal and the last words") {
  CHECK(refusal("crashes_in_static_init") ==
        "crashed by SIGSEGV while it was loaded (a static constructor); it printed: calibrating "
        "the flux");
}

TEST_CASE("a static constructor that exits with 0 has not passed") {
  CHECK(refusal("exits_in_static_init") ==
        "ended its process with exit status 0 while it was loaded (a static constructor)");
}

TEST_CASE("a static destructor that throws would end the daemon at the unload") {
  CHECK(refusal("throws_in_static_exit") ==
        "has a static destructor that threw std::logic_error: still in use");
}

TEST_CASE("the loader's own error is passed on, without the path") {
  CHECK(contains(refusal("missing_symbol"),
                 "cannot be loaded: undefined symbol: function_of_a_missing_library"));
  CHECK(contains(refusal("no_such_file"), "cannot be loaded: cannot open shared object file"));
}

TEST_CASE("an operator new that the dynamic symbols do not show is found") {
  CHECK(contains(refusal("private_operator_new"), "has its own operator new bound into it"));
}

TEST_CASE("a daemon that cannot run itself says so" * doctest::skip(SMARM_VALGRIND) *
          doctest::description("Valgrind forks for posix_spawn, which then hears of no error")) {
  const auto result = probe("/nonexistent/smarmd", fixture("throws_at_once"), kPatience);
  REQUIRE_FALSE(result.has_value());
  CHECK(contains(result.error(), "running /nonexistent/smarmd failed: No such file"));
  CHECK(no_child_left());
}

TEST_CASE("the child has none of the daemon's file descriptors, signal masks and service manager") {
  const TempDirectory dir;
  const auto out = dir / "out";
  // Stands in for the daemon: writes down what it was given, then reports success.
  write_file(dir / "host",
             "#!/bin/sh\n"
             "{ ls -l /proc/self/fd; env; grep -E '^Sig(Blk|Ign)' /proc/self/status; } > " +
                 out.string() +
                 "\n"
                 "echo 'smarmd --probe: ok'\n");
  REQUIRE(::chmod((dir / "host").c_str(), 0700) == 0);
  const int inherited = ::open((dir / "host").c_str(), O_RDONLY);  // no O_CLOEXEC on purpose
  REQUIRE(inherited >= 0);
  const int high = ::fcntl(inherited, F_DUPFD, 77);
  REQUIRE(high >= 77);
  REQUIRE(::setenv("NOTIFY_SOCKET", "/run/nobody", 1) == 0);
  sigset_t block, before;
  ::sigemptyset(&block);
  ::sigaddset(&block, SIGUSR2);
  ::pthread_sigmask(SIG_BLOCK, &block, &before);
  const auto pipe_before = std::signal(SIGPIPE, SIG_IGN);
  const auto result = probe(dir / "host", fixture("throws_at_once"), kPatience);
  std::signal(SIGPIPE, pipe_before);
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  ::unsetenv("NOTIFY_SOCKET");
  ::close(inherited);
  ::close(high);

  REQUIRE_MESSAGE(result.has_value(), result.error());
  const std::string seen = read_file(out);
  CHECK_FALSE(contains(seen, std::to_string(high) + " -> "));
  CHECK_FALSE(contains(seen, "NOTIFY_SOCKET"));
  CHECK(contains(seen, "PATH="));
  CHECK(contains(seen, "SigBlk:\t0000000000000000"));
  const std::size_t ignored = seen.find("SigIgn:\t");
  REQUIRE(ignored != std::string::npos);
  // 1 to 31; glibc's posix_spawn itself leaves its two internal signals, 32 and 33, ignored.
  CHECK((std::stoull(seen.substr(ignored + 8), nullptr, 16) & 0x7fffffff) == 0);
}

TEST_CASE(
    "endless output is bounded, and a grandchild that keeps the pipe does not keep the probe") {
  const TempDirectory dir;
  write_file(dir / "spam", "#!/bin/sh\nexec yes 'the same line'\n");
  write_file(dir / "grandchild", "#!/bin/sh\nsleep 1000 &\necho 'smarmd --probe: ok'\n");
  REQUIRE(::chmod((dir / "spam").c_str(), 0700) == 0);
  REQUIRE(::chmod((dir / "grandchild").c_str(), 0700) == 0);
  const auto spam = probe(dir / "spam", fixture("throws_at_once"), 3s);
  REQUIRE_FALSE(spam.has_value());
  CHECK(contains(
      spam.error(),
      "hung for 3 s while it was loaded (a static constructor); it printed: the same line"));
  const auto start = std::chrono::steady_clock::now();
  CHECK(probe(dir / "grandchild", fixture("throws_at_once"), kPatience).has_value());
  CHECK(std::chrono::steady_clock::now() - start < kPatience);
  CHECK(no_child_left());
}
