// Files that are no good plugins: one clear line each, and nothing else stops running.
#include "tests/integration/daemon_process.hpp"

#include <algorithm>
#include <filesystem>

using namespace integration;

namespace {

struct Case {
  const char* fixture;
  const char* says;  // a part of the line
};

constexpr Case kRefused[] = {
    {"no_note", "note"},
    {"wrong_abi", "ABI"},
    {"throws_in_static_init", "no licence file"},
    {"hangs_in_static_init", "static constructor"},
    {"crashes_in_static_init", "SIGSEGV"},
    {"exits_in_static_init", "exit"},
    {"missing_symbol", "function_of_a_missing_library"},
    {"future_call", "smarm_from_the_future"},
    {"own_operator_new", "operator new"},
    {"private_operator_new", "operator new"},
    {"executable_stack", "execstack"},
};

}  // namespace

TEST_SUITE("bad_files") {
  TEST_CASE(
      "each bad file gives one line that names it and the reason; the neighbour never stops") {
    DaemonProcess d;
    d.install("steady");
    d.start_ready();
    const std::string neighbour = d.plugin("steady").at("pid");
    for (const Case& c : kRefused) d.install(c.fixture);
    for (const Case& c : kRefused) {
      CAPTURE(c.fixture);
      const std::string file = (d.plugins() / (std::string(c.fixture) + ".so")).native();
      const std::string message = d.wait_log("plugin.refused", {{"file", file}}).at("message");
      CHECK(message.starts_with(file + ": "));
      CHECK(message.find(c.says) != std::string::npos);
      CHECK(message.find('\n') == std::string::npos);
      CHECK(d.logged("plugin.refused", {{"file", file}}).size() == 1);
    }
    CHECK(d.plugin("steady").at("pid") == neighbour);
    CHECK(d.plugin("wrong_abi").at("state") == "refused");
    CHECK(d.stop() == 0);
  }

  TEST_CASE(
      "--probe by hand says of each bad file, in one line and in time, what the daemon says") {
    const Output good = run_program({SMARMD_PROGRAM, "--probe", fixture_file("steady").native()});
    CHECK(good.exit == 0);
    CHECK(good.out == "ok: steady 1.0.0\n");
    for (const Case& c : kRefused) {
      CAPTURE(c.fixture);
      const std::string file = fixture_file(c.fixture).native();
      const Output output = run_program({SMARMD_PROGRAM, "--probe", file});
      CHECK(output.exit == 1);
      CHECK(output.err.starts_with(file + ": "));
      CHECK(output.err.find(c.says, file.size()) != std::string::npos);
      CHECK(std::ranges::count(output.err, '\n') == 1);
    }
    CHECK(run_program({SMARMD_PROGRAM, "--probe", "/nonexistent.so"}).exit == 1);
  }

  TEST_CASE("what is no ELF file, empty or half-copied is refused, and the whole file starts") {
    DaemonProcess d;
    d.start_ready();
    const std::string whole = read_file(fixture_file("steady"));
    d.install_bytes("#!/bin/sh\necho hello\n", "script.so");
    d.install_bytes("", "empty.so");
    d.install_bytes(whole.substr(0, whole.size() / 2), "steady.so");
    d.wait_log("plugin.refused", {{"file", (d.plugins() / "script.so").native()}});
    d.wait_log("plugin.refused", {{"file", (d.plugins() / "empty.so").native()}});
    d.wait_log("plugin.refused", {{"file", (d.plugins() / "steady.so").native()}});
    d.install_bytes(whole, "steady.so");
    d.wait_log("plugin.started", {{"plugin", "steady"}});
    CHECK(d.plugin("script").at("state") == "refused");
    CHECK(d.stop() == 0);
  }

  TEST_CASE(
      "of two files with one name the later is refused, both are named, and it takes over when the "
      "first goes") {
    DaemonProcess d;
    d.install("duplicate_a", "a.so");
    d.start_ready();
    d.install("duplicate_b", "b.so");
    const std::string message =
        d.wait_log("plugin.refused", {{"plugin", "duplicate"}}).at("message");
    CHECK(message.find((d.plugins() / "a.so").native()) != std::string::npos);
    CHECK(message.find((d.plugins() / "b.so").native()) != std::string::npos);
    CHECK(d.plugin("duplicate").at("version") == "1.0.0-a");
    d.remove("a.so");
    d.wait_log("plugin.log", {{"message", "duplicate_b runs"}});
    CHECK(d.stop() == 0);
  }

  TEST_CASE(
      "a file that others may write is refused with the command that mends it, and starts once it "
      "is mended") {
    DaemonProcess d;
    d.start_ready();
    d.install("steady", "held.so");
    d.wait_log("plugin.started", {{"plugin", "steady"}});
    const std::filesystem::path open = d.plugins() / "open.so";
    std::filesystem::copy_file(fixture_file("duplicate_a"), d.plugins() / ".open");
    std::filesystem::permissions(d.plugins() / ".open", std::filesystem::perms(0666));
    std::filesystem::rename(d.plugins() / ".open", open);
    const std::string message =
        d.wait_log("plugin.refused", {{"file", open.native()}}).at("message");
    CHECK(message.find("chmod") != std::string::npos);
    std::filesystem::permissions(open, std::filesystem::perms(0644));
    d.wait_log("plugin.started", {{"plugin", "duplicate"}});
    CHECK(d.stop() == 0);
  }

  TEST_CASE("files that are no plugins by name are not looked at") {
    DaemonProcess d;
    d.install_bytes("text", "README");
    d.install_bytes("text", ".hidden.so");
    d.install_bytes("text", "plugin.so.bak");
    d.install("steady");
    d.start_ready();
    d.wait_log("plugin.started", {{"plugin", "steady"}});
    CHECK(d.logged("plugin.refused").empty());
    CHECK(d.stop() == 0);
  }
}
