// Storms of messages.
#include "tests/stress/stress.hpp"

#include <memory>
#include <thread>

using namespace stress;

namespace {

struct Message {
  int sender, number;
  Counted alive;
};

// Receives until the channel closes; true when every sender's messages came in order and complete.
bool complete(smarm::Receiver<Message>& rx, int senders, int each) {
  std::vector<int> next(static_cast<std::size_t>(senders));
  bool ordered = true;
  while (auto m = rx.recv())
    ordered = ordered && m->number == next[static_cast<std::size_t>(m->sender)]++;
  return ordered && std::all_of(next.begin(), next.end(), [each](int n) { return n == each; });
}

}  // namespace

TEST_SUITE("stress channel") {
  TEST_CASE("MPSC storm: nothing lost, each sender's order kept") {
    storm([](Random&) {
      const int senders = 16, each = scaled(20000);
      std::atomic<int> live = 0;
      auto [tx, rx] = smarm::channel<Message>();
      std::vector<smarm::JoinHandle> actors;
      for (int s = 0; s < senders; ++s)
        actors.push_back(smarm::spawn([tx = tx, s, each, &live] {
          Random random(static_cast<std::uint64_t>(s));
          for (int i = 0; i < each; ++i) {
            (void)tx.send({s, i, Counted(live)});
            jitter(random);
          }
        }));
      tx = {};
      CHECK(complete(rx, senders, each));
      check_all(actors);
      CHECK(live == 0);
    });
  }

  TEST_CASE("a thread of no runtime comes to a channel at any moment: nothing lost, order kept") {
    storm([](Random& random) {
      constexpr int kEach = 60;
      std::atomic<int> live = 0;
      std::atomic<smarm::Sender<Message>*> handed{nullptr};
      std::atomic<bool> end = false;
      smarm_runtime* runtime = smarm_runtime_current();
      smarm_runtime_hold(runtime);  // a message of the stranger counts as something to come
      std::thread stranger([&] {
        Random own(99);
        while (!end) {
          const std::unique_ptr<smarm::Sender<Message>> tx(handed.exchange(nullptr));
          if (!tx) std::this_thread::yield();
          for (int spin = tx ? own.below(3000) : 0; spin > 0; --spin) smarm::check();
          for (int i = 0; tx && i < kEach; ++i) (void)tx->send({1, i, Counted(live)});
        }
      });
      int complete_rounds = 0;
      const int rounds = scaled(1000);
      for (int round = 0; round < rounds; ++round) {
        auto [tx, rx] = smarm::channel<Message>();
        handed = new smarm::Sender<Message>(tx);
        auto local = smarm::spawn([tx = std::move(tx), &live, pause = random.below(8)] {
          for (int i = 0; i < kEach; ++i) {
            (void)tx.send({0, i, Counted(live)});
            if (i % 8 == pause) smarm::yield_now();
          }
        });
        complete_rounds += complete(rx, 2, kEach);
        CHECK(local.join());
      }
      end = true;
      stranger.join();
      smarm_runtime_release(runtime);
      CHECK(complete_rounds == rounds);
      CHECK(live == 0);
    });
  }

  TEST_CASE("MPSC storm: senders come and go, and the receiver may leave before the end") {
    storm([](Random& random) {
      std::atomic<int> live = 0;
      for (int round = 0; round < scaled(300); ++round) {
        auto [tx, rx] = smarm::channel<Message>();
        std::vector<smarm::JoinHandle> actors;
        for (int s = 0; s < 8; ++s)
          actors.push_back(smarm::spawn([tx = tx, s, &live] {
            Random own(static_cast<std::uint64_t>(s));
            for (int i = 0; i < 50; ++i) {
              if (!tx.send({s, i, Counted(live)})) return;
              jitter(own);
            }
          }));
        tx = {};
        const int wanted = random.below(500);
        for (int i = 0; i < wanted; ++i)
          if (!rx.recv()) break;
        rx.close();
        check_all(actors);
        CHECK(live == 0);
      }
    });
  }

  TEST_CASE("bounded storm: never more than the capacity, nothing lost") {
    storm([](Random&) {
      for (int capacity : {1, 2, 7, 64}) {
        const int senders = 8, each = scaled(2500);
        std::atomic<int> live = 0, over = 0;
        auto [tx, rx] = smarm::bounded_channel<Message>(static_cast<std::size_t>(capacity));
        std::vector<smarm::JoinHandle> actors;
        for (int s = 0; s < senders; ++s)
          actors.push_back(smarm::spawn([tx = tx, s, each, capacity, &live, &over] {
            Random own(static_cast<std::uint64_t>(s));
            for (int i = 0; i < each; ++i) {
              (void)tx.send({s, i, Counted(live)});
              if (tx.len() > static_cast<std::size_t>(capacity)) ++over;
              jitter(own);
            }
          }));
        tx = {};
        CHECK(complete(rx, senders, each));
        check_all(actors);
        CHECK(over == 0);
        CHECK(live == 0);
      }
    });
  }

  TEST_CASE("bounded storm with senders that are killed and receivers that leave") {
    storm([](Random& random) {
      std::atomic<int> live = 0;
      for (int round = 0; round < scaled(300); ++round) {
        auto [tx, rx] = smarm::bounded_channel<Message>(2);
        std::vector<smarm::JoinHandle> actors;
        for (int s = 0; s < 8; ++s)
          actors.push_back(smarm::spawn([tx = tx, s, &live] {
            for (int i = 0; i < 20; ++i)
              if (!tx.send({s, i, Counted(live)})) return;
          }));
        tx = {};
        for (int i = random.below(100); i > 0; --i) {
          if (random.one_in(10))
            smarm::kill(actors[static_cast<std::size_t>(random.below(8))].pid());
          if (!rx.recv()) break;
        }
        rx.close();
        smarm::join_all(actors);
        CHECK(live == 0);
      }
    });
  }

  TEST_CASE("select storm: every message of every channel is seen once") {
    storm([](Random&) {
      const int each = scaled(10000);
      std::atomic<int> live = 0;
      auto [tx1, rx1] = smarm::channel<Message>();
      auto [tx2, rx2] = smarm::channel<Message>();
      auto [tx3, rx3] = smarm::bounded_channel<Message>(3);
      std::vector<smarm::JoinHandle> actors;
      int id = 0;
      for (auto& tx : {tx1, tx2, tx3})
        for (int copy = 0; copy < 2; ++copy)
          actors.push_back(smarm::spawn([tx, s = copy, each, stream = id++, &live] {
            Random own(static_cast<std::uint64_t>(stream));
            for (int i = 0; i < each; ++i) {
              (void)tx.send({s, i, Counted(live)});
              jitter(own);
            }
          }));
      tx1 = {}, tx2 = {}, tx3 = {};
      int next[3][2] = {};
      bool ordered = true;
      bool open[3] = {true, true, true};
      smarm::Receiver<Message> receivers[3] = {std::move(rx1), std::move(rx2), std::move(rx3)};
      // An end that has closed would be ready for ever. A channel that nobody sends to takes its
      // place.
      auto [tx4, idle1] = smarm::channel<Message>();
      auto [tx5, idle2] = smarm::channel<Message>();
      auto [tx6, idle3] = smarm::channel<Message>();
      smarm::Receiver<Message> idle[3] = {std::move(idle1), std::move(idle2), std::move(idle3)};
      auto at = [&](int i) -> smarm::Receiver<Message>& {
        return open[i] ? receivers[i] : idle[i];
      };
      while (open[0] || open[1] || open[2]) {
        const int which = static_cast<int>(smarm::select(at(0), at(1), at(2)));
        auto m = receivers[which].try_recv();
        if (m) {
          ordered = ordered && m->number == next[which][m->sender]++;
        } else {
          ordered = ordered && m.error() == smarm::RecvError::closed;  // select never lies
          open[which] = false;
        }
      }
      CHECK(ordered);
      for (auto& channel : next)
        for (int n : channel) CHECK(n == each);
      check_all(actors);
      CHECK(live == 0);
    });
  }

  TEST_CASE("recv_timeout storm: the race of message and timer loses no message") {
    storm([](Random& random) {
      const int count = scaled(3000);
      std::atomic<int> live = 0;
      auto [tx, rx] = smarm::channel<Message>();
      auto sender = smarm::spawn([tx = std::move(tx), count, &live] {
        Random own(99);
        for (int i = 0; i < count; ++i) {
          (void)tx.send({0, i, Counted(live)});
          if (own.one_in(4)) smarm::sleep(own.micros(150));
        }
      });
      int expected = 0;
      bool ordered = true;
      for (;;) {
        auto m = rx.recv_timeout(random.micros(150));
        if (m) {
          ordered = ordered && m->number == expected++;
        } else if (m.error() == smarm::RecvError::closed) {
          break;
        }
      }
      CHECK(ordered);
      CHECK(expected == count);
      CHECK(sender.join());
      CHECK(live == 0);
    });
  }

  TEST_CASE("close storm: the last sender goes while the receiver sees the close and goes too") {
    storm([](Random& random) {
      for (int round = 0; round < scaled(60); ++round) {
        constexpr int kChannels = 64;
        std::vector<smarm::Sender<int>> senders;
        std::vector<smarm::Receiver<int>> receivers;
        for (int i = 0; i < kChannels; ++i) {
          auto [tx, rx] = smarm::channel<int>();
          senders.push_back(std::move(tx));
          receivers.push_back(std::move(rx));
        }
        const bool foreign = random.one_in(2), waits = random.one_in(2);
        auto drop_all = [senders = std::move(senders)]() mutable {
          for (auto& tx : senders) tx = {};
        };
        std::thread thread;
        smarm::JoinHandle dropper;
        if (foreign) {
          smarm_runtime_hold(smarm_runtime_current());  // what the thread will do counts
          thread = std::thread(std::move(drop_all));
        } else {
          dropper = smarm::spawn(std::move(drop_all));
        }
        bool closed = true;
        for (auto& rx : receivers) {
          // Close on the sender's heels: either it looks without a pause, or it waits.
          auto m = waits ? rx.recv() : rx.try_recv();
          for (int spins = 1; !m && m.error() == smarm::RecvError::empty; ++spins) {
            if (spins % 256 == 0) smarm::yield_now();
            m = rx.try_recv();
          }
          closed = closed && !m && m.error() == smarm::RecvError::closed;
          rx.close();
        }
        CHECK(closed);
        if (foreign) {
          smarm::block_on_io([&thread] { thread.join(); });
          smarm_runtime_release(smarm_runtime_current());
        } else {
          CHECK(dropper.join());
        }
      }
    });
  }
}
