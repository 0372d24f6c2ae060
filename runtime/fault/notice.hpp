// What is told of code that reached out of its actor, and was kept from it: to the handler that the
// program has set (smarm.h), else as a line on stderr.
#pragma once

#include <smarm/smarm.h>

namespace smarm {

using NoticeHandler = void (*)(const smarm_notice*, void* arg);

// Calls that are under way end first.
void set_notice_handler(NoticeHandler handler, void* arg);

// Tells once per `subject` and image of the culprit, an address in its code; an empty subject:
// every time. Not in a signal handler, nor in a section.
void tell(smarm_notice_kind kind, const void* culprit, const char* subject, const char* text);

}  // namespace smarm
