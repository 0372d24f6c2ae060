#include "daemon/control/protocol.hpp"

#include <doctest/doctest.h>

#include <string>

using namespace smarmd;

namespace {

ControlError refuse(std::string_view line) {
  auto request = parse_request(line);
  REQUIRE_FALSE(request.has_value());
  return request.error();
}

}  // namespace

TEST_CASE("control protocol: a request comes back as it was written") {
  Request request;
  request.command = "restart";
  request.args = {{"name", "echo"}};
  request.timeout = std::chrono::milliseconds(1500);
  request.client_version = "9.9";
  const std::string line = write_request(request);
  CHECK(line.back() == '\n');
  CHECK(line.find('\n') == line.size() - 1);
  const auto back = parse_request(std::string_view(line).substr(0, line.size() - 1));
  REQUIRE(back.has_value());
  CHECK(back->command == "restart");
  CHECK(plugin_name_of(*back) == "echo");
  CHECK(back->timeout == request.timeout);
  CHECK(back->client_version == "9.9");
}

TEST_CASE(
    "control protocol: what is left out has a default, what is unknown is ignored, a timeout has a "
    "limit") {
  const auto request = parse_request(R"({"v":1,"command":"status","colour":"red"})");
  REQUIRE(request.has_value());
  CHECK(request->args == nlohmann::json::object());
  CHECK(request->timeout == kDefaultRequestTimeout);
  CHECK(parse_request(R"({"v":1,"command":"status","timeout_ms":99999999999})")->timeout ==
        kMaxRequestTimeout);
}

TEST_CASE("control protocol: what is not a request is refused in words") {
  for (const char* line :
       {"", "garbage", "{\"v\":1", "[1]", "null", R"({"command":"status"})",
        R"({"v":"1","command":"status"})", R"({"v":1})", R"({"v":1,"command":7})",
        R"({"v":1,"command":"status","args":[]})", R"({"v":1,"command":"status","timeout_ms":0})",
        R"({"v":1,"command":"status","timeout_ms":-1})",
        R"({"v":1,"command":"status","timeout_ms":"1"})"}) {
    CAPTURE(line);
    const ControlError error = refuse(line);
    CHECK(error.code == codes::kBadRequest);
    CHECK_FALSE(error.message.empty());
    CHECK(error.message.find("json.exception") == std::string::npos);
    CHECK(exit_code_of(error.code) == kExitUsage);
  }
  CHECK(refuse("{\"v\":1,").message.find("column") != std::string::npos);  // it says where
}

TEST_CASE("control protocol: another protocol version is named") {
  const ControlError error = refuse(R"({"v":2,"command":"status"})");
  CHECK(error.code == codes::kUnsupportedProtocol);
  CHECK(error.message.find('2') != std::string::npos);
  CHECK(error.message.find('1') != std::string::npos);
}

TEST_CASE("control protocol: deep nesting is only an error") {
  CHECK(refuse(std::string(60'000, '[')).code == codes::kBadRequest);
  std::string deep = R"({"v":1,"command":"x","args":{"a":)" + std::string(20'000, '[') +
                     std::string(20'000, ']') + "}}";
  CHECK(refuse(deep).message.find("nests deeper") != std::string::npos);
  CHECK(parse_request(R"({"v":1,"command":"x","args":{"a":[[[[[[[[]]]]]]]]}})").has_value());
}

TEST_CASE("control protocol: a plugin's name is needed where it is needed") {
  Request request;
  request.command = "restart";
  for (const nlohmann::json& args :
       {nlohmann::json::object(), nlohmann::json{{"name", ""}}, nlohmann::json{{"name", 3}}}) {
    request.args = args;
    CHECK_FALSE(plugin_name_of(request).has_value());
  }
  CHECK(plugin_name_of(request).error().code == codes::kBadRequest);
}

TEST_CASE("control protocol: answers have one shape") {
  const auto good = make_answer({{"a", 1}}, "0.1.0", kExitNeedsRestart);
  CHECK(good ==
        nlohmann::json::parse(R"({"v":1,"ok":true,"exit":5,"result":{"a":1},"version":"0.1.0"})"));
  const auto bad = make_error({"invalid_config", "m", "h", {"one", "two"}}, "0.1.0");
  CHECK(
      bad ==
      nlohmann::json::parse(
          R"({"v":1,"ok":false,"exit":4,"error":{"code":"invalid_config","message":"m","hint":"h","details":["one","two"]},"version":"0.1.0"})"));
  CHECK_NOTHROW(write_line({{"text", "\xff"}}));
}

TEST_CASE("control protocol: every error code has its exit code") {
  CHECK(exit_code_of(codes::kUnknownPlugin) == 2);
  CHECK(exit_code_of(codes::kUnknownCommand) == 2);
  CHECK(exit_code_of(codes::kRefused) == 2);
  CHECK(exit_code_of(codes::kFailed) == 1);
  CHECK(exit_code_of(codes::kUnreachable) == 3);
  CHECK(exit_code_of(codes::kBusy) == 3);
  CHECK(exit_code_of(codes::kStopping) == 3);
  CHECK(exit_code_of(codes::kInvalidConfig) == 4);
  CHECK(exit_code_of(codes::kTimeout) == 6);
}
