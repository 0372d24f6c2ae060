// Hibernation: what an actor finds when it wakes, and what others find who reach into its stack.
#include "tests/unit/public/io_support.hpp"

#include <sys/eventfd.h>
#include <unistd.h>

#include <cfenv>
#include <cstdint>
#include <numeric>
#include <stdexcept>
#include <utility>

using namespace test;

namespace {

smarm::Config sleepy(unsigned workers) { return config_at(workers).hibernate_after(1ms); }

// Runs f at every worker count, with the hand at its fastest, and checks that whoever was frozen
// was thawed in the end.
template <class F>
void with_hibernation(F f) {
  for_each_worker_count([&f](unsigned workers) {
    smarm::Runtime runtime = smarm::init(sleepy(workers));
    runtime.run(f);
    const smarm::Stats stats = runtime.stats();
    CHECK(stats.live == 0);
    CHECK(stats.total.hibernated == stats.total.thawed);
  });
}

// Both ends of one over loopback.
std::pair<smarm::TcpStream, smarm::TcpStream> connection() {
  auto listener = smarm::TcpListener::bind("127.0.0.1", 0).value();
  auto near = smarm::TcpStream::connect("127.0.0.1", listener.port()).value();
  return {std::move(near), listener.accept().value()};
}

std::uint64_t frozen() {
  const smarm::Stats stats = smarm::stats();
  return stats.total.hibernated - std::min(stats.total.hibernated, stats.total.thawed);
}
// Waits until n stacks are frozen: by running on (the hand moves between switches) or by sleeping
// (it moves when all are idle).
bool yield_until_frozen(std::uint64_t n) {
  return yield_until([n] { return frozen() >= n; });
}
bool sleep_until_frozen(std::uint64_t n) {
  const auto deadline = SteadyClock::now() + kPatience;
  while (frozen() < n) {
    if (SteadyClock::now() > deadline) return false;
    smarm::sleep(500us);
  }
  return true;
}

// Recurses, keeps something in every frame, waits at the bottom, and looks at all of it on the way
// back.
template <class F>
[[gnu::noinline]] int deep(int depth, F wait) {
  std::array<std::uint64_t, 40> mine;
  std::iota(mine.begin(), mine.end(), std::uint64_t(depth) << (depth % 60));
  escape(mine.data());
  int wrong = 0;
  if (depth == 0) {
    wait();
  } else {
    wrong = deep(depth - 1, wait);
  }
  escape(mine.data());
  for (std::size_t i = 0; i < mine.size(); ++i)
    wrong += mine[i] != (std::uint64_t(depth) << (depth % 60)) + i;
  return wrong;
}

TEST_SUITE("public hibernation") {
  TEST_CASE("off by default") {
    run_at(1, [] {
      smarm::sleep(5ms);
      CHECK(smarm::stats().total.hibernated == 0);
    });
    CHECK(smarm::Config().raw().hibernate_after_ns == 0);
    CHECK(smarm::Config().hibernate_after(2s).raw().hibernate_after_ns == 2'000'000'000);
    CHECK(smarm::Config().hibernate_after(-1s).raw().hibernate_after_ns == 0);
  }

  TEST_CASE("a stack comes back as it was, however deep, busy or idle the others are") {
    with_hibernation([] {
      for (int depth : {0, 1, kAsan ? 10 : 40}) {  // its frames are larger
        auto [tx, rx] = smarm::channel<int>();
        auto actor = smarm::spawn([depth, in = std::move(rx)]() mutable {
          CHECK(deep(depth, [&in] { CHECK(in.recv() == 7); }) == 0);
          CHECK(deep(depth, [&in] { CHECK(in.recv() == 8); }) == 0);
        });
        CHECK(yield_until_frozen(1));
        CHECK(tx.send(7));
        CHECK(yield_until([] { return frozen() == 0; }));
        CHECK(sleep_until_frozen(1));
        CHECK(tx.send(8));
        CHECK(actor.join());
      }
    });
  }

  TEST_CASE("every kind of wait ends as if nothing had been") {
    with_hibernation([] {
      std::atomic<int> done{0};
      auto [tx, rx] = smarm::channel<int>();
      auto [btx, brx] = smarm::bounded_channel<int>(1);
      auto [never_tx, never_rx] = smarm::channel<int>();
      smarm::Mutex<int> mutex(0);
      FdPair pipe(FdPair::pipe);
      std::vector<smarm::JoinHandle> all;
      auto hold = std::make_unique<smarm::MutexGuard<int>>(*mutex.lock());
      auto sleeper = smarm::spawn([&] {
        smarm::sleep(30ms);
        ++done;
      });
      all.push_back(smarm::spawn([&, h = std::move(sleeper)]() mutable {
        CHECK(h.join());
        ++done;
      }));
      auto parked = smarm::spawn([&] {
        smarm::park_current();
        ++done;
      });
      const smarm::Pid parked_pid = parked.pid();
      all.push_back(std::move(parked));
      all.push_back(smarm::spawn([&, in = std::move(rx)]() mutable {
        CHECK(in.recv() == 1);
        ++done;
      }));
      all.push_back(smarm::spawn([&, in = std::move(never_rx)]() mutable {
        CHECK_FALSE(in.recv_timeout(20ms));
        ++done;
      }));
      all.push_back(smarm::spawn([&, out = std::move(btx)]() mutable {
        for (int i = 0; i < 3; ++i) CHECK(out.send(i));
        ++done;
      }));
      all.push_back(smarm::spawn([&] {
        auto guard = mutex.lock();
        REQUIRE(guard);
        CHECK(**guard == 5);
        ++done;
      }));
      all.push_back(smarm::spawn([&] {
        char c = 0;
        CHECK(smarm::read(pipe.reader(), {&c, 1}) == 1u);
        CHECK(c == 'x');
        ++done;
      }));
      CHECK(sleep_until_frozen(6));  // two end by themselves, perhaps before
      CHECK(tx.send(1));
      smarm::unpark(parked_pid);
      for (int i = 0; i < 3; ++i) CHECK(brx.recv() == i);
      **hold = 5;
      hold.reset();
      CHECK(smarm::write(pipe.writer(), bytes("x")) == 1u);
      for (auto& actor : all) CHECK(actor.join());
      CHECK(done == 8);
    });
  }

  TEST_CASE("an actor that parks in a handler keeps its exception") {
    with_hibernation([] {
      auto actor = smarm::spawn([] {
        try {
          throw std::runtime_error("first");
        } catch (const std::runtime_error& e) {
          try {
            throw std::logic_error("second");
          } catch (...) {
            smarm::park_current();
            CHECK_THROWS_WITH_AS(throw, "second", std::logic_error);
          }
          CHECK(std::string(e.what()) == "first");
        }
      });
      CHECK(yield_until_frozen(1));
      smarm::unpark(actor.pid());
      CHECK(actor.join());
    });
  }

  TEST_CASE("callee-saved registers and the rounding mode come back") {
    with_hibernation([] {
      auto actor = smarm::spawn([] {
        std::fesetround(FE_UPWARD);
        std::uint64_t wrong = 0;
        asm volatile(
            "pushq %%rbx\n\tpushq %%rbp\n\tpushq %%r12\n\tpushq %%r13\n\tpushq %%r14\n\tpushq "
            "%%r15\n\t"
            "movq %%rsp, %%rbx\n\tandq $-16, %%rsp\n\t"
            "movl $11, %%ebp\n\tmovl $12, %%r12d\n\tmovabsq $0x1234567890abcdef, %%r13\n\t"
            "movl $14, %%r14d\n\tmovl $15, %%r15d\n\t"
            "call smarm_park\n\t"
            "xorl %%eax, %%eax\n\t"
            "subq $11, %%rbp\n\torq %%rbp, %%rax\n\tsubq $12, %%r12\n\torq %%r12, %%rax\n\t"
            "movabsq $0x1234567890abcdef, %%rcx\n\tsubq %%rcx, %%r13\n\torq %%r13, %%rax\n\t"
            "subq $14, %%r14\n\torq %%r14, %%rax\n\tsubq $15, %%r15\n\torq %%r15, %%rax\n\t"
            "movq %%rbx, %%rsp\n\t"
            "popq %%r15\n\tpopq %%r14\n\tpopq %%r13\n\tpopq %%r12\n\tpopq %%rbp\n\tpopq %%rbx"
            : "=a"(wrong)
            :
            : "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "xmm0", "xmm1", "xmm2", "xmm3",
              "xmm4", "xmm5", "xmm6", "xmm7", "memory", "cc");
        CHECK(wrong == 0);
        CHECK(std::fegetround() == FE_UPWARD);
      });
      CHECK(yield_until_frozen(1));
      smarm::unpark(actor.pid());
      CHECK(actor.join());
    });
  }

  TEST_CASE("others may read and write a frozen stack, from actors and from threads") {
    with_hibernation([] {
      struct Shared {
        long read = 41;
        long written = 0;
        std::atomic<long> added{0};
      };
      std::atomic<Shared*> where{nullptr};
      auto parent = smarm::spawn([&where] {
        Shared here;
        where = &here;
        smarm::park_current();
        CHECK(here.written == 2);
        CHECK(here.added == 3);
        where = &here;
        smarm::park_current();
        CHECK(here.written == 4);
        where = &here;
        smarm::park_current();
        CHECK(here.written == 5);
      });
      CHECK(yield_until_frozen(1));
      auto child = smarm::spawn([&where] {
        Shared* there = where;
        CHECK(there->read == 41);
        there->written = 2;
        there->added += 3;
      });
      CHECK(child.join());
      CHECK(state_of(parent.pid()) == "parked");
      where = nullptr;
      smarm::unpark(parent.pid());
      CHECK(yield_until([&where] { return where != nullptr; }));
      CHECK(yield_until_frozen(1));
      std::thread([&where] { where.load()->written = 4; }).join();
      where = nullptr;
      smarm::unpark(parent.pid());
      CHECK(yield_until([&where] { return where != nullptr; }));
      CHECK(yield_until_frozen(1));
      smarm::block_on_io([&where] { where.load()->written += 1; });
      smarm::unpark(parent.pid());
      CHECK(parent.join());
    });
  }

  TEST_CASE("no write is lost while the hand works on the stack that it goes to") {
    with_hibernation([] {
      static constexpr int kCounters = 600;  // two pages of them
      std::atomic<bool> stop{false};
      std::atomic<long> sum{0};
      auto parent = smarm::spawn([&] {
        std::array<std::atomic<long>, kCounters> counters{};
        auto count = [&stop, &counters](int first, auto pause) {
          long n = 0;
          for (int i = first; !stop; i = (i + 7) % kCounters, ++n) {
            counters[static_cast<std::size_t>(i)].fetch_add(1, std::memory_order_relaxed);
            pause(n);
          }
          return n;
        };
        std::atomic<long> counted{0};
        std::vector<smarm::JoinHandle> children;
        for (int c = 0; c < 3; ++c) {
          children.push_back(smarm::spawn([&, c] {
            counted += count(c, [](long n) {
              if (n % 64 == 0) smarm::yield_now();
              if (n % 4096 == 0) smarm::sleep(2ms);
            });
          }));
        }
        std::thread stranger([&] {
          counted += count(5, [](long n) {
            if (n % 4096 == 0) std::this_thread::sleep_for(2ms);
          });
        });
        while (!stop) smarm::sleep(4ms);
        for (auto& child : children) CHECK(child.join());
        stranger.join();
        long found = 0;
        for (auto& counter : counters) found += counter;
        CHECK(found == counted);
        sum = found;
      });
      const std::uint64_t before = smarm::stats().total.hibernated;
      CHECK(yield_until([&] { return smarm::stats().total.hibernated >= before + 60; }));
      stop = true;
      CHECK(parent.join());
      CHECK(sum > 0);
    });
  }

  TEST_CASE("read and write take a buffer on a frozen stack") {
    for (FdPair::Kind kind : kEveryKind) {
      CAPTURE(kind);
      with_hibernation([kind] {
        FdPair pair(kind);
        std::atomic<char*> where{nullptr};
        auto parent = smarm::spawn([&where] {
          char buffer[6000] = "hello";
          for (int i = 0; i < 2; ++i) {
            where = buffer;
            smarm::park_current();
          }
          CHECK(std::string_view(buffer) == "HELLO");
        });
        CHECK(yield_until_frozen(1));
        CHECK(smarm::write(pair.writer(), {where.load(), 6}) == 6u);
        char got[6];
        CHECK(smarm::read(pair.reader(), got) == 6u);
        CHECK(std::string_view(got) == "hello");
        where = nullptr;
        smarm::unpark(parent.pid());
        CHECK(yield_until([&where] { return where != nullptr; }));
        CHECK(yield_until_frozen(1));
        CHECK(smarm::write(pair.writer(), bytes("HELLO")) == 5u);
        CHECK(smarm::read(pair.reader(), {where.load(), 5}) == 5u);
        smarm::unpark(parent.pid());
        CHECK(parent.join());
      });
    }
  }

  TEST_CASE("what is gone after one attempt to read it arrives on a frozen stack all the same") {
    with_hibernation([] {
      const int counter = ::eventfd(5, EFD_NONBLOCK | EFD_CLOEXEC);
      REQUIRE(counter >= 0);
      std::atomic<char*> where{nullptr};
      auto parent = smarm::spawn([&where] {
        alignas(8) char buffer[8] = {};
        where = buffer;
        smarm::park_current();
        CHECK(buffer[0] == 5);
      });
      CHECK(yield_until_frozen(1));
      CHECK(smarm::read(counter, {where.load(), 8}, 1s) == 8u);
      smarm::unpark(parent.pid());
      CHECK(parent.join());
      ::close(counter);
    });
  }

  TEST_CASE("a stream of the RAII types takes one too") {
    with_hibernation([] {
      auto [near, far] = connection();
      std::atomic<char*> where{nullptr};
      auto parent = smarm::spawn([&where] {
        char buffer[16] = "ping";
        where = buffer;
        smarm::park_current();
        where = buffer;
        smarm::park_current();
        CHECK(std::string_view(buffer) == "pong");
      });
      CHECK(yield_until_frozen(1));
      CHECK(near.write({where.load(), 4}) == 4u);
      char got[4];
      CHECK(far.read(got) == 4u);
      CHECK(std::string_view(got, 4) == "ping");
      where = nullptr;
      smarm::unpark(parent.pid());
      CHECK(yield_until([&where] { return where != nullptr; }));
      CHECK(yield_until_frozen(1));
      CHECK(far.write(bytes("pong")) == 4u);
      CHECK(near.read({where.load(), 4}) == 4u);
      smarm::unpark(parent.pid());
      CHECK(parent.join());
    });
  }

  TEST_CASE("a read in pieces, one of which freezes while it waits, leaves nothing behind") {
    with_hibernation([] {
      auto [near, far] = connection();
      for (int round = 0; round < (kSlow ? 5 : 20); ++round) {
        std::atomic<char*> where{nullptr};
        std::atomic<bool> over = false;
        auto parent = smarm::spawn([&where, &over] {
          char buffer[16] = {};
          where = buffer;
          while (!over) smarm::park_current();
        });
        CHECK(yield_until([&where] { return where != nullptr; }));
        char taken[16];  // all there is: the next read sleeps at once
        CHECK(far.write(bytes("x")) == 1u);
        CHECK(near.read(taken, kPatience) == 1u);
        auto reader = smarm::spawn([&near, &where] {
          char mine[4];
          const std::span<char> pieces[] = {mine, {where.load(), 4}};
          std::size_t n = near.read_vectored(pieces, kPatience).value_or(0);
          char rest[8];
          while (n != 0 && n < 8) {
            const std::size_t more = near.read({rest, 8 - n}, kPatience).value_or(0);
            if (more == 0) break;
            n += more;
          }
          CHECK(n == 8);
        });
        CHECK(yield_until_frozen(2));
        CHECK(far.write(bytes("ping")) == 4u);
        CHECK(far.write(bytes("pong")) == 4u);
        CHECK(reader.join());
        over = true;
        smarm::unpark(parent.pid());
        CHECK(parent.join());
      }
    });
  }

  TEST_CASE("a frozen actor is killed like any other") {
    with_hibernation([] {
      std::atomic<int> live{0};
      std::vector<smarm::JoinHandle> all;
      for (int i = 0; i < 20; ++i) {
        all.push_back(smarm::spawn([&live] {
          const Counted here(live);
          smarm::park_current();
        }));
      }
      CHECK(yield_until_frozen(20));
      for (auto& actor : all) smarm::kill(actor.pid());
      for (auto& actor : all) CHECK_FALSE(actor.join());
      CHECK(live == 0);
    });
  }

  TEST_CASE("those who are frozen when run() ends are unwound") {
    std::atomic<int> live{0};
    with_hibernation([&live] {
      for (int i = 0; i < 20; ++i) {
        (void)smarm::spawn([&live] {
          const Counted here(live);
          smarm::park_current();
        });
      }
      CHECK(sleep_until_frozen(20));
    });
    CHECK(live == 0);
  }

  TEST_CASE("who waits inside a generator's body stays as it is; who only has one may go") {
    with_hibernation([] {
      auto inside = smarm::spawn([] {
        int sum = 0;
        for (int v : smarm::Generator<int>([](auto& yield) {
               yield(1);
               smarm::park_current();
               yield(2);
             }))
          sum += v;
        CHECK(sum == 3);
      });
      auto beside = smarm::spawn([] {
        smarm::Generator<int> numbers([](auto& yield) {
          for (int i = 0; i < 4; ++i) yield(i);
        });
        int sum = 0;
        for (int v : numbers) {
          sum += v;
          smarm::park_current();
        }
        CHECK(sum == 6);
      });
      for (int i = 0; i < 4; ++i) {
        CHECK(yield_until_frozen(1));
        CHECK(frozen() == 1);
        smarm::unpark(beside.pid());
        if (i < 3) CHECK(yield_until([] { return frozen() == 0; }));
      }
      CHECK(beside.join());
      CHECK(yield_until_parked(inside.pid()));
      smarm::unpark(inside.pid());
      CHECK(inside.join());
    });
  }

  TEST_CASE("a blocking job works on the waiter's stack, which stays") {
    with_hibernation([] {
      std::atomic<bool> go{false};
      auto waiter = smarm::spawn([&go] {
        std::array<int, 100> here{};
        const int result = smarm::block_on_io([&here, &go] {
          while (!go) std::this_thread::sleep_for(1ms);
          here.fill(3);
          return 4;
        });
        CHECK(result == 4);
        CHECK(std::accumulate(here.begin(), here.end(), 0) == 300);
      });
      auto other = smarm::spawn([] { smarm::park_current(); });
      CHECK(yield_until_frozen(1));
      CHECK(frozen() == 1);
      go = true;
      smarm::unpark(other.pid());
      CHECK(waiter.join());
      CHECK(other.join());
    });
  }

  TEST_CASE("an actor that is woken all the time is left alone, parked by whatever means") {
    for_each_worker_count([](unsigned workers) {
      run_with(config_at(workers).hibernate_after(kPatience), [] {
        auto actor = smarm::spawn([] {
          for (int i = 0; i < 100; ++i) smarm::park_current();
        });
        for (int i = 0; i < 100; ++i) {
          CHECK(yield_until_parked(actor.pid()));
          smarm::unpark(actor.pid());
        }
        CHECK(actor.join());
        CHECK(smarm::stats().total.hibernated == 0);
      });
    });
  }

  TEST_CASE("when all are frozen nobody is woken for it") {
    // With one worker, whose looks at the poller are its own.
    run_with(sleepy(1), [] {
      auto actor = smarm::spawn([] { smarm::park_current(); });
      CHECK(sleep_until_frozen(1));
      smarm::sleep(20ms);  // the round that finds nothing is over, and this actor frozen too
      const std::uint64_t before = smarm::stats().total.polls;
      smarm::sleep(100ms);
      // A look each millisecond would make a hundred.
      CHECK(smarm::stats().total.polls < before + 40);
      smarm::unpark(actor.pid());
      CHECK(actor.join());
    });
  }
}

}  // namespace
