// What arrives in the moments in which a stack is being frozen. They are made long: mprotect, the
// first step of a freeze, is wrapped, as if the freezing worker lost its CPU there.
#include "tests/stress/stress.hpp"

#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

using namespace stress;

namespace {

std::atomic<char*> watched{nullptr};  // an address on the receiver's stack
std::atomic<long> freezes{0};         // of that stack, under way or done
std::atomic<bool> freezing{false};

void dwell() {
  const auto until = SteadyClock::now() + 2ms;
  while (SteadyClock::now() < until) {
  }
}

}  // namespace

extern "C" int mprotect(void* begin, std::size_t size, int access) noexcept {
  const long result = ::syscall(SYS_mprotect, begin, size, access);
  char* const stack = watched.load();
  if (access == PROT_READ && stack >= begin && stack < static_cast<char*>(begin) + size) {
    freezing = true;
    ++freezes;
    dwell();
    freezing = false;
  }
  return static_cast<int>(result);
}

namespace {

TEST_SUITE("hibernation window") {
  // The crowd fills more of the actor table than a busy worker's step looks at, so that idle
  // workers do the freezing; between two requests nothing else happens that could mend a lost one.
  TEST_CASE("a request sent while its receiver is frozen is answered") {
    for (unsigned workers : {1u, 2u, 4u}) {
      CAPTURE(workers);
      smarm::Runtime runtime = smarm::init(config_at(workers).hibernate_after(1ms));
      runtime.run([workers] {
        const long rounds = scaled(workers == 1 ? 100 : 300);
        std::vector<smarm::JoinHandle> crowd;
        for (int i = 0; i < 1000; ++i) crowd.push_back(smarm::spawn([] { smarm::park_current(); }));
        auto [tx, requests] = smarm::channel<long>();
        auto [replies, rx] = smarm::channel<long>();
        auto server = smarm::spawn([in = std::move(requests), out = std::move(replies)]() mutable {
          char here = 0;
          watched = &here;
          while (auto request = in.recv()) (void)out.send(*request);
          watched = nullptr;
        });
        // Two that work for a while now and then, so that workers fall idle in all orders.
        auto [chores, todo] = smarm::channel<int>();
        auto [more_chores, more_todo] = smarm::channel<int>();
        const auto work = [](smarm::Receiver<int>& in) {
          while (in.recv()) {
            const auto until = SteadyClock::now() + 800us;
            while (SteadyClock::now() < until) smarm::check();
          }
        };
        auto first = smarm::spawn([work, in = std::move(todo)]() mutable { work(in); });
        auto second = smarm::spawn([work, in = std::move(more_todo)]() mutable { work(in); });
        long lost = 0;
        for (long i = 0; i < rounds && lost == 0; ++i) {
          const long before = freezes;
          (void)chores.send(1);
          (void)more_chores.send(1);
          if (workers == 1) {
            while (freezes == before) smarm::yield_now();  // it freezes between two switches
          } else {
            // This actor keeps its worker; the others are idle, and one of them freezes.
            const auto give_up = SteadyClock::now() + 20ms;
            while (!freezing && SteadyClock::now() < give_up) smarm::check();
          }
          (void)tx.send(i);
          const auto reply = rx.recv_timeout(kPatience);
          if (!reply || *reply != i) ++lost;
        }
        CHECK(lost == 0);
        CHECK(freezes > 0);
        tx = {};
        chores = {};
        more_chores = {};
        smarm::join_all(server, first, second);
        for (auto& a : crowd) smarm::unpark(a.pid());
        smarm::join_all(crowd);
      });
      CHECK(runtime.stats().live == 0);
      CHECK(runtime.stats().total.hibernated == runtime.stats().total.thawed);
    }
  }
}

}  // namespace
