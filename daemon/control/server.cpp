#include "daemon/control/server.hpp"

#include <cerrno>
#include <cstring>
#include <map>
#include <utility>

#include "daemon/control/socket.hpp"
#include "daemon/control/stream_server.hpp"
#include "daemon/log/events.hpp"
#include "daemon/log/logger.hpp"
#include "daemon/log/mpsc_list.hpp"

namespace smarmd {
namespace {

// An answer on its way from whoever gave it to the control thread.
struct Answer {
  Answer* next = nullptr;
  std::uint64_t connection = 0;
  std::uint64_t request =
      0;  // an answer that comes after the deadline finds another number, and is dropped
  nlohmann::json document;
};

// What a Reply holds on to: it may outlive the server.
struct Inbox {
  MpscList<Answer> answers;
  std::shared_ptr<const Wakeup> wakeup;
};

std::string seconds_text(std::chrono::milliseconds time) {
  const auto ms = time.count();
  return ms % 1000 == 0 ? std::to_string(ms / 1000) + " s" : std::to_string(ms) + " ms";
}

}  // namespace

struct ControlServer::State : StreamProtocol {
  State(ControlServerOptions o, Handler h, Logger* l, SocketFile f)
      : options(std::move(o)),
        handler(std::move(h)),
        logger(l),
        file(std::move(f)),
        server(file.take_listener(),
               {"smarmd-control", options.max_connections, options.idle_timeout}, *this) {
    inbox->wakeup = server.wakeup();
  }

  void on_input(Connection& connection) override;
  void on_work_deadline(Connection& connection) override;
  std::string refusal() override;
  void on_wake() override { take_answers(); }
  void on_stop() override;

  void handle(Connection& connection, std::string_view line);
  void dispatch(Connection& connection, const Request& request);
  void take_answers();
  void log_command(const Request& request);
  std::string error_line(std::string_view code, std::string message, std::string hint) {
    return write_line(
        make_error({std::string(code), std::move(message), std::move(hint), {}}, options.version));
  }

  const ControlServerOptions options;
  const Handler handler;
  Logger* const logger;
  const std::shared_ptr<Inbox> inbox = std::make_shared<Inbox>();

  struct Pending {
    std::uint64_t request;
    std::string command;
    std::chrono::milliseconds timeout;
  };
  std::map<std::uint64_t, Pending> pending;  // by connection; the control thread's own
  std::uint64_t requests = 0;

  SocketFile file;
  StreamServer server;  // last: its thread ends before the rest goes
};

void ControlServer::State::on_input(Connection& connection) {
  const std::size_t end = connection.in.find('\n');
  if (end == std::string::npos ? connection.in.size() > options.max_request_bytes
                               : end > options.max_request_bytes) {
    server.finish(connection, error_line(codes::kRequestTooLarge,
                                         "the request is larger than " +
                                             std::to_string(options.max_request_bytes) + " bytes",
                                         "a request is one short line"));
    return;
  }
  if (end != std::string::npos) {
    const std::string line = connection.in.substr(0, end);
    connection.in.erase(0, end + 1);
    handle(connection, line);
  } else if (connection.ended && !connection.in.empty()) {
    server.finish(connection,
                  error_line(codes::kBadRequest, "the request does not end with a newline",
                             "end every request with \\n"));
  }
}

void ControlServer::State::handle(Connection& connection, std::string_view line) {
  if (line.empty() || line == "\r") return;
  auto request = parse_request(line);
  if (!request) {
    server.answer(connection, write_line(make_error(request.error(), options.version)));
    return;
  }
  request->peer = connection.peer;
  log_command(*request);
  dispatch(connection, *request);
}

void ControlServer::State::dispatch(Connection& connection, const Request& request) {
  const std::uint64_t number = ++requests;
  pending[connection.id] = {number, request.command, request.timeout};
  server.work_until(connection, SteadyClock::now() + request.timeout);
  const Reply reply(options.version,
                    [inbox = inbox, id = connection.id, number](nlohmann::json document) {
                      auto answer = std::make_unique<Answer>();
                      answer->connection = id;
                      answer->request = number;
                      answer->document = std::move(document);
                      inbox->answers.push(answer.release());
                      inbox->wakeup->wake();
                    });
  try {
    handler(request, reply);
  } catch (const std::exception& error) {
    reply.fail(codes::kInternal, request.command + ": " + error.what(),
               "this is a defect of smarmd; look into its log");
  }
}

void ControlServer::State::take_answers() {
  for (Answer* next = inbox->answers.take_all(); next;) {
    const std::unique_ptr<Answer> answer(next);
    next = answer->next;
    const auto it = pending.find(answer->connection);
    if (it == pending.end() || it->second.request != answer->request) continue;
    pending.erase(it);
    if (Connection* connection = server.find(answer->connection))
      server.answer(*connection, write_line(answer->document));
  }
}

void ControlServer::State::on_work_deadline(Connection& connection) {
  const auto it = pending.find(connection.id);
  if (it == pending.end()) {
    connection.dead = true;
    return;
  }
  const Pending late = std::move(it->second);
  pending.erase(it);
  server.answer(
      connection,
      error_line(codes::kTimeout,
                 late.command + " was not done within " + seconds_text(late.timeout),
                 "it goes on in the daemon; `smarmctl status` and the log show how it ends"));
}

std::string ControlServer::State::refusal() {
  return error_line(codes::kBusy,
                    "too many connections to " + options.path + " (" +
                        std::to_string(options.max_connections) + ")",
                    "try again in a moment");
}

void ControlServer::State::on_stop() {
  take_answers();
  for (auto& [id, late] : pending) {
    if (Connection* connection = server.find(id)) {
      server.finish(*connection,
                    error_line(codes::kStopping, late.command + ": the daemon is stopping",
                               "start it again"));
    }
  }
  pending.clear();
}

void ControlServer::State::log_command(const Request& request) {
  const CommandInfo* info = find_command(request.command);
  if (!logger || !info || !info->changes) return;
  Fields fields{{"command", request.command},
                {"uid", request.peer.uid},
                {"gid", request.peer.gid},
                {"client_pid", request.peer.pid}};
  std::string text = request.command;
  if (const auto name = plugin_name_of(request); info->takes_name && name) {
    fields.emplace_back("plugin", *name);
    text += " " + *name;
  }
  logger->log(Level::info, events::kControlCommand,
              text + " asked for by uid " + std::to_string(request.peer.uid), std::move(fields));
}

std::expected<std::unique_ptr<ControlServer>, std::string> ControlServer::start(
    ControlServerOptions options, Handler handler, Logger* logger) {
  auto file = SocketFile::bind(options.path, options.mode);
  if (!file) return std::unexpected(file.error());
  auto state =
      std::make_unique<State>(std::move(options), std::move(handler), logger, std::move(*file));
  if (state->inbox->wakeup->fd() < 0) {
    return std::unexpected(state->options.path +
                           ": cannot make an eventfd: " + std::strerror(errno));
  }
  state->server.start();
  if (logger)
    logger->log(Level::debug, events::kControlListening, state->options.path,
                {{"socket", state->options.path}});
  return std::unique_ptr<ControlServer>(new ControlServer(std::move(state)));
}

ControlServer::ControlServer(std::unique_ptr<State> state) : state_(std::move(state)) {}
ControlServer::~ControlServer() { state_->file.remove(); }
const SocketPlace& ControlServer::socket() const { return state_->file.place(); }

}  // namespace smarmd
