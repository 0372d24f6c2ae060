#include "runtime/sched/accounts.hpp"

#include <array>
#include <mutex>
#include <new>

namespace smarm {

namespace {

struct Binding {
  std::atomic<std::uint64_t> group{0};  // 0: free
  std::atomic<Account*> account{nullptr};
  std::atomic<std::uint64_t> number{0};  // of the account
  Binding* next = nullptr;               // constant once it is in its bucket
};

constexpr std::size_t kBuckets = 64;

std::mutex accounts_lock;  // rank: accounts; whoever binds, makes or closes
constinit std::array<std::atomic<Binding*>, kBuckets> buckets{};
constinit Account of_the_unbound{};          // number 0
constinit Account* open_accounts = nullptr;  // by the lock, as are the closed ones
constinit Account* closed_accounts = nullptr;

std::atomic<Binding*>& bucket_of(std::uint64_t group) { return buckets[group % kBuckets]; }

Binding* binding_of(std::uint64_t group) {
  if (group == 0) return nullptr;
  // acquire: pairs with the release in bind_group; the binding is whole.
  for (Binding* b = bucket_of(group).load(std::memory_order_acquire); b; b = b->next) {
    if (b->group.load(std::memory_order_acquire) == group) return b;
  }
  return nullptr;
}

Account* find_open(std::uint64_t number) {
  if (number == 0) return &of_the_unbound;
  Account* a = open_accounts;
  while (a && a->number != number) a = a->next;
  return a;
}

Account* make(std::uint64_t number) {
  if (Account* a = find_open(number)) return a;
  Account* a = closed_accounts;
  if (a) {
    closed_accounts = a->next;
    for (auto* count : {&a->preempted_alloc, &a->preempted_async, &a->blocked, &a->mailbox_limit,
                        &a->mailbox_refused, &a->refusal_told_ns})
      count->store(0, std::memory_order_relaxed);
  } else {
    a = new (std::nothrow) Account;
    if (!a) return nullptr;
  }
  a->number = number;
  a->next = open_accounts;
  open_accounts = a;
  return a;
}

void fill(Binding& b, std::uint64_t group, Account* account) {
  b.account.store(account, std::memory_order_relaxed);
  b.number.store(account->number, std::memory_order_relaxed);
  b.group.store(group, std::memory_order_release);  // pairs with the acquire in binding_of
}

}  // namespace

Account& account_of(std::uint64_t group) noexcept {
  const Binding* b = binding_of(group);
  return b ? *b->account.load(std::memory_order_relaxed) : of_the_unbound;
}

std::uint64_t account_number_of(std::uint64_t group) noexcept {
  const Binding* b = binding_of(group);
  return b ? b->number.load(std::memory_order_relaxed) : 0;
}

bool bind_group(std::uint64_t group, std::uint64_t number) {
  if (group == 0) return true;
  const std::lock_guard lock(accounts_lock);
  Binding* b = binding_of(group);
  if (number == 0) {
    if (b) b->group.store(0, std::memory_order_release);
    return true;
  }
  Account* account = make(number);
  if (!account) return false;
  std::atomic<Binding*>& first = bucket_of(group);
  if (!b) {
    b = first.load(std::memory_order_relaxed);
    while (b && b->group.load(std::memory_order_relaxed) != 0) b = b->next;
  }
  if (b) {
    fill(*b, group, account);
    return true;
  }
  b = new (std::nothrow) Binding;
  if (!b) return false;
  fill(*b, group, account);
  b->next = first.load(std::memory_order_relaxed);
  first.store(b, std::memory_order_release);  // pairs with the acquire in binding_of
  return true;
}

Account* find_account(std::uint64_t number) {
  const std::lock_guard lock(accounts_lock);
  return find_open(number);
}

Account* find_or_make_account(std::uint64_t number) {
  const std::lock_guard lock(accounts_lock);
  return make(number);
}

void close_account(std::uint64_t number) {
  if (number == 0) return;
  const std::lock_guard lock(accounts_lock);
  Account** link = &open_accounts;
  while (*link && (*link)->number != number) link = &(*link)->next;
  Account* a = *link;
  if (!a) return;
  for (std::atomic<Binding*>& bucket : buckets) {
    for (Binding* b = bucket.load(std::memory_order_relaxed); b; b = b->next) {
      if (b->group.load(std::memory_order_relaxed) != 0 &&
          b->account.load(std::memory_order_relaxed) == a)
        b->group.store(0, std::memory_order_release);
    }
  }
  *link = a->next;
  a->next = closed_accounts;
  closed_accounts = a;
}

}  // namespace smarm
