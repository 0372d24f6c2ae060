#include "tests/bench/report.hpp"
#include "tests/bench/counters.hpp"

#include <algorithm>
#include <cstdio>

namespace bench {
namespace {

std::string worker_text(unsigned workers) { return workers == 0 ? "-" : std::to_string(workers); }

}  // namespace

void Report::head() const {
  if (options_.json) return;
  if (options_.peers.empty()) {
    std::printf("%-20s %7s %12s %12s %12s\n", "benchmark", "workers", "median", "min", "max");
    return;
  }
  std::printf("%-24s %7s %-4s %12s", "benchmark", "workers", "unit", "ours");
  for (const Peer& peer : options_.peers) std::printf(" %12s", peer.name.c_str());
  std::printf("  ours/best peer\n");
}

void Report::row(const Benchmark& b, unsigned workers, const Measured& ours,
                 const std::vector<Measured>& peers) {
  for (std::size_t i = 0; i < peers.size(); ++i) {
    if (!options_.peers[i].program.empty() && peers[i].end == Output::End::failed)
      note(options_.peers[i].name + " failed at " + b.name + ", workers " + worker_text(workers) +
           ": " + peers[i].reason);
  }
  if (ours.end != Output::End::ok)
    note(b.name + " was not measured, workers " + worker_text(workers) + ": " +
         (ours.reason.empty() ? "not on this machine" : ours.reason));
  for (std::size_t f = 0; f < b.figures.size(); ++f) {
    const std::string name = b.name + b.figures[f].suffix;
    const std::string& unit = b.figures[f].unit;
    const bool have = ours.end == Output::End::ok;
    if (have && f == 0) baselines_[b.name] = ours.figures[0].median;
    if (options_.json) {
      if (have) json(name, unit, workers, ours.figures[f], "");
      for (std::size_t i = 0; i < peers.size(); ++i) {
        if (peers[i].end == Output::End::ok)
          json(name, unit, workers, peers[i].figures[f], options_.peers[i].name);
      }
    } else if (options_.peers.empty()) {
      if (have) plain_row(b, name, unit, workers, ours.figures[f]);
    } else {
      peer_row(b, name, unit, workers, ours, peers, f);
    }
  }
  std::fflush(stdout);
}

void Report::json(const std::string& name, const std::string& unit, unsigned workers,
                  const Result& r, const std::string& peer) const {
  std::printf(
      "{\"bench\":\"%s\",\"workers\":%u,\"value\":%.3f,\"unit\":\"%s\",\"min\":%.3f,\"max\":%.3f",
      name.c_str(), workers, r.median, unit.c_str(), r.min, r.max);
  if (!peer.empty()) std::printf(",\"peer\":\"%s\"", peer.c_str());
  std::printf("}\n");
}

void Report::plain_row(const Benchmark& b, const std::string& name, const std::string& unit,
                       unsigned workers, const Result& r) {
  std::printf("%-20s %7s %12.1f %12.1f %12.1f %-4s", name.c_str(), worker_text(workers).c_str(),
              r.median, r.min, r.max, unit.c_str());
  print_baseline(b, name, r);
  std::printf("\n");
}

void Report::print_baseline(const Benchmark& b, const std::string& name, const Result& r) const {
  const auto base = baselines_.find(b.baseline);
  if (base != baselines_.end() && name == b.name)
    std::printf("  %.3f x %s", r.median / base->second, b.baseline.c_str());
}

void Report::peer_row(const Benchmark& b, const std::string& name, const std::string& unit,
                      unsigned workers, const Measured& ours, const std::vector<Measured>& peers,
                      std::size_t figure) {
  std::printf("%-24s %7s %-4s", name.c_str(), worker_text(workers).c_str(), unit.c_str());
  const bool have = ours.end == Output::End::ok;
  if (have) {
    std::printf(" %12.1f", ours.figures[figure].median);
  } else {
    std::printf(" %12s", "-");
  }
  double best = 0;
  for (std::size_t i = 0; i < options_.peers.size(); ++i) {
    if (i < peers.size() && peers[i].end == Output::End::ok) {
      const double value = peers[i].figures[figure].median;
      best = best == 0 ? value : std::min(best, value);
      std::printf(" %12.1f", value);
    } else {
      const bool failed = i < peers.size() && peers[i].end == Output::End::failed &&
                          !options_.peers[i].program.empty();
      std::printf(" %12s", failed ? "failed" : "-");
    }
  }
  if (have && best > 0) std::printf("  %.3f", ours.figures[figure].median / best);
  if (have) print_baseline(b, name, ours.figures[figure]);
  std::printf("\n");
}

void Report::counters(const Benchmark& b, unsigned workers,
                      const std::vector<std::pair<std::string, double>>& counts) const {
  if (counts.empty()) return;
  if (options_.json) {
    std::printf("{\"bench\":\"%s\",\"workers\":%u,\"counters\":{", b.name.c_str(), workers);
    const char* comma = "";
    for (const auto& [name, n] : counts) {
      std::printf("%s\"%s\":%.6f", comma, name.c_str(), n);
      comma = ",";
    }
    std::printf("}}\n");
  } else {
    std::printf("    each:");
    for (const auto& [name, n] : counts) {
      if (n > 0) std::printf("  %s %.4g", name.c_str(), n);
    }
    std::printf("\n");
  }
  std::fflush(stdout);
}

void Report::note(const std::string& text) {
  notes_.push_back(text);
  if (options_.json) std::fprintf(stderr, "bench: %s\n", text.c_str());
}

void Report::foot() const {
  std::FILE* to = options_.json ? stderr : stdout;
  for (const Peer& peer : options_.peers) {
    if (peer.program.empty())
      std::fprintf(to, "%s is missing: %s\n", peer.name.c_str(), peer.reason.c_str());
  }
  if (const std::string why = options_.counters ? no_syscalls_reason() : ""; !why.empty())
    std::fprintf(to, "system calls were not counted: %s\n", why.c_str());
  if (options_.json) return;  // said already
  for (const std::string& text : notes_) std::printf("%s\n", text.c_str());
}

}  // namespace bench
