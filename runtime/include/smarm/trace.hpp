// Tracing: spans and events into per-worker rings. Off by default; when it is off SMARM_TRACE
// evaluates none of its arguments.
//
//   SMARM_TRACE("request", id);            an event with up to two numbers
//   { smarm::trace::Span span("parse"); }  two events: a = 1 at the start, a = 0 at the end
//
// Names must outlive the trace: string literals. The rings overwrite their oldest events and count
// what was lost.
#pragma once

#include <smarm/smarm.h>

#include <cstdint>
#include <vector>

namespace smarm::trace {

using Event = smarm_trace_event;

inline void enable(bool on) { smarm_trace_enable(on ? 1 : 0); }
inline bool enabled() { return __atomic_load_n(&smarm_trace_on, __ATOMIC_RELAXED) != 0; }
inline void record(const char* name, std::uint64_t a = 0, std::uint64_t b = 0) {
  smarm_trace_record(name, a, b);
}
// Takes what the rings hold, oldest first for each worker.
inline std::vector<Event> read() {
  std::vector<Event> events(std::size_t{1} << 16);
  events.resize(smarm_trace_read(events.data(), events.size()));
  return events;
}
inline std::uint64_t dropped() { return smarm_trace_dropped(); }

class Span {
 public:
  explicit Span(const char* name) : name_(enabled() ? name : nullptr) {
    if (name_) record(name_, 1);
  }
  ~Span() {
    if (name_) record(name_, 0);
  }
  Span(const Span&) = delete;
  Span& operator=(const Span&) = delete;

 private:
  const char* name_;
};

}  // namespace smarm::trace

#define SMARM_TRACE(...)                        \
  do {                                          \
    if (::smarm::trace::enabled()) [[unlikely]] \
      ::smarm::trace::record(__VA_ARGS__);      \
  } while (0)
