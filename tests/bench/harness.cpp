#include "tests/bench/harness.hpp"
#include "tests/bench/counters.hpp"

#include <smarm/smarm.hpp>

#include <chrono>

namespace bench {

std::vector<Benchmark>& registry() {
  static std::vector<Benchmark> all;
  return all;
}

const Benchmark* find(const std::string& name) {
  for (const Benchmark& b : registry()) {
    if (b.name == name) return &b;
  }
  return nullptr;
}

double time_ns(const std::function<void()>& f) {
  const auto begin = std::chrono::steady_clock::now();
  f();
  return std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now() - begin).count();
}

double per_op(double ops, const std::function<void()>& f) {
  if (!counting()) return time_ns(f) / ops;
  double ns = 0;
  count(ops, [&] { ns = time_ns(f); });
  return ns / ops;
}

Values in_runtime(const smarm::Config& config, const std::function<Values()>& f) {
  Values values{};
  smarm::init(config).run([&] { values = f(); });
  return values;
}

Values in_runtime(unsigned workers, const std::function<Values()>& f) {
  return in_runtime(smarm::Config::exact(workers), f);
}

}  // namespace bench
