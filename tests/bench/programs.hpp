// Other programs that measure: the peers, and this one in a fresh process. Each prints its figures
// as the JSON lines that --json prints.
#pragma once

#include <string>
#include <vector>

namespace bench {

struct Result {
  double median = 0, min = 0, max = 0;
};

struct Reading {
  std::string figure;  // the whole name, suffix included
  Result result;
};

struct Output {
  enum class End { ok, cannot, failed } end = End::ok;  // cannot: it has no such benchmark
  std::string reason{};                                 // when it failed
  std::vector<Reading> readings{};
  std::vector<std::string> other{};  // lines that are no reading
};

inline constexpr int kCannot = 3;  // the exit code of a program without such a benchmark

// Runs the program and waits for its end, at most that long.
Output run_program(const std::vector<std::string>& command, int seconds);

// The path of this program.
std::string self();

// The median and the extremes of some measurements.
Result summary(std::vector<double> values);

}  // namespace bench
