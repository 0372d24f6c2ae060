#include "connection.hpp"

#include "buffers.hpp"
#include "date.hpp"
#include "request.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <optional>

namespace http {

namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

constexpr std::size_t kChunk =
    std::size_t{64} * 1024;   // of a large file, read and written at a time
constexpr auto kLinger = 2s;  // how long a client gets to take the last response

class Number {
 public:
  explicit Number(std::uint64_t n)
      : size_(static_cast<std::size_t>(
            std::to_chars(text_.data(), text_.data() + text_.size(), n).ptr - text_.data())) {}
  operator std::string_view() const {  // NOLINT(google-explicit-constructor)
    return {text_.data(), size_};
  }

 private:
  std::array<char, 20> text_;
  std::size_t size_;
};

class Connection {
 public:
  Connection(smarm::TcpStream& stream, const Site& site, Busy& busy)
      : stream_(stream),
        site_(site),
        busy_(busy),
        parser_(site.max_header_bytes),
        input_(std::max(kLarge, site.max_header_bytes)),
        output_(stream, site.idle) {}

  void run() {
    for (;;) {
      switch (parser_.parse(input_.bytes())) {
        case RequestParser::Result::incomplete:
          if (!receive()) return;
          break;
        case RequestParser::Result::refused: return refuse(parser_.refusal());
        case RequestParser::Result::complete:
          if (!answer(parser_.request())) return close();
          parser_.reset();
          deadline_.reset();
          break;
      }
    }
  }

 private:
  // More bytes of the next request. All that was answered so far goes out before the wait.
  bool receive() {
    if (!output_.flush()) return false;
    if (input_.make_room()) parser_.reset();
    smarm::Duration patience = site_.idle;
    if (input_.empty()) {
      parser_.reset();
      busy_.store(false);
      if (smarm::stop_requested()) return false;
    } else {
      const auto now = Clock::now();
      if (!deadline_) deadline_ = now + site_.header_timeout;
      patience = *deadline_ - now;
    }
    const bool begins = input_.empty();
    const std::span<char> room = input_.room();
    const auto got = stream_.read(room, patience);
    if (!got) {
      if (!begins && got.error().code == std::errc::timed_out) refuse(Status::request_timeout);
      return false;
    }
    if (*got == 0) return false;
    busy_.store(true);
    input_.added(*got);
    if (begins && *got == room.size()) receive_rest();
    return true;
  }

  // A whole batch of requests is larger than the small buffer: take what is there, so that it is
  // answered by one write. What goes wrong here the next read tells as well.
  [[gnu::noinline]] void receive_rest() {
    input_.make_room();
    if (const auto got = stream_.read(input_.room(), 0ns)) input_.added(*got);
  }

  // False: this was the last one. The texts of the request lie in the input, which therefore stays
  // as it is until the end.
  bool answer(const Request& request) {
    keep_alive_ = request.keep_alive && !smarm::stop_requested();
    is_1_0_ = request.minor_version == 0;
    if (request.expects) {
      // Whether a body follows is open now.
      keep_alive_ = false;
      error(Status::expectation_failed, request.method);
      return false;
    }
    if (request.content_length > site_.max_body_bytes) {
      keep_alive_ = false;
      error(Status::content_too_large, request.method);
      return false;
    }
    const std::uint64_t body = request.content_length;
    if (request.method == Method::other) {
      error(Status::method_not_allowed, request.method);
    } else if (const std::string_view path = path_of(request.target); path == "/hello") {
      hello(request.method);
    } else {
      file(request, path);
    }
    input_.consume(parser_.size());
    return keep_alive_ && (body == 0 || skip_body(body));
  }

  void hello(Method method) {
    start(Status::ok);
    output_.put("Content-Type: text/plain\r\nContent-Length: 6\r\n");
    end_head();
    if (method == Method::get) output_.put("hello\n");
  }

  // Not inlined, as other rare things below: the frames of a connection that waits stay small.
  [[gnu::noinline]] void file(const Request& request, std::string_view path) {
    if (path.empty()) return error(Status::bad_request, request.method);
    if (!site_.root) return error(Status::not_found, request.method);
    const auto name = decode_path(path);
    if (!name) return error(name.error(), request.method);
    FileRequest wanted{.body = request.method == Method::get,
                       .if_modified_since = request.if_modified_since,
                       .range = {}};
    // A condition on the range is never found to hold: the whole file is right then, too.
    if (wanted.body && request.if_range.empty()) wanted.range = request.range;
    const File found =
        smarm::block_on_io([&] { return open_file(site_.root.get(), *name, wanted); });
    switch (found.status) {
      case Status::ok:
      case Status::partial_content: return send(found, wanted.body);
      case Status::not_modified:
        start(found.status);
        last_modified(found);
        return end_head();
      case Status::moved_permanently:
        start(found.status);
        // A reference relative to this one, so that no path can be taken for another host.
        output_.put("Location: ./");
        output_.put(path.substr(path.rfind('/') + 1));
        output_.put("/\r\nContent-Length: 0\r\n");
        return end_head();
      case Status::range_not_satisfiable:
        start(found.status);
        output_.put("Content-Range: bytes */");
        output_.put(Number(found.size));
        output_.put("\r\nContent-Length: 0\r\n");
        return end_head();
      default: return error(found.status, request.method);
    }
  }

  void send(const File& found, bool body) {
    start(found.status);
    output_.put("Content-Type: ");
    output_.put(found.type);
    output_.put("\r\nAccept-Ranges: bytes\r\n");
    last_modified(found);
    if (found.status == Status::partial_content) {
      output_.put("Content-Range: bytes ");
      output_.put(Number(found.range.first));
      output_.put("-");
      output_.put(Number(found.range.first + found.range.length - 1));
      output_.put("/");
      output_.put(Number(found.size));
      output_.put("\r\n");
    }
    output_.put("Content-Length: ");
    output_.put(Number(found.range.length));
    output_.put("\r\n");
    end_head();
    if (!body) return;
    if (!found.file) return output_.put(found.content);
    send_chunks(found);
  }

  void send_chunks(const File& found) {
    const auto buffer = std::make_unique_for_overwrite<char[]>(kChunk);
    std::uint64_t at = found.range.first, left = found.range.length;
    while (left > 0) {
      const std::span<char> chunk(buffer.get(), std::min<std::uint64_t>(left, kChunk));
      const bool whole = smarm::block_on_io([&] { return read_file(found.file.get(), chunk, at); });
      if (whole) output_.put({chunk.data(), chunk.size()});
      // The length is promised already: only the end of the connection tells that there is less.
      if (!whole || !output_.flush()) {
        keep_alive_ = false;
        return;
      }
      at += chunk.size();
      left -= chunk.size();
    }
  }

  [[gnu::noinline]] void error(Status status, Method method) {
    const std::string_view text = text_of(status);
    start(status);
    if (status == Status::method_not_allowed) output_.put("Allow: GET, HEAD\r\n");
    output_.put("Content-Type: text/plain\r\nContent-Length: ");
    output_.put(Number(text.size() + 1));
    output_.put("\r\n");
    end_head();
    if (method == Method::head) return;
    output_.put(text);
    output_.put("\n");
  }

  void start(Status status) {
    output_.put(start_of_head(status));
    output_.put(date_.now());
    output_.put("\r\n");
  }
  void last_modified(const File& found) {
    const DateText text = format_date(found.modified);
    output_.put("Last-Modified: ");
    output_.put({text.data(), text.size()});
    output_.put("\r\n");
  }
  void end_head() {
    output_.put(!keep_alive_ ? "Connection: close\r\n\r\n"
                : is_1_0_    ? "Connection: keep-alive\r\n\r\n"
                             : "\r\n");
  }

  // What cannot be understood ends the connection: where the next request begins is not known.
  [[gnu::noinline]] void refuse(Status status) {
    keep_alive_ = false;
    error(status, Method::other);
    close();
  }

  // The body of a request, which nobody wants.
  [[gnu::noinline]] bool skip_body(std::uint64_t left) {
    const auto deadline = Clock::now() + site_.idle;
    for (;;) {
      const std::size_t here = std::min<std::uint64_t>(left, input_.bytes().size());
      input_.consume(here);
      left -= here;
      if (left == 0) return true;
      if (!output_.flush()) return false;
      input_.make_room();
      const auto got = stream_.read(input_.room(), deadline - Clock::now());
      if (!got || *got == 0) return false;
      input_.added(*got);
    }
  }

  // The client has to get the last response. It would not if there were bytes of its own that
  // nobody has read: a close with these is a reset.
  void close() {
    if (!output_.flush()) return;
    busy_.store(false);
    ::shutdown(stream_.fd(), SHUT_WR);
    input_.clear();
    for (const auto deadline = Clock::now() + kLinger;;) {
      const auto got = stream_.read(input_.room(), deadline - Clock::now());
      if (!got || *got == 0) return;
    }
  }

  smarm::TcpStream& stream_;
  const Site& site_;
  Busy& busy_;
  RequestParser parser_;
  std::optional<Clock::time_point> deadline_;  // of the head that has begun to come
  bool keep_alive_ = true;
  bool is_1_0_ = false;
  DateCache date_;
  Input input_;
  Output output_;
};

}  // namespace

void serve(smarm::TcpStream stream, std::shared_ptr<const Site> site, std::shared_ptr<Busy> busy) {
  Connection(stream, *site, *busy).run();
}

void turn_away(smarm::TcpStream stream) {
  constexpr std::string_view kText =
      "HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\nContent-Length: 24\r\n"
      "Connection: close\r\n\r\n503 Service Unavailable\n";
  (void)stream.write(kText, 0ns);
  ::shutdown(stream.fd(), SHUT_WR);
  std::array<char, 512> unread;
  (void)stream.read(unread, 0ns);
}

}  // namespace http
