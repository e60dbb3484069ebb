"""A shared cache of a million entries against one of a thousand: lookups, `prune` and `status`.

Both are made here, of entries for generated sources. A lookup is that of an import: read the source, find and read the
entry, unmarshal the code; times are medians over a thousand sources that both have, each looked up in one cache and
then in the other, so that neither is colder. `prune` and `status` are run once, on the million; `memory` is the peak of
the process (`ru_maxrss`). It takes some minutes, a million files and 4 GiB of disk.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from pycachehook import pyc
from pycachehook._compat import source_hash
from pycachehook.cache_dir import CacheDir
from pycachehook.content_store import SharedStore
from pycachehook.events import Stats
from pycachehook.on_miss.writer import write_entry
from pycachehook.paths import Layout

from .applications import Application
from .environment import Environment
from .measure import Measurement, Record, clean_environment

DEFAULT: tuple[str, ...] = ()
FEW, MANY = 1000, 1_000_000

_TOOL = """
import resource, sys, time
from pycachehook.cli.main import main
began = time.perf_counter()
code = main(sys.argv[1:])
print(time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, file=sys.stderr)
sys.exit(code)
"""


def run(environment: Environment, _applications: Mapping[str, Application], rounds: int) -> Measurement:
    """Make the caches, and measure."""
    many = int(os.environ.get("MILLION", MANY))
    root = environment.caches / "million"
    shutil.rmtree(root, ignore_errors=True)
    sources = root / "sources"
    sources.mkdir(parents=True)
    for number in range(FEW):
        (sources / f"m{number}.py").write_bytes(_source(number))
    stores = {count: _filled(root / str(count), count) for count in (FEW, many)}
    rows: list[Record] = []
    found: dict[int, list[float]] = {count: [] for count in stores}
    for turn in range(max(rounds, 2)):
        for number in range(FEW):
            path = str(sources / f"m{number}.py")
            for count in list(stores)[:: -1 if (turn + number) % 2 else 1]:
                began = time.perf_counter()
                stores[count].find(path)
                if turn:  # the first warms up
                    found[count].append(time.perf_counter() - began)
    for count, seconds in found.items():
        rows.append(
            {
                "entries": count,
                "look-up, us": 1e6 * statistics.median(seconds),
                "names in a directory": _widest(root / str(count)),
            }
        )
    tools = [_tool(name, root / str(many)) for name in ("status", "prune")]
    shutil.rmtree(root)
    return Measurement({"look-ups": rows, f"tools, with {many} entries": tools}, {})


def _source(number: int) -> bytes:
    return f"NAME = {number}\n\n\ndef function(value):\n    return value + {number}\n".encode()


def _filled(directory: Path, count: int) -> SharedStore:
    """Return a store with entries for the first `count` sources, all with the same code: only its size matters."""
    layout = Layout.current()
    assert layout is not None
    cache, stats = CacheDir(str(directory), force_write=True), Stats()
    store = SharedStore(cache, layout)
    code = compile(_source(0), "m.py", "exec", dont_inherit=True)
    for number in range(count):
        source = _source(number)
        data = pyc.encode(code, pyc.FLAGS[pyc.CHECKED_HASH], source_hash(source), pyc.second_hash(source))
        assert write_entry(cache, store.location("", source), data, os.stat(os.devnull), stats), cache.reason
    return store


def _widest(directory: Path) -> int:
    return max(len(folders) + len(names) for _, folders, names in os.walk(directory))


def _tool(name: str, cache: Path) -> Record:
    arguments = {
        "status": (),
        "prune": ("--max-age", "30d", "--max-size", "100G", "--dry-run", "--cache-dir", str(cache)),
    }[name]
    done = subprocess.run(
        [sys.executable, "-c", _TOOL, name, *arguments],
        env=clean_environment(PYCACHEHOOK_CACHE_DIR=str(cache), PYCACHEHOOK_LAYOUT="shared"),
        check=True,
        capture_output=True,
        text=True,
    )
    seconds, memory = done.stderr.split()[-2:]
    return {
        "command": f"{name} {' '.join(arguments[:-2])}".strip(),
        "seconds": float(seconds),
        "memory, MiB": float(memory),
    }
