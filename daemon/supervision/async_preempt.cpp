#include "daemon/supervision/async_preempt.hpp"

#include "daemon/log/events.hpp"

#include <cstdint>
#include <string>

namespace smarmd {

void set_async_preempt(smarm_runtime* runtime, const RuntimeConfig& config, Logger& logger) {
  const std::uint64_t quantum_ns = std::uint64_t{config.async_preempt_ms} * 1'000'000;
  if (smarm_runtime_tune_async_preempt(runtime, quantum_ns) == SMARM_OK) return;
  const std::string reason = smarm_last_error();
  logger.log(Level::warn, events::kAsyncPreemptOff,
             "/runtime/async_preempt_ms: " + reason + "; smarmd goes on without it",
             {{"reason", reason}});
}

}  // namespace smarmd
