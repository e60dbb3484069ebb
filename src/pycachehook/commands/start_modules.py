"""The modules without a valid entry among those that a start imports: `pycachehook doctor MODULE`.

The imported modules are only known by importing them, which a child process does. It stores nothing.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pycachehook
from pycachehook._compat import interpreter_flags
from pycachehook.errors import PycacheHookError

# Runs with -P, so that pycachehook itself is not imported from the current directory.
_CHILD = """
import json, os, sys
results = os.dup(1)  # not inherited by other processes
os.dup2(2, 1)
options, names, lent, first = map(json.loads, sys.argv[1:])
sys.path += lent
from pycachehook.commands import lazy_imports
lazy_imports.disable()
import pycachehook.hook
events = []
pycachehook.on_event(events.append)
pycachehook.hook.install_from({**options["given"], "read_only": True}, "flag", options["config"])
def write_events(failure):
    rows = [(event.event, event.module, event.path, event.reason) for event in events if event.event in ("hit", "miss")]
    with open(results, "w", encoding="utf-8") as file:
        print(json.dumps({"rows": rows, "failure": failure}), file=file)
lazy_imports.restore()
if first is not None:
    sys.path.insert(0, first)
sys.argv[:] = [""]
failure = None
try:
    for name in names:
        __import__(name)
except BaseException as error:
    failure = [name, type(error).__name__ + (f": {error}" if str(error) else "")]
finally:
    write_events(failure)
"""


def modules_of_a_start(
    names: Sequence[str], config: object = None, given: Mapping[str, object] | None = None
) -> dict[str, Any]:
    """Import modules by name as `python -m` does, and report how the modules that they import were loaded.

    In the result, `modules` is their number, and `missing` lists module, path and reason for each one that was
    compiled. Raises `PycacheHookError` if an import fails; the output of the imported modules goes to standard error.
    """
    wanted = {name: value for name, value in (given or {}).items() if value is not None}
    options = {"given": wanted, "config": None if config is None else os.fspath(config)}  # type: ignore[call-overload]
    lent = [str(Path(pycachehook.__file__).parent.parent)]
    try:
        first: str | None = None if sys.flags.safe_path else os.getcwd()
    except OSError:
        first = None
    arguments = [json.dumps(argument) for argument in (options, list(names), lent, first)]
    command = [sys.executable, *interpreter_flags(), "-P", "-c", _CHILD, *arguments]
    # A pipe, because there may be no directory for a temporary file.
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL) as process:
        line = process.stdout.readline() if process.stdout is not None else b""
    try:
        found = json.loads(line)
    except ValueError:
        found = {"failure": [" ".join(names), f"exit code {process.returncode}"]}
    if found["failure"] is not None:
        name, error = found["failure"]
        raise PycacheHookError(f"{name!r} could not be imported, so nothing is known about it: {error}.")
    rows = found["rows"]
    missing = [
        {"module": module, "path": path, "reason": reason} for event, module, path, reason in rows if event == "miss"
    ]
    return {"modules": len(rows), "missing": missing}
