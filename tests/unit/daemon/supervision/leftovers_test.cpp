#include "daemon/supervision/leftovers.hpp"

#include <doctest/doctest.h>

#include <string>

using smarmd::reason_to_stay_mapped;

TEST_CASE("a plugin that only uses actors may be unmapped") {
  CHECK_FALSE(reason_to_stay_mapped(SMARM_FIXTURES_DIR "/steady.so").has_value());
  CHECK_FALSE(reason_to_stay_mapped(SMARM_FIXTURES_DIR "/panics_after.so").has_value());
}

TEST_CASE("an image that can start threads stays mapped, and the import is named") {
  // This program runs the daemon's threads.
  const auto reason = reason_to_stay_mapped("/proc/self/exe");
  REQUIRE(reason.has_value());
  CHECK(reason->find('(') != std::string::npos);
}

TEST_CASE("what cannot be read or is no shared object stays") {
  CHECK(reason_to_stay_mapped("/nonexistent.so").has_value());
  CHECK(reason_to_stay_mapped("/proc/self/cmdline").has_value());
}
