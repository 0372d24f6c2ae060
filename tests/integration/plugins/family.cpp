// Leaves actors behind: with `{"children": "leave"}` in its config main panics while its three
// children wait; without it main waits, too.
#include <smarm/plugin.hpp>

#include <chrono>
#include <stdexcept>
#include <string>

namespace {
void run(smarm::plugin::Context& ctx) {
  const bool panics = ctx.config().find("children") != std::string_view::npos;
  for (int i = 0; i < 3; ++i) {
    (void)smarm::spawn({.name = "family-child"}, [] { smarm::sleep(std::chrono::hours(1)); });
  }
  ctx.log(smarm::LogLevel::info, "family has three children");
  if (panics) throw std::runtime_error("left three children");
  (void)ctx.stop_signal().recv();
}
}  // namespace

SMARM_PLUGIN(
    {.name = "family", .version = "1.0.0", .description = "leaves actors behind", .main = run});
