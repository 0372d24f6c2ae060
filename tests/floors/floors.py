#!/usr/bin/env python3
"""Checks that the floors of runtime/ hold: a lower floor never includes a higher one.

    floors.py ROOT             checks the tree at ROOT; one line per broken rule; exits 1 when there is one
    floors.py ROOT --selftest  plants one violation per rule in a copy of the tree and expects each to be found

The rules are the tables below. A new room of runtime/ must be given its floor here before it may hold a file.
"""

import pathlib
import re
import shutil
import sys
import tempfile

# Lowest first. A room includes its own floor and lower ones; rooms of one floor do not include each other in a circle.
FLOORS = [
    {"base"},
    {"context", "timer", "trace"},
    {"actor"},
    {"sched", "preempt"},
    {"sync"},
    {"io", "supervision", "fault"},
    {"facade"},
]
FLOOR_OF = {room: level for level, rooms in enumerate(FLOORS) for room in rooms}

# Public headers that hold declarations of the binary interface only, so that every floor may name its types.
PUBLIC_FOR_ALL = {"smarm/smarm.h"}
# The plugin author's face: it needs the daemon's side of the contract, which no part of the runtime knows.
PUBLIC_FOR_NONE = {"smarm/plugin.hpp"}
# The floor from which on the C++ face may be used: its templates call into every floor below.
PUBLIC_CXX_FROM = FLOOR_OF["io"]

# JSON, logging, formatting, the command line and the service manager live in daemon/; tests bring their own framework.
FOREIGN = re.compile(r"^(nlohmann|spdlog|fmt|CLI|systemd|doctest)(/|\.h)|^CLI11\.hpp$")
SOURCES = {".hpp", ".h", ".cpp", ".cc", ".c", ".S", ".inc"}
INCLUDE = re.compile(r'^[ \t]*#[ \t]*(?:include|import|include_next)[ \t]*(?:"([^"\n]+)"|<([^>\n]+)>|(\S[^\n]*))', re.M)
# What a public header may take from outside: C++ headers have no dot and no slash; these are the others.
C_HEADERS = {"stddef.h", "stdint.h", "cxxabi.h"}


def strip_comments(text):
    """Blanks comments (keeping line numbers) so that an #include in prose does not count."""
    pattern = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"', re.S)
    return pattern.sub(lambda m: m[0] if m[0][0] == '"' else re.sub(r"[^\n]", " ", m[0]), text)


def includes(path):
    """Yields (line, target, quoted) for every #include; target is None when a macro hides it."""
    text = strip_comments(path.read_text(encoding="utf-8"))
    for match in INCLUDE.finditer(text):
        line = text.count("\n", 0, match.start()) + 1
        yield line, match[1] or match[2], match[1] is not None


def check_public(target, quoted):
    if quoted:
        return "a public header includes <smarm/...> and the standard library only"
    if target.startswith("smarm/"):
        return None
    if re.fullmatch(r"[a-z_0-9]+", target) or target in C_HEADERS:
        return None
    return "a public header includes <smarm/...> and the standard library only"


def check_internal(room, name, target, quoted):
    level = FLOOR_OF[room]
    if FOREIGN.search(target):
        return "this library belongs to daemon/ or tests/, never to runtime/"
    if target.startswith("liburing") and not (room == "io" and "uring" in name):
        return "liburing is for the io_uring backend only (runtime/io/*uring*)"
    if target.startswith("smarm/"):
        if target in PUBLIC_FOR_NONE:
            return "the runtime does not know the plugin author's face"
        if target not in PUBLIC_FOR_ALL and level < PUBLIC_CXX_FROM:
            return "below io/supervision/fault only <smarm/smarm.h> is allowed of the public face"
        return None
    if target.startswith("runtime/include/"):
        return "public headers are included as <smarm/...>"
    if target.startswith("runtime/"):
        other = target.split("/")[1]
        if other not in FLOOR_OF:
            return f"'{other}' is no room of runtime/ that tests/floors/floors.py knows"
        if FLOOR_OF[other] > level:
            return f"floor {level} ({room}) includes floor {FLOOR_OF[other]} ({other})"
        return None
    if quoted:
        return 'an include in quotes is rooted at the repository and stays in runtime/: "runtime/ROOM/FILE"'
    return None


def check_siblings(edges):
    """Rooms of one floor may lean on each other one way only: edges is {(from, to): (file, line)}."""
    for (room, other), (where, line) in sorted(edges.items()):
        if room < other and (other, room) in edges:
            there, there_line = edges[(other, room)]
            yield f"{where}:{line}: {room} and {other} include each other (see {there}:{there_line})"


def check(root):
    """Returns (number of files looked at, list of violations)."""
    runtime = root / "runtime"
    public = runtime / "include"
    problems, edges, seen = [], {}, 0
    for path in sorted(p for p in runtime.rglob("*") if p.is_file() and p.suffix in SOURCES):
        seen += 1
        where = path.relative_to(root)
        is_public = path.is_relative_to(public)
        room = where.parts[1] if len(where.parts) > 2 else ""
        if not is_public and room not in FLOOR_OF:
            problems.append(f"{where}:1: '{room or where.name}' has no floor; give it one in tests/floors/floors.py")
            continue
        for line, target, quoted in includes(path):
            if target is None:
                problem = "an include through a macro cannot be checked; write the name out"
            elif is_public:
                problem = check_public(target, quoted)
            else:
                problem = check_internal(room, path.name, target, quoted)
                other = target.split("/")[1] if target.startswith("runtime/") and target.count("/") > 1 else room
                if other != room and FLOOR_OF.get(other) == FLOOR_OF[room]:
                    edges.setdefault((room, other), (where, line))
            if problem:
                problems.append(f"{where}:{line}: {'<macro>' if target is None else target}: {problem}")
    problems.extend(check_siblings(edges))
    return seen, problems


# (file, line to add, words of the complaint). Each must be found, alone, in a copy of the tree.
PLANTED = [
    ("runtime/base/planted.hpp", '#include "runtime/sched/worker.hpp"', "floor 0 (base) includes floor 3 (sched)"),
    ("runtime/context/planted.cpp", '#include "runtime/actor/actor.hpp"', "floor 1 (context) includes floor 2 (actor)"),
    ("runtime/actor/planted.hpp", '#  include  "runtime/sched/worker.hpp"', "floor 2 (actor) includes floor 3 (sched)"),
    ("runtime/sched/planted.cpp", "#include <runtime/sync/channel.hpp>", "floor 3 (sched) includes floor 4 (sync)"),
    ("runtime/sync/planted.cpp", '#include "runtime/io/poller.hpp"', "floor 4 (sync) includes floor 5 (io)"),
    ("runtime/io/planted.hpp", '#include "runtime/facade/api.hpp"', "floor 5 (io) includes floor 6 (facade)"),
    ("runtime/facade/planted.cpp", '#include "daemon/config/config.hpp"', "stays in runtime/"),
    ("runtime/facade/planted.cpp", '#include "../base/assert.hpp"', "rooted at the repository"),
    ("runtime/facade/planted.cpp", "#include <smarm/plugin.hpp>", "plugin author's face"),
    ("runtime/sched/planted.cpp", "#include <smarm/channel.hpp>", "only <smarm/smarm.h>"),
    ("runtime/facade/planted.cpp", "#include <nlohmann/json.hpp>", "belongs to daemon/"),
    ("runtime/facade/planted.cpp", "#include <spdlog/spdlog.h>", "belongs to daemon/"),
    ("runtime/facade/planted.cpp", "#include <CLI/CLI.hpp>", "belongs to daemon/"),
    ("runtime/facade/planted.cpp", "#include <systemd/sd-daemon.h>", "belongs to daemon/"),
    ("runtime/io/epoll_planted.cpp", "#include <liburing.h>", "liburing is for the io_uring backend only"),
    ("runtime/facade/planted.cpp", "#define X <vector>\n#include X", "through a macro"),
    ("runtime/attic/planted.cpp", "#include <vector>", "has no floor"),
    ("runtime/include/smarm/planted.hpp", '#include "runtime/base/assert.hpp"', "the standard library only"),
    ("runtime/include/smarm/planted.hpp", "#include <sys/epoll.h>", "the standard library only"),
    ("runtime/include/smarm/planted.hpp", "#include <nlohmann/json.hpp>", "the standard library only"),
]
# Lines that look like a violation and are none.
INNOCENT = [
    ("runtime/base/planted.hpp", '// #include "runtime/sched/worker.hpp"'),
    ("runtime/base/planted.hpp", '/* why not:\n#include "runtime/sched/worker.hpp"\n*/'),
    ("runtime/io/uring_planted.cpp", "#include <liburing.h>"),
    ("runtime/facade/planted.cpp", "#include <smarm/smarm.hpp>"),
    ("runtime/include/smarm/planted.hpp", "#include <smarm/pid.hpp>"),
]


def with_planted(root, files):
    """The violations of a copy of ROOT's runtime/ with these files added."""
    with tempfile.TemporaryDirectory() as scratch:
        copy = pathlib.Path(scratch)
        shutil.copytree(root / "runtime", copy / "runtime")
        for name, text in files:
            path = copy / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text + "\n", encoding="utf-8")
        return check(copy)[1]


def selftest(root):
    failures = []
    for name, text, words in PLANTED:
        found = [p for p in with_planted(root, [(name, text)]) if p.startswith(name)]
        if len(found) != 1 or words not in found[0]:
            failures.append(f"planted in {name}: {text!r}: expected one complaint with {words!r}, got {found}")
    for name, text in INNOCENT:
        found = [p for p in with_planted(root, [(name, text)]) if p.startswith(name)]
        if found:
            failures.append(f"innocent in {name}: {text!r}: got {found}")
    circle = [("runtime/timer/planted.hpp", '#include "runtime/trace/planted.hpp"'),
              ("runtime/trace/planted.hpp", '#include "runtime/timer/planted.hpp"')]
    if not any("timer and trace include each other" in p for p in with_planted(root, circle)):
        failures.append("two rooms of one floor that include each other were not found")
    print("\n".join(failures) or f"{len(PLANTED) + 1} planted violations found, {len(INNOCENT)} innocent lines passed")
    return 1 if failures else 0


def main(argv):
    if len(argv) not in (2, 3) or argv[2:] not in ([], ["--selftest"]):
        print(__doc__, file=sys.stderr)
        return 2
    root = pathlib.Path(argv[1]).resolve()
    if not (root / "runtime" / "include" / "smarm" / "smarm.h").is_file():
        print(f"floors: {root} is not the repository: runtime/include/smarm/smarm.h is missing", file=sys.stderr)
        return 2
    if argv[2:]:
        return selftest(root)
    seen, problems = check(root)
    print("\n".join(problems) if problems else f"floors hold: {seen} files of runtime/")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
