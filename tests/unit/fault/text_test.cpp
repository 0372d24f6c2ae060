// Whose code an address is in.
#include "runtime/fault/text.hpp"
#include "runtime/sched/park.hpp"

#include <smarm/smarm.hpp>

#include <dlfcn.h>
#include <doctest/doctest.h>
#include <unwind.h>

#include <cstdlib>
#include <stdexcept>

namespace {

using namespace smarm;

template <class F>
Text text_of(F* f, bool plugins_only = false) {
  return text_at(reinterpret_cast<std::uintptr_t>(f), plugins_only);
}
Text text_of_name(const char* name) {
  return text_at(reinterpret_cast<std::uintptr_t>(::dlsym(RTLD_NEXT, name)), false);
}

[[gnu::noipa]] void own() {}

TEST_SUITE("fault text") {
  TEST_CASE("the runtime, libc and libgcc are told from everybody else's code") {
    learn_text();
    CHECK(text_of(&own) == Text::user);
    CHECK(text_of(&::smarm_version) == Text::runtime);
    CHECK(text_of(&::smarm_runtime_create) == Text::runtime);
    CHECK(text_of(&smarm::unwind_self) == Text::runtime);
    CHECK(text_of(static_cast<void* (*)(std::size_t)>(&::operator new)) == Text::runtime);
    CHECK(text_of_name("malloc") == Text::host);
    CHECK(text_of_name("abort") == Text::host);
    CHECK(text_of_name("_dl_find_object") == Text::host);
    CHECK(text_of(&::_Unwind_Resume) == Text::unwinder);
    CHECK(text_of_name("_ZSt20__throw_length_errorPKc") == Text::user);
  }

  TEST_CASE("of a program that hosts plugins nothing is a plugin's") {
    learn_text();
    CHECK(text_of(&own, true) == Text::host);
    CHECK(text_of_name("_ZSt20__throw_length_errorPKc") == Text::user);
  }
}

}  // namespace
