// smarmctl without its main: the command line in, text out, an exit code.
#pragma once

#include <ostream>

namespace smarmd {

// Blocks until the daemon has answered or the time is up. 0 ok, 1 what was asked for did not work,
// 2 usage, 3 daemon unreachable, 4 invalid config, 5 valid but needs restart, 6 timeout.
int run_smarmctl(int argc, const char* const* argv, std::ostream& out, std::ostream& err);

}  // namespace smarmd
