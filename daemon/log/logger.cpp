#include "daemon/log/logger.hpp"

#include <linux/futex.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <climits>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <thread>

#include "daemon/log/events.hpp"
#include "daemon/log/format.hpp"
#include "daemon/log/mpsc_list.hpp"
#include "daemon/log/service_thread.hpp"
#include "daemon/log/sink.hpp"

namespace smarmd {
namespace {

void futex_wait(std::atomic<std::uint32_t>& word, std::uint32_t expected) {
  ::syscall(SYS_futex, reinterpret_cast<std::uint32_t*>(&word), FUTEX_WAIT_PRIVATE, expected,
            nullptr, nullptr, 0);
}

void futex_wake(std::atomic<std::uint32_t>& word) {
  ::syscall(SYS_futex, reinterpret_cast<std::uint32_t*>(&word), FUTEX_WAKE_PRIVATE, 1, nullptr,
            nullptr, 0);
}

LogFormat settle_format(LogFormat wanted, int fd) {
  if (wanted != LogFormat::automatic) return wanted;
  return is_journal_stream(fd, std::getenv("JOURNAL_STREAM")) && journal_is_there()
             ? LogFormat::journald
             : LogFormat::text;
}

}  // namespace

// The gaps are meant: what every logging thread writes has cache lines of its own.
struct Logger::State {  // NOLINT(clang-analyzer-optin.performance.Padding)
  explicit State(LoggerOptions o)
      : options(o), format(settle_format(o.format, o.fd)), level(o.level) {}

  void open_sink();
  bool admit(bool from_plugin, std::size_t bytes);
  void push(Record* record);
  void wake();
  void run();
  void write_batch(Record* oldest);
  void report_lost();
  void wait_for_work();

  // Constant once the thread runs.
  const LoggerOptions options;
  LogFormat format;

  // Shared.
  std::atomic<Level> level;  // relaxed everywhere: a level publishes nothing
  MpscList<Record> queue;
  alignas(64) std::atomic<std::uint64_t> queued{0};  // relaxed: bounds, not synchronisation
  std::atomic<std::uint64_t> queued_bytes{0};
  std::atomic<std::uint64_t> accepted{0};  // relaxed: ordered by the push that follows
  std::atomic<std::uint64_t> lost{0};
  alignas(64) std::atomic<std::uint32_t> asleep{0};  // 1: the log thread sleeps or is about to
  std::atomic<bool> stopping{false};

  // The log thread's own.
  std::unique_ptr<Sink> sink;
  std::uint64_t lost_reported = 0;

  // Protected by mutex. Never taken by log().
  std::mutex mutex;
  std::condition_variable progress;
  std::uint64_t finished = 0;  // records that left the queue for good
  std::uint64_t written = 0;
  bool ended = false;

  std::jthread thread;  // touched by the Logger object only
};

void Logger::State::open_sink() {
  if (format == LogFormat::journald && !journal_is_there()) {
    format = LogFormat::text;
    auto note = std::make_unique<Record>();
    note->time = std::chrono::system_clock::now();
    note->level = Level::warn;
    note->event = events::kLogFallback;
    note->text =
        "log.format is journald, but there is no journald at /run/systemd/journal/socket: writing "
        "text to stderr";
    accepted.fetch_add(1, std::memory_order_relaxed);
    push(note.release());
  }
  if (format == LogFormat::journald) {
    sink = make_journal_sink();
  } else if (format == LogFormat::json) {
    sink = make_json_sink(options.fd);
  } else {
    sink = make_text_sink(options.fd);
  }
}

// Reserves room for one record. False: it is counted as lost.
bool Logger::State::admit(bool from_plugin, std::size_t bytes) {
  const std::size_t records_max =
      from_plugin ? options.capacity - options.capacity / 8 : options.capacity;
  const std::size_t bytes_max =
      from_plugin ? options.capacity_bytes - options.capacity_bytes / 8 : options.capacity_bytes;
  if (queued.fetch_add(1, std::memory_order_relaxed) < records_max) {
    if (queued_bytes.fetch_add(bytes, std::memory_order_relaxed) + bytes <= bytes_max) {
      accepted.fetch_add(1, std::memory_order_relaxed);
      return true;
    }
    queued_bytes.fetch_sub(bytes, std::memory_order_relaxed);
  }
  queued.fetch_sub(1, std::memory_order_relaxed);
  lost.fetch_add(1, std::memory_order_seq_cst);  // partner of wait_for_work()
  return false;
}

void Logger::State::push(Record* record) {
  queue.push(record);
  wake();
}

// The usual case is one load: the log thread is awake. seq_cst: partner of wait_for_work(); either
// this load sees the sleeper or the sleeper sees the record.
void Logger::State::wake() {
  if (asleep.load(std::memory_order_seq_cst) && asleep.exchange(0, std::memory_order_seq_cst))
    futex_wake(asleep);
}

void Logger::State::wait_for_work() {
  asleep.store(1, std::memory_order_seq_cst);
  if (queue.empty() && !stopping.load(std::memory_order_seq_cst) &&
      lost.load(std::memory_order_seq_cst) == lost_reported) {
    futex_wait(asleep, 1);
  }
  asleep.store(0, std::memory_order_seq_cst);
}

void Logger::State::write_batch(Record* oldest) {
  std::uint64_t count = 0;
  while (oldest) {
    std::unique_ptr<Record> record(oldest);
    oldest = record->next;
    queued_bytes.fetch_sub(record->bytes(), std::memory_order_relaxed);
    queued.fetch_sub(1, std::memory_order_relaxed);
    sink->write(*record);
    ++count;
  }
  const std::size_t failed = sink->flush();
  // What the sink could not write will hardly be reported through the same sink, but it counts.
  lost.fetch_add(failed, std::memory_order_relaxed);
  lost_reported += failed;
  std::lock_guard guard(mutex);
  finished += count;
  written += count - failed;
  progress.notify_all();
}

void Logger::State::report_lost() {
  const std::uint64_t now = lost.load(std::memory_order_relaxed);
  if (now == lost_reported) return;
  Record note;
  note.time = std::chrono::system_clock::now();
  note.level = Level::warn;
  note.event = events::kLogLost;
  note.text = std::to_string(now - lost_reported) +
              " records lost: they came faster than they could be written";
  note.fields = {{"lost", now - lost_reported}, {"lost_total", now}};
  lost_reported = now;
  sink->write(note);
  sink->flush();
}

void Logger::State::run() {
  for (;;) {
    const bool last = stopping.load(std::memory_order_seq_cst);
    if (Record* oldest = queue.take_all()) {
      write_batch(oldest);
      continue;
    }
    report_lost();
    if (last) break;
    wait_for_work();
  }
  std::lock_guard guard(mutex);
  ended = true;
  progress.notify_all();
}

Logger::Logger(LoggerOptions options) : state_(std::make_shared<State>(options)) {
  state_->open_sink();
  // The thread shares the state, so that it may outlive this object when its sink blocks for ever.
  state_->thread = start_service_thread("smarmd-log", [state = state_] { state->run(); });
}

Logger::~Logger() {
  std::jthread thread = std::move(state_->thread);
  state_->stopping.store(true, std::memory_order_seq_cst);
  state_->wake();
  std::unique_lock lock(state_->mutex);
  const bool ended =
      state_->progress.wait_for(lock, state_->options.stop_timeout, [&] { return state_->ended; });
  lock.unlock();
  // Without a word: it would go where the log thread is stuck.
  if (!ended) thread.detach();
}

void Logger::log(Level level, std::string_view event, std::string text, Fields fields) {
  if (!enabled(level)) return;
  State& state = *state_;
  try {
    auto record = std::make_unique<Record>();
    record->time = std::chrono::system_clock::now();
    record->level = level;
    record->event = event;
    record->text = cut_text(std::move(text), kMaxText);
    record->fields = std::move(fields);
    for (Field& field : record->fields) {
      if (auto* value = std::get_if<std::string>(&field.value))
        *value = cut_text(std::move(*value), kMaxFieldText);
    }
    if (state.admit(event == events::kPluginLog, record->bytes())) {
      state.push(record.release());
    } else {
      state.wake();
    }
  } catch (const std::bad_alloc&) {
    state.lost.fetch_add(1, std::memory_order_seq_cst);
  }
}

bool Logger::enabled(Level level) const {
  return level >= state_->level.load(std::memory_order_relaxed);
}
void Logger::set_level(Level level) { state_->level.store(level, std::memory_order_relaxed); }
Level Logger::level() const { return state_->level.load(std::memory_order_relaxed); }
LogFormat Logger::format() const { return state_->format; }

bool Logger::flush(std::chrono::milliseconds deadline) {
  const std::uint64_t target = state_->accepted.load(std::memory_order_relaxed);
  std::unique_lock lock(state_->mutex);
  return state_->progress.wait_for(lock, deadline, [&] { return state_->finished >= target; });
}

LoggerStats Logger::stats() const {
  LoggerStats out;
  out.lost = state_->lost.load(std::memory_order_relaxed);
  out.queued = state_->queued.load(std::memory_order_relaxed);
  std::lock_guard guard(state_->mutex);
  out.written = state_->written;
  return out;
}

// A pipe that poll() calls writable takes PIPE_BUF bytes at once. One that is full, because nobody
// reads it, must not hold up the end of the process.
void Logger::emergency(std::string_view text) noexcept {
  constexpr std::string_view kPrefix = "smarmd: ", kEnd = "\n";
  text = text.substr(0, PIPE_BUF - kPrefix.size() - kEnd.size());
  const iovec parts[] = {{const_cast<char*>(kPrefix.data()), kPrefix.size()},
                         {const_cast<char*>(text.data()), text.size()},
                         {const_cast<char*>(kEnd.data()), kEnd.size()}};
  const int saved = errno;
  pollfd out{STDERR_FILENO, POLLOUT, 0};
  if (::poll(&out, 1, 0) == 1 && (out.revents & POLLOUT)) [[maybe_unused]]
    const ssize_t ignored = ::writev(STDERR_FILENO, parts, 3);
  errno = saved;
}

bool is_journal_stream(int fd, const char* journal_stream) {
  struct stat info{};
  if (!journal_stream || ::fstat(fd, &info) != 0) return false;
  return std::to_string(info.st_dev) + ":" + std::to_string(info.st_ino) == journal_stream;
}

}  // namespace smarmd
