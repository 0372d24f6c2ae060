#include "runtime/fault/notice.hpp"

#include "runtime/fault/culprit.hpp"
#include "runtime/sched/park.hpp"
#include "runtime/sched/stack_room.hpp"

#include <array>
#include <cstddef>
#include <cstdio>
#include <functional>
#include <mutex>
#include <optional>
#include <string_view>

namespace smarm {

namespace {

std::mutex mutex;  // rank: notices; held while the handler is called
NoticeHandler handler = nullptr;
void* handler_arg = nullptr;

// What has been told, by a hash; the oldest is forgotten.
std::array<std::size_t, 256> told{};
std::size_t next_told = 0;

constexpr std::ptrdiff_t kRoom = 8192;  // of the stack, for the handler

bool is_news(std::string_view subject, std::string_view image) {
  const std::size_t mark =
      std::hash<std::string_view>()(subject) * 31 + std::hash<std::string_view>()(image) + 1;
  for (std::size_t t : told) {
    if (t == mark) return false;
  }
  told[next_told++ % told.size()] = mark;
  return true;
}

}  // namespace

void set_notice_handler(NoticeHandler next, void* arg) {
  const std::lock_guard lock(mutex);
  handler = next;
  handler_arg = arg;
}

void tell(smarm_notice_kind kind, const void* culprit, const char* subject, const char* text) {
  // An actor that were unwound in here would take the lock with it.
  if (short_of_stack(kRoom)) return;
  std::optional<Section> section;
  if (Worker* w = current_worker()) section.emplace(w);
  const Actor* self = current_actor();
  smarm_notice notice{};
  notice.kind = kind;
  if (self) {
    notice.pid = self->pid();
    notice.group = self->group.load(std::memory_order_relaxed);
  }
  notice.image = image_of_code(culprit);
  notice.text = text;
  const std::lock_guard lock(mutex);
  if (*subject && !is_news(subject, notice.image)) return;
  if (handler) return handler(&notice, handler_arg);
  std::fprintf(stderr, "smarm: %s%s%s\n", notice.image, *notice.image ? ": " : "", text);
}

}  // namespace smarm
