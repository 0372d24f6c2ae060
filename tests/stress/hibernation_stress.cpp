// Hibernation under load: stacks are packed away as soon as they may be, while their actors are
// woken, killed and reached into.
#include "tests/stress/stress.hpp"

using namespace stress;

namespace {

// f(random) at 1, 2 and 4 workers, with the hand at its fastest; ends with nothing frozen.
template <class F>
void storm_in_sleep(F f) {
  for (unsigned workers : {1u, 2u, 4u}) {
    CAPTURE(workers);
    CAPTURE(seed());
    smarm::Runtime runtime = smarm::init(
        config_at(workers).alloc_interval(16).timeslice_cycles(50'000).hibernate_after(1ms));
    const std::size_t fds = open_fds();
    runtime.run([&f, workers] {
      Random random(workers);
      f(random);
    });
    const smarm::Stats stats = runtime.stats();
    CHECK(stats.live == 0);
    CHECK(stats.total.hibernated == stats.total.thawed);
    CHECK(stats.total.hibernated > 0);
    CHECK(open_fds() == fds);
  }
}

// What an actor keeps on its stack while it sleeps, for others to use.
struct Table {
  std::array<std::atomic<long>, 700> cells{};
  long sum() const {
    long all = 0;
    for (const auto& cell : cells) all += cell;
    return all;
  }
};

// Adds to the table of its parent, has children add to its own, and looks whether all of it came.
void grow(Random& random, Table& parent, int depth, std::atomic<long>& wrong) {
  Table mine;
  const int children = depth == 0 ? 0 : 1 + random.below(3);
  std::vector<smarm::JoinHandle> all;
  for (int i = 0; i < children; ++i) {
    all.push_back(smarm::spawn([&mine, &wrong, depth, stream = random.next()] {
      Random own(stream);
      grow(own, mine, depth - 1, wrong);
    }));
  }
  const int rounds = 20;
  for (int i = 0; i < rounds; ++i) {
    parent.cells[static_cast<std::size_t>(random.below(700))] += 1;
    if (random.one_in(4)) smarm::sleep(random.micros(6'000));
    jitter(random);
  }
  for (auto& child : all) wrong += !child.join();
  wrong += mine.sum() != children * long{rounds};
}

TEST_SUITE("hibernation stress") {
  TEST_CASE("a tree of actors that write to their parents' stacks") {
    storm_in_sleep([](Random& random) {
      std::atomic<long> wrong{0};
      Table top;
      std::vector<smarm::JoinHandle> trees;
      const int n = scaled_actors(60);
      for (int i = 0; i < n; ++i) {
        trees.push_back(smarm::spawn([&top, &wrong, stream = random.next()] {
          Random own(stream);
          grow(own, top, 3, wrong);
        }));
      }
      check_all(trees);
      CHECK(wrong == 0);
      CHECK(top.sum() == 20 * n);
    });
  }

  TEST_CASE("wake-ups, kills and time-outs meet the hand") {
    storm_in_sleep([](Random& random) {
      const int n = scaled_actors(400);
      std::atomic<int> live{0};
      std::atomic<long> wrong{0};
      std::vector<smarm::Sender<long>> to;
      std::vector<smarm::JoinHandle> all;
      std::vector<bool> killed(static_cast<std::size_t>(n));
      for (int i = 0; i < n; ++i) {
        auto [tx, rx] = smarm::channel<long>();
        to.push_back(std::move(tx));
        all.push_back(
            smarm::spawn([&live, &wrong, in = std::move(rx), stream = random.next()]() mutable {
              const Counted here(live);
              Random own(stream);
              std::array<std::uint64_t, 30> kept;
              long next = 0;
              for (;;) {
                kept.fill(stream);
                escape(kept.data());
                std::expected<long, smarm::RecvError> got =
                    own.one_in(2) ? in.recv() : in.recv_timeout(own.micros(4'000));
                escape(kept.data());
                for (std::uint64_t word : kept) wrong += word != stream;
                if (got) {
                  wrong += *got != next++;
                } else if (in.len() == 0 && got.error() == smarm::RecvError::closed) {
                  return;
                }
                if (own.one_in(8)) smarm::park_current();
              }
            }));
      }
      std::vector<long> sent(static_cast<std::size_t>(n));
      for (int round = 0; round < 40; ++round) {
        for (int k = 0; k < n / 4 + 1; ++k) {
          const auto i = static_cast<std::size_t>(random.below(n));
          if (random.one_in(2)) {
            if (!killed[i]) CHECK(to[i].send(sent[i]++));
          } else {
            smarm::unpark(all[i].pid());
          }
          if (random.one_in(200)) {
            killed[i] = true;
            smarm::kill(all[i].pid());
          }
        }
        smarm::sleep(random.micros(3'000));
      }
      to.clear();
      int ended_by_kill = 0;
      for (std::size_t i = 0; i < all.size(); ++i) {
        const smarm::Pid pid = all[i].pid();
        // Who parked last of all waits for somebody to unpark it.
        while (!killed[i] && state_of(pid) != "ended") {
          smarm::unpark(pid);
          smarm::sleep(200us);
        }
        ended_by_kill += !all[i].join();
      }
      CHECK(ended_by_kill == std::ranges::count(killed, true));
      CHECK(wrong == 0);
      CHECK(live == 0);
    });
  }
}

}  // namespace
