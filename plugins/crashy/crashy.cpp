// crashy: panics every few seconds, each time in another way, so that supervision can be watched.
//
// Its neighbours never notice. The daemon restarts it with a growing delay, and quarantines it when
// it has used up max_restarts within window_s.
#include <smarm/plugin.hpp>

#include <nlohmann/json.hpp>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <exception>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace {

using smarm::LogLevel;
using smarm::plugin::Context;

// Belongs to the image, not to the actor: a restart goes on with the next kind of panic.
std::atomic<unsigned> round_number{0};

std::int64_t read_every_s(std::string_view text) {
  const nlohmann::json config = nlohmann::json::parse(text);
  std::int64_t every_s = 5;
  for (const auto& [key, value] : config.items()) {
    if (key != "every_s")
      throw std::runtime_error("config: /" + key + " is not a key of crashy (every_s)");
    if (!value.is_number_integer() || value.get<std::int64_t>() < 0 ||
        value.get<std::int64_t>() > 86'400)
      throw std::runtime_error("config: /every_s must be an integer from 0 to 86400, not " +
                               value.dump());
    every_s = value.get<std::int64_t>();
  }
  return every_s;
}

// A panic of an actor below: nobody else falls, and the one who joins gets its exception.
void panic_in_a_child() {
  auto child = smarm::spawn({.name = "crashy-child"}, [] {
    const std::vector<int> empty;
    static_cast<void>(empty.at(7));
  });
  const auto ended = child.join();
  if (ended) return;
  if (const std::exception_ptr cause = ended.error().exception()) std::rethrow_exception(cause);
  throw ended.error();  // it was killed: no exception of its own
}

void panic(const Context& ctx, unsigned round) {
  switch (round % 3) {
    case 0:
      ctx.log(LogLevel::warn, "about to throw a std::runtime_error");
      throw std::runtime_error("crashy was made to crash");
    case 1: ctx.log(LogLevel::warn, "about to throw an int"); throw 42;
    default: ctx.log(LogLevel::warn, "about to have a child that panics"); panic_in_a_child();
  }
}

void crashy(Context& ctx) {
  std::int64_t every_s = 0;
  try {
    every_s = read_every_s(ctx.config());
  } catch (const std::exception& e) {
    ctx.log(LogLevel::error, e.what());
    throw;
  }
  auto stop = ctx.stop_signal();
  const auto woken = stop.recv_timeout(std::chrono::seconds(every_s));
  if (woken || woken.error() == smarm::RecvError::closed) return;
  panic(ctx, round_number.fetch_add(1, std::memory_order_relaxed));
}

}  // namespace

SMARM_PLUGIN({.name = "crashy",
              .version = "1.0.0",
              .description = "panics every few seconds",
              .main = crashy});
