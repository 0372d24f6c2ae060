// Preemption by signal: loops that never allocate.
#include "tests/unit/public/support.hpp"

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"  // false alarms of g++ 12's own header
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <immintrin.h>
#pragma GCC diagnostic pop
#include <time.h>
#include <x86intrin.h>

#include <array>
#include <cfenv>
#include <cmath>
#include <csignal>
#include <cstring>
#include <functional>
#include <mutex>
#include <string>
#include <vector>

using namespace test;
using namespace std::chrono_literals;

#if defined(__SANITIZE_THREAD__)
TEST_CASE("preemption by signal" * doctest::skip() *
          doctest::description("ThreadSanitizer holds signals back")) {}
#elif SMARM_VALGRIND
TEST_CASE("without XSAVEC, which Valgrind has not, preemption by signal is refused in words") {
  CHECK_THROWS_WITH_AS((void)smarm::init(smarm::Config::exact(1).async_preempt(1ms)),
                       doctest::Contains("no XSAVEC"), std::exception);
}
#else

namespace {

smarm::Config impatient(unsigned workers, std::chrono::nanoseconds quantum = 100us) {
  return smarm::Config::exact(workers).async_preempt(quantum);
}

std::uint64_t preemptions() { return smarm::stats().total.preempted_async; }

// No call, no allocation: what a hog does. Ends when told, or after the patience of a failed test.
template <class F>
[[gnu::noinline]] bool spin_until(F done) {
  const std::uint64_t began = __rdtsc();
  while (!done()) {
    if (__rdtsc() - began > 60'000'000'000ull) return false;
  }
  return true;
}

// What `compute` returns when a signal stops it now and then is what it returns alone. It is run
// until it has been stopped often enough, beside one that never yields either.
void check_exact(std::uint64_t (*compute)(std::uint64_t seed)) {
  const std::uint64_t alone = compute(7);
  smarm::Runtime runtime = smarm::init(impatient(1));
  runtime.run([=] {
    std::atomic<int> running = 2;
    int wrong = 0;
    auto hog = [&, compute, alone] {
      const std::uint64_t before = preemptions();
      do {
        if (compute(7) != alone) ++wrong;
      } while (preemptions() - before < 100);
      --running;
    };
    auto a = smarm::spawn(hog), b = smarm::spawn(hog);
    smarm::join_all(a, b);
    CHECK(wrong == 0);
    CHECK(running == 0);
  });
  CHECK(runtime.stats().total.preempted_async >= 100);
}

constexpr int kSteps = 400'000;

[[gnu::noinline]] std::uint64_t integers(std::uint64_t x) {
  std::uint64_t a = x, b = ~x, c = x * 3, d = 1, e = 5, f = x ^ 99, g = 8, h = 2;
  for (int i = 0; i < kSteps; ++i) {
    a += b * 31 + (c >> 3);
    b ^= a << 7 | a >> 57;
    c += d ^ h;
    d = d * 6364136223846793005ull + 1;
    e += a & f;
    f ^= e >> 5;
    g += f * 3;
    h ^= g;
  }
  return a ^ b ^ c ^ d ^ e ^ f ^ g ^ h;
}

// Carries through the flags from one instruction to the next.
[[gnu::noinline]] std::uint64_t carries(std::uint64_t x) {
  std::uint64_t low = x, high = 0;
  for (int i = 0; i < kSteps; ++i) {
    asm volatile(
        "addq %2, %0\n\tadcq %3, %1\n\taddq %3, %0\n\tadcq $0, %1\n\trclq $3, %1\n\tadcq %2, %0"
        : "+r"(low), "+r"(high)
        : "r"(0x9e3779b97f4a7c15ull + static_cast<unsigned>(i)), "r"(~0ull - 17)
        : "cc");
  }
  return low ^ high;
}

[[gnu::noinline]] std::uint64_t x87(std::uint64_t x) {
  long double a = 1.0L, b = static_cast<long double>(x), c = 0.3L;
  for (int i = 0; i < kSteps; ++i) {
    a = a * 1.0000001L + c;
    b = b * 0.999999L + a;
    c = a / (b + 3.0L) - c * 0.5L;
  }
  const long double sum = a + b + c;
  std::uint64_t bits = 0;
  std::memcpy(&bits, &sum, 8);
  return bits;
}

// A leaf: what it keeps may lie below rsp.
[[gnu::noinline]] std::uint64_t red_zone_leaf(std::uint64_t x) {
  volatile std::uint64_t local[12];
  for (int i = 0; i < 12; ++i) local[i] = x + static_cast<unsigned>(i);
  for (int i = 0; i < kSteps; ++i) local[i % 12] = local[(i + 5) % 12] * 5 + local[i % 12] + 1;
  std::uint64_t sum = 0;
  for (int i = 0; i < 12; ++i) sum = sum * 31 + local[i];
  return sum;
}

[[gnu::noinline, gnu::target("avx2,fma")]] std::uint64_t avx2(std::uint64_t x) {
  __m256i a = _mm256_set1_epi64x(static_cast<long long>(x)), b = _mm256_set_epi64x(1, 2, 3, 4);
  __m256d p = _mm256_set_pd(1.5, 2.5, 3.5, 4.5), q = _mm256_set1_pd(0.999);
  for (int i = 0; i < kSteps; ++i) {
    a = _mm256_add_epi64(_mm256_xor_si256(a, b), _mm256_slli_epi64(b, 3));
    b = _mm256_add_epi64(b, _mm256_srli_epi64(a, 5));
    p = _mm256_fmadd_pd(p, q, _mm256_set1_pd(0.01));
  }
  alignas(32) std::uint64_t out[12];
  _mm256_store_si256(reinterpret_cast<__m256i*>(out), a);
  _mm256_store_si256(reinterpret_cast<__m256i*>(out + 4), b);
  _mm256_store_pd(reinterpret_cast<double*>(out + 8), p);
  std::uint64_t sum = 0;
  for (std::uint64_t word : out) sum = sum * 31 + word;
  return sum;
}

[[gnu::noinline, gnu::target("avx512f")]] std::uint64_t avx512(std::uint64_t x) {
  __m512i a = _mm512_set1_epi64(static_cast<long long>(x)), b = _mm512_set1_epi64(3);
  for (int i = 0; i < kSteps; ++i) {
    const __mmask8 odd = static_cast<__mmask8>(_mm512_test_epi64_mask(a, _mm512_set1_epi64(1)));
    a = _mm512_mask_add_epi64(_mm512_rol_epi64(a, 7), odd, a, b);
    b = _mm512_xor_epi64(b, _mm512_add_epi64(a, _mm512_set1_epi64(i)));
  }
  alignas(64) std::uint64_t out[16];
  _mm512_store_si512(out, a);
  _mm512_store_si512(out + 8, b);
  std::uint64_t sum = 0;
  for (std::uint64_t word : out) sum = sum * 31 + word;
  return sum;
}

// Rounding up, in single precision of the x87: the control words come back with the actor, and the
// scheduler does not run under them.
[[gnu::noinline]] std::uint64_t rounded(std::uint64_t x) {
  const unsigned csr = _mm_getcsr();
  std::uint16_t x87_before = 0;
  const std::uint16_t single = 0x007f;
  asm volatile("fnstcw %0" : "=m"(x87_before));
  asm volatile("fldcw %0" : : "m"(single));
  _MM_SET_ROUNDING_MODE(_MM_ROUND_UP);
  volatile double sum = static_cast<double>(x);
  volatile long double wide = 1.0L;
  for (int i = 0; i < kSteps; ++i) {
    sum = sum + 1.0 / 3.0;
    wide = wide * 1.0000001L;
  }
  _mm_setcsr(csr);
  asm volatile("fldcw %0" : : "m"(x87_before));
  double s = sum;
  std::uint64_t bits = 0;
  std::memcpy(&bits, &s, 8);
  return bits ^ static_cast<std::uint64_t>(wide * 1e15L);
}

}  // namespace

TEST_SUITE("public async preempt") {
  TEST_CASE("a loop that never allocates does not starve its peer on one worker") {
    smarm::Runtime runtime = smarm::init(impatient(1));
    runtime.run([] {
      std::atomic<bool> released = false;
      auto peer = smarm::spawn([&] { released = true; });  // the newest runs first: the hog
      auto hog = smarm::spawn([&] { CHECK(spin_until([&] { return released.load(); })); });
      smarm::join_all(hog, peer);
    });
    CHECK(runtime.stats().total.preempted_async >= 1);
    CHECK(runtime.stats().live == 0);
  }

  TEST_CASE("every register is what it was: integers, flags, the red zone, x87, vectors") {
    check_exact(integers);
    check_exact(carries);
    check_exact(red_zone_leaf);
    check_exact(x87);
    check_exact(rounded);
    check_exact(avx2);
    if (__builtin_cpu_supports("avx512f")) check_exact(avx512);
  }

  TEST_CASE("hogs on several workers take turns, and come back on the thread that they were on") {
    for (const unsigned workers : {1u, 2u, 4u}) {
      CAPTURE(workers);
      run_with(impatient(workers), [] {
        constexpr int kHogs = 8;
        std::atomic<int> turn = 0;
        std::atomic<bool> moved = false;
        std::vector<smarm::JoinHandle> hogs;
        for (int me = 0; me < kHogs; ++me) {
          hogs.push_back(smarm::spawn([&, me] {
            for (int i = 0; i < 3; ++i) {
              const pid_t before = ::gettid();
              const bool ok = spin_until([&] { return turn % kHogs == me; });
              CHECK(ok);
              if (before != ::gettid()) moved = true;
              ++turn;
            }
          }));
        }
        smarm::join_all(hogs);
        CHECK(turn == 3 * kHogs);
        CHECK_FALSE(moved);
      });
    }
  }

  TEST_CASE("an actor that holds a lock, or asked for it, is not stopped") {
    run_with(impatient(1), [] {
      bool inside = false;
      std::atomic<int> stopped_inside = 0;
      std::atomic<bool> over = false;
      std::mutex mutex;
      auto watcher = smarm::spawn([&] {
        while (!over) {
          if (inside) ++stopped_inside;
          smarm::yield_now();
        }
      });
      auto hog = smarm::spawn([&] {
        const auto burn = [] {
          const std::uint64_t began = __rdtsc();
          while (__rdtsc() - began < 20'000'000) _mm_pause();
        };
        for (int i = 0; i < 5; ++i) {
          {
            const std::lock_guard guard(mutex);
            inside = true;
            burn();
            inside = false;
          }
          {
            const smarm::NoPreempt whole;
            inside = true;
            burn();
            inside = false;
          }
        }
        while (preemptions() == 0) burn();  // with nothing held it is
        over = true;
      });
      smarm::join_all(watcher, hog);
      CHECK(stopped_inside == 0);
      CHECK(preemptions() > 0);
    });
  }

  TEST_CASE("one that is busy inside libc yields at its next allocation") {
    smarm::Runtime runtime =
        smarm::init(impatient(1).alloc_interval(1'000'000).timeslice_cycles(1'000'000'000'000));
    runtime.run([] {
      const auto at_allocations = [] { return smarm::stats().total.preempted_alloc; };
      auto peer = smarm::spawn([] {});
      auto hog = smarm::spawn([&] {
        const std::string text(1 << 20, 'x');
        const auto deadline = SteadyClock::now() + kPatience;
        while (at_allocations() == 0 && SteadyClock::now() < deadline) {
          {
            const smarm::NoPreempt as_in_libc;  // not to be stopped here
            for (int i = 0; i < 50; ++i) CHECK(!std::memchr(text.data(), 'y', text.size()));
          }
          // With a million allocations to a look, and no end to a timeslice, only the signal's
          // request makes this one yield.
          allocate();
        }
        CHECK(at_allocations() > 0);
      });
      smarm::join_all(hog, peer);
    });
  }

  TEST_CASE("a system call that blocks is not cut short") {
    run_with(impatient(2), [] {
      auto blocked = smarm::spawn([] {
        const timespec nap{0, 30'000'000};
        timespec left{};
        CHECK(::nanosleep(&nap, &left) == 0);
      });
      blocked.join().value();
    });
  }

  TEST_CASE("in the body of a generator, too") {
    run_with(impatient(1), [] {
      std::atomic<bool> released = false;
      auto peer = smarm::spawn([&] { released = true; });
      auto hog = smarm::spawn([&] {
        auto numbers = smarm::Generator<int>([&](auto& yield) {
          CHECK(spin_until([&] { return released.load(); }));
          yield(1);
        });
        int sum = 0;
        for (int n : numbers) sum += n;
        CHECK(sum == 1);
      });
      smarm::join_all(hog, peer);
    });
  }

  TEST_CASE("killed, it unwinds at its next safe-point when it comes to one") {
    run_with(impatient(1), [] {
      std::atomic<bool> asked = false, unwound = false;
      auto hog = smarm::spawn([&] {
        struct Mark {
          std::atomic<bool>& unwound;
          ~Mark() { unwound = true; }
        } mark{unwound};
        CHECK(spin_until([&] { return asked.load(); }));
        smarm::sleep(1h);
      });
      smarm::yield_now();
      smarm::kill(hog.pid());
      asked = true;
      CHECK_FALSE(hog.join());
      CHECK(unwound);
    });
  }

  TEST_CASE("killed, one that never comes to a safe-point is abandoned") {
    run_with(impatient(1, 1ms), [] {
      auto hog = smarm::spawn([] { (void)spin_until([] { return false; }); });
      smarm::yield_now();
      smarm::kill(hog.pid());
      const auto end = hog.join();
      REQUIRE_FALSE(end);
      CHECK(std::string(end.error().what()).find("without reaching a safe-point") !=
            std::string::npos);
    });
  }

  TEST_CASE("one that copies memory is stopped inside memcpy, and its copies are whole" *
            doctest::skip(kAsan) *
            doctest::description("AddressSanitizer's memcpy stands in the place of libc's")) {
    constexpr std::size_t kSize = 64u << 20;
    run_with(impatient(1, 1ms), [] {
      const std::vector<char> from(kSize, 'x');
      bool whole = true;
      auto copier = smarm::spawn([&] {
        std::vector<char> to(kSize);
        const std::uint64_t before = preemptions();
        const auto deadline = SteadyClock::now() + kPatience;
        while (preemptions() - before < 20 && SteadyClock::now() < deadline) {
          std::memset(to.data(), 0, kSize);
          std::memcpy(to.data(), from.data(), kSize);
          whole = whole && to == from;
        }
        CHECK(preemptions() - before >= 20);
      });
      CHECK(copier.join());
      CHECK(whole);
    });
  }

  TEST_CASE("many loops on one worker that are killed are all abandoned in the time of one") {
    run_with(impatient(1, 5ms), [] {
      std::vector<smarm::JoinHandle> hogs;
      for (int i = 0; i < 16; ++i)
        hogs.push_back(smarm::spawn([] { (void)spin_until([] { return false; }); }));
      smarm::yield_now();
      const auto began = SteadyClock::now();
      for (auto& hog : hogs) smarm::kill(hog.pid());
      for (auto& end : smarm::join_all(hogs)) CHECK_FALSE(end);
      CHECK(SteadyClock::now() - began < 10s);  // not 16 times one second
    });
  }

  TEST_CASE("the quantum changes while the runtime runs: from none, to none and back") {
    for_each_worker_count([](unsigned workers) {
      run_with(smarm::Config::exact(workers), [workers] {
        const auto loop_for_a_while = [] {
          const std::uint64_t before = preemptions();
          const auto end = SteadyClock::now() + 20ms;
          while (SteadyClock::now() < end) {
          }
          return preemptions() - before;
        };
        // Loops on every worker; the first is this actor's. The others give way now and then: a
        // signal that was sent before the quantum became none may still come to this actor, and
        // then nothing else would end the turn of who goes on.
        std::atomic<bool> over = false;
        std::vector<smarm::JoinHandle> hogs;
        for (unsigned i = 0; i < workers; ++i) {
          hogs.push_back(smarm::spawn([&] {
            while (!over) {
              const std::uint64_t began = __rdtsc();
              CHECK(spin_until([&] { return over || __rdtsc() - began > 100'000'000; }));
              smarm::yield_now();
            }
          }));
        }
        CHECK(loop_for_a_while() == 0);
        for (int round = 0; round < 3; ++round) {
          const std::uint64_t before = preemptions();
          CHECK(smarm_runtime_tune_async_preempt(nullptr, 100'000) == SMARM_OK);
          CHECK(spin_until([&] { return preemptions() - before >= 20; }));
          CHECK(smarm_runtime_tune_async_preempt(nullptr, 0) == SMARM_OK);
          // One that was sent before may still come, to each.
          CHECK(loop_for_a_while() <= 2 * workers);
          CHECK(loop_for_a_while() == 0);
        }
        CHECK(smarm_runtime_tune_async_preempt(nullptr, 10'000'000) == SMARM_OK);
        CHECK(smarm_runtime_tune_async_preempt(nullptr, 200'000) == SMARM_OK);
        const std::uint64_t before = preemptions();
        CHECK(spin_until([&] { return preemptions() - before >= 20; }));
        over = true;
        for (auto& end : smarm::join_all(hogs)) CHECK(end);
      });
    });
  }

  TEST_CASE("the quantum may be set from any thread, before a run, in it and after it") {
    smarm::Runtime runtime = smarm::init(smarm::Config::exact(1));
    CHECK(smarm_runtime_tune_async_preempt(runtime.raw(), 100'000) == SMARM_OK);
    for (int run = 0; run < 2; ++run) {
      std::atomic<bool> over = false;
      std::thread other([&] {
        for (std::uint64_t ns = 100'000; !over; ns = ns == 0 ? 100'000 : 0)
          CHECK(smarm_runtime_tune_async_preempt(runtime.raw(), ns) == SMARM_OK);
      });
      runtime.run([] {
        auto hog = smarm::spawn([] {
          const std::uint64_t before = preemptions();
          CHECK(spin_until([&] { return preemptions() - before >= 5; }));
        });
        CHECK(hog.join());
      });
      over = true;
      other.join();
      CHECK(smarm_runtime_tune_async_preempt(runtime.raw(), 100'000) == SMARM_OK);
    }
    CHECK(smarm_runtime_tune_async_preempt(nullptr, 1) == SMARM_E_NOT_ACTOR);
  }

  TEST_CASE("the quantum is a duration from 0.1 ms up; none is the default") {
    CHECK(smarm::Config().raw().async_preempt_ns == 0);
    CHECK(smarm::Config().async_preempt(5ms).raw().async_preempt_ns == 5'000'000);
    CHECK(smarm::Config().async_preempt(1us).raw().async_preempt_ns == 100'000);
    CHECK(smarm::Config().async_preempt(0ms).raw().async_preempt_ns == 0);
  }
}

#endif
