// ./dev bench [--json] [--list] [--runs N] [NAME...]: a table of medians, or one JSON line each.

#include "tests/bench/harness.hpp"

#include <smarm/smarm.hpp>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <map>
#include <string>

namespace bench {

double time_ns(const std::function<void()>& f) {
  const auto begin = std::chrono::steady_clock::now();
  f();
  return std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now() - begin).count();
}

std::vector<Benchmark>& registry() {
  static std::vector<Benchmark> all;
  return all;
}

double in_runtime(unsigned workers, const std::function<double()>& f) {
  double value = 0;
  smarm::init(smarm::Config::exact(workers)).run([&] { value = f(); });
  return value;
}

namespace {

struct Options {
  bool json = false, list = false;
  int runs = 5;
  std::vector<std::string> names;
};

struct Result {
  double median, min, max;
};

Result measure(const Benchmark& b, unsigned workers, int runs) {
  std::vector<double> values;
  b.run(workers);  // warm-up
  for (int i = 0; i < runs; ++i) values.push_back(b.run(workers));
  std::sort(values.begin(), values.end());
  return {values[values.size() / 2], values.front(), values.back()};
}

void print_json(const Benchmark& b, unsigned workers, const Result& r) {
  std::printf(
      "{\"bench\":\"%s\",\"workers\":%u,\"value\":%.3f,\"unit\":\"%s\",\"min\":%.3f,\"max\":%.3f}"
      "\n",
      b.name.c_str(), workers, r.median, b.unit.c_str(), r.min, r.max);
  std::fflush(stdout);
}

void print_row(const Benchmark& b, unsigned workers, const Result& r,
               const std::map<std::string, double>& baselines) {
  const std::string who = workers == 0 ? "-" : std::to_string(workers);
  std::printf("%-18s %7s %12.1f %12.1f %12.1f %-4s", b.name.c_str(), who.c_str(), r.median, r.min,
              r.max, b.unit.c_str());
  auto base = baselines.find(b.baseline);
  if (base != baselines.end())
    std::printf("  %.3f x %s", r.median / base->second, b.baseline.c_str());
  std::printf("\n");
  std::fflush(stdout);
}

bool parse(int argc, char** argv, Options& o) {
  for (int i = 1; i < argc; ++i) {
    if (!std::strcmp(argv[i], "--json")) {
      o.json = true;
    } else if (!std::strcmp(argv[i], "--list")) {
      o.list = true;
    } else if (!std::strcmp(argv[i], "--runs") && i + 1 < argc && std::atoi(argv[i + 1]) > 0) {
      o.runs = std::atoi(argv[++i]);
    } else if (argv[i][0] == '-') {
      std::fprintf(
          stderr, "bench: unknown option %s\nusage: bench [--json] [--list] [--runs N] [NAME...]\n",
          argv[i]);
      return false;
    } else {
      o.names.emplace_back(argv[i]);
    }
  }
  for (const std::string& name : o.names) {
    const auto& all = registry();
    if (std::none_of(all.begin(), all.end(), [&](const Benchmark& b) { return b.name == name; })) {
      std::fprintf(stderr, "bench: no benchmark is called %s; --list shows them\n", name.c_str());
      return false;
    }
  }
  return true;
}

// A chosen benchmark brings its baseline along.
bool chosen(const Benchmark& b, const Options& o) {
  if (o.names.empty()) return true;
  for (const std::string& name : o.names) {
    if (b.name == name) return true;
    for (const Benchmark& other : registry()) {
      if (other.name == name && other.baseline == b.name) return true;
    }
  }
  return false;
}

}  // namespace
}  // namespace bench

int main(int argc, char** argv) {
  using namespace bench;
  Options o;
  if (!parse(argc, argv, o)) return 2;
  if (!o.json && !o.list)
    std::printf("%-18s %7s %12s %12s %12s\n", "benchmark", "workers", "median", "min", "max");
  std::map<std::string, double> baselines;
  for (const Benchmark& b : registry()) {
    if (o.list) std::printf("%-18s %s\n", b.name.c_str(), b.what.c_str());
    if (o.list || !chosen(b, o)) continue;
    for (unsigned workers : b.workers) {
      const Result r = measure(b, workers, o.runs);
      if (workers == 0) baselines[b.name] = r.median;
      if (o.json) {
        print_json(b, workers, r);
      } else {
        print_row(b, workers, r, baselines);
      }
    }
  }
}
