#include "daemon/metrics/server.hpp"

#include <netinet/in.h>
#include <sys/socket.h>

#include <arpa/inet.h>
#include <cerrno>
#include <cstring>
#include <utility>

#include "daemon/config/config.hpp"
#include "daemon/control/stream_server.hpp"
#include "daemon/log/events.hpp"
#include "daemon/log/logger.hpp"
#include "daemon/metrics/http.hpp"

namespace smarmd {
namespace {

constexpr int kBacklog = 64;
constexpr std::string_view kPlain = "text/plain; charset=utf-8";
constexpr std::string_view kPrometheus = "text/plain; version=0.0.4; charset=utf-8";

std::string complain(const std::string& listen, const std::string& what) {
  return listen + ": " + what;
}

std::string bind_complaint(const std::string& listen, int error) {
  if (error == EADDRINUSE)
    return complain(
        listen, "the port is in use; set metrics.listen to a free one, or to \"\" for no metrics");
  if (error == EADDRNOTAVAIL)
    return complain(listen,
                    "this machine does not have that address; set metrics.listen to one it has");
  if (error == EACCES)
    return complain(listen,
                    "ports below 1024 need a privilege; set metrics.listen to a higher one");
  return complain(listen, std::string("cannot listen: ") + std::strerror(error));
}

struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t size = 0;
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
};

std::expected<SocketAddress, std::string> resolve(const std::string& listen) {
  const auto parsed = parse_listen(listen);
  if (!parsed)
    return std::unexpected(
        complain(listen, "not an address and a port; write 127.0.0.1:9464 or [::1]:9464"));
  SocketAddress out;
  if (parsed->ipv6) {
    auto* address = reinterpret_cast<sockaddr_in6*>(&out.storage);
    address->sin6_family = AF_INET6;
    address->sin6_port = htons(parsed->port);
    ::inet_pton(AF_INET6, parsed->host.c_str(), &address->sin6_addr);
    out.size = sizeof *address;
  } else {
    auto* address = reinterpret_cast<sockaddr_in*>(&out.storage);
    address->sin_family = AF_INET;
    address->sin_port = htons(parsed->port);
    ::inet_pton(AF_INET, parsed->host.c_str(), &address->sin_addr);
    out.size = sizeof *address;
  }
  return out;
}

std::expected<UniqueFd, std::string> listen_on(const std::string& listen) {
  const auto address = resolve(listen);
  if (!address) return std::unexpected(address.error());
  UniqueFd fd(::socket(address->storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const int one = 1;
  if (!fd) return std::unexpected(bind_complaint(listen, errno));
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (::bind(fd.get(), address->get(), address->size) != 0 || ::listen(fd.get(), kBacklog) != 0) {
    return std::unexpected(bind_complaint(listen, errno));
  }
  return fd;
}

std::uint16_t port_of(int fd) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) return 0;
  return ntohs(address.ss_family == AF_INET6 ? reinterpret_cast<sockaddr_in6*>(&address)->sin6_port
                                             : reinterpret_cast<sockaddr_in*>(&address)->sin_port);
}

}  // namespace

struct MetricsServer::State : StreamProtocol {
  State(MetricsServerOptions o, Content c, UniqueFd listener)
      : options(std::move(o)),
        content(std::move(c)),
        port(port_of(listener.get())),
        server(std::move(listener),
               {"smarmd-metrics", options.max_connections, options.request_timeout}, *this) {}

  void on_input(Connection& connection) override;
  void on_work_deadline(Connection& connection) override {
    connection.dead = true;
  }  // never in phase working
  std::string refusal() override { return http_answer(503, kPlain, "too many connections\n"); }
  std::string respond(const HttpRequest& request) const;

  const MetricsServerOptions options;
  const Content content;
  const std::uint16_t port;
  StreamServer server;  // last: its thread ends before the rest goes
};

void MetricsServer::State::on_input(Connection& connection) {
  HttpRequest request;
  const HttpParse result = parse_http(connection.in, request);
  if (connection.in.size() > options.max_request_bytes) {
    server.finish(connection, http_answer(431, kPlain, "the request is too large\n"));
  } else if (result == HttpParse::complete) {
    server.finish(connection, respond(request));
  } else if (result == HttpParse::malformed) {
    server.finish(connection, http_answer(400, kPlain, "not a request this server understands\n"));
  }
}

std::string MetricsServer::State::respond(const HttpRequest& request) const {
  if (request.path != "/metrics") return http_answer(404, kPlain, "the metrics are at /metrics\n");
  if (request.method != "GET") return http_answer(405, kPlain, "only GET\n", "Allow: GET\r\n");
  try {
    return http_answer(200, kPrometheus, content());
  } catch (const std::exception& error) {
    return http_answer(500, kPlain,
                       std::string("cannot collect the metrics: ") + error.what() + "\n");
  }
}

std::expected<std::unique_ptr<MetricsServer>, std::string> MetricsServer::start(
    MetricsServerOptions options, Content content, Logger* logger) {
  auto listener = listen_on(options.listen);
  if (!listener) return std::unexpected(listener.error());
  auto state =
      std::make_unique<State>(std::move(options), std::move(content), std::move(*listener));
  if (state->server.wakeup()->fd() < 0) {
    return std::unexpected(complain(
        state->options.listen, std::string("cannot make an eventfd: ") + std::strerror(errno)));
  }
  state->server.start();
  if (logger) {
    logger->log(Level::debug, events::kMetricsListening, state->options.listen,
                {{"listen", state->options.listen}, {"port", static_cast<int>(state->port)}});
  }
  return std::unique_ptr<MetricsServer>(new MetricsServer(std::move(state)));
}

MetricsServer::MetricsServer(std::unique_ptr<State> state) : state_(std::move(state)) {}
MetricsServer::~MetricsServer() = default;
std::uint16_t MetricsServer::port() const { return state_->port; }

}  // namespace smarmd
