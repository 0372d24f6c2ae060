// The C++ runtime keeps two words per thread: the stack of caught exceptions and the count of
// uncaught ones. They belong to the flow of control, not to the thread: without swapping them two
// actors that park in catch blocks take each other's exceptions. (Itanium C++ ABI, 2.2.2.)
#pragma once

namespace smarm {

struct EhState {
  void* caught = nullptr;
  unsigned long uncaught = 0;  // an unsigned int and its padding
};

// The calling thread's. The address is good for the thread's life and for no other thread: never
// keep it across a switch.
EhState* thread_eh_state() noexcept;

}  // namespace smarm
