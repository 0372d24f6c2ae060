// Structs of smarm.h that begin with struct_size: the caller may have been compiled with another
// version.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>

namespace smarm {

// What the caller has room for.
template <class T>
void fill_struct(T& out, T all) {
  const std::size_t room = std::min<std::size_t>(out.struct_size, sizeof(T));
  all.struct_size = out.struct_size;
  std::memcpy(static_cast<void*>(&out), &all, room);
}

}  // namespace smarm
