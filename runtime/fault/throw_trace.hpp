// The throw behind the interposed one.
#pragma once

#include <typeinfo>

namespace smarm {

using ThrowFunction = void (*)(void*, std::type_info*, void (*)(void*));

// The C++ runtime's own __cxa_throw: what is thrown by it leaves no trace with its actor.
ThrowFunction real_throw();

}  // namespace smarm
