#!/usr/bin/env python3
"""Picks and runs the tests of one build directory, prints the log of what failed, and counts.

    tests.py BUILD --label L --suites a,b [--filter WORDS] [--wrapper COMMAND] --counts FILE --failures FILE

Appends a line `passed failed skipped` to the first FILE, and to the second what failed, in short: the end of a run of several suites says it
again. doctest programs count by case, those among them that say `SKIP: CASE: WHY` as skipped; every other test counts as one. WORDS select the tests whose name
contains them; when there is none, the doctest cases whose name does. Each is run by COMMAND, when there is one. Exits 0 when something ran and all of it passed, else 1.
"""

import argparse
import json
import pathlib
import re
import shlex
import subprocess
import sys

SUMMARY = re.compile(r"\[doctest\] test cases:\s*(\d+)\s*\|\s*(\d+) passed\s*\|\s*(\d+) failed\s*\|\s*(\d+) skipped")
SKIPPED_CASE = re.compile(r"^SKIP: .*", re.MULTILINE)
DOCTEST_MARK = b"unskipped test cases passing the current filters"
LOG_LINES = 80
DIGEST_LINES = 30
DOCTEST_RULE = re.compile(r"^={40,}$", re.MULTILINE)
GOOD = {"OK", "EXPECTEDFAIL"}


def introspect(build):
    text = subprocess.run(["meson", "introspect", "--tests", build], check=True, capture_output=True, text=True).stdout
    return json.loads(text)


def in_suites(test, suites):
    return any(suite.split(":")[-1] in suites for suite in test["suite"])


def matching_cases(build, tests, words):
    """Of the doctest programs among these tests, those with a case whose name contains the words."""
    programs = {t["name"]: t["cmd"][0] for t in tests if t["cmd"][0].startswith(str(build))}
    targets = [str(pathlib.Path(p).relative_to(build)) for p in programs.values()]
    if not targets or subprocess.run(["ninja", "-C", str(build), *targets]).returncode != 0:
        return []
    found = []
    for name, program in programs.items():
        if DOCTEST_MARK not in pathlib.Path(program).read_bytes():
            continue
        listing = subprocess.run([program, "--list-test-cases", f"--test-case=*{words}*"], capture_output=True, text=True, timeout=60)
        if re.search(r"current filters: [1-9]", listing.stdout):
            found.append(name)
    return found


def select(build, tests, words):
    """Returns (names, extra arguments for the programs)."""
    if not words:
        return [t["name"] for t in tests], []
    names = [t["name"] for t in tests if words in t["name"]]
    if names:
        return names, []
    return matching_cases(build, tests, words), ["--test-args=" + shlex.quote(f"--test-case=*{words}*")]


def count(entry):
    """Returns (passed, failed, skipped) of one line of meson's testlog.json."""
    good = entry["result"] in GOOD
    if entry["result"] == "SKIP":
        return 0, 0, max(1, len(skipped_cases(entry)))
    summaries = SUMMARY.findall(entry.get("stdout") or "")
    # An expected failure is one test: that it failed. Children of a test may print summaries too: the last one is its own.
    if entry["result"] == "OK" and summaries:
        return int(summaries[-1][1]), int(summaries[-1][2]), len(skipped_cases(entry))
    if not good and summaries:
        return int(summaries[-1][1]), max(1, int(summaries[-1][2])), len(skipped_cases(entry))
    return (1, 0, 0) if good else (0, 1, 0)


def skipped_cases(entry):
    return SKIPPED_CASE.findall(entry.get("stdout") or "")


def show_failure(label, entry):
    print(f"\n---- {label}: {entry['name']}: {entry['result']} (exit {entry.get('returncode')}) ----")
    print("     " + " ".join(entry.get("command", [])))
    for stream in ("stdout", "stderr"):
        lines = (entry.get(stream) or "").splitlines()
        if len(lines) > LOG_LINES:
            print(f"     ... {len(lines) - LOG_LINES} earlier lines of {stream}")
        for line in lines[-LOG_LINES:]:
            print("    | " + line)


def digest(label, entry):
    """What failed in one test, in a few lines: of a doctest program the cases that failed, of any other the end of what it said."""
    output = (entry.get("stdout") or "") + (entry.get("stderr") or "")
    cases = [part.strip("\n") for part in DOCTEST_RULE.split(output) if "ERROR:" in part or "[doctest]" not in part and "TEST CASE:" in part]
    lines = [line for part in cases for line in part.splitlines()[:DIGEST_LINES]] or output.splitlines()[-DIGEST_LINES:]
    head = f"---- {label}: {entry['name']}: {entry['result']} (exit {entry.get('returncode')}) ----"
    return "\n".join([head, *("    | " + line for line in lines[: 3 * DIGEST_LINES])]) + "\n"


def show_skip(label, entry):
    for reason in skipped_cases(entry) or ["SKIP: it does not say why"]:
        print(f"---- {label}: {entry['name']}: {reason} ----")


def run(build, names, extra, wrapper):
    """Runs the named tests; returns the entries of the log, [] when the build failed."""
    # meson calls the log of a wrapped run by the wrapper's name.
    log = build / "meson-logs" / (f"testlog-{pathlib.Path(shlex.split(wrapper)[0]).name}.json" if wrapper else "testlog.json")
    log.unlink(missing_ok=True)
    subprocess.run(["meson", "test", "-C", str(build), "--quiet", *extra, *names], stdout=sys.stderr)
    if not log.is_file():
        return []
    return [json.loads(line) for line in log.read_text(errors="replace").splitlines() if line.strip()]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("build", type=pathlib.Path)
    for option in ("--label", "--suites", "--counts", "--failures"):
        parser.add_argument(option, required=True)
    parser.add_argument("--filter", default="")
    parser.add_argument("--wrapper")
    options = parser.parse_args()
    build = options.build.resolve()
    tests = [t for t in introspect(build) if in_suites(t, options.suites.split(","))]
    names, extra = select(build, tests, options.filter)
    totals = [0, 0, 0]
    if options.wrapper:
        extra = [*extra, "--wrapper=" + options.wrapper]
    if names:
        entries = run(build, names, extra, options.wrapper)
        if not entries:
            print(f"{options.label}: the tests did not build; the compiler's words are above")
            totals[1] = 1
        for entry in entries:
            counts = count(entry)
            totals = [a + b for a, b in zip(totals, counts)]
            if counts[1]:
                show_failure(options.label, entry)
                with open(options.failures, "a", encoding="utf-8") as out:
                    out.write(digest(options.label, entry))
            if counts[2]:
                show_skip(options.label, entry)
    elif options.filter:
        print(f"{options.label}: no test and no case has '{options.filter}' in its name (suites {options.suites})")
    print(f"{options.label}: {totals[0]} passed, {totals[1]} failed, {totals[2]} skipped", flush=True)
    with open(options.counts, "a", encoding="utf-8") as out:
        out.write(" ".join(map(str, totals)) + "\n")
    return 1 if totals[1] or not totals[0] else 0


if __name__ == "__main__":
    sys.exit(main())
