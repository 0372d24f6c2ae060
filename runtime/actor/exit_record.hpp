// Why an actor ended. Made only when it failed; shared by its joiner and its supervisor.
#pragma once

#include <smarm/smarm.h>

#include <atomic>
#include <cstddef>
#include <exception>
#include <string>

struct smarm_exit {
  static constexpr std::size_t kFrames = 48;

  std::atomic<std::uint32_t> references{1};
  int kind = SMARM_EXIT_NORMAL;  // enum smarm_exit_kind
  smarm_pid pid{};
  std::exception_ptr exception{};
  std::string type{};
  std::string message{};
  std::size_t frame_count = 0;
  void* frames[kFrames] = {};
};

namespace smarm {

// From inside a catch block: the exception being handled. nullptr when there is no memory for a
// record.
smarm_exit* make_panic_record(smarm_pid pid) noexcept;
smarm_exit* make_killed_record(smarm_pid pid, const char* reason) noexcept;
smarm_exit* make_failed_record(
    smarm_pid pid, const char* reason) noexcept;  // a panic without an exception of user code

}  // namespace smarm
