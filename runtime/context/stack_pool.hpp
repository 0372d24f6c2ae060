// Stacks: power-of-two slots carved from large mappings, recycled, each with a guard below it.
//
//      slot base                                                      top
//      | guard: the lower quarter, no access | usable, committed as it is touched |
//
// A slab is one MAP_NORESERVE mapping of many slots, without huge pages (they would commit 2 MiB
// for one actor). Guards are installed in bulk when slots are carved: by MADV_GUARD_INSTALL where
// the kernel has it (6.13), which splits no mapping, else by mprotect, which costs two mappings a
// stack out of vm.max_map_count; the pool then knows its limit and refuses instead of failing
// half-way. Slabs are never unmapped: a pointer into a dead stack meets memory, not a stranger's
// mapping.
//
// Threads: StackPool is shared and locked; a StackCache belongs to one worker and meets the pool in
// batches only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <span>
#include <vector>

namespace smarm {

inline constexpr std::size_t kMinStackShift = 14;  // 16 KiB
inline constexpr std::size_t kMaxStackShift = 26;  // 64 MiB
inline constexpr std::size_t kStackClasses = kMaxStackShift - kMinStackShift + 1;

// The class whose slots hold at least `bytes`, guard included; clamped to the range.
std::uint8_t stack_class_of(std::size_t bytes);

// One slot. Plain data: who holds it gives it back.
struct Stack {
  char* base = nullptr;
  std::uint8_t cls = 0;

  explicit operator bool() const { return base != nullptr; }
  std::size_t slot_size() const { return std::size_t{1} << (cls + kMinStackShift); }
  std::size_t guard_size() const { return (std::size_t{1} << kMinStackShift) / 4 << cls; }
  char* bottom() const { return base + guard_size(); }
  char* top() const { return base + slot_size(); }
};

enum class GuardKind : std::uint8_t { automatic, install, protect };

class StackPool {
 public:
  // `guards` other than automatic is for tests of one mechanism.
  explicit StackPool(GuardKind guards = GuardKind::automatic);
  ~StackPool();
  StackPool(const StackPool&) = delete;
  StackPool& operator=(const StackPool&) = delete;

  // The process's pool: pids, and so stacks, belong to no single runtime.
  static StackPool& instance();

  // Fills up to n slots; fewer (set_last_error) at a limit or when memory is out. Prefers warm
  // slots, whose top page is resident.
  std::size_t acquire(std::uint8_t cls, Stack* out, std::size_t n);
  // Gives slots of one class back. Once more stacks rest warm than are in use, their pages go back
  // to the kernel; the deep pages of those that rest, with every kTrimTurn-th batch.
  void release(const Stack* stacks, std::size_t n);

  // A promise of one slot, asked for before an actor is made, so that the refusal comes at the
  // spawn. Free where guards cost no mappings.
  [[nodiscard]] bool reserve() { return limit_ == SIZE_MAX || reserve_counted(); }
  void unreserve() {
    if (limit_ != SIZE_MAX) unreserve_counted();
  }

  GuardKind guard_kind() const { return guards_; }
  std::size_t limit() const {
    return limit_;
  }  // most stacks at once; SIZE_MAX when nothing limits them
  std::size_t carved() const;  // slots that have a guard
  std::size_t in_use() const;  // slots that are not in the pool: actors', and those of caches

  static constexpr std::size_t kBatch = 32;        // slots a system call
  static constexpr std::size_t kTrimTurn = 8;      // batches
  static constexpr std::size_t kLeastWarm = 4096;  // warm slots that are kept in any case

 private:
  struct Class {
    char* next = nullptr;  // the first slot of the newest slab that was not carved
    char* end = nullptr;
    std::size_t next_slab_slots = 32;
    std::size_t in_use = 0;    // handed out
    std::size_t released = 0;  // batches that came back
    std::vector<char*> warm, cold;
  };
  bool reserve_counted();
  void unreserve_counted();
  bool carve(std::uint8_t cls, Class& c);
  std::size_t guard(char* base, std::size_t slot, std::size_t n);
  void release_batch(std::span<const Stack> stacks);

  GuardKind guards_;
  std::size_t limit_ = SIZE_MAX;
  std::size_t max_map_count_ = 0;
  mutable std::mutex mutex_;  // rank: stack pool; a slab is made under it, so it is no spinlock
  Class classes_[kStackClasses];
  std::size_t carved_ = 0;
  std::size_t reserved_ = 0;
  std::vector<std::pair<char*, std::size_t>> slabs_;
  std::vector<unsigned> known_to_valgrind_;  // in a build for it
};

// A worker's own few stacks of the runtime's size.
class StackCache {
 public:
  static constexpr std::size_t kCapacity = 64;

  StackCache(StackPool& pool, std::uint8_t cls) : pool_(pool), cls_(cls) {}
  ~StackCache() { pool_.release(slots_, count_); }
  StackCache(const StackCache&) = delete;
  StackCache& operator=(const StackCache&) = delete;

  StackPool& pool() { return pool_; }
  Stack acquire(std::uint8_t cls) {
    if (cls == cls_) [[likely]] {
      if (count_ == 0) count_ = pool_.acquire(cls, slots_, kCapacity / 2);
      return count_ ? slots_[--count_] : Stack{};
    }
    Stack s{};
    pool_.acquire(cls, &s, 1);
    return s;
  }
  void release(Stack s) {
    if (s.cls != cls_) return pool_.release(&s, 1);
    if (count_ == kCapacity) [[unlikely]] {
      pool_.release(slots_, kCapacity / 2);  // the ones used longest ago
      for (std::size_t i = kCapacity / 2; i < kCapacity; ++i) slots_[i - kCapacity / 2] = slots_[i];
      count_ = kCapacity / 2;
    }
    slots_[count_++] = s;
  }

 private:
  StackPool& pool_;
  const std::uint8_t cls_;
  std::size_t count_ = 0;
  Stack slots_[kCapacity];
};

}  // namespace smarm
