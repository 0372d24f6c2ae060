// By libdw of elfutils. libbacktrace, which comes with the compiler, reads the same, but what it
// has read of a file it keeps for ever, and images come and go here. Nothing is kept from one
// backtrace to the next: one of 48 frames takes 12 ms to read for the echo plugin.

#include "daemon/supervision/symbolise.hpp"

#include "daemon/log/format.hpp"
#include "daemon/log/logger.hpp"

#include <cxxabi.h>
#include <dlfcn.h>
#include <dwarf.h>
#include <elfutils/libdw.h>
#include <elfutils/libdwfl.h>
#include <link.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <memory>
#include <ranges>
#include <string_view>

namespace smarmd {

namespace {

// Of a function's name: templates of templates make them as long as a page.
constexpr std::size_t kMostName = 400;

std::string hex(std::uintptr_t value) {
  char text[2 + 16 + 1];
  std::snprintf(text, sizeof text, "0x%llx", static_cast<unsigned long long>(value));
  return text;
}

std::string demangle(const char* name) {
  int status = 0;
  const std::unique_ptr<char, decltype(&std::free)> plain(
      abi::__cxa_demangle(name, nullptr, nullptr, &status), &std::free);
  std::string text = plain ? plain.get() : name;
  if (text.size() > kMostName) text.replace(kMostName, std::string::npos, "...");
  return text;
}

struct SourceLine {
  std::string file;
  int line = 0;
};

// The compiler was called in that directory.
std::string at_line(const SourceLine& source, const std::filesystem::path& directory) {
  if (source.file.empty()) return {};
  const std::string file = (directory / source.file).lexically_normal().native();
  return " at " + file + (source.line > 0 ? ":" + std::to_string(source.line) : "");
}

// ---- debug information ----

// The name that the linker knows it by says the most; a lambda, or what is inlined, may have none.
std::string name_of(Dwarf_Die* function) {
  Dwarf_Attribute found;
  Dwarf_Attribute* linkage = dwarf_attr_integrate(function, DW_AT_linkage_name, &found);
  const char* name = linkage ? dwarf_formstring(linkage) : dwarf_diename(function);
  return name ? demangle(name) : std::string();
}

// Where the inlined function was called from.
SourceLine call_of(Dwarf_Die* inlined, Dwarf_Die* unit) {
  const auto number = [inlined](unsigned attribute) {
    Dwarf_Attribute found;
    Dwarf_Word value = 0;
    return dwarf_formudata(dwarf_attr(inlined, attribute, &found), &value) == 0 ? value : 0;
  };
  Dwarf_Files* files = nullptr;
  std::size_t count = 0;
  if (dwarf_getsrcfiles(unit, &files, &count) != 0) return {};
  const char* file = dwarf_filesrc(files, number(DW_AT_call_file), nullptr, nullptr);
  return {file ? file : "", static_cast<int>(number(DW_AT_call_line))};
}

bool holds_functions(Dwarf_Die* entry) {
  const int tag = dwarf_tag(entry);
  return tag == DW_TAG_namespace || tag == DW_TAG_compile_unit || tag == DW_TAG_partial_unit;
}

// Appends the function at `pc` that the entry holds and what is inlined there, outermost first.
// (Not by dwarf_getscopes: that visits every entry of the unit, twice, for each address.)
bool find_function(Dwarf_Die* entry, Dwarf_Addr pc, std::vector<Dwarf_Die>& found) {
  Dwarf_Die child;
  for (bool more = dwarf_child(entry, &child) == 0; more;
       more = dwarf_siblingof(&child, &child) == 0) {
    if (dwarf_haspc(&child, pc) > 0) {
      found.push_back(child);
      find_function(&child, pc, found);
      return true;
    }
    if (holds_functions(&child) && find_function(&child, pc, found)) return true;
  }
  return false;
}

// One file, open for reading.
class Symbols {
 public:
  explicit Symbols(const CodePlace& in) : reader_(dwfl_begin(&kCallbacks), &dwfl_end) {
    if (!reader_) return;
    const char* file = in.file.c_str();
    dwfl_report_begin(reader_.get());
    module_ = dwfl_report_elf(reader_.get(), file, file, -1, 0, true);
    dwfl_report_end(reader_.get(), nullptr, nullptr);
    if (module_ && !in.build.empty() && in.build != build_of(module_)) module_ = nullptr;
  }

  // Appends the lines for one place; `last` is how the line of the function itself ends.
  void describe(std::uintptr_t pc, const std::string& last, std::vector<std::string>& lines) {
    std::vector<std::string>& known = known_[pc];  // a recursion has the same place many times
    if (known.empty() && module_) describe_by_source(pc, last, known);
    if (known.empty()) known.push_back(describe_by_symbol(pc, last));
    lines.insert(lines.end(), known.begin(), known.end());
  }

 private:
  void describe_by_source(Dwarf_Addr pc, const std::string& last, std::vector<std::string>& lines) {
    Dwarf_Addr bias = 0;
    Dwarf_Die* unit = dwfl_module_addrdie(module_, pc, &bias);
    if (!unit) return;
    Dwarf_Attribute found;
    const char* named = dwarf_formstring(dwarf_attr(unit, DW_AT_comp_dir, &found));
    const std::filesystem::path directory = named ? named : "";
    SourceLine source = line_at(pc);
    std::vector<Dwarf_Die> scopes;
    find_function(unit, pc - bias, scopes);
    for (Dwarf_Die& scope : scopes | std::views::reverse) {
      if (dwarf_tag(&scope) == DW_TAG_inlined_subroutine) {
        lines.push_back(name_of(&scope) + at_line(source, directory) + " (inlined)");
        source = call_of(&scope, unit);
      } else if (dwarf_tag(&scope) == DW_TAG_subprogram) {
        // The symbol's name before the entry's: of a lambda only that says whose it is.
        const std::string symbol = symbol_at(pc, nullptr);
        lines.push_back((symbol.empty() ? name_of(&scope) : symbol) + at_line(source, directory) +
                        last);
        return;
      }
    }
    // Written in a place of its own: then without what is inlined.
    const std::string symbol = symbol_at(pc, nullptr);
    if (!symbol.empty() && !source.file.empty())
      lines.push_back(symbol + at_line(source, directory) + last);
  }

  SourceLine line_at(Dwarf_Addr pc) {
    Dwfl_Line* found = dwfl_module_getsrc(module_, pc);
    SourceLine source;
    const char* file =
        found ? dwfl_lineinfo(found, nullptr, &source.line, nullptr, nullptr, nullptr) : nullptr;
    if (file) source.file = file;
    return source;
  }

  std::string describe_by_symbol(std::uintptr_t pc, const std::string& last) {
    GElf_Off offset = 0;
    const std::string name = module_ ? symbol_at(pc, &offset) : std::string();
    if (name.empty()) return last.substr(2, last.size() - 3);  // without its brackets
    return name + "+" + hex(offset + 1) + last;
  }

  static std::string build_of(Dwfl_Module* module) {
    const unsigned char* bytes = nullptr;
    GElf_Addr where = 0;
    const int n = dwfl_module_build_id(module, &bytes, &where);
    return n > 0 ? std::string(bytes, bytes + n) : std::string();
  }

  std::string symbol_at(Dwarf_Addr pc, GElf_Off* offset) {
    GElf_Off from_start = 0;
    GElf_Sym symbol;
    const char* name =
        dwfl_module_addrinfo(module_, pc, &from_start, &symbol, nullptr, nullptr, nullptr);
    if (offset) *offset = from_start;
    return name && *name ? demangle(name) : std::string();
  }

  // Debug information of its own file is looked for by the build's identity, on this machine only.
  static constexpr Dwfl_Callbacks kCallbacks{.find_elf = nullptr,
                                             .find_debuginfo = dwfl_build_id_find_debuginfo,
                                             .section_address = dwfl_offline_section_address,
                                             .debuginfo_path = nullptr};

  std::unique_ptr<Dwfl, decltype(&dwfl_end)> reader_;
  Dwfl_Module* module_ = nullptr;
  std::map<std::uintptr_t, std::vector<std::string>> known_;
};

// As the linker left it in the image: a file of the same name may be another one by now.
std::string build_in_memory(const dl_find_object& image) {
  const auto* begin = static_cast<const char*>(image.dlfo_map_start);
  const auto* elf = reinterpret_cast<const ElfW(Ehdr)*>(begin);
  const auto* segments = reinterpret_cast<const ElfW(Phdr)*>(begin + elf->e_phoff);
  for (const ElfW(Phdr) & segment : std::span(segments, elf->e_phnum)) {
    if (segment.p_type != PT_NOTE) continue;
    const auto padded = [&segment](std::size_t n) {
      const std::size_t to = segment.p_align == 8 ? 8 : 4;
      return (n + to - 1) / to * to;
    };
    const auto* note = reinterpret_cast<const char*>(image.dlfo_link_map->l_addr + segment.p_vaddr);
    const char* const end = note + segment.p_memsz;
    while (note + sizeof(ElfW(Nhdr)) <= end) {
      const auto& head = *reinterpret_cast<const ElfW(Nhdr)*>(note);
      const char* name = note + sizeof head;
      const char* content = name + padded(head.n_namesz);
      if (head.n_type == NT_GNU_BUILD_ID && std::string_view(name, head.n_namesz) ==
                                                std::string_view(ELF_NOTE_GNU, sizeof ELF_NOTE_GNU))
        return {content, head.n_descsz};
      note = content + padded(head.n_descsz);
    }
  }
  return {};
}

}  // namespace

std::vector<CodePlace> places_of(std::span<void* const> frames) {
  std::vector<CodePlace> places;
  std::size_t wanted = 0;  // up to the outermost that is not the program's own
  for (void* frame : frames) {
    // A return address is the instruction after the call; the byte before it is inside the call and
    // so inside the right function.
    CodePlace place{.address = reinterpret_cast<std::uintptr_t>(frame)};
    dl_find_object found{};
    if (frame && _dl_find_object(reinterpret_cast<void*>(place.address - 1), &found) == 0) {
      const link_map& image = *found.dlfo_link_map;
      const std::string_view file = image.l_name;
      place.in_file = place.address - image.l_addr;
      // The program's own file is still to be had by that name when it was replaced.
      place.file = file.empty() ? "/proc/self/exe" : file;
      place.image = file.empty() ? program_invocation_short_name : file.substr(file.rfind('/') + 1);
      place.build = build_in_memory(found);
      if (!file.empty()) wanted = places.size() + 1;
    }
    places.push_back(std::move(place));
  }
  if (wanted > 0) places.resize(wanted);
  return places;
}

std::string symbolise(std::span<const CodePlace> places) {
  std::map<std::string_view, Symbols> files;
  std::vector<std::string> lines;
  for (const CodePlace& place : places) {
    if (place.file.empty()) {
      lines.push_back(hex(place.address));
      continue;
    }
    Symbols& symbols = files.try_emplace(place.file, place).first->second;
    symbols.describe(place.in_file - 1, " (" + place.image + "+" + hex(place.in_file) + ")", lines);
  }
  std::string text;
  for (std::size_t i = 0; i < lines.size(); ++i)
    text += (i > 0 ? "\n#" : "#") + std::to_string(i) + " " + lines[i];
  return text;
}

LateText in_words(std::span<void* const> frames) {
  if (frames.empty()) return {};
  return LateText(
      [places = places_of(frames)] { return cut_text(symbolise(places), Logger::kMaxFieldText); });
}

}  // namespace smarmd
