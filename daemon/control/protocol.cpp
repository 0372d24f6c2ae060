#include "daemon/control/protocol.hpp"

#include <algorithm>

namespace smarmd {
namespace {

std::unexpected<ControlError> bad(std::string message) {
  return std::unexpected(
      ControlError{std::string(codes::kBadRequest),
                   std::move(message),
                   R"(a request is one line: {"v":1,"command":"status","args":{}})",
                   {}});
}

// A document is copied and destroyed by recursion: what a client may nest is bounded.
constexpr int kMaxDepth = 32;
struct TooDeep {};

bool refuse_depth(int depth, nlohmann::json::parse_event_t, nlohmann::json&) {
  if (depth > kMaxDepth) throw TooDeep{};
  return true;
}

// What nlohmann says, without its own numbering: "[json.exception.parse_error.101] parse error at
// ..." -> "parse error at ..."
std::string plain_message(const std::string& what) {
  const std::size_t end = what.find("] ");
  return end == std::string::npos ? what : what.substr(end + 2);
}

std::expected<void, ControlError> check_version(const nlohmann::json& document) {
  const auto v = document.find("v");
  if (v == document.end() || !v->is_number_integer())
    return bad("the request has no protocol version \"v\"");
  if (*v == kProtocolVersion) return {};
  return std::unexpected(ControlError{std::string(codes::kUnsupportedProtocol),
                                      "the request speaks protocol " + v->dump() +
                                          ", this smarmd speaks protocol " +
                                          std::to_string(kProtocolVersion),
                                      "use the smarmctl that was installed with this smarmd",
                                      {}});
}

}  // namespace

int exit_code_of(std::string_view code) {
  if (code == codes::kInvalidConfig) return kExitInvalidConfig;
  if (code == codes::kTimeout) return kExitTimeout;
  if (code == codes::kUnreachable || code == codes::kBusy || code == codes::kStopping)
    return kExitUnreachable;
  if (code == codes::kFailed || code == codes::kInternal) return kExitFailed;
  return kExitUsage;
}

const std::vector<CommandInfo>& commands() {
  static const std::vector<CommandInfo> kAll = {
      {"status", false, false},  {"plugins", false, false}, {"plugin", true, false},
      {"reload", false, true},   {"restart", true, true},   {"revive", true, true},
      {"version", false, false},
  };
  return kAll;
}

const CommandInfo* find_command(std::string_view name) {
  const auto& all = commands();
  const auto it = std::ranges::find(all, name, &CommandInfo::name);
  return it == all.end() ? nullptr : &*it;
}

std::expected<Request, ControlError> parse_request(std::string_view line) {
  nlohmann::json document;
  try {
    document = nlohmann::json::parse(line, refuse_depth);
  } catch (const TooDeep&) {
    return bad("the request nests deeper than " + std::to_string(kMaxDepth) + " levels");
  } catch (const nlohmann::json::parse_error& error) {
    return bad("the request is not JSON: " + plain_message(error.what()));
  }
  if (!document.is_object())
    return bad(std::string("the request is not a JSON object but ") + document.type_name());
  if (auto version = check_version(document); !version) return std::unexpected(version.error());

  Request request;
  const auto command = document.find("command");
  if (command == document.end() || !command->is_string())
    return bad("the request has no \"command\"");
  request.command = command->get<std::string>();
  if (const auto args = document.find("args"); args != document.end()) {
    if (!args->is_object())
      return bad(std::string("\"args\" is not an object but ") + args->type_name());
    request.args = *args;
  }
  if (const auto timeout = document.find("timeout_ms"); timeout != document.end()) {
    if (!timeout->is_number_unsigned() || *timeout == 0)
      return bad("\"timeout_ms\" is not a positive whole number");
    const auto limit = static_cast<std::uint64_t>(kMaxRequestTimeout.count());
    request.timeout = std::chrono::milliseconds(std::min(timeout->get<std::uint64_t>(), limit));
  }
  if (const auto version = document.find("version");
      version != document.end() && version->is_string()) {
    request.client_version = version->get<std::string>();
  }
  return request;
}

std::string write_request(const Request& request) {
  return write_line({{"v", kProtocolVersion},
                     {"command", request.command},
                     {"args", request.args},
                     {"timeout_ms", request.timeout.count()},
                     {"version", request.client_version}});
}

nlohmann::json make_answer(nlohmann::json result, std::string_view version, int exit) {
  return {{"v", kProtocolVersion},
          {"ok", true},
          {"exit", exit},
          {"result", std::move(result)},
          {"version", version}};
}

nlohmann::json make_error(const ControlError& error, std::string_view version) {
  nlohmann::json body = {{"code", error.code}, {"message", error.message}, {"hint", error.hint}};
  if (!error.details.empty()) body["details"] = error.details;
  return {{"v", kProtocolVersion},
          {"ok", false},
          {"exit", exit_code_of(error.code)},
          {"error", std::move(body)},
          {"version", version}};
}

std::string write_line(const nlohmann::json& document) {
  return document.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

std::expected<std::string, ControlError> plugin_name_of(const Request& request) {
  const auto name = request.args.find("name");
  if (name != request.args.end() && name->is_string() &&
      !name->get_ref<const std::string&>().empty())
    return name->get<std::string>();
  return std::unexpected(ControlError{std::string(codes::kBadRequest),
                                      request.command + " needs the name of a plugin in args.name",
                                      "`smarmctl plugins` lists them",
                                      {}});
}

}  // namespace smarmd
