#include "tests/bench/measure.hpp"
#include "tests/bench/memory.hpp"

#include <algorithm>

namespace bench {
namespace {

constexpr int kTimeLimit = 600;  // seconds for one run of a program

std::string full_name(const Benchmark& b, std::size_t figure) {
  return b.name + b.figures[figure].suffix;
}

void touch(const Benchmark& b) {
  const auto scaled = static_cast<double>(b.touch_mib) * static_cast<double>(million()) / 1e6;
  touch_and_free(std::min(static_cast<std::size_t>(scaled), b.touch_mib));
}

// Medians figure by figure; runs[i] is what the i-th measurement gave.
Measured medians(const Benchmark& b, const std::vector<std::vector<double>>& runs) {
  Measured m;
  for (std::size_t f = 0; f < b.figures.size(); ++f) {
    std::vector<double> values;
    for (const auto& run : runs) {
      if (f < run.size()) values.push_back(run[f]);
    }
    if (values.empty()) return {.end = Output::End::cannot};
    m.figures.push_back(summary(std::move(values)));
  }
  return m;
}

// The figures of the benchmark among what a program printed, in the benchmark's order.
bool pick(const Benchmark& b, const Output& output, std::vector<Result>& figures) {
  for (std::size_t f = 0; f < b.figures.size(); ++f) {
    for (const Reading& r : output.readings) {
      if (r.figure == full_name(b, f)) figures.push_back(r.result);
    }
  }
  return figures.size() == b.figures.size();
}

Measured from_program(const Benchmark& b, const std::vector<std::string>& command) {
  const Output output = run_program(command, kTimeLimit);
  if (output.end != Output::End::ok) return {.end = output.end, .reason = output.reason};
  Measured m;
  if (!pick(b, output, m.figures))
    return {.end = Output::End::failed, .reason = "printed no figures"};
  return m;
}

// Each measurement by a process of its own.
Measured from_fresh(const Benchmark& b, int runs, const std::vector<std::string>& command) {
  std::vector<std::vector<double>> all;
  for (int i = 0; i < runs; ++i) {
    touch(b);
    const Measured m = from_program(b, command);
    if (m.end != Output::End::ok) return m;
    for (std::vector<double>& values = all.emplace_back(); const Result& r : m.figures)
      values.push_back(r.median);
  }
  return medians(b, all);
}

}  // namespace

Measured measure_once(const Benchmark& b, unsigned workers) { return medians(b, {b.run(workers)}); }

Measured measure(const Benchmark& b, unsigned workers, int runs) {
  if (b.fresh) return from_fresh(b, runs, {self(), "--once", std::to_string(workers), b.name});
  touch(b);
  std::vector<std::vector<double>> all;
  all.reserve(static_cast<std::size_t>(runs));
  b.run(workers);  // warm-up
  for (int i = 0; i < runs; ++i) all.push_back(b.run(workers));
  return medians(b, all);
}

Measured measure_peer(const Benchmark& b, unsigned workers, int runs, const Peer& peer) {
  if (peer.program.empty()) return {.end = Output::End::failed, .reason = peer.reason};
  const std::string each = std::to_string(b.fresh ? 1 : runs);
  const std::vector<std::string> command{peer.program, b.name, std::to_string(workers), each};
  if (b.fresh) return from_fresh(b, runs, command);
  touch(b);
  return from_program(b, command);
}

}  // namespace bench
