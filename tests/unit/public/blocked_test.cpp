// Actors that block their OS thread in a system call: an extra worker takes the place of theirs,
// and nobody else notices. The blockers are released by events, never by time.
#include "tests/runner/cases.hpp"
#include "tests/unit/public/io_support.hpp"

#include <poll.h>
#include <semaphore.h>
#include <sys/syscall.h>

#include <array>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>

using namespace test;

namespace {

constexpr int kPatienceMs = static_cast<int>(std::chrono::milliseconds(kPatience).count());

// What an actor can block its thread in, and how others let it go on. block() is false when
// patience ended first.
class Gate {
 public:
  virtual ~Gate() = default;
  virtual bool block() = 0;
  virtual void release() = 0;
};

class PollGate : public Gate {
 public:
  bool block() override {
    pollfd p{pipe_.reader(), POLLIN, 0};
    return ::poll(&p, 1, kPatienceMs) == 1;
  }
  void release() override { CHECK(::write(pipe_.writer(), "x", 1) == 1); }

 private:
  FdPair pipe_{FdPair::pipe};
};

class ReadGate : public Gate {
 public:
  bool block() override {
    char c = 0;
    return ::read(pipe_.reader(), &c, 1) == 1;
  }
  void release() override { CHECK(::write(pipe_.writer(), "x", 1) == 1); }

 private:
  FdPair pipe_{FdPair::pipe};
};

class ConditionGate : public Gate {
 public:
  bool block() override {
    std::unique_lock lock(mutex_);
    return condition_.wait_for(lock, kPatience, [this] { return open_; });
  }
  void release() override {
    const std::lock_guard lock(mutex_);
    open_ = true;
    condition_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable condition_;
  bool open_ = false;
};

class SemaphoreGate : public Gate {
 public:
  SemaphoreGate() { ::sem_init(&semaphore_, 0, 0); }
  ~SemaphoreGate() override { ::sem_destroy(&semaphore_); }
  bool block() override {
    timespec until{};
    ::clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += kPatienceMs / 1000;
    return ::sem_timedwait(&semaphore_, &until) == 0;
  }
  void release() override { ::sem_post(&semaphore_); }

 private:
  sem_t semaphore_;
};

std::unique_ptr<Gate> make_gate(int kind) {
  switch (kind) {
    case 0: return std::make_unique<PollGate>();
    case 1: return std::make_unique<ReadGate>();
    case 2: return std::make_unique<ConditionGate>();
    default: return std::make_unique<SemaphoreGate>();
  }
}
constexpr int kGates = 4;

bool yield_until_blocked(std::size_t n) {
  return yield_until([n] {
    const smarm::Stats s = smarm::stats();
    return s.blocked == n && s.extras == n;
  });
}
// As many workers as configured, all of them at work.
bool yield_until_relieved() {
  return yield_until([] {
    const smarm::Stats s = smarm::stats();
    return s.blocked == 0 && s.extras == 0;
  });
}

// Everything that actors do, from an actor.
void live_normally() {
  // A ring of actors, a message that goes round.
  constexpr int kActors = 50, kRounds = 20;
  auto [first, last] = smarm::channel<int>();
  std::vector<smarm::JoinHandle> ring;
  auto to_next = first;
  auto in = std::move(last);
  for (int i = 0; i < kActors; ++i) {
    auto [tx, rx] = smarm::channel<int>();
    ring.push_back(smarm::spawn([in = std::move(in), tx = std::move(tx)]() mutable {
      while (auto v = in.recv()) (void)tx.send(*v + 1);
    }));
    in = std::move(rx);
  }
  for (int round = 0; round < kRounds; ++round) {
    (void)first.send(0);
    CHECK(in.recv() == kActors);
  }
  first = {};
  to_next = {};
  for (auto& actor : ring) CHECK(actor.join());
  // Timers, and waits that end by one.
  smarm::sleep(1ms);
  auto [tx, rx] = smarm::channel<int>();
  CHECK_FALSE(rx.recv_timeout(1ms));
  // IO.
  FdPair pair(FdPair::pipe);
  auto reader = smarm::spawn([fd = pair.reader()] {
    char c = 0;
    CHECK(smarm::read(fd, {&c, 1}, kPatience) == 1u);
  });
  CHECK(yield_until_parked(reader.pid()));
  CHECK(smarm::write(pair.writer(), bytes("x"), kPatience) == 1u);
  CHECK(reader.join());
  // Spawns, jobs.
  std::atomic<int> ran = 0;
  std::vector<smarm::JoinHandle> crowd;
  for (int i = 0; i < 500; ++i) crowd.push_back(smarm::spawn([&ran] { ++ran; }));
  for (auto& actor : crowd) CHECK(actor.join());
  CHECK(ran == 500);
  CHECK(smarm::block_on_io([] { return 7; }) == 7);
}

// What on_blocked has told.
struct Heard {
  std::mutex mutex;
  std::vector<smarm_blocked> records;
  std::vector<void*> frames;  // of the last
  static void hear(const smarm_blocked* b, void* arg) {
    auto& self = *static_cast<Heard*>(arg);
    const std::lock_guard lock(self.mutex);
    self.records.push_back(*b);
    self.frames.assign(b->frames, b->frames + b->frame_count);
  }
  std::size_t count(std::uint32_t kind) {
    const std::lock_guard lock(mutex);
    return static_cast<std::size_t>(
        std::ranges::count_if(records, [kind](auto& b) { return b.kind == kind; }));
  }
};

[[gnu::noinline]] bool block_here(Gate& gate) {
  const bool released = gate.block();
  asm volatile("");
  return released;
}

}  // namespace

TEST_SUITE("public blocked") {
  BLOCKED_CASE("while one blocks its thread the others do all that they do") {
    for (int kind = 0; kind < kGates; ++kind) {
      CAPTURE(kind);
      run_at_each_worker_count([kind] {
        auto gate = make_gate(kind);
        std::atomic<bool> released = false;
        auto blocker = smarm::spawn([&] { released = gate->block(); });
        CHECK(yield_until_blocked(1));
        live_normally();
        CHECK_FALSE(released);
        gate->release();
        CHECK(blocker.join());
        CHECK(released);
        CHECK(yield_until_relieved());
        live_normally();
      });
    }
  }

  BLOCKED_CASE("what was ready on the blocked thread runs, ten thousand beyond its ring") {
    run_at_each_worker_count([] {
      PollGate gate;
      const int kCrowd = kTsan ? 2000 : 10'000;  // its fibers are few
      std::atomic<int> ran = 0;
      std::vector<smarm::JoinHandle> crowd;
      std::vector<smarm::Pid> pids;
      for (int i = 0; i < kCrowd; ++i) {
        crowd.push_back(smarm::spawn([&] {
          smarm::park_current();
          if (++ran == kCrowd) gate.release();
        }));
        pids.push_back(crowd.back().pid());
      }
      CHECK(yield_until_parked(pids.front()));
      CHECK(yield_until_parked(pids.back()));
      auto blocker = smarm::spawn([&] {
        const smarm::NoPreempt together;
        for (const smarm::Pid pid : pids) smarm::unpark(pid);
        CHECK(gate.block());  // else one of them has not run
      });
      CHECK(blocker.join());
      for (auto& actor : crowd) CHECK(actor.join());
      CHECK(yield_until_relieved());
    });
  }

  BLOCKED_CASE("fresh actors and timers of the blocked thread are looked after") {
    run_at_each_worker_count([] {
      PollGate gate;
      std::atomic<int> ran = 0;
      auto parked = smarm::spawn([&] {
        smarm::park_current();
        if (++ran == 101) gate.release();
      });
      CHECK(yield_until_parked(parked.pid()));
      auto blocker = smarm::spawn([&] {
        std::vector<smarm::JoinHandle> children;
        for (int i = 0; i < 100; ++i)
          children.push_back(smarm::spawn([&] {
            smarm::sleep(2ms);
            if (++ran == 101) gate.release();
          }));
        (void)smarm::unpark_after(1ms, parked.pid());  // in the wheel of this thread's worker
        CHECK(gate.block());
        for (auto& child : children) CHECK(child.join());
      });
      CHECK(blocker.join());
      CHECK(parked.join());
      CHECK(yield_until_relieved());
    });
  }

  BLOCKED_CASE("all workers at once, and extra ones as well") {
    for_each_worker_count([](unsigned workers) {
      run_at(workers, [workers] {
        for (const std::size_t n : {std::size_t{workers}, std::size_t{3 * workers + 2}}) {
          std::vector<std::unique_ptr<Gate>> gates;
          std::vector<smarm::JoinHandle> blockers;
          for (std::size_t i = 0; i < n; ++i)
            gates.push_back(make_gate(static_cast<int>(i) % kGates));
          for (auto& gate : gates)
            blockers.push_back(smarm::spawn([&gate] { CHECK(gate->block()); }));
          CHECK(yield_until_blocked(n));
          live_normally();
          for (auto& gate : gates) gate->release();
          for (auto& blocker : blockers) CHECK(blocker.join());
          CHECK(yield_until_relieved());
        }
      });
    });
  }

  BLOCKED_CASE(
      "again and again: extra workers come and go, and a lone worker is alone again between") {
    run_at_each_worker_count([] {
      // Made and used before, between and after: by the only worker alone, and by others.
      auto [tx, rx] = smarm::channel<int>();
      auto [back_tx, back_rx] = smarm::channel<int>();
      auto echo = smarm::spawn([rx = std::move(rx), tx = std::move(back_tx)]() mutable {
        while (auto v = rx.recv()) (void)tx.send(*v);
      });
      int next = 0;
      const auto round_trips = [&] {
        for (int i = 0; i < 100; ++i) {
          (void)tx.send(next);
          CHECK(back_rx.recv() == next++);
        }
      };
      for (int round = 0; round < 8; ++round) {
        PollGate gate;
        round_trips();
        auto blocker = smarm::spawn([&] { CHECK(gate.block()); });
        auto sleeper = smarm::spawn([] { smarm::sleep(20ms); });
        CHECK(yield_until_blocked(1));
        round_trips();
        gate.release();
        CHECK(blocker.join());
        round_trips();
        CHECK(sleeper.join());
        CHECK(yield_until_relieved());
      }
      tx = {};
      CHECK(echo.join());
    });
  }

  BLOCKED_CASE("a killed one unwinds when its call has returned") {
    run_at_each_worker_count([] {
      PollGate gate;
      std::atomic<int> live = 0;
      std::atomic<bool> went_on = false;
      auto blocker = smarm::spawn([&] {
        const Counted here(live);
        gate.block();
        smarm::yield_now();
        went_on = true;
      });
      CHECK(yield_until_blocked(1));
      smarm::kill(blocker.pid());
      CHECK(live == 1);
      gate.release();
      CHECK_FALSE(blocker.join());
      CHECK(live == 0);
      CHECK_FALSE(went_on);
    });
  }

  BLOCKED_CASE("a run ends while extra workers are there, and the next one begins without") {
    for_each_worker_count([](unsigned workers) {
      smarm::Runtime runtime = smarm::init(config_at(workers));
      for (int round = 0; round < 5; ++round) {
        runtime.run([&] {
          CHECK(smarm::stats().extras == 0);
          auto gate = std::make_shared<PollGate>();
          (void)smarm::spawn([gate] { CHECK(gate->block()); });  // nobody waits for it
          CHECK(yield_until_blocked(1));
          // One that is parked for ever, on the extra worker perhaps.
          (void)smarm::spawn([] { smarm::park_current(); });
          gate->release();
        });
        const smarm::Stats s = runtime.stats();
        CHECK(s.live == 0);
        CHECK(s.extras == 0);
        CHECK(s.blocked == 0);
        CHECK(s.blocked_total >= static_cast<std::uint64_t>(round) + 1);
        CHECK(s.total.spawned == s.total.exited);
      }
    });
  }

  BLOCKED_CASE("on_blocked hears who, where and in which call, once for each") {
    for_each_worker_count([](unsigned workers) {
      Heard heard;
      smarm::Pid pid = smarm::ROOT_PID;
      run_with(config_at(workers).on_blocked(&Heard::hear, &heard), [&] {
        ReadGate gate;
        auto blocker = smarm::spawn({.name = "reader"}, [&] { CHECK(block_here(gate)); });
        pid = blocker.pid();
        CHECK(yield_until_blocked(1));
        live_normally();
        gate.release();
        CHECK(blocker.join());
      });
      REQUIRE(heard.records.size() == 1);
      const smarm_blocked& b = heard.records[0];
      CHECK(b.kind == SMARM_BLOCKED_ACTOR);
      CHECK(smarm::Pid(b.pid) == pid);
      CHECK(std::string(b.name) == "reader");
      CHECK(b.system_call == SYS_read);
      CHECK(b.blocked_ns >= 5'000'000);
      // AddressSanitizer's own frames, which it calls through, fill the trace with old addresses.
      const auto from = reinterpret_cast<std::uintptr_t>(&block_here);
      const bool named = std::ranges::any_of(heard.frames, [from](void* frame) {
        return reinterpret_cast<std::uintptr_t>(frame) - from < 200;
      });
      CHECK((named || kAsan));
    });
  }

  TEST_CASE("who computes, parks or has a job done is not blocked") {
    for_each_worker_count([](unsigned workers) {
      Heard heard;
      run_with(config_at(workers).on_blocked(&Heard::hear, &heard), [] {
        auto sleeper = smarm::spawn([] { smarm::sleep(40ms); });
        CHECK(smarm::block_on_io([] {
                std::this_thread::sleep_for(40ms);  // longer than a call may take in an actor
                return 1;
              }) == 1);
        const auto until = SteadyClock::now() + 40ms;
        while (SteadyClock::now() < until) {
        }
        CHECK(sleeper.join());
        CHECK(smarm::stats().blocked_total == 0);
      });
      CHECK(heard.records.empty());
    });
  }

  BLOCKED_CASE("at sixty-four extra workers there are no more, and that is said once") {
    Heard heard;
    run_with(config_at(2).on_blocked(&Heard::hear, &heard), [&heard] {
      PollGate gate;
      std::vector<smarm::JoinHandle> blockers;
      for (int i = 0; i < 70; ++i)
        blockers.push_back(smarm::spawn([&gate] { CHECK(gate.block()); }));
      // No worker is left, so a thread has to look.
      std::thread releaser([&] {
        const auto deadline = SteadyClock::now() + kPatience;
        while (heard.count(SMARM_BLOCKED_NO_EXTRA) == 0 && SteadyClock::now() < deadline)
          std::this_thread::sleep_for(1ms);
        gate.release();
      });
      for (auto& blocker : blockers) CHECK(blocker.join());
      smarm::block_on_io([&] { releaser.join(); });
      CHECK(smarm::stats().blocked_total >= 65);  // one at work is one too few
      CHECK(yield_until_relieved());
    });
    CHECK(heard.count(SMARM_BLOCKED_NO_EXTRA) == 1);
  }
}
