// primes: counts the primes below a limit, over and over. Shows fan-out and fan-in.
//
// [2, limit) is cut into chunks. Every worker actor has a channel of chunks; all of them share one
// channel of results. A worker gets its next chunk when it answers, so a slow one gets fewer.
#include <smarm/plugin.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace {

using smarm::LogLevel;
using smarm::plugin::Context;
using Number = std::int64_t;

struct Settings {
  Number limit = 1'000'000;
  Number chunk = 50'000;
  Number workers = 4;
  Number every_s = 60;
};

void read_integer(const nlohmann::json& config, const std::string& key, Number low, Number high,
                  Number& out) {
  const auto it = config.find(key);
  if (it == config.end()) return;
  if (!it->is_number_integer() || it->get<Number>() < low || it->get<Number>() > high)
    throw std::runtime_error("config: /" + key + " must be an integer from " + std::to_string(low) +
                             " to " + std::to_string(high) + ", not " + it->dump());
  out = it->get<Number>();
}

Settings read_settings(std::string_view text) {
  const nlohmann::json config = nlohmann::json::parse(text);
  for (const auto& [key, value] : config.items()) {
    if (key != "limit" && key != "chunk" && key != "workers" && key != "every_s")
      throw std::runtime_error("config: /" + key +
                               " is not a key of primes (limit, chunk, workers, every_s)");
  }
  Settings s;
  read_integer(config, "limit", 3, 10'000'000'000, s.limit);
  read_integer(config, "chunk", 1000, 1'000'000, s.chunk);
  read_integer(config, "workers", 1, 256, s.workers);
  read_integer(config, "every_s", 1, 86'400, s.every_s);
  return s;
}

struct Chunk {
  Number low, high;  // [low, high)
};
struct Result {
  std::size_t worker;
  Number primes;
};
using BasePrimes = std::shared_ptr<const std::vector<Number>>;

bool divisible(Number n, const std::vector<Number>& primes) {
  for (Number p : primes) {
    if (p * p > n) return false;
    if (n % p == 0) return true;
  }
  return false;
}

// Every prime up to the square root of the limit: enough to sieve any chunk below it.
BasePrimes base_primes(Number limit) {
  std::vector<Number> primes;
  for (Number n = 2; n * n < limit; ++n) {
    if (!divisible(n, primes)) primes.push_back(n);
  }
  return std::make_shared<const std::vector<Number>>(std::move(primes));
}

// The sieve of Eratosthenes on one chunk. The inner loops never allocate, so check() is their
// safe-point.
Number count_primes(Chunk chunk, const std::vector<Number>& base) {
  std::vector<char> composite(static_cast<std::size_t>(chunk.high - chunk.low), 0);
  for (Number p : base) {
    if (p * p >= chunk.high) break;
    for (Number n = std::max(p * p, (chunk.low + p - 1) / p * p); n < chunk.high; n += p)
      composite[static_cast<std::size_t>(n - chunk.low)] = 1;
    smarm::check();
  }
  return std::count(composite.begin(), composite.end(), 0);
}

void work(std::size_t id, smarm::Receiver<Chunk> chunks, smarm::Sender<Result> results,
          BasePrimes base) {
  while (auto chunk = chunks.recv()) {
    if (!results.send({id, count_primes(*chunk, *base)})) return;
  }
}

class Crew {
 public:
  explicit Crew(const Settings& settings) : settings_(settings) {
    auto [results, inbox] = smarm::channel<Result>();
    inbox_ = std::move(inbox);
    const BasePrimes base = base_primes(settings.limit);
    for (std::size_t id = 0; id < static_cast<std::size_t>(settings.workers); ++id) {
      auto [chunks, rx] = smarm::channel<Chunk>();
      chunks_.push_back(std::move(chunks));
      actors_.push_back(smarm::spawn({.name = "primes-worker"},
                                     [id, rx = std::move(rx), results = results, base]() mutable {
                                       work(id, std::move(rx), std::move(results), std::move(base));
                                     }));
    }
    // Our own `results` ends here: when every worker is gone, recv says so instead of waiting for
    // ever.
  }

  // The number of primes below the limit; nullopt when the plugin is stopping.
  std::optional<Number> count(const Context& ctx) {
    Number next = 2, sum = 0, open = 0;
    const auto hand_out = [&](std::size_t worker) {
      if (next >= settings_.limit) return;
      const Number high = std::min(next + settings_.chunk, settings_.limit);
      if (!chunks_[worker].send({next, high}))
        throw std::runtime_error("a worker has ended too early");
      next = high;
      ++open;
    };
    for (std::size_t id = 0; id < chunks_.size(); ++id) hand_out(id);
    while (open > 0) {
      const auto result = inbox_.recv();
      if (!result) throw std::runtime_error("every worker has ended too early");
      --open;
      sum += result->primes;
      if (ctx.stopping()) return std::nullopt;
      hand_out(result->worker);
    }
    return sum;
  }

  void finish() {
    chunks_.clear();  // closes their channels: each worker ends after the chunk in hand
    for (auto& ended : smarm::join_all(actors_)) {
      if (!ended) throw std::runtime_error(std::string("a worker failed: ") + ended.error().what());
    }
  }

 private:
  const Settings& settings_;
  smarm::Receiver<Result> inbox_;
  std::vector<smarm::Sender<Chunk>> chunks_;
  std::vector<smarm::JoinHandle> actors_;
};

// The prime-counting function at the powers of ten, to check ourselves against.
std::optional<Number> expected_count(Number limit) {
  constexpr Number kCounts[] = {4,     25,     168,     1229,     9592,
                                78498, 664579, 5761455, 50847534, 455052511};
  Number power = 10;
  for (Number count : kCounts) {
    if (power == limit) return count;
    power *= 10;
  }
  return std::nullopt;
}

void report(const Context& ctx, const Settings& settings, Number count,
            std::chrono::steady_clock::duration took) {
  const auto expected = expected_count(settings.limit);
  const bool wrong = expected && *expected != count;
  std::string line = std::to_string(count) + " primes below " + std::to_string(settings.limit);
  if (expected)
    line += " (expected " + std::to_string(*expected) + (wrong ? ": WRONG)" : ": right)");
  line += ", " + std::to_string(settings.workers) + " workers, " +
          std::to_string(std::chrono::duration_cast<std::chrono::milliseconds>(took).count()) +
          " ms";
  ctx.log(wrong ? LogLevel::error : LogLevel::info, line);
}

void primes(Context& ctx) {
  Settings settings;
  try {
    settings = read_settings(ctx.config());
  } catch (const std::exception& e) {
    ctx.log(LogLevel::error, e.what());
    throw;
  }
  auto stop = ctx.stop_signal();
  Crew crew(settings);
  while (!ctx.stopping()) {
    const auto start = std::chrono::steady_clock::now();
    const auto count = crew.count(ctx);
    if (!count) break;
    report(ctx, settings, *count, std::chrono::steady_clock::now() - start);
    // Sleeps, but not through a stop.
    const auto woken = stop.recv_timeout(std::chrono::seconds(settings.every_s));
    if (woken || woken.error() == smarm::RecvError::closed) break;
  }
  crew.finish();
}

}  // namespace

SMARM_PLUGIN({.name = "primes",
              .version = "1.0.0",
              .description = "counts primes: fan-out, fan-in",
              .main = primes});
