// The runtimes that run at the moment, for those who may take no lock: signal handlers, and the
// child of a fork.
#pragma once

#include <array>
#include <atomic>

namespace smarm {

class RuntimeCore;

// More than so many at once are not listed.
inline constexpr std::size_t kRuntimesListed = 16;
// release / acquire: who finds one finds its workers.
extern constinit std::array<std::atomic<RuntimeCore*>, kRuntimesListed> running_runtimes;

bool any_runtime_runs();

// The report at the end of the process is being written: workers that wait for it are not taken for
// blocked ones. relaxed: a hint, which lasts.
extern constinit std::atomic<bool> process_reports;

// Lists one from construction to destruction.
class RunningRuntime {
 public:
  explicit RunningRuntime(RuntimeCore& runtime);
  ~RunningRuntime();
  RunningRuntime(const RunningRuntime&) = delete;
  RunningRuntime& operator=(const RunningRuntime&) = delete;

 private:
  std::atomic<RuntimeCore*>* place_ = nullptr;
};

}  // namespace smarm
