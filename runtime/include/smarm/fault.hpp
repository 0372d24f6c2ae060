// Fault: what the runtime throws in place of an instruction that failed. It unwinds the actor that
// made it, as any exception does; what lets it go ends in a Panic that says where it happened.
#pragma once

#include <cstddef>
#include <exception>
#include <string_view>

namespace smarm {

// A SIGSEGV, SIGBUS, SIGFPE or SIGILL in an actor, or its abort() or exit(). Config::on_fault says
// which of them end the actor, and which the process.
class Fault : public std::exception {
 public:
  Fault(const char* text, int signal, const void* address, const void* pc) noexcept
      : signal_(signal), address_(address), pc_(pc) {
    std::string_view(text).copy(text_, sizeof text_ - 1);
  }
  const char* what() const noexcept override { return text_; }
  int signal() const noexcept { return signal_; }            // 0: an exit()
  const void* address() const noexcept { return address_; }  // that was accessed
  const void* pc() const noexcept { return pc_; }            // of the instruction that failed

 private:
  int signal_;
  const void* address_;
  const void* pc_;
  char text_[256] = {};
};

// The actor met the end of its stack. SpawnOptions::stack_size and Config::stack_size give more.
class StackOverflow : public Fault {
 public:
  using Fault::Fault;
};

}  // namespace smarm
