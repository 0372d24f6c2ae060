// Fairness, measured in turns: how many turns others get between two of one actor's. Nothing here
// depends on the clock but the patience of a test that has failed.

#include "tests/unit/public/support.hpp"

#include <smarm/smarm.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <vector>

namespace {

using namespace test;

// Where each actor costs a fiber of the sanitizer's, which takes a tenth of a millisecond to make.
constexpr int kCrowd = kSlow ? 20 : 300;

// Counts turns of all actors, and for one the longest gap between two of its own.
class Turns {
 public:
  explicit Turns(std::size_t actors) : last_(actors), gap_(actors), own_(actors) {}
  void take(std::size_t who) {
    ++all_;
    if (own_[who]++ > 0) gap_[who] = std::max(gap_[who], all_ - last_[who]);
    last_[who] = all_;
  }
  long longest_gap() const { return *std::max_element(gap_.begin(), gap_.end()); }
  long fewest() const { return *std::min_element(own_.begin(), own_.end()); }
  long all() const { return all_; }

 private:
  long all_ = 0;
  std::vector<long> last_, gap_, own_;
};

TEST_SUITE("fairness") {
  TEST_CASE("actors that yield take turns in order, however many there are") {
    // 200 fit into the ring of a worker, 1000 do not.
    for (const std::size_t actors :
         {std::size_t{2}, std::size_t{200}, std::size_t{kSlow ? 300 : 1000}}) {
      CAPTURE(actors);
      run_at(1, [actors] {
        Turns turns(actors);
        std::vector<smarm::JoinHandle> all;
        for (std::size_t who = 0; who < actors; ++who) {
          all.push_back(smarm::spawn([&turns, who] {
            for (int i = 0; i < 50; ++i) turns.take(who), smarm::yield_now();
          }));
        }
        smarm::join_all(all);
        CHECK(turns.fewest() == 50);
        // Once all have started, everybody else has one turn between two of one's own; while they
        // start, fresh ones and old ones alternate.
        CHECK(turns.longest_gap() <= static_cast<long>(2 * actors));
      });
    }
  }

  TEST_CASE("a pair that talks all the time does not keep the others waiting") {
    run_at(1, [] {
      constexpr std::size_t kYielders = 10;
      Turns turns(kYielders + 2);
      bool over = false;
      auto [tx1, rx1] = smarm::channel<int>();
      auto [tx2, rx2] = smarm::channel<int>();
      auto ping = smarm::spawn([&, tx = std::move(tx1), rx = std::move(rx2)]() mutable {
        while (!over) {
          turns.take(kYielders);
          (void)tx.send(1);
          (void)rx.recv();
        }
      });
      auto pong = smarm::spawn([&, tx = std::move(tx2), rx = std::move(rx1)]() mutable {
        while (rx.recv()) {
          turns.take(kYielders + 1);
          (void)tx.send(1);
        }
      });
      std::vector<smarm::JoinHandle> others;
      for (std::size_t who = 0; who < kYielders; ++who) {
        others.push_back(smarm::spawn([&turns, who] {
          for (int i = 0; i < 500; ++i) turns.take(who), smarm::yield_now();
        }));
      }
      smarm::join_all(others);
      over = true;
      smarm::join_all(ping, pong);
      CHECK(turns.fewest() >= 240);  // the pair, too: each waits for the other every second round
      CHECK(turns.longest_gap() <= static_cast<long>(3 * (kYielders + 2)));
    });
  }

  TEST_CASE("actors that spawn without end starve neither those that yield nor each other") {
    run_at(1, [] {
      Turns turns(4);
      bool over = false;
      std::vector<smarm::JoinHandle> spawners;
      for (std::size_t who = 0; who < 2; ++who) {
        spawners.push_back(smarm::spawn([&, who] {
          while (!over) {
            turns.take(who);
            for (int i = 0; i < kCrowd; ++i) (void)smarm::spawn([] {});
            smarm::yield_now();
          }
        }));
      }
      auto yielder = smarm::spawn([&turns] {
        for (int i = 0; i < 50; ++i) turns.take(2), smarm::yield_now();
      });
      auto sleeper = smarm::spawn([&turns] {
        for (int i = 0; i < 20; ++i) turns.take(3), smarm::sleep(std::chrono::microseconds(1));
      });
      smarm::join_all(yielder, sleeper);
      over = true;
      smarm::join_all(spawners);
      CHECK(turns.fewest() >= 3);  // a spawner's turn is a whole crowd, in several slices
    });
  }

  TEST_CASE("a tree of spawns is walked depth-first: few of its actors are under way at once") {
    run_at(1, [] {
      struct Tree {
        smarm::Sender<long> up;
        long leaves;
        long &now, &most;
        void operator()() {
          most = std::max(most, ++now);
          long sum = 1;
          if (leaves > 1) {
            sum = 0;
            auto [tx, rx] = smarm::channel<long>();
            for (int i = 0; i < 10; ++i) (void)smarm::spawn(Tree{tx, leaves / 10, now, most});
            for (int i = 0; i < 10; ++i) sum += rx.recv().value();
          }
          --now;
          (void)up.send(sum);
        }
      };
      constexpr long kLeaves = kSlow ? 1'000 : 100'000;
      long now = 0, most = 0;
      auto [tx, rx] = smarm::channel<long>();
      (void)smarm::spawn(Tree{std::move(tx), kLeaves, now, most});
      CHECK(rx.recv().value() == kLeaves);
      // A branch is five actors; breadth-first it would be all leaves. The difference is branches
      // that were opened because they had waited for a millisecond: more where all is slow.
      CHECK(most <= kLeaves / (kSlow ? 3 : 50));
    });
  }

  TEST_CASE("a chain in which each actor spawns the next does not starve one that yields") {
    run_at(1, [] {
      bool over = false, ended = false;
      long links = 0;
      struct Chain {
        bool &over, &ended;
        long& links;
        void operator()() const {
          ++links;
          if (over) {
            ended = true;
          } else {
            (void)smarm::spawn(Chain{over, ended, links});
          }
        }
      };
      (void)smarm::spawn(Chain{over, ended, links});
      long longest = 0;
      for (int i = 0; i < (kSlow ? 100 : 1000); ++i) {
        const long before = links;
        smarm::yield_now();
        longest = std::max(longest, links - before);
      }
      over = true;
      while (!ended) smarm::yield_now();  // the last link uses what is on this stack
      CHECK(links > 50);
      CHECK(longest <= 4);
    });
  }

  TEST_CASE("the oldest of the spawned actors runs although others are spawned without end") {
    run_at(1, [] {
      constexpr long kPatience = 50'000'000;  // links, some seconds
      bool first_ran = false;
      long links = 0;
      struct Chain {
        bool& first_ran;
        long& links;
        smarm::Sender<long> end;
        void operator()() {
          if (first_ran || ++links == kPatience) {
            (void)end.send(links);
          } else {
            (void)smarm::spawn(Chain{first_ran, links, std::move(end)});
          }
        }
      };
      auto [tx, rx] = smarm::channel<long>();
      auto first = smarm::spawn([&] { first_ran = true; });
      (void)smarm::spawn(Chain{first_ran, links, std::move(tx)});
      CHECK(rx.recv().value() < kPatience);
      (void)first.join();
    });
  }

  TEST_CASE("with several workers nobody is forgotten") {
    for (const unsigned workers : {2u, 4u}) {
      CAPTURE(workers);
      run_at(workers, [workers] {
        constexpr long kTurns = 1000;
        constexpr std::size_t kActors = 64;
        std::atomic<std::size_t> there{0};
        std::vector<smarm::JoinHandle> actors;
        for (std::size_t i = 0; i < kActors; ++i) {
          actors.push_back(smarm::spawn([&] {
            for (long turn = 0; turn < kTurns; ++turn) smarm::yield_now();
            there.fetch_add(1);
            // Goes on until the slowest is there.
            while (there.load() < kActors) smarm::yield_now();
          }));
        }
        smarm::join_all(actors);
        // A worker that loses its CPU to another process keeps its actors waiting, however far the
        // others get meanwhile: what is bounded is how far the one got that did least.
        std::uint64_t least = ~std::uint64_t{0};
        const std::vector<smarm_worker_stats> each = smarm::stats().workers;
        for (std::size_t w = 0; w < workers; ++w) least = std::min(least, each.at(w).yields);
        CHECK(least <= 4 * kTurns * kActors);
      });
    }
  }
}

}  // namespace
