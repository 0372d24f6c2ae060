// Names, ranges, dates and files of the http plugin, without a server.
#include "plugins/http/files.hpp"
#include "plugins/http/date.hpp"

#include <doctest/doctest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <limits>
#include <string>

using namespace http;
namespace fs = std::filesystem;

namespace {

class Tree {
 public:
  Tree() {
    std::string pattern = (fs::temp_directory_path() / "smarmd-http-XXXXXX").native();
    REQUIRE(::mkdtemp(pattern.data()) != nullptr);
    top_ = pattern;
    fs::create_directories(root() / "sub");
    fs::create_directories(top_ / "root-of-another");
    write("root/a.txt", "0123456789");
    write("root/sub/index.html", "<p>");
    write("root/large", std::string(100'000, 'x'));
    write("root/empty", "");
    write("outside", "secret");
    write("root-of-another/x", "secret");
    fs::create_symlink("a.txt", root() / "inside");
    fs::create_symlink("../a.txt", root() / "sub" / "up");
    fs::create_symlink("../outside", root() / "leads_out");
    fs::create_symlink(top_ / "outside", root() / "leads_out_absolute");
    fs::create_directory_symlink("..", root() / "parent");
    fs::create_directory_symlink("../root-of-another", root() / "sibling");
    fs::create_symlink("loop", root() / "loop");
    REQUIRE(::mkfifo((root() / "fifo").c_str(), 0644) == 0);
    auto opened = open_directory(root().native());
    REQUIRE(opened.has_value());
    directory_ = std::move(*opened);
  }
  ~Tree() { fs::remove_all(top_); }
  fs::path root() const { return top_ / "root"; }
  int fd() const { return directory_.get(); }
  Status status(const std::string& name) const { return open_file(fd(), name, {}).status; }

 private:
  void write(const std::string& name, const std::string& text) const {
    std::ofstream(top_ / name, std::ios::binary) << text;
  }
  fs::path top_;
  Descriptor directory_;
};

}  // namespace

TEST_SUITE("http files") {
  TEST_CASE("paths are decoded once, and never lead up") {
    CHECK(decode_path("/") == "");
    CHECK(decode_path("/a/b.txt") == "a/b.txt");
    CHECK(decode_path("///a//b/") == "a/b/");
    CHECK(decode_path("/a%20b%41") == "a bA");
    CHECK(decode_path("/%c3%A4") == "\xc3\xa4");
    CHECK(decode_path("/%2541") == "%41");
    CHECK(decode_path("/.well-known/..a/a..") == ".well-known/..a/a..");
    for (const char* path : {"/%", "/%4", "/%g0", "/%0g", "/%%41", "/a%00b", "/%00"}) {
      CAPTURE(path);
      CHECK(decode_path(path).error() == Status::bad_request);
    }
    for (const char* path : {"/..", "/../a", "/a/../b", "/a/..", "/%2e%2e/a", "/.%2E", "/..%2fa",
                             "/a%2Fb", "/%2e%2e%2f%2e%2e%2fetc/passwd"}) {
      CAPTURE(path);
      CHECK(decode_path(path).error() == Status::not_found);
    }
  }

  TEST_CASE("types") {
    CHECK(content_type("a/b.html") == "text/html; charset=utf-8");
    CHECK(content_type("B.PNG") == "image/png");
    CHECK(content_type("a.tar.json") == "application/json");
    CHECK(content_type("a.html/b") == "application/octet-stream");
    CHECK(content_type("html") == "application/octet-stream");
    CHECK(content_type("a.") == "application/octet-stream");
  }

  TEST_CASE("ranges") {
    const auto range = [](std::string_view field, std::uint64_t size = 10) {
      const auto r = parse_range(field, size);
      return r ? std::to_string(r->first) + "+" + std::to_string(r->length) : "ignored";
    };
    CHECK(range("bytes=0-3") == "0+4");
    CHECK(range("bytes=4-") == "4+6");
    CHECK(range("Bytes=9-9") == "9+1");
    CHECK(range("bytes=5-99") == "5+5");
    CHECK(range("bytes=-3") == "7+3");
    CHECK(range("bytes=-99") == "0+10");
    CHECK(range("bytes=-0") == "10+0");
    CHECK(range("bytes=10-") == "0+0");
    CHECK(range("bytes=0-", 0) == "0+0");
    CHECK(range("bytes=0-18446744073709551615") == "0+10");
    for (const char* field :
         {"", "bytes", "bytes=", "bytes=-", "bytes=3-1", "bytes=a-b", "bytes=1-2,4-5", "items=1-2",
          "bytes=1", "bytes= 1-2", "bytes=+1-2", "bytes=--1", "bytes=0-18446744073709551616"}) {
      CAPTURE(field);
      CHECK(range(field) == "ignored");
    }
  }

  TEST_CASE("dates") {
    const auto text = [](std::time_t t) {
      const DateText d = format_date(t);
      return std::string(d.data(), d.size());
    };
    CHECK(text(784111777) == "Sun, 06 Nov 1994 08:49:37 GMT");
    CHECK(text(0) == "Thu, 01 Jan 1970 00:00:00 GMT");
    CHECK(text(951782399) == "Mon, 28 Feb 2000 23:59:59 GMT");
    CHECK(text(951782400) == "Tue, 29 Feb 2000 00:00:00 GMT");
    CHECK(text(253402300799) == "Fri, 31 Dec 9999 23:59:59 GMT");
    CHECK(text(std::numeric_limits<std::time_t>::max()) == text(253402300799));
    CHECK(text(std::numeric_limits<std::time_t>::min()) == text(0));
    for (const char* form : {"Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT",
                             "Sun Nov  6 08:49:37 1994"}) {
      CAPTURE(form);
      CHECK(parse_date(form) == 784111777);
    }
    for (const char* wrong :
         {"", "x", "Sun, 06 Nov 1994 08:49:37", "Sun, 06 Nov 1994 08:49:37 GMT+1",
          "Sun, 06 Nov 1994 25:49:37 GMT", "784111777"}) {
      CAPTURE(wrong);
      CHECK_FALSE(parse_date(wrong).has_value());
    }
    CHECK_FALSE(parse_date(std::string(1000, ' ')).has_value());
    DateCache cache;
    const std::time_t before = std::time(nullptr);
    const auto now = parse_date(cache.now());
    REQUIRE(now.has_value());
    CHECK(*now >= before);
    CHECK(*now <= std::time(nullptr));
  }

  TEST_CASE("a small file comes whole, a large one open, a directory as its index") {
    const Tree tree;
    const File small = open_file(tree.fd(), "a.txt", {});
    CHECK(small.status == Status::ok);
    CHECK(small.content == "0123456789");
    CHECK(small.range.length == 10);
    CHECK(small.type == "text/plain; charset=utf-8");
    const File large = open_file(tree.fd(), "large", {});
    CHECK(large.status == Status::ok);
    CHECK(large.content.empty());
    CHECK(large.range.length == 100'000);
    std::string end(10, '\0');
    CHECK(read_file(large.file.get(), end, 99'990));
    CHECK(end == std::string(10, 'x'));
    CHECK_FALSE(read_file(large.file.get(), end, 99'991));
    CHECK(open_file(tree.fd(), "empty", {}).status == Status::ok);
    CHECK(open_file(tree.fd(), "sub/", {}).content == "<p>");
    CHECK(tree.status("sub") == Status::moved_permanently);
    CHECK(tree.status("") == Status::not_found);
    CHECK(tree.status("a.txt/") == Status::not_found);
    CHECK(tree.status("none") == Status::not_found);
    CHECK(tree.status("none/index.html") == Status::not_found);
    CHECK(tree.status("fifo") == Status::not_found);
    CHECK(tree.status("loop") == Status::not_found);
    CHECK(tree.status(std::string(10'000, 'a')) == Status::not_found);
  }

  TEST_CASE("a range of a file, and a file that the client has") {
    const Tree tree;
    const File part =
        open_file(tree.fd(), "a.txt", {.if_modified_since = {}, .range = "bytes=2-4"});
    CHECK(part.status == Status::partial_content);
    CHECK(part.content == "234");
    CHECK(part.size == 10);
    CHECK(open_file(tree.fd(), "a.txt", {.if_modified_since = {}, .range = "bytes=10-"}).status ==
          Status::range_not_satisfiable);
    const DateText modified = format_date(part.modified);
    const DateText before = format_date(part.modified - 1);
    CHECK(open_file(tree.fd(), "a.txt",
                    {.if_modified_since = {modified.data(), modified.size()}, .range = {}})
              .status == Status::not_modified);
    CHECK(open_file(tree.fd(), "a.txt",
                    {.if_modified_since = {before.data(), before.size()}, .range = {}})
              .status == Status::ok);
    CHECK(open_file(tree.fd(), "a.txt", {.body = false, .if_modified_since = {}, .range = {}})
              .content.empty());
  }

  TEST_CASE("no link leads outside, whichever way the kernel lets us look") {
    const Tree tree;
    for (const auto& open : {open_beneath, open_and_check}) {
      CAPTURE(open == open_beneath);
      for (const char* name : {"a.txt", "inside", "sub/up", ".", "sub", "./sub/../a.txt"}) {
        CAPTURE(name);
        CHECK(Descriptor(open(tree.fd(), name)));
      }
      for (const char* name :
           {"leads_out", "leads_out_absolute", "parent/outside", "parent", "sibling/x", "sibling",
            "../outside", "..", "../root-of-another/x"}) {
        CAPTURE(name);
        errno = 0;
        CHECK_FALSE(Descriptor(open(tree.fd(), name)));
        CHECK(errno == EXDEV);
      }
    }
  }
}
