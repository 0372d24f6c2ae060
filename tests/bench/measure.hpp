// Takes the measurements of one benchmark at one worker count, here and in the peers.
#pragma once

#include "tests/bench/harness.hpp"
#include "tests/bench/options.hpp"
#include "tests/bench/programs.hpp"

#include <string>
#include <utility>
#include <vector>

namespace bench {

// One benchmark at one worker count, by one program.
struct Measured {
  Output::End end = Output::End::ok;
  std::string reason{};
  std::vector<Result> figures{};  // as many as the benchmark has, or none
};

Measured measure(const Benchmark& b, unsigned workers, int runs);
Measured measure_peer(const Benchmark& b, unsigned workers, int runs, const Peer& peer);

// One measurement in this process, without a warm-up.
Measured measure_once(const Benchmark& b, unsigned workers);

}  // namespace bench
