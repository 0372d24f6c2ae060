// generators: sequences written as plain loops that yield, logged every few seconds.
//
// range is finite, fibonacci is kept between rounds and goes on where it was left, and sums draws
// each of its values from a generator of its own.
#include <smarm/plugin.hpp>

#include <nlohmann/json.hpp>

#include <chrono>
#include <cstdint>
#include <limits>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace {

using smarm::LogLevel;
using smarm::plugin::Context;
using Number = std::uint64_t;
using Numbers = smarm::Generator<Number>;

Numbers range(Number from, Number to, Number step = 1) {
  return Numbers([=](auto& yield) {
    for (Number n = from; n < to; n += step) yield(n);
  });
}

// Ends before the numbers leave 64 bits.
Numbers fibonacci() {
  return Numbers([](auto& yield) {
    Number a = 0, b = 1;
    yield(a);
    while (a <= std::numeric_limits<Number>::max() - b) {
      yield(b);
      a = std::exchange(b, a + b);
    }
    yield(b);
  });
}

// 1, 1+2, 1+2+3, ...: a generator that consumes another one for each of its values.
Numbers sums() {
  return Numbers([](auto& yield) {
    for (Number n = 1;; ++n) {
      Number sum = 0;
      for (Number term : range(1, n + 1)) sum += term;
      yield(sum);
    }
  });
}

// Takes at most `count` values; the generator keeps its place.
std::string take(Numbers& numbers, Number count) {
  std::string text;
  for (Number i = 0; i < count; ++i) {
    const auto n = numbers.next();
    if (!n) break;
    text += (text.empty() ? "" : " ") + std::to_string(*n);
  }
  return text;
}

struct Settings {
  Number count = 10;
  Number every_s = 60;
};

void read_integer(const nlohmann::json& config, const std::string& key, Number high, Number& out) {
  const auto it = config.find(key);
  if (it == config.end()) return;
  if (!it->is_number_unsigned() || it->get<Number>() < 1 || it->get<Number>() > high)
    throw std::runtime_error("config: /" + key + " must be an integer from 1 to " +
                             std::to_string(high) + ", not " + it->dump());
  out = it->get<Number>();
}

Settings read_settings(std::string_view text) {
  const nlohmann::json config = nlohmann::json::parse(text);
  for (const auto& [key, value] : config.items()) {
    if (key != "count" && key != "every_s")
      throw std::runtime_error("config: /" + key + " is not a key of generators (count, every_s)");
  }
  Settings s;
  read_integer(config, "count", 90, s.count);
  read_integer(config, "every_s", 86'400, s.every_s);
  return s;
}

void generators(Context& ctx) {
  Settings settings;
  try {
    settings = read_settings(ctx.config());
  } catch (const std::exception& e) {
    ctx.log(LogLevel::error, e.what());
    throw;
  }
  auto stop = ctx.stop_signal();
  Numbers fib = fibonacci();
  while (!ctx.stopping()) {
    Numbers threes = range(0, 3 * settings.count, 3);
    ctx.log(LogLevel::info, "range: " + take(threes, settings.count));
    std::string next = take(fib, settings.count);
    if (next.empty()) {  // every number that fits was shown: from the start
      fib = fibonacci();
      next = take(fib, settings.count);
    }
    ctx.log(LogLevel::info, "fibonacci: " + next);
    Numbers triangular = sums();  // never ends; dropped half-way, it unwinds
    ctx.log(LogLevel::info, "sums: " + take(triangular, settings.count));
    const auto woken = stop.recv_timeout(std::chrono::seconds(settings.every_s));
    if (woken || woken.error() == smarm::RecvError::closed) break;
  }
}

}  // namespace

SMARM_PLUGIN({.name = "generators",
              .version = "1.0.0",
              .description = "range, fibonacci, nested sums",
              .main = generators});
