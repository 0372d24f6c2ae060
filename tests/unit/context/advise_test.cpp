#include "runtime/context/advise.hpp"

#include <doctest/doctest.h>
#include <sys/mman.h>

#include <cerrno>
#include <cstddef>
#include <vector>

namespace {

using smarm::advise_each;

constexpr std::size_t kPage = 4096;

TEST_SUITE("advice") {
  TEST_CASE("every range gets it, and nothing between them") {
    constexpr std::size_t kRanges = 100;
    auto* all = static_cast<char*>(::mmap(nullptr, 2 * kRanges * kPage, PROT_READ | PROT_WRITE,
                                          MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    REQUIRE(all != MAP_FAILED);
    std::vector<iovec> ranges;
    for (std::size_t i = 0; i < kRanges; ++i) {
      all[2 * i * kPage] = all[(2 * i + 1) * kPage] = 1;
      ranges.push_back({all + 2 * i * kPage, kPage});
    }
    CHECK(advise_each(ranges, MADV_DONTNEED) == kRanges);
    for (std::size_t i = 0; i < kRanges; ++i) {
      CHECK(all[2 * i * kPage] == 0);
      CHECK(all[(2 * i + 1) * kPage] == 1);
    }
    CHECK(advise_each({}, MADV_DONTNEED) == 0);
    ::munmap(all, 2 * kRanges * kPage);
  }

  TEST_CASE("it stops at a range that is refused and says why") {
    auto* all = static_cast<char*>(
        ::mmap(nullptr, 4 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    REQUIRE(all != MAP_FAILED);
    all[0] = all[3 * kPage] = 1;
    const iovec ranges[] = {{all, kPage}, {all + kPage + 1, kPage}, {all + 3 * kPage, kPage}};
    errno = 0;
    CHECK(advise_each(ranges, MADV_DONTNEED) == 1);
    CHECK(errno == EINVAL);
    CHECK(all[0] == 0);
    CHECK(all[3 * kPage] == 1);
    ::munmap(all, 4 * kPage);
  }
}

}  // namespace
