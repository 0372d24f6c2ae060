// smarm.h: the core as other languages call it.
#include "tests/unit/public/support.hpp"

#include <cstdint>
#include <cstring>
#include <string>

using namespace test;

namespace {

// A closure as a C program would make one.
struct Job {
  void (*run)(void*);
  void* arg;
  int* dropped;
};

void job_entry(void* closure, int op) {
  Job job = *static_cast<Job*>(closure);
  smarm_block_free(closure, sizeof(Job));
  if (op == SMARM_RUN) return job.run(job.arg);
  if (job.dropped) ++*job.dropped;
}

void* make_job(void (*run)(void*), void* arg, int* dropped = nullptr) {
  void* block = smarm_block_alloc(sizeof(Job));
  REQUIRE(block != nullptr);
  return ::new (block) Job{run, arg, dropped};
}

int run_c(unsigned workers, void (*body)(void*), void* arg) {
  smarm_config config;
  smarm_config_init(&config);
  config.workers = workers;
  smarm_runtime* runtime = smarm_runtime_create(&config);
  REQUIRE(runtime != nullptr);
  smarm_exit* exit = nullptr;
  const int status = smarm_runtime_run(runtime, &job_entry, make_job(body, arg), &exit);
  CHECK(exit == nullptr);
  if (exit) smarm_exit_release(exit);
  CHECK(smarm_runtime_live(runtime) == 0);
  smarm_runtime_destroy(runtime);
  return status;
}

}  // namespace

TEST_SUITE("public c api") {
  TEST_CASE("outside an actor the core answers SMARM_E_NOT_ACTOR") {
    CHECK(smarm_self().generation == 0);
    CHECK(smarm_runtime_current() == nullptr);
    CHECK(smarm_yield() == SMARM_E_NOT_ACTOR);
    CHECK(smarm_park() == SMARM_E_NOT_ACTOR);
    CHECK(smarm_sleep(1) == SMARM_E_NOT_ACTOR);
    CHECK(smarm_wait_readable(0, 0) == SMARM_E_NOT_ACTOR);
    CHECK(smarm_unpark({5, 5}) == SMARM_E_STALE);
    CHECK(smarm_actor_alive({0, 0}) == 0);
    CHECK(smarm_actor_alive({5, 5}) == 0);
    CHECK(smarm_actor_alive({UINT32_MAX, 1}) == 0);
    CHECK(std::strlen(smarm_version()) > 0);
  }

  TEST_CASE("spawn, join and an exit record") {
    for_each_worker_count([](unsigned workers) {
      auto body = [](void*) {
        int dropped = 0;
        smarm_actor* handle = nullptr;
        smarm_pid pid{};
        CHECK(smarm_spawn(
                  nullptr, &job_entry,
                  make_job([](void*) { throw std::string("thrown in C++"); }, nullptr, &dropped),
                  &handle, &pid) == SMARM_OK);
        CHECK(smarm_actor_pid(handle).index == pid.index);
        CHECK(smarm_actor_alive(smarm_self()) == 1);
        smarm_exit* exit = nullptr;
        CHECK(smarm_join(handle, &exit) == SMARM_OK);
        REQUIRE(exit != nullptr);
        CHECK(smarm_exit_kind(exit) == SMARM_EXIT_PANIC);
        CHECK(smarm_exit_pid(exit).generation == pid.generation);
        CHECK(std::string(smarm_exit_type(exit)).find("string") != std::string::npos);
        smarm_exit_release(exit);
        CHECK(dropped == 0);
        CHECK(smarm_unpark(pid) == SMARM_E_STALE);
        CHECK(smarm_actor_alive(pid) == 0);
      };
      CHECK(run_c(workers, body, nullptr) == SMARM_OK);
    });
  }

  TEST_CASE("a run inside a run answers SMARM_E_NESTED and leaves the closure to the caller") {
    auto body = [](void*) {
      smarm_config config;
      smarm_config_init(&config);
      config.workers = 1;
      smarm_runtime* inner = smarm_runtime_create(&config);
      REQUIRE(inner != nullptr);
      int dropped = 0;
      void* closure = make_job([](void*) {}, nullptr, &dropped);
      CHECK(smarm_runtime_run(inner, &job_entry, closure, nullptr) == SMARM_E_NESTED);
      CHECK(dropped == 0);
      job_entry(closure, SMARM_DROP);
      CHECK(dropped == 1);
      smarm_runtime_destroy(inner);
    };
    CHECK(run_c(1, body, nullptr) == SMARM_OK);
  }

  TEST_CASE("an untyped channel carries bytes, and drops what is left with the given function") {
    static std::atomic<int> drops;
    drops = 0;
    auto body = [](void*) {
      smarm_channel* channel = smarm_channel_create(0, [](void*) { ++drops; });
      REQUIRE(channel != nullptr);
      for (int i = 0; i < 3; ++i) {
        void* message = smarm_message_alloc(sizeof i);
        std::memcpy(message, &i, sizeof i);
        CHECK(reinterpret_cast<std::uintptr_t>(message) % 16 == 0);
        CHECK(smarm_channel_send(channel, message) == SMARM_OK);
      }
      CHECK(smarm_channel_len(channel) == 3);
      void* message = nullptr;
      CHECK(smarm_channel_recv(channel, SMARM_FOREVER, &message) == SMARM_OK);
      int first = -1;
      std::memcpy(&first, message, sizeof first);
      CHECK(first == 0);
      CHECK(drops == 0);  // the payload is the caller's now
      CHECK(smarm_channel_try_recv(channel, &message) == SMARM_OK);
      smarm_channel_drop_receiver(channel);
      CHECK(drops == 1);
      void* late = smarm_message_alloc(4);
      CHECK(smarm_channel_send(channel, late) == SMARM_E_CLOSED);
      smarm_message_free(late);
      smarm_channel_drop_sender(channel);
    };
    CHECK(run_c(1, body, nullptr) == SMARM_OK);
  }

  TEST_CASE("groups: inherited, counted and killed together") {
    for_each_worker_count([](unsigned workers) {
      auto body = [](void*) {
        CHECK(smarm_group() == 0);
        auto leader = [](void*) {
          CHECK(smarm_group() == 77);
          for (int i = 0; i < 5; ++i)
            CHECK(smarm_spawn(nullptr, &job_entry,
                              make_job([](void*) { (void)smarm_park(); }, nullptr), nullptr,
                              nullptr) == SMARM_OK);
          (void)smarm_park();
        };
        smarm_spawn_options options{};
        options.struct_size = sizeof options;
        options.flags = SMARM_SPAWN_GROUP;
        options.group = 77;
        smarm_actor* handle = nullptr;
        smarm_pid pid{};
        CHECK(smarm_spawn(&options, &job_entry, make_job(leader, nullptr), &handle, &pid) ==
              SMARM_OK);
        CHECK(yield_until([] { return smarm_group_count(77) == 6; }));
        CHECK(smarm_group_kill(77, pid) == 5);
        CHECK(yield_until([] { return smarm_group_count(77) == 1; }));
        CHECK(smarm_unpark(pid) == SMARM_OK);
        smarm_exit* exit = nullptr;
        CHECK(smarm_join(handle, &exit) == SMARM_OK);
        CHECK(exit == nullptr);
        CHECK(smarm_group_count(77) == 0);
      };
      CHECK(run_c(workers, body, nullptr) == SMARM_OK);
    });
  }

  TEST_CASE("a coroutine suspends, resumes and is unwound") {
    struct State {
      int step = 0;
      bool unwound = false;
    } state;
    auto body = [](void* arg, smarm_coroutine* self) {
      State& s = *static_cast<State*>(arg);
      struct Guard {
        State& s;
        ~Guard() { s.unwound = true; }
      } guard{s};
      for (;;) {
        ++s.step;
        smarm_coroutine_suspend(self);
      }
    };
    smarm_coroutine* coroutine = smarm_coroutine_create(body, &state);
    REQUIRE(coroutine != nullptr);
    CHECK(state.step == 0);
    CHECK(smarm_coroutine_resume(coroutine) == 1);
    CHECK(smarm_coroutine_resume(coroutine) == 1);
    CHECK(state.step == 2);
    CHECK_FALSE(state.unwound);
    smarm_coroutine_destroy(coroutine);
    CHECK(state.unwound);

    smarm_coroutine* short_one = smarm_coroutine_create([](void*, smarm_coroutine*) {}, nullptr);
    CHECK(smarm_coroutine_resume(short_one) == 0);
    smarm_coroutine_destroy(short_one);
  }

  TEST_CASE("smarm_tick counts as an allocation: a loop of ticks is preempted") {
    struct State {
      std::atomic<bool> released = false;
    } state;
    auto body = [](void* arg) {
      auto hog = smarm::spawn([&s = *static_cast<State*>(arg)] {
        while (!s.released) smarm_tick();
      });
      auto peer = smarm::spawn([&s = *static_cast<State*>(arg)] { s.released = true; });
      CHECK(hog.join());
      CHECK(peer.join());
    };
    CHECK(run_c(1, body, &state) == SMARM_OK);
  }

  TEST_CASE("the actor list names actors, states and supervisors") {
    run_at_each_worker_count([] {
      auto child = smarm::spawn({.name = "listed"}, [] { smarm::park_current(); });
      CHECK(yield_until_parked(child.pid()));
      std::vector<smarm_actor_info> actors(16);
      const std::size_t there = smarm_actor_list(actors.data(), actors.size());
      CHECK(there >= 2);
      bool found = false;
      for (std::size_t i = 0; i < std::min(there, actors.size()); ++i) {
        if (smarm::Pid(actors[i].pid) != child.pid()) continue;
        found = true;
        CHECK(std::string(actors[i].name) == "listed");
        CHECK(smarm::Pid(actors[i].supervisor) == smarm::self_pid());
        CHECK(actors[i].where != nullptr);
      }
      CHECK(found);
      CHECK(smarm::unpark(child.pid()));
      CHECK(child.join());
    });
  }
}
