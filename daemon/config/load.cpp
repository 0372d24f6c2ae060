// load_config: reads the files, checks each against the table of keys, merges them and fills a
// Config.
#include "daemon/config/keys.hpp"
#include "daemon/config/suggest.hpp"

#include <algorithm>
#include <cstdlib>
#include <system_error>
#include <utility>

namespace smarmd {

namespace {

using namespace configuration;

namespace fs = std::filesystem;
using Errors = std::vector<ConfigError>;

std::string last_token(std::string_view pointer) {
  return std::string(pointer.substr(pointer.rfind('/') + 1));
}

// The tokens that may stand in the object `pattern`: keys and sections, in the table's order.
std::vector<std::string> tokens_of(std::string_view pattern) {
  std::vector<std::string> tokens;
  for (const Key& key : keys()) {
    if (!key.pointer.starts_with(pattern) || key.pointer[pattern.size()] != '/') continue;
    const std::string_view rest = key.pointer.substr(pattern.size() + 1);
    const std::string token(rest.substr(0, rest.find('/')));
    if (std::find(tokens.begin(), tokens.end(), token) == tokens.end()) tokens.push_back(token);
  }
  return tokens;
}

std::string list(const std::vector<std::string>& words) {
  std::string out;
  for (const std::string& word : words) out += (out.empty() ? "" : ", ") + word;
  return out;
}

// The key elsewhere in the config whose name is nearest to `word`. Keys of overrides are left out:
// which plugin would it be?
std::optional<std::string> nearest_anywhere(const std::string& word) {
  std::vector<std::string> names;
  std::vector<std::string_view> pointers;
  for (const Key& key : keys()) {
    if (key.of_override()) continue;
    names.emplace_back(key.name());
    pointers.push_back(key.pointer);
  }
  const auto name = nearest(word, names);
  if (!name) return std::nullopt;
  return std::string(pointers[static_cast<std::size_t>(
      std::find(names.begin(), names.end(), *name) - names.begin())]);
}

// Checks one document. `pattern` is the pointer as the table has it: `*` for a plugin's name.
class Checker {
 public:
  Checker(const Document& document, Errors& errors) : document_(document), errors_(errors) {}

  void run() {
    if (!document_.root.is_object()) {
      errors_.push_back(document_.error_at("", type_mismatch("object", document_.root),
                                           "a config is one object: {} takes every default"));
      return;
    }
    section("", "", document_.root);
    const Json::json_pointer us{std::string(kTimesliceUs)}, cycles{std::string(kTimesliceCycles)};
    if (document_.root.contains(us) && document_.root.contains(cycles)) {
      errors_.push_back(document_.error_at(std::string(kTimesliceUs),
                                           "timeslice_us and timeslice_cycles are both written",
                                           "keep one of them"));
    }
  }

 private:
  void section(const std::string& pattern, const std::string& pointer, const Json& object) {
    for (const auto& [token, value] : object.items()) member(pattern, pointer, token, value);
  }

  void member(const std::string& pattern, const std::string& pointer, const std::string& token,
              const Json& value) {
    const std::string at = pointer + "/" + escape_token(token);
    const bool names_plugin = pattern == kOverrides;
    if (names_plugin && !is_plugin_name(token)) {
      errors_.push_back(document_.error_at(at, "not a plugin's name",
                                           "a name has letters, digits, - and _, 1 to 63 of them"));
      return;
    }
    const std::string child = pattern + "/" + (names_plugin ? "*" : escape_token(token));
    if (const Key* key = names_plugin ? nullptr : find_key(child)) {
      for (Complaint& c : check(key->shape, value)) {
        errors_.push_back(
            document_.error_at(at + c.pointer, std::move(c.message), std::move(c.hint)));
      }
    } else if (!is_section(child)) {
      errors_.push_back(
          document_.error_at(at, "unknown key", hint_for(pattern, pointer, token, value)));
    } else if (!value.is_object()) {
      errors_.push_back(document_.error_at(at, type_mismatch("object", value)));
    } else {
      section(child, at, value);
    }
  }

  // What was meant: a key of the same object, a plugin or its config in the wrong place, a key of
  // another section.
  static std::string hint_for(const std::string& pattern, const std::string& pointer,
                              const std::string& token, const Json& value) {
    const std::vector<std::string> here = tokens_of(pattern);
    if (const auto name = nearest(token, here))
      return "did you mean " + pointer + "/" + *name + "?";
    if (pattern == "/plugins" && value.is_object() && is_plugin_name(token)) {
      return "plugins are named one level down: did you mean " + std::string(kOverrides) + "/" +
             token + "?";
    }
    if (pattern + "/" == kOverridePrefix)
      return "known here: " + list(here) + "; keys of the plugin itself go into " + pointer +
             "/config";
    if (const auto elsewhere = nearest_anywhere(token)) return "did you mean " + *elsewhere + "?";
    return "known here: " + list(here);
  }

  const Document& document_;
  Errors& errors_;
};

// Objects merge deeply, everything else replaces.
void merge(Json& base, const Json& over) {
  for (const auto& [name, value] : over.items()) {
    const auto found = base.find(name);
    if (found != base.end() && found->is_object() && value.is_object()) {
      merge(*found, value);
    } else {
      base[name] = value;
    }
  }
}

// Writing one spelling of the timeslice takes the other one, of an earlier file, away.
void drop_replaced_timeslice(Json& base, const Json& over) {
  const auto drop = [&](std::string_view written, std::string_view replaced) {
    if (over.contains(Json::json_pointer{std::string(written)}) && base.contains("runtime"))
      base["runtime"].erase(last_token(replaced));
  };
  drop(kTimesliceUs, kTimesliceCycles);
  drop(kTimesliceCycles, kTimesliceUs);
}

void fill(Config& config, const Json& root) {
  for (const Key& key : keys()) {
    if (key.of_override()) continue;
    const Json::json_pointer at{std::string(key.pointer)};
    if (root.contains(at)) key.set(config, "", root.at(at));
  }
  const Json::json_pointer overrides{std::string(kOverrides)};
  if (!root.contains(overrides)) return;
  for (const auto& [plugin, members] : root.at(overrides).items()) {
    for (const auto& [name, value] : members.items())
      find_key(std::string(kOverridePrefix) + name)->set(config, plugin, value);
  }
}

// systemd gives a list, separated by colons, when the unit names several.
void take_environment(Config& config, const Json& root) {
  if (root.contains(Json::json_pointer("/plugins/state_directory"))) return;
  const char* given = std::getenv("STATE_DIRECTORY");
  if (!given) return;
  const std::string_view all = given;
  if (const std::string_view first = all.substr(0, all.find(':')); !first.empty())
    config.plugins.state_directory = first;
}

// conf.d/*.json beside the file, by name; dotfiles do not count.
std::vector<fs::path> fragments_of(const fs::path& path, Errors& errors) {
  const fs::path directory = path.parent_path() / "conf.d";
  std::vector<fs::path> found;
  std::error_code error;
  if (!fs::exists(fs::symlink_status(directory, error))) return found;
  for (fs::directory_iterator it(directory, error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename().string();
    if (name.ends_with(".json") && !name.starts_with('.')) found.push_back(it->path());
  }
  if (error) {
    errors.push_back(
        {.file = directory.string(),
         .pointer = "",
         .message = "cannot read the directory of config fragments: " + error.message(),
         .hint = "make it a directory that smarmd can read, or remove it"});
  }
  std::sort(found.begin(), found.end());
  return found;
}

std::optional<Document> read_main(const fs::path& path, Errors& errors) {
  std::error_code ignored;
  if (fs::symlink_status(path, ignored).type() != fs::file_type::not_found)
    return read_document(path, errors);
  std::string create = "echo '{}' > " + path.string();
  if (path.has_parent_path()) create = "mkdir -p " + path.parent_path().string() + " && " + create;
  errors.push_back(
      {.file = path.string(),
       .pointer = "",
       .message = "there is no such config file",
       .hint = "create it with every default: " + create + "; or name another file with --config"});
  return std::nullopt;
}

bool before_in_file(const ConfigError& a, const ConfigError& b) {
  return std::pair(a.line, a.column) < std::pair(b.line, b.column);
}

}  // namespace

std::expected<Config, std::vector<ConfigError>> load_config(const fs::path& path) {
  Errors errors;
  std::vector<Document> documents;
  const auto take = [&](auto read, const fs::path& file) {
    const auto first = static_cast<std::ptrdiff_t>(errors.size());
    std::optional<Document> document = read(file, errors);
    if (!document) return;
    Checker(*document, errors).run();
    std::stable_sort(errors.begin() + first, errors.end(), before_in_file);
    documents.push_back(*std::move(document));
  };
  take(read_main, path);
  for (const fs::path& fragment : fragments_of(path, errors)) take(read_document, fragment);
  if (!errors.empty()) return std::unexpected(std::move(errors));

  Json root = Json::object();
  for (const Document& document : documents) {
    drop_replaced_timeslice(root, document.root);
    merge(root, document.root);
  }
  Config config;
  fill(config, root);
  take_environment(config, root);
  return config;
}

}  // namespace smarmd
