#include "daemon/plugin/image_store.hpp"

#include "daemon/plugin/image.hpp"
#include "tests/unit/daemon/plugin/temp_directory.hpp"

#include <doctest/doctest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

using namespace smarmd::plugin;
using namespace smarmd::plugin::test;
namespace fs = std::filesystem;

namespace {

ImageStoreOptions options_in(const TempDirectory& dir) {
  ImageStoreOptions options;
  options.state_directory = dir / "state";
  options.self_exe = probe_host();
  options.probe_timeout = std::chrono::minutes(1);
  options.inspect.exported = [](const std::string&) { return true; };
  return options;
}

std::unique_ptr<ImageStore> opened(ImageStoreOptions options) {
  auto store = ImageStore::open(std::move(options));
  REQUIRE_MESSAGE(store.has_value(), store.error());
  return std::move(*store);
}

PrivateImage admitted(ImageStore& store, const fs::path& source) {
  auto image = store.admit(source);
  REQUIRE_MESSAGE(image.has_value(), image.error());
  REQUIRE(image->has_value());
  return std::move(**image);
}

std::string refusal(ImageStore& store, const fs::path& source) {
  const auto image = store.admit(source);
  REQUIRE_FALSE(image.has_value());
  return image.error();
}

// A plugin directory with one file in it.
fs::path dropped(const TempDirectory& dir, std::string_view name, std::string_view as = "a.so") {
  fs::create_directories(dir / "plugins");
  const auto to = dir / "plugins" / as;
  fs::copy_file(fixture(name), to, fs::copy_options::overwrite_existing);
  REQUIRE(::chmod(to.c_str(), 0644) == 0);
  return to;
}

std::vector<std::string> names_in(const fs::path& directory) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(directory)) {
    if (entry.path().filename() != ".lock") names.push_back(entry.path().filename());
  }
  return names;
}

mode_t mode_of(const fs::path& path) {
  struct stat status{};
  REQUIRE(::stat(path.c_str(), &status) == 0);
  return status.st_mode & 07777;
}

}  // namespace

TEST_CASE("a good file becomes a private copy that can be opened") {
  const TempDirectory dir;
  const auto store = opened(options_in(dir));
  const auto source = dropped(dir, "throws_at_once");
  const auto image = admitted(*store, source);
  CHECK(image.info.name == "throws_at_once");
  CHECK(image.source == source);
  CHECK(image.path == dir / "state" / "images" / "throws_at_once.g1.so");
  CHECK(image.generation == 1);
  CHECK(read_file(image.path) == read_file(source));
  CHECK(mode_of(image.path) == 0500);
  CHECK(mode_of(store->directory()) == 0700);
  CHECK(names_in(store->directory()).size() == 1);
  CHECK(Image::open(image.path).has_value());
}

TEST_CASE("each admission is a generation; the same bytes as the running ones are none") {
  const TempDirectory dir;
  const auto store = opened(options_in(dir));
  const auto source = dropped(dir, "throws_at_once");
  const auto first = admitted(*store, source), second = admitted(*store, source);
  CHECK(first.hash == second.hash);
  CHECK(second.path.filename() == "throws_at_once.g2.so");
  CHECK(fs::exists(first.path));

  const auto again = store->admit(source, second.hash);
  REQUIRE(again.has_value());
  CHECK_FALSE(again->has_value());

  dropped(dir, "unique_symbols");  // other bytes under the same file name
  const auto other = admitted(*store, source);
  CHECK(other.hash != second.hash);
  CHECK(other.path.filename() == "unique_symbols.g1.so");
  CHECK(names_in(store->directory()).size() == 3);

  store->remove(first);
  CHECK_FALSE(fs::exists(first.path));
  CHECK(fs::exists(second.path));
}

TEST_CASE("overwriting the original leaves the loaded copy alone") {
  const TempDirectory dir;
  const auto store = opened(options_in(dir));
  const auto source = dropped(dir, "throws_at_once");
  const auto private_image = admitted(*store, source);
  const auto image = Image::open(private_image.path);
  REQUIRE_MESSAGE(image.has_value(), image.error());
  fs::resize_file(source, 0);
  smarm::plugin::Context context(nullptr, nullptr);
  CHECK_THROWS_WITH((*image)->main()(context), "boom at once");
}

TEST_CASE("the directories that it makes are the daemon's alone, whatever the umask") {
  const TempDirectory dir;
  const mode_t before = ::umask(0);
  const auto store = ImageStore::open({.state_directory = dir / "state", .self_exe = probe_host()});
  ::umask(before);
  REQUIRE_MESSAGE(store.has_value(), store.error());
  for (const auto& made : {dir / "state", dir / "state" / "images"}) {
    struct stat status{};
    REQUIRE(::stat(made.c_str(), &status) == 0);
    CHECK((status.st_mode & 0777) == 0700);
  }
}

TEST_CASE("refused files leave nothing behind") {
  const TempDirectory dir;
  const auto store = opened(options_in(dir));
  CHECK(contains(refusal(*store, dropped(dir, "no_note")), "SMARM_PLUGIN"));
  CHECK(contains(refusal(*store, dropped(dir, "wrong_abi")), "ABI 99"));
  CHECK(contains(refusal(*store, dropped(dir, "throws_in_static_init")), "no licence file"));
  CHECK(contains(refusal(*store, dir / "plugins" / "gone.so"), "No such file"));
  fs::create_directories(dir / "plugins" / "d.so");
  CHECK(contains(refusal(*store, dir / "plugins" / "d.so"), "is not a regular file"));
  REQUIRE(::mkfifo((dir / "plugins" / "f.so").c_str(), 0600) == 0);
  CHECK(contains(refusal(*store, dir / "plugins" / "f.so"), "is not a regular file"));
  CHECK(names_in(store->directory()).empty());
}

TEST_CASE("a half-copied file is refused, and admitted when it is whole") {
  const TempDirectory dir;
  const auto store = opened(options_in(dir));
  const auto source = dropped(dir, "throws_at_once");
  const std::string whole = read_file(source);
  write_file(source, std::string_view(whole).substr(0, whole.size() / 2));
  CHECK(contains(refusal(*store, source), "half-copied?"));
  write_file(source, whole);
  CHECK(admitted(*store, source).generation == 1);
}

TEST_CASE("a file that grows while it is copied never becomes a broken image") {
  const TempDirectory dir;
  const auto store = opened(options_in(dir));
  const auto source = dropped(dir, "throws_at_once");
  const std::string whole = read_file(source);
  std::thread writer([&] {
    for (int i = 0; i < 200; ++i)
      write_file(source, std::string_view(whole).substr(0, whole.size() * (i % 4) / 4));
    write_file(source, whole);
  });
  for (int i = 0; i < 20; ++i) {
    const auto image = store->admit(source);
    if (image) CHECK(read_file((*image)->path) == whole);
  }
  writer.join();
  CHECK(read_file(admitted(*store, source).path) == whole);
}

TEST_CASE("what others may write is not trusted; the message says which command mends it") {
  const TempDirectory dir;
  const auto store = opened(options_in(dir));
  const auto source = dropped(dir, "throws_at_once");
  REQUIRE(::chmod(source.c_str(), 0646) == 0);
  CHECK(refusal(*store, source) ==
        "is writable by everyone: run `chmod o-w " + source.string() + "`");
  REQUIRE(::chmod(source.c_str(), 0664) == 0);
  CHECK(admitted(*store, source).generation == 1);

  REQUIRE(::chmod((dir / "plugins").c_str(), 01777) == 0);
  CHECK(contains(refusal(*store, source), "run `chmod o-w " + (dir / "plugins").string() + "`"));
  REQUIRE(::chmod((dir / "plugins").c_str(), 0755) == 0);
  CHECK(admitted(*store, source).generation == 2);
}

TEST_CASE("an owner who is neither root nor the daemon is not trusted") {
  struct stat status{};
  status.st_mode = S_IFREG | 0644;
  status.st_uid = ::geteuid();
  CHECK(check_ownership("/p/x.so", status).has_value());
  status.st_uid = 0;
  CHECK(check_ownership("/p/x.so", status).has_value());
  status.st_uid = ::geteuid() + 4711;
  const auto refused = check_ownership("/p/x.so", status);
  REQUIRE_FALSE(refused.has_value());
  CHECK(contains(refused.error(), "is owned by uid " + std::to_string(status.st_uid)));
  CHECK(contains(refused.error(), "run `chown root /p/x.so`"));
}

TEST_CASE("a limit on the size of a plugin") {
  const TempDirectory dir;
  auto options = options_in(dir);
  options.max_file_bytes = 1 << 20;
  const auto store = opened(std::move(options));
  const auto source = dropped(dir, "throws_at_once");
  fs::resize_file(source, (1 << 20) + 1);
  CHECK(refusal(*store, source) == "is larger than 1 MiB");
}

TEST_CASE("a store is one daemon's, and starts without the copies of earlier runs") {
  const TempDirectory dir;
  {
    const auto first = opened(options_in(dir));
    (void)admitted(*first, dropped(dir, "throws_at_once"));
    write_file(first->directory() / ".new-7.so", "left by a crash");
    const auto second = ImageStore::open(options_in(dir));
    REQUIRE_FALSE(second.has_value());
    CHECK(contains(second.error(), "is in use by another smarmd"));
    CHECK(names_in(first->directory()).size() == 2);
  }
  const auto next = opened(options_in(dir));
  CHECK(names_in(next->directory()).empty());
  CHECK(admitted(*next, dropped(dir, "throws_at_once")).generation == 1);
}

TEST_CASE("a state directory that cannot be made says so") {
  const TempDirectory dir;
  write_file(dir / "state", "a file is in the way");
  const auto store = ImageStore::open(options_in(dir));
  REQUIRE_FALSE(store.has_value());
  CHECK(contains(store.error(), (dir / "state" / "images").string()));
}

TEST_CASE("admissions from several threads do not meet") {
  const TempDirectory dir;
  const auto store = opened(options_in(dir));
  const auto source = dropped(dir, "throws_at_once");
  std::vector<fs::path> paths(4);
  std::vector<std::thread> threads;
  for (auto& path : paths) {
    threads.emplace_back([&store, &path, &source] {
      if (auto image = store->admit(source); image && *image) path = (*image)->path;
    });
  }
  for (auto& thread : threads) thread.join();
  std::sort(paths.begin(), paths.end());
  CHECK(paths.front().filename() == "throws_at_once.g1.so");
  CHECK(paths.back().filename() == "throws_at_once.g4.so");
}
