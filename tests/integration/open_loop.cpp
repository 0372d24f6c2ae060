#include "tests/integration/open_loop.hpp"

#include <doctest/doctest.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>
#include <utility>
#include <vector>

namespace integration {

namespace {

using Clock = std::chrono::steady_clock;
using Time = Clock::time_point;
using std::chrono::milliseconds;

constexpr milliseconds kPatience{30'000};  // for the last replies
constexpr std::size_t kMostFloors = 8;     // with more CPUs than that there is always one to be had

// A request is its own number.
using Request = std::uint64_t;

class Socket {
 public:
  explicit Socket(int fd = -1) : fd_(fd) {}
  Socket(Socket&& o) noexcept : fd_(std::exchange(o.fd_, -1)) {}
  Socket& operator=(Socket&& o) noexcept { return std::swap(fd_, o.fd_), *this; }
  ~Socket() {
    if (fd_ >= 0) ::close(fd_);
  }
  int fd() const { return fd_; }

 private:
  int fd_;
};

sockaddr_in loopback(std::uint16_t port) {
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_port = htons(port);
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return at;
}

void send_at_once(int fd) {
  const int on = 1;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

Socket connect_to(std::uint16_t port) {
  Socket s(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const sockaddr_in to = loopback(port);
  REQUIRE(::connect(s.fd(), reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0);
  send_at_once(s.fd());
  return s;
}

// One connection to one thread that sends back what it reads, on one CPU.
class Floor {
 public:
  explicit Floor(int cpu) {
    const Socket listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in at = loopback(0);
    socklen_t size = sizeof at;
    REQUIRE(::bind(listener.fd(), reinterpret_cast<sockaddr*>(&at), size) == 0);
    REQUIRE(::listen(listener.fd(), 1) == 0);
    REQUIRE(::getsockname(listener.fd(), reinterpret_cast<sockaddr*>(&at), &size) == 0);
    client_ = connect_to(ntohs(at.sin_port));
    server_ = Socket(::accept4(listener.fd(), nullptr, nullptr, SOCK_CLOEXEC));
    REQUIRE(server_.fd() >= 0);
    send_at_once(server_.fd());
    thread_ = std::thread([this, cpu] { serve(cpu); });
  }
  Floor(const Floor&) = delete;
  Floor& operator=(const Floor&) = delete;
  ~Floor() {
    ::shutdown(client_.fd(), SHUT_RDWR);
    if (thread_.joinable()) thread_.join();
  }
  int client() const { return client_.fd(); }

 private:
  void serve(int cpu) const {
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(static_cast<std::size_t>(cpu), &one);
    ::sched_setaffinity(0, sizeof one, &one);
    ::prctl(PR_SET_TIMERSLACK, 1);
    char buffer[512];
    for (ssize_t n; (n = ::read(server_.fd(), buffer, sizeof buffer)) > 0;) {
      if (::send(server_.fd(), buffer, static_cast<std::size_t>(n), MSG_NOSIGNAL) != n) return;
    }
  }

  Socket client_, server_;
  std::thread thread_;
};

std::vector<int> usable_cpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  ::sched_getaffinity(0, sizeof set, &set);
  std::vector<int> cpus;
  for (int cpu = 0; cpu < CPU_SETSIZE && cpus.size() < kMostFloors; ++cpu)
    if (CPU_ISSET(static_cast<std::size_t>(cpu), &set)) cpus.push_back(cpu);
  return cpus;
}

struct Sample {
  Time due, done;
  double ms() const { return std::chrono::duration<double, std::milli>(done - due).count(); }
};

// A connection as the sender sees it.
struct Stream {
  int fd = -1;
  Time next;                    // when its next request is due
  std::vector<Sample> samples;  // by the number of the request
  std::size_t bytes = 0;        // received; replies come in order
  Request part = 0;             // the reply that is on its way

  std::size_t answered() const { return bytes / sizeof(Request); }
  bool waits() const { return answered() < samples.size(); }

  std::string send_due(Time now) {
    for (; next <= now; next += OpenLoop::kPeriod) {
      const Request number = samples.size();
      samples.push_back({next, {}});
      if (::send(fd, &number, sizeof number, MSG_NOSIGNAL | MSG_DONTWAIT) != sizeof number)
        return std::string("send: ") + std::strerror(errno);
    }
    return {};
  }

  std::string receive() {
    for (;;) {
      const std::size_t have = bytes % sizeof part;
      const ssize_t n =
          ::recv(fd, reinterpret_cast<char*>(&part) + have, sizeof part - have, MSG_DONTWAIT);
      if (n < 0 && (errno == EAGAIN || errno == EINTR)) return {};
      if (n < 0) return std::string("recv: ") + std::strerror(errno);
      if (n == 0) return "the server closed the connection";
      bytes += static_cast<std::size_t>(n);
      if (bytes % sizeof part != 0) continue;
      const std::size_t number = answered() - 1;
      if (number >= samples.size() || part != number) return "a reply that nobody asked for";
      samples[number].done = Clock::now();
    }
  }
};

double at_share(std::vector<double>& sorted, double share) {
  if (sorted.empty()) return 0;
  return sorted[std::min(sorted.size() - 1,
                         static_cast<std::size_t>(share * static_cast<double>(sorted.size())))];
}

std::vector<double> sorted_ms(const std::vector<Sample>& samples) {
  std::vector<double> all;
  for (const Sample& s : samples) all.push_back(s.ms());
  std::ranges::sort(all);
  return all;
}

// How long the threads that the process has now have run, and were runnable without a CPU; 0 where
// the kernel does not say.
struct CpuTime {
  std::chrono::nanoseconds ran{}, waited{};
};
CpuTime cpu_time(pid_t process) {
  CpuTime sum;
  std::error_code error;
  const std::filesystem::path tasks = "/proc/" + std::to_string(process) + "/task";
  for (const auto& task : std::filesystem::directory_iterator(tasks, error)) {
    std::ifstream in(task.path() / "schedstat");
    std::int64_t ran = 0, waited = 0;
    if (!(in >> ran >> waited)) continue;
    sum.ran += std::chrono::nanoseconds(ran);
    sum.waited += std::chrono::nanoseconds(waited);
  }
  return sum;
}

bool is_over(const Sample& s, milliseconds limit) { return s.done - s.due > limit; }

}  // namespace

struct OpenLoop::State {
  std::vector<Socket> sockets;
  std::vector<std::unique_ptr<Floor>> floors;
  std::vector<Stream> streams;  // those of the server under test first
  std::atomic<bool> over{false};
  std::string error;
  std::thread thread;
  pid_t server = 0;
  Time began = Clock::now();
  CpuTime before{};

  void run() {
    ::setpriority(PRIO_PROCESS, 0, -5);  // of this thread; may be refused
    ::prctl(PR_SET_TIMERSLACK, 1);
    const Time start = Clock::now() + milliseconds(2);
    // Spread over the period. The floor's go out beside those of the server.
    for (std::size_t i = 0; i < streams.size(); ++i)
      streams[i].next = start + kPeriod * static_cast<int>(i % kConnections) / kConnections;
    std::vector<pollfd> polled;
    for (const Stream& s : streams) polled.push_back({s.fd, POLLIN, 0});
    for (Time give_up = Time::max();;) {
      const Time now = Clock::now();
      const bool ending = over.load(std::memory_order_acquire);
      if (ending && give_up == Time::max()) give_up = now + kPatience;
      if (ending && std::ranges::none_of(streams, &Stream::waits)) return;
      if (now > give_up) return fail("requests were never answered");
      Time next = ending ? give_up : Time::max();
      for (Stream& s : streams) {
        if (ending) continue;
        if (std::string e = s.send_due(now); !e.empty()) return fail(e);
        next = std::min(next, s.next);
      }
      wait(polled, next);
      for (Stream& s : streams)
        if (std::string e = s.receive(); !e.empty()) return fail(e);
    }
  }

  static void wait(std::vector<pollfd>& polled, Time until) {
    const auto left = std::max<std::int64_t>(0, (until - Clock::now()).count());
    const timespec timeout{static_cast<time_t>(left / 1'000'000'000),
                           static_cast<long>(left % 1'000'000'000)};
    ::ppoll(polled.data(), polled.size(), &timeout, nullptr);
  }

  void fail(std::string why) { error = std::move(why); }

  std::vector<Sample> answered(std::size_t from, std::size_t to) const {
    std::vector<Sample> all;
    for (std::size_t i = from; i < to; ++i) {
      const auto& samples = streams[i].samples;
      all.insert(all.end(), samples.begin(),
                 samples.begin() + static_cast<std::ptrdiff_t>(streams[i].answered()));
    }
    return all;
  }
};

OpenLoop::OpenLoop(std::uint16_t port, pid_t server) : state_(std::make_unique<State>()) {
  State& s = *state_;
  s.server = server;
  s.before = cpu_time(server);
  for (int i = 0; i < kConnections; ++i) {
    s.sockets.push_back(connect_to(port));
    s.streams.push_back({.fd = s.sockets.back().fd(), .next = {}, .samples = {}});
  }
  for (int cpu : usable_cpus()) {
    s.floors.push_back(std::make_unique<Floor>(cpu));
    s.streams.push_back({.fd = s.floors.back()->client(), .next = {}, .samples = {}});
  }
  s.thread = std::thread([&s] { s.run(); });
}

OpenLoop::~OpenLoop() {
  state_->over.store(true, std::memory_order_release);  // with the sender's acquire
  if (state_->thread.joinable()) state_->thread.join();
}

LoadReport OpenLoop::finish() {
  State& s = *state_;
  s.over.store(true, std::memory_order_release);  // with the sender's acquire
  if (s.thread.joinable()) s.thread.join();
  const std::vector<Sample> replies = s.answered(0, kConnections);
  const std::vector<Sample> floor = s.answered(kConnections, s.streams.size());
  LoadReport report;
  report.error = s.error;
  const CpuTime now = cpu_time(s.server);
  const double most = std::chrono::duration<double>(Clock::now() - s.began).count() *
                      static_cast<double>(s.floors.size());
  report.ran = std::chrono::duration<double>(now.ran - s.before.ran).count() / most;
  report.waited = std::chrono::duration<double>(now.waited - s.before.waited).count() / most;
  report.requests = replies.size();
  for (const Sample& reply : replies) {
    if (!is_over(reply, LoadReport::kLimit)) continue;
    Clock::duration stall{};
    for (const Sample& f : floor) {
      if (is_over(f, LoadReport::kStall) && f.due < reply.done &&
          f.done > reply.due - LoadReport::kLimit)
        stall = std::max(stall, f.done - f.due);
    }
    const bool excused = reply.done - reply.due - 2 * stall <= LoadReport::kLimit;
    ++(excused ? report.excused : report.late);
  }
  std::vector<double> ms = sorted_ms(replies), floor_ms = sorted_ms(floor);
  report.p50_ms = at_share(ms, 0.5);
  report.p99_ms = at_share(ms, 0.99);
  report.worst_ms = at_share(ms, 1);
  report.floor_p99_ms = at_share(floor_ms, 0.99);
  report.floor_worst_ms = at_share(floor_ms, 1);
  return report;
}

std::string LoadReport::text() const {
  std::ostringstream out;
  out.precision(1);
  out << std::fixed << requests << " replies, ms: p50 " << p50_ms << ", p99 " << p99_ms
      << ", worst " << worst_ms << " (floor: p99 " << floor_p99_ms << ", worst " << floor_worst_ms
      << "); late " << late << ", excused " << excused << "; the server ran " << 100 * ran
      << " % and had no CPU for " << 100 * waited << " %";
  if (!error.empty()) out << "; ERROR: " << error;
  return out.str();
}

}  // namespace integration
