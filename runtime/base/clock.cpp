#include "runtime/base/clock.hpp"

namespace smarm {

SystemClock& SystemClock::instance() {
  static SystemClock clock;
  return clock;
}

}  // namespace smarm
