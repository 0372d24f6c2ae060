// Crowds: a million actors, parked or asleep, and the floor under a parked one.

#include "tests/bench/harness.hpp"
#include "tests/bench/memory.hpp"

#include <smarm/smarm.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <utility>
#include <vector>

#include <sys/mman.h>
#include <sys/resource.h>

namespace {

using bench::in_runtime;
using bench::million;
using bench::per_op;
using bench::Register;
using bench::resident_bytes;
using bench::time_ns;
using bench::Values;

constexpr std::size_t kCrowdMib = 6144;

// The last of n actors to say so unparks the one that waits for them.
struct Countdown {
  smarm::Pid waiter;
  std::atomic<long> left;
  void done() {
    if (left.fetch_sub(1) == 1) smarm::unpark(waiter);
  }
};

// A stack that runs costs at least one page fault, and a guard one system call for its own.
Values page_and_guard(unsigned) {
  constexpr int kGuardInstall = 102;  // MADV_GUARD_INSTALL; older headers lack it
  constexpr std::size_t slot = 65'536, page = 4096;
  const std::size_t n = static_cast<std::size_t>(million()) / 10 + 1;
  void* all = ::mmap(nullptr, n * slot, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (all == MAP_FAILED) return {};
  ::madvise(all, n * slot, MADV_NOHUGEPAGE);
  bool guarded = true;
  const double ns = per_op(static_cast<double>(n), [&] {
    for (char* at = static_cast<char*>(all); at != static_cast<char*>(all) + n * slot; at += slot) {
      guarded = guarded && ::madvise(at, page, kGuardInstall) == 0;
      static_cast<volatile char*>(at)[slot - page] = 1;
    }
  });
  ::munmap(all, n * slot);
  if (!guarded) return {};
  return ns;
}
const Register floors(
    {.name = "page_and_guard",
     .workers = {0},
     .run = page_and_guard,
     .what = "one first touch of a page and one guard install, each 64 KiB from the last",
     .fresh = true,
     .touch_mib = 1024});

Values million_parked(unsigned workers) {
  return in_runtime(workers, [] {
    const long n = million();
    std::vector<smarm::Sender<int>> to;
    std::vector<smarm::JoinHandle> all;
    to.reserve(static_cast<std::size_t>(n));
    all.reserve(static_cast<std::size_t>(n));
    Countdown parked{smarm::self_pid(), n};
    const long before = resident_bytes();
    const double spawn = per_op(static_cast<double>(n), [&] {
      for (long i = 0; i < n; ++i) {
        auto [tx, rx] = smarm::channel<int>();
        to.push_back(std::move(tx));
        all.push_back(smarm::spawn([in = std::move(rx), &parked]() mutable {
          parked.done();
          (void)in.recv();
        }));
      }
      smarm::park_current();
    });
    const auto bytes = static_cast<double>(resident_bytes() - before);
    const double wake = time_ns([&] {
      for (const auto& tx : to) (void)tx.send(1);
      for (auto& actor : all) (void)actor.join();
    });
    return Values{spawn, bytes / static_cast<double>(n), wake / static_cast<double>(n)};
  });
}
const Register crowds(
    {.name = "million_parked",
     .figures = {{"", "ns"}, {"_bytes", "B"}, {"_wake", "ns"}},
     .baseline = "page_and_guard",
     .run = million_parked,
     .what = "1,000,000 actors spawned and parked, each on its own channel; bytes; woken and ended",
     .peers = true,
     .fresh = true,
     .touch_mib = kCrowdMib});

// The hand freezes them a second after they have parked, while this actor looks on.
Values million_parked_hibernated(unsigned workers) {
  const auto run = [] {
    const long n = million();
    std::vector<smarm::Sender<int>> to;
    std::vector<smarm::JoinHandle> all;
    to.reserve(static_cast<std::size_t>(n));
    all.reserve(static_cast<std::size_t>(n));
    const auto frozen = [] { return static_cast<long>(smarm::stats().total.hibernated); };
    const auto wait_until_frozen = [&frozen](long least) {
      while (frozen() < least) smarm::sleep(std::chrono::milliseconds(1));
    };
    Countdown parked{smarm::self_pid(), n};
    const long before = resident_bytes();
    for (long i = 0; i < n; ++i) {
      auto [tx, rx] = smarm::channel<int>();
      to.push_back(std::move(tx));
      all.push_back(smarm::spawn([in = std::move(rx), &parked]() mutable {
        parked.done();
        (void)in.recv();
      }));
    }
    smarm::park_current();
    wait_until_frozen(frozen() + 1);
    const long first = frozen();
    const double freeze = time_ns([&] { wait_until_frozen(n); });
    const auto bytes = static_cast<double>(resident_bytes() - before);
    const double wake = time_ns([&] {
      for (const auto& tx : to) (void)tx.send(1);
      for (auto& actor : all) (void)actor.join();
    });
    const auto each = static_cast<double>(n);
    return Values{freeze / std::max(1.0, each - static_cast<double>(first)), bytes / each,
                  wake / each};
  };
  return in_runtime(smarm::Config::exact(workers).hibernate_after(std::chrono::seconds(1)), run);
}
const Register hibernating(
    {.name = "million_parked_hibernated",
     .figures = {{"", "ns"}, {"_bytes", "B"}, {"_wake", "ns"}},
     .baseline = "page_and_guard",
     .run = million_parked_hibernated,
     .what = "the same, and their stacks packed away: freezing one; bytes; thawed, woken and ended",
     .fresh = true,
     .touch_mib = kCrowdMib});

double cpu_ms() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  auto ms = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) * 1e3 + static_cast<double>(t.tv_usec) / 1e3;
  };
  return ms(usage.ru_utime) + ms(usage.ru_stime);
}

Values sleepers(unsigned workers) {
  return in_runtime(workers, [] {
    const long n = million();
    Countdown asleep{smarm::self_pid(), n};
    const double cpu = cpu_ms();
    const double each = per_op(static_cast<double>(n), [&] {
      for (long i = 0; i < n; ++i) {
        (void)smarm::spawn([&asleep, us = i * 7'919 % 1'000'001] {
          smarm::sleep(std::chrono::microseconds(us));
          asleep.done();
        });
      }
      smarm::park_current();
    });
    return Values{each * static_cast<double>(n) / 1e6 - 1'000, cpu_ms() - cpu};
  });
}
const Register sleeping(
    {.name = "sleepers",
     .figures = {{"_overshoot", "ms"}, {"_cpu", "ms"}},
     .run = sleepers,
     .what = "1,000,000 actors sleep 0 to 1000 ms: time beyond 1000 ms, CPU time",
     .peers = true,
     .fresh = true,
     .touch_mib = kCrowdMib});

}  // namespace
