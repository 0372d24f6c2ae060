#include "runtime/base/heavy_barrier.hpp"

#include "runtime/base/assert.hpp"

#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace smarm {

namespace {
long membarrier(int command) { return ::syscall(SYS_membarrier, command, 0, 0); }
}  // namespace

bool have_heavy_barrier() {
  static const bool registered = membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) == 0;
  return registered;
}

void heavy_barrier() { SMARM_ASSERT(membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED) == 0); }

}  // namespace smarm
