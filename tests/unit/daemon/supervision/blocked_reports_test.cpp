// How often actors that block their threads are told of.
#include "daemon/supervision/blocked_reports.hpp"

#include <doctest/doctest.h>

#include <sys/syscall.h>

#include <string>
#include <utility>

using namespace smarmd;
using namespace std::chrono_literals;

TEST_SUITE("blocked reports") {
  TEST_CASE("the first of a plugin is told at once, then one a minute with how many were not") {
    BlockedReports reports;
    const BlockedReports::Time start{};
    CHECK(reports.admit("a", start) == 0u);
    CHECK_FALSE(reports.admit("a", start));
    CHECK_FALSE(reports.admit("a", start + BlockedReports::kQuiet - 1ns));
    CHECK(reports.admit("a", start + BlockedReports::kQuiet) == 2u);
    CHECK_FALSE(reports.admit("a", start + BlockedReports::kQuiet + 1s));
    CHECK(reports.admit("a", start + 3 * BlockedReports::kQuiet) == 1u);
    CHECK(reports.admit("a", start + 4 * BlockedReports::kQuiet) == 0u);
  }

  TEST_CASE("plugins do not silence each other") {
    BlockedReports reports;
    const BlockedReports::Time start{};
    CHECK(reports.admit("a", start) == 0u);
    CHECK(reports.admit("b", start) == 0u);
    CHECK_FALSE(reports.admit("a", start + 1s));
    CHECK(reports.admit("b", start + BlockedReports::kQuiet) == 0u);
  }

  TEST_CASE("a system call has its name, or its number") {
    CHECK(system_call_name(SYS_clock_nanosleep) == "clock_nanosleep");
    CHECK(system_call_name(SYS_futex) == "futex");
    CHECK(system_call_name(100'000) == "call 100000");
  }

  TEST_CASE("the record says who, in what, for how long, and what to do") {
    smarm_blocked raw{};
    raw.pid = {7, 3};
    std::string("sleeper").copy(raw.name, sizeof raw.name - 1);
    raw.system_call = SYS_read;
    raw.blocked_ns = 12'900'000;
    const BlockedActor actor(raw);
    const std::string text = blocked_text("p", actor);
    CHECK(text.starts_with("p: actor 7.3 \"sleeper\" blocks its thread in read, for 12 ms so far"));
    CHECK(text.find("block_on_io") != text.npos);
    std::string keys;
    for (const Field& field : blocked_fields("p", actor, 4, {})) keys += field.key + " ";
    CHECK(keys == "plugin actor name system_call blocked_ms suppressed backtrace ");
  }
}
