// --counters: how often the runtime, the allocator and the kernel did something for one operation,
// so that a regression can be explained. Counted in one more measurement after the timed ones.
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace bench {

// Starts counting; from then on every per_op counts. Called before any runtime is made: threads
// that exist already are not seen.
void start_counting();
bool counting();

// Calls f and keeps what was counted meanwhile, as that of `ops` operations.
void count(double ops, const std::function<void()>& f);

// Name and count per operation, of the last count(); empty when there was none. Forgets it.
std::vector<std::pair<std::string, double>> take_counts();

// Why system calls are not among the counters; empty when they are.
std::string no_syscalls_reason();

// Calls of malloc, calloc, realloc and the aligned ones, in all threads, while counting.
unsigned long allocations();
void count_allocations();

}  // namespace bench
