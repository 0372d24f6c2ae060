#include "daemon/supervision/registry.hpp"

#include <doctest/doctest.h>
#include <smarm/smarm.hpp>

#include <cstdint>
#include <set>
#include <string>

using smarm::Pid;
using smarmd::Registry;

namespace {

constexpr std::uint64_t kGroup = 7;

struct Names {
  std::set<Pid> dead;
  std::size_t looks = 0;
  Registry registry{[this](Pid p) {
    ++looks;
    return !dead.contains(p);
  }};
};

}  // namespace

TEST_CASE("a name belongs to the first living actor that takes it") {
  Names n;
  CHECK(n.registry.lookup("db") == smarm::ROOT_PID);
  CHECK(n.registry.publish("db", Pid(1, 1), kGroup));
  CHECK(n.registry.publish("db", Pid(1, 1), kGroup));  // again by itself
  CHECK_FALSE(n.registry.publish("db", Pid(2, 1), kGroup));
  CHECK(n.registry.lookup("db") == Pid(1, 1));
}

TEST_CASE("a name dies with its actor: it is not found, and is free again") {
  Names n;
  REQUIRE(n.registry.publish("db", Pid(1, 1), kGroup));
  n.dead.insert(Pid(1, 1));
  CHECK(n.registry.lookup("db") == smarm::ROOT_PID);
  CHECK(n.registry.size() == 0);
  REQUIRE(n.registry.publish("db", Pid(1, 2), kGroup));
  n.dead.insert(Pid(1, 2));
  CHECK(n.registry.publish("db", Pid(3, 1), kGroup));
  CHECK(n.registry.lookup("db") == Pid(3, 1));
}

TEST_CASE("prune drops the dead of a group, keeps the living, and looks at no other group") {
  Names n;
  for (std::uint32_t i = 1; i <= 10; ++i) {
    REQUIRE(n.registry.publish("n" + std::to_string(i), Pid(i, 1), i <= 6 ? kGroup : kGroup + 1));
    if (i <= 5 || i == 10) n.dead.insert(Pid(i, 1));
  }
  n.looks = 0;
  n.registry.prune(kGroup);
  CHECK(n.looks == 6);
  CHECK(n.registry.size() == 5);
  CHECK(n.registry.lookup("n6") == Pid(6, 1));
  CHECK(n.registry.lookup("n7") == Pid(7, 1));
  // What was taken over by another group is that group's.
  CHECK(n.registry.publish("n10", Pid(11, 1), kGroup));
  n.dead.insert(Pid(11, 1));
  n.registry.prune(kGroup + 1);
  CHECK(n.registry.size() == 5);
  n.registry.prune(kGroup);
  CHECK(n.registry.size() == 4);
}

TEST_CASE("names that are no names, and the limits") {
  Names n;
  CHECK_FALSE(n.registry.publish("", Pid(1, 1), kGroup));
  CHECK_FALSE(n.registry.publish("x", smarm::ROOT_PID, kGroup));
  CHECK_FALSE(n.registry.publish(std::string(Registry::kMaxName + 1, 'x'), Pid(1, 1), kGroup));
  CHECK(n.registry.publish(std::string(Registry::kMaxName, 'x'), Pid(1, 1), kGroup));
  for (std::size_t i = 1; i < Registry::kMaxNames; ++i)
    REQUIRE(n.registry.publish(std::to_string(i), Pid(1, 1), kGroup));
  CHECK_FALSE(n.registry.publish("one more", Pid(1, 1), kGroup));
}

TEST_CASE("actor_lives tells a living actor from one that has ended and from one that never was") {
  smarm::run([] {
    auto [tx, rx] = smarm::channel<int>();
    auto child = smarm::spawn([rx = std::move(rx)]() mutable { (void)rx.recv(); });
    const Pid pid = child.pid();
    CHECK(smarmd::actor_lives(smarm::self_pid()));
    CHECK(smarmd::actor_lives(pid));
    CHECK(tx.send(1).has_value());
    CHECK(child.join().has_value());
    CHECK_FALSE(smarmd::actor_lives(pid));
    CHECK_FALSE(smarmd::actor_lives(Pid(pid.index(), pid.generation() + 7)));
    CHECK_FALSE(smarmd::actor_lives(smarm::ROOT_PID));
  });
}

TEST_CASE("a living actor keeps its name while thousands of others are born and end") {
  smarm::init(smarm::Config::exact(2)).run([] {
    Registry registry(&smarmd::actor_lives);
    const Pid self = smarm::self_pid();
    REQUIRE(registry.publish("self", self, kGroup));
    auto births = smarm::spawn([] {
      for (int i = 0; i < 20'000; ++i) (void)smarm::spawn([] { smarm::yield_now(); });
    });
    std::size_t lost = 0;
    for (int i = 0; i < 20'000; ++i) {
      lost += registry.lookup("self") != self;
      if (i % 64 == 0) smarm::yield_now();
    }
    CHECK(births.join().has_value());
    CHECK(lost == 0);
  });
}
