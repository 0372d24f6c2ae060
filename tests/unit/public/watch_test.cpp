// One actor computes for long without a safe-point; what becomes due meanwhile runs on a worker
// that has nothing to do.
#include "tests/unit/public/io_support.hpp"

#include <functional>

using namespace test;

namespace {

// Spins until the others have run; false when patience ends first. No call of the runtime.
bool spin_until(const std::atomic<bool>& ran) {
  const auto deadline = SteadyClock::now() + kPatience;
  while (!ran)
    if (SteadyClock::now() > deadline) return false;
  return true;
}

// What the two actors and the foreign thread share.
struct World {
  std::atomic<bool> ran = false, computes = false, in_time = false;
  FdPair start{FdPair::pipe}, other{FdPair::pipe};
};

// Runs `compute` in an actor that a byte from a foreign thread has woken, after all workers were
// idle for a while.
void check_others_run(std::function<smarm::JoinHandle(World&)> make_other,
                      std::function<void(World&, smarm::Pid)> compute) {
  for (auto quiet : {0ms, 50ms, 1500ms}) {  // the last one: the watch itself has gone to sleep
    for (unsigned workers : {2u, 4u}) {
      if (quiet > 1s && workers > 2) continue;
      CAPTURE(quiet.count());
      CAPTURE(workers);
      run_at(workers, [&] {
        World world;
        smarm::JoinHandle other = make_other(world);
        const smarm::Pid other_pid = other.joinable() ? other.pid() : smarm::ROOT_PID;
        auto busy = smarm::spawn([&] {
          CHECK(smarm::wait_readable(world.start.reader(), kPatience).has_value());
          world.computes = true;
          compute(world, other_pid);
          world.in_time = spin_until(world.ran);
        });
        std::thread foreign([&world, quiet] {
          std::this_thread::sleep_for(quiet);  // what is tested depends on how long nothing happens
          CHECK(::write(world.start.writer(), "x", 1) == 1);
          while (!world.computes) std::this_thread::yield();
          CHECK(::write(world.other.writer(), "x", 1) == 1);
        });
        CHECK(busy.join());
        if (other.joinable()) CHECK(other.join());
        smarm::block_on_io([&foreign] { foreign.join(); });
        CHECK(world.in_time);
      });
    }
  }
}

}  // namespace

TEST_SUITE("public watch") {
  TEST_CASE("a descriptor that becomes ready behind a long computation") {
    check_others_run(
        [](World& world) {
          return smarm::spawn([&world] {
            CHECK(smarm::wait_readable(world.other.reader(), kPatience).has_value());
            world.ran = true;
          });
        },
        [](World&, smarm::Pid) {});
  }

  TEST_CASE("a timer of the worker that computes") {
    check_others_run(
        [](World& world) {
          return smarm::spawn([&world] {
            smarm::park_current();
            world.ran = true;
          });
        },
        [](World&, smarm::Pid other) { (void)smarm::unpark_after(20ms, other); });
  }

  TEST_CASE("an actor that the computing one has unparked") {
    check_others_run(
        [](World& world) {
          return smarm::spawn([&world] {
            smarm::park_current();
            world.ran = true;
          });
        },
        [](World&, smarm::Pid other) { smarm::unpark(other); });
  }

  TEST_CASE("an actor that the computing one has spawned") {
    check_others_run(
        [](World&) { return smarm::JoinHandle(); },
        [](World& world, smarm::Pid) { (void)smarm::spawn([&world] { world.ran = true; }); });
  }

  TEST_CASE("a message of a foreign thread") {
    check_others_run([](World&) { return smarm::JoinHandle(); },
                     [](World& world, smarm::Pid) {
                       auto [tx, rx] = smarm::channel<int>();
                       auto receiver = smarm::spawn([&world, rx = std::move(rx)]() mutable {
                         CHECK(rx.recv().has_value());
                         world.ran = true;
                       });
                       // It must wait before the message comes.
                       CHECK(yield_until_parked(receiver.pid()));
                       std::thread([tx = std::move(tx)] { (void)tx.send(1); }).detach();
                     });
  }
}
