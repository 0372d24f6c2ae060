// The control protocol: one JSON document a line, over a Unix stream socket.
//
//   request {"v":1,"command":"restart","args":{"name":"echo"},"timeout_ms":30000,"version":"0.1.0"}
//   answer   {"v":1,"ok":true,"exit":0,"result":{...},"version":"0.1.0"}
//            {"v":1,"ok":false,"exit":2,"version":"0.1.0",
//             "error":{"code":"unknown_plugin","message":"...","hint":"...","details":[...]}}
//            (on one line)
//
// `version` is the program that speaks. `exit` is what smarmctl should end with. A client may send
// several requests over one connection; they are answered in order.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstddef>
#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

namespace smarmd {

inline constexpr int kProtocolVersion = 1;
inline constexpr std::size_t kMaxRequestBytes = std::size_t{64} * 1024;
inline constexpr std::chrono::milliseconds kDefaultRequestTimeout{30'000};
inline constexpr std::chrono::milliseconds kMaxRequestTimeout{600'000};

// What smarmctl and smarmd end with.
enum ExitCode : int {
  kExitOk = 0,
  kExitFailed = 1,  // the command was right, what it asked for did not work
  kExitUsage =
      2,  // also: it names a plugin that is not there, or asks for what its state does not allow
  kExitUnreachable = 3,
  kExitInvalidConfig = 4,
  kExitNeedsRestart = 5,
  kExitTimeout = 6,
};

namespace codes {
inline constexpr std::string_view kBadRequest = "bad_request";
inline constexpr std::string_view kRequestTooLarge = "request_too_large";
inline constexpr std::string_view kUnknownCommand = "unknown_command";
inline constexpr std::string_view kUnsupportedProtocol = "unsupported_protocol";
inline constexpr std::string_view kUnknownPlugin = "unknown_plugin";
inline constexpr std::string_view kRefused =
    "refused";  // understood, but not possible in the plugin's or daemon's state
inline constexpr std::string_view kFailed = "failed";  // tried, and it did not work
inline constexpr std::string_view kInvalidConfig = "invalid_config";
inline constexpr std::string_view kTimeout = "timeout";
inline constexpr std::string_view kBusy = "busy";
inline constexpr std::string_view kStopping = "stopping";
inline constexpr std::string_view kInternal = "internal";
inline constexpr std::string_view kUnreachable = "unreachable";  // smarmctl's own
}  // namespace codes

// exit code that belongs to an error code.
int exit_code_of(std::string_view code);

struct ControlError {
  std::string code;
  std::string message;               // one line: what is wrong, and where
  std::string hint;                  // what to do; may be empty
  std::vector<std::string> details;  // more lines, as the errors of a configuration; may be empty
};

// Who is at the other end of the socket (SO_PEERCRED).
struct Peer {
  pid_t pid = 0;
  uid_t uid = 0;
  gid_t gid = 0;
};

struct Request {
  std::string command;
  nlohmann::json args = nlohmann::json::object();
  std::chrono::milliseconds timeout = kDefaultRequestTimeout;
  std::string client_version;
  Peer peer;
};

// A command of the protocol, for the server (which commands to log), smarmctl and its help.
struct CommandInfo {
  std::string_view name;
  bool takes_name;  // args.name, a plugin
  bool changes;     // logged with the peer's credentials
};
const std::vector<CommandInfo>& commands();
const CommandInfo* find_command(std::string_view name);

// One line without its newline. The error says where in the line and what is wrong.
std::expected<Request, ControlError> parse_request(std::string_view line);
std::string write_request(const Request& request);  // with the newline

nlohmann::json make_answer(nlohmann::json result, std::string_view version, int exit = kExitOk);
nlohmann::json make_error(const ControlError& error, std::string_view version);
std::string write_line(
    const nlohmann::json& document);  // with the newline; bytes that are not UTF-8 are replaced

// The args.name of a request.
std::expected<std::string, ControlError> plugin_name_of(const Request& request);

}  // namespace smarmd
