#include "runtime/actor/state.hpp"

#include "runtime/actor/table.hpp"

#include <doctest/doctest.h>

#include <set>
#include <vector>

namespace {

using namespace smarm;
using namespace state_word;

TEST_SUITE("actor state") {
  TEST_CASE("the table of transitions is what LOOM.md says, and nothing else is legal") {
    using enum ActorState;
    const std::vector<std::pair<ActorState, ActorState>> legal = {
        {free, active},   {active, parked},  {active, waiting}, {active, done},
        {parked, active}, {waiting, active}, {done, free}};
    for (ActorState from : {free, active, parked, waiting, done}) {
      for (ActorState to : {free, active, parked, waiting, done}) {
        bool listed = false;
        for (auto [f, t] : legal) listed = listed || (f == from && t == to);
        CHECK(legal_transition(from, to) == listed);
      }
    }
  }

  TEST_CASE("the fields of the word do not touch each other") {
    constexpr std::uint64_t flags = kToken | kWoken | kKill | kHold | kStop | kMailbox;
    std::uint64_t w = make(0xffffffff, kWaitField, ActorState::waiting) | flags;
    CHECK(generation(w) == 0xffffffff);
    CHECK(wait_number(w) == kWaitField >> kWaitShift);
    CHECK(state(w) == ActorState::waiting);
    w = next_wait(w);  // wraps within its field
    CHECK(wait_number(w) == 0);
    CHECK(generation(w) == 0xffffffff);
    CHECK((w & flags) == flags);
    CHECK(alive(w, 0xffffffff));
    CHECK_FALSE(alive(w, 1));
    CHECK_FALSE(alive(with_state(w, ActorState::done)));
    CHECK_FALSE(alive(with_state(w, ActorState::free)));
    CHECK(state(with_state(w, ActorState::active)) == ActorState::active);
  }

  TEST_CASE("a ticket names a block and a wait number, in one word") {
    ActorCache cache;
    Actor* a = cache.take();
    REQUIRE(a != nullptr);
    for (std::uint32_t wait : {0u, 1u, 0x2bcdefu, 0x7fffffu}) {
      const std::uint64_t word = make(7, std::uint64_t{wait} << kWaitShift, ActorState::active);
      const Ticket t(*a, word);
      CHECK(t);
      CHECK(&Ticket::unpack(t.pack()).actor() == a);
      CHECK(Ticket::unpack(t.pack()).valid_in(word));
      CHECK(t.valid_in(with_state(word, ActorState::waiting) | kWoken));
      CHECK_FALSE(t.valid_in(next_wait(word)));
      CHECK(t.pack() > kJoinDetached);
    }
    CHECK_FALSE(Ticket{});
    a->word.store(with_state(a->word.load(), ActorState::done));
    cache.give(a);
  }
}

TEST_SUITE("actor table") {
  TEST_CASE("a block given back gets its next generation, and its old pid finds nothing") {
    ActorCache cache;
    Actor* a = cache.take();
    REQUIRE(a != nullptr);
    CHECK(a->index != 0);
    const smarm_pid old = a->pid();
    CHECK(ActorTable::instance().find(old) == a);
    a->word.store(with_state(a->word.load(), ActorState::done));
    cache.give(a);
    CHECK(ActorTable::instance().find(old) == nullptr);
    Actor* again = cache.take();
    CHECK(again == a);  // the last one given is the next one taken
    CHECK(again->pid().generation == old.generation + 1);
    again->word.store(with_state(again->word.load(), ActorState::done));
    cache.give(again);
  }

  TEST_CASE("a block whose generation is used up is retired") {
    ActorCache cache;
    Actor* a = cache.take();
    REQUIRE(a != nullptr);
    a->word.store(make(0xffffffff, 0, ActorState::done));
    cache.give(a);
    CHECK(cache.take() != a);
    CHECK(state(a->word.load()) == ActorState::done);
  }

  TEST_CASE("thousands of blocks are distinct, findable, and recycled") {
    const std::uint32_t before = ActorTable::instance().end();
    std::set<std::uint32_t> indices;
    {
      ActorCache cache;
      std::vector<Actor*> all;
      for (int i = 0; i < 5000; ++i) all.push_back(cache.take());
      for (Actor* a : all) {
        REQUIRE(a != nullptr);
        indices.insert(a->index);
        CHECK(ActorTable::instance().find(a->index) == a);
      }
      CHECK(indices.size() == 5000);
      for (Actor* a : all) {
        a->word.store(with_state(a->word.load(), ActorState::done));
        cache.give(a);
      }
    }
    const std::uint32_t grown = ActorTable::instance().end();
    CHECK(grown >= before);
    ActorCache other;
    std::vector<Actor*> again;
    for (int i = 0; i < 5000; ++i) again.push_back(other.take());
    CHECK(ActorTable::instance().end() == grown);
    for (Actor* a : again) {
      a->word.store(with_state(a->word.load(), ActorState::done));
      other.give(a);
    }
  }

  TEST_CASE("absurd indices find nothing") {
    CHECK(ActorTable::instance().find(0u) == nullptr);
    CHECK(ActorTable::instance().find(0xffffffffu) == nullptr);
    CHECK(ActorTable::instance().find(smarm_pid{0, 0}) == nullptr);
  }
}

}  // namespace
