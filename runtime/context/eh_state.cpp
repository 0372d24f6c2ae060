#include "runtime/context/eh_state.hpp"

#include <cxxabi.h>

namespace smarm {

EhState* thread_eh_state() noexcept { return reinterpret_cast<EhState*>(abi::__cxa_get_globals()); }

}  // namespace smarm
