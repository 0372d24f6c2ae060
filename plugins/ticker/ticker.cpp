// ticker: the smallest useful plugin. It logs a line a second, or every `interval_ms`.
#include <smarm/plugin.hpp>

#include <chrono>
#include <cstdio>
#include <stdexcept>
#include <string>

// One key, so sscanf is parser enough: the whole text must match. Longer waits would keep a stop
// waiting, since sleep does not look at ctx.stopping(); the primes plugin shows a wait that does.
static std::chrono::milliseconds interval(const smarm::plugin::Context& ctx) {
  const std::string text(ctx.config());
  long ms = 1000;
  int end = -1;
  std::sscanf(text.c_str(), " { \"interval_ms\" : %6ld } %n", &ms, &end);
  if (end < 0) std::sscanf(text.c_str(), " { } %n", &end);
  if (end == static_cast<int>(text.size()) && ms >= 1 && ms <= 5000) {
    return std::chrono::milliseconds(ms);
  }
  const std::string error =
      "config: /interval_ms must be an integer from 1 to 5000 and the only key, not " + text;
  ctx.log(smarm::LogLevel::error, error);
  throw std::runtime_error(error);
}

static void ticker(smarm::plugin::Context& ctx) {
  const auto pause = interval(ctx);
  while (!ctx.stopping()) {
    ctx.log(smarm::LogLevel::info, "tick");
    smarm::sleep(pause);
  }
}

SMARM_PLUGIN(
    {.name = "ticker", .version = "1.0.0", .description = "logs a line a second", .main = ticker});
