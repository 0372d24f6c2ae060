// What the config tests share: a directory of config files that goes away, and short ways to load
// one.
#pragma once

#include "daemon/config/config.hpp"

#include <doctest/doctest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

namespace smarmd::config_test {

class ConfigFiles {
 public:
  ConfigFiles() {
    std::string pattern =
        (std::filesystem::temp_directory_path() / "smarmd-config-XXXXXX").string();
    REQUIRE(::mkdtemp(pattern.data()) != nullptr);
    root_ = pattern;
  }
  explicit ConfigFiles(std::string_view main_text) : ConfigFiles() {
    write("smarmd.json", main_text);
  }
  ConfigFiles(const ConfigFiles&) = delete;
  ConfigFiles& operator=(const ConfigFiles&) = delete;
  ~ConfigFiles() {
    std::error_code ignored;
    std::filesystem::remove_all(root_, ignored);
  }

  std::filesystem::path write(std::string_view name, std::string_view text) const {
    const std::filesystem::path path = root_ / name;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path, std::ios::binary) << text;
    return path;
  }
  std::filesystem::path main_file() const { return root_ / "smarmd.json"; }
  std::filesystem::path path(std::string_view name) const { return root_ / name; }
  auto load() const { return load_config(main_file()); }

 private:
  std::filesystem::path root_;
};

// Sets or, with nullptr, removes a variable of the environment for as long as it lives.
class ScopedEnv {
 public:
  ScopedEnv(const char* name, const char* value) : name_(name) {
    if (const char* old = std::getenv(name)) old_ = old;
    put(value);
  }
  ScopedEnv(const ScopedEnv&) = delete;
  ScopedEnv& operator=(const ScopedEnv&) = delete;
  ~ScopedEnv() { put(old_ ? old_->c_str() : nullptr); }

 private:
  void put(const char* value) const { value ? ::setenv(name_, value, 1) : ::unsetenv(name_); }

  const char* name_;
  std::optional<std::string> old_;
};

inline std::string all_texts(const std::vector<ConfigError>& errors) {
  std::string out;
  for (const ConfigError& e : errors) out += e.text() + "\n";
  return out;
}

// The config that `text` gives, as the only file.
inline Config loaded(std::string_view text) {
  const ScopedEnv no_state("STATE_DIRECTORY", nullptr);
  const ConfigFiles files(text);
  const auto config = files.load();
  if (!config) FAIL(all_texts(config.error()));
  return *config;
}

// The errors that `text` gives, as the only file.
inline std::vector<ConfigError> errors_of(std::string_view text) {
  const ConfigFiles files(text);
  const auto config = files.load();
  if (config) FAIL("accepted: " << std::string(text));
  return config.error();
}

// The same where there must be one error only.
inline ConfigError error_of(std::string_view text) {
  const std::vector<ConfigError> errors = errors_of(text);
  INFO(all_texts(errors));
  REQUIRE(errors.size() == 1);
  return errors.front();
}

inline std::string read_file(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  REQUIRE_MESSAGE(in.is_open(), path.string());
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

}  // namespace smarmd::config_test
