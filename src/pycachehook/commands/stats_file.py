"""The statistics that processes have written to the file `PYCACHEHOOK_STATS`, for `pycachehook status`.

Any program may have written to the file, so every value is validated, and no line longer than a genuine one can be is
read.
"""

import json
import os
import stat
from collections import deque
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from pycachehook.system import READ_FLAGS

SHOWN_RUNS = 10
LONGEST_LINE = 1 << 16  # bytes
_MOST = 1 << 62  # the largest plausible counter


@dataclass
class StatsFile:
    """The last runs, latest first; the size of all loaded shared entries; and what is wrong with the file."""

    runs: list[dict[str, Any]] = field(default_factory=list)
    bytes_saved: int = 0
    reason: str | None = None


def read_stats_file(path: str) -> StatsFile:
    """Return the content of the file at `path`, "" meaning no file; never raises for its content."""
    stats_file = StatsFile()
    if not path:
        return stats_file
    try:
        with open(path, "rb", opener=lambda name, _: os.open(name, READ_FLAGS)) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                stats_file.reason = f"{path}, which PYCACHEHOOK_STATS names, is no regular file."
            else:
                _read(file, path, stats_file)
    except (FileNotFoundError, NotADirectoryError):
        pass  # nothing has been written yet
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        stats_file.reason = f"{path}, which PYCACHEHOOK_STATS names, cannot be read: {why}."
    return stats_file


def _read(file: BinaryIO, path: str, stats_file: StatsFile) -> None:
    last: deque[bytes] = deque(maxlen=SHOWN_RUNS)
    while line := file.readline(LONGEST_LINE):
        if not line.endswith(b"\n"):
            while (rest := file.readline(LONGEST_LINE)) and not rest.endswith(b"\n"):
                pass
        last.append(line)
        if b'"shared_bytes"' in line:  # parse only the few lines with this counter, since the file may be long
            run = _run(line)
            stats_file.bytes_saved += 0 if run is None else run["shared_bytes"]
    runs = [run for run in map(_run, reversed(last)) if run is not None]
    stats_file.runs = [{name: value for name, value in run.items() if name != "shared_bytes"} for run in runs]
    if len(runs) < len(last):
        wrong = f"{len(last) - len(runs)} of the last {len(last)} lines"
        stats_file.reason = f"{wrong} in {path}, which PYCACHEHOOK_STATS names, are no statistics."


def _run(line: bytes) -> dict[str, Any] | None:
    """Return what `status` shows of a line, or None for a line that is not one of ours, or is cut off."""
    try:
        said = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(said, dict):
        return None
    hits: Any
    hits, compiled, saved = said.get("hits"), said.get("compiled"), said.get("shared_bytes", 0)
    name = said.get("argv0")
    if not isinstance(name, str) or not (_is_count(hits) and _is_count(compiled) and _is_count(saved)):
        return None
    looked_up = hits + compiled
    rate = hits / looked_up if looked_up else 1.0
    return {"argv0": name, "hits": hits, "compiled": compiled, "hit_rate": rate, "shared_bytes": saved}


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < _MOST
