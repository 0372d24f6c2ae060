"""gdb commands for a process with libsmarm, alive or as a core file.

    gdb -x smarm-gdb.py -p PID              gdb -x smarm-gdb.py PROGRAM CORE

    smarm actors [--state S] [--name GLOB]  a table of the actors
    smarm switch PID                        gdb's thread shows the actor's frames: bt, up, info locals, ...
    smarm switch off                        ... its own again; so does letting the process go on
    smarm bt PID [ARGS]                     the backtrace of one actor; ARGS go to gdb's backtrace

PID is what smarm prints (5.1), or its index alone (5). Needs gdb 13 and the debug information of libsmarm.

No register is written, since a core file has none to write to. While a switch is on, an unwinder says that the thread's own frame was
called from where the actor left its stack (SavedFrame in runtime/context/context.hpp), and a frame filter hides that own frame.

Columns that are known only sometimes, else '-':
  for   how long it has waited. For a lock: always. For the others the runtime keeps no time, since a wait would pay for it: at least (>)
        so long when hibernation has looked at the actor, or an earlier `smarm actors` of this session.
  left  until its time limit ends the wait (sleep, and every wait with a timeout).
A core file does not say when it was made. The latest time that is written in it stands for that: then `for` is at least (>) and `left` at
most (<) what is shown.
"""

import argparse
import bisect
import collections
import contextlib
import fnmatch
import itertools
import os
import re
import struct
import time

import gdb
import gdb.unwinder

# SavedFrame, after its control words. What the ABI lets a function clobber is not saved, and not known.
SAVED_FRAME = struct.Struct("<8x7Q")
SAVED_REGISTERS = ("r15", "r14", "r13", "r12", "rbx", "rbp", "rip")

# smarm::state_word in runtime/actor/state.hpp, and kMinStackShift: constants leave nothing in the debug information.
STATE_MASK, GENERATION_SHIFT, WAIT_SHIFT, MIN_STACK_SHIFT = 7, 9, 41, 14

# Fields of Actor that are read for each, and how.
FIELDS = {
    "sp": ("context.sp", "Q"), "word": ("word", "Q"), "stack": ("stack.base", "Q"), "cls": ("stack.cls", "B"),
    "waits_for": ("waits_for", "B"), "index": ("index", "I"), "runtime": ("runtime", "Q"), "entry": ("entry", "Q"),
    "group": ("group", "Q"), "extras": ("extras", "Q"), "armed": ("timer.armed", "B"), "deadline": ("timer.deadline_ns", "Q"),
    "wait_since": ("wait_since", "Q"), "frozen": ("frozen", "Q"), "seen": ("seen", "Q"),
}
Actor = collections.namedtuple("Actor", ["address", "state", "generation", "wait", *FIELDS])
Place = collections.namedtuple("Place", ["thread", "rsp"])


# ---- reading --------------------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def in_cplusplus():
    """The language follows the selected frame, which may be one of libc or of a core file that has none."""
    before = gdb.parameter("language")
    gdb.execute("set language c++", to_string=True)
    try:
        yield
    finally:
        gdb.execute(f"set language {before}", to_string=True)


@contextlib.contextmanager
def selection_kept():
    """Thread and frame are what they were before."""
    thread, level = gdb.selected_thread(), gdb.selected_frame().level()
    try:
        yield
    finally:
        thread.switch()
        frame = gdb.newest_frame()
        for _ in range(level):
            frame = frame.older() or frame
        frame.select()


def evaluate(expression):
    return int(gdb.parse_and_eval(expression))


def word_at(address):
    return struct.unpack("<Q", gdb.selected_inferior().read_memory(address, 8))[0]


def offset(type_name, path):
    value = gdb.Value(0).cast(gdb.lookup_type(type_name).pointer()).dereference()
    for part in path.split("."):
        value = value[part]
    return int(value.address)


def names_of(enum):
    return {f.enumval: f.name.rsplit("::")[-1] for f in gdb.lookup_type(enum).fields()}


def check_target():
    if gdb.selected_inferior().pid == 0 or not gdb.selected_thread():
        raise gdb.GdbError("no process and no core file")
    try:
        gdb.lookup_type("smarm::Actor")
        gdb.lookup_type("smarm::RuntimeCore")
    except gdb.error:
        try:
            evaluate("(long)&smarm_spawn")
        except gdb.error:
            raise gdb.GdbError("not a smarm process, or its symbols are stripped: no libsmarm in it") from None
        raise gdb.GdbError("no debug information of libsmarm: build it with -g, or load its symbols") from None


def string_of(value):
    """A std::string, without the printers of libstdc++."""
    size = int(value["_M_string_length"])
    return value["_M_dataplus"]["_M_p"].string(encoding="utf-8", errors="replace", length=size)


class Process:
    """What one command sees: all actors, and which of them is on a thread."""

    known_since = {}  # pid: (wait number, when it was seen first), of this session

    def __init__(self):
        check_target()
        self.memory = gdb.selected_inferior().read_memory
        self.states = names_of("smarm::ActorState")
        self.waits = names_of("smarm::WaitKind")
        self.actors = self.read_actors()
        self.workers = self.read_workers()
        self.places = self.read_places()
        self.on_thread = self.find_running()
        self.live = gdb.selected_inferior().connection.type == "native"
        self.now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) if self.live else self.latest_time()
        self.plugins = self.read_plugins()

    def read_actors(self):
        size = gdb.lookup_type("smarm::Actor").sizeof
        offsets = [offset("smarm::Actor", path) for path, _ in FIELDS.values()]
        reads = [struct.Struct("<" + code).unpack_from for _, code in FIELDS.values()]
        word_offset = offset("smarm::Actor", "word")
        word = struct.Struct("<Q").unpack_from
        table = gdb.parse_and_eval("smarm::ActorTable::process_")
        chunks = int(table["chunks_"].address)
        end = int.from_bytes(self.memory(int(table["size_"].address), 4), "little")
        per_chunk = evaluate("smarm::ActorTable::kChunkSize")
        actors = []
        for first in range(0, end, per_chunk):
            chunk = word_at(chunks + first // per_chunk * 8)
            # In bulk: a million gdb.Values take minutes.
            blocks = self.memory(chunk, min(per_chunk, end - first) * size)
            for at in range(0, len(blocks), size):
                (w,) = word(blocks, at + word_offset)
                state = self.states.get(w & STATE_MASK, "free")
                if state == "free":
                    continue
                fields = [read(blocks, at + o)[0] for read, o in zip(reads, offsets)]
                generation = w >> GENERATION_SHIFT & 0xFFFFFFFF
                actors.append(Actor(chunk + at, state, generation, w >> WAIT_SHIFT, *fields))
        return actors

    def read_workers(self):
        """Of all runtimes that have a living actor."""
        core = gdb.lookup_type("smarm::RuntimeCore").pointer()
        worker = gdb.lookup_type("smarm::Worker").pointer()
        found = []
        for runtime in sorted({a.runtime for a in self.actors if a.state != "done"}):
            workers = gdb.Value(runtime).cast(core)["workers_"]
            first = word_at(int(workers["slots_"].address))
            for i in range(int(workers["count_"]["_M_i"])):
                found.append(gdb.Value(word_at(first + 8 * i)).cast(worker).dereference())
        return found

    def latest_time(self):
        times = [a.wait_since for a in self.actors]
        for w in self.workers:
            times += int(w["last_maintenance_ns"]), int(w["wheel"]["now_"]) << evaluate("smarm::Wheel::kTickShift")
        return max(times, default=0)

    @staticmethod
    def read_places():
        places = []
        with selection_kept():
            for thread in gdb.selected_inferior().threads():
                if not thread.is_stopped():
                    continue
                thread.switch()
                places.append(Place(thread, int(gdb.newest_frame().read_register("rsp")) & 2**64 - 1))
        return places

    def find_running(self):
        """Actor's address: its thread. Where the thread's stack pointer is tells best: at a switch the worker's word for it is ahead of
        the registers. On a signal's stack or a generator's it is the worker who knows."""
        stacks = sorted((a.stack, a.stack + (1 << a.cls + MIN_STACK_SHIFT), a.address) for a in self.actors if a.stack)
        current = {int(w["thread"]["_M_i"]): int(w["current"]["value_"]) for w in self.workers}
        running = {}
        for place in self.places:
            i = bisect.bisect(stacks, (place.rsp, 2**64)) - 1
            if i >= 0 and stacks[i][0] <= place.rsp < stacks[i][1]:
                running[stacks[i][2]] = place.thread
            elif current.get(place.thread.ptid[1]):
                running.setdefault(current[place.thread.ptid[1]], place.thread)
        return running

    def read_plugins(self):
        """Group: name. smarmd names the first actor of a plugin after it and enters it in its own code; when that one has ended, the
        others still begin in the plugin's file."""
        plugins = {}
        for a in self.actors:
            if not a.group or a.state == "done":
                continue
            file = gdb.solib_name(a.entry)
            if not file and a.extras:
                plugins[a.group] = self.name(a)
            elif file:
                plugins.setdefault(a.group, re.sub(r"(\.g\d+)?\.so$", "", os.path.basename(file)))
        return plugins

    def find(self, text):
        """By `index.generation` or `index`."""
        match = re.fullmatch(r"(\d+)(?:\.(\d+))?", text)
        if not match:
            raise gdb.GdbError(f"'{text}' is no pid: INDEX.GENERATION or INDEX, as `smarm actors` shows it")
        actor = next((a for a in self.actors if a.index == int(match[1])), None)
        if not actor:
            raise gdb.GdbError(f"no such pid: {text}")
        if match[2] and actor.generation != int(match[2]):
            raise gdb.GdbError(f"no such pid: {text} has ended, and {pid_of(actor)} is in its place")
        return actor

    # ---- what is shown ----

    def name(self, a):
        if not a.extras:
            return "-"
        return string_of(gdb.Value(a.extras).cast(gdb.lookup_type("smarm::ActorExtras").pointer())["name"]) or "-"

    def state(self, a):
        if a.state == "done":
            return "ended"
        if a.address in self.on_thread:
            return "running"
        if a.frozen:
            return "hibernated"
        if a.state == "active":
            return "runnable" if a.stack else "fresh"
        return a.state

    def why(self, a):
        thread = self.on_thread.get(a.address)
        if thread:
            return f"on thread {thread.num}"
        return self.waits[a.waits_for] if waits(a) else "-"

    def waited(self, a):
        """(nanoseconds, whether it may be more), or None."""
        if not waits(a) or not self.now:
            return None
        if self.waits[a.waits_for] == "lock":
            return max(0, self.now - a.wait_since), not self.live
        since = []
        # Hibernation::Seen: the word without its generation, and milliseconds; all state bits set: it was frozen then.
        seen_word, seen_ms = a.seen & 0xFFFFFFFF, a.seen >> 32
        brief = a.wait << GENERATION_SHIFT & 0xFFFFFFFF | a.word & (1 << GENERATION_SHIFT) - 1
        if seen_word in (brief, brief | STATE_MASK):
            since.append((self.now // 10**6 - seen_ms & 0xFFFFFFFF) * 10**6)
        if self.live:
            wait, when = self.known_since.get((a.index, a.generation), (None, 0))
            if wait == a.wait:
                since.append(self.now - when)
            else:
                self.known_since[a.index, a.generation] = a.wait, self.now
        return (max(since), True) if since else None

    def left(self, a):
        if not waits(a) or not a.armed or not self.now:
            return "-"
        return ("" if self.live else "<") + duration(max(0, a.deadline - self.now))

    def row(self, a):
        waited = self.waited(a)
        return (pid_of(a), self.name(a), self.plugins.get(a.group, "-"), self.state(a), self.why(a),
                (">" if waited[1] else "") + duration(waited[0]) if waited else "-", self.left(a))


def waits(a):
    return a.state in ("parked", "waiting")


def pid_of(a):
    return f"{a.index}.{a.generation}"


def duration(ns):
    seconds = ns / 1e9
    if seconds < 1:
        return f"{ns // 10**6}ms"
    if seconds < 120:
        return f"{seconds:.1f}s"
    minutes = int(seconds / 60)
    return f"{minutes}m{int(seconds) % 60:02}s" if minutes < 120 else f"{minutes // 60}h{minutes % 60:02}m"


# ---- switching ------------------------------------------------------------------------------------------------------------------------


class Switch(gdb.unwinder.Unwinder):
    """Off, or on: then one thread shows an actor's frames behind its own."""

    def __init__(self):
        super().__init__("smarm-switch")
        self.registers = None  # of the actor; None: off
        self.thread = None
        self.own = None  # rsp and rip of the thread's own frame: frames inlined there share them
        self.ulong = None

    def on(self, actor):
        try:
            saved = SAVED_FRAME.unpack(gdb.selected_inferior().read_memory(actor.sp, SAVED_FRAME.size))
        except gdb.MemoryError:
            saved = (0,) * 7
        if not saved[-1]:
            raise gdb.GdbError(unreadable(actor))
        self.off()
        self.registers = dict(zip(SAVED_REGISTERS, saved), rsp=actor.sp + 8 + 8 * len(saved))
        self.thread = gdb.selected_thread().ptid
        newest = gdb.newest_frame()
        self.own = tuple(int(newest.read_register(r)) & 2**64 - 1 for r in ("rsp", "rip"))
        self.ulong = gdb.lookup_type("unsigned long")
        FILTER.enabled = True
        gdb.invalidate_cached_frames()
        frame = gdb.newest_frame()
        while frame and self.is_own(frame):
            frame = frame.older()
        if not frame:
            self.off()
            raise gdb.GdbError("gdb found no frame on the actor's stack")
        frame.select()

    def off(self):
        if self.registers:
            self.forget()
            gdb.invalidate_cached_frames()

    def forget(self, *_):
        self.registers = None
        FILTER.enabled = False

    def is_own(self, frame):
        return tuple(int(frame.read_register(r)) & 2**64 - 1 for r in ("rsp", "rip")) == self.own

    def applies(self):
        thread = gdb.selected_thread()
        return self.registers and thread and thread.ptid == self.thread

    def __call__(self, pending):
        if not self.applies() or not self.is_own(pending):
            return None
        # gdb takes frames whose stack addresses go down for a corrupt stack: this one pretends to be right below the actor's.
        registers = {name: gdb.Value(value).cast(self.ulong) for name, value in self.registers.items()}
        info = pending.create_unwind_info(FrameId(registers["rsp"] - 8, registers["rip"]))
        for name, value in registers.items():
            info.add_saved_register(name, value)
        return info


FrameId = collections.namedtuple("FrameId", ["sp", "pc"])


class Filter:
    """Hides the thread's own frame from `backtrace` while a switch is on."""

    name = "smarm-switch"
    priority = 100
    enabled = False

    def filter(self, frames):
        if not SWITCH.applies():
            return frames
        return itertools.dropwhile(lambda f: SWITCH.is_own(f.inferior_frame()), frames)


def unreadable(a):
    if a.frozen:
        text = f"actor {pid_of(a)} hibernates: its stack is packed"
        if gdb.selected_inferior().connection.type == "core":
            return text + ", and a core file cannot unpack it"
        return text + f"; `call (bool)smarm::thaw_frozen_at((void*){a.sp:#x})` unpacks it (all threads run for that moment)"
    return f"the saved registers of actor {pid_of(a)} cannot be read at {a.sp:#x}: a core file without its stack?"


def switch_to(process, actor):
    """Selects the actor's innermost frame."""
    state = process.state(actor)
    if state == "fresh":
        raise gdb.GdbError(f"actor {pid_of(actor)} is fresh: it has not run, and has no stack")
    if state == "ended":
        raise gdb.GdbError(f"actor {pid_of(actor)} has ended: it is kept for its join handle, without a stack")
    if state == "running":
        SWITCH.off()
        process.on_thread[actor.address].switch()
    else:
        SWITCH.on(actor)


SWITCH = Switch()
FILTER = Filter()


# ---- commands -------------------------------------------------------------------------------------------------------------------------


class Options(argparse.ArgumentParser):
    def error(self, message):
        raise gdb.GdbError(f"{self.prog}: {message}")


class SmarmCommand(gdb.Command):
    """Actors of a process with libsmarm: smarm actors, smarm switch, smarm bt."""

    def __init__(self):
        super().__init__("smarm", gdb.COMMAND_STACK, prefix=True)


class ActorsCommand(gdb.Command):
    """Lists the actors: smarm actors [--state S] [--name GLOB].

States: running, runnable, fresh (has not run), parked (in park), waiting, hibernated (its stack is packed), ended (kept for its handle).
for: how long it has waited, > at least so long; left: until its time limit, < at most so long; - not known."""

    HEAD = ("pid", "name", "plugin", "state", "why", "for", "left")

    def __init__(self):
        super().__init__("smarm actors", gdb.COMMAND_STACK)

    def invoke(self, argument, from_tty):
        parser = Options(prog="smarm actors", add_help=False, allow_abbrev=False)
        parser.add_argument("--state")
        parser.add_argument("--name")
        options = parser.parse_args(gdb.string_to_argv(argument))
        with in_cplusplus():
            process = Process()
            rows = [process.row(a) for a in process.actors]
        shown = [r for r in rows if options.state in (None, r[3]) and (options.name is None or fnmatch.fnmatchcase(r[1], options.name))]
        widths = [max(map(len, column)) for column in zip(self.HEAD, *shown)]
        for row in (self.HEAD, *shown):
            print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())
        print(f"{len(shown)} of {len(rows)} actors" if len(shown) != len(rows) else f"{len(rows)} actors")


class SwitchCommand(gdb.Command):
    """Shows an actor's frames: smarm switch PID, smarm switch off.

bt, up, down, info locals and the like then work on the actor's stack, until `off` or until the process goes on. An actor that runs is
shown by selecting its thread. Do not step while it is on: the thread's registers are its own."""

    def __init__(self):
        super().__init__("smarm switch", gdb.COMMAND_STACK)

    def invoke(self, argument, from_tty):
        words = gdb.string_to_argv(argument)
        if len(words) != 1:
            raise gdb.GdbError("usage: smarm switch PID, or smarm switch off")
        if words[0] == "off":
            SWITCH.off()
            return
        with in_cplusplus():
            process = Process()
            actor = process.find(words[0])
            state = process.state(actor)
            switch_to(process, actor)
            print(f"[actor {pid_of(actor)}, {process.name(actor)}: {state}, {process.why(actor)}]")
        gdb.execute("frame")


class BacktraceCommand(gdb.Command):
    """The backtrace of an actor: smarm bt PID [ARGS]. ARGS (full, a count, ...) go to backtrace. Leaves gdb where it was."""

    def __init__(self):
        super().__init__("smarm bt", gdb.COMMAND_STACK)

    def invoke(self, argument, from_tty):
        pid, _, rest = argument.strip().partition(" ")
        if not pid:
            raise gdb.GdbError("usage: smarm bt PID [ARGS of backtrace]")
        with in_cplusplus():
            process = Process()
            actor = process.find(pid)
            before = vars(SWITCH).copy()
            with selection_kept():
                try:
                    switch_to(process, actor)
                    gdb.execute(f"backtrace {rest}")
                finally:
                    vars(SWITCH).update(before)
                    FILTER.enabled = SWITCH.registers is not None
                    gdb.invalidate_cached_frames()


for command in (SmarmCommand, ActorsCommand, SwitchCommand, BacktraceCommand):
    command()
gdb.unwinder.register_unwinder(None, SWITCH, replace=True)
gdb.frame_filters[FILTER.name] = FILTER
gdb.events.cont.connect(SWITCH.forget)
gdb.events.exited.connect(SWITCH.forget)
gdb.events.exited.connect(lambda _: Process.known_since.clear())
