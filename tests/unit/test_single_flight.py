"""Single flight: what the lock excludes, and its compatibility with filelock."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING

import filelock
import pytest

from pycachehook.cache_dir import CacheDir
from pycachehook.events import Stats
from pycachehook.on_miss import single_flight
from pycachehook.on_miss.single_flight import SingleFlight

if TYPE_CHECKING:
    from pathlib import Path


def lock_file(directory: CacheDir, entry: str) -> str:
    """Return the path of an entry's lock file."""
    return single_flight._lock_path(directory, entry)


@pytest.mark.parametrize("first", ["filelock", "single flight"])
def test_excludes_filelock_and_is_excluded_by_it(first: str, cache: Path) -> None:
    """The lock of an import and filelock's lock of the same file exclude each other."""
    directory = CacheDir(str(cache), lock_timeout=0.0)
    entry = f"{cache}/m.pyc"
    if first == "filelock":
        with SingleFlight(directory, entry, Stats()):
            pass  # creates the lock file
        with (
            filelock.FileLock(lock_file(directory, entry), timeout=0),
            SingleFlight(directory, entry, Stats()) as flight,
        ):
            assert (flight.may_write, flight.timed_out) == (False, True)
        return
    with SingleFlight(directory, entry, Stats()) as flight:
        assert flight.may_write
        with pytest.raises(filelock.Timeout):
            filelock.FileLock(lock_file(directory, entry), timeout=0).acquire()


def test_loads_no_module(cache: Path) -> None:
    """Locking leaves `sys.modules` unchanged."""
    before = set(sys.modules)
    with SingleFlight(CacheDir(str(cache)), f"{cache}/m.pyc", Stats()) as flight:
        assert flight.may_write
    assert set(sys.modules) == before


def test_lock_files_are_private(cache: Path) -> None:
    """Others cannot open a lock file, because `flock` would let them delay every start."""
    directory = CacheDir(str(cache))
    with SingleFlight(directory, f"{cache}/m.pyc", Stats()):
        pass
    files = [path for path in (cache / ".pycachehook" / "locks").iterdir() if path.is_file()]
    assert [path.stat().st_mode & 0o077 for path in files] == [0]


def enter(flight: SingleFlight, seen: list[bool]) -> None:
    """Note whether the lock is held by this very flight once it has been entered."""
    with flight:
        seen.append(flight._file is not None)


def is_waiting(thread: threading.Thread) -> bool:
    """Return whether a thread is waiting for a lock."""
    frame = sys._current_frames().get(thread.ident or 0)
    while frame is not None and frame.f_code is not single_flight._wait.__code__:
        frame = frame.f_back
    return frame is not None


def test_waits_for_another_thread(cache: Path) -> None:
    """A thread waits for the lock of another one, so that no other process compiles the same file meanwhile."""
    directory, entry = CacheDir(str(cache)), f"{cache}/m.pyc"
    seen: list[bool] = []
    with SingleFlight(directory, entry, Stats()):
        thread = threading.Thread(target=enter, args=(SingleFlight(directory, entry, Stats()), seen))
        thread.start()
        while thread.is_alive() and not is_waiting(thread):
            pass
        assert seen == []
    thread.join()
    assert seen == [True]


def test_does_not_wait_forever_for_another_thread(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread compiles without the lock if another thread keeps it: that may be waiting for this one."""
    monkeypatch.setattr(single_flight, "THREAD_PATIENCE", 0.01)
    directory, entry = CacheDir(str(cache)), f"{cache}/m.pyc"
    seen: list[bool] = []
    with SingleFlight(directory, entry, Stats()):
        flight = SingleFlight(directory, entry, Stats())
        thread = threading.Thread(target=enter, args=(flight, seen))
        thread.start()
        thread.join()
        assert (seen, flight.may_write, flight.timed_out) == ([False], True, False)
    assert directory.lock_time_left > 0
