"""How often a lookup reads its source, computes the location of its entry, compiles, and reads the clock."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from conftest import Python

pytestmark = pytest.mark.alone

TEXT = "answer = 42\n"

# Imports `subject` and prints what was counted during the import.
COUNTING = """
import json, sys
import pycachehook, pycachehook.on_miss.compiling, pycachehook.content_store, pycachehook.events
from pycachehook import own_modules, paths, system
hook = pycachehook.install(sys.argv[1], **json.loads(sys.argv[2]))
counts = dict.fromkeys(("mirrored", "digest", "compile", "clock", "event"), 0)
def counted(owner, name, word):
    function = getattr(owner, name)
    def counting(*arguments, **keywords):
        counts[word] += 1
        return function(*arguments, **keywords)
    setattr(owner, name, counting)
if "load" in sys.argv:
    own_modules.load("on_miss.compiling")
counted(paths.Layout, "mirrored", "mirrored")
counted(pycachehook.content_store.Names, "digest", "digest")
counted(system.system, "perf_counter_ns", "clock")
counted(pycachehook.events.Event, "__init__", "event")
sys.addaudithook(lambda event, arguments: event == "compile" and counts.update(compile=counts["compile"] + 1))
events = []
if "listen" in sys.argv:
    pycachehook.on_event(events.append)
import subject
found = [(each.event, each.module, each.path, each.place, each.reason, each.nanoseconds) for each in events]
print(json.dumps({**counts, "stats": hook.stats.as_dict(), "events": found}))
"""


@pytest.fixture
def subject(tmp_path: Path) -> Path:
    """Return the source of a module called `subject`."""
    path = tmp_path / "tree" / "subject.py"
    path.parent.mkdir()
    path.write_text(TEXT, encoding="utf-8")
    return path


def count(python: Python, subject: Path, cache: Path, *words: str, **options: Any) -> dict[str, Any]:
    """Return what a process counts while it imports `subject`."""
    process = python("-c", COUNTING, cache, json.dumps(options), *words, PYTHONPATH=str(subject.parent))
    result: dict[str, Any] = json.loads(process.stdout)
    return result


def entry_of(cache: Path) -> Path:
    """Return the one entry in a cache."""
    (entry,) = (
        (path for path in cache.rglob("subject*.pyc"))
        if not (cache / ".pycachehook/shared").exists()
        else (path for path in (cache / ".pycachehook/shared").rglob("*.pyc"))
    )
    return entry


def spoil(miss: str, subject: Path, cache: Path) -> None:
    """Make the next lookup a miss of this kind."""
    if miss == "absent":
        shutil.rmtree(cache, ignore_errors=True)
    elif miss == "stale-source":
        subject.write_text(TEXT.replace("42", "43"), encoding="utf-8")
    elif miss == "corrupt":
        data = bytearray(entry_of(cache).read_bytes())
        data[-1] ^= 1
        entry_of(cache).write_bytes(data)
    elif miss == "untrusted":
        entry_of(cache).chmod(0o666)


MISSES = ["absent", "stale-source", "corrupt", "untrusted"]


@pytest.mark.parametrize("options", [{}, {"layout": "shared"}, {"invalidation_mode": "unchecked-hash"}], ids=str)
@pytest.mark.parametrize("miss", MISSES)
def test_a_miss_reads_its_source_once(
    miss: str, options: dict[str, Any], python: Python, subject: Path, cache: Path
) -> None:
    """By system calls: a miss opens and reads the source once, and reads nothing else but the entry."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("needs strace")
    if miss == "stale-source" and options.get("invalidation_mode") == "unchecked-hash":
        pytest.skip("is a hit")
    count(python, subject, cache, **options)
    spoil(miss, subject, cache)
    out = subject.with_name("strace.txt")
    tracer = Python(strace, **python.environment, PYTHONPATH=str(subject.parent))
    flags = ["-y", "-f", "-e", "trace=open,openat,read,readv,pread64", "-o", str(out)]
    traced = tracer(*flags, python.executable, "-c", COUNTING, cache, json.dumps(options))
    stats = json.loads(traced.stdout)["stats"]
    shared_absent = "absent" if "layout" in options and miss == "stale-source" else miss
    assert (stats["misses"], stats["stored"]) == ({shared_absent: 1}, 1)
    lines = out.read_text(encoding="utf-8").splitlines()
    name = re.escape(str(subject))
    assert len([line for line in lines if re.search(rf'open(at)?\(.*"{name}"', line)]) == 1
    read = [int(line.rpartition(" = ")[2]) for line in lines if re.search(rf"read(v|64)?\(\d+<{name}>", line)]
    assert sum(read) == len(TEXT)
    assert len([each for each in read if each]) == 1


@pytest.mark.parametrize("options", [{}, {"in_tree": "ignore"}, {"layout": "shared"}], ids=str)
@pytest.mark.parametrize("miss", MISSES)
def test_a_miss_computes_the_location_and_compiles_once(
    miss: str, options: dict[str, Any], python: Python, subject: Path, cache: Path
) -> None:
    """The location that the finder computes is looked up and written; a shared one has one digest."""
    count(python, subject, cache, **options)
    spoil(miss, subject, cache)
    found = count(python, subject, cache, **options)
    assert found["stats"]["compiled"] == 1
    assert found["mirrored"] == 1  # which is `spec.cached`, too
    assert found["digest"] == (1 if "layout" in options else 0)
    assert found["compile"] == 1


def test_a_hit_computes_the_location_once(python: Python, subject: Path, cache: Path) -> None:
    """A hit computes the location once and compiles nothing."""
    count(python, subject, cache)
    found = count(python, subject, cache)
    assert (found["mirrored"], found["compile"], found["stats"]["hits"]) == (1, 0, 1)


@pytest.mark.parametrize("options", [{}, {"layout": "shared"}], ids=str)
def test_events_have_a_duration_for_each_phase(
    options: dict[str, Any], python: Python, subject: Path, cache: Path
) -> None:
    """The durations of a miss and of a hit are whole numbers of nanoseconds, and none is negative."""
    cold = count(python, subject, cache, "listen", **options)["events"]
    assert [row[0] for row in cold] == ["miss", "compiled", "stored"]
    for word, module, path, place, reason, nanoseconds in cold:
        assert (module, path) == ("subject", str(subject))
        assert place == ("" if word == "compiled" else "store")
        assert reason == ("absent" if word == "miss" else "")
        assert set(nanoseconds) == {"read", "wait", "compile", "write"}
        assert all(type(each) is int and each >= 0 for each in nanoseconds.values())
    ((word, *_, place, reason, nanoseconds),) = count(python, subject, cache, "listen", **options)["events"]
    assert (word, place, reason) == ("hit", "store", "")
    assert set(nanoseconds) == ({"read", "unmarshal"} if options else {"read", "unmarshal", "check"})


@pytest.mark.parametrize("options", [{}, {"layout": "shared"}], ids=str)
def test_nothing_is_measured_where_nobody_listens(
    options: dict[str, Any], python: Python, subject: Path, cache: Path
) -> None:
    """Without a listener neither a miss nor a hit reads the clock or creates an event."""
    for hits in (0, 1):
        found = count(python, subject, cache, **options)
        assert found["stats"]["hits"] == hits
        assert (found["clock"], found["event"]) == (0, 0)
