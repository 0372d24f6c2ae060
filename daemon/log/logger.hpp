// Logger: takes records from any thread and any actor, writes them from a thread of its own.
//
// log() may be called from anywhere, actors included: it pushes to a lock-free list and never
// waits, never does I/O, holds no lock. Everything else is for ordinary threads.
//
// The queue holds LoggerOptions::capacity records and LoggerOptions::capacity_bytes bytes. What
// does not fit is dropped and counted; the count is written as one `log.lost` record as soon as
// there is room. Lines of plugins (event plugin.log) may fill seven eighths of it, so that a plugin
// that floods the log cannot hide the daemon's own records.
//
// Invariants
// 1. Records of one thread are written in the order in which it logged them.
// 2. Every record is written or counted as lost.
// 3. The log thread alone touches the sink.
// 4. The state outlives the Logger object when the sink blocks for ever (a pipe nobody reads): the
//    destructor waits for LoggerOptions::stop_timeout, no longer.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "daemon/log/level.hpp"
#include "daemon/log/record.hpp"

namespace smarmd {

struct LoggerOptions {
  Level level = Level::info;
  LogFormat format = LogFormat::automatic;
  int fd = 2;  // where text and JSON go; the logger works on a duplicate
  std::size_t capacity = std::size_t{64} * 1024;
  std::size_t capacity_bytes = std::size_t{32} * 1024 * 1024;
  std::chrono::milliseconds stop_timeout{2000};
};

struct LoggerStats {
  std::uint64_t written = 0;  // records handed to the sink, since the start
  std::uint64_t lost = 0;     // records dropped, since the start
  std::uint64_t queued = 0;   // waiting now
};

class Logger {
 public:
  // A text longer than this is cut (a plugin's line may be 8 KiB), and so is a field's text.
  static constexpr std::size_t kMaxText = std::size_t{8} * 1024;
  static constexpr std::size_t kMaxFieldText = std::size_t{32} * 1024;

  explicit Logger(LoggerOptions options = {});
  Logger(const Logger&) = delete;
  Logger& operator=(const Logger&) = delete;
  ~Logger();  // writes what is queued, within stop_timeout

  // [any, actors too] `event` is one of events.hpp. Below the level nothing happens.
  void log(Level level, std::string_view event, std::string text, Fields fields = {});
  // [any] True when log() at this level would write: look before you build an expensive record.
  bool enabled(Level level) const;

  // [any] Takes effect for the next log().
  void set_level(Level level);
  Level level() const;
  // What "auto" became.
  LogFormat format() const;

  // [threads] Waits until everything logged before is written. False when the time ran out first.
  bool flush(std::chrono::milliseconds deadline);
  LoggerStats stats() const;

  // [any, signal handlers too] Writes one line, at most PIPE_BUF bytes, to stderr at once, past the
  // queue. For the end of the process. A stderr that takes nothing gets nothing.
  static void emergency(std::string_view text) noexcept;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

// True when JOURNAL_STREAM (its value, or nullptr) names the device and inode of this fd.
bool is_journal_stream(int fd, const char* journal_stream);

}  // namespace smarmd
