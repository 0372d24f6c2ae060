#include "daemon/ctl/client.hpp"

#include <grp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <expected>
#include <optional>
#include <thread>

#include "daemon/control/connect.hpp"

namespace smarmd {
namespace {

using plugin::UniqueFd;
using SteadyClock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kGrace{1000};
constexpr std::chrono::milliseconds kConnectPause{20};
constexpr std::size_t kChunk = std::size_t{64} * 1024;

ControlError unreachable(std::string message, std::string hint) {
  return {std::string(codes::kUnreachable), std::move(message), std::move(hint), {}};
}

ControlError timed_out(const std::string& socket) {
  return {std::string(codes::kTimeout),
          "no answer from smarmd on " + socket + " in time",
          "give it more with --timeout SECONDS",
          {}};
}

std::string group_name(gid_t gid) {
  const group* entry = ::getgrgid(gid);
  return entry ? entry->gr_name : std::to_string(gid);
}

ControlError explain_denied(const std::string& socket) {
  struct stat info{};
  if (::stat(socket.c_str(), &info) != 0) {
    return unreachable("permission denied: no access to the directory of " + socket,
                       "run as root, or as a user who may enter it");
  }
  const std::string group = group_name(info.st_gid);
  return unreachable("permission denied on " + socket + ": it belongs to the group " + group,
                     "run as root or with sudo, or join the group: usermod -aG " + group +
                         " USER, then log in again");
}

ControlError explain(const std::string& socket, int error) {
  switch (error) {
    case ENOENT:
    case ENOTDIR:
      return unreachable(
          "smarmd does not run, or listens elsewhere: there is no socket " + socket,
          "start it (systemctl start smarmd), or name its control.socket with --socket PATH");
    case ECONNREFUSED:
      return unreachable(
          "smarmd does not run: nobody answers on " + socket,
          "start it (systemctl start smarmd); systemctl status smarmd says why it ended");
    case EACCES:
    case EPERM: return explain_denied(socket);
    case ENAMETOOLONG:
      return unreachable(socket + " is too long for a socket's path (107 bytes)",
                         "name another with --socket PATH");
    default:
      return unreachable("cannot reach smarmd on " + socket + ": " + std::strerror(error),
                         "is smarmd running? systemctl status smarmd");
  }
}

std::expected<UniqueFd, ControlError> connect_until(const std::string& socket,
                                                    SteadyClock::time_point deadline) {
  for (;;) {
    auto fd = connect_socket(socket);
    if (fd) return std::move(*fd);
    if (fd.error() != EAGAIN) return std::unexpected(explain(socket, fd.error()));
    if (SteadyClock::now() >= deadline) return std::unexpected(timed_out(socket));
    std::this_thread::sleep_for(
        kConnectPause);  // its queue of connections is full; nothing to wait on
  }
}

// False when the deadline came first.
bool wait_for(int fd, short events, SteadyClock::time_point deadline) {
  for (;;) {
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(deadline - SteadyClock::now()).count();
    pollfd waiting{fd, events, 0};
    const int ready =
        ::poll(&waiting, 1, static_cast<int>(std::clamp<std::int64_t>(left, 0, 3'600'000)));
    if (ready > 0) return true;
    if (ready == 0 && left <= 0) return false;
  }
}

std::optional<ControlError> send_all(int fd, std::string_view bytes, const std::string& socket,
                                     SteadyClock::time_point deadline) {
  while (!bytes.empty()) {
    const ssize_t n = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n >= 0) {
      bytes.remove_prefix(static_cast<std::size_t>(n));
    } else if (errno == EAGAIN) {
      if (!wait_for(fd, POLLOUT, deadline)) return timed_out(socket);
    } else if (errno == EPIPE || errno == ECONNRESET) {
      return std::nullopt;  // it has hung up, but may have said why
    } else if (errno != EINTR) {
      return explain(socket, errno);
    }
  }
  return std::nullopt;
}

std::expected<std::string, ControlError> receive_line(int fd, const std::string& socket,
                                                      SteadyClock::time_point deadline) {
  std::string line;
  std::string chunk(kChunk, '\0');
  for (;;) {
    const ssize_t n = ::recv(fd, chunk.data(), chunk.size(), 0);
    if (n > 0) {
      line.append(chunk, 0, static_cast<std::size_t>(n));
      if (const std::size_t end = line.find('\n'); end != std::string::npos)
        return line.substr(0, end);
    } else if (n == 0 || errno == ECONNRESET) {
      return std::unexpected(unreachable("smarmd hung up on " + socket + " without an answer",
                                         "it may be stopping; try again"));
    } else if (errno == EAGAIN) {
      if (!wait_for(fd, POLLIN, deadline)) return std::unexpected(timed_out(socket));
    } else if (errno != EINTR) {
      return std::unexpected(explain(socket, errno));
    }
  }
}

std::expected<nlohmann::json, ControlError> exchange(const std::string& socket,
                                                     const Request& request) {
  const auto deadline = SteadyClock::now() + request.timeout + kGrace;
  const auto fd = connect_until(socket, deadline);
  if (!fd) return std::unexpected(fd.error());
  if (auto error = send_all(fd->get(), write_request(request), socket, deadline))
    return std::unexpected(*error);
  const auto line = receive_line(fd->get(), socket, deadline);
  if (!line) return std::unexpected(line.error());
  nlohmann::json answer = nlohmann::json::parse(*line, nullptr, false);
  const bool sound = answer.is_object() && answer.contains("ok") && answer["ok"].is_boolean() &&
                     answer.contains("exit") && answer["exit"].is_number_integer() &&
                     answer.contains(answer["ok"].get<bool>() ? "result" : "error");
  if (!sound)
    return std::unexpected(
        unreachable("what listens on " + socket + " is not smarmd: its answer makes no sense",
                    "check --socket PATH"));
  return answer;
}

}  // namespace

nlohmann::json ask_daemon(const std::string& socket, const Request& request) {
  auto answer = exchange(socket, request);
  // Without "version": the daemon did not speak.
  if (!answer) {
    nlohmann::json error = make_error(answer.error(), "");
    error.erase("version");
    return error;
  }
  return std::move(*answer);
}

}  // namespace smarmd
