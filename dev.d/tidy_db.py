#!/usr/bin/env python3
"""tidy_db.py BUILD OUT ROOT: writes OUT/compile_commands.json, BUILD's without the flags that clang does not know.

Reads source names (relative to ROOT) from standard input and prints those that are compiled at all.
"""

import json
import pathlib
import re
import sys

# g++ only. Sanitizers and the like are no matter here: lint reads the release build.
UNKNOWN = re.compile(r"\s-fno-gnu-unique\b|\s-fgnu-unique\b|\s-fnon-call-exceptions\b|\s-Wno-restrict\b|\s-Wno-interference-size\b")


def main(build, out, root):
    entries = json.loads(pathlib.Path(build, "compile_commands.json").read_text())
    compiled = set()
    for entry in entries:
        entry["command"] = UNKNOWN.sub("", entry["command"])
        compiled.add(pathlib.Path(entry["directory"], entry["file"]).resolve())
    pathlib.Path(out).mkdir(exist_ok=True)
    pathlib.Path(out, "compile_commands.json").write_text(json.dumps(entries))
    for name in sys.stdin.read().split():
        if pathlib.Path(root, name).resolve() in compiled:
            print(name)


if __name__ == "__main__":
    main(*sys.argv[1:])
