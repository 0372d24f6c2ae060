// MpscList: a lock-free list that many threads and actors push to and one thread empties.
//
// Why not a mutex and a deque: an actor may be preempted inside operator new, and an actor that is
// switched out while it holds a lock stops everybody else. A push here allocates nothing and holds
// nothing. The list is a Treiber stack that the consumer takes whole and turns around: there is no
// moment in which a pusher that was interrupted half-way hides the records of others (a linked FIFO
// queue has one), and since the consumer never pops single nodes there is no ABA.
//
// Invariants
// 1. A node belongs to its pusher until push(), to the list until take_all(), then to the consumer.
// 2. take_all() returns nodes in the order in which their pushes took effect.
#pragma once

#include <atomic>

namespace smarmd {

template <typename Node>  // has a member `Node* next`
class MpscList {
 public:
  MpscList() = default;
  MpscList(const MpscList&) = delete;
  MpscList& operator=(const MpscList&) = delete;
  ~MpscList() {
    for (Node* node = take_all(); node;) {
      Node* next = node->next;
      delete node;
      node = next;
    }
  }

  // [any] Wait-free but for the retries of a contended exchange. True when the list was empty.
  bool push(Node* node) {
    // relaxed: only a guess, the exchange below decides.
    Node* head = head_.load(std::memory_order_relaxed);
    do {
      node->next = head;
      // seq_cst: releases the node to take_all(), and orders the push before the pusher's look at a
      // sleeping consumer.
    } while (!head_.compare_exchange_weak(head, node, std::memory_order_seq_cst,
                                          std::memory_order_relaxed));
    return head == nullptr;
  }

  // [any] seq_cst: a consumer that says "I sleep" and then sees an empty list may sleep; partner of
  // push().
  bool empty() const { return head_.load(std::memory_order_seq_cst) == nullptr; }

  // [consumer] The oldest node first, linked by `next`; nullptr when there is none.
  Node* take_all() {
    Node* node = head_.exchange(nullptr, std::memory_order_acquire);  // acquire: partner of push()
    Node* oldest = nullptr;
    while (node) {
      Node* older = node->next;
      node->next = oldest;
      oldest = node;
      node = older;
    }
    return oldest;
  }

 private:
  std::atomic<Node*> head_{nullptr};
};

}  // namespace smarmd
