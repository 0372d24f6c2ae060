// What ./dev bench prints: a table, or one JSON line for each figure.
#pragma once

#include "tests/bench/measure.hpp"

#include <map>
#include <string>
#include <utility>
#include <vector>

namespace bench {

class Report {
 public:
  explicit Report(const Options& o) : options_(o) {}
  void head() const;
  // peers: in the order of the options; empty when the benchmark has none.
  void row(const Benchmark& b, unsigned workers, const Measured& ours,
           const std::vector<Measured>& peers);
  void counters(const Benchmark& b, unsigned workers,
                const std::vector<std::pair<std::string, double>>& counts) const;
  void foot() const;

 private:
  void json(const std::string& name, const std::string& unit, unsigned workers, const Result& r,
            const std::string& peer) const;
  void plain_row(const Benchmark& b, const std::string& name, const std::string& unit,
                 unsigned workers, const Result& r);
  void print_baseline(const Benchmark& b, const std::string& name, const Result& r) const;
  void peer_row(const Benchmark& b, const std::string& name, const std::string& unit,
                unsigned workers, const Measured& ours, const std::vector<Measured>& peers,
                std::size_t figure);
  void note(const std::string& text);

  const Options& options_;
  std::map<std::string, double> baselines_;
  std::vector<std::string> notes_;
};

}  // namespace bench
