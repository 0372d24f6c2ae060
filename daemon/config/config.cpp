#include "daemon/config/config.hpp"

#include "daemon/config/keys.hpp"

#include <arpa/inet.h>

#include <charconv>
#include <set>

namespace smarmd {

namespace {

using namespace configuration;

// Calls visit(key, plugin, pointer) for every key; for the keys of overrides once per plugin that
// `plugins` names.
template <class Visit>
void for_each_key(const std::set<std::string>& plugins, Visit visit) {
  for (const Key& key : keys()) {
    if (!key.of_override()) {
      visit(key, std::string(), std::string(key.pointer));
      continue;
    }
    for (const std::string& plugin : plugins) {
      visit(key, plugin,
            std::string(kOverrides) + "/" + escape_token(plugin) + "/" + std::string(key.name()));
    }
  }
}

void add_plugins(const Config& config, std::set<std::string>& plugins) {
  for (const auto& [name, unused] : config.plugins.overrides) plugins.insert(name);
}

std::string text_of(const std::optional<Json>& value) {
  return value ? value->dump() : std::string();
}

RestartType wish_or(smarm::plugin::Restart wish, RestartType otherwise) {
  switch (wish) {
    case smarm::plugin::Restart::permanent: return RestartType::permanent;
    case smarm::plugin::Restart::transient: return RestartType::transient;
    case smarm::plugin::Restart::temporary: return RestartType::temporary;
    case smarm::plugin::Restart::by_config: break;
  }
  return otherwise;
}

// A key may hold anything; one error stays one line.
std::string without_controls(std::string_view text) {
  static constexpr char kHex[] = "0123456789abcdef";
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte != 0x7f) {
      out += c;
    } else {
      out += {'\\', 'u', '0', '0', kHex[byte >> 4], kHex[byte & 15]};
    }
  }
  return out;
}

}  // namespace

PluginPolicy Config::policy_for(std::string_view name, smarm::plugin::Restart wish) const {
  const PluginDefaults& d = plugins.defaults;
  PluginPolicy policy{.enabled = true,
                      .restart = wish_or(wish, d.restart),
                      .max_restarts = d.max_restarts,
                      .window_s = d.window_s,
                      .backoff = d.backoff,
                      .mailbox_limit = d.mailbox_limit,
                      .config = "{}"};
  const auto found = plugins.overrides.find(name);
  if (found == plugins.overrides.end()) return policy;
  const PluginOverride& o = found->second;
  policy.enabled = o.enabled;
  policy.restart = o.restart.value_or(policy.restart);
  policy.max_restarts = o.max_restarts.value_or(policy.max_restarts);
  policy.window_s = o.window_s.value_or(policy.window_s);
  policy.backoff = o.backoff.value_or(policy.backoff);
  policy.mailbox_limit = o.mailbox_limit.value_or(policy.mailbox_limit);
  policy.config = o.config;
  return policy;
}

std::string ConfigError::text() const {
  std::string out = file;
  if (line != 0) out += ":" + std::to_string(line) + ":" + std::to_string(column);
  if (!pointer.empty()) out += ": " + pointer;
  out += ": " + message;
  if (!hint.empty()) out += " (" + hint + ")";
  return without_controls(out);
}

nlohmann::ordered_json to_json(const Config& config) {
  using Pointer = nlohmann::ordered_json::json_pointer;
  std::set<std::string> plugins;
  add_plugins(config, plugins);
  nlohmann::ordered_json out = nlohmann::ordered_json::object();
  for_each_key(plugins, [&](const Key& key, const std::string& plugin, const std::string& pointer) {
    if (const auto value = key.get(config, plugin)) out[Pointer(pointer)] = *value;
  });
  return out;
}

ConfigDiff diff(const Config& before, const Config& after) {
  std::set<std::string> plugins;
  add_plugins(before, plugins);
  add_plugins(after, plugins);
  ConfigDiff found;
  for_each_key(plugins, [&](const Key& key, const std::string& plugin, const std::string& pointer) {
    Change change{pointer, text_of(key.get(before, plugin)), text_of(key.get(after, plugin))};
    if (change.before == change.after) return;
    (key.applies == Applies::live ? found.live : found.needs_restart).push_back(std::move(change));
  });
  return found;
}

std::optional<ListenAddress> parse_listen(std::string_view text) {
  const auto colon = text.rfind(':');
  if (colon == text.npos) return std::nullopt;
  const std::string_view digits = text.substr(colon + 1);
  ListenAddress address{.host = std::string(text.substr(0, colon)), .port = 0, .ipv6 = false};
  const auto [end, error] =
      std::from_chars(digits.data(), digits.data() + digits.size(), address.port);
  if (error != std::errc() || end != digits.data() + digits.size()) return std::nullopt;
  if (digits.size() > 1 && digits.front() == '0') return std::nullopt;
  if (address.host == "localhost") address.host = "127.0.0.1";
  if (address.host.size() > 2 && address.host.front() == '[' && address.host.back() == ']') {
    address.host = address.host.substr(1, address.host.size() - 2);
    address.ipv6 = true;
  }
  // inet_pton stops at a zero character, which is part of the text here.
  if (address.host.find('\0') != std::string::npos) return std::nullopt;
  unsigned char numeric[sizeof(in6_addr)];
  if (::inet_pton(address.ipv6 ? AF_INET6 : AF_INET, address.host.c_str(), numeric) != 1)
    return std::nullopt;
  return address;
}

}  // namespace smarmd
