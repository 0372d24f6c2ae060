// A JSON file as it was written: its value, and where in the text each part stands. Knows nothing
// of the daemon's keys. What load_config is made of lives in smarmd::configuration; the rest of the
// daemon needs config.hpp only.
#pragma once

#include "daemon/config/config.hpp"

#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

namespace smarmd::configuration {

using Json = nlohmann::json;

inline constexpr std::size_t kMaxConfigBytes = std::size_t{1} << 20;
inline constexpr std::size_t kMaxConfigDepth = 64;  // writing JSON out again recurses

struct Place {
  std::size_t line = 0, column = 0;  // 1-based, in bytes; 0: unknown
};

// One reference token of a JSON pointer (RFC 6901): "a/b~c" -> "a~1b~0c".
std::string escape_token(std::string_view token);

struct Document {
  std::string file;
  Json root;
  std::map<std::string, Place, std::less<>>
      places;  // pointer -> its key, or its value in an array; the first kPlacedDepth levels

  // An error about `pointer`, with its place when that is known.
  ConfigError error_at(std::string pointer, std::string message, std::string hint = {}) const;
};

// Duplicate keys are reported and parsing goes on with the later one; a syntax error is reported
// and gives nothing. `file` is used in errors only.
std::optional<Document> parse_document(std::string file, std::string_view text,
                                       std::vector<ConfigError>& errors);

// The same from a regular file. Gives nothing, with an error, when the file cannot be read.
std::optional<Document> read_document(const std::filesystem::path& path,
                                      std::vector<ConfigError>& errors);

}  // namespace smarmd::configuration
