// The benchmark harness: each benchmark is measured five times after a warm-up; the median is
// quoted, beside minimum and maximum. A figure means something only as a ratio to the baselines of
// the same run.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace bench {

// Nanoseconds of one call of f.
double time_ns(const std::function<void()>& f);

struct Benchmark {
  std::string name;
  std::string unit = "ns";
  std::string baseline{};  // the benchmark of the same run that it is compared with; empty for none
  std::vector<unsigned> workers = {1, 2};         // {0}: outside a runtime
  std::function<double(unsigned workers)> run{};  // one measurement, in `unit`
  std::string what{};                             // one line for --list
};

std::vector<Benchmark>& registry();
struct Register {
  explicit Register(Benchmark b) { registry().push_back(std::move(b)); }
};

// Runs f as the first actor of a runtime with that many workers and returns what it measured.
double in_runtime(unsigned workers, const std::function<double()>& f);

}  // namespace bench
