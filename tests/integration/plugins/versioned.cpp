// One name, several builds: what a plugin and its next versions look like to the daemon. VARIANT
// tells them apart.
#include <smarm/plugin.hpp>

#include <stdexcept>

#define TEXT_(x) #x
#define TEXT(x) TEXT_(x)

namespace {
void run(smarm::plugin::Context& ctx) {
  if constexpr (VARIANT == 3) throw std::runtime_error("a bad build");
  ctx.log(smarm::LogLevel::info, "versioned runs, variant " TEXT(VARIANT));
  (void)ctx.stop_signal().recv();
}
}  // namespace

SMARM_PLUGIN({.name = "versioned",
              .version = TEXT(VARIANT) ".0.0",
              .description = "a plugin and its next versions",
              .main = run});
