// What a plugin author includes: the plugin's descriptor and the context it is given.
//
//   static void ticker(smarm::plugin::Context& ctx) {
//     while (!ctx.stopping()) {
//       ctx.log(smarm::LogLevel::info, "tick");
//       smarm::sleep(std::chrono::seconds(1));
//     }
//   }
//   SMARM_PLUGIN({.name = "ticker", .version = "1.0.0", .main = ticker});
//
// SMARM_PLUGIN stands once in a plugin, at namespace scope. It emits an ELF note, which the daemon
// reads before any code of the plugin runs, and one exported symbol. `main` runs as the root actor
// of the plugin: when it returns the plugin has ended, when it throws the daemon restarts it by
// policy; either way the actors it left are stopped.
#pragma once

#include <smarm/smarm.hpp>

#include <cstddef>
#include <cstdint>
#include <new>
#include <optional>
#include <string_view>

namespace smarm {
enum class LogLevel { trace = 0, debug = 1, info = 2, warn = 3, error = 4, critical = 5 };
}

// What the daemon gives a plugin, as a table of functions. Every function may be called by any
// actor of the plugin; none parks.
struct smarm_plugin_host {
  std::uint32_t struct_size;
  const char* (*config)(void* self, std::size_t* length);
  void (*log)(void* self, int level, const char* text, std::size_t length);
  int (*stopping)(void* self);
  int (*listener)(void* self, const char* name, std::size_t length);  // a new fd, or -1
  int (*publish)(void* self, const char* name, std::size_t length, smarm_pid pid);
  smarm_pid (*lookup)(void* self, const char* name, std::size_t length);
};

namespace smarm::plugin {

enum class Restart : std::uint32_t { by_config = 0, permanent = 1, transient = 2, temporary = 3 };

// Empty: the message of a stop channel.
struct Stop {};

// The plugin's view of the daemon. Valid until `main` returns; actors that main spawns may use it
// as long as main waits for them.
class Context {
 public:
  Context(const smarm_plugin_host* host, void* self) : host_(host), self_(self) {}
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  // The plugin's own `config` object from the daemon's configuration, as JSON text; "{}" by
  // default. Valid as long as the context.
  std::string_view config() const {
    std::size_t length = 0;
    const char* text = host_->config(self_, &length);
    return {text, length};
  }
  // Enqueues a line; never waits. Lines over 8 KiB are cut; what a full queue drops is counted and
  // reported.
  void log(LogLevel level, std::string_view text) const {
    host_->log(self_, static_cast<int>(level), text.data(), text.size());
  }
  // True from the moment the plugin should end: shutdown, replacement, removal, disable.
  bool stopping() const { return host_->stopping(self_) != 0; }
  // The same as a channel, for select: one Stop message, then closed. Called by the root actor;
  // each call makes a new channel.
  Receiver<Stop> stop_signal() const { return Receiver<Stop>(smarm_stop_channel()); }
  // A listening socket that the service manager passed under this name (systemd's
  // FileDescriptorName). A new fd, yours to close.
  std::optional<int> listener(std::string_view name) const {
    int fd = host_->listener(self_, name.data(), name.size());
    return fd < 0 ? std::nullopt : std::optional<int>(fd);
  }
  // That socket when there is one, else one at "host:port".
  IoResult<TcpListener> listen(std::string_view name, std::string_view address) const {
    const auto fd = listener(name);
    return fd ? TcpListener::adopt(*fd) : TcpListener::bind(address);
  }
  // The registry: names for actors, across plugins. False when a living actor has the name. A name
  // dies with its actor.
  bool publish(std::string_view name, Pid pid) const {
    return host_->publish(self_, name.data(), name.size(), pid.raw()) == 0;
  }
  std::optional<Pid> lookup(std::string_view name) const {
    Pid pid(host_->lookup(self_, name.data(), name.size()));
    return pid == ROOT_PID ? std::nullopt : std::optional<Pid>(pid);
  }

 private:
  const smarm_plugin_host* host_;
  void* self_;
};

// What SMARM_PLUGIN takes. name: letters, digits, `-` and `_`, at most 63; it is the key in the
// daemon's configuration.
struct Descriptor {
  const char* name = "";
  const char* version = "";
  const char* description = "";
  void (*main)(Context&) = nullptr;
  Restart restart =
      Restart::by_config;      // the plugin's wish; the daemon's configuration overrides it
  const char* needs = "";      // names of plugins that must be up first, separated by commas
  std::uint32_t features = 0;  // bits of the ABI that the plugin needs; 0 for none
};

namespace detail {

inline constexpr char kNoteOwner[8] = "SMARM";
inline constexpr std::uint32_t kNoteType = 1;

enum NoteFlag : std::uint32_t { kCxx11Abi = 1, kExceptions = 2, kAsan = 4, kTsan = 8 };

constexpr std::uint32_t build_flags() {
  std::uint32_t flags = 0;
#if defined(_GLIBCXX_USE_CXX11_ABI) && _GLIBCXX_USE_CXX11_ABI
  flags |= kCxx11Abi;
#endif
#ifdef __cpp_exceptions
  flags |= kExceptions;
#endif
#ifdef __SANITIZE_ADDRESS__
  flags |= kAsan;
#endif
#ifdef __SANITIZE_THREAD__
  flags |= kTsan;
#endif
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
  flags |= kAsan;
#endif
#if __has_feature(thread_sanitizer)
  flags |= kTsan;
#endif
#endif
  return flags;
}

// The ELF note `.note.smarm`: header, owner and description, without a pointer in it so that it can
// be read from the file. Little-endian.
struct Note {
  std::uint32_t owner_size, desc_size, type;
  char owner[8];
  std::uint32_t layout;  // 1; the fields below
  std::uint32_t abi_major, abi_minor;
  std::uint32_t flags;  // NoteFlag
  std::uint32_t features;
  std::uint32_t restart;
  char name[64], version[32], compiler[96], description[160], needs[128];
};

template <std::size_t N>
consteval void copy_text(char (&to)[N], const char* from) {
  std::size_t i = 0;
  for (; from[i]; ++i) {
    if (i + 1 == N) throw "SMARM_PLUGIN: a text of the descriptor is too long";
    to[i] = from[i];
  }
  for (; i < N; ++i) to[i] = 0;
}

consteval Note make_note(const Descriptor& d) {
  Note n{};
  n.owner_size = 6;
  n.desc_size = sizeof(Note) - offsetof(Note, layout);
  n.type = kNoteType;
  copy_text(n.owner, kNoteOwner);
  n.layout = 1;
  n.abi_major = SMARM_ABI_MAJOR;
  n.abi_minor = SMARM_ABI_MINOR;
  n.flags = build_flags();
  n.features = d.features;
  n.restart = static_cast<std::uint32_t>(d.restart);
  if (!d.name[0]) throw "SMARM_PLUGIN: .name is missing";
  if (!d.main) throw "SMARM_PLUGIN: .main is missing";
  for (const char* c = d.name; *c; ++c) {
    const bool ok = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') ||
                    (*c >= '0' && *c <= '9') || *c == '-' || *c == '_';
    if (!ok) throw "SMARM_PLUGIN: .name takes letters, digits, - and _";
  }
  copy_text(n.name, d.name);
  copy_text(n.version, d.version);
#ifdef __clang__
  copy_text(n.compiler, "clang " __clang_version__);
#else
  copy_text(n.compiler, "g++ " __VERSION__);
#endif
  copy_text(n.description, d.description);
  copy_text(n.needs, d.needs);
  return n;
}

// The one symbol that the daemon looks up, `smarm_plugin_export`.
struct Export {
  std::uint32_t struct_size;
  std::uint32_t abi_major;
  void (*main)(Context&);
  void* (*operator_new)(std::size_t);  // as the plugin sees it: must be the daemon's
};

}  // namespace detail
}  // namespace smarm::plugin

#define SMARM_PLUGIN(...)                                                                       \
  static constexpr ::smarm::plugin::Descriptor smarm_plugin_descriptor = __VA_ARGS__;           \
  [[gnu::section(".note.smarm"), gnu::used,                                                     \
    gnu::aligned(4)]] static constexpr ::smarm::plugin::detail::Note smarm_plugin_note =        \
      ::smarm::plugin::detail::make_note(smarm_plugin_descriptor);                              \
  extern "C"                                                                                    \
      [[gnu::visibility("default")]] const ::smarm::plugin::detail::Export smarm_plugin_export; \
  const ::smarm::plugin::detail::Export smarm_plugin_export = {                                 \
      sizeof(::smarm::plugin::detail::Export), SMARM_ABI_MAJOR, smarm_plugin_descriptor.main,   \
      &::operator new}
