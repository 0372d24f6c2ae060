#include "daemon/supervision/symbolise.hpp"
#include "tests/unit/daemon/plugin/temp_directory.hpp"

#include <dlfcn.h>
#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

using smarmd::CodePlace;

namespace {

std::string words_for(std::vector<void*> frames) {
  return smarmd::symbolise(smarmd::places_of(frames));
}

// A build of fixtures/traced.cpp.
class Traced {
 public:
  explicit Traced(const std::filesystem::path& file)
      : image_(::dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL)) {
    REQUIRE(image_);
  }
  ~Traced() { ::dlclose(image_); }
  Traced(const Traced&) = delete;
  Traced& operator=(const Traced&) = delete;
  void* address() const {
    return reinterpret_cast<void* (*)()>(::dlsym(image_, "traced_address"))();
  }

 private:
  void* image_;
};

std::filesystem::path build_of_traced(std::string_view name) {
  return std::filesystem::path(SMARM_FIXTURES_DIR) / (std::string(name) + ".so");
}

// "/fixtures/traced.cpp:NN", NN being the line that ends with "// MARK".
std::string source_line(std::string_view mark) {
  std::ifstream source(SMARM_SOURCE_DIR "/tests/fixtures/traced.cpp");
  std::string line;
  for (int n = 1; std::getline(source, line); ++n) {
    if (line.ends_with("// " + std::string(mark)))
      return "/fixtures/traced.cpp:" + std::to_string(n);
  }
  return "no such line";
}

}  // namespace

TEST_CASE("a frame of a plugin has its static function, what was inlined there, file and line") {
  const Traced traced(build_of_traced("traced"));
  const std::string text = words_for({traced.address()});
  CAPTURE(text);
  const std::size_t cut = text.find('\n');
  REQUIRE(cut != std::string::npos);
  const std::string inner = text.substr(0, cut), outer = text.substr(cut + 1);
  CHECK(inner.starts_with("#0 inlined at /"));
  CHECK(inner.ends_with(source_line("inlined") + " (inlined)"));
  CHECK(outer.starts_with("#1 traced::in_a_static(int) at /"));
  CHECK(outer.find(source_line("static") + " (traced.so+0x") != std::string::npos);
  CHECK(text.find("/../") == std::string::npos);
}

TEST_CASE("without lines a frame still has its function, without names its image and offset") {
  const Traced lineless(build_of_traced("traced_without_lines"));
  const std::string named = words_for({lineless.address()});
  CHECK_MESSAGE(named.starts_with("#0 traced::in_a_static(int)+0x"), named);
  CHECK_MESSAGE(named.find(" (traced_without_lines.so+0x") != std::string::npos, named);
  const Traced stripped(build_of_traced("traced_nameless"));
  const std::string nameless = words_for({stripped.address()});
  CHECK_MESSAGE(nameless.starts_with("#0 traced_nameless.so+0x"), nameless);
  CHECK_MESSAGE(nameless.find(' ', 3) == std::string::npos, nameless);
}

TEST_CASE("a file that is gone, or another one by now, is not read: image and offset are left") {
  const smarmd::plugin::test::TempDirectory directory;
  const std::filesystem::path file = directory.path() / "plugin.so";
  std::filesystem::copy_file(build_of_traced("traced"), file);
  std::vector<CodePlace> places;
  {
    const Traced traced(file);
    const std::vector<void*> frames{traced.address()};
    places = smarmd::places_of(frames);
  }
  // What is unmapped by then does no harm.
  CHECK(smarmd::symbolise(places).find(source_line("inlined")) != std::string::npos);
  std::filesystem::remove(file);
  CHECK(smarmd::symbolise(places).starts_with("#0 plugin.so+0x"));
  std::filesystem::copy_file(build_of_traced("traced_without_lines"), file);
  CHECK(smarmd::symbolise(places).starts_with("#0 plugin.so+0x"));
}

TEST_CASE("the program's own callers of a plugin are left out; alone they are shown") {
  const Traced traced(build_of_traced("traced"));
  void* const own = reinterpret_cast<char*>(&words_for) + 1;
  CHECK(words_for({own, traced.address(), own, own}).find("\n#2 traced::in_a_static") !=
        std::string::npos);
  CHECK(words_for({traced.address(), own, own}) == words_for({traced.address()}));
  const std::string alone = words_for({own});
  CHECK_MESSAGE(alone.find("words_for") != std::string::npos, alone);
  CHECK_MESSAGE(alone.find("unit_daemon+0x") != std::string::npos, alone);
}

TEST_CASE("a frame of a system library is named with its offset and its file") {
  // Not strlen and its like: their symbol is a chooser, what dlsym gives is one of the nameless
  // functions it chooses from.
  auto* function = reinterpret_cast<char*>(::dlsym(RTLD_DEFAULT, "getenv"));
  REQUIRE(function != nullptr);
  const std::string text = words_for({function + 5});
  CHECK(text.starts_with("#0 "));
  CHECK(text.find("getenv") != std::string::npos);
  CHECK(text.find("libc.so") != std::string::npos);
}

TEST_CASE("what belongs to no file is shown as an address, one line per frame") {
  CHECK(words_for({nullptr, reinterpret_cast<void*>(0x10)}) == "#0 0x0\n#1 0x10");
  CHECK(words_for({}).empty());
}
