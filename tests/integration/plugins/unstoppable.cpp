// Neither stops nor unwinds: a loop without a safe-point, in which no signal may stop it. It leaves
// the loop after two minutes, so that a test that fails does not leave a spinning process.
#include <smarm/plugin.hpp>

#include <chrono>

namespace {
void run(smarm::plugin::Context& ctx) {
  ctx.log(smarm::LogLevel::info, "unstoppable runs");
  const smarm::NoPreempt whole;
  const auto end = std::chrono::steady_clock::now() + std::chrono::minutes(2);
  while (std::chrono::steady_clock::now() < end) {
  }
}
}  // namespace

SMARM_PLUGIN({.name = "unstoppable",
              .version = "1.0.0",
              .description = "a loop without a safe-point",
              .main = run});
