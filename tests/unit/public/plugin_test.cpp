// plugin.hpp: the Context over a host of our own, and the note that the loader reads.
#include "tests/unit/public/support.hpp"

#include <smarm/plugin.hpp>

#include <cstring>
#include <map>
#include <mutex>
#include <string>

using namespace test;
using smarm::plugin::Context;

namespace {

// What the daemon does for a plugin, in little.
struct FakeHost {
  std::string config = "{}";
  std::mutex mutex;
  std::vector<std::pair<int, std::string>> lines;
  std::atomic<bool> stopping = false;
  std::map<std::string, smarm_pid, std::less<>> names;

  static FakeHost& of(void* self) { return *static_cast<FakeHost*>(self); }
  static const smarm_plugin_host* table() {
    static const smarm_plugin_host host = {
        .struct_size = sizeof(smarm_plugin_host),
        .config =
            [](void* self, std::size_t* n) {
              return *n = of(self).config.size(), of(self).config.c_str();
            },
        .log =
            [](void* self, int level, const char* text, std::size_t n) {
              std::lock_guard lock(of(self).mutex);
              of(self).lines.emplace_back(level, std::string(text, n));
            },
        .stopping = [](void* self) { return of(self).stopping ? 1 : 0; },
        .listener = [](void*, const char* name,
                       std::size_t n) { return std::string_view(name, n) == "web" ? 17 : -1; },
        .publish =
            [](void* self, const char* name, std::size_t n, smarm_pid pid) {
              return of(self).names.emplace(std::string(name, n), pid).second ? 0 : -1;
            },
        .lookup =
            [](void* self, const char* name, std::size_t n) {
              auto it = of(self).names.find(std::string_view(name, n));
              return it == of(self).names.end() ? smarm_pid{0, 0} : it->second;
            },
    };
    return &host;
  }
};

void nothing(Context&) {}

constexpr smarm::plugin::Descriptor kDescriptor{.name = "sample",
                                                .version = "1.2.3",
                                                .description = "for the test",
                                                .main = nothing,
                                                .restart = smarm::plugin::Restart::transient,
                                                .needs = "db,web"};
constexpr smarm::plugin::detail::Note kNote = smarm::plugin::detail::make_note(kDescriptor);

}  // namespace

TEST_SUITE("public plugin") {
  TEST_CASE("the context reaches the host") {
    FakeHost host;
    host.config = R"({"listen":"x"})";
    Context ctx(FakeHost::table(), &host);
    CHECK(ctx.config() == R"({"listen":"x"})");
    ctx.log(smarm::LogLevel::warn, "a line");
    REQUIRE(host.lines.size() == 1);
    CHECK(host.lines[0] == std::pair(3, std::string("a line")));
    CHECK_FALSE(ctx.stopping());
    host.stopping = true;
    CHECK(ctx.stopping());
    CHECK(ctx.listener("web") == 17);
    CHECK(ctx.listener("other") == std::nullopt);
    CHECK(ctx.publish("cache", smarm::Pid(4, 2)));
    CHECK_FALSE(ctx.publish("cache", smarm::Pid(5, 2)));
    CHECK(ctx.lookup("cache") == smarm::Pid(4, 2));
    CHECK(ctx.lookup("absent") == std::nullopt);
  }

  TEST_CASE(
      "the stop signal is a channel: a message when the actor is asked to stop, then closed") {
    run_at_each_worker_count([] {
      auto plugin = smarm::spawn([] {
        FakeHost host;
        Context ctx(FakeHost::table(), &host);
        auto early = ctx.stop_signal(), other = ctx.stop_signal();
        CHECK(early.try_recv().error() == smarm::RecvError::empty);
        CHECK(early.recv().has_value());
        CHECK(smarm::stop_requested());
        CHECK(early.recv().error() == smarm::RecvError::closed);
        CHECK(other.recv().has_value());  // each call made a channel of its own
        CHECK(other.recv().error() == smarm::RecvError::closed);
        auto late = ctx.stop_signal();  // asked for after the stop
        CHECK(smarm::select_timeout(kPatience, late) == 0);
      });
      CHECK(yield_until_parked(plugin.pid()));
      CHECK(smarm::stop(plugin.pid()));
      CHECK(plugin.join());
    });
  }

  TEST_CASE("a plugin that waits for its stop signal does not keep a run from ending") {
    std::atomic<int> live = 0;
    run_at(2, [&live] {
      (void)smarm::spawn([&live] {
        Counted c(live);
        FakeHost host;
        Context ctx(FakeHost::table(), &host);
        (void)ctx.stop_signal().recv();
      });
      CHECK(yield_until([&live] { return live == 1; }));
    });
    CHECK(live == 0);
  }

  TEST_CASE("the note holds what the loader compares") {
    static_assert(kNote.abi_major == SMARM_ABI_MAJOR && kNote.abi_minor == SMARM_ABI_MINOR);
    static_assert(kNote.type == 1 && kNote.owner_size == 6 && kNote.restart == 2 &&
                  kNote.layout == 1);
    static_assert(kNote.desc_size % 4 == 0 && sizeof(kNote) == 12 + 8 + kNote.desc_size);
    CHECK(std::memcmp(kNote.owner, "SMARM", 6) == 0);
    CHECK(std::string(kNote.name) == "sample");
    CHECK(std::string(kNote.version) == "1.2.3");
    CHECK(std::string(kNote.description) == "for the test");
    CHECK(std::string(kNote.needs) == "db,web");
    CHECK(std::string(kNote.compiler).find(__VERSION__) != std::string::npos);
    CHECK((kNote.flags & smarm::plugin::detail::kCxx11Abi) != 0);
    CHECK((kNote.flags & smarm::plugin::detail::kExceptions) != 0);
  }
}
