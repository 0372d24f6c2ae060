#include "daemon/config/suggest.hpp"

#include <doctest/doctest.h>

#include <vector>

using namespace smarmd::configuration;

TEST_SUITE_BEGIN("config: suggest");

TEST_CASE("edit distance counts insertions, deletions, replacements and swaps") {
  CHECK(edit_distance("", "") == 0);
  CHECK(edit_distance("abc", "") == 3);
  CHECK(edit_distance("", "abc") == 3);
  CHECK(edit_distance("threads", "threads") == 0);
  CHECK(edit_distance("thread", "threads") == 1);
  CHECK(edit_distance("threads", "treads") == 1);
  CHECK(edit_distance("thraeds", "threads") == 1);
  CHECK(edit_distance("kitten", "sitting") == 3);
  CHECK(edit_distance("Log", "lOG") == 0);
  CHECK(edit_distance("ca", "abc") == 3);  // a letter is swapped once: the restricted distance
}

TEST_CASE("the nearest word wins, the first of equals") {
  const std::vector<std::string> words = {"level", "format", "lever"};
  CHECK(nearest("levle", words) == "level");
  CHECK(nearest("leve", words) == "level");
  CHECK(nearest("lever", words) == "lever");
  CHECK(nearest("formt", words) == "format");
}

TEST_CASE("a word that is part of another is alike") {
  const std::vector<std::string> words = {"timeslice_cycles", "io_uring"};
  CHECK(nearest("timeslice", words) == "timeslice_cycles");
  CHECK(nearest("URING", words) == "io_uring");
  CHECK_FALSE(nearest("io", words).has_value());
}

TEST_CASE("nothing is suggested where nothing is alike") {
  const std::vector<std::string> words = {"level", "format"};
  CHECK_FALSE(nearest("socket", words).has_value());
  CHECK_FALSE(nearest("", words).has_value());
  CHECK_FALSE(nearest(std::string(100'000, 'l'), words).has_value());
  CHECK_FALSE(nearest("level", {}).has_value());
}

TEST_SUITE_END();
