// Bounded channels: back-pressure, order of blocked senders, failure.
#include "tests/unit/public/support.hpp"

#include <stdexcept>
#include <string>

using namespace test;

TEST_SUITE("public bounded channel") {
  TEST_CASE("a capacity of zero is refused") {
    CHECK_THROWS_AS(static_cast<void>(smarm::bounded_channel<int>(0)), std::invalid_argument);
  }

  TEST_CASE("a sender parks while the channel is full, and never more than n messages wait") {
    run_at_each_worker_count([] {
      constexpr std::size_t kCapacity = 4;
      auto [tx, rx] = smarm::bounded_channel<int>(kCapacity);
      std::atomic<int> sent = 0;
      auto sender = smarm::spawn([tx = std::move(tx), &sent] {
        for (int i = 0; i < 100; ++i) {
          CHECK(tx.send(i));
          ++sent;
        }
      });
      CHECK(yield_until_parked(sender.pid()));
      CHECK(sent == kCapacity);
      CHECK(rx.len() == kCapacity);
      int expected = 0;
      bool ordered = true, bounded = true;
      while (auto v = rx.recv()) {
        ordered = ordered && *v == expected++;
        bounded = bounded && rx.len() <= kCapacity;
      }
      CHECK(ordered);
      CHECK(bounded);
      CHECK(expected == 100);
      CHECK(sender.join());
    });
  }

  TEST_CASE("blocked senders are served first come, first served") {
    run_at_each_worker_count([] {
      auto [tx, rx] = smarm::bounded_channel<int>(1);
      CHECK(tx.send(0));
      std::vector<smarm::JoinHandle> senders;
      for (int i = 1; i <= 5; ++i) {
        senders.push_back(smarm::spawn([tx = tx, i] { CHECK(tx.send(i)); }));
        CHECK(yield_until_parked(senders.back().pid()));
      }
      for (int i = 0; i <= 5; ++i) CHECK(rx.recv() == i);
      for (auto& end : smarm::join_all(senders)) CHECK(end);
    });
  }

  TEST_CASE("the receiver's end wakes blocked senders and gives their values back") {
    run_at_each_worker_count([] {
      auto [tx, rx] = smarm::bounded_channel<std::string>(1);
      CHECK(tx.send("fills it"));
      std::vector<smarm::JoinHandle> senders;
      for (int i = 0; i < 3; ++i) {
        senders.push_back(smarm::spawn([tx = tx, i] {
          auto refused = tx.send("value " + std::to_string(i));
          REQUIRE_FALSE(refused.has_value());
          CHECK(refused.error().reason == smarm::SendFailure::closed);
          CHECK(refused.error().value == "value " + std::to_string(i));
        }));
        CHECK(yield_until_parked(senders.back().pid()));
      }
      rx.close();
      for (auto& end : smarm::join_all(senders)) CHECK(end);
    });
  }

  TEST_CASE("a thread that is no actor gets `full` and its value back") {
    auto [tx, rx] = smarm::bounded_channel<std::string>(2);
    CHECK(tx.send("a"));
    CHECK(tx.send("b"));
    auto refused = tx.send("c");
    REQUIRE_FALSE(refused.has_value());
    CHECK(refused.error().reason == smarm::SendFailure::full);
    CHECK(refused.error().value == "c");
    CHECK(rx.try_recv() == "a");
    CHECK(tx.send("d"));
  }

  TEST_CASE("many senders through a narrow channel lose nothing") {
    run_at_each_worker_count([] {
      constexpr int kSenders = 8, kEach = kSlow ? 100 : 500;
      auto [tx, rx] = smarm::bounded_channel<std::pair<int, int>>(3);
      std::vector<smarm::JoinHandle> senders;
      for (int s = 0; s < kSenders; ++s)
        senders.push_back(smarm::spawn([tx = tx, s] {
          for (int i = 0; i < kEach; ++i) (void)tx.send({s, i});
        }));
      tx = {};
      std::vector<int> next(kSenders);
      bool ordered = true;
      while (auto m = rx.recv())
        ordered = ordered && m->second == next[static_cast<std::size_t>(m->first)]++;
      CHECK(ordered);
      for (int n : next) CHECK(n == kEach);
      for (auto& end : smarm::join_all(senders)) CHECK(end);
    });
  }

  TEST_CASE("a killed blocked sender gives its turn to the next") {
    run_at_each_worker_count([] {
      auto [tx, rx] = smarm::bounded_channel<int>(1);
      CHECK(tx.send(0));
      auto first = smarm::spawn([tx = tx] { (void)tx.send(1); });
      CHECK(yield_until_parked(first.pid()));
      auto second = smarm::spawn([tx = tx] { (void)tx.send(2); });
      CHECK(yield_until_parked(second.pid()));
      CHECK(smarm::kill(first.pid()));
      CHECK(first.join().error().killed());
      CHECK(rx.recv() == 0);
      CHECK(rx.recv() == 2);
      CHECK(second.join());
      CHECK(rx.try_recv().error() == smarm::RecvError::empty);
    });
  }
}
