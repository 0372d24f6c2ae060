#include "daemon/plugin/elf_file.hpp"

#include "daemon/plugin/text.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace smarmd::plugin {
namespace {

// Far above what a real plugin has, far below what would hurt.
constexpr std::uint64_t kMaxTableBytes = std::uint64_t{64} << 20;
constexpr std::uint64_t kMaxNoteBytes = std::uint64_t{1} << 20;
constexpr std::uint64_t kMaxSegments = 1024;
constexpr std::uint64_t kMaxNameBytes = std::uint64_t{1} << 20;

// Reads exactly `size` bytes, or as many as there are.
std::expected<std::string, std::string> read_bytes(int fd, std::uint64_t offset,
                                                   std::uint64_t size) {
  std::string bytes(size, '\0');
  std::uint64_t done = 0;
  while (done < size) {
    const ssize_t n =
        ::pread(fd, bytes.data() + done, size - done, static_cast<off_t>(offset + done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return std::unexpected("cannot be read: " + errno_text(errno));
    if (n == 0) break;
    done += static_cast<std::uint64_t>(n);
  }
  bytes.resize(done);
  return bytes;
}

std::string machine_name(std::uint16_t machine) {
  switch (machine) {
    case EM_386: return "32-bit x86";
    case EM_AARCH64: return "ARM64";
    case EM_ARM: return "ARM";
    case EM_RISCV: return "RISC-V";
    case EM_PPC64: return "PowerPC64";
    case EM_S390: return "S/390";
    default: return "machine type " + std::to_string(machine);
  }
}

std::string wrong_type(std::uint16_t type) {
  switch (type) {
    case ET_REL: return "is an object file, not a shared object: link it with -shared";
    case ET_EXEC: return "is an executable, not a shared object: build it with -shared -fPIC";
    case ET_CORE: return "is a core dump, not a shared object";
    default: return "is not a shared object (ELF type " + std::to_string(type) + ")";
  }
}

std::expected<void, std::string> judge_identity(const std::string& start, std::uint64_t size) {
  if (size == 0)
    return std::unexpected("is empty (half-copied?): copy it under another name, then rename it");
  if (start.size() < SELFMAG || std::memcmp(start.data(), ELFMAG, SELFMAG) != 0)
    return std::unexpected(
        "is not an ELF file: a plugin is a shared object, built with -shared -fPIC");
  if (start.size() > EI_CLASS && start[EI_CLASS] != ELFCLASS64)
    return std::unexpected("is not a 64-bit ELF file: build it for x86-64");
  if (start.size() > EI_DATA && start[EI_DATA] != ELFDATA2LSB)
    return std::unexpected("is a big-endian ELF file: build it for x86-64");
  return {};
}

std::optional<std::string_view> name_at(const std::string& strings, std::uint64_t offset) {
  if (offset >= strings.size()) return std::nullopt;
  const auto window = std::string_view(strings).substr(offset, kMaxNameBytes);
  const auto end = window.find('\0');
  if (end == std::string_view::npos) return std::nullopt;
  return window.substr(0, end);
}

}  // namespace

std::string ElfFile::truncated(std::uint64_t needed) const {
  return "is cut off: it holds " + std::to_string(size_) + " bytes and refers to byte " +
         std::to_string(needed) + " (half-copied?): copy it under another name, then rename it";
}

std::expected<std::string, std::string> ElfFile::read(std::uint64_t offset, std::uint64_t size,
                                                      std::uint64_t limit,
                                                      std::string_view what) const {
  if (size > limit)
    return std::unexpected("is damaged: its " + std::string(what) + " claims " +
                           std::to_string(size) + " bytes");
  if (offset > size_ || size > size_ - offset)
    return std::unexpected(truncated(offset > UINT64_MAX - size ? UINT64_MAX : offset + size));
  auto bytes = read_bytes(fd_, offset, size);
  if (bytes && bytes->size() < size)
    return std::unexpected(truncated(offset + size));  // it shrank after fstat
  return bytes;
}

template <class T>
std::expected<std::vector<T>, std::string> ElfFile::read_array(std::uint64_t offset,
                                                               std::uint64_t count,
                                                               std::string_view what) const {
  if (count > kMaxTableBytes / sizeof(T))
    return std::unexpected("is damaged: its " + std::string(what) + " claims " +
                           std::to_string(count) + " entries");
  auto bytes = read(offset, count * sizeof(T), kMaxTableBytes, what);
  if (!bytes) return std::unexpected(std::move(bytes.error()));
  std::vector<T> items(count);
  if (count) std::memcpy(items.data(), bytes->data(), bytes->size());
  return items;
}

std::expected<ElfFile, std::string> ElfFile::open(int fd) {
  struct stat status{};
  if (::fstat(fd, &status) != 0) return std::unexpected("cannot be read: " + errno_text(errno));
  if (!S_ISREG(status.st_mode)) return std::unexpected("is not a regular file");
  ElfFile file(fd, static_cast<std::uint64_t>(status.st_size));
  if (auto ok = file.read_header(); !ok) return std::unexpected(std::move(ok.error()));
  if (auto ok = file.check_segments(); !ok) return std::unexpected(std::move(ok.error()));
  if (auto ok = file.check_sections(); !ok) return std::unexpected(std::move(ok.error()));
  return file;
}

std::expected<void, std::string> ElfFile::read_header() {
  auto start = read_bytes(fd_, 0, std::min<std::uint64_t>(size_, sizeof header_));
  if (!start) return std::unexpected(std::move(start.error()));
  if (auto ok = judge_identity(*start, size_); !ok) return ok;
  if (start->size() < sizeof header_) return std::unexpected(truncated(sizeof header_));
  std::memcpy(&header_, start->data(), sizeof header_);
  if (header_.e_machine != EM_X86_64)
    return std::unexpected("is built for " + machine_name(header_.e_machine) + ", not for x86-64");
  if (header_.e_type != ET_DYN) return std::unexpected(wrong_type(header_.e_type));
  if (header_.e_phentsize != sizeof(Elf64_Phdr) || header_.e_phnum == 0 ||
      header_.e_phnum > kMaxSegments)
    return std::unexpected("is damaged: its program header table is unusable");
  auto segments = read_array<Elf64_Phdr>(header_.e_phoff, header_.e_phnum, "program header table");
  if (!segments) return std::unexpected(std::move(segments.error()));
  segments_ = std::move(*segments);
  return {};
}

std::expected<void, std::string> ElfFile::check_segments() {
  for (const Elf64_Phdr& segment : segments_) {
    if (segment.p_type != PT_LOAD && segment.p_type != PT_DYNAMIC && segment.p_type != PT_NOTE)
      continue;
    if (segment.p_offset > size_ || segment.p_filesz > size_ - segment.p_offset) {
      return std::unexpected(truncated(segment.p_filesz > UINT64_MAX - segment.p_offset
                                           ? UINT64_MAX
                                           : segment.p_offset + segment.p_filesz));
    }
  }
  return {};
}

// The loader does not need sections; but linkers put their table at the end, so it shows a file of
// which a part is missing.
std::expected<void, std::string> ElfFile::check_sections() const {
  if (header_.e_shoff == 0 || header_.e_shnum == 0) return {};
  if (header_.e_shentsize != sizeof(Elf64_Shdr))
    return std::unexpected("is damaged: its section header table is unusable");
  auto sections = read_array<Elf64_Shdr>(header_.e_shoff, header_.e_shnum, "section header table");
  if (!sections) return std::unexpected(std::move(sections.error()));
  for (const Elf64_Shdr& section : *sections) {
    if (section.sh_type == SHT_NOBITS || section.sh_type == SHT_NULL) continue;
    if (section.sh_offset > size_ || section.sh_size > size_ - section.sh_offset) {
      return std::unexpected(truncated(section.sh_size > UINT64_MAX - section.sh_offset
                                           ? UINT64_MAX
                                           : section.sh_offset + section.sh_size));
    }
  }
  return {};
}

std::expected<std::vector<std::string>, std::string> ElfFile::notes(std::string_view owner,
                                                                    std::uint32_t type) const {
  std::vector<std::string> found;
  for (const Elf64_Phdr& segment : segments_) {
    if (segment.p_type != PT_NOTE) continue;
    auto bytes = read(segment.p_offset, segment.p_filesz, kMaxNoteBytes, "note segment");
    if (!bytes) return std::unexpected(std::move(bytes.error()));
    const std::uint64_t alignment = segment.p_align == 8 ? 8 : 4;
    const auto padded = [&](std::uint64_t size) {
      return (size + alignment - 1) & ~(alignment - 1);
    };
    for (std::uint64_t at = 0; bytes->size() - at >= sizeof(Elf64_Nhdr);) {
      Elf64_Nhdr note;
      std::memcpy(&note, bytes->data() + at, sizeof note);
      at += sizeof note;
      const std::uint64_t name_end = at + note.n_namesz;
      const std::uint64_t desc_at = at + padded(note.n_namesz);
      const std::uint64_t desc_end = desc_at + note.n_descsz;
      if (name_end > bytes->size() || desc_end > bytes->size())
        return std::unexpected("is damaged: an ELF note reaches past its segment");
      const bool ours = note.n_type == type && std::string_view(*bytes).substr(at, note.n_namesz) ==
                                                   std::string(owner) + '\0';
      if (ours) found.push_back(bytes->substr(desc_at, note.n_descsz));
      at = std::min<std::uint64_t>(desc_at + padded(note.n_descsz), bytes->size());
    }
  }
  return found;
}

bool ElfFile::wants_executable_stack() const {
  const auto stack = std::find_if(segments_.begin(), segments_.end(),
                                  [](const Elf64_Phdr& s) { return s.p_type == PT_GNU_STACK; });
  return stack == segments_.end() ||
         (stack->p_flags & PF_X) != 0;  // glibc's rule: no entry means executable
}

std::optional<std::uint64_t> ElfFile::offset_of(std::uint64_t address) const {
  for (const Elf64_Phdr& s : segments_) {
    if (s.p_type == PT_LOAD && address >= s.p_vaddr && address - s.p_vaddr < s.p_filesz)
      return s.p_offset + (address - s.p_vaddr);
  }
  return std::nullopt;
}

// The table does not say how long it is: the last symbol is the end of the chain that starts
// latest.
std::optional<std::uint32_t> ElfFile::gnu_hash_count(std::uint64_t offset) const {
  const auto head = read_array<std::uint32_t>(offset, 4, "symbol hash table");
  if (!head) return std::nullopt;
  const std::uint32_t bucket_count = (*head)[0], first_symbol = (*head)[1],
                      bloom_words = (*head)[2];
  const std::uint64_t buckets_at = offset + 16 + std::uint64_t{bloom_words} * 8;
  const auto buckets = read_array<std::uint32_t>(buckets_at, bucket_count, "symbol hash table");
  if (!buckets || buckets->empty()) return std::nullopt;
  std::uint32_t last = *std::max_element(buckets->begin(), buckets->end());
  if (last < first_symbol) return first_symbol;
  const std::uint64_t chains_at = buckets_at + std::uint64_t{bucket_count} * 4;
  for (; last < kMaxTableBytes / sizeof(Elf64_Sym); ++last) {
    const auto link = read_array<std::uint32_t>(chains_at + std::uint64_t{last - first_symbol} * 4,
                                                1, "symbol hash table");
    if (!link) return std::nullopt;
    if ((*link)[0] & 1) return last + 1;
  }
  return std::nullopt;
}

std::optional<std::uint32_t> ElfFile::symbol_count(std::uint64_t gnu_hash,
                                                   std::uint64_t hash) const {
  if (const auto offset = offset_of(gnu_hash); gnu_hash && offset) return gnu_hash_count(*offset);
  if (const auto offset = offset_of(hash); hash && offset) {
    if (const auto head = read_array<std::uint32_t>(*offset, 2, "symbol hash table"))
      return (*head)[1];
  }
  return std::nullopt;
}

std::expected<ElfFile::Tables, std::string> ElfFile::dynamic_tables() const {
  const auto segment = std::find_if(segments_.begin(), segments_.end(),
                                    [](const Elf64_Phdr& s) { return s.p_type == PT_DYNAMIC; });
  if (segment == segments_.end())
    return std::unexpected("has no dynamic section: build it with -shared");
  auto entries = read_array<Elf64_Dyn>(segment->p_offset, segment->p_filesz / sizeof(Elf64_Dyn),
                                       "dynamic section");
  if (!entries) return std::unexpected(std::move(entries.error()));
  Tables tables;
  for (const Elf64_Dyn& entry : *entries) {
    if (entry.d_tag == DT_NULL) break;
    switch (entry.d_tag) {
      case DT_SYMTAB: tables.symbols = entry.d_un.d_ptr; break;
      case DT_STRTAB: tables.strings = entry.d_un.d_ptr; break;
      case DT_STRSZ: tables.strings_size = entry.d_un.d_val; break;
      case DT_GNU_HASH: tables.gnu_hash = entry.d_un.d_ptr; break;
      case DT_HASH: tables.hash = entry.d_un.d_ptr; break;
      case DT_FLAGS: tables.flags = entry.d_un.d_val; break;
      case DT_FLAGS_1: tables.flags_1 = entry.d_un.d_val; break;
      default: break;
    }
  }
  return tables;
}

std::expected<std::unique_ptr<ElfFile::Dynamic>, std::string> ElfFile::dynamic() const {
  const auto tables = dynamic_tables();
  if (!tables) return std::unexpected(tables.error());
  const auto symbols_offset = offset_of(tables->symbols),
             strings_offset = offset_of(tables->strings);
  const auto count = symbol_count(tables->gnu_hash, tables->hash);
  if (!symbols_offset || !strings_offset || !count)
    return std::unexpected("is damaged: it has no usable dynamic symbol table");
  auto strings =
      read(*strings_offset, tables->strings_size, kMaxTableBytes, "dynamic string table");
  if (!strings) return std::unexpected(std::move(strings.error()));
  const auto symbols = read_array<Elf64_Sym>(*symbols_offset, *count, "dynamic symbol table");
  if (!symbols) return std::unexpected(symbols.error());

  auto out = std::make_unique<Dynamic>();
  out->flags = tables->flags;
  out->flags_1 = tables->flags_1;
  out->strings = std::move(*strings);
  out->symbols.reserve(symbols->size());
  for (const Elf64_Sym& symbol : *symbols) {
    if (symbol.st_name == 0) continue;
    const auto name = name_at(out->strings, symbol.st_name);
    if (!name) return std::unexpected("is damaged: a symbol's name lies outside the string table");
    out->symbols.push_back({*name, symbol.st_shndx != SHN_UNDEF,
                            static_cast<unsigned char>(ELF64_ST_BIND(symbol.st_info)),
                            static_cast<unsigned char>(ELF64_ST_TYPE(symbol.st_info))});
  }
  return out;
}

}  // namespace smarmd::plugin
