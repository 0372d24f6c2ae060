// The http plugin in a real daemon, by a plain blocking client.
#include "tests/integration/daemon_process.hpp"
#include "tests/integration/echo_client.hpp"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <fstream>
#include <random>
#include <thread>

using namespace integration;
using namespace std::string_literals;

namespace {

namespace fs = std::filesystem;

bool has_openat2() {
  return ::syscall(SYS_openat2, AT_FDCWD, ".", nullptr, 0) == 0 || errno != ENOSYS;
}

struct Response {
  int status = 0;
  std::string head, body;
  // The value of a field, which may be there once; empty when it is not.
  std::string field(const std::string& name) const {
    const std::size_t at = head.find("\r\n" + name + ": ");
    if (at == std::string::npos) return {};
    CHECK(head.find("\r\n" + name + ": ", at + 1) == std::string::npos);
    const std::size_t begin = at + name.size() + 4;
    return head.substr(begin, head.find("\r\n", begin) - begin);
  }
};

class HttpClient {
 public:
  explicit HttpClient(std::uint16_t port, int receive_buffer = 0)
      : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    if (receive_buffer)
      ::setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
    const timeval patience{std::chrono::duration_cast<std::chrono::seconds>(kPatience).count(), 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    const sockaddr_in to = address(port);
    REQUIRE(::connect(fd_, reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0);
  }
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;
  ~HttpClient() {
    if (fd_ >= 0) ::close(fd_);
  }

  static sockaddr_in address(std::uint16_t port) {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return to;
  }
  static bool refused(std::uint16_t port) {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const sockaddr_in to = address(port);
    const bool connected = ::connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0;
    ::close(fd);
    return !connected;
  }

  // False when the server does not take all of it.
  bool send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n <= 0) return false;
      bytes.remove_prefix(static_cast<std::size_t>(n));
    }
    return true;
  }
  void half_close() { ::shutdown(fd_, SHUT_WR); }
  void reset() {
    const linger at_once{1, 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    ::close(std::exchange(fd_, -1));
  }

  // The next response; status 0 when the connection ends before it is complete.
  Response receive(bool has_body = true) {
    Response r;
    std::size_t end;
    while ((end = pending_.find("\r\n\r\n")) == std::string::npos) {
      if (!more()) return {};
    }
    r.head = pending_.substr(0, end + 2);
    pending_.erase(0, end + 4);
    REQUIRE(r.head.starts_with("HTTP/1.1 "));
    const std::string length = r.field("Content-Length");
    if (has_body && !length.empty()) {
      while (pending_.size() < std::stoul(length)) {
        if (!more()) return {};
      }
      r.body = pending_.substr(0, std::stoul(length));
      pending_.erase(0, r.body.size());
    }
    r.status = std::stoi(r.head.substr(9, 3));
    return r;
  }
  Response ask(std::string_view bytes, bool has_body = true) {
    REQUIRE(send(bytes));
    return receive(has_body);
  }
  // The server closes in order, and says nothing before.
  bool at_end() { return pending_.empty() && !more() && !failed_; }
  bool closed() { return pending_.empty() && !more(); }
  // Bytes that have come and were not read.
  int waiting() const {
    int n = 0;
    ::ioctl(fd_, FIONREAD, &n);
    return n;
  }

 private:
  bool more() {
    char buffer[16 * 1024];
    const ssize_t n = ::recv(fd_, buffer, sizeof buffer, 0);
    if (n < 0) failed_ = true;
    REQUIRE_MESSAGE(!(n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)), "no answer");
    if (n > 0) pending_.append(buffer, static_cast<std::size_t>(n));
    return n > 0;
  }
  int fd_;
  std::string pending_;
  bool failed_ = false;
};

std::string get(const std::string& target, const std::string& fields = {}) {
  return "GET " + target + " HTTP/1.1\r\nHost: test\r\n" + fields + "\r\n";
}

// A daemon with the plugin, and a directory of files.
struct HttpDaemon : DaemonProcess {
  std::uint16_t port = free_port();

  HttpDaemon() {
    fs::create_directories(root() / "sub");
    plugin_config() = {{"listen", "127.0.0.1:" + std::to_string(port)}, {"root", root().native()}};
    const std::string file = read_file(SMARM_BUILD_DIR "/plugins/http/http.so");
    REQUIRE_FALSE(file.empty());
    install_bytes(file, "http.so");
  }
  Json& plugin_config() { return config["plugins"]["overrides"]["http"]["config"]; }
  fs::path root() const { return directory() / "www"; }
  void write(const std::string& name, const std::string& text) const {
    std::ofstream(root() / name, std::ios::binary) << text;
  }
  void start_listening() {
    start_ready();
    wait_log("plugin.log",
             {{"plugin", "http"}, {"message", "listening on 127.0.0.1:" + std::to_string(port)}});
  }
  HttpClient client(int receive_buffer = 0) const { return HttpClient(port, receive_buffer); }
  // It still serves, and nothing in it has panicked.
  void stop_healthy() {
    CHECK(client().ask(get("/hello")).body == "hello\n");
    CHECK(stop() == 0);
    CHECK(logged("plugin.panicked").empty());
    CHECK(logged("plugin.actor_panicked").empty());
    CHECK(logged("plugin.blocked").empty());
  }
};

std::string noise(std::size_t size) {
  std::minstd_rand random(size);
  std::string text(size, '\0');
  for (char& c : text) c = static_cast<char>(random());
  return text;
}

}  // namespace

TEST_SUITE("http") {
  TEST_CASE("hello, as often as one likes on one connection") {
    HttpDaemon d;
    d.start_listening();
    HttpClient c = d.client();
    for (int i = 0; i < 3; ++i) {
      const Response r = c.ask(get("/hello"));
      CHECK(r.status == 200);
      CHECK(r.field("Content-Type") == "text/plain");
      CHECK(r.field("Date").ends_with(" GMT"));
      CHECK(r.field("Connection").empty());
      CHECK(r.body == "hello\n");
    }
    CHECK(c.ask(get("/hello?x=/y")).body == "hello\n");
    CHECK(c.ask(get("http://test/hello")).body == "hello\n");
    const Response head = c.ask("HEAD /hello HTTP/1.1\r\nHost: test\r\n\r\n", false);
    CHECK(head.status == 200);
    CHECK(head.field("Content-Length") == "6");
    CHECK(c.ask(get("/hello")).body == "hello\n");  // so the HEAD had no body
    d.stop_healthy();
  }

  TEST_CASE("a connection ends when the client says so, and by default with HTTP/1.0") {
    HttpDaemon d;
    d.start_listening();
    HttpClient close = d.client();
    const Response last = close.ask(get("/hello", "Connection: close\r\n") + get("/hello"));
    CHECK(last.body == "hello\n");
    CHECK(last.field("Connection") == "close");
    CHECK(close.at_end());
    HttpClient old = d.client();
    CHECK(old.ask("GET /hello HTTP/1.0\r\n\r\n").field("Connection") == "close");
    CHECK(old.at_end());
    HttpClient kept = d.client();
    for (int i = 0; i < 2; ++i)
      CHECK(kept.ask("GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").field("Connection") ==
            "keep-alive");
    HttpClient half = d.client();
    REQUIRE(half.send(get("/hello")));
    half.half_close();
    CHECK(half.receive().body == "hello\n");
    CHECK(half.at_end());
    d.stop_healthy();
  }

  TEST_CASE("pipelined requests are answered in order") {
    HttpDaemon d;
    d.write("a.txt", "file a");
    d.write("large", noise(100'000));
    d.start_listening();
    HttpClient c = d.client();
    std::string batch;
    for (int i = 0; i < 100; ++i) batch += get(i % 10 == 3 ? "/a.txt" : "/hello");
    REQUIRE(c.send(batch));
    for (int i = 0; i < 100; ++i) CHECK(c.receive().body == (i % 10 == 3 ? "file a" : "hello\n"));
    REQUIRE(c.send(get("/hello") + get("/large") + "HEAD /large HTTP/1.1\r\nHost: x\r\n\r\n" +
                   get("/none") + get("/hello")));
    CHECK(c.receive().body == "hello\n");
    CHECK(c.receive().body == noise(100'000));
    CHECK(c.receive(false).field("Content-Length") == "100000");
    CHECK(c.receive().status == 404);
    CHECK(c.receive().body == "hello\n");
    d.stop_healthy();
  }

  TEST_CASE("ten thousand requests at once") {
    HttpDaemon d;
    d.start_listening();
    HttpClient c = d.client();
    constexpr int kRequests = 10'000;
    std::string batch;
    for (int i = 0; i < kRequests; ++i) batch += get("/hello?" + std::to_string(i));
    // The answers have to be read meanwhile: the buffers between the two do not hold them all.
    bool sent = false;
    std::jthread sender([&] { sent = c.send(batch); });
    for (int i = 0; i < kRequests; ++i) {
      if (c.receive().body != "hello\n") FAIL("answer " << i << " is missing");
    }
    sender.join();
    CHECK(sent);
    CHECK(c.ask(get("/none")).status == 404);
    d.stop_healthy();
  }

  TEST_CASE("a request that comes in single bytes") {
    HttpDaemon d;
    d.start_listening();
    HttpClient c = d.client();
    for (int i = 0; i < 2; ++i) {
      const std::string request = get("/hello", "X-Long: " + std::string(3000, 'x') + "\r\n");
      for (std::size_t at = 0; at < request.size();) {
        // In single bytes at both ends; between them in single packets.
        const std::size_t size = at < 40 || at > request.size() - 10 ? 1 : 500;
        REQUIRE(c.send(std::string_view(request).substr(at, size)));
        at += std::min(size, request.size() - at);
      }
      CHECK(c.receive().body == "hello\n");
    }
    d.stop_healthy();
  }

  TEST_CASE("what is refused, and whether the connection lives on") {
    HttpDaemon d;
    d.plugin_config()["max_header_bytes"] = 1024;
    d.plugin_config()["max_body_bytes"] = 1000;
    d.start_listening();
    struct Case {
      int status;
      bool lives;
      std::string request;
    };
    const std::string post = "POST /hello HTTP/1.1\r\nHost: x\r\n";
    for (const auto& [status, lives, request] : {
             Case{404, true, get("/none")},
             Case{400, true, get("*")},
             Case{400, true, get("/%zz")},
             Case{400, true, get("/%00")},
             Case{405, true, "DELETE /hello HTTP/1.1\r\nHost: x\r\n\r\n"},
             Case{405, true, "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n"},
             Case{405, true, post + "Content-Length: 1000\r\n\r\n" + std::string(1000, 'b')},
             Case{200, true, get("/hello", "Content-Length: 5\r\n") + "GET /"},
             Case{413, false, post + "Content-Length: 1001\r\n\r\n" + std::string(1001, 'b')},
             Case{413, false, post + "Content-Length: 99999999999999999999999\r\n\r\n"},
             Case{417, false, post + "Expect: 100-continue\r\nContent-Length: 5\r\n\r\n"},
             Case{400, false, "nonsense\r\n\r\n"},
             Case{400, false, "GET /hello HTTP/1.1\r\n\r\n"},
             Case{400, false, post + "Content-Length: 1\r\nContent-Length: 2\r\n\r\nab"},
             Case{400, false,
                  post + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
             Case{501, false, post + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
             Case{505, false, "GET /hello HTTP/2.0\r\nHost: x\r\n\r\n"},
             Case{431, false, get("/hello", "X: " + std::string(1024, 'x') + "\r\n")},
             Case{431, false, get("/hello", "X: " + std::string(100'000, 'x') + "\r\n")},
             Case{414, false, get("/" + std::string(1024, 'x'))},
         }) {
      CAPTURE(request.substr(0, 100));
      HttpClient c = d.client();
      // What follows is an answer of its own, or none.
      const Response r = c.ask(request + get("/hello"));
      CHECK(r.status == status);
      CHECK(r.field("Allow") == (status == 405 ? "GET, HEAD" : ""));
      CHECK(r.field("Connection") == (lives ? "" : "close"));
      if (lives)
        CHECK(c.receive().body == "hello\n");
      else
        CHECK(c.at_end());  // no reset, although much of the request was not read before
    }
    d.stop_healthy();
  }

  TEST_CASE("a body that comes late is drained, one that stops short ends the connection") {
    HttpDaemon d, impatient;
    d.start_listening();
    HttpClient c = d.client();
    REQUIRE(c.send("POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\n"));
    CHECK(c.receive().status == 405);  // before the body
    REQUIRE(c.send(std::string(200'000, 'b')));
    CHECK(c.ask(get("/hello")).body == "hello\n");
    d.stop_healthy();
    impatient.plugin_config()["idle_s"] = 1;
    impatient.start_listening();
    HttpClient never = impatient.client();
    CHECK(never.ask("POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc").status == 405);
    CHECK(never.at_end());
    CHECK(impatient.stop() == 0);
  }

  TEST_CASE("files: types, lengths, a directory's index") {
    HttpDaemon d;
    d.write("a page.html", "<p>page");
    d.write("sub/index.html", "<p>index");
    d.write("empty.txt", "");
    d.write("large.bin", noise(1'000'000));
    d.start_listening();
    HttpClient c = d.client();
    const Response page = c.ask(get("/a%20page.html?version=1"));
    CHECK(page.status == 200);
    CHECK(page.field("Content-Type") == "text/html; charset=utf-8");
    CHECK(page.body == "<p>page");
    CHECK(c.ask(get("/empty.txt")).field("Content-Length") == "0");
    const Response large = c.ask(get("/large.bin"));
    CHECK(large.field("Content-Type") == "application/octet-stream");
    CHECK(large.body == noise(1'000'000));
    const Response moved = c.ask(get("/sub"));
    CHECK(moved.status == 301);
    CHECK(moved.field("Location") == "./sub/");
    CHECK(c.ask(get("/sub/")).body == "<p>index");
    CHECK(c.ask(get("//sub///index.html")).body == "<p>index");
    CHECK(c.ask(get("/")).status == 404);
    d.write("index.html", "<p>top");
    CHECK(c.ask(get("/")).body == "<p>top");
    CHECK(c.ask(get("http://test")).body == "<p>top");
    d.stop_healthy();
  }

  TEST_CASE("parts of a file, and a file that the client has already") {
    HttpDaemon d;
    d.write("digits", "0123456789");
    d.write("large", noise(100'000));
    d.start_listening();
    HttpClient c = d.client();
    const Response part = c.ask(get("/digits", "Range: bytes=2-4\r\n"));
    CHECK(part.status == 206);
    CHECK(part.field("Content-Range") == "bytes 2-4/10");
    CHECK(part.body == "234");
    CHECK(c.ask(get("/large", "Range: bytes=-50000\r\n")).body == noise(100'000).substr(50'000));
    const Response none = c.ask(get("/digits", "Range: bytes=10-\r\n"));
    CHECK(none.status == 416);
    CHECK(none.field("Content-Range") == "bytes */10");
    CHECK(c.ask(get("/digits", "Range: bytes=1-2,4-5\r\n")).status == 200);
    CHECK(c.ask(get("/digits", "Range: bytes=1-2\r\nIf-Range: \"x\"\r\n")).status == 200);

    const std::string modified = c.ask(get("/digits")).field("Last-Modified");
    CHECK(modified.ends_with(" GMT"));
    const Response same = c.ask(get("/digits", "If-Modified-Since: " + modified + "\r\n"), false);
    CHECK(same.status == 304);
    CHECK(same.field("Content-Length").empty());
    CHECK(c.ask(get("/digits", "If-Modified-Since: Thu, 01 Jan 1970 00:00:00 GMT\r\n")).body ==
          "0123456789");
    CHECK(c.ask(get("/digits", "If-Modified-Since: yesterday\r\n")).status == 200);
    d.stop_healthy();
  }

  TEST_CASE("nothing leads out of the root") {
    HttpDaemon d;
    std::ofstream(d.directory() / "secret.txt") << "secret";
    fs::create_directory(d.directory() / "www2");
    std::ofstream(d.directory() / "www2" / "x") << "secret";
    fs::create_symlink("../secret.txt", d.root() / "link");
    fs::create_symlink(d.directory() / "secret.txt", d.root() / "absolute");
    fs::create_directory_symlink("..", d.root() / "up");
    d.write("inside.txt", "inside");
    fs::create_symlink("../inside.txt", d.root() / "sub" / "good");
    REQUIRE(::mkfifo((d.root() / "fifo").c_str(), 0644) == 0);
    d.start_listening();
    HttpClient c = d.client();
    CHECK(c.ask(get("/sub/good")).body == "inside");
    for (const std::string target : {"/../secret.txt",
                                     "/sub/../../secret.txt",
                                     "/%2e%2e/secret.txt",
                                     "/.%2e/secret.txt",
                                     "/..%2fsecret.txt",
                                     "/%2e%2e%2fsecret.txt",
                                     "/..%5csecret.txt",
                                     "/%252e%252e/secret.txt",
                                     "//../secret.txt",
                                     "/./../secret.txt",
                                     "/sub/%2e%2e/%2e%2e/secret.txt",
                                     "/link",
                                     "/absolute",
                                     "/up/secret.txt",
                                     "/up/www2/x",
                                     "/../www2/x",
                                     "/etc/passwd",
                                     "//etc/passwd",
                                     "/fifo",
                                     "http://x/../secret.txt",
                                     "/proc/self/root/etc/passwd"}) {
      CAPTURE(target);
      CHECK(c.ask(get(target)).status == 404);
    }
    // Out and in again: the kernel follows the way, what stands in for it sees where it ends.
    CHECK(c.ask(get("/up/www/inside.txt")).status == (has_openat2() ? 404 : 200));
    d.stop_healthy();
  }

  TEST_CASE("without a root there are no files") {
    HttpDaemon d;
    d.plugin_config().erase("root");
    d.start_listening();
    HttpClient c = d.client();
    CHECK(c.ask(get("/")).status == 404);
    CHECK(c.ask(get("/etc/passwd")).status == 404);
    d.stop_healthy();
  }

  TEST_CASE("connections above the limit get a 503, which is logged once") {
    HttpDaemon d;
    d.plugin_config()["max_connections"] = 2;
    d.start_listening();
    {
      HttpClient first = d.client(), second = d.client();
      CHECK(first.ask(get("/hello")).status == 200);
      CHECK(second.ask(get("/hello")).status == 200);
      for (int i = 0; i < 3; ++i) {
        HttpClient third = d.client();
        CHECK(third.receive().status == 503);
        CHECK(third.closed());
      }
      CHECK(first.ask(get("/hello")).status == 200);
    }
    // Those two are gone; a new one gets its turn as soon as the plugin has heard of it.
    d.until([&] { return d.client().ask(get("/hello")).status == 200; }, "room for a connection");
    CHECK(d.stop() == 0);
    const std::string said = "at the limit of 2 connections (/max_connections): new ones get a 503";
    CHECK(d.logged("plugin.log", {{"plugin", "http"}, {"message", said}}).size() == 1);
  }

  TEST_CASE("an idle connection is closed without a word, a slow head with a 408") {
    HttpDaemon d;
    d.plugin_config()["idle_s"] = 2;
    d.plugin_config()["header_timeout_s"] = 1;
    d.start_listening();
    HttpClient silent = d.client(), idle = d.client(), slow = d.client(), second = d.client();
    REQUIRE(slow.send("GET /hello HTTP/1.1\r\nHo"));
    REQUIRE(second.send(get("/hello") + "G"));
    CHECK(idle.ask(get("/hello")).status == 200);
    CHECK(second.receive().status == 200);
    const Response late = slow.receive();
    CHECK(late.status == 408);
    CHECK(late.field("Connection") == "close");
    CHECK(slow.at_end());
    CHECK(second.receive().status == 408);
    CHECK(second.at_end());
    CHECK(silent.at_end());
    CHECK(idle.at_end());
    d.stop_healthy();
  }

  TEST_CASE("a head that dribbles does not gain time by each byte") {
    HttpDaemon d;
    d.plugin_config()["header_timeout_s"] = 1;
    d.start_listening();
    HttpClient c = d.client();
    REQUIRE(c.send("GET /hello HTTP/1.1\r\nX: "));
    const auto begin = std::chrono::steady_clock::now();
    // A byte every 20 ms: until the answer is there, and patience for it.
    while (c.waiting() == 0 && std::chrono::steady_clock::now() - begin < kPatience && c.send("x"))
      std::this_thread::sleep_for(20ms);
    CHECK(c.waiting() > 0);
    CHECK(c.receive().status == 408);
    d.stop_healthy();
  }

  TEST_CASE("a stop lets a response that is under way end, and closes idle connections") {
    HttpDaemon d;
    const std::string large = noise(8'000'000);
    d.write("large", large);
    d.start_listening();
    HttpClient idle = d.client();
    CHECK(idle.ask(get("/hello")).status == 200);
    HttpClient busy = d.client(4096);
    REQUIRE(busy.send(get("/large")));
    // More than all buffers hold: the response has begun, and waits for us.
    d.until([&] { return busy.waiting() > 0; }, "the first bytes");
    d.signal(SIGTERM);
    CHECK(idle.at_end());  // so the plugin has heard of the stop
    CHECK(HttpClient::refused(d.port));
    const Response r = busy.receive();
    CHECK(r.status == 200);
    CHECK(r.body == large);
    CHECK(busy.at_end());
    CHECK(d.wait_exit() == 0);
    CHECK(d.logged("plugin.panicked").empty());
  }

  TEST_CASE("a request that is complete after the stop is the last one") {
    HttpDaemon d;
    d.start_listening();
    HttpClient idle = d.client(), c = d.client();
    CHECK(idle.ask(get("/hello")).status == 200);
    CHECK(c.ask(get("/hello")).status == 200);
    const std::string request = get("/hello");
    // One answer, and the first bytes of the next request behind it: the plugin has these.
    REQUIRE(c.send(request + request.substr(0, 20)));
    CHECK(c.receive().status == 200);
    d.signal(SIGTERM);
    CHECK(idle.at_end());
    const Response last = c.ask(request.substr(20));
    CHECK(last.status == 200);
    CHECK(last.field("Connection") == "close");
    CHECK(c.at_end());
    CHECK(d.wait_exit() == 0);
  }

  TEST_CASE("a bad configuration is one clear line, and a panic that supervision sees") {
    struct Case {
      Json config;
      std::string message;
    };
    for (const auto& [config, message] : {
             Case{{{"root", 7}}, "/root must be a string, the path of a directory, not 7"},
             Case{{{"root", "www"}}, "/root must be an absolute path, not \"www\""},
             Case{{{"root", "/none/such"}}, "cannot open the directory /none/such: No such file"},
             Case{{{"listen", false}}, "/listen must be a string, host:port, not false"},
             Case{{{"listen", "nowhere"}}, "cannot listen"},
             Case{{{"idle_s", 0}}, "/idle_s must be an integer from 1 to 86400, not 0"},
             Case{{{"header_timeout_s", "1"}},
                  "/header_timeout_s must be an integer from 1 to 3600, not \"1\""},
             Case{{{"max_header_bytes", 255}}, "/max_header_bytes must be an integer from 256 to"},
             Case{{{"max_body_bytes", -1}}, "/max_body_bytes must be an integer from 0 to"},
             Case{{{"max_connections", 1.5}}, "/max_connections must be an integer from 1 to"},
             Case{{{"port", 80}}, "/port is not a key of http (listen, root, "},
         }) {
      CAPTURE(message);
      HttpDaemon d;
      d.plugin_config() = config;
      d.start_ready();
      d.wait_log("plugin.panicked", {{"plugin", "http"}});
      const Json said = d.wait_log("plugin.log", {{"plugin", "http"}, {"level", "error"}});
      CHECK(said.at("message").get<std::string>().find(message) != std::string::npos);
      CHECK(d.stop() == 0);
    }
  }

  TEST_CASE(
      "a port in use is one line that says what to do, and the plugin comes when it is free") {
    HttpDaemon d;
    const int taken = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const sockaddr_in at = HttpClient::address(d.port);
    REQUIRE(::bind(taken, reinterpret_cast<const sockaddr*>(&at), sizeof at) == 0);
    REQUIRE(::listen(taken, 1) == 0);
    d.start_ready();
    const Json said = d.wait_log("plugin.log", {{"plugin", "http"}, {"level", "error"}});
    for (const std::string& part :
         {std::to_string(d.port), "cannot listen"s, "Address already in use"s, "/listen"s}) {
      CAPTURE(part);
      CHECK(said.at("message").get<std::string>().find(part) != std::string::npos);
    }
    ::close(taken);
    d.wait_log("plugin.log", {{"plugin", "http"},
                              {"message", "listening on 127.0.0.1:" + std::to_string(d.port)}});
    CHECK(d.client().ask(get("/hello")).body == "hello\n");
    CHECK(d.stop() == 0);
  }

  TEST_CASE("a socket of the service manager takes the place of the address") {
    HttpDaemon d;
    const int passed = ::socket(AF_INET, SOCK_STREAM, 0);
    const std::uint16_t other = free_port();
    const sockaddr_in at = HttpClient::address(other);
    REQUIRE(::bind(passed, reinterpret_cast<const sockaddr*>(&at), sizeof at) == 0);
    REQUIRE(::listen(passed, 16) == 0);
    d.start_activated(passed, "http");
    ::close(passed);
    CHECK(HttpClient(other).ask(get("/hello")).body == "hello\n");
    CHECK(HttpClient::refused(d.port));
    CHECK(d.stop() == 0);
  }

  TEST_CASE("hostile clients harm nobody else") {
    HttpDaemon d;
    d.write("large", noise(4'000'000));
    d.start_listening();
    HttpClient neighbour = d.client();
    std::minstd_rand random(7);
    for (int i = 0; i < 200; ++i) {
      HttpClient c = d.client();
      // The server may have closed already.
      (void)c.send(noise(1 + random() % 3000));
      if (i % 2)
        c.reset();
      else
        c.half_close();
      if (i % 50 == 0) CHECK(neighbour.ask(get("/hello")).body == "hello\n");
    }
    const std::string good = get("/large", "X: y\r\nContent-Length: 3\r\n") + "abc";
    for (std::size_t n = 1; n < good.size(); ++n) {
      HttpClient c = d.client();
      REQUIRE(c.send(std::string_view(good).substr(0, n)));
      if (n % 2)
        c.reset();
      else
        c.half_close();
    }
    for (int i = 0; i < 20; ++i) {  // gone in the midst of a response
      HttpClient c = d.client(4096);
      REQUIRE(c.send(get("/large") + get("/large")));
      d.until([&] { return c.waiting() > 0; }, "the first bytes");
      c.reset();
    }
    CHECK(neighbour.ask(get("/hello")).body == "hello\n");
    d.stop_healthy();
  }
}
