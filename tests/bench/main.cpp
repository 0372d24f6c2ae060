// ./dev bench [--peers] [--counters] [--json] [--list] [--runs N] [NAME...]: a table of medians, or
// one JSON line each.

#include "tests/bench/counters.hpp"
#include "tests/bench/harness.hpp"
#include "tests/bench/measure.hpp"
#include "tests/bench/options.hpp"
#include "tests/bench/report.hpp"

#include <cstdio>
#include <string>
#include <vector>

namespace bench {
namespace {

// A chosen benchmark brings its baseline along.
bool chosen(const Benchmark& b, const Options& o) {
  if (o.names.empty()) return true;
  for (const std::string& name : o.names) {
    if (b.name == name || find(name)->baseline == b.name) return true;
  }
  return false;
}

void list() {
  for (const Benchmark& b : registry()) std::printf("%-20s %s\n", b.name.c_str(), b.what.c_str());
}

// Counted in a process of its own, which prints the line: counting spoils times.
void count_apart(const Benchmark& b, unsigned workers, const Options& o) {
  std::vector<std::string> command{self(), "--counters", "--once", std::to_string(workers), b.name};
  if (o.json) command.emplace_back("--json");
  for (const std::string& line : run_program(command, 600).other) std::printf("%s\n", line.c_str());
  std::fflush(stdout);
}

void compare(const Benchmark& b, unsigned workers, const Options& o, Report& report) {
  const Measured ours = measure(b, workers, o.runs);
  std::vector<Measured> peers;
  if (b.peers) {
    for (const Peer& peer : o.peers) peers.push_back(measure_peer(b, workers, o.runs, peer));
  }
  report.row(b, workers, ours, peers);
  if (o.counters && ours.end == Output::End::ok) count_apart(b, workers, o);
}

void print_counters(const Benchmark& b, const Options& o) {
  start_counting();
  if (!b.fresh) b.run(o.once_workers);  // warm-up
  take_counts();
  b.run(o.once_workers);
  Report(o).counters(b, o.once_workers, take_counts());
}

// How a fresh process measures: the readings as JSON lines, or the counters only.
int run_once(const Options& o) {
  for (const std::string& name : o.names) {
    const Benchmark& b = *find(name);
    if (o.counters) {
      print_counters(b, o);
      continue;
    }
    const Measured m = measure_once(b, o.once_workers);
    if (m.end == Output::End::cannot) return kCannot;
    Options json = o;
    json.json = true;
    Report(json).row(b, o.once_workers, m, {});
  }
  return 0;
}

}  // namespace
}  // namespace bench

int main(int argc, char** argv) {
  using namespace bench;
  Options o;
  if (!parse(argc, argv, o)) return 2;
  if (o.once) return run_once(o);
  if (o.list) return list(), 0;
  Report report(o);
  report.head();
  for (const Benchmark& b : registry()) {
    if (!chosen(b, o)) continue;
    for (unsigned workers : b.workers) compare(b, workers, o, report);
  }
  report.foot();
}
