// select over receivers.
#include "tests/unit/public/support.hpp"

#include <array>
#include <string>

using namespace test;

TEST_SUITE("public select") {
  TEST_CASE("select answers the position of a receiver that has a message") {
    run_at_each_worker_count([] {
      auto [tx1, rx1] = smarm::channel<int>();
      auto [tx2, rx2] = smarm::channel<std::string>();
      CHECK(tx2.send("two"));
      CHECK(smarm::select(rx1, rx2) == 1);
      CHECK(rx2.try_recv() == "two");
      CHECK(tx1.send(1));
      CHECK(smarm::select(rx1, rx2) == 0);
      CHECK(rx1.try_recv() == 1);
    });
  }

  TEST_CASE("of several that are ready the lowest position wins") {
    run_at_each_worker_count([] {
      auto [tx1, rx1] = smarm::channel<int>();
      auto [tx2, rx2] = smarm::channel<int>();
      CHECK(tx1.send(1));
      CHECK(tx2.send(2));
      CHECK(smarm::select(rx1, rx2) == 0);
      CHECK(smarm::select(rx2, rx1) == 0);
    });
  }

  TEST_CASE("select waits, and is woken by a send to any of them") {
    run_at_each_worker_count([] {
      for (std::size_t which = 0; which < 3; ++which) {
        auto [tx1, rx1] = smarm::channel<int>();
        auto [tx2, rx2] = smarm::channel<int>();
        auto [tx3, rx3] = smarm::channel<int>();
        std::array<smarm::Sender<int>, 3> senders{tx1, tx2, tx3};
        const smarm::Pid self = smarm::self_pid();
        auto sender = smarm::spawn([tx = senders[which], self] {
          CHECK(yield_until_parked(self));
          CHECK(tx.send(5));
        });
        CHECK(smarm::select(rx1, rx2, rx3) == which);
        CHECK(sender.join());
      }
    });
  }

  TEST_CASE("a closed receiver is ready") {
    run_at_each_worker_count([] {
      auto [tx1, rx1] = smarm::channel<int>();
      auto [tx2, rx2] = smarm::channel<int>();
      tx2 = {};
      CHECK(smarm::select(rx1, rx2) == 1);
      CHECK(rx2.try_recv().error() == smarm::RecvError::closed);
      // And the close wakes a select that waits.
      const smarm::Pid self = smarm::self_pid();
      auto [tx3, rx3] = smarm::channel<int>();
      auto closer = smarm::spawn([tx = std::move(tx3), self]() mutable {
        CHECK(yield_until_parked(self));
        tx = {};
      });
      CHECK(smarm::select(rx1, rx3) == 1);
      CHECK(closer.join());
    });
  }

  TEST_CASE("select_timeout gives up after its time, and the receivers stay usable") {
    run_at_each_worker_count([] {
      auto [tx1, rx1] = smarm::channel<int>();
      auto [tx2, rx2] = smarm::channel<int>();
      const auto start = SteadyClock::now();
      CHECK_FALSE(smarm::select_timeout(20ms, rx1, rx2).has_value());
      CHECK(SteadyClock::now() - start >= 20ms);
      CHECK_FALSE(smarm::select_timeout(0ms, rx1, rx2).has_value());
      auto sender = smarm::spawn([tx = tx1] { (void)tx.send(1); });
      CHECK(rx1.recv() == 1);
      CHECK(sender.join());
      CHECK(tx2.send(2));
      CHECK(smarm::select_timeout(kPatience, rx1, rx2) == 1);
    });
  }

  TEST_CASE("two streams and a stop channel, to the end") {
    run_at_each_worker_count([] {
      constexpr int kEach = 300;
      auto [tx1, rx1] = smarm::channel<int>();
      auto [tx2, rx2] = smarm::channel<int>();
      auto [stop, stopped] = smarm::channel<char>();
      auto feed = [](smarm::Sender<int> tx) {
        return smarm::spawn([tx = std::move(tx)] {
          for (int i = 1; i <= kEach; ++i) {
            (void)tx.send(i);
            if (i % 16 == 0) smarm::yield_now();
          }
        });
      };
      auto a = feed(tx1), b = feed(tx2);
      auto closer =
          smarm::spawn([a = std::move(a), b = std::move(b), stop = std::move(stop)]() mutable {
            smarm::join_all(a, b);
            CHECK(stop.send('.'));
          });
      long sum = 0;
      for (bool open = true; open;) {
        switch (smarm::select(rx1, rx2, stopped)) {
          case 0: sum += rx1.try_recv().value_or(0); break;
          case 1: sum += rx2.try_recv().value_or(0); break;
          default: open = false;
        }
      }
      // The stop channel is the last position: it wins only when both streams are drained.
      CHECK(sum == 2L * kEach * (kEach + 1) / 2);
      CHECK(closer.join());
    });
  }
}
