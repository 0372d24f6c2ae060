// The work of the primes benchmark: identical code, called serially and by actors.
#pragma once

namespace bench {

inline constexpr int kPrimesLimit = 2'000'000, kPrimesChunks = 64;

// How many primes lie in [from, to), by trial division.
int count_primes(int from, int to);

}  // namespace bench
