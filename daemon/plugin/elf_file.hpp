// The parts of an x86-64 ELF shared object that say whether it may be loaded: notes, dynamic flags,
// dynamic symbols. Reads, does not judge.
//
// Takes nothing in the file for granted; see the invariants of elf_info.hpp. Not thread-safe.
#pragma once

#include <elf.h>

#include <cstdint>
#include <expected>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace smarmd::plugin {

class ElfFile {
 public:
  struct Symbol {
    std::string_view name;  // into Dynamic::strings
    bool defined;
    unsigned char binding;  // STB_*
    unsigned char type;     // STT_*
  };
  struct Dynamic {
    Dynamic() = default;
    Dynamic(const Dynamic&) = delete;  // a copy's names would point into the original
    Dynamic& operator=(const Dynamic&) = delete;

    std::uint64_t flags = 0, flags_1 = 0;  // DF_*, DF_1_*
    std::string strings;                   // what the names of `symbols` point into
    std::vector<Symbol> symbols;
  };

  // Header and tables. The error says what the file is instead, or where it is cut off. The fd must
  // stay open for as long as the ElfFile is used.
  [[nodiscard]] static std::expected<ElfFile, std::string> open(int fd);

  // The descriptions of all notes of that owner and type.
  [[nodiscard]] std::expected<std::vector<std::string>, std::string> notes(
      std::string_view owner, std::uint32_t type) const;
  // Flags and symbols, as the loader would find them (it does not look at sections, which may be
  // stripped).
  [[nodiscard]] std::expected<std::unique_ptr<Dynamic>, std::string> dynamic() const;
  bool wants_executable_stack() const;

 private:
  struct Tables {
    std::uint64_t symbols = 0, strings = 0, strings_size = 0, gnu_hash = 0, hash = 0, flags = 0,
                  flags_1 = 0;
  };

  ElfFile(int fd, std::uint64_t size) : fd_(fd), size_(size) {}

  std::expected<void, std::string> read_header();
  std::expected<void, std::string> check_segments();
  std::expected<void, std::string> check_sections() const;
  std::expected<Tables, std::string> dynamic_tables() const;
  std::optional<std::uint64_t> offset_of(std::uint64_t address) const;
  std::optional<std::uint32_t> symbol_count(std::uint64_t gnu_hash, std::uint64_t hash) const;
  std::optional<std::uint32_t> gnu_hash_count(std::uint64_t offset) const;
  std::expected<std::string, std::string> read(std::uint64_t offset, std::uint64_t size,
                                               std::uint64_t limit, std::string_view what) const;
  template <class T>
  std::expected<std::vector<T>, std::string> read_array(std::uint64_t offset, std::uint64_t count,
                                                        std::string_view what) const;
  std::string truncated(std::uint64_t needed) const;

  int fd_;
  std::uint64_t size_;
  Elf64_Ehdr header_{};
  std::vector<Elf64_Phdr> segments_;
};

}  // namespace smarmd::plugin
