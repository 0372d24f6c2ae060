// What has to be in place before the first runtime is made.
#pragma once

namespace smarm {

void install_throw_trace();
void install_floors();

}  // namespace smarm
