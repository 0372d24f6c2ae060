// Cases that some builds leave out, each with the reason, which the runner prints and counts.
#pragma once

#include <doctest/doctest.h>

// Where a loop is stopped by a signal.
#if defined(__SANITIZE_THREAD__)
#define SIGNAL_CASE(name) \
  TEST_CASE(name* doctest::skip() * doctest::description("ThreadSanitizer holds signals back"))
#elif SMARM_VALGRIND
#define SIGNAL_CASE(name)     \
  TEST_CASE(                  \
      name* doctest::skip() * \
      doctest::description("without XSAVEC, which Valgrind has not, no signal stops a loop"))
#else
#define SIGNAL_CASE(name) TEST_CASE(name)
#endif

// Where an actor that blocks its thread is found.
#if SMARM_VALGRIND
#define BLOCKED_CASE(name)          \
  TEST_CASE(name* doctest::skip() * \
            doctest::description("in a system call a thread is on a stack of Valgrind's own"))
#else
#define BLOCKED_CASE(name) TEST_CASE(name)
#endif
