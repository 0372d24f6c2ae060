// System calls on files, carried out by the ring: of an actor that is not being unwound, outside a
// section. Each parks, whatever it comes to; a kill waits. A count or a descriptor, or an errno
// below zero. What may take long (a look at a disk, a large copy) the kernel does on threads of its
// own.
#pragma once

#include <cstddef>

namespace smarm {

bool ring_serves_files();  // the caller is such an actor, and its runtime's backend is the ring
long open_by_ring(const char* path, int flags, unsigned mode);
long size_by_ring(int fd);  // 0 of what is no regular file
// Where the file's position is, which moves on.
long read_by_ring(int fd, void* buffer, std::size_t size);
long write_by_ring(int fd, const void* buffer, std::size_t size);
long close_by_ring(int fd);

}  // namespace smarm
