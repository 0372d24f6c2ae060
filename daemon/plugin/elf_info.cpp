#include "daemon/plugin/elf_info.hpp"

#include "daemon/plugin/elf_file.hpp"
#include "daemon/plugin/text.hpp"
#include "daemon/plugin/unique_fd.hpp"

#include <dlfcn.h>
#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

namespace smarmd::plugin {
namespace {

using smarm::plugin::detail::Note;

constexpr std::size_t kNoteBodySize = sizeof(Note) - offsetof(Note, layout);
constexpr std::uint32_t kNoteLayout = 1;
constexpr std::uint32_t kKnownFeatures = 0;  // none exist yet
constexpr std::size_t kNamesShown = 5;

std::string abi_text(std::uint32_t major, std::uint32_t minor) {
  return std::to_string(major) + "." + std::to_string(minor);
}

std::string listed(std::vector<std::string> names) {
  std::sort(names.begin(), names.end());
  std::string out;
  for (std::size_t i = 0; i < std::min(names.size(), kNamesShown); ++i)
    out += (i ? ", " : "") + one_line(names[i], 120);
  if (names.size() > kNamesShown)
    out += " and " + std::to_string(names.size() - kNamesShown) + " more";
  return out;
}

std::expected<Note, std::string> read_note(const ElfFile& file) {
  auto notes = file.notes("SMARM", smarm::plugin::detail::kNoteType);
  if (!notes) return std::unexpected(std::move(notes.error()));
  if (notes->empty())
    return std::unexpected(
        "is not a smarmd plugin: it has no SMARM note; put SMARM_PLUGIN in one source file");
  if (notes->size() > 1)
    return std::unexpected("has " + std::to_string(notes->size()) +
                           " SMARM notes: put SMARM_PLUGIN in one source file only");
  const std::string& body = notes->front();
  std::uint32_t layout = 0;
  if (body.size() < sizeof layout)
    return std::unexpected("is damaged: its SMARM note is too short");
  std::memcpy(&layout, body.data(), sizeof layout);
  if (layout != kNoteLayout) {
    return std::unexpected("has a SMARM note of layout " + std::to_string(layout) +
                           ", this daemon reads layout " + std::to_string(kNoteLayout) +
                           ": rebuild it with this daemon's headers");
  }
  if (body.size() < kNoteBodySize)
    return std::unexpected("is damaged: its SMARM note is too short");
  Note note{};
  std::memcpy(reinterpret_cast<char*>(&note) + offsetof(Note, layout), body.data(), kNoteBodySize);
  return note;
}

std::expected<void, std::string> judge_abi(const Note& note) {
  const std::string theirs = abi_text(note.abi_major, note.abi_minor),
                    ours = abi_text(SMARM_ABI_MAJOR, SMARM_ABI_MINOR);
  if (note.abi_major != SMARM_ABI_MAJOR) {
    return std::unexpected("is built for smarm ABI " + theirs + ", this daemon has ABI " + ours +
                           ": rebuild it with this daemon's headers");
  }
  if (note.abi_minor > SMARM_ABI_MINOR) {
    return std::unexpected("is built for smarm ABI " + theirs +
                           ", which is newer than this daemon's " + ours +
                           ": update smarmd, or rebuild it with this daemon's headers");
  }
  if (const std::uint32_t unknown = note.features & ~kKnownFeatures) {
    return std::unexpected("needs ABI feature bits " + std::to_string(unknown) +
                           ", which this daemon does not have: update smarmd");
  }
  return {};
}

// What differs between the plugin's compiler flags and the daemon's, as a line for the author.
std::expected<void, std::string> judge_flags(std::uint32_t theirs, std::uint32_t ours) {
  using namespace smarm::plugin::detail;
  struct Rule {
    std::uint32_t flag;
    const char *plugin_has, *daemon_has;
  };
  static constexpr Rule kRules[] = {
      {kCxx11Abi,
       "is built with the C++11 library ABI, the daemon without: set -D_GLIBCXX_USE_CXX11_ABI=0",
       "is built without the C++11 library ABI: remove -D_GLIBCXX_USE_CXX11_ABI=0"},
      {kExceptions, "is built with exceptions, the daemon without",
       "is built with -fno-exceptions, so that its actors could not be unwound: remove that flag"},
      {kAsan, "is built with AddressSanitizer, the daemon without: remove -fsanitize=address",
       "is built without AddressSanitizer, the daemon with it: add -fsanitize=address"},
      {kTsan, "is built with ThreadSanitizer, the daemon without: remove -fsanitize=thread",
       "is built without ThreadSanitizer, the daemon with it: add -fsanitize=thread"},
  };
  for (const Rule& rule : kRules) {
    if ((theirs ^ ours) & rule.flag)
      return std::unexpected((theirs & rule.flag) ? rule.plugin_has : rule.daemon_has);
  }
  return {};
}

template <std::size_t N>
std::optional<std::string_view> terminated(const char (&field)[N]) {
  const std::size_t length = ::strnlen(field, N);
  return length < N ? std::optional<std::string_view>({field, length}) : std::nullopt;
}

std::expected<std::vector<std::string>, std::string> split_needs(std::string_view list,
                                                                 std::string_view self) {
  std::vector<std::string> needs;
  while (!list.empty()) {
    const std::size_t comma = std::min(list.find(','), list.size());
    std::string_view item = list.substr(0, comma);
    list.remove_prefix(std::min(comma + 1, list.size()));
    while (item.starts_with(' ')) item.remove_prefix(1);
    while (item.ends_with(' ')) item.remove_suffix(1);
    if (item.empty()) continue;
    if (!valid_plugin_name(item))
      return std::unexpected(
          "has .needs with '" + one_line(item, 80) +
          "' in it, which is not a plugin's name; names are separated by commas");
    if (item == self)
      return std::unexpected("has .needs with its own name '" + std::string(item) + "' in it");
    if (std::find(needs.begin(), needs.end(), item) == needs.end()) needs.emplace_back(item);
  }
  return needs;
}

std::expected<PluginInfo, std::string> describe(const Note& note) {
  const auto name = terminated(note.name), version = terminated(note.version),
             compiler = terminated(note.compiler), description = terminated(note.description),
             needs = terminated(note.needs);
  if (!name || !version || !compiler || !description || !needs)
    return std::unexpected("is damaged: a text of its SMARM note has no end");
  if (!valid_plugin_name(*name)) {
    return std::unexpected(
        "has the plugin name '" + one_line(*name, 80) +
        "', which is not valid: a name takes 1 to 63 letters, digits, `-` and `_`");
  }
  if (note.restart > static_cast<std::uint32_t>(smarm::plugin::Restart::temporary))
    return std::unexpected("is damaged: its SMARM note has an unknown .restart");
  auto needed = split_needs(*needs, *name);
  if (!needed) return std::unexpected(std::move(needed.error()));
  PluginInfo info;
  info.name = *name;
  info.version = one_line(*version);
  info.description = one_line(*description);
  info.needs = std::move(*needed);
  info.restart = static_cast<smarm::plugin::Restart>(note.restart);
  info.abi_major = note.abi_major;
  info.abi_minor = note.abi_minor;
  info.features = note.features;
  info.compiler = one_line(*compiler);
  return info;
}

// Global operator new and delete in all their forms; members of classes are mangled differently.
bool is_allocation_operator(std::string_view symbol) {
  return symbol.starts_with("_Znwm") || symbol.starts_with("_Znam") ||
         symbol.starts_with("_ZdlPv") || symbol.starts_with("_ZdaPv");
}

// What the dynamic symbols forbid, and what they only make worth a warning.
std::expected<std::vector<std::string>, std::string> judge_symbols(
    const ElfFile::Dynamic& dynamic, const std::function<bool(const std::string&)>& exported) {
  std::vector<std::string> missing, unique, own_new;
  bool has_export = false, thread_exit = false;
  for (const ElfFile::Symbol& symbol : dynamic.symbols) {
    if (symbol.defined) {
      has_export |= symbol.name == "smarm_plugin_export" && symbol.type == STT_OBJECT;
      if (is_allocation_operator(symbol.name)) own_new.emplace_back(symbol.name);
      if (symbol.binding == STB_GNU_UNIQUE) unique.emplace_back(symbol.name);
    } else {
      thread_exit |= symbol.name == "__cxa_thread_atexit";
      if (symbol.name.starts_with("smarm_") && symbol.binding != STB_WEAK &&
          !exported(std::string(symbol.name)))
        missing.emplace_back(symbol.name);
    }
  }
  if (!has_export)
    return std::unexpected(
        "does not export smarm_plugin_export: keep that symbol visible (linker version script, "
        "strip)");
  if (!own_new.empty()) {
    return std::unexpected("defines operator new or delete of its own (" + listed(own_new) +
                           "): its actors must allocate with the daemon's; remove it, and do not "
                           "link with -static-libstdc++");
  }
  if (!missing.empty()) {
    return std::unexpected("needs " + listed(missing) +
                           ", which this daemon (smarm " SMARM_VERSION
                           ") does not export: rebuild it with this daemon's headers");
  }
  std::vector<std::string> warnings;
  if (!unique.empty()) {
    warnings.push_back("has " + std::to_string(unique.size()) + " unique symbols (" +
                       listed(unique) +
                       "): it can never be unmapped, and its next image shares their values; build "
                       "it with -fno-gnu-unique");
  }
  if (thread_exit)
    warnings.push_back(
        "has a thread_local with a destructor: its image stays mapped while a thread that used it "
        "lives");
  return warnings;
}

bool in_this_process(const std::string& symbol) {
  return ::dlsym(RTLD_DEFAULT, symbol.c_str()) != nullptr;
}

}  // namespace

bool valid_plugin_name(std::string_view name) {
  const auto ok = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_';
  };
  return !name.empty() && name.size() <= 63 && std::all_of(name.begin(), name.end(), ok);
}

std::expected<PluginInfo, std::string> inspect_fd(int fd, const InspectOptions& options) {
  const auto file = ElfFile::open(fd);
  if (!file) return std::unexpected(file.error());
  const auto note = read_note(*file);
  if (!note) return std::unexpected(note.error());
  if (auto ok = judge_abi(*note); !ok) return std::unexpected(std::move(ok.error()));
  if (auto ok = judge_flags(note->flags, options.build_flags); !ok)
    return std::unexpected(std::move(ok.error()));
  auto info = describe(*note);
  if (!info) return info;

  const auto dynamic = file->dynamic();
  if (!dynamic) return std::unexpected(dynamic.error());
  const ElfFile::Dynamic& tables = **dynamic;
  if (tables.flags_1 & DF_1_PIE)
    return std::unexpected("is an executable, not a shared object: build it with -shared -fPIC");
  if (file->wants_executable_stack())
    return std::unexpected(
        "asks for an executable stack, which would make the daemon's stacks executable: link it "
        "with -Wl,-z,noexecstack");
  auto warnings = judge_symbols(tables, options.exported ? options.exported : in_this_process);
  if (!warnings) return std::unexpected(std::move(warnings.error()));
  info->warnings = std::move(*warnings);
  if (tables.flags & DF_STATIC_TLS)
    info->warnings.push_back(
        "uses static TLS (-ftls-model=initial-exec), of which a process has little: a later plugin "
        "may not load; build it with -fPIC alone");
  if (tables.flags_1 & DF_1_NODELETE)
    info->warnings.push_back("is linked with -z nodelete: it can never be unmapped");
  return info;
}

std::expected<PluginInfo, std::string> inspect(const std::filesystem::path& file,
                                               const InspectOptions& options) {
  const UniqueFd fd(::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (!fd) return std::unexpected("cannot be opened: " + errno_text(errno));
  return inspect_fd(fd.get(), options);
}

}  // namespace smarmd::plugin
