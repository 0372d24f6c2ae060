// Actors that block their threads at random beside actors that do everything else: extra workers
// come and go all the time, a lone worker is shared and alone again.
#include "tests/runner/cases.hpp"
#include "tests/stress/stress.hpp"

#include <poll.h>

using namespace stress;

namespace {

// Blocks the thread for up to so long: shorter and longer than what the monitor waits for.
void block_thread(Random& random) { ::poll(nullptr, 0, random.below(30)); }

}  // namespace

TEST_SUITE("stress blocked") {
  BLOCKED_CASE("blocking storm on the threads: messages, timers and spawns lose nothing") {
    storm([](Random& random) {
      const int messages = scaled(3000, 200);
      auto [tx, rx] = smarm::channel<int>();
      std::vector<smarm::JoinHandle> actors;
      for (int b = 0; b < 3; ++b)
        actors.push_back(smarm::spawn([stream = random.next()] {
          Random own(stream);
          for (int i = 0; i < 12; ++i) {
            block_thread(own);
            jitter(own);
          }
        }));
      for (int s = 0; s < 4; ++s)
        actors.push_back(smarm::spawn([tx, messages, stream = random.next()]() mutable {
          Random own(stream);
          for (int i = 0; i < messages; ++i) {
            (void)tx.send(1);
            if (own.one_in(50)) jitter(own);
            if (own.one_in(400)) smarm::sleep(own.micros(3000));
          }
        }));
      tx = {};
      actors.push_back(smarm::spawn([rx = std::move(rx), messages]() mutable {
        long sum = 0;
        for (;;) {
          auto v = rx.recv_timeout(std::chrono::milliseconds(5));
          if (v) {
            sum += *v;
          } else if (v.error() == smarm::RecvError::closed) {
            break;
          }
        }
        if (sum != 4L * messages) throw std::runtime_error("messages were lost");
      }));
      // One that is found, however slow the machine is.
      actors.push_back(smarm::spawn([before = smarm::stats().blocked_total] {
        while (smarm::stats().blocked_total == before) ::poll(nullptr, 0, 30);
      }));
      // A tree of spawns, some of whose leaves block.
      for (int t = 0; t < scaled(20, 4); ++t)
        actors.push_back(smarm::spawn([stream = random.next()] {
          Random own(stream);
          std::vector<smarm::JoinHandle> children;
          for (int c = 0; c < 20; ++c)
            children.push_back(smarm::spawn([leaf = own.next()] {
              Random mine(leaf);
              if (mine.one_in(20)) block_thread(mine);
              smarm::sleep(mine.micros(4000));
            }));
          check_all(children);
        }));
      check_all(actors);
    });
  }
}
