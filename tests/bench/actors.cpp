// Actors: yield, spawn, skynet, generators.

#include "tests/bench/harness.hpp"
#include "tests/bench/memory.hpp"

#include <smarm/smarm.hpp>

#include <cstdlib>
#include <utility>

namespace {

using bench::in_runtime;
using bench::per_op;
using bench::Register;
using bench::Values;

Values yield(unsigned workers) {
  constexpr int n = 1'000'000;
  return in_runtime(workers, [] {
    return per_op(2.0 * n, [] {
      auto loop = [] {
        for (int i = 0; i < n; ++i) smarm::yield_now();
      };
      auto a = smarm::spawn(loop), b = smarm::spawn(loop);
      smarm::join_all(a, b);
    });
  });
}
const Register yields({.name = "yield",
                       .baseline = "switch",
                       .run = yield,
                       .what = "2 actors yield in a loop, one yield",
                       .peers = true});

Values spawn_join(unsigned workers) {
  constexpr int n = 500'000;
  return in_runtime(workers, [] {
    return per_op(n, [] {
      for (int i = 0; i < n; ++i) (void)smarm::spawn([] {}).join();
    });
  });
}
const Register spawns({.name = "spawn_join",
                       .baseline = "thread_spawn_join",
                       .run = spawn_join,
                       .what = "an actor made and joined, one at a time",
                       .peers = true});

// A 10-ary tree of spawns; the sum of the leaves' numbers comes up through channels.
void skynet_node(smarm::Sender<long> up, long number, long size) {
  if (size == 1) {
    (void)up.send(number);
    return;
  }
  auto [tx, rx] = smarm::channel<long>();
  for (long i = 0; i < 10; ++i) {
    (void)smarm::spawn(
        [tx = tx, child = number + i * (size / 10), size] { skynet_node(tx, child, size / 10); });
  }
  long sum = 0;
  for (int i = 0; i < 10; ++i) sum += rx.recv().value();
  (void)up.send(sum);
}

Values skynet(unsigned workers) {
  const long n = bench::leaves();
  const auto leaves = static_cast<double>(n);
  return in_runtime(workers, [=] {
    return per_op(leaves,
                  [=] {
                    auto [tx, rx] = smarm::channel<long>();
                    (void)smarm::spawn([tx = std::move(tx), n] { skynet_node(tx, 0, n); });
                    if (rx.recv().value() != n * (n - 1) / 2) std::abort();
                  }) *
           leaves / 1e6;
  });
}
const Register trees(
    {.name = "skynet",
     .figures = {{"", "ms"}},
     .run = skynet,
     .what = "a 10-ary tree of spawns with 1,000,000 leaves, summed through channels",
     .peers = true,
     .touch_mib = 3072});

Values generate(unsigned) {
  constexpr int n = 1'000'000;
  return per_op(n, [] {
    auto numbers = smarm::Generator<int>([](auto& yield) {
      for (int i = 0; i < n; ++i) yield(i);
    });
    long sum = 0;
    for (int v : numbers) sum += v;
    if (sum != long{n} * (n - 1) / 2) std::abort();
  });
}
const Register generators({.name = "generator",
                           .baseline = "syscall",
                           .workers = {0},
                           .run = generate,
                           .what = "one value out of a generator"});

}  // namespace
