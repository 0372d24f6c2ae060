// Actors of groups that are bound to accounts.
#pragma once

#include "tests/unit/public/support.hpp"

#include <cstdint>
#include <initializer_list>

namespace test {

template <class F>
smarm::JoinHandle spawn_in(std::uint64_t group, F f) {
  smarm_spawn_options o{};
  o.struct_size = sizeof o;
  o.flags = SMARM_SPAWN_GROUP;
  o.group = group;
  smarm_actor* handle = nullptr;
  REQUIRE(smarm_spawn(&o, &smarm::detail::entry<F>, smarm::detail::make_closure(std::move(f)),
                      &handle, nullptr) == SMARM_OK);
  return smarm::JoinHandle(handle);
}

// Open for as long as it lives.
struct Account {
  explicit Account(std::uint64_t number, std::initializer_list<std::uint64_t> groups)
      : number_(number) {
    for (const std::uint64_t g : groups) REQUIRE(smarm_group_bind(g, number) == SMARM_OK);
  }
  ~Account() { smarm_account_close(number_); }
  Account(const Account&) = delete;
  Account& operator=(const Account&) = delete;

 private:
  std::uint64_t number_;
};

}  // namespace test
