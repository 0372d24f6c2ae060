// Mailboxes that grow: notices, limits, the list.
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // false alarms of g++ 12 at -O1
#include "tests/unit/public/support.hpp"

#include <array>
#include <cstring>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

using namespace test;

namespace {

using Payload = std::array<char, 100>;

constexpr std::uint64_t kGroup = 71, kAccount = 7;

// What is told while it lives.
class Notices {
 public:
  explicit Notices(std::uint64_t first) {
    smarm_mailbox_warn_at(first);
    smarm_mailbox_watch(&Notices::take, this);
  }
  ~Notices() {
    smarm_mailbox_watch(nullptr, nullptr);
    smarm_mailbox_warn_at(65'536);
  }
  Notices(const Notices&) = delete;
  Notices& operator=(const Notices&) = delete;

  std::vector<smarm_mailbox_info> of(int event) const {
    const std::lock_guard lock(mutex_);
    std::vector<smarm_mailbox_info> found;
    for (const auto& [what, info] : all_) {
      if (what == event) found.push_back(info);
    }
    return found;
  }

 private:
  static void take(void* self, int event, const smarm_mailbox_info* info) {
    auto& notices = *static_cast<Notices*>(self);
    const std::lock_guard lock(notices.mutex_);
    notices.all_.emplace_back(event, *info);
  }
  mutable std::mutex mutex_;
  std::vector<std::pair<int, smarm_mailbox_info>> all_;
};

// A group with an account, for as long as it lives.
struct Billed {
  explicit Billed(std::uint64_t limit = 0) {
    REQUIRE(smarm_group_bind(kGroup, kAccount) == SMARM_OK);
    REQUIRE(smarm_account_limit_mailboxes(kAccount, limit) == SMARM_OK);
  }
  ~Billed() { smarm_account_close(kAccount); }
  Billed(const Billed&) = delete;
  Billed& operator=(const Billed&) = delete;
  smarm_account_stats stats() const {
    smarm_account_stats s{};
    s.struct_size = sizeof s;
    REQUIRE(smarm_account_read(kAccount, &s) == SMARM_OK);
    return s;
  }
};

// Runs f as an actor of that name in the group.
template <class F>
smarm::JoinHandle spawn_billed(const char* name, F f) {
  smarm_spawn_options o{};
  o.struct_size = sizeof o;
  o.flags = SMARM_SPAWN_GROUP;
  o.name = name;
  o.group = kGroup;
  void* closure = smarm::detail::make_closure(std::move(f));
  smarm_actor* handle = nullptr;
  REQUIRE(smarm_spawn(&o, &smarm::detail::entry<F>, closure, &handle, nullptr) == SMARM_OK);
  return smarm::JoinHandle(handle);
}

// An actor in the group that takes one message and then no more, until it is told to.
class Stuck {
 public:
  Stuck() {
    auto [tx, rx] = smarm::channel<Payload>();
    auto [go_tx, go_rx] = smarm::channel<int>();
    this->tx = tx;
    go_ = go_tx;
    actor_ = spawn_billed("stuck", [this, rx = std::move(rx), go = std::move(go_rx)]() mutable {
      (void)rx.recv();
      (void)go.recv();
      while (rx.recv()) ++received_;
    });
    (void)yield_until_parked(actor_.pid());
    CHECK(tx.send({}));
    CHECK(yield_until([&] { return tx.len() == 0; }));
  }
  // Lets it take all there is, and more until the last sender is gone; how many came.
  long drain() {
    CHECK(go_.send(1));
    tx = {};
    CHECK(actor_.join());
    return received_;
  }
  smarm::Pid pid() const { return actor_.pid(); }
  smarm::Sender<Payload> tx;

 private:
  smarm::Sender<int> go_;
  smarm::JoinHandle actor_;
  long received_ = 0;
};

std::vector<smarm_mailbox_info> mailboxes() {
  std::vector<smarm_mailbox_info> all(smarm_mailbox_list(nullptr, 0));
  all.resize(std::min(all.size(), smarm_mailbox_list(all.data(), all.size())));
  return all;
}

}  // namespace

TEST_SUITE("public mailbox") {
  TEST_CASE("a mailbox that grows is told of at doubling depths, with its receiver and a sender") {
    run_at_each_worker_count([] {
      const Billed billed;
      const Notices notices(4096);
      Stuck stuck;
      auto sender = smarm::spawn({.name = "flood"}, [tx = stuck.tx] {
        for (int i = 0; i < 40'000; ++i) (void)tx.send({});
      });
      const smarm::Pid flood = sender.pid();
      CHECK(sender.join());
      const auto grown = notices.of(SMARM_MAILBOX_GREW);
      REQUIRE(grown.size() == 4);
      std::uint64_t threshold = 4096;
      for (const smarm_mailbox_info& m : grown) {
        CHECK(m.depth >= threshold);
        CHECK(m.depth <= threshold + 1024);
        threshold *= 2;
        CHECK(smarm::Pid(m.receiver) == stuck.pid());
        CHECK(std::string(m.receiver_name) == "stuck");
        CHECK(m.group == kGroup);
        CHECK(m.account == kAccount);
        CHECK(smarm::Pid(m.sender) == flood);
        CHECK(std::string(m.sender_name) == "flood");
        CHECK(m.sender_account == 0);
        CHECK(m.bytes >= m.depth * 116);
        CHECK(m.bytes <= m.depth * 200);
      }
      CHECK(stuck.drain() == 40'000);
    });
  }

  TEST_CASE("several senders at once, and a thread that is no worker") {
    run_at_each_worker_count([] {
      const Notices notices(4096);
      Stuck stuck;
      std::vector<smarm::JoinHandle> senders;
      for (int s = 0; s < 4; ++s) {
        senders.push_back(smarm::spawn([tx = stuck.tx] {
          for (int i = 0; i < 10'000; ++i) (void)tx.send({});
        }));
      }
      for (auto& end : smarm::join_all(senders)) CHECK(end);
      const auto by_actors = notices.of(SMARM_MAILBOX_GREW);
      CHECK(by_actors.size() >= 2);
      CHECK(by_actors.size() <= 4);
      std::thread([tx = stuck.tx] {
        for (int i = 0; i < 60'000; ++i) (void)tx.send({});
      }).join();
      const auto all = notices.of(SMARM_MAILBOX_GREW);
      REQUIRE(all.size() > by_actors.size());
      CHECK(smarm::Pid(all.back().sender) == smarm::ROOT_PID);
      CHECK(stuck.drain() == 100'000);
    });
  }

  TEST_CASE("the list has what was far behind, with its depth now, until it is gone") {
    run_at_each_worker_count([] {
      const Billed billed;
      CHECK(mailboxes().empty());
      {
        Stuck stuck;
        for (int i = 0; i < 400; ++i) CHECK(stuck.tx.send({}));
        CHECK(mailboxes().empty());
        for (int i = 0; i < 2000; ++i) CHECK(stuck.tx.send({}));
        const auto all = mailboxes();
        REQUIRE(all.size() == 1);
        CHECK(all[0].depth == 2400);
        CHECK(all[0].account == kAccount);
        CHECK(std::string(all[0].receiver_name) == "stuck");
        CHECK(stuck.drain() == 2400);
      }
      CHECK(mailboxes().empty());
    });
  }

  TEST_CASE("a receiver that never had to wait is known, too") {
    run_at_each_worker_count([] {
      auto [tx, rx] = smarm::channel<Payload>();
      auto [started, when_started] = smarm::channel<int>();
      CHECK(tx.send({}));
      auto receiver = smarm::spawn({.name = "quick"}, [rx = std::move(rx), started]() mutable {
        (void)rx.recv();
        (void)started.send(1);
        smarm::park_current();
      });
      (void)when_started.recv();
      for (int i = 0; i < 2000; ++i) CHECK(tx.send({}));
      const auto all = mailboxes();
      REQUIRE(all.size() == 1);
      CHECK(smarm::Pid(all[0].receiver) == receiver.pid());
      CHECK(std::string(all[0].receiver_name) == "quick");
      smarm::unpark(receiver.pid());
      CHECK(receiver.join());
    });
  }

  TEST_CASE("nobody has waited there yet: the group is that of the maker") {
    run_at_each_worker_count([] {
      const Billed billed;
      CHECK(spawn_billed("maker", [] {
              auto [tx, rx] = smarm::channel<Payload>();
              for (int i = 0; i < 2000; ++i) CHECK(tx.send({}));
              const auto all = mailboxes();
              REQUIRE(all.size() == 1);
              CHECK(smarm::Pid(all[0].receiver) == smarm::ROOT_PID);
              CHECK(all[0].account == kAccount);
            }).join());
    });
  }

  TEST_CASE("at its limit it refuses, hands the value back, and takes again when there is room") {
    run_at_each_worker_count([] {
      const Billed billed(4096);
      const Notices notices(0);
      Stuck stuck;
      long sent = 0, refused = 0;
      for (int i = 0; i < 10'000; ++i) {
        Payload p{};
        p[0] = 'x';
        auto r = stuck.tx.send(p);
        if (r) {
          ++sent;
        } else {
          ++refused;
          CHECK(r.error().reason == smarm::SendFailure::full);
          CHECK(r.error().value[0] == 'x');
        }
      }
      CHECK(sent == 4096);
      CHECK(refused == 10'000 - 4096);
      CHECK(billed.stats().mailbox_refused == static_cast<std::uint64_t>(refused));
      CHECK(billed.stats().mailbox_limit == 4096);
      const auto told = notices.of(SMARM_MAILBOX_FULL);
      REQUIRE(told.size() == 1);
      CHECK(told[0].depth == 4096);
      CHECK(told[0].account == kAccount);
      CHECK(notices.of(SMARM_MAILBOX_GREW).empty());
      // Lifted while it is full, and set again.
      CHECK(smarm_account_limit_mailboxes(kAccount, 0) == SMARM_OK);
      for (int i = 0; i < 5000; ++i) CHECK(stuck.tx.send({}));
      CHECK(smarm_account_limit_mailboxes(kAccount, 4096) == SMARM_OK);
      bool full = false;
      for (int i = 0; i < 1024 && !full; ++i) full = !stuck.tx.send({});
      CHECK(full);
      auto more = stuck.tx;
      const auto before = more.len();
      auto sender = smarm::spawn([more] {
        CHECK(yield_until([&] { return more.len() < 100; }));
        for (int i = 0; i < 3000; ++i) (void)more.send({});
      });
      more = {};
      CHECK(stuck.drain() >= static_cast<long>(before));
      CHECK(sender.join());
    });
  }

  TEST_CASE("others without a limit do not meet it, nor does what a supervisor's channel gets") {
    run_at_each_worker_count([] {
      const Billed billed(2048);
      CHECK(spawn_billed("supervisor", [] {
              auto [tx, rx] = smarm::channel<smarm::Signal>();
              smarm::register_supervisor_channel(smarm::self_pid(), tx);
              for (int i = 0; i < 3000; ++i) (void)smarm::spawn([] {}).join();
              for (int i = 0; i < 3000; ++i) CHECK(tx.send(smarm::Exit{smarm::self_pid()}));
              for (int i = 0; i < 3000; ++i) (void)smarm::spawn([] {}).join();
              CHECK(rx.len() == 9000);
            }).join());
      auto [tx, rx] = smarm::channel<Payload>();  // the first actor's, of no group
      for (int i = 0; i < 5000; ++i) CHECK(tx.send({}));
      CHECK(rx.len() == 5000);
      CHECK(billed.stats().mailbox_refused == 0);
    });
  }

  TEST_CASE("four senders at a limit: it is exceeded by little, and nothing is lost") {
    run_at_each_worker_count([] {
      const Billed billed(8192);
      Stuck stuck;
      std::atomic<long> sent = 0;
      std::vector<smarm::JoinHandle> senders;
      for (int s = 0; s < 4; ++s) {
        senders.push_back(smarm::spawn([tx = stuck.tx, &sent] {
          for (int i = 0; i < 10'000; ++i) {
            if (tx.send({})) ++sent;
          }
        }));
      }
      for (auto& end : smarm::join_all(senders)) CHECK(end);
      CHECK(sent >= 8192);
      CHECK(sent <= 8192 + 8192);
      CHECK(stuck.drain() == sent);
    });
  }
}
