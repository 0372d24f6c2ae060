// Accounts: what the actors of some groups did together, and what they may do.
//
// A group may be bound to an account; a plugin of the daemon has one for all its lives, each of
// which is a group. Who counts something finds the account by the actor's group, on slow paths
// only: at a preemption, a blocked thread, a mailbox that is far behind.
//
// Threads: any. Finding takes no lock.
//
// 1. Account 0 is always there; a group that is bound to none counts in it.
// 2. Accounts and bindings are recycled and never freed, so what is found may be used. It may have
// been closed meanwhile: what is counted then is lost, or goes to the next one of that memory.
// 3. A group is unbound when it has no actor any more, so nobody counts for it in that moment.
#pragma once

#include <atomic>
#include <cstdint>

namespace smarm {

// Counts and limits are relaxed: nobody decides anything irrevocable by them.
struct Account {
  std::atomic<std::uint64_t> preempted_alloc{0}, preempted_async{0};
  std::atomic<std::uint64_t> blocked{0};        // times that an actor was found to block its thread
  std::atomic<std::uint64_t> mailbox_limit{0};  // messages; 0: none
  std::atomic<std::uint64_t> mailbox_refused{0};  // sends that met the limit
  std::atomic<std::uint64_t> refusal_told_ns{0};  // when that was last told; 0: never

  // By the accounts' lock.
  std::uint64_t number = 0;
  Account* next = nullptr;
};

Account& account_of(std::uint64_t group) noexcept;
std::uint64_t account_number_of(std::uint64_t group) noexcept;

// False: no memory. Account 0 unbinds.
bool bind_group(std::uint64_t group, std::uint64_t account);
Account* find_account(std::uint64_t number);          // nullptr: there is none
Account* find_or_make_account(std::uint64_t number);  // nullptr: no memory
void close_account(std::uint64_t number);             // and unbinds its groups

}  // namespace smarm
