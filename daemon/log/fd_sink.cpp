// Text and JSON: a private spdlog logger over a sink that writes to a file descriptor.
//
// Why not spdlog's stderr sinks: they lock a process-wide mutex and write through stdio, one system
// call a record, and say nothing when a write fails.
#include <spdlog/details/null_mutex.h>
#include <spdlog/logger.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/base_sink.h>

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

#include "daemon/log/format.hpp"
#include "daemon/log/sink.hpp"
#include "daemon/plugin/unique_fd.hpp"

namespace smarmd {
namespace {

constexpr std::size_t kGather = std::size_t{64} * 1024;  // bytes that are written in one call
constexpr int kPatienceMs = 1000;                        // for a non-blocking fd that takes nothing

bool write_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd, bytes.data(), bytes.size());
    if (n >= 0) {
      bytes.remove_prefix(static_cast<std::size_t>(n));
    } else if (errno == EAGAIN) {
      pollfd waiting{fd, POLLOUT, 0};
      if (::poll(&waiting, 1, kPatienceMs) == 0) return false;
    } else if (errno != EINTR) {
      return false;
    }
  }
  return true;
}

std::string_view colour_of(spdlog::level::level_enum level) {
  switch (level) {
    case spdlog::level::trace:
    case spdlog::level::debug: return "\033[2m";
    case spdlog::level::info: return "\033[32m";
    case spdlog::level::warn: return "\033[33m";
    default: return "\033[31m";
  }
}

class FdSink : public spdlog::sinks::base_sink<spdlog::details::null_mutex> {
 public:
  FdSink(int fd, bool colour)
      : own_(::fcntl(fd, F_DUPFD_CLOEXEC, 3)), fd_(own_ ? own_.get() : fd), colour_(colour) {}

  std::size_t take_failed() { return std::exchange(failed_, 0); }

 protected:
  void sink_it_(const spdlog::details::log_msg& msg) override {
    spdlog::memory_buf_t line;
    formatter_->format(msg, line);
    const std::string_view all(line.data(), line.size());
    if (colour_ && msg.color_range_end > msg.color_range_start) {
      buffer_ += all.substr(0, msg.color_range_start);
      buffer_ += colour_of(msg.level);
      buffer_ += all.substr(msg.color_range_start, msg.color_range_end - msg.color_range_start);
      buffer_ += "\033[0m";
      buffer_ += all.substr(msg.color_range_end);
    } else {
      buffer_ += all;
    }
    ++records_;
    if (buffer_.size() >= kGather) flush_();
  }

  void flush_() override {
    if (!buffer_.empty() && !write_all(fd_, buffer_)) failed_ += records_;
    buffer_.clear();
    records_ = 0;
  }

 private:
  const plugin::UniqueFd own_;  // a sink that outlives its logger must never write to a descriptor
                                // that is somebody else's by then
  const int fd_;
  const bool colour_;
  std::string buffer_;
  std::size_t records_ = 0;  // in the buffer
  std::size_t failed_ = 0;
};

// The level as the configuration names it, padded, so that the events stand in one column.
class PaddedLevel : public spdlog::custom_flag_formatter {
 public:
  void format(const spdlog::details::log_msg& msg, const std::tm&,
              spdlog::memory_buf_t& out) override {
    const std::string_view name = name_of(static_cast<Level>(msg.level));
    out.append(name.data(), name.data() + name.size());
    for (std::size_t i = name.size(); i < 5; ++i) out.push_back(' ');
  }
  std::unique_ptr<custom_flag_formatter> clone() const override {
    return std::make_unique<PaddedLevel>();
  }
};

static_assert(static_cast<int>(Level::trace) == spdlog::level::trace &&
              static_cast<int>(Level::critical) == spdlog::level::critical);

class SpdlogSink : public Sink {
 public:
  using Layout = std::string (*)(const Record&);

  SpdlogSink(std::shared_ptr<FdSink> out, Layout layout, const char* pattern)
      : out_(out), logger_("smarmd", out), layout_(layout) {
    auto formatter =
        std::make_unique<spdlog::pattern_formatter>(spdlog::pattern_time_type::utc, "\n");
    formatter->add_flag<PaddedLevel>('*').set_pattern(pattern);
    logger_.set_formatter(std::move(formatter));
    logger_.set_level(spdlog::level::trace);  // the Logger has filtered already
  }

  void write(const Record& record) override {
    logger_.log(record.time, spdlog::source_loc{},
                static_cast<spdlog::level::level_enum>(record.level), layout_(record));
  }

  std::size_t flush() override {
    logger_.flush();
    return out_->take_failed();
  }

 private:
  std::shared_ptr<FdSink> out_;
  spdlog::logger logger_;
  Layout layout_;
};

bool wants_colour(int fd) {
  const char* no_colour = std::getenv("NO_COLOR");
  return ::isatty(fd) == 1 && (!no_colour || !*no_colour);
}

}  // namespace

std::unique_ptr<Sink> make_text_sink(int fd) {
  return std::make_unique<SpdlogSink>(std::make_shared<FdSink>(fd, wants_colour(fd)), &text_line,
                                      "%Y-%m-%dT%H:%M:%S.%eZ %^%*%$ %v");
}

std::unique_ptr<Sink> make_json_sink(int fd) {
  return std::make_unique<SpdlogSink>(std::make_shared<FdSink>(fd, false), &json_line, "%v");
}

}  // namespace smarmd
