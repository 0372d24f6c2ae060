#include "daemon/supervision/notify_socket.hpp"

#include "tests/unit/daemon/supervision/service_manager.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

using namespace smarmd;
using test::ServiceManager;

namespace {

// What is on its way to a manager that reads nothing, and one more that waits.
std::vector<std::string> fill(NotifySocket& notify) {
  std::vector<std::string> sent;
  while (!notify.waiting()) {
    REQUIRE(sent.size() < 100'000);
    sent.push_back("READY=1\nSTATUS=" + std::to_string(sent.size()));
    notify.push(sent.back());
  }
  return sent;
}

// All that the manager gets once it reads.
std::vector<std::string> read_all(NotifySocket& notify, ServiceManager& manager) {
  while (notify.waiting()) {
    (void)manager.received();
    notify.send_waiting();
  }
  return manager.received();
}

std::vector<std::string> after(const std::vector<std::string>& all, std::size_t first) {
  return {all.begin() + static_cast<std::ptrdiff_t>(first), all.end()};
}

}  // namespace

TEST_CASE("notify socket: messages arrive in order, at a path and at an abstract name") {
  for (const bool abstract : {false, true}) {
    CAPTURE(abstract);
    ServiceManager manager(abstract);
    NotifySocket notify(manager.address().c_str());
    notify.push("READY=1\nSTATUS=one");
    notify.push("STATUS=two");
    CHECK_FALSE(notify.waiting());
    CHECK(manager.received() == std::vector<std::string>{"READY=1\nSTATUS=one", "STATUS=two"});
  }
}

TEST_CASE("notify socket: a manager that reads nothing is not waited for, and gets all states") {
  ServiceManager manager;
  NotifySocket notify(manager.address().c_str());
  const std::vector<std::string> first = fill(notify);
  for (const char* m : {"STATUS=1", "RELOADING=1\nMONOTONIC_USEC=7", "STATUS=2", "WATCHDOG=1",
                        "READY=1", "STATUS=3", "WATCHDOG=1", "STOPPING=1\nSTATUS=stopping"})
    notify.push(m);
  const auto all = read_all(notify, manager);
  REQUIRE(all.size() > first.size());
  CHECK(after(all, first.size()) == std::vector<std::string>{"RELOADING=1\nMONOTONIC_USEC=7",
                                                             "READY=1", "WATCHDOG=1",
                                                             "STOPPING=1\nSTATUS=stopping"});
}

TEST_CASE("notify socket: what waits is bounded") {
  ServiceManager manager;
  NotifySocket notify(manager.address().c_str());
  const std::size_t first = fill(notify).size();
  for (int i = 0; i < 1000; ++i) {
    notify.push("RELOADING=1\nMONOTONIC_USEC=" + std::to_string(i));
    notify.push("STATUS=" + std::to_string(i));
    notify.push("READY=1\nSTATUS=" + std::to_string(i));
    notify.push("WATCHDOG=1");
  }
  CHECK(after(read_all(notify, manager), first) ==
        std::vector<std::string>{"RELOADING=1\nMONOTONIC_USEC=999", "READY=1\nSTATUS=999",
                                 "WATCHDOG=1"});
}

TEST_CASE("notify socket: after STOPPING no reload is told") {
  ServiceManager manager;
  NotifySocket notify(manager.address().c_str());
  notify.push("STOPPING=1");
  notify.push("RELOADING=1");
  notify.push("READY=1");
  notify.push("STATUS=stopping: 1 plugin running");
  CHECK(manager.received() ==
        std::vector<std::string>{"STOPPING=1", "STATUS=stopping: 1 plugin running"});
}

TEST_CASE("notify socket: without a manager, or with one that is gone, nothing waits") {
  for (const char* address : {static_cast<const char*>(nullptr), "", "@", "relative", "vsock:2:1",
                              "/nonexistent/socket"}) {
    NotifySocket notify(address);
    notify.push("READY=1");
    CHECK_FALSE(notify.waiting());
  }
  auto manager = std::make_unique<ServiceManager>();
  NotifySocket notify(manager->address().c_str());
  fill(notify);
  manager.reset();
  notify.send_waiting();
  CHECK_FALSE(notify.waiting());
}
