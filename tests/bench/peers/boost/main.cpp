// boost BENCH WORKERS RUNS prints one JSON line for each figure of the benchmark. Exit code 3:
// there is no such benchmark here. One worker is round_robin, more are work_stealing; the work
// itself runs in a fiber that may move.

#include "peer.hpp"

#include <algorithm>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <thread>

namespace peer {
namespace {

// Each measurement's values, the warm-up left out.
std::vector<std::vector<double>> measure(const Benchmark& b, int runs) {
  std::vector<std::vector<double>> all;
  spawn([&] {
    b.run();  // warm-up
    for (int i = 0; i < runs; ++i) all.push_back(b.run());
  }).join();
  return all;
}

// Idle threads sleep: left to spin they take the CPU from whom they wait for.
std::vector<std::vector<double>> measure_stealing(const Benchmark& b, int runs, unsigned workers) {
  std::mutex mutex;
  fibers::condition_variable_any ended;
  bool end = false;
  auto worker = [&] {
    fibers::use_scheduling_algorithm<fibers::algo::work_stealing>(workers, true);
    std::unique_lock lock(mutex);
    ended.wait(lock, [&] { return end; });  // this fiber waits, the thread steals
  };
  std::vector<std::thread> others;
  for (unsigned w = 1; w < workers; ++w) others.emplace_back(worker);
  fibers::use_scheduling_algorithm<fibers::algo::work_stealing>(workers, true);
  auto values = measure(b, runs);
  {
    std::unique_lock lock(mutex);
    end = true;
  }
  ended.notify_all();
  for (auto& thread : others) thread.join();
  return values;
}

void print(const Benchmark& b, unsigned workers, const std::vector<std::vector<double>>& runs) {
  for (std::size_t f = 0; f < b.figures.size(); ++f) {
    std::vector<double> all;
    for (const auto& run : runs) all.push_back(run[f]);
    std::sort(all.begin(), all.end());
    std::printf(
        "{\"bench\":\"%s%s\",\"workers\":%u,\"value\":%.3f,\"unit\":\"%s\",\"min\":%.3f,"
        "\"max\":%.3f}\n",
        b.name.c_str(), b.figures[f].suffix, workers, all[all.size() / 2], b.figures[f].unit,
        all.front(), all.back());
  }
}

}  // namespace
}  // namespace peer

int main(int argc, char** argv) {
  using namespace peer;
  if (argc != 4) {
    std::fprintf(stderr, "usage: boost BENCH WORKERS RUNS\n");
    return 2;
  }
  const auto workers = static_cast<unsigned>(std::atoi(argv[2]));
  const int runs = std::atoi(argv[3]);
  std::vector<Benchmark> all = actor_benchmarks();
  for (Benchmark& b : channel_benchmarks()) all.push_back(std::move(b));
  for (const Benchmark& b : all) {
    if (b.name != argv[1]) continue;
    one_worker = workers <= 1;
    print(b, workers, one_worker ? measure(b, runs) : measure_stealing(b, runs, workers));
    return 0;
  }
  return 3;
}
