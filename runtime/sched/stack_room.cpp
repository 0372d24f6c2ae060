#include "runtime/sched/stack_room.hpp"

namespace smarm {

namespace {
void (*raise_overflow)() = nullptr;
}

void out_of_stack() {
  if (raise_overflow) raise_overflow();
}

void set_out_of_stack(void (*raise)()) { raise_overflow = raise; }

}  // namespace smarm
