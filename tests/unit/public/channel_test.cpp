// Unbounded channels: order, close, values given back, destructors, foreign threads.
#include "tests/unit/public/support.hpp"

#include <array>
#include <stdexcept>
#include <string>

using namespace test;

TEST_SUITE("public channel") {
  TEST_CASE("messages of one sender arrive in order, then the channel is closed") {
    run_at_each_worker_count([] {
      auto [tx, rx] = smarm::channel<int>();
      auto sender = smarm::spawn([tx = std::move(tx)] {
        for (int i = 0; i < 1000; ++i) CHECK(tx.send(i));
      });
      int expected = 0;
      bool ordered = true;
      while (auto v = rx.recv()) ordered = ordered && *v == expected++;
      CHECK(ordered);
      CHECK(expected == 1000);
      CHECK(rx.recv().error() == smarm::RecvError::closed);
      CHECK(rx.try_recv().error() == smarm::RecvError::closed);
      CHECK(rx.recv_timeout(1h).error() == smarm::RecvError::closed);
      CHECK(sender.join());
    });
  }

  TEST_CASE("many senders: nothing is lost and each one's order is kept") {
    run_at_each_worker_count([] {
      constexpr int kSenders = 8, kEach = 500;
      auto [tx, rx] = smarm::channel<std::pair<int, int>>();
      std::vector<smarm::JoinHandle> senders;
      for (int s = 0; s < kSenders; ++s)
        senders.push_back(smarm::spawn([tx = tx, s] {
          for (int i = 0; i < kEach; ++i) {
            (void)tx.send({s, i});
            if (i % 50 == 0) smarm::yield_now();
          }
        }));
      tx = {};
      std::array<int, kSenders> next{};
      bool ordered = true;
      while (auto m = rx.recv())
        ordered = ordered && m->second == next[static_cast<std::size_t>(m->first)]++;
      CHECK(ordered);
      for (int n : next) CHECK(n == kEach);
      smarm::join_all(senders);
    });
  }

  TEST_CASE("the last sender closes the channel, not the first") {
    run_at_each_worker_count([] {
      auto [tx, rx] = smarm::channel<int>();
      smarm::Sender<int> second = tx;
      tx = {};
      CHECK_FALSE(static_cast<bool>(tx));
      CHECK(rx.try_recv().error() == smarm::RecvError::empty);
      CHECK(second.send(3));
      second = {};
      CHECK(rx.recv() == 3);
      CHECK(rx.recv().error() == smarm::RecvError::closed);
    });
  }

  TEST_CASE("a receiver that waits is woken by the close") {
    run_at_each_worker_count([] {
      auto [tx, rx] = smarm::channel<int>();
      auto receiver = smarm::spawn(
          [rx = std::move(rx)]() mutable { CHECK(rx.recv().error() == smarm::RecvError::closed); });
      CHECK(yield_until_parked(receiver.pid()));
      tx = {};
      CHECK(receiver.join());
    });
  }

  TEST_CASE("send to a dropped receiver gives the value back") {
    run_at_each_worker_count([] {
      auto [tx, rx] = smarm::channel<std::unique_ptr<int>>();
      CHECK(tx.send(std::make_unique<int>(1)));
      rx.close();
      auto refused = tx.send(std::make_unique<int>(42));
      REQUIRE_FALSE(refused.has_value());
      CHECK(refused.error().reason == smarm::SendFailure::closed);
      REQUIRE(refused.error().value != nullptr);
      CHECK(*refused.error().value == 42);
      CHECK(rx.recv().error() == smarm::RecvError::closed);
    });
  }

  TEST_CASE("an empty sender and an empty receiver answer, they do not crash") {
    run_at(1, [] {
      smarm::Sender<int> tx;
      smarm::Receiver<int> rx;
      CHECK(tx.send(9).error().value == 9);
      CHECK(rx.recv().error() == smarm::RecvError::closed);
      CHECK(rx.try_recv().error() == smarm::RecvError::closed);
      CHECK(tx.len() == 0);
      CHECK(rx.len() == 0);
    });
  }

  TEST_CASE("try_recv never waits and len is the depth of the queue") {
    run_at_each_worker_count([] {
      auto [tx, rx] = smarm::channel<int>();
      CHECK(rx.try_recv().error() == smarm::RecvError::empty);
      CHECK(rx.len() == 0);
      for (int i = 0; i < 10; ++i) CHECK(tx.send(i));
      CHECK(rx.len() == 10);
      CHECK(tx.len() == 10);
      for (int i = 0; i < 10; ++i) {
        CHECK(rx.try_recv() == i);
        CHECK(rx.len() == static_cast<std::size_t>(9 - i));
      }
      CHECK(rx.try_recv().error() == smarm::RecvError::empty);
    });
  }

  TEST_CASE("recv_timeout waits its time and not less, and takes what comes before") {
    run_at_each_worker_count([] {
      auto [tx, rx] = smarm::channel<int>();
      const auto start = SteadyClock::now();
      CHECK(rx.recv_timeout(30ms).error() == smarm::RecvError::timeout);
      CHECK(SteadyClock::now() - start >= 30ms);
      auto sender = smarm::spawn([tx = tx] { (void)tx.send(8); });
      CHECK(rx.recv_timeout(kPatience) == 8);
      CHECK(rx.recv_timeout(0ms).error() == smarm::RecvError::timeout);
      CHECK(tx.send(9));
      CHECK(rx.recv_timeout(0ms) == 9);
      CHECK(rx.recv_timeout(-5ms).error() == smarm::RecvError::timeout);
      CHECK(sender.join());
    });
  }

  TEST_CASE("a receiver may move to another actor with its queue") {
    run_at_each_worker_count([] {
      auto [tx, rx] = smarm::channel<int>();
      for (int i = 0; i < 5; ++i) CHECK(tx.send(i));
      CHECK(rx.recv() == 0);
      auto [rtx, rrx] = smarm::channel<smarm::Receiver<int>>();
      auto other = smarm::spawn([rrx = std::move(rrx)]() mutable {
        auto inner = rrx.recv();
        REQUIRE(inner.has_value());
        for (int i = 1; i < 6; ++i) CHECK(inner->recv() == i);
      });
      CHECK(rtx.send(std::move(rx)));
      CHECK(tx.send(5));
      CHECK(other.join());
    });
  }

  TEST_CASE("a request carries the channel for its answer") {
    struct Request {
      int n;
      smarm::Sender<int> reply;
    };
    run_at_each_worker_count([] {
      auto [tx, rx] = smarm::channel<Request>();
      auto server = smarm::spawn([rx = std::move(rx)]() mutable {
        while (auto r = rx.recv()) (void)r->reply.send(r->n * r->n);
      });
      for (int i = 0; i < 100; ++i) {
        auto [reply, answer] = smarm::channel<int>();
        CHECK(tx.send({i, std::move(reply)}));
        CHECK(answer.recv() == i * i);
        CHECK(answer.recv().error() == smarm::RecvError::closed);
      }
      tx = {};
      CHECK(server.join());
    });
  }

  TEST_CASE("undelivered messages are destroyed with the receiver, or with the last end") {
    run_at_each_worker_count([] {
      std::atomic<int> live = 0;
      {
        auto [tx, rx] = smarm::channel<Counted>();
        for (int i = 0; i < 100; ++i) CHECK(tx.send(Counted(live)));
        CHECK(live == 100);
        CHECK(rx.recv());
        CHECK(live == 99);
        rx.close();
        CHECK(live == 0);
      }
      {
        auto [tx, rx] = smarm::channel<Counted>();
        for (int i = 0; i < 10; ++i) CHECK(tx.send(Counted(live)));
        tx = {};
        CHECK(live == 10);
      }
      CHECK(live == 0);
    });
  }

  TEST_CASE("large messages and empty ones") {
    struct Empty {};
    for_each_worker_count([](unsigned workers) {
      // A message passes through the stacks of both sides: they need room for a few copies.
      run_with(smarm::Config::exact(workers).stack_size(1 << 20), [] {
        using Big = std::array<std::uint64_t, 4096>;
        auto [tx, rx] = smarm::channel<Big>();
        auto sender = smarm::spawn([tx = std::move(tx)] {
          Big big{};
          big.back() = 4095;
          for (int i = 0; i < 10; ++i) (void)tx.send(big);
        });
        int count = 0;
        while (auto m = rx.recv()) count += m->back() == 4095;
        CHECK(count == 10);
        CHECK(sender.join());
        auto [etx, erx] = smarm::channel<Empty>();
        CHECK(etx.send({}));
        CHECK(erx.recv());
      });
    });
  }

  TEST_CASE("a move that throws on receipt destroys the message and leaves the channel usable") {
    struct Fickle {
      Counted counted;
      std::shared_ptr<bool> fail;
      Fickle(std::atomic<int>& live, std::shared_ptr<bool> f) : counted(live), fail(std::move(f)) {}
      Fickle(Fickle&& o) : counted(o.counted), fail(o.fail) {
        if (*fail) throw std::runtime_error("fickle");
      }
    };
    run_at_each_worker_count([] {
      std::atomic<int> live = 0;
      auto fail = std::make_shared<bool>(false);
      auto [tx, rx] = smarm::channel<Fickle>();
      CHECK(tx.send(Fickle(live, fail)));
      CHECK(tx.send(Fickle(live, fail)));
      *fail = true;
      CHECK_THROWS_WITH(static_cast<void>(rx.recv()), "fickle");
      CHECK(live == 1);
      *fail = false;
      CHECK(rx.recv());
      CHECK(live == 0);
    });
  }

  TEST_CASE("sends from foreign threads arrive, each thread's in order") {
    run_at_each_worker_count([] {
      constexpr int kThreads = 3, kEach = kSlow ? 500 : 5000;
      auto [tx, rx] = smarm::channel<std::pair<int, int>>();
      std::vector<std::thread> threads;
      for (int t = 0; t < kThreads; ++t)
        threads.emplace_back([tx = tx, t] {
          for (int i = 0; i < kEach; ++i) (void)tx.send({t, i});
        });
      tx = {};
      auto joiner = smarm::spawn([&threads] {
        smarm::block_on_io([&threads] {
          for (auto& t : threads) t.join();
        });
      });
      std::array<int, kThreads> next{};
      bool ordered = true;
      while (auto m = rx.recv())
        ordered = ordered && m->second == next[static_cast<std::size_t>(m->first)]++;
      CHECK(ordered);
      for (int n : next) CHECK(n == kEach);
      CHECK(joiner.join());
    });
  }

  TEST_CASE("a channel may be made outside a runtime, filled there and read inside") {
    auto [tx, rx] = smarm::channel<int>();
    CHECK(tx.send(1));
    CHECK(tx.send(2));
    CHECK(tx.len() == 2);
    CHECK(rx.try_recv() == 1);
    run_at(1, [rx = std::move(rx)]() mutable { CHECK(rx.recv() == 2); });
    CHECK_FALSE(tx.send(3).has_value());
  }

  TEST_CASE("recv outside an actor throws std::logic_error") {
    auto [tx, rx] = smarm::channel<int>();
    CHECK_THROWS_AS(static_cast<void>(rx.recv()), std::logic_error);
  }

  TEST_CASE("a ring of actors passes a token round") {
    run_at_each_worker_count([] {
      constexpr int kActors = 100, kRounds = kSlow ? 10 : 100;
      auto [first_tx, first_rx] = smarm::channel<int>();
      smarm::Receiver<int> rx = std::move(first_rx);
      std::vector<smarm::JoinHandle> ring;
      for (int i = 0; i < kActors; ++i) {
        auto [tx, next_rx] = smarm::channel<int>();
        ring.push_back(smarm::spawn([rx = std::move(rx), tx = std::move(tx)]() mutable {
          while (auto v = rx.recv()) (void)tx.send(*v + 1);
        }));
        rx = std::move(next_rx);
      }
      int token = 0;
      for (int i = 0; i < kRounds; ++i) {
        CHECK(first_tx.send(token));
        token = rx.recv().value();
      }
      CHECK(token == kActors * kRounds);
      first_tx = {};
      for (auto& end : smarm::join_all(ring)) CHECK(end);
    });
  }

  TEST_CASE("len is exact once the senders are silent, however they raced") {
    const int rounds = kSlow ? 20 : 100;
    int wrong = 0;
    for (int round = 0; round < rounds; ++round) {
      auto [tx, rx] = smarm::channel<int>();
      std::atomic<int> present = 0;
      auto send = [&present, &tx = tx] {
        for (++present; present < 2;) {  // both at once
        }
        for (int i = 0; i < 2000; ++i) (void)tx.send(i);
      };
      std::thread a(send), b(send);
      a.join();
      b.join();
      if (rx.len() != 4000) ++wrong;
      run_at(1, [&rx = rx, &wrong] {
        for (int i = 0; i < 1000; ++i) (void)rx.try_recv();
        if (rx.len() != 3000) ++wrong;
      });
    }
    CHECK(wrong == 0);
  }
}
