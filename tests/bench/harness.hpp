// The benchmark harness: each benchmark is measured five times after a warm-up; the median is
// quoted, beside minimum and maximum. A figure means something only as a ratio to the baselines of
// the same run.
#pragma once

#include <smarm/smarm.hpp>

#include <chrono>
#include <cstddef>
#include <functional>
#include <initializer_list>
#include <string>
#include <vector>

namespace bench {

// What one measurement gives: a value for each figure of the benchmark. None: it cannot be taken on
// this machine.
struct Values : std::vector<double> {
  Values(double only) : std::vector<double>{only} {}
  Values(std::initializer_list<double> all) : std::vector<double>(all) {}
};

struct Figure {
  std::string suffix;  // behind the benchmark's name; empty for the first, as a rule
  std::string unit;
};

struct Benchmark {
  std::string name;
  std::vector<Figure> figures = {{"", "ns"}};
  std::string baseline{};  // the benchmark of the same run that it is compared with; empty for none
  std::vector<unsigned> workers = {1, 2};         // {0}: outside a runtime
  std::function<Values(unsigned workers)> run{};  // one measurement
  std::string what{};                             // one line for --list
  bool peers = false;                             // the programs in peers/ do the same work
  bool fresh = false;         // each measurement in a process of its own, without a warm-up
  std::size_t touch_mib = 0;  // memory to touch and free before it, at full size (see memory.hpp)
};

std::vector<Benchmark>& registry();
const Benchmark* find(const std::string& name);  // nullptr: there is none
struct Register {
  explicit Register(Benchmark b) { registry().push_back(std::move(b)); }
};

// Nanoseconds of one call of f.
double time_ns(const std::function<void()>& f);

// Nanoseconds of each of the `ops` operations that one call of f does. What --counters shows is
// counted in here.
double per_op(double ops, const std::function<void()>& f);

// Runs f as the first actor of a runtime and returns what it measured.
Values in_runtime(const smarm::Config& config, const std::function<Values()>& f);
Values in_runtime(unsigned workers, const std::function<Values()>& f);

}  // namespace bench
