#include "daemon/control/stream_server.hpp"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <vector>

#include "daemon/log/service_thread.hpp"

namespace smarmd {
namespace {

constexpr std::size_t kChunk = std::size_t{16} * 1024;
constexpr std::chrono::milliseconds kLinger{1000};      // for a peer to close after its last answer
constexpr std::chrono::milliseconds kAcceptPause{100};  // when the process is out of descriptors

Peer peer_of(int fd) {
  ucred credentials{};
  socklen_t size = sizeof credentials;
  if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0) return {};
  return {credentials.pid, credentials.uid, credentials.gid};
}

// A TCP peer has no credentials: all of them are alike.
bool is_trusted(const Peer& peer) { return peer.uid == 0 || peer.uid == ::geteuid(); }

}  // namespace

Wakeup::Wakeup() : fd_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

void Wakeup::wake() const {
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t ignored =
      ::write(fd_.get(), &one, sizeof one);  // EAGAIN: it is awake already
}

void Wakeup::clear() const {
  std::uint64_t count = 0;
  [[maybe_unused]] const ssize_t ignored = ::read(fd_.get(), &count, sizeof count);
}

StreamServer::StreamServer(UniqueFd listener, StreamServerOptions options, StreamProtocol& protocol)
    : options_(std::move(options)),
      listener_(std::move(listener)),
      wakeup_(std::make_shared<Wakeup>()),
      protocol_(protocol) {}

void StreamServer::start() {
  thread_ = start_service_thread(options_.thread_name, [this](std::stop_token stop) { run(stop); });
}

void StreamServer::stop() {
  if (!thread_.joinable()) return;
  thread_.request_stop();
  wakeup_->wake();
  thread_.join();
}

Connection* StreamServer::find(std::uint64_t id) {
  const auto it = connections_.find(id);
  return it == connections_.end() || it->second.dead ? nullptr : &it->second;
}

void StreamServer::answer(Connection& connection, std::string bytes) {
  connection.out += bytes;
  connection.phase = Connection::Phase::reading;
  connection.deadline = SteadyClock::now() + options_.idle_timeout;
  send_out(connection);
}

void StreamServer::finish(Connection& connection, std::string bytes) {
  connection.out += bytes;
  connection.in.clear();
  connection.phase = Connection::Phase::finishing;
  connection.deadline = SteadyClock::now() + options_.idle_timeout;
  send_out(connection);
}

void StreamServer::work_until(Connection& connection, SteadyClock::time_point deadline) {
  connection.phase = Connection::Phase::working;
  connection.deadline = deadline;
}

void StreamServer::run(const std::stop_token& stop) {
  std::vector<pollfd> fds;
  std::vector<std::uint64_t> ids;
  while (!stop.stop_requested()) {
    fds.assign({{wakeup_->fd(), POLLIN, 0}, {listener_.get(), POLLIN, 0}});
    if (SteadyClock::now() < accept_again_) fds[1].fd = -1;
    ids.clear();
    for (const auto& [id, connection] : connections_) {
      fds.push_back({connection.fd.get(), wanted_events(connection), 0});
      ids.push_back(id);
    }
    if (::poll(fds.data(), fds.size(), poll_timeout()) < 0) continue;  // EINTR, ENOMEM: look again
    if (fds[0].revents) {
      wakeup_->clear();
      protocol_.on_wake();
    }
    for (std::size_t i = 0; i < ids.size(); ++i) {
      if (Connection* connection = find(ids[i])) serve(*connection, fds[i + 2].revents);
    }
    if (fds[1].revents) accept_all();
    for (auto& [id, connection] : connections_) expire(connection);
    std::erase_if(connections_, [](const auto& entry) { return entry.second.dead; });
  }
  protocol_.on_stop();
  connections_.clear();
}

int StreamServer::poll_timeout() const {
  auto next = SteadyClock::time_point::max();
  const auto now = SteadyClock::now();
  if (now < accept_again_) next = accept_again_;
  for (const auto& [id, connection] : connections_) next = std::min(next, connection.deadline);
  if (next == SteadyClock::time_point::max()) return -1;
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(next - now).count();
  return static_cast<int>(std::clamp<std::int64_t>(left, 0, 3'600'000));
}

short StreamServer::wanted_events(const Connection& connection) const {
  if (!connection.out.empty()) return POLLOUT;
  if (connection.ended || connection.phase == Connection::Phase::working)
    return 0;  // POLLHUP and POLLERR come anyway
  return POLLIN;
}

void StreamServer::accept_all() {
  for (;;) {
    UniqueFd fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (fd) {
      admit(std::move(fd));
    } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
      accept_again_ = SteadyClock::now() + kAcceptPause;
      return;
    } else if (errno != EINTR && errno != ECONNABORTED) {
      return;
    }
  }
}

void StreamServer::admit(UniqueFd fd) {
  // Connections that only finish do not count, but they are bounded too: over twice the limit a new
  // one is closed unheard.
  std::size_t open = 0;
  for (const auto& [id, connection] : connections_)
    open += connection.phase != Connection::Phase::finishing;
  const Peer peer = peer_of(fd.get());
  const bool full = open >= options_.max_connections && !make_way(peer);
  if (connections_.size() >= 2 * options_.max_connections) return;
  const std::uint64_t id = next_id_++;
  Connection& connection = connections_[id];
  connection.id = id;
  connection.peer = peer;
  connection.fd = std::move(fd);
  connection.deadline = SteadyClock::now() + options_.idle_timeout;
  if (full) finish(connection, protocol_.refusal());
}

// Closes the connection that has been silent longest. Idle ones cost their owner nothing, so
// refusing the newcomer instead would let anybody shut everybody out.
bool StreamServer::make_way(const Peer& newcomer) {
  auto silent = connections_.end();
  for (auto it = connections_.begin(); it != connections_.end(); ++it) {
    const Connection& c = it->second;
    if (c.phase != Connection::Phase::reading || !c.out.empty()) continue;
    if (is_trusted(c.peer) && !is_trusted(newcomer)) continue;
    if (silent == connections_.end() || c.deadline < silent->second.deadline) silent = it;
  }
  if (silent == connections_.end()) return false;
  connections_.erase(silent);
  return true;
}

void StreamServer::serve(Connection& connection, short events) {
  if (events & POLLOUT) send_out(connection);
  if (!connection.dead && (events & POLLIN)) receive(connection);
  // Hung up, and everything it sent is read: nobody is left to answer to.
  if ((events & (POLLHUP | POLLERR | POLLNVAL)) && !(events & (POLLIN | POLLOUT)))
    connection.dead = true;
}

void StreamServer::receive(Connection& connection) {
  char chunk[kChunk];
  const ssize_t n = ::recv(connection.fd.get(), chunk, sizeof chunk, MSG_DONTWAIT);
  if (n < 0) {
    if (errno != EAGAIN && errno != EINTR) connection.dead = true;
    return;
  }
  if (n == 0) connection.ended = true;
  if (connection.phase == Connection::Phase::finishing) {
    connection.dead = connection.ended;
    return;
  }
  connection.in.append(chunk, static_cast<std::size_t>(n));
  feed(connection);
}

// Lets the protocol take from `in` as long as it is its turn and it takes something.
void StreamServer::feed(Connection& connection) {
  while (!connection.dead && connection.phase == Connection::Phase::reading &&
         connection.out.empty()) {
    const std::size_t before = connection.in.size();
    protocol_.on_input(connection);
    if (connection.in.size() == before) break;
  }
  const bool idle = connection.phase == Connection::Phase::reading && connection.out.empty();
  if (connection.ended && idle) connection.dead = true;
}

void StreamServer::send_out(Connection& connection) {
  while (!connection.out.empty()) {
    const ssize_t n = ::send(connection.fd.get(), connection.out.data(), connection.out.size(),
                             MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0) {
      if (errno == EINTR) continue;
      if (errno != EAGAIN) connection.dead = true;
      return;
    }
    connection.out.erase(0, static_cast<std::size_t>(n));
  }
  if (connection.phase == Connection::Phase::finishing && !connection.shut) {
    connection.shut = true;
    ::shutdown(connection.fd.get(), SHUT_WR);
    connection.deadline = SteadyClock::now() + kLinger;
    if (connection.ended) connection.dead = true;
  }
}

void StreamServer::expire(Connection& connection) {
  // An answer that was queued from outside on_input leaves bytes of the next request behind: its
  // turn is now.
  if (!connection.in.empty() || connection.ended) feed(connection);
  if (connection.dead || SteadyClock::now() < connection.deadline) return;
  if (connection.phase == Connection::Phase::working) {
    protocol_.on_work_deadline(connection);
  } else {
    connection.dead = true;
  }
}

}  // namespace smarmd
