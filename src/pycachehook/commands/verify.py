"""Checks of every entry of a cache: whether it is undamaged and matches its source. `pycachehook verify`."""

import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from pycachehook import pyc
from pycachehook.cache_dir import fault_of, trusted_owners
from pycachehook.commands.source_file import SourceFile
from pycachehook.content_store import Names
from pycachehook.errors import PycacheHookError
from pycachehook.events import ABSENT, CORRUPT, IO_ERROR, OTHER_MODE, STALE_SOURCE, UNTRUSTED, WRONG_MAGIC, Miss
from pycachehook.paths import Layout
from pycachehook.system import ENTRY_FLAGS, read_file
from pycachehook.trust import unmapped

from .cache_walk import (
    ENTRY,
    FOREIGN,
    SHARED,
    TEMPORARY,
    CachedFile,
    origin_of,
    remove,
    remove_emptied,
    require_mark,
    source_of,
    walk,
)

SOUND = "sound"
ORPHANED = "orphaned"  # its source no longer exists
UNKNOWN = "unknown"  # its source cannot be read by this user
NOT_BAD = (SOUND, UNKNOWN, FOREIGN, TEMPORARY)

# Runs in a child process, because damaged entries without a seal may crash marshal.
_READ_BODIES = """
import json, sys
sys.path.append(json.loads(sys.stdin.readline()))
from pycachehook import pyc
from pycachehook.events import Miss
from pycachehook.system import READ_FLAGS, read_file
for line in sys.stdin:
    try:
        pyc.load(read_file(json.loads(line), READ_FLAGS)[0], "")
    except (Miss, OSError):
        print("corrupt", flush=True)
    else:
        print("sound", flush=True)
"""


# Verdicts about content or owner, for which --fix removes the file. An unreadable file may be sound.
_REMOVED = (CORRUPT, WRONG_MAGIC, STALE_SOURCE, OTHER_MODE, UNTRUSTED, ORPHANED)

_PACKAGES = os.path.dirname(os.path.dirname(os.path.abspath(pyc.__file__)))  # the directory that contains this package


@dataclass
class Verified:
    """The number of files with each verdict, and the bad ones: path, verdict and detail.

    `judged_as` is the uid of the cache directory's owner if that is another user: the check trusts what the owner's
    processes trust. `removed` contains the paths of removed files.
    """

    counts: Counter[str] = field(default_factory=Counter)
    bad: list[tuple[str, str, str]] = field(default_factory=list)
    judged_as: int | None = None
    removed: set[str] = field(default_factory=set)

    def as_dict(self) -> dict[str, object]:
        """Return the result as plain data, as printed by `verify --json`."""
        bad = [{"path": path, "verdict": verdict, "detail": detail} for path, verdict, detail in self.bad]
        judged = {} if self.judged_as is None else {"judged_as": self.judged_as}
        return {"counts": dict(self.counts), "bad": bad, **judged}


def verify_cache(cache_dir: str, *, allow_shared: bool = False, fix: bool = False) -> Verified:
    """Check every file in the cache, and remove the bad ones with `fix`.

    A verdict is "sound", "orphaned", or a reason of a miss. Files that are not checked have the verdict "unknown" if
    this user may not read the source, or "foreign" or "temporary" if they are no entries of this interpreter. Raises
    OSError if the directory cannot be read, PycacheHookError if files are to be removed and the directory is not marked
    as a cache or the removal fails.
    """
    if fix:
        require_mark(cache_dir)
    outcome = Verified()
    owners: tuple[int, ...] = ()
    if not allow_shared:
        owners, outcome.judged_as = _owners(cache_dir)
    for file, verdict, detail in _verdicts(cache_dir, owners):
        outcome.counts[verdict] += 1
        if verdict not in NOT_BAD:
            outcome.bad.append((file.path, verdict, detail))
            if fix and verdict in _REMOVED and remove(cache_dir, file):
                outcome.removed.add(file.path)
    remove_emptied(cache_dir, outcome.removed)
    return outcome


def _owners(cache_dir: str) -> tuple[tuple[int, ...], int | None]:
    """Return the uids that the processes using this cache trust, and its owner unless that is this user."""
    owners, owner = trusted_owners(), os.stat(cache_dir).st_uid
    hidden = unmapped()
    if not owners or owner == owners[0] or (hidden is not None and owner == hidden.uid):
        return owners, None
    return (owner, *(uid for uid in owners if uid == 0)), owner


def _verdicts(cache_dir: str, owners: tuple[int, ...]) -> Iterator[tuple[CachedFile, str, str]]:
    unsealed = []
    for file in walk(cache_dir):
        if file.kind not in (ENTRY, SHARED):
            yield file, file.kind, ""
            continue
        try:
            if file.kind == SHARED:
                sealed = _check_shared(cache_dir, file.path, owners)
            else:
                sealed = _check(file.path, file.source, owners)
        except Miss as miss:
            if miss.reason != ABSENT:
                yield file, miss.reason, miss.detail
            continue
        if sealed:
            yield file, SOUND, ""
        else:
            unsealed.append(file)
    yield from _read_bodies(unsealed)


def _check(path: str, source: str, owners: tuple[int, ...]) -> bool:
    """Return whether the entry is sealed; raises `Miss` with the verdict if something is wrong with it."""
    data = _read(path, owners)
    flags, stamp = pyc.read_header(data)
    source = source_of(data, source)
    try:
        source_file = SourceFile(source)
        source_file.data()
    except PermissionError as error:
        raise Miss(UNKNOWN, f"{source}: {error.strerror}") from None
    except FileNotFoundError:
        raise Miss(ORPHANED, f"{source} does not exist") from None
    except OSError as error:
        raise Miss(IO_ERROR, f"{source}: {error.strerror or error}") from None
    expected = source_file.stamp(flags)
    if stamp != expected:
        raise Miss(STALE_SOURCE, f"entry has {stamp.hex()}, source has {expected.hex()}")
    if pyc.is_sealed(data) and pyc.second_hash(source_file.data()) != data[-16:-8]:
        raise Miss(STALE_SOURCE, "the source is another one with the same source_hash")
    return pyc.is_sealed(data)


def _check_shared(cache_dir: str, path: str, owners: tuple[int, ...]) -> bool:
    """Do the same for a shared entry, of which only the name is compared with its source, if that still exists."""
    data = _read(path, owners)
    flags, stamp = pyc.read_header(data)
    if flags != pyc.FLAGS[pyc.CHECKED_HASH]:
        raise Miss(OTHER_MODE, "a shared entry is checked-hash")
    if not pyc.is_sealed(data):
        raise Miss(CORRUPT, "no seal")
    source = SourceFile(origin_of(data))
    try:
        same = source.hash() == stamp
    except OSError:
        return True
    if same and os.path.normpath(path) not in _names_of(cache_dir, path, source.data()):
        raise Miss(CORRUPT, f"its name is not that of {source.path}")
    return True


def _names_of(cache_dir: str, path: str, source: bytes) -> list[str]:
    """Return the possible paths of the source's entry for this interpreter, at the optimization level of `path`."""
    level = re.search(r"\.opt-(\d+)\.pyc$", path)
    layout = Layout(sys.implementation.cache_tag or "", int(level[1]) if level else 0)
    return [os.path.normpath(Names(layout, columns=columns).entry(cache_dir, source)) for columns in (True, False)]


def _read(path: str, owners: tuple[int, ...]) -> bytes:
    try:
        data, status = read_file(path, ENTRY_FLAGS)
    except FileNotFoundError:  # removed since it was listed
        raise Miss(ABSENT) from None
    except PermissionError as error:
        raise Miss(UNKNOWN, error.strerror or "") from None
    except OSError as error:
        raise Miss(IO_ERROR, error.strerror or str(error)) from None
    fault = fault_of(status, owners)
    if fault is not None:
        raise Miss(UNTRUSTED, fault)
    return data


def _read_bodies(entries: list[CachedFile]) -> Iterator[tuple[CachedFile, str, str]]:
    environment: dict[str, Any] = {**os.environ, "PYCACHEHOOK_DISABLE": "1"}
    remaining = entries
    while remaining:
        lines = "".join(f"{json.dumps(item)}\n" for item in (_PACKAGES, *(file.path for file in remaining)))
        command = [sys.executable, "-I", "-S", "-c", _READ_BODIES]  # runs no code from the current directory
        child = subprocess.run(command, input=lines, capture_output=True, text=True, check=False, env=environment)
        verdicts = child.stdout.split()
        for file, verdict in zip(remaining, verdicts, strict=False):
            yield file, verdict, "" if verdict == SOUND else "body"
        remaining = remaining[len(verdicts) :]
        if child.returncode > 0:
            raise PycacheHookError(
                f"The entries without a seal cannot be checked: {child.stderr.strip().splitlines()[-1]}"
            )
        if remaining:
            yield remaining[0], CORRUPT, f"reading it ended the process ({child.returncode})"
            remaining = remaining[1:]
