#!/usr/bin/env python3
"""Runs smarm-gdb.py on actors.cpp's program and reads what it prints.

    gdb_test.py live|core SCRIPT PROGRAM

Exits 77 (skipped), after a line `SKIP: why`, where there is no gdb, no ptrace, or no core with the stacks in it.
"""

import pathlib
import re
import resource
import select
import shutil
import signal
import subprocess
import sys
import tempfile

PATIENCE = 60  # seconds, for each step


def skip(reason):
    print(f"SKIP: {reason}", flush=True)
    sys.exit(77)


def allow_core():
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))


class Actors:
    """The program, from when it is ready to its death."""

    def __init__(self, program, directory, *arguments):
        self.process = subprocess.Popen([program, *arguments], cwd=directory, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                        preexec_fn=allow_core)

    def __enter__(self):
        readable, _, _ = select.select([self.process.stdout], [], [], PATIENCE)
        line = self.process.stdout.readline() if readable else ""
        if not line.startswith("ready "):
            self.process.kill()
            raise AssertionError(f"the program is not ready: {line!r}")
        self.pid = line.split()[1]  # of the listener
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait(PATIENCE)

    def die(self):
        """By a signal that nobody handles and that leaves a core."""
        self.process.send_signal(signal.SIGSYS)
        self.process.wait(PATIENCE)


class Gdb:
    """The script in one gdb on one target; each look at it is a gdb of its own."""

    def __init__(self, script, target):
        self.script, self.target = script, target

    def __call__(self, *commands):
        arguments = ["gdb", "-nx", "-batch", "-iex", "set debuginfod enabled off", "-ex", "set width 0", "-ex", f"source {self.script}"]
        for command in commands:
            arguments += ["-ex", f"echo \\n=== {command}\\n", "-ex", command]
        done = subprocess.run([*arguments, *self.target], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, timeout=PATIENCE)
        print(done.stdout, flush=True)
        if re.search(r"ptrace: (Operation not permitted|Permission denied)", done.stdout):
            skip("ptrace is not permitted here, so gdb cannot look at a live process (kernel.yama.ptrace_scope, or a container without "
                 "CAP_SYS_PTRACE)")
        assert "Error occurred in Python" not in done.stdout, "the script failed"
        return done.stdout.split("\n=== ")[1:]


def rows(listing):
    """pid: [name, plugin, state, why, for, left]."""
    found = {}
    for line in listing.splitlines():
        cells = re.split(r"  +", line)
        if len(cells) == 7 and re.fullmatch(r"\d+\.\d+", cells[0]):
            found[cells[0]] = cells[1:]
    return found


def only(table, **wanted):
    columns = ("name", "plugin", "state", "why")
    match = [pid for pid, row in table.items() if all(row[columns.index(c)] == text for c, text in wanted.items())]
    assert len(match) == 1, f"{wanted}: {match} of {table}"
    return match[0]


def check(condition, what, text):
    assert condition, f"{what} is not in:\n{text}"


def frame_in(text):
    """Level and function of a frame that gdb has printed; the rest of the line varies."""
    return re.search(r"^#(\d+) +(?:0x[0-9a-f]+ in )?(.+?) \(\w*[=)]", text, re.M).groups()


def check_actors(gdb, listener, solo, lives):
    everyone, waiting, named, odd = gdb("smarm actors", "smarm actors --state waiting", "smarm actors --name 'list*'",
                                        "smarm actors --stat x")
    table = rows(everyone)
    assert len(table) == 5, everyone
    assert only(table, name="listener", state="waiting", why="recv") == listener
    sleeper = only(table, name="-", state="waiting", why="sleep")
    locker = only(table, name="locker", state="waiting", why="lock")
    busy = only(table, name="-", state="running")
    check(table[busy][3].startswith("on thread "), "its thread", everyone)
    check(re.fullmatch(r">?\d+(\.\d)?(ms|s)", table[locker][4]), "how long it waits for the lock", everyone)
    check(re.fullmatch(r"<?(59m\d\ds|60m00s)", table[sleeper][5]), "how long it will sleep", everyone)
    assert len(rows(waiting)) == 3 + (table[only(table, name="fresh")][2] == "waiting"), waiting
    assert list(rows(named)) == [listener], named
    check("unrecognized arguments" in odd, "the misspelt option", odd)

    pid, index = listener, listener.split(".")[0]
    bt, full, asleep, computing = gdb(f"smarm bt {pid}", f"smarm bt {index} full", f"smarm bt {sleeper}", f"smarm bt {busy}")
    check("wait_for_mail" in bt, "wait_for_mail", bt)
    check("smarm_stack_start" in bt and "corrupt" not in bt and "busy_loop" not in bt, "the whole stack and nothing else", bt)
    check("local = 42" in full or "local=42" in full, "a local variable", full)
    check("sleep_long" in asleep, "sleep_long", asleep)
    check("busy_loop" in computing, "busy_loop", computing)

    frame, switched, bt, up, other, again, _, own, runs, computing = gdb(
        "frame", f"smarm switch {pid}", "bt", "up 2", f"smarm bt {sleeper}", "frame", "smarm switch off", "frame", f"smarm switch {busy}", "bt")
    check("listener: waiting, recv" in switched, "what it is", switched)
    check("wait_for_mail" in bt and "busy_loop" not in bt, "wait_for_mail alone", bt)
    check("sleep_long" in other, "another one's backtrace", other)
    assert frame_in(again) == frame_in(up), f"the selected frame has changed: {up}{again}"
    assert frame_in(own) == frame_in(frame), f"the thread's own frame is not back: {frame}{own}"
    check("running, on thread " in runs and "busy_loop" in computing, "busy_loop", runs + computing)

    wrong = gdb("smarm bt 4000", f"smarm bt {index}.77", "smarm switch x", "smarm switch", "smarm bt")
    for text, words in zip(wrong, ("no such pid: 4000", "has ended, and", "is no pid", "usage", "usage")):
        check(words in text, words, text)
    if solo:
        fresh = only(table, name="fresh", state="fresh")
        (text,) = gdb(f"smarm bt {fresh}")
        check("is fresh" in text, "is fresh", text)
    if lives:
        on, gone, bt = gdb(f"smarm switch {pid}", "stepi", "bt")
        check("listener" in on and "busy_loop" in bt and "wait_for_mail" not in gone + bt, "the thread's own frame after it has moved", gone + bt)


def check_hibernating(gdb, pid, lives):
    listing, bt = gdb("smarm actors", f"smarm bt {pid}")
    table = rows(listing)
    assert only(table, name="listener", state="hibernated", why="recv") == pid
    check(re.fullmatch(r">\d+(\.\d)?(ms|s)", table[pid][4]), "how long it waits at least", listing)
    check("its stack is packed" in bt, "its stack is packed", bt)
    if lives:
        call = re.search(r"`(call [^`]*)`", bt)[1]
        _, bt = gdb(call, f"smarm bt {pid}")
        check("wait_for_mail" in bt, "wait_for_mail once it is unpacked", bt)


def live(script, program):
    with tempfile.TemporaryDirectory() as directory:
        for workers in ("1", "2"):
            with Actors(program, directory, workers) as actors:
                check_actors(Gdb(script, ["-p", str(actors.process.pid)]), actors.pid, workers == "1", True)
        with Actors(program, directory, "2", "hibernate") as actors:
            check_hibernating(Gdb(script, ["-p", str(actors.process.pid)]), actors.pid, True)
    nothing, foreign = Gdb(script, [])("smarm actors")[0], Gdb(script, ["/bin/true"])("starti", "smarm actors")[1]
    check("no process and no core file" in nothing, "no process", nothing)
    if "The program is not being run" not in foreign and "no process" not in foreign:
        check("not a smarm process" in foreign, "not a smarm process", foreign)


def core_of(program, directory, *arguments):
    """The kernel's core file and the listener's pid."""
    with Actors(program, directory, *arguments) as actors:
        # gdb's gcore stops copying a mapping at its first guard page, so it has no stacks where guards are MADV_GUARD_INSTALL's. The
        # kernel leaves such pages out.
        actors.die()
        found = list(pathlib.Path(directory).glob("core*"))
        if len(found) == 1:
            return found[0], actors.pid
    with Actors(program, directory, *arguments) as actors:
        core = pathlib.Path(directory, "made_by_gdb")
        done = subprocess.run(["gdb", "-nx", "-batch", "-p", str(actors.process.pid), "-ex", f"gcore {core}"], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=PATIENCE)
        print(done.stdout, flush=True)
        lost = re.search(r"Memory read failed for corefile section.* at 0x[0-7]", done.stdout)
        if lost or not core.exists():
            skip("the kernel writes no core to the current directory (kernel.core_pattern, RLIMIT_CORE), and gdb's has no stacks")
        return core, actors.pid


def core(script, program):
    for workers, *mode in (("1",), ("2",), ("2", "hibernate")):
        with tempfile.TemporaryDirectory() as directory:
            file, pid = core_of(program, directory, workers, *mode)
            gdb = Gdb(script, [program, str(file)])
            if mode:
                check_hibernating(gdb, pid, False)
            else:
                check_actors(gdb, pid, workers == "1", False)


def main():
    if not shutil.which("gdb"):
        skip("gdb is not installed")
    what, script, program = sys.argv[1:]
    {"live": live, "core": core}[what](pathlib.Path(script).resolve(), pathlib.Path(program).resolve())


if __name__ == "__main__":
    main()
