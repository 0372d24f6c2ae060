#include "daemon/log/mpsc_list.hpp"

#include <doctest/doctest.h>

#include <memory>
#include <thread>
#include <vector>

using smarmd::MpscList;

namespace {

struct Node {
  Node* next = nullptr;
  int owner = 0;
  int number = 0;
};

void push(MpscList<Node>& list, int owner, int number) {
  auto node = std::make_unique<Node>();
  node->owner = owner;
  node->number = number;
  list.push(node.release());
}

}  // namespace

TEST_CASE("mpsc list: what one thread pushes comes out in that order") {
  MpscList<Node> list;
  CHECK(list.empty());
  CHECK(list.take_all() == nullptr);
  for (int i = 0; i < 5; ++i) push(list, 0, i);
  CHECK_FALSE(list.empty());
  int expected = 0;
  for (Node* next = list.take_all(); next;) {
    std::unique_ptr<Node> node(next);
    next = node->next;
    CHECK(node->number == expected++);
  }
  CHECK(expected == 5);
  CHECK(list.empty());
}

TEST_CASE("mpsc list: push tells whether the list was empty") {
  MpscList<Node> list;
  CHECK(list.push(new Node));
  CHECK_FALSE(list.push(new Node));
}

TEST_CASE("mpsc list: many pushers lose nothing and keep their own order") {
  constexpr int kThreads = 4, kEach = 20'000;
  MpscList<Node> list;
  std::vector<int> seen(kThreads, 0);
  int total = 0;
  bool in_order = true;
  {
    std::vector<std::jthread> pushers;
    for (int t = 0; t < kThreads; ++t) {
      pushers.emplace_back([&list, t] {
        for (int i = 0; i < kEach; ++i) push(list, t, i);
      });
    }
    while (total < kThreads * kEach) {
      for (Node* next = list.take_all(); next;) {
        std::unique_ptr<Node> node(next);
        next = node->next;
        in_order &= node->number == seen[static_cast<std::size_t>(node->owner)]++;
        ++total;
      }
    }
  }
  CHECK(in_order);
  CHECK(list.empty());
}

TEST_CASE("mpsc list: frees what nobody took") {
  struct Counted {
    Counted* next = nullptr;
    std::shared_ptr<int> life;
  };
  auto life = std::make_shared<int>(0);
  {
    MpscList<Counted> list;
    for (int i = 0; i < 3; ++i) {
      auto node = std::make_unique<Counted>();
      node->life = life;
      list.push(node.release());
    }
    CHECK(life.use_count() == 4);
  }
  CHECK(life.use_count() == 1);
}
