// Actors: yield, spawn, primes, generators, timers.

#include "tests/bench/harness.hpp"
#include "tests/bench/primes.hpp"

#include <smarm/smarm.hpp>

#include <cstdio>
#include <cstdlib>
#include <vector>

namespace {

using bench::in_runtime;
using bench::Register;
using bench::time_ns;

double yield(unsigned workers) {
  constexpr int n = 1'000'000;
  return in_runtime(workers, [] {
    return time_ns([] {
             auto loop = [] {
               for (int i = 0; i < n; ++i) smarm::yield_now();
             };
             auto a = smarm::spawn(loop), b = smarm::spawn(loop);
             smarm::join_all(a, b);
           }) /
           (2.0 * n);
  });
}
const Register yields({.name = "yield",
                       .baseline = "syscall",
                       .run = yield,
                       .what = "2 actors yield in a loop, one yield"});

double spawn_join(unsigned workers) {
  constexpr int n = 500'000;
  return in_runtime(workers, [] {
    return time_ns([] {
             for (int i = 0; i < n; ++i) (void)smarm::spawn([] {}).join();
           }) /
           n;
  });
}
const Register spawns({.name = "spawn_join",
                       .baseline = "thread_spawn_join",
                       .run = spawn_join,
                       .what = "an actor made and joined, one at a time"});

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

double skynet(unsigned workers) {
  return in_runtime(workers, [] {
    return time_ns([] {
             auto [tx, rx] = smarm::channel<long>();
             (void)smarm::spawn([tx = std::move(tx)] { skynet_node(tx, 0, 100'000); });
             if (rx.recv().value() != 4'999'950'000) std::abort();
           }) /
           1e6;
  });
}
const Register trees(
    {.name = "skynet_100k",
     .unit = "ms",
     .run = skynet,
     .what = "a 10-ary tree of spawns with 100,000 leaves, summed through channels"});

const Register serial_primes({.name = "primes_serial",
                              .unit = "ms",
                              .workers = {0},
                              .run =
                                  [](unsigned) {
                                    return time_ns([] {
                                             if (bench::count_primes(0, bench::kPrimesLimit) !=
                                                 148'933)
                                               std::abort();
                                           }) /
                                           1e6;
                                  },
                              .what = "trial division below 2,000,000, one call"});

double primes(unsigned workers) {
  return in_runtime(workers, [] {
    return time_ns([] {
             auto [tx, rx] = smarm::channel<int>();
             constexpr int step = bench::kPrimesLimit / bench::kPrimesChunks;
             for (int c = 0; c < bench::kPrimesChunks; ++c) {
               (void)smarm::spawn(
                   [tx = tx, c] { (void)tx.send(bench::count_primes(c * step, (c + 1) * step)); });
             }
             int sum = 0;
             for (int c = 0; c < bench::kPrimesChunks; ++c) sum += rx.recv().value();
             if (sum != 148'933) std::abort();
           }) /
           1e6;
  });
}
const Register actor_primes({.name = "primes",
                             .unit = "ms",
                             .baseline = "primes_serial",
                             .run = primes,
                             .what = "the same in 64 chunks by 64 actors"});

double generate(unsigned) {
  constexpr int n = 1'000'000;
  return time_ns([] {
           auto numbers = smarm::Generator<int>([](auto& yield) {
             for (int i = 0; i < n; ++i) yield(i);
           });
           long sum = 0;
           for (int v : numbers) sum += v;
           if (sum != long{n} * (n - 1) / 2) std::abort();
         }) /
         n;
}
const Register generators({.name = "generator",
                           .baseline = "syscall",
                           .workers = {0},
                           .run = generate,
                           .what = "one value out of a generator"});

double timers(unsigned workers) {
  constexpr int n = 500'000;
  return in_runtime(workers, [] {
    return time_ns([] {
             const smarm::Pid self = smarm::self_pid();
             for (int i = 0; i < n; ++i) {
               smarm::Timer t = smarm::unpark_after(std::chrono::seconds(10), self);
               t.cancel();
             }
           }) /
           n;
  });
}
const Register timer_pairs(
    {.name = "timer", .baseline = "syscall", .run = timers, .what = "a timer armed and cancelled"});

}  // namespace
