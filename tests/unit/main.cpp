// The runner of every doctest program of the tree.
//
// Five things differ from doctest's own main:
// 1. An option that doctest does not know, or a filter that matches no case, fails the run (doctest
// would call both a success).
// 2. The name of a case is printed before it runs, so that the log of a run that was killed says
// where it was.
// 3. A case that is skipped by its own decorator, with a description that says why, is named: the
// count of a run has it. Not when cases were asked for by name. When every case is, so is the run.
// 4. A run that asks for io_uring where there is none is skipped.
// 5. doctest's signal handlers are left out: signals and alternate stacks belong to the runtime
// under test.
#define DOCTEST_CONFIG_IMPLEMENT
#define DOCTEST_CONFIG_NO_POSIX_SIGNALS
#include <doctest/doctest.h>

#include "tests/runner/ring_available.hpp"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#if SMARM_VALGRIND
#include <valgrind/memcheck.h>
#endif

namespace {

constexpr int kExitUsage = 2;
constexpr int kExitNothingRan = 3;
constexpr int kExitSkipped = 77;  // meson's word for it

// The options a person or ./dev passes on. doctest takes each with or without the prefix `dt-`.
constexpr std::array<std::string_view, 14> kValueOptions = {
    "test-case", "tc",       "test-case-exclude", "tce",       "test-suite", "ts",  "source-file",
    "sf",        "order-by", "rand-seed",         "reporters", "subcase",    "out", "abort-after"};
constexpr std::array<std::string_view, 12> kFlags = {"count",     "list-test-cases",
                                                     "ltc",       "list-test-suites",
                                                     "success",   "s",
                                                     "duration",  "d",
                                                     "no-colors", "no-skip",
                                                     "ns",        "help"};

bool is_known(std::string_view argument) {
  for (std::string_view dash : {"--", "-"}) {
    if (!argument.starts_with(dash)) continue;
    std::string_view name = argument.substr(dash.size());
    if (name.starts_with("dt-")) name.remove_prefix(3);
    const auto equals = name.find('=');
    name = name.substr(0, equals);
    if (std::ranges::find(kFlags, name) != kFlags.end()) return true;
    if (equals != std::string_view::npos &&
        std::ranges::find(kValueOptions, name) != kValueOptions.end())
      return true;
  }
  return false;
}

unsigned cases_run = 0, cases_skipped = 0;
bool filtered = false;
std::string_view wanted_suite;  // empty: all

// Whether a case that did not run was meant to.
bool is_wanted(const doctest::TestCaseData& data) {
  return !filtered && (wanted_suite.empty() || wanted_suite == data.m_test_suite);
}

void look_for_filter(std::string_view argument) {
  constexpr std::string_view kSuite = "--test-suite=";
  if (argument.starts_with(kSuite)) {
    wanted_suite = argument.substr(kSuite.size());
  } else if (argument.contains('=')) {
    filtered = true;
  }
}

struct Progress : doctest::IReporter {
  explicit Progress(const doctest::ContextOptions&) {}
  void report_query(const doctest::QueryData&) override {}
  void test_run_start() override {}
  void test_run_end(const doctest::TestRunStats&) override {}
  void test_case_start(const doctest::TestCaseData& data) override {
    ++cases_run;
    std::printf("case: %s\n", data.m_name);
    std::fflush(stdout);
  }
  void test_case_reenter(const doctest::TestCaseData&) override {}
  void test_case_end(const doctest::CurrentTestCaseStats&) override {}
  void test_case_exception(const doctest::TestCaseException&) override {}
  void subcase_start(const doctest::SubcaseSignature&) override {}
  void subcase_end() override {}
  void log_assert(const doctest::AssertData&) override {}
  void log_message(const doctest::MessageData&) override {}
  void test_case_skipped(const doctest::TestCaseData& data) override {
    if (!data.m_skip || !data.m_description || !is_wanted(data)) return;
    ++cases_skipped;
    std::printf("SKIP: %s: %s\n", data.m_name, data.m_description);
    std::fflush(stdout);  // a case that forks would say it again
  }
};

}  // namespace

REGISTER_LISTENER("progress", 1, Progress);

int main(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    look_for_filter(argv[i]);
    if (is_known(argv[i])) continue;
    std::fprintf(stderr,
                 "%s: '%s' is no option of this runner; a filter is --test-case='*words*', --help "
                 "lists all\n",
                 argv[0], argv[i]);
    return kExitUsage;
  }
  // The same cases on the other backend (tests/unit/public/support.hpp).
  const char* backend = std::getenv("SMARM_TEST_IO_BACKEND");
  if (backend && std::string_view(backend) == "io_uring") {
    if (const std::string why = test::no_ring(); !why.empty()) {
      std::printf("SKIP: every case with io_uring: %s\n", why.c_str());
      return kExitSkipped;
    }
  }
#if SMARM_VALGRIND
  // Where cases fault on purpose: the fault is tested, not that memcheck sees it.
  VALGRIND_MAKE_MEM_DEFINED(0x1234'5678'9000, 4096);
#endif
  doctest::Context context(argc, argv);
  const int result = context.run();
  if (context.shouldExit()) return result;  // a query such as --list-test-cases
  if (cases_run == 0 && cases_skipped > 0) return kExitSkipped;
  if (cases_run == 0) {
    std::fprintf(
        stderr,
        "%s: no test case ran: the filter matches none; --list-test-cases shows the names\n",
        argv[0]);
    return kExitNothingRan;
  }
  return result;
}
