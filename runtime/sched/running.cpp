#include "runtime/sched/running.hpp"

namespace smarm {

constinit std::array<std::atomic<RuntimeCore*>, kRuntimesListed> running_runtimes{};
constinit std::atomic<bool> process_reports{false};

bool any_runtime_runs() {
  for (const auto& place : running_runtimes) {
    if (place.load(std::memory_order_acquire)) return true;
  }
  return false;
}

RunningRuntime::RunningRuntime(RuntimeCore& runtime) {
  for (auto& place : running_runtimes) {
    RuntimeCore* nobody = nullptr;
    if (!place.compare_exchange_strong(nobody, &runtime, std::memory_order_release,
                                       std::memory_order_relaxed))
      continue;
    place_ = &place;
    return;
  }
}

RunningRuntime::~RunningRuntime() {
  if (place_) place_->store(nullptr, std::memory_order_release);
}

}  // namespace smarm
