// Churn: actors that panic, are killed, overflow their stacks and fault, by the hundred thousand in
// one process, whatever they have with them. Afterwards every count is where it was: actors,
// stacks, torn guards, timers, descriptors, threads, mappings, and the bytes of the heap.
//
// It looks into the runtime for what the public headers do not count.
#include "runtime/actor/table.hpp"
#include "runtime/context/red_zone.hpp"
#include "runtime/context/stack_pool.hpp"
#include "runtime/sched/runtime_core.hpp"
#include "tests/stress/stress.hpp"

#include <malloc.h>

#include <fstream>
#include <mutex>
#include <stdexcept>
#include <string>

using namespace stress;

namespace {

enum class End { panic, kill, overflow, fault };

// Of 22 ends in turn, as many of each.
constexpr int kPanics = 10, kKills = 10, kOverflows = 1, kFaults = 1;
constexpr int kTurn = kPanics + kKills + kOverflows + kFaults;
constexpr int kTurns = 10'000;  // 100,000 panics, 100,000 kills, 10,000 overflows, 10,000 faults
constexpr int kAtOnce = 64;

// AddressSanitizer's own handlers end the process at a fault; Valgrind loses its stack where a
// handler moves it.
constexpr bool kNoFaults = kAsan || kValgrind;

End end_of(int i) {
  const int at = i % kTurn;
  if (at < kPanics || (kNoFaults && at >= kPanics + kKills)) return End::panic;
  if (at < kPanics + kKills) return End::kill;
  return at < kPanics + kKills + kOverflows ? End::overflow : End::fault;
}

volatile int never = 0;
volatile int* volatile nowhere = nullptr;

[[gnu::noipa]] int descend(int depth) {
  volatile char frame[1000];
  frame[0] = static_cast<char>(depth);
  return never ? 0 : descend(depth + 1) + frame[0];
}
[[gnu::noipa]] int read_nothing() { return *nowhere; }
[[gnu::noipa]] void go_wrong(End end) {
  switch (end) {
    case End::panic: throw std::runtime_error("one of many");
    case End::overflow: descend(0); break;
    case End::fault: read_nothing(); break;
    case End::kill: smarm::park_current(); break;
  }
}

struct Timer {
  smarm_timer* timer = smarm_timer_start(3'600'000'000'000, [](void*) {}, nullptr);
  Timer() = default;
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;
  ~Timer() { smarm_timer_cancel(timer); }
};

struct Shared {
  std::atomic<int> live = 0;
  smarm::Mutex<int> wanted{0};
};

// What an actor has with it when it comes to its end.
constexpr int kLuggage = 9;
void live_and_end(Shared& shared, int luggage, End end) {
  const Counted counted(shared.live);
  switch (luggage) {
    case 0: go_wrong(end); break;
    case 1: {  // a guard that others wait for
      auto guard = shared.wanted.lock();
      go_wrong(end);
      break;
    }
    case 2: {
      const Timer timer;
      if (end == End::kill) smarm::sleep(1h);
      go_wrong(end);
      break;
    }
    case 3: {  // messages that nobody has received
      auto [tx, rx] = smarm::channel<Counted>();
      for (int i = 0; i < 3; ++i) (void)tx.send(Counted(shared.live));
      auto [none, waits] = smarm::bounded_channel<int>(1);
      if (end == End::kill) (void)waits.recv_timeout(1h);
      go_wrong(end);
      break;
    }
    case 4: {  // a socket, and a read on it
      FdPair pair(FdPair::socket);
      auto stream = smarm::UnixStream::adopt(::dup(pair.reader()));
      char buffer[16];
      if (end == End::kill && stream) (void)stream->read(buffer, 1h);
      go_wrong(end);
      break;
    }
    case 5: {  // a raw descriptor that it waits on
      FdPair pair(FdPair::pipe);
      char buffer[16];
      (void)write_all(pair.writer(), "half");
      (void)smarm::read(pair.reader(), buffer);
      if (end == End::kill) (void)smarm::read(pair.reader(), buffer, 1h);
      go_wrong(end);
      break;
    }
    case 6: {  // a mailbox of its own, and a child that reports to it
      auto [tx, mailbox] = smarm::channel<smarm::Signal>();
      smarm::register_supervisor_channel(smarm::self_pid(), std::move(tx));
      (void)smarm::spawn([] { smarm::yield_now(); });
      if (end == End::kill)
        for (;;) (void)mailbox.recv();
      go_wrong(end);
      break;
    }
    case 7: {
      std::mutex mutex;
      const std::scoped_lock lock(mutex);
      go_wrong(end);
      break;
    }
    default: {  // the end comes on the stack of a generator
      smarm::Generator<int> g([end](auto& yield) {
        yield(1);
        go_wrong(end);
      });
      for (int value : g) escape(&value);
    }
  }
}

bool ended_as_meant(const std::expected<void, smarm::JoinError>& end, End meant) {
  if (end) return false;
  const std::string_view what = end.error().what();
  if (what.find("abandoned") != what.npos) return false;
  switch (meant) {
    case End::panic: return what == "one of many";
    case End::kill: return end.error().killed();
    case End::overflow: return what.starts_with("stack overflow: ");
    case End::fault: return what.starts_with("SIGSEGV: access to address 0x0 in ");
  }
  return false;
}

std::size_t armed_timers() {
  std::size_t n = 0;
  for (const auto& w : smarm::current_worker()->runtime.workers()) n += w->wheel.size();
  return n;
}

void churn(int turns) {
  const smarm::SpawnOptions named{.name = "one of many, with a name on the heap", .deadline = 1h};
  Random random(1);
  Shared shared;
  auto [tx, mailbox] = smarm::channel<smarm::Signal>();
  smarm::register_supervisor_channel(smarm::self_pid(), std::move(tx));
  int strange = 0;
  for (int i = 0; i < turns * kTurn;) {
    std::vector<std::pair<smarm::JoinHandle, End>> actors;
    for (; actors.size() < kAtOnce && i < turns * kTurn; ++i) {
      auto body = [&shared, luggage = random.below(kLuggage), end = end_of(i)] {
        live_and_end(shared, luggage, end);
      };
      actors.emplace_back(random.one_in(4) ? smarm::spawn(named, body) : smarm::spawn(body),
                          end_of(i));
    }
    if (random.one_in(2)) smarm::yield_now();
    for (auto& [actor, end] : actors)
      if (end == End::kill) smarm::kill(actor.pid());
    for (auto& [actor, end] : actors) strange += !ended_as_meant(actor.join(), end);
    for (std::size_t n = actors.size(); n > 0; --n) {
      const auto signal = mailbox.recv_timeout(kPatience);
      strange += !signal || !std::holds_alternative<smarm::Panic>(*signal);
    }
  }
  CHECK(strange == 0);
  CHECK(shared.live == 0);
  CHECK(mailbox.len() == 0);
  CHECK(yield_until([] { return smarm::stats().live == 1; }));
  CHECK(yield_until([] { return armed_timers() == 0; }));
}

std::size_t lines_of(const char* path) {
  std::ifstream in(path);
  std::size_t n = 0;
  for (std::string line; std::getline(in, line);) ++n;
  return n;
}
std::size_t entries_of(const char* path) {
  namespace fs = std::filesystem;
  return static_cast<std::size_t>(
      std::distance(fs::directory_iterator(path), fs::directory_iterator{}));
}
long resident_kib() {
  long pages = 0, resident = 0;
  std::ifstream("/proc/self/statm") >> pages >> resident;
  return resident * 4;
}

// What the process holds while no runtime runs.
struct Held {
  std::size_t actors = smarm::ActorTable::instance().end();  // blocks ever used
  std::size_t stacks = smarm::StackPool::instance().in_use();
  std::size_t carved = smarm::StackPool::instance().carved();
  std::size_t torn = smarm::torn_guards.load();
  std::size_t fds = entries_of("/proc/self/fd");
  std::size_t threads = entries_of("/proc/self/task");
  std::size_t mappings = lines_of("/proc/self/maps");
  std::size_t heap = ::mallinfo2().uordblks + ::mallinfo2().hblkhd;
  long resident = resident_kib();
};

std::ostream& operator<<(std::ostream& out, const Held& h) {
  return out << h.actors << " actor blocks, " << h.stacks << " stacks in use of " << h.carved
             << ", " << h.torn << " torn guards, " << h.fds << " descriptors, " << h.threads
             << " threads, " << h.mappings << " mappings, " << h.heap / 1024 << " KiB of heap, "
             << h.resident << " KiB resident";
}

}  // namespace

TEST_SUITE("stress containment") {
  TEST_CASE("panics, kills, overflows and faults by the hundred thousand leave nothing behind") {
    const int turns = scaled(kSlow ? kTurns / 100 : kAsan ? kTurns / 20 : kTurns, 40);
    for (unsigned workers : {1u, 2u}) {
      CAPTURE(workers);
      run_at(workers, [turns] { churn(std::max(40, turns / 10)); });  // caches fill, once
      const Held before;
      const auto began = SteadyClock::now();
      run_at(workers, [turns] { churn(turns); });
      const std::chrono::duration<double> took = SteadyClock::now() - began;
      const Held after;
      std::cerr << "  " << workers << " workers, " << turns * kTurn << " ends in " << took.count()
                << " s\n    before: " << before << "\n    after:  " << after << '\n';
      CHECK(after.stacks == before.stacks);
      CHECK(after.torn == 0);
      CHECK(after.fds == before.fds);
      CHECK(after.threads == before.threads);
      // By chance a few more may have lived at once than before.
      CHECK(after.actors <= before.actors + 2 * kAtOnce);
      CHECK(after.carved <= before.carved + 2 * kAtOnce);
      if (kAsan || kTsan || kValgrind) continue;  // their allocators keep what was freed
      CHECK(after.mappings <= before.mappings + 8);
      CHECK(after.heap <= before.heap + (256u << 10));  // a byte an end
      // Stacks may rest with all of their pages.
      CHECK(after.resident <= before.resident + static_cast<long>(after.carved) * 64);
    }
  }
}
