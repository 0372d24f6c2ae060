#include "peer.hpp"

#include <cstdlib>

namespace peer {
namespace {

// The smallest that there is holds one message.
using Numbers = fibers::buffered_channel<long>;

// Both fibers of a pingpong: receive, answer.
void player(Numbers& in, Numbers& out, int times, long& last) {
  for (int i = 0; i < times; ++i) {
    last = in.value_pop();
    out.push(last + 1);
  }
}

std::vector<double> pingpong() {
  constexpr int n = 300'000;
  long last = 0, last_but_one = 0;
  const double ns = per_op(2.0 * n, [&] {
    Numbers to_a(2), to_b(2);
    to_a.push(0);
    auto a = spawn([&] { player(to_a, to_b, n, last_but_one); });
    auto b = spawn([&] { player(to_b, to_a, n, last); });
    b.join();
    a.join();
  });
  if (last != 2 * n - 1 || last_but_one != 2 * n - 2) std::abort();
  return {ns};
}

std::vector<double> ring() {
  constexpr int actors = 1'000, rounds = 1'000;
  std::vector<std::unique_ptr<Numbers>> to;
  for (int i = 0; i < actors; ++i) to.push_back(std::make_unique<Numbers>(2));
  std::vector<fibers::fiber> all;
  for (int i = 0; i < actors; ++i) {
    all.push_back(spawn([&in = *to[i], &out = *to[(i + 1) % actors]] {
      for (int r = 0; r < rounds; ++r) out.push(in.value_pop() + 1);
    }));
  }
  boost::this_fiber::yield();
  return {per_op(double{actors} * rounds, [&] {
    to[0]->push(0);
    for (auto& actor : all) actor.join();
  })};
}

std::vector<double> fan_in() {
  constexpr int producers = 4, each = 200'000;
  return {per_op(double{producers} * each, [] {
    Numbers in(1024);
    std::vector<fibers::fiber> all;
    for (int p = 0; p < producers; ++p) {
      all.push_back(spawn([&in] {
        for (int i = 0; i < each; ++i) in.push(i);
      }));
    }
    long sum = 0;
    for (int i = 0; i < producers * each; ++i) sum += in.value_pop();
    if (sum != long{producers} * each * (each - 1) / 2) std::abort();
    for (auto& actor : all) actor.join();
  })};
}

std::vector<double> mutex() {
  constexpr int actors = 8, each = 200'000;
  fibers::mutex lock;
  long count = 0;
  const double ns = per_op(double{actors} * each, [&] {
    std::vector<fibers::fiber> all;
    for (int a = 0; a < actors; ++a) {
      all.push_back(spawn([&] {
        for (int i = 0; i < each; ++i) {
          lock.lock();
          ++count;
          lock.unlock();
        }
      }));
    }
    for (auto& actor : all) actor.join();
  });
  if (count != long{actors} * each) std::abort();
  return {ns};
}

}  // namespace

std::vector<Benchmark> channel_benchmarks() {
  return {{"pingpong", {{"", "ns"}}, pingpong},
          {"ring", {{"", "ns"}}, ring},
          {"fan_in", {{"", "ns"}}, fan_in},
          {"mutex", {{"", "ns"}}, mutex}};
}

}  // namespace peer
