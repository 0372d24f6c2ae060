// Channels and mutexes.

#include "tests/bench/harness.hpp"

#include <smarm/smarm.hpp>

#include <cstdlib>
#include <vector>

namespace {

using bench::in_runtime;
using bench::Register;
using bench::time_ns;

double pingpong(unsigned workers) {
  constexpr int n = 300'000;
  return in_runtime(workers, [] {
    return time_ns([] {
             auto [to_a, in_a] = smarm::channel<long>();
             auto [to_b, in_b] = smarm::channel<long>();
             auto a = smarm::spawn([in = std::move(in_a), out = std::move(to_b)]() mutable {
               while (auto v = in.recv()) (void)out.send(*v);
             });
             auto b = smarm::spawn([in = std::move(in_b), out = std::move(to_a)]() mutable {
               for (int i = 0; i < n; ++i) {
                 (void)out.send(i);
                 if (in.recv().value() != i) std::abort();
               }
             });
             smarm::join_all(b, a);
           }) /
           (2.0 * n);
  });
}
const Register pingpongs({.name = "pingpong",
                          .baseline = "thread_pingpong",
                          .run = pingpong,
                          .what = "a message to and fro between two actors, one way"});

double ring(unsigned workers) {
  constexpr int actors = 1'000, rounds = 300;
  return in_runtime(workers, [] {
    std::vector<smarm::Sender<int>> to;
    std::vector<smarm::Receiver<int>> from;
    for (int i = 0; i < actors; ++i) {
      auto [tx, rx] = smarm::channel<int>();
      to.push_back(std::move(tx));
      from.push_back(std::move(rx));
    }
    std::vector<smarm::JoinHandle> all;
    for (int i = 0; i < actors; ++i) {
      all.push_back(smarm::spawn([in = std::move(from[i]), out = to[(i + 1) % actors]]() mutable {
        for (int r = 0; r < rounds; ++r) (void)out.send(in.recv().value() + 1);
      }));
    }
    smarm::yield_now();
    return time_ns([&] {
             (void)to[0].send(0);
             smarm::join_all(all);
           }) /
           (double{actors} * rounds);
  });
}
const Register rings({.name = "ring",
                      .baseline = "thread_pingpong",
                      .run = ring,
                      .what = "1000 actors pass a token on, one hop"});

double fan_in(unsigned workers) {
  constexpr int producers = 4, each = 200'000;
  return in_runtime(workers, [] {
    return time_ns([] {
             auto [tx, rx] = smarm::channel<int>();
             for (int p = 0; p < producers; ++p) {
               (void)smarm::spawn([tx = tx] {
                 for (int i = 0; i < each; ++i) (void)tx.send(i);
               });
             }
             long sum = 0;
             for (int i = 0; i < producers * each; ++i) sum += rx.recv().value();
             if (sum != long{producers} * each * (each - 1) / 2) std::abort();
           }) /
           (double{producers} * each);
  });
}
const Register fan_ins({.name = "fan_in",
                        .baseline = "syscall",
                        .run = fan_in,
                        .what = "4 producers to one consumer, one message"});

double mutex(unsigned workers) {
  constexpr int actors = 8, each = 200'000;
  return in_runtime(workers, [] {
    smarm::Mutex<long> count(0);
    const double ns = time_ns([&] {
      std::vector<smarm::JoinHandle> all;
      for (int a = 0; a < actors; ++a) {
        all.push_back(smarm::spawn([&count] {
          for (int i = 0; i < each; ++i) ++**count.lock();
        }));
      }
      smarm::join_all(all);
    });
    if (**count.lock() != long{actors} * each) std::abort();
    return ns / (double{actors} * each);
  });
}
const Register mutexes({.name = "mutex",
                        .baseline = "thread_mutex",
                        .run = mutex,
                        .what = "one Mutex, 8 actors, one lock and unlock"});

}  // namespace
