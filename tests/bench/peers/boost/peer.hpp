// The Boost.Fiber side of ./dev bench --peers.
#pragma once

#include <boost/fiber/all.hpp>

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace peer {

namespace fibers = boost::fibers;

struct Figure {
  const char* suffix;
  const char* unit;
};

struct Benchmark {
  std::string name;
  std::vector<Figure> figures;
  std::function<std::vector<double>()> run;
};

std::vector<Benchmark> actor_benchmarks();
std::vector<Benchmark> channel_benchmarks();

// Nanoseconds of each of the `ops` operations that one call of f does.
template <class F>
double per_op(double ops, F&& f) {
  const auto begin = std::chrono::steady_clock::now();
  f();
  const std::chrono::duration<double, std::nano> took = std::chrono::steady_clock::now() - begin;
  return took.count() / ops;
}

// Stacks without guard pages. The pool of one thread is not safe for two.
inline constexpr std::size_t kStackSize = 16 * 1024;
inline bool one_worker = true;
inline fibers::pooled_fixedsize_stack& pool() {
  static fibers::pooled_fixedsize_stack stacks(kStackSize);
  return stacks;
}

template <class F>
fibers::fiber spawn(fibers::launch launch, F&& f) {
  if (one_worker) return fibers::fiber(launch, std::allocator_arg, pool(), std::forward<F>(f));
  return fibers::fiber(launch, std::allocator_arg, fibers::fixedsize_stack(kStackSize),
                       std::forward<F>(f));
}
template <class F>
fibers::fiber spawn(F&& f) {
  return spawn(fibers::launch::post, std::forward<F>(f));
}

}  // namespace peer
