// Actors for gdb to look at: each waits in its own way, in a function of a known name.
//
//     actors WORKERS [hibernate]
//
// Says `ready PID` (of the actor that waits in recv) on standard output when all of them are where
// they should be, and then computes in busy_loop() until it is killed. With one worker there is a
// fresh actor too: nobody is left to run it.
#include <smarm/smarm.hpp>

#include <sys/prctl.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

using namespace std::chrono_literals;

namespace {

int waited_for = 42;

[[gnu::noinline]] void wait_for_mail(smarm::Receiver<int>& mail, int local) {
  while (auto m = mail.recv()) waited_for = *m + local;
}

[[gnu::noinline]] void sleep_long() {
  smarm::sleep(1h);
  ++waited_for;
}

// Says it from in here, so that whoever reads it finds this function on the stack.
[[gnu::noinline]] void busy_loop(smarm::Pid listener) {
  std::printf("ready %s\n", listener.to_string().c_str());
  std::fflush(stdout);
  volatile int forever = 1;
  while (forever) waited_for = forever;
}

std::size_t count(std::string_view where) {
  std::vector<smarm_actor_info> all(16);
  all.resize(smarm_actor_list(all.data(), all.size()));
  std::size_t n = 0;
  for (const smarm_actor_info& a : all)
    n += a.where == where && std::string_view(a.state) != "runnable";
  return n;
}

void play(bool hibernate) {
  auto [to, mail] = smarm::channel<int>();
  const smarm::JoinHandle listener =
      smarm::spawn({.name = "listener"},
                   [mail = std::move(mail)]() mutable { wait_for_mail(mail, waited_for); });
  const smarm::JoinHandle sleeper = smarm::spawn([] { sleep_long(); });
  smarm::Mutex<int> mutex(0);
  const auto held = mutex.lock();
  const smarm::JoinHandle locker = smarm::spawn({.name = "locker"}, [&mutex] {
    if (auto got = mutex.lock_timeout(1h)) waited_for = **got;
  });
  const auto settled = [&] {
    return count("recv") == 1 && count("sleep") == 1 && count("lock") == 1 &&
           (!hibernate || smarm::stats().total.hibernated == 3);
  };
  while (!settled()) smarm::yield_now();
  const smarm::JoinHandle fresh = smarm::spawn({.name = "fresh"}, [] { sleep_long(); });
  busy_loop(listener.pid());
}

}  // namespace

int main(int argc, char** argv) {
  ::prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY);  // gdb is no ancestor of this process
  const bool hibernate = argc > 2 && std::strcmp(argv[2], "hibernate") == 0;
  auto config = smarm::Config::exact(argc > 1 ? static_cast<unsigned>(std::atoi(argv[1])) : 1);
  if (hibernate) config.hibernate_after(1ms);
  smarm::init(config).run([&] { play(hibernate); });
}
