// Sendable: what may cross between actors is decided when it is compiled.
#include "tests/unit/public/support.hpp"

#include <functional>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <string>
#include <tuple>
#include <variant>

namespace {

template <class T>
concept CanSpawn = requires(T t) { smarm::spawn(std::move(t)); };
template <class T>
concept CanChannel = requires { smarm::channel<T>(); };
template <class T>
concept CanBound = requires { smarm::bounded_channel<T>(1); };

struct Pinned {
  Pinned() = default;
  Pinned(Pinned&&) = delete;
};
struct Mine {
  int v = 0;
};
struct CallsWithAnArgument {
  void operator()(int) const {}
};

}  // namespace

template <>
inline constexpr bool smarm::thread_bound<Mine> = true;

namespace {

using smarm::Sendable;

// Objects that can be moved.
static_assert(Sendable<int> && Sendable<std::string> && Sendable<std::unique_ptr<int>> &&
              Sendable<std::vector<int>>);
static_assert(Sendable<std::exception_ptr> && Sendable<smarm::Pid> && Sendable<smarm::Signal> &&
              Sendable<smarm::JoinError>);
static_assert(Sendable<smarm::Sender<int>> && Sendable<smarm::Receiver<int>> &&
              Sendable<smarm::JoinHandle>);
static_assert(Sendable<smarm::Timer> && Sendable<smarm::TcpStream> &&
              Sendable<smarm::UnixListener>);
static_assert(Sendable<smarm::Generator<int>> && Sendable<std::function<void()>> && Sendable<int*>);

// No references, nothing that cannot be moved.
static_assert(!Sendable<int&> && !Sendable<const std::string&> && !Sendable<int&&> &&
              !Sendable<const int>);
static_assert(!Sendable<int[3]> && !Sendable<void> && !Sendable<Pinned>);
static_assert(!Sendable<smarm::Mutex<int>> && !Sendable<std::mutex> && !Sendable<std::atomic<int>>);
static_assert(!Sendable<std::reference_wrapper<int>>);

// No guards, also not inside the standard wrappers.
static_assert(!Sendable<smarm::MutexGuard<int>> && !Sendable<smarm::NoPreempt>);
static_assert(!Sendable<std::unique_lock<std::mutex>> && !Sendable<std::lock_guard<std::mutex>>);
static_assert(!Sendable<std::shared_lock<std::shared_mutex>> &&
              !Sendable<std::scoped_lock<std::mutex>>);
static_assert(!Sendable<std::optional<std::unique_lock<std::mutex>>>);
static_assert(!Sendable<std::pair<int, smarm::MutexGuard<int>>> &&
              !Sendable<std::tuple<smarm::MutexGuard<int>>>);
static_assert(!Sendable<std::variant<int, smarm::MutexGuard<int>>> &&
              !Sendable<std::vector<smarm::MutexGuard<int>>>);

// A type opts out.
static_assert(!Sendable<Mine> && !Sendable<std::optional<Mine>>);

// The functions ask for it.
static_assert(CanChannel<int> && CanBound<std::string> && !CanChannel<int&> && !CanChannel<Mine> &&
              !CanBound<Pinned>);
static_assert(CanSpawn<void (*)()> && !CanSpawn<CallsWithAnArgument> && !CanSpawn<int>);

}  // namespace

TEST_SUITE("public sendable") {
  TEST_CASE(
      "what is Sendable really crosses: ends of channels, handles and errors in one message") {
    struct Bundle {
      smarm::Sender<int> reply;
      smarm::JoinHandle child;
      std::unique_ptr<int> number;
    };
    static_assert(Sendable<Bundle>);
    test::run_at_each_worker_count([] {
      auto [tx, rx] = smarm::channel<Bundle>();
      auto other = smarm::spawn([rx = std::move(rx)]() mutable {
        auto b = rx.recv();
        REQUIRE(b.has_value());
        CHECK(b->child.join().has_value());
        CHECK(b->reply.send(*b->number + 1));
      });
      auto [reply, answer] = smarm::channel<int>();
      CHECK(tx.send({std::move(reply), smarm::spawn([] {}), std::make_unique<int>(41)}));
      CHECK(answer.recv() == 42);
      CHECK(other.join());
    });
  }
}
