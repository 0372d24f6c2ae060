// How often the same thing is told.
#include "daemon/supervision/report_limit.hpp"

#include <doctest/doctest.h>

#include <string>

using namespace smarmd;
using namespace std::chrono_literals;

TEST_SUITE("report limit") {
  constexpr ReportLimit::Time kStart{};
  constexpr auto kQuiet = ReportLimit::kQuiet;

  TEST_CASE("the first is told at once, then one in a quiet time with how many were not") {
    ReportLimit limit(1);
    CHECK(limit.admit("a", kStart) == 0u);
    CHECK_FALSE(limit.admit("a", kStart));
    CHECK_FALSE(limit.admit("a", kStart + kQuiet - 1ns));
    CHECK(limit.admit("a", kStart + kQuiet) == 2u);
    CHECK_FALSE(limit.admit("a", kStart + kQuiet + 1s));
    CHECK(limit.admit("a", kStart + 3 * kQuiet) == 1u);
    CHECK(limit.admit("a", kStart + 4 * kQuiet) == 0u);
  }

  TEST_CASE("a burst is told whole") {
    ReportLimit limit(3);
    for (int i = 0; i < 3; ++i) CHECK(limit.admit("a", kStart + i * 1s) == 0u);
    CHECK_FALSE(limit.admit("a", kStart + 59s));
    CHECK(limit.admit("a", kStart + 60s) == 1u);
    for (int i = 0; i < 2; ++i) CHECK(limit.admit("a", kStart + 61s) == 0u);
    CHECK_FALSE(limit.admit("a", kStart + 62s));
  }

  TEST_CASE("keys do not silence each other") {
    ReportLimit limit(1);
    CHECK(limit.admit("a", kStart) == 0u);
    CHECK(limit.admit("b", kStart) == 0u);
    CHECK_FALSE(limit.admit("a", kStart + 1s));
  }

  TEST_CASE("of many keys those that still silence are kept") {
    ReportLimit limit(1);
    for (int i = 0; i < 5000; ++i) CHECK(limit.admit(std::to_string(i), kStart + i * 1s) == 0u);
    CHECK_FALSE(limit.admit("4999", kStart + 5000s));
    CHECK(limit.admit("0", kStart + 5000s) == 0u);
  }
}
