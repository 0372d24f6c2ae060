// Advice about many ranges of memory at once: one system call for a batch of stacks where the
// kernel takes it (process_madvise to oneself, Linux 6.13), else one for each.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <span>

namespace smarm {

// madvise(advice) for each range, in order. Returns how many were done; fewer than all: errno says
// why the next one was refused. A range is whole pages of one mapping.
std::size_t advise_each(std::span<const iovec> ranges, int advice);

}  // namespace smarm
