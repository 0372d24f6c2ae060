// ./dev bench --wire: what a request costs a server, beside bare loops and other runtimes. The
// server has the first CPU for itself, the load the last one. Measured in rounds, each server once
// a round, so that what the machine does meanwhile falls on all.

#include "tests/bench/programs.hpp"
#include "tests/bench/wire/load.hpp"
#include "tests/bench/wire/server_process.hpp"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace {

using bench::Result;
using bench::summary;

// Where a server runs.
struct Place {
  std::uint16_t port;
  std::filesystem::path directory;  // empty, gone afterwards
};

struct Server {
  std::string name;
  std::function<std::vector<std::string>(const Place&)> command;
};

struct Case {
  std::string name;
  unsigned connections;
  std::string request;
  bool echo;
  std::vector<Server> servers;  // the first one is what the others are compared with
  bool idle = false;            // what is measured is memory, once the connections have been idle
  bool spread = false;          // the server runs on every CPU, beside the load
};

struct Options {
  int runs = 15;
  bool json = false;
  std::vector<std::string> names;
  std::map<std::string, std::string> programs;  // of peers
};

// What one server's runs gave.
struct Figures {
  std::string failure;
  std::vector<double> per_second, cpu_us, p50, p99, p999;
  std::vector<double> bytes;  // of memory for a connection
};

// Long enough for those that put idle connections to sleep after a second.
constexpr auto kIdleTime = std::chrono::seconds(4);

constexpr const char* kUsage =
    "usage: wire [--json] [--runs N] [--program NAME=PATH]... [NAME...]\n";

Options parse(int argc, char** argv) {
  Options o;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    const bool more = i + 1 < argc;
    if (word == "--json") {
      o.json = true;
    } else if (word == "--runs" && more) {
      o.runs = std::max(1, std::atoi(argv[++i]));
    } else if (word == "--program" && more) {
      const std::string both = argv[++i];
      const std::size_t equals = both.find('=');
      if (equals == std::string::npos) throw std::runtime_error(kUsage);
      o.programs[both.substr(0, equals)] = both.substr(equals + 1);
    } else if (word.starts_with("-")) {
      throw std::runtime_error(kUsage);
    } else {
      o.names.push_back(word);
    }
  }
  return o;
}

std::filesystem::path build_directory() {
  return std::filesystem::path(bench::self())
      .parent_path()
      .parent_path()
      .parent_path()
      .parent_path();
}

// Of the program beside this one.
Server own(const char* name, const char* kind) {
  const std::string program = std::filesystem::path(bench::self()).parent_path() / "wire_server";
  return {name, [program, kind](const Place& p) {
            return std::vector<std::string>{program, kind, std::to_string(p.port)};
          }};
}

Server peer(const std::string& name, const std::string& program, const char* kind) {
  return {name, [program, kind](const Place& p) {
            return std::vector<std::string>{program, kind, "1", std::to_string(p.port)};
          }};
}

// The daemon with one worker and one plugin.
Server daemon(const std::string& plugin, const std::string& backend) {
  return {backend == "epoll" ? "smarmd" : "smarmd " + backend, [plugin, backend](const Place& p) {
            namespace fs = std::filesystem;
            fs::create_directories(p.directory / "plugins");
            const std::string file = plugin + ".so";
            fs::copy(build_directory() / "plugins" / plugin / file, p.directory / "plugins" / file);
            const std::string at = p.directory.native();
            std::ofstream(p.directory / "smarmd.json")
                << R"({"runtime": {"threads": 1, "io_backend": ")" << backend
                << R"("}, "plugins": {"directory": ")" << at << R"(/plugins", "state_directory": ")"
                << at << R"(/state", "overrides": {")" << plugin
                << R"(": {"config": {"listen": "127.0.0.1:)" << p.port
                << R"(", "max_connections": 20000}}}}, "control": {"socket": ")" << at
                << R"(/control.sock"}, "metrics": {"listen": ""}})";
            return std::vector<std::string>{build_directory() / "daemon/smarmd", "--config",
                                            p.directory / "smarmd.json"};
          }};
}

Server nginx(const std::string& program) {
  return {"nginx", [program](const Place& p) {
            const std::string at = p.directory.native();
            std::ofstream config(p.directory / "nginx.conf");
            config << "daemon off; master_process off; worker_processes 1; error_log stderr; pid "
                   << at
                   << "/pid;\nevents { worker_connections 20000; }\nhttp { access_log off; "
                      "keepalive_requests 1000000000; keepalive_timeout 300;\n";
            for (const char* kind : {"client_body", "proxy", "fastcgi", "uwsgi", "scgi"})
              config << kind << "_temp_path " << at << "/" << kind << ";\n";
            config << "server { listen 127.0.0.1:" << p.port
                   << " backlog=4096; location /hello { default_type text/plain; return 200 "
                      "\"hello\\n\"; } } }\n";
            return std::vector<std::string>{program, "-p", at, "-c", at + "/nginx.conf"};
          }};
}

std::vector<Case> cases(const Options& o) {
  std::vector<Server> echo = {
      own("bare epoll", "epoll"),    own("bare with stacks", "epoll_stacks"),
      own("bare io_uring", "uring"), own("bare multishot", "uring_multishot"),
      own("smarm", "actors"),        own("smarm io_uring", "actors_uring"),
      daemon("echo", "epoll"),       daemon("echo", "io_uring")};
  std::vector<Server> http = {own("bare epoll", "epoll_http"), own("bare io_uring", "uring_http"),
                              daemon("http", "epoll"), daemon("http", "io_uring")};
  for (const auto& [name, program] : o.programs) {
    if (name == "nginx") {
      http.push_back(nginx(program));
      continue;
    }
    echo.push_back(peer(name, program, "serve_echo"));
    if (name == "photon") {
      echo.push_back(peer("photon edges", program, "serve_echo_edges"));
      echo.push_back(peer("photon io_uring", program, "serve_echo_io_uring"));
    }
    if (name == "go") http.push_back(peer(name, program, "serve_http"));
  }
  const std::string request(64, 'x');
  const std::string get = "GET /hello HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: load\r\n\r\n";
  std::vector<Server> idle = echo;
  idle.push_back(own("smarm hibernating", "hibernating"));
  return {
      {"echo_50", 50, request, true, echo},
      {"echo_1000", 1000, request, true, echo},
      {"echo_beside_hog",
       50,
       request,
       true,
       {own("smarm", "actors"), own("allocating hog", "beside_allocating"),
        own("spinning hog", "beside_spinning")}},
      {"http_50", 50, get, false, http},
      {"http_1000", 1000, get, false, http},
      {"echo_two_workers",
       50,
       request,
       true,
       {own("smarm", "actors"), own("two workers", "two_workers"),
        own("two, io_uring", "two_workers_uring")},
       false,
       true},
      {"idle_10000", 10'000, request, true, idle, true},
  };
}

// A directory that goes with its object.
class Directory {
 public:
  Directory() {
    std::string name = std::filesystem::temp_directory_path() / "wire.XXXXXX";
    if (!::mkdtemp(name.data())) throw std::runtime_error("no temporary directory");
    path_ = name;
  }
  ~Directory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  Directory(const Directory&) = delete;
  Directory& operator=(const Directory&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

void measure(const Case& c, const Server& server, unsigned cpu, const std::string& log,
             Figures& figures) {
  const std::uint16_t port = wire::free_port();
  const Directory directory;
  const wire::ServerProcess process(server.command({port, directory.path()}),
                                    c.spread ? std::nullopt : std::optional(cpu), log);
  if (!wire::wait_for_port(port, std::chrono::seconds(10))) {
    figures.failure = "nobody listens; see " + log;
    return;
  }
  std::uint64_t cpu_ns = 0;
  double bytes = 0;
  const wire::Load load{
      .port = port, .connections = c.connections, .request = c.request, .echo = c.echo};
  const auto empty = static_cast<double>(process.memory_bytes());
  const auto at_end = [&] {
    cpu_ns = process.cpu_ns() - cpu_ns;
    if (!c.idle) return;
    std::this_thread::sleep_for(kIdleTime);
    bytes = (static_cast<double>(process.memory_bytes()) - empty) / c.connections;
  };
  const wire::Answered a = wire::put_load(load, [&] { cpu_ns = process.cpu_ns(); }, at_end);
  if (!a.failure.empty() || process.ended()) {
    figures.failure = process.ended() ? "the server has ended; see " + log : a.failure;
    return;
  }
  const double requests = a.per_second * std::chrono::duration<double>(load.measured).count();
  figures.per_second.push_back(a.per_second);
  figures.cpu_us.push_back(static_cast<double>(cpu_ns) / 1000 / requests);
  figures.p50.push_back(a.p50_us);
  figures.p99.push_back(a.p99_us);
  figures.p999.push_back(a.p999_us);
  if (c.idle) figures.bytes.push_back(bytes);
}

void print_json(const Case& c, const Server& s, const Figures& f) {
  const auto line = [&](const char* figure, const char* unit, const std::vector<double>& values) {
    const Result r = summary(values);
    std::printf(
        "{\"bench\":\"%s%s\",\"server\":\"%s\",\"value\":%.3f,\"unit\":\"%s\",\"min\":%.3f,"
        "\"max\":%.3f}\n",
        c.name.c_str(), figure, s.name.c_str(), r.median, unit, r.min, r.max);
  };
  if (c.idle) return line("_bytes", "B", f.bytes);
  line("", "1/s", f.per_second);
  line("_cpu", "us", f.cpu_us);
  line("_p50", "us", f.p50);
  line("_p99", "us", f.p99);
  line("_p999", "us", f.p999);
}

// The median of the ratios within each round: what the machine does meanwhile falls on both.
double ratio(const std::vector<double>& ours, const std::vector<double>& base) {
  std::vector<double> ratios;
  for (std::size_t i = 0; i < std::min(ours.size(), base.size()); ++i)
    ratios.push_back(ours[i] / base[i]);
  return summary(ratios).median;
}

void print_row(const Case& c, const Server& s, const Figures& f, const Figures& base) {
  if (c.idle) {
    std::printf("%-16s %-16s %9.0f bytes a connection\n", c.name.c_str(), s.name.c_str(),
                summary(f.bytes).median);
    return;
  }
  std::printf("%-16s %-16s %9.0f %9.2f %8.0f %8.0f %8.0f", c.name.c_str(), s.name.c_str(),
              summary(f.per_second).median, summary(f.cpu_us).median, summary(f.p50).median,
              summary(f.p99).median, summary(f.p999).median);
  if (base.failure.empty())
    std::printf(" %7.3f %7.3f %7.3f", ratio(f.per_second, base.per_second),
                ratio(f.cpu_us, base.cpu_us), ratio(f.p99, base.p99));
  std::printf("\n");
}

void run(const Case& c, const Options& o, unsigned cpu) {
  std::vector<Figures> all(c.servers.size());
  const std::string log =
      std::filesystem::temp_directory_path() / ("wire." + std::to_string(::getpid()) + ".log");
  const int runs = c.idle ? 1 : o.runs;  // memory does not drift
  for (int round = 0; round < runs; ++round) {
    for (std::size_t i = 0; i < c.servers.size(); ++i) {
      if (all[i].failure.empty()) measure(c, c.servers[i], cpu, log, all[i]);
    }
  }
  bool failed = false;
  for (std::size_t i = 0; i < c.servers.size(); ++i) {
    if (!all[i].failure.empty()) {
      failed = true;
      std::fprintf(stderr, "%s, %s: %s\n", c.name.c_str(), c.servers[i].name.c_str(),
                   all[i].failure.c_str());
    } else if (o.json) {
      print_json(c, c.servers[i], all[i]);
    } else {
      print_row(c, c.servers[i], all[i], all[0]);
    }
  }
  std::fflush(stdout);
  if (!failed) std::filesystem::remove(log);
}

}  // namespace

int main(int argc, char** argv) try {
  const Options o = parse(argc, argv);
  const long cpus = ::sysconf(_SC_NPROCESSORS_ONLN);
  if (cpus < 2) throw std::runtime_error("a server and its load need a CPU each");
  wire::stay_on(static_cast<unsigned>(cpus) - 1);
  rlimit files{};
  ::getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &files);  // for the servers too
  if (!o.json)
    std::printf("%-16s %-16s %9s %9s %8s %8s %8s %7s %7s %7s\n", "case", "server", "req/s",
                "CPU us/rq", "p50 us", "p99 us", "p99.9", "x rate", "x CPU", "x p99");
  bool any = false;
  for (const Case& c : cases(o)) {
    if (!o.names.empty() && std::ranges::find(o.names, c.name) == o.names.end()) continue;
    any = true;
    run(c, o, 0);
  }
  if (!any) throw std::runtime_error("there is no such case");
  return 0;
} catch (const std::exception& e) {
  std::fprintf(stderr, "%s\n", e.what());
  return 2;
}
