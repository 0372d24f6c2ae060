// Larger, randomised runs. SMARM_STRESS_SCALE scales their size (1 by default), SMARM_STRESS_SEED
// repeats one.
#pragma once

#include "tests/unit/public/io_support.hpp"

#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <random>

namespace stress {

using namespace test;

// A count of things, by the scale; never less than `least`.
inline int scaled(int n, int least = 4) {
  static const double scale = [] {
    const char* text = std::getenv("SMARM_STRESS_SCALE");
    const double value = text ? std::atof(text) : 1.0;
    return value > 0 ? value : 1.0;
  }();
  return std::max(least, static_cast<int>(n * scale));
}

// The same for actors: one costs a hundred times as much under TSan, and no more than 8,128 may
// live there.
inline int scaled_actors(int n, int least = 4) { return scaled(kSlow ? n / 20 : n, least); }

inline std::uint64_t seed() {
  static const std::uint64_t value = [] {
    const char* text = std::getenv("SMARM_STRESS_SEED");
    const std::uint64_t s = text ? std::strtoull(text, nullptr, 0) : std::random_device{}();
    std::cerr << "SMARM_STRESS_SEED=" << s << '\n';
    return s;
  }();
  return value;
}

// splitmix64 (Steele, Lea, Flood 2014): small enough that every actor has one of its own.
class Random {
 public:
  explicit Random(std::uint64_t stream) : state_(seed() + stream * 0x9e3779b97f4a7c15u) {}
  std::uint64_t next() {
    std::uint64_t z = state_ += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
  }
  int below(int n) { return static_cast<int>(next() % static_cast<std::uint64_t>(n)); }
  bool one_in(int n) { return below(n) == 0; }
  std::chrono::microseconds micros(int most) { return std::chrono::microseconds(below(most + 1)); }

 private:
  std::uint64_t state_;
};

// Sometimes gives the others a chance, in one way or another.
inline void jitter(Random& random) {
  switch (random.below(64)) {
    case 0: smarm::yield_now(); break;
    case 1: smarm::sleep(random.micros(200)); break;
    case 2: smarm::check(); break;
    case 3: allocate(); break;
    default: break;
  }
}

// f(random) at 1, 2 and 4 workers, with a timeslice that makes preemption common.
template <class F>
void storm(F f) {
  for (unsigned workers : {1u, 2u, 4u}) {
    CAPTURE(workers);
    CAPTURE(seed());
    const std::size_t fds = open_fds();
    run_with(config_at(workers).alloc_interval(16).timeslice_cycles(50'000),
             [&f, workers] {
               Random random(workers);
               f(random);
             });
    CHECK(open_fds() == fds);
  }
}

inline void check_all(std::vector<smarm::JoinHandle>& actors) {
  int failed = 0;
  std::string why;
  for (auto& end : smarm::join_all(actors)) {
    if (end) continue;
    ++failed;
    why = end.error().what();
  }
  CHECK(failed == 0);
  CHECK(why == "");
}

}  // namespace stress
