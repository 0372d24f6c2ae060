// A flow of control at the instruction where it failed, as the unwinder is shown it.
//
// The frame lies on a stack below what it describes. smarm_fault_trampoline runs with rsp at the
// frame; its unwind information says that its caller's registers are those in the frame. So what
// is written into the frame decides where an unwinding goes on.
#pragma once

#include <cstddef>
#include <cstdint>

namespace smarm {

enum class FaultCause : std::uint32_t {
  overflow,  // of the stack
  signal,    // SIGSEGV, SIGBUS, SIGFPE, SIGILL
  call,      // the same at the first instruction of a call: the frame is the caller's
  abort,     // abort(), whose return address is `address`
  told,      // a failed assertion, exit(): `address` is the text that says it
};

struct FaultFrame {
  enum Register { rbx = 3, rbp = 6, rsp = 7, r12 = 12, r13, r14, r15 };  // as DWARF numbers them

  std::uint64_t registers[16];
  std::uint64_t ip;  // of the instruction that failed: not a return address
  FaultCause cause;
  std::int32_t signal;
  std::uint64_t address;  // that was accessed
  std::uint64_t abandon;  // not 0: the stack has no room to be unwound; the frame is on another
};
static_assert(offsetof(FaultFrame, ip) == 128 && offsetof(FaultFrame, cause) == 136 &&
              offsetof(FaultFrame, address) == 144 && sizeof(FaultFrame) == 160);

}  // namespace smarm

extern "C" {
// rsp and rdi are the frame. Goes on in smarm_raise_fault.
void smarm_fault_trampoline();
void smarm_diverted_return();
// A fault of the caller: makes a frame below `sp` (nullptr: on the caller's stack) and raises it.
[[noreturn]] void smarm_fault_here(smarm::FaultCause cause, int signal, const void* address,
                                   void* sp);
}
