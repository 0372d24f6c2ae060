#include "daemon/plugin/elf_info.hpp"

#include "daemon/plugin/text.hpp"
#include "daemon/plugin/unique_fd.hpp"
#include "tests/unit/daemon/plugin/temp_directory.hpp"

#include <doctest/doctest.h>
#include <elf.h>
#include <sys/mman.h>

#include <cstring>
#include <random>

using namespace smarmd::plugin;
using namespace smarmd::plugin::test;

namespace {

// As the daemon would: it exports what smarm.h declares, and that does not include the future.
InspectOptions as_daemon() {
  return {.exported = [](const std::string& symbol) { return symbol != "smarm_from_the_future"; }};
}

std::string refusal(const std::filesystem::path& file) {
  const auto info = inspect(file, as_daemon());
  REQUIRE_FALSE(info.has_value());
  CHECK(info.error().find('\n') == std::string::npos);
  CHECK(is_utf8(info.error()));
  return info.error();
}

std::string refusal_of_bytes(const std::string& bytes) {
  const TempDirectory dir;
  write_file(dir / "x.so", bytes);
  return refusal(dir / "x.so");
}

// Offset of the note's layout field, found by its owner.
std::size_t note_body(const std::string& bytes) {
  const std::size_t owner = bytes.find(std::string("SMARM\0\0\0", 8));
  REQUIRE(owner != std::string::npos);
  return owner + 8;
}

// A copy of steady.so with some bytes of its note replaced; `field` is an offset within Note.
std::string with_note(std::size_t field, std::string_view value) {
  std::string bytes = read_file(fixture("steady"));
  const std::size_t at = note_body(bytes) + field - offsetof(smarm::plugin::detail::Note, layout);
  bytes.replace(at, value.size(), value);
  return bytes;
}

// Thousands of contents: on a disk each would be flushed.
class MemoryFile {
 public:
  MemoryFile() : fd_(::memfd_create("smarmd-test", MFD_CLOEXEC)) { REQUIRE(fd_); }
  int fd() const { return fd_.get(); }
  void assign(std::string_view bytes) {
    REQUIRE(::ftruncate(fd(), static_cast<off_t>(bytes.size())) == 0);
    REQUIRE(::pwrite(fd(), bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size()));
  }

 private:
  UniqueFd fd_;
};

std::string u32(std::uint32_t value) {
  std::string bytes(4, '\0');
  std::memcpy(bytes.data(), &value, 4);
  return bytes;
}

}  // namespace

TEST_CASE("a plugin's note is read without loading it") {
  const auto info = inspect(fixture("needs_steady"), as_daemon());
  REQUIRE_MESSAGE(info.has_value(), info.error());
  CHECK(info->name == "needs_steady");
  CHECK(info->version == "1.0.0");
  CHECK(info->description == "needs another plugin");
  CHECK(info->needs == std::vector<std::string>{"steady"});
  CHECK(info->restart == smarm::plugin::Restart::transient);
  CHECK(info->abi_major == SMARM_ABI_MAJOR);
  CHECK(info->abi_minor == SMARM_ABI_MINOR);
  CHECK(contains(info->compiler, "g++") != contains(info->compiler, "clang"));
  CHECK(info->warnings.empty());
}

TEST_CASE("what is no shared object of this machine is named") {
  CHECK(contains(refusal_of_bytes(""), "is empty"));
  CHECK(contains(refusal_of_bytes("#!/bin/sh\necho hello\n"), "is not an ELF file"));
  CHECK(contains(refusal_of_bytes("\x7f"
                                  "EL"),
                 "is not an ELF file"));
  CHECK(contains(refusal("/"), "is not a regular file"));
  CHECK(contains(refusal("/nonexistent/x.so"), "No such file"));

  const std::string good = read_file(fixture("steady"));
  const auto changed = [&](std::size_t at, std::string_view value) {
    std::string bytes = good;
    bytes.replace(at, value.size(), value);
    return refusal_of_bytes(bytes);
  };
  CHECK(contains(changed(EI_CLASS, "\x01"), "is not a 64-bit ELF file"));
  CHECK(contains(changed(EI_DATA, "\x02"), "big-endian"));
  CHECK(contains(changed(offsetof(Elf64_Ehdr, e_machine), std::string_view("\xb7\0", 2)),
                 "is built for ARM64"));
  CHECK(contains(changed(offsetof(Elf64_Ehdr, e_type), std::string_view("\x01\0", 2)),
                 "is an object file"));
  CHECK(contains(changed(offsetof(Elf64_Ehdr, e_type), std::string_view("\x02\0", 2)),
                 "is an executable"));
}

TEST_CASE("a shared object without the note is told to put SMARM_PLUGIN in") {
  CHECK(refusal(fixture("no_note")) ==
        "is not a smarmd plugin: it has no SMARM note; put SMARM_PLUGIN in one source file");
}

TEST_CASE("another ABI is refused before any code runs") {
  CHECK(contains(refusal(fixture("wrong_abi")),
                 "is built for smarm ABI 99.0, this daemon has ABI 1.0"));
  using smarm::plugin::detail::Note;
  CHECK(contains(refusal_of_bytes(with_note(offsetof(Note, abi_minor), u32(SMARM_ABI_MINOR + 1))),
                 "newer than this daemon's"));
  CHECK(contains(refusal_of_bytes(with_note(offsetof(Note, layout), u32(2))), "layout 2"));
  CHECK(contains(refusal_of_bytes(with_note(offsetof(Note, features), u32(8))), "feature bits 8"));
}

TEST_CASE("compiler flags that differ are named") {
  using namespace smarm::plugin::detail;
  const auto with_flags = [](std::uint32_t flags) {
    return refusal_of_bytes(with_note(offsetof(Note, flags), u32(flags)));
  };
  const std::uint32_t ours = build_flags();
  CHECK(contains(with_flags(ours ^ kCxx11Abi), "_GLIBCXX_USE_CXX11_ABI"));
  CHECK(contains(with_flags(ours ^ kExceptions), "exceptions"));
  CHECK(contains(with_flags(ours ^ kAsan), "AddressSanitizer"));
  CHECK(contains(with_flags(ours ^ kTsan), "ThreadSanitizer"));
}

TEST_CASE("the texts of the note are not trusted") {
  using smarm::plugin::detail::Note;
  CHECK(contains(refusal_of_bytes(with_note(offsetof(Note, name), "../../etc")),
                 "has the plugin name '../../etc'"));
  CHECK(contains(refusal_of_bytes(with_note(offsetof(Note, name), std::string_view("\0", 1))),
                 "is not valid"));
  CHECK(contains(refusal_of_bytes(with_note(offsetof(Note, name), std::string(64, 'a'))),
                 "has no end"));
  CHECK(contains(refusal_of_bytes(with_note(offsetof(Note, needs), "a, b c")), "'b c'"));
  CHECK(contains(refusal_of_bytes(with_note(offsetof(Note, needs), "steady")), "its own name"));
  CHECK(contains(refusal_of_bytes(with_note(offsetof(Note, restart), u32(17))), ".restart"));

  const TempDirectory dir;
  write_file(dir / "x.so",
             with_note(offsetof(Note, description), "red\x1b[31m\nline \xff\xc3\xa9"));
  const auto info = inspect(dir / "x.so", as_daemon());
  REQUIRE_MESSAGE(info.has_value(), info.error());
  CHECK(info->description.starts_with("red [31m line ?\xc3\xa9"));
  CHECK(is_utf8(info->description));

  write_file(dir / "y.so", with_note(offsetof(Note, needs), "a, b,,a ,c"));
  const auto needy = inspect(dir / "y.so", as_daemon());
  REQUIRE_MESSAGE(needy.has_value(), needy.error());
  CHECK(needy->needs == std::vector<std::string>{"a", "b", "c"});
}

TEST_CASE("two notes in one file are refused") {
  // The linker's build id becomes a second note of ours: 20 bytes of description leave room for our
  // longer owner and 16 bytes.
  std::string bytes = read_file(fixture("steady"));
  const std::string build_id = u32(4) + u32(20) + u32(3) + std::string("GNU\0", 4);
  const std::size_t at = bytes.find(build_id);
  if (at == std::string::npos) {
    MESSAGE("linked without a build id: nothing to turn into a second note");
    return;
  }
  const std::string second = u32(6) + u32(16) + u32(1) + std::string("SMARM\0\0\0", 8);
  bytes.replace(at, second.size(), second);
  CHECK(contains(refusal_of_bytes(bytes), "has 2 SMARM notes"));
}

TEST_CASE("symbols that would harm the daemon are refused, with a way out") {
  CHECK(
      contains(refusal(fixture("own_operator_new")), "defines operator new or delete of its own"));
  CHECK(contains(refusal(fixture("future_call")), "needs smarm_from_the_future"));
  CHECK(contains(refusal(fixture("executable_stack")), "-z,noexecstack"));

  std::string hidden = read_file(fixture("steady"));
  for (std::size_t at = 0; (at = hidden.find("smarm_plugin_export", at)) != std::string::npos; ++at)
    hidden[at + 6] = 'P';
  CHECK(contains(refusal_of_bytes(hidden), "does not export smarm_plugin_export"));
}

TEST_CASE("symbols that pin an image are warned of") {
  const auto warning = [](std::string_view name) {
    const auto info = inspect(fixture(name), as_daemon());
    REQUIRE_MESSAGE(info.has_value(), info.error());
    REQUIRE(info->warnings.size() == 1);
    return info->warnings.front();
  };
  CHECK(contains(warning("unique_symbols"), "-fno-gnu-unique"));
  CHECK(contains(warning("static_tls"), "static TLS"));
  CHECK(contains(warning("thread_local_exit"), "thread_local with a destructor"));
}

TEST_CASE("without a list the dynamic linker is asked what the daemon exports") {
  const auto info = inspect(fixture("future_call"));
  REQUIRE_FALSE(info.has_value());
  CHECK(contains(info.error(), "smarm_from_the_future"));
}

TEST_CASE("a file that is cut off anywhere is refused") {
  const std::string good = read_file(fixture("steady"));
  MemoryFile file;
  std::size_t cut_off = 0;
  for (std::size_t size = 0; size < good.size(); size += size < 4096 ? 1 : 61) {
    file.assign(std::string_view(good).substr(0, size));
    const auto info = inspect_fd(file.fd(), as_daemon());
    REQUIRE_MESSAGE(!info.has_value(), size);
    cut_off += contains(info.error(), "is cut off");
    if (size >= sizeof(Elf64_Ehdr))
      CHECK_MESSAGE(contains(info.error(), "is cut off"), size << " bytes: " << info.error());
  }
  CHECK(cut_off > 1000);
}

TEST_CASE("flipped bytes never do worse than an error") {
  const std::string good = read_file(fixture("steady"));
  MemoryFile file;
  std::mt19937 random(20260101);
  // The tables stand in the first pages and at the end; code and data in between are not looked at.
  std::vector<std::size_t> interesting;
  for (std::size_t i = 0; i < good.size(); ++i) {
    if (i < 6000 || i + 6000 > good.size()) interesting.push_back(i);
  }
  std::size_t refused = 0;
  for (int round = 0; round < 4000; ++round) {
    std::string bytes = good;
    const int flips = 1 << (random() % 5);
    for (int i = 0; i < flips; ++i) {
      const std::size_t at =
          round % 2 ? random() % 1024 : interesting[random() % interesting.size()];
      bytes[at] = static_cast<char>(random() % 3 ? random() : (random() % 2 ? 0xff : 0));
    }
    file.assign(bytes);
    const auto info = inspect_fd(file.fd(), as_daemon());
    if (info) {
      CHECK(valid_plugin_name(info->name));
      CHECK(is_utf8(info->description));
    } else {
      ++refused;
      CHECK(is_utf8(info.error()));
      CHECK(info.error().size() < 2000);
    }
  }
  CHECK(refused > 500);
}

TEST_CASE("names: letters, digits, - and _, at most 63") {
  CHECK(valid_plugin_name("a"));
  CHECK(valid_plugin_name("Echo-2_x"));
  CHECK(valid_plugin_name(std::string(63, 'x')));
  CHECK_FALSE(valid_plugin_name(""));
  CHECK_FALSE(valid_plugin_name(std::string(64, 'x')));
  CHECK_FALSE(valid_plugin_name("a.b"));
  CHECK_FALSE(valid_plugin_name("a/b"));
  CHECK_FALSE(valid_plugin_name("\xc3\xa9"));
}
