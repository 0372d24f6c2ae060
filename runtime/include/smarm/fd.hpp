// Waiting for any file descriptor, and work that blocks.
//
// These functions are right whether or not the descriptor is O_NONBLOCK, after partial reads by
// others, and after close and reuse: they register for each wait. Timeouts answer
// std::errc::timed_out.
#pragma once

#include <smarm/smarm.h>
#include <smarm/actor.hpp>
#include <smarm/time.hpp>

#include <cstdint>
#include <exception>
#include <expected>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>

namespace smarm {

namespace detail {
inline std::error_code io_code(int status) {
  if (status == SMARM_E_TIMEOUT) return std::make_error_code(std::errc::timed_out);
  if (status < 0) throw_status(status, "io");
  return {status, std::system_category()};
}
inline std::expected<void, std::error_code> io_result(int status) {
  if (status == SMARM_OK) return {};
  return std::unexpected(io_code(status));
}
inline std::int64_t opt_ns(std::optional<Duration> d) { return d ? to_ns(*d) : SMARM_FOREVER; }
}  // namespace detail

using Wait = std::optional<Duration>;  // nullopt waits without limit

[[nodiscard]] inline std::expected<void, std::error_code> wait_readable(int fd, Wait timeout = {}) {
  return detail::io_result(smarm_wait_readable(fd, detail::opt_ns(timeout)));
}
[[nodiscard]] inline std::expected<void, std::error_code> wait_writable(int fd, Wait timeout = {}) {
  return detail::io_result(smarm_wait_writable(fd, detail::opt_ns(timeout)));
}
// Bytes read, at least 1, or 0 at the end of the stream.
[[nodiscard]] inline std::expected<std::size_t, std::error_code> read(int fd,
                                                                      std::span<char> buffer,
                                                                      Wait timeout = {}) {
  std::size_t done = 0;
  if (int s = smarm_read(fd, buffer.data(), buffer.size(), detail::opt_ns(timeout), &done))
    return std::unexpected(detail::io_code(s));
  return done;
}
// Bytes written, at least 1 of a non-empty buffer, perhaps fewer than asked.
[[nodiscard]] inline std::expected<std::size_t, std::error_code> write(int fd,
                                                                       std::span<const char> buffer,
                                                                       Wait timeout = {}) {
  std::size_t done = 0;
  if (int s = smarm_write(fd, buffer.data(), buffer.size(), detail::opt_ns(timeout), &done))
    return std::unexpected(detail::io_code(s));
  return done;
}

// Runs f on a thread that may block, and parks until it is done. Returns what f returns, rethrows
// what it throws.
template <class F>
  requires std::invocable<F&>
std::invoke_result_t<F&> block_on_io(F&& f) {
  using R = std::invoke_result_t<F&>;
  struct Job {
    std::remove_reference_t<F>* f;
    std::exception_ptr error{};
    std::conditional_t<std::is_void_v<R>, char,
                       std::optional<std::conditional_t<std::is_void_v<R>, char, R>>>
        result{};
  } job{std::addressof(f)};
  int status = smarm_block_on(
      [](void* p) {
        Job& j = *static_cast<Job*>(p);
        try {
          if constexpr (std::is_void_v<R>) {
            std::invoke(*j.f);
          } else {
            j.result.emplace(std::invoke(*j.f));
          }
        } catch (...) {
          j.error = std::current_exception();
        }
      },
      &job);
  if (status) detail::throw_status(status, "block_on_io");
  if (job.error) std::rethrow_exception(job.error);
  if constexpr (!std::is_void_v<R>) return std::move(*job.result);
}

// What went wrong, doing what, to which address. Converts to its error_code.
struct IoError {
  std::error_code code;
  std::string operation;  // "bind", "accept", "read", ...
  std::string address;    // "127.0.0.1:7777", "/run/x.sock"; may be empty
  std::string what() const {
    return operation + (address.empty() ? "" : " " + address) + ": " + code.message();
  }
  operator std::error_code() const { return code; }  // NOLINT(google-explicit-constructor)
};
template <class T>
using IoResult = std::expected<T, IoError>;

}  // namespace smarm
