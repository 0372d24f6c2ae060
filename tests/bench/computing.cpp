// Computing: what actors cost code that only computes.

#include "tests/bench/harness.hpp"
#include "tests/bench/primes.hpp"

#include <smarm/smarm.hpp>

#include <cstdlib>

namespace {

using bench::in_runtime;
using bench::per_op;
using bench::Register;
using bench::Values;

constexpr int kPrimes = 148'933;  // below kPrimesLimit

Values serial(unsigned) {
  return per_op(1,
                [] {
                  if (bench::count_primes(0, bench::kPrimesLimit) != kPrimes) std::abort();
                }) /
         1e6;
}
const Register serial_primes({.name = "primes_serial",
                              .figures = {{"", "ms"}},
                              .workers = {0},
                              .run = serial,
                              .what = "trial division below 2,000,000, one call",
                              .peers = true});

Values primes(unsigned workers) {
  constexpr int chunks = bench::kPrimesChunks, step = bench::kPrimesLimit / chunks;
  return in_runtime(workers, [] {
    return per_op(chunks,
                  [] {
                    auto [tx, rx] = smarm::channel<int>();
                    for (int c = 0; c < chunks; ++c) {
                      (void)smarm::spawn([tx = tx, c] {
                        (void)tx.send(bench::count_primes(c * step, (c + 1) * step));
                      });
                    }
                    int sum = 0;
                    for (int c = 0; c < chunks; ++c) sum += rx.recv().value();
                    if (sum != kPrimes) std::abort();
                  }) *
           chunks / 1e6;
  });
}
const Register actor_primes({.name = "primes",
                             .figures = {{"", "ms"}},
                             .baseline = "primes_serial",
                             .run = primes,
                             .what = "the same in 64 chunks by 64 actors",
                             .peers = true});

}  // namespace
