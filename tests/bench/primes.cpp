#include "tests/bench/primes.hpp"

namespace bench {

int count_primes(int from, int to) {
  int count = 0;
  for (int n = from < 2 ? 2 : from; n < to; ++n) {
    bool prime = true;
    for (int d = 2; d * d <= n; ++d) {
      if (n % d == 0) {
        prime = false;
        break;
      }
    }
    count += prime;
  }
  return count;
}

}  // namespace bench
