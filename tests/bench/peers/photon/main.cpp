// Photon's echo for ./dev bench --wire: one thread, a coroutine for each connection in blocking
// code, stacks from its pool.
//
//     photon ENGINE 1 PORT
//
// ENGINE is one of its three ways to wait for sockets.
#include <photon/common/alog.h>
#include <photon/net/socket.h>
#include <photon/photon.h>
#include <photon/thread/thread11.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>

namespace {

constexpr std::uint64_t kStack = 64 * 1024;

struct Engine {
  std::string_view name;
  std::uint64_t events, sockets;
  photon::net::ISocketServer* (*listener)();
};

constexpr Engine kEngines[] = {
    {"serve_echo", photon::INIT_EVENT_EPOLL, photon::INIT_IO_NONE,
     photon::net::new_tcp_socket_server},
    {"serve_echo_edges", photon::INIT_EVENT_EPOLL, photon::INIT_IO_SOCKET_EDGE_TRIGGER,
     photon::net::new_et_tcp_socket_server},
    {"serve_echo_io_uring", photon::INIT_EVENT_IOURING, photon::INIT_IO_NONE,
     photon::net::new_iouring_tcp_server},
};

void serve(photon::net::ISocketStream* stream) {
  char buffer[2048];
  for (;;) {
    const ssize_t n = stream->recv(buffer, sizeof buffer);
    if (n <= 0 || stream->write(buffer, static_cast<std::size_t>(n)) != n) break;
  }
  delete stream;
}

int serve_all(const Engine& engine, std::uint16_t port) {
  set_log_output_level(ALOG_FATAL);
  photon::PhotonOptions options;
  options.use_pooled_stack_allocator = photon::STACK_ALLOCATOR_POOLED;
  if (photon::init(engine.events, engine.sockets, options) != 0) return 1;
  photon::net::ISocketServer* server = engine.listener();
  if (!server || server->bind(port, photon::net::IPAddr("127.0.0.1")) != 0 ||
      server->listen(4096) != 0)
    return 1;
  for (;;) {
    if (auto* stream = server->accept()) photon::thread_create11(kStack, serve, stream);
  }
}

}  // namespace

int main(int argc, char** argv) {
  for (const Engine& engine : kEngines) {
    if (argc == 4 && engine.name == argv[1] && std::string_view(argv[2]) == "1")
      return serve_all(engine, static_cast<std::uint16_t>(std::atoi(argv[3])));
  }
  std::fputs("usage: photon serve_echo|serve_echo_edges|serve_echo_io_uring 1 PORT\n", stderr);
  return 2;
}
