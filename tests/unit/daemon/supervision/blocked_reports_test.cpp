// What is said of actors that block their threads.
#include "daemon/supervision/blocked_reports.hpp"

#include <doctest/doctest.h>

#include <sys/syscall.h>

#include <string>

using namespace smarmd;

TEST_SUITE("blocked reports") {
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
