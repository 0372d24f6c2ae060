#include "daemon/supervision/registry.hpp"

#include <doctest/doctest.h>
#include <smarm/smarm.hpp>

#include <set>

using smarm::Pid;
using smarmd::Registry;

namespace {

struct Names {
  std::set<Pid> dead;
  Registry registry{[this](Pid p) { return !dead.contains(p); }};
};

}  // namespace

TEST_CASE("a name belongs to the first living actor that takes it") {
  Names n;
  CHECK(n.registry.lookup("db") == smarm::ROOT_PID);
  CHECK(n.registry.publish("db", Pid(1, 1)));
  CHECK(n.registry.publish("db", Pid(1, 1)));  // again by itself
  CHECK_FALSE(n.registry.publish("db", Pid(2, 1)));
  CHECK(n.registry.lookup("db") == Pid(1, 1));
}

TEST_CASE("a name dies with its actor: it is not found, and is free again") {
  Names n;
  REQUIRE(n.registry.publish("db", Pid(1, 1)));
  n.dead.insert(Pid(1, 1));
  CHECK(n.registry.lookup("db") == smarm::ROOT_PID);
  CHECK(n.registry.size() == 0);
  REQUIRE(n.registry.publish("db", Pid(1, 2)));
  n.dead.insert(Pid(1, 2));
  CHECK(n.registry.publish("db", Pid(3, 1)));
  CHECK(n.registry.lookup("db") == Pid(3, 1));
}

TEST_CASE("prune drops the dead and keeps the living") {
  Names n;
  for (std::uint32_t i = 1; i <= 10; ++i)
    REQUIRE(n.registry.publish("n" + std::to_string(i), Pid(i, 1)));
  for (std::uint32_t i = 1; i <= 5; ++i) n.dead.insert(Pid(i, 1));
  n.registry.prune();
  CHECK(n.registry.size() == 5);
  CHECK(n.registry.lookup("n6") == Pid(6, 1));
}

TEST_CASE("names that are no names, and the limits") {
  Names n;
  CHECK_FALSE(n.registry.publish("", Pid(1, 1)));
  CHECK_FALSE(n.registry.publish("x", smarm::ROOT_PID));
  CHECK_FALSE(n.registry.publish(std::string(Registry::kMaxName + 1, 'x'), Pid(1, 1)));
  CHECK(n.registry.publish(std::string(Registry::kMaxName, 'x'), Pid(1, 1)));
  for (std::size_t i = 1; i < Registry::kMaxNames; ++i)
    REQUIRE(n.registry.publish(std::to_string(i), Pid(1, 1)));
  CHECK_FALSE(n.registry.publish("one more", Pid(1, 1)));
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
