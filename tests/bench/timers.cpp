// Timers: arm and cancel, a ticker.

#include "tests/bench/harness.hpp"
#include "tests/bench/memory.hpp"

#include <smarm/smarm.hpp>

#include <algorithm>
#include <chrono>
#include <vector>

namespace {

using bench::in_runtime;
using bench::per_op;
using bench::Register;
using bench::Values;
using std::chrono::milliseconds;

constexpr int kTimers = 500'000;

Values timers(unsigned workers) {
  return in_runtime(workers, [] {
    const smarm::Pid self = smarm::self_pid();
    return per_op(kTimers, [self] {
      for (int i = 0; i < kTimers; ++i) smarm::unpark_after(milliseconds(10'000), self).cancel();
    });
  });
}
const Register timer_pairs({.name = "timer",
                            .baseline = "syscall",
                            .run = timers,
                            .what = "a timer armed and cancelled",
                            .peers = true});

// Deadlines between one and two minutes, in no order.
milliseconds far_off(long i) { return milliseconds(60'000 + i * 7'919 % 60'000); }

Values timers_among_many(unsigned workers) {
  return in_runtime(workers, [] {
    const smarm::Pid self = smarm::self_pid();
    std::vector<smarm::Timer> armed;
    armed.reserve(static_cast<std::size_t>(bench::million()));
    for (long i = 0; i < bench::million(); ++i)
      armed.push_back(smarm::unpark_after(far_off(i), self));
    const double ns = per_op(kTimers, [self] {
      for (long i = 0; i < kTimers; ++i) smarm::unpark_after(far_off(i), self).cancel();
    });
    for (smarm::Timer& t : armed) t.cancel();
    return ns;
  });
}
const Register timer_crowd({.name = "timer_million",
                            .baseline = "syscall",
                            .run = timers_among_many,
                            .what = "the same with 1,000,000 timers armed first",
                            .peers = true,
                            .touch_mib = 1024});

// The n-th thousandth of sorted values.
double quantile(const std::vector<double>& sorted, std::size_t thousandths) {
  return sorted[(sorted.size() - 1) * thousandths / 1000];
}

// How late an actor wakes that sleeps 1 ms, so many times: microseconds, sorted.
std::vector<double> tick(int ticks) {
  using Clock = std::chrono::steady_clock;
  std::vector<double> late;
  late.reserve(static_cast<std::size_t>(ticks));
  (void)per_op(ticks, [&] {
    for (int i = 0; i < ticks; ++i) {
      const auto due = Clock::now() + milliseconds(1);
      smarm::sleep(milliseconds(1));
      late.push_back(std::chrono::duration<double, std::micro>(Clock::now() - due).count());
    }
  });
  std::sort(late.begin(), late.end());
  return late;
}

Values ticker(unsigned workers) {
  return in_runtime(workers, [] {
    const std::vector<double> late = tick(1'000);
    return Values{quantile(late, 500), quantile(late, 990)};
  });
}
const Register tickers({.name = "ticker",
                        .figures = {{"_p50", "us"}, {"_p99", "us"}},
                        .run = ticker,
                        .what = "one actor sleeps 1 ms, 1000 times: how late it wakes",
                        .peers = true});

// Beside two loops that never allocate.
Values ticker_beside_hogs(std::chrono::microseconds quantum) {
  return in_runtime(smarm::Config::exact(1).async_preempt(quantum), [] {
    volatile bool over = false;
    auto hog = [&over] {
      unsigned long turns = 0;
      while (!over) ++turns;
      return turns;
    };
    auto a = smarm::spawn([hog] { (void)hog(); }), b = smarm::spawn([hog] { (void)hog(); });
    const std::vector<double> late = tick(200);
    over = true;
    smarm::join_all(a, b);
    return Values{quantile(late, 500), quantile(late, 990)};
  });
}
const Register hogs_10({.name = "hogs_10ms",
                        .figures = {{"_p50", "us"}, {"_p99", "us"}},
                        .workers = {1},
                        .run = [](unsigned) { return ticker_beside_hogs(milliseconds(10)); },
                        .what = "ticker beside two loops, async_preempt 10 ms"});
const Register hogs_1({.name = "hogs_1ms",
                       .figures = {{"_p50", "us"}, {"_p99", "us"}},
                       .workers = {1},
                       .run = [](unsigned) { return ticker_beside_hogs(milliseconds(1)); },
                       .what = "the same, async_preempt 1 ms"});

// What being stopped costs: the same work without and with.
Values hog_alone(std::chrono::microseconds quantum) {
  return in_runtime(smarm::Config::exact(1).async_preempt(quantum), [] {
    constexpr int turns = 100'000'000;
    auto work = [] {
      for (int i = 0; i < turns; ++i) asm volatile("" : : "r"(i));
    };
    return per_op(turns, [&] { smarm::join_all(smarm::spawn(work), smarm::spawn(work)); }) * turns /
           1e6;
  });
}
const Register loops({.name = "loops",
                      .figures = {{"", "ms"}},
                      .workers = {1},
                      .run = [](unsigned) { return hog_alone({}); },
                      .what = "two loops of 100,000,000 turns, never stopped"});
const Register loops_1ms({.name = "loops_1ms",
                          .figures = {{"", "ms"}},
                          .baseline = "loops",
                          .workers = {1},
                          .run = [](unsigned) { return hog_alone(milliseconds(1)); },
                          .what = "the same, async_preempt 1 ms"});
const Register loops_100us({.name = "loops_100us",
                            .figures = {{"", "ms"}},
                            .baseline = "loops",
                            .workers = {1},
                            .run =
                                [](unsigned) { return hog_alone(std::chrono::microseconds(100)); },
                            .what = "the same, async_preempt 0.1 ms"});

}  // namespace
