// Channels, select and mutexes.

#include "tests/bench/harness.hpp"

#include <smarm/smarm.hpp>

#include <array>
#include <cstdlib>
#include <tuple>
#include <utility>
#include <vector>

namespace {

using bench::in_runtime;
using bench::per_op;
using bench::Register;
using bench::Values;

// Both actors of a pingpong: receive, answer.
void player(smarm::Receiver<long>& in, const smarm::Sender<long>& out, int times, long& last) {
  for (int i = 0; i < times; ++i) {
    last = in.recv().value();
    (void)out.send(last + 1);
  }
}

Values pingpong(unsigned workers) {
  constexpr int n = 300'000;
  return in_runtime(workers, [] {
    long last = 0, last_but_one = 0;
    const double ns = per_op(2.0 * n, [&] {
      auto [to_a, in_a] = smarm::channel<long>();
      auto [to_b, in_b] = smarm::channel<long>();
      (void)to_a.send(0);
      auto a = smarm::spawn([in = std::move(in_a), out = std::move(to_b), &last_but_one]() mutable {
        player(in, out, n, last_but_one);
      });
      auto b = smarm::spawn([in = std::move(in_b), out = std::move(to_a), &last]() mutable {
        player(in, out, n, last);
      });
      smarm::join_all(b, a);
    });
    if (last != 2 * n - 1 || last_but_one != 2 * n - 2) std::abort();
    return ns;
  });
}
const Register pingpongs({.name = "pingpong",
                          .baseline = "thread_pingpong",
                          .run = pingpong,
                          .what = "a message to and fro between two actors, one way",
                          .peers = true});

Values ring(unsigned workers) {
  constexpr int actors = 1'000, rounds = 1'000;
  return in_runtime(workers, [] {
    std::vector<smarm::Sender<int>> to;
    std::vector<smarm::Receiver<int>> from;
    for (int i = 0; i < actors; ++i) {
      auto [tx, rx] = smarm::channel<int>();
      to.push_back(std::move(tx));
      from.push_back(std::move(rx));
    }
    std::vector<smarm::JoinHandle> all;
    all.reserve(actors);
    for (int i = 0; i < actors; ++i) {
      all.push_back(smarm::spawn([in = std::move(from[i]), out = to[(i + 1) % actors]]() mutable {
        for (int r = 0; r < rounds; ++r) (void)out.send(in.recv().value() + 1);
      }));
    }
    smarm::yield_now();
    return per_op(double{actors} * rounds, [&] {
      (void)to[0].send(0);
      smarm::join_all(all);
    });
  });
}
const Register rings({.name = "ring",
                      .baseline = "thread_pingpong",
                      .run = ring,
                      .what = "1000 actors pass a token on, one hop",
                      .peers = true});

Values fan_in(unsigned workers) {
  constexpr int producers = 4, each = 200'000;
  return in_runtime(workers, [] {
    return per_op(double{producers} * each, [] {
      auto [tx, rx] = smarm::channel<int>();
      for (int p = 0; p < producers; ++p) {
        (void)smarm::spawn([tx = tx] {
          for (int i = 0; i < each; ++i) (void)tx.send(i);
        });
      }
      long sum = 0;
      for (int i = 0; i < producers * each; ++i) sum += rx.recv().value();
      if (sum != long{producers} * each * (each - 1) / 2) std::abort();
    });
  });
}
const Register fan_ins({.name = "fan_in",
                        .baseline = "syscall",
                        .run = fan_in,
                        .what = "4 producers to one consumer, one message",
                        .peers = true});

Values mutex(unsigned workers) {
  constexpr int actors = 8, each = 200'000;
  return in_runtime(workers, [] {
    smarm::Mutex<long> count(0);
    const double ns = per_op(double{actors} * each, [&] {
      std::vector<smarm::JoinHandle> all;
      all.reserve(actors);
      for (int a = 0; a < actors; ++a) {
        all.push_back(smarm::spawn([&count] {
          for (int i = 0; i < each; ++i) ++**count.lock();
        }));
      }
      smarm::join_all(all);
    });
    if (**count.lock() != long{actors} * each) std::abort();
    return ns;
  });
}
const Register mutexes({.name = "mutex",
                        .baseline = "thread_mutex",
                        .run = mutex,
                        .what = "one Mutex, 8 actors, one lock and unlock",
                        .peers = true});

// An actor sends into one of four channels in turn and waits for the answer of the one that selects
// over them.
Values select(unsigned workers) {
  constexpr int n = 200'000, channels = 4;
  return in_runtime(workers, [] {
    return per_op(n, [] {
      std::array<smarm::Sender<long>, channels> to;
      std::array<smarm::Receiver<long>, channels> in;
      for (int c = 0; c < channels; ++c) std::tie(to[c], in[c]) = smarm::channel<long>();
      auto [answer, answers] = smarm::channel<long>();
      auto selector = smarm::spawn([in = std::move(in), answer = std::move(answer)]() mutable {
        for (int i = 0; i < n; ++i) {
          const std::size_t ready = smarm::select(in[0], in[1], in[2], in[3]);
          (void)answer.send(in[ready].try_recv().value());
        }
      });
      auto asker = smarm::spawn([to = std::move(to), answers = std::move(answers)]() mutable {
        for (int i = 0; i < n; ++i) {
          (void)to[i % channels].send(i);
          if (answers.recv().value() != i) std::abort();
        }
      });
      smarm::join_all(asker, selector);
    });
  });
}
const Register selects({.name = "select",
                        .baseline = "thread_pingpong",
                        .run = select,
                        .what = "one select over 4 channels and one answer",
                        .peers = true});

}  // namespace
