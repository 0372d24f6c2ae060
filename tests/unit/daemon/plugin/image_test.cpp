#include "daemon/plugin/image.hpp"

#include "tests/unit/daemon/plugin/temp_directory.hpp"

#include <dlfcn.h>
#include <doctest/doctest.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <utility>

using namespace smarmd::plugin;
using namespace smarmd::plugin::test;

namespace {

// Each test opens a copy of its own, as the daemon does.
std::filesystem::path copy_of(const TempDirectory& dir, std::string_view name,
                              std::string_view as) {
  const auto to = dir / as;
  std::filesystem::copy_file(fixture(name), to);
  return to;
}

std::unique_ptr<Image> opened(const std::filesystem::path& file) {
  auto image = Image::open(file);
  REQUIRE_MESSAGE(image.has_value(), image.error());
  return std::move(*image);
}

// These entries do not touch their context.
void call_main(const Image& image) {
  smarm::plugin::Context context(nullptr, nullptr);
  image.main()(context);
}

bool is_mapped(const std::filesystem::path& file) {
  void* handle = ::dlopen(file.c_str(), RTLD_LAZY | RTLD_NOLOAD);
  if (handle) ::dlclose(handle);
  return handle != nullptr;
}

}  // namespace

TEST_CASE("an image gives its main, and its exceptions arrive here") {
  const TempDirectory dir;
  const auto image = opened(copy_of(dir, "throws_at_once", "a.g1.so"));
  CHECK_THROWS_WITH(call_main(*image), "boom at once");
}

TEST_CASE("an image knows its text") {
  const TempDirectory dir;
  const auto image = opened(copy_of(dir, "throws_at_once", "a.g1.so"));
  CHECK_FALSE(image->text().empty());
  CHECK(image->contains(reinterpret_cast<std::uintptr_t>(image->main())));
  CHECK_FALSE(image->contains(reinterpret_cast<std::uintptr_t>(&::dlopen)));
  CHECK_FALSE(image->contains(reinterpret_cast<std::uintptr_t>(image.get())));
}

TEST_CASE("two generations of one file are two images") {
  const TempDirectory dir;
  const auto first = opened(copy_of(dir, "throws_at_once", "a.g1.so"));
  const auto second = opened(copy_of(dir, "throws_at_once", "a.g2.so"));
  CHECK((first->main() != second->main()));
}

TEST_CASE("unload unmaps, dropping does not") {
  const TempDirectory dir;
  const auto unloaded = copy_of(dir, "throws_at_once", "a.g1.so"),
             dropped = copy_of(dir, "throws_at_once", "a.g2.so");
  CHECK(Image::unload(opened(unloaded)) == Image::Unloaded::unmapped);
  CHECK_FALSE(is_mapped(unloaded));
  opened(dropped).reset();
  CHECK(is_mapped(dropped));
}

TEST_CASE("an image with unique symbols is reported resident") {
  const TempDirectory dir;
  const auto file = copy_of(dir, "unique_symbols", "a.g1.so");
  auto image = opened(file);
  call_main(*image);
  const auto main = image->main();
  CHECK(Image::unload(std::move(image)) == Image::Unloaded::resident);
  CHECK(is_mapped(file));
  smarm::plugin::Context context(nullptr, nullptr);
  main(context);  // still there
}

TEST_CASE("a thread_local with a destructor keeps the image while its thread lives") {
  const TempDirectory dir;
  const auto file = copy_of(dir, "thread_local_exit", "a.g1.so");
  auto image = opened(file);
  auto result = Image::Unloaded::unmapped;
  std::thread([&] {
    call_main(*image);
    result = Image::unload(std::move(image));
  }).join();
  CHECK(result == Image::Unloaded::resident);
}

TEST_CASE("what cannot be loaded is refused and not kept") {
  const TempDirectory dir;
  const auto no_new = copy_of(dir, "private_operator_new", "a.g1.so"),
             missing = copy_of(dir, "missing_symbol", "b.g1.so");
  const auto refusal = [](const std::filesystem::path& file) {
    const auto image = Image::open(file);
    REQUIRE_FALSE(image.has_value());
    CHECK_FALSE(is_mapped(file));
    return image.error();
  };
  CHECK(contains(refusal(no_new), "has its own operator new bound into it"));
  CHECK(refusal(missing) == "cannot be loaded: undefined symbol: function_of_a_missing_library");
  CHECK(contains(refusal(dir / "nothing.so"), "cannot open shared object file"));
}
