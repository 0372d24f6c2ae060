#include "peer.hpp"

#include <algorithm>
#include <cstdlib>

#include "../../primes.hpp"

namespace peer {
namespace {

using std::chrono::steady_clock;

std::vector<double> yield() {
  constexpr int n = 1'000'000;
  return {per_op(2.0 * n, [] {
    auto loop = [] {
      for (int i = 0; i < n; ++i) boost::this_fiber::yield();
    };
    auto a = spawn(loop), b = spawn(loop);
    a.join();
    b.join();
  })};
}

std::vector<double> spawn_join() {
  constexpr int n = 500'000;
  return {per_op(n, [] {
    for (int i = 0; i < n; ++i) spawn([] {}).join();
  })};
}

using Numbers = fibers::buffered_channel<long>;

// A 10-ary tree of spawns; the sum of the leaves' numbers comes up through channels. A child runs
// at once (launch::dispatch): breadth-first it would hold a stack for each leaf.
void skynet_node(const std::shared_ptr<Numbers>& up, long number, long size) {
  if (size == 1) {
    up->push(number);
    return;
  }
  auto from = std::make_shared<Numbers>(16);
  for (long i = 0; i < 10; ++i) {
    spawn(fibers::launch::dispatch, [from, child = number + i * (size / 10), size] {
      skynet_node(from, child, size / 10);
    }).detach();
  }
  long sum = 0;
  for (int i = 0; i < 10; ++i) sum += from->value_pop();
  up->push(sum);
}

long leaves() {
  const char* text = std::getenv("BENCH_MILLION");
  const long given = text ? std::strtol(text, nullptr, 10) : 0;
  long n = 1;
  while (n * 10 <= (given > 0 ? given : 1'000'000)) n *= 10;
  return n;
}

std::vector<double> skynet() {
  return {per_op(1e6, [n = leaves()] {
    auto from = std::make_shared<Numbers>(2);
    spawn([from, n] { skynet_node(from, 0, n); }).detach();
    if (from->value_pop() != n * (n - 1) / 2) std::abort();
  })};
}

constexpr int kPrimes = 148'933;

std::vector<double> primes_serial() {
  return {per_op(1e6, [] {
    if (bench::count_primes(0, bench::kPrimesLimit) != kPrimes) std::abort();
  })};
}

std::vector<double> primes() {
  constexpr int chunks = bench::kPrimesChunks, step = bench::kPrimesLimit / chunks;
  return {per_op(1e6, [] {
    auto from = std::make_shared<fibers::buffered_channel<int>>(2 * chunks);
    for (int c = 0; c < chunks; ++c) {
      spawn([from, c] { from->push(bench::count_primes(c * step, (c + 1) * step)); }).detach();
    }
    int sum = 0;
    for (int c = 0; c < chunks; ++c) sum += from->value_pop();
    if (sum != kPrimes) std::abort();
  })};
}

std::vector<double> ticker() {
  constexpr int ticks = 1'000;
  std::vector<double> late;
  for (int i = 0; i < ticks; ++i) {
    const auto due = steady_clock::now() + std::chrono::milliseconds(1);
    boost::this_fiber::sleep_until(due);
    late.push_back(std::chrono::duration<double, std::micro>(steady_clock::now() - due).count());
  }
  std::sort(late.begin(), late.end());
  return {late[(ticks - 1) * 500 / 1000], late[(ticks - 1) * 990 / 1000]};
}

}  // namespace

std::vector<Benchmark> actor_benchmarks() {
  return {{"yield", {{"", "ns"}}, yield},   {"spawn_join", {{"", "ns"}}, spawn_join},
          {"skynet", {{"", "ms"}}, skynet}, {"primes_serial", {{"", "ms"}}, primes_serial},
          {"primes", {{"", "ms"}}, primes}, {"ticker", {{"_p50", "us"}, {"_p99", "us"}}, ticker}};
}

}  // namespace peer
