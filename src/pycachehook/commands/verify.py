"""Whether every entry of a cache is sound and still stands for its source: `pycachehook verify`."""

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
    Found,
    origin_of,
    remove,
    remove_emptied,
    require_mark,
    source_of,
    walk,
)

SOUND = "sound"
ORPHANED = "orphaned"  # its source is gone
UNKNOWN = "unknown"  # its source cannot be read by this user
NOT_BAD = (SOUND, UNKNOWN, FOREIGN, TEMPORARY)

# In a child, since a damaged body may crash marshal. Its own seal would have told of damage; these have none.
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


# The verdicts that say what is in a file, or whose it is. What could not be read just now may be sound.
_REMOVED = (CORRUPT, WRONG_MAGIC, STALE_SOURCE, OTHER_MODE, UNTRUSTED, ORPHANED)

_PACKAGES = os.path.dirname(os.path.dirname(os.path.abspath(pyc.__file__)))  # where this package lies


@dataclass
class Verified:
    """How many files have which verdict, and those that are bad: path, verdict and a few words more.

    `judged_as` is the uid of the cache directory's owner, if that is somebody else: what is trusted is what the
    owner's processes trust. `removed` has the paths of what was removed.
    """

    counts: Counter[str] = field(default_factory=Counter)
    bad: list[tuple[str, str, str]] = field(default_factory=list)
    judged_as: int | None = None
    removed: set[str] = field(default_factory=set)

    def as_dict(self) -> dict[str, object]:
        """Return the same as plain data, as `verify --json` prints it."""
        bad = [{"path": path, "verdict": verdict, "detail": detail} for path, verdict, detail in self.bad]
        judged = {} if self.judged_as is None else {"judged_as": self.judged_as}
        return {"counts": dict(self.counts), "bad": bad, **judged}


def verify(cache_dir: str, *, allow_shared: bool = False, fix: bool = False) -> Verified:
    """Check every file in the cache, and with `fix` remove what is bad.

    A verdict is "sound", "orphaned", a reason of a miss, or for what is not judged "unknown" (this user may not read the
    source), or "foreign" or "temporary", which is no entry of this interpreter's. Raises OSError if the directory cannot
    be read, PycacheHookError if it is not marked as a cache and something is to be removed, or cannot be removed.
    """
    if fix:
        require_mark(cache_dir)
    outcome = Verified()
    owners: tuple[int, ...] = ()
    if not allow_shared:
        owners, outcome.judged_as = _owners(cache_dir)
    for found, verdict, detail in _verdicts(cache_dir, owners):
        outcome.counts[verdict] += 1
        if verdict not in NOT_BAD:
            outcome.bad.append((found.path, verdict, detail))
            if fix and verdict in _REMOVED and remove(cache_dir, found):
                outcome.removed.add(found.path)
    remove_emptied(cache_dir, outcome.removed)
    return outcome


def _owners(cache_dir: str) -> tuple[tuple[int, ...], int | None]:
    """Return the uids whose entries the processes trust that use this cache, and its owner, if that is not this user."""
    owners, owner = trusted_owners(), os.stat(cache_dir).st_uid
    hidden = unmapped()
    if not owners or owner == owners[0] or (hidden is not None and owner == hidden.uid):
        return owners, None
    return (owner, *(each for each in owners if each == 0)), owner


def _verdicts(cache_dir: str, owners: tuple[int, ...]) -> Iterator[tuple[Found, str, str]]:
    unsealed = []
    for found in walk(cache_dir):
        if found.kind not in (ENTRY, SHARED):
            yield found, found.kind, ""
            continue
        try:
            if found.kind == SHARED:
                sealed = _check_shared(cache_dir, found.path, owners)
            else:
                sealed = _check(found.path, found.source, owners)
        except Miss as miss:
            if miss.reason != ABSENT:
                yield found, miss.reason, miss.detail
            continue
        if sealed:
            yield found, SOUND, ""
        else:
            unsealed.append(found)
    yield from _read_bodies(unsealed)


def _check(path: str, source: str, owners: tuple[int, ...]) -> bool:
    """Say whether the entry is sealed; raise `Miss` with the verdict if something is wrong with it."""
    data = _read(path, owners)
    flags, stamp = pyc.read_header(data)
    source = source_of(data, source)
    try:
        found = SourceFile(source)
        found.data()
    except PermissionError as error:
        raise Miss(UNKNOWN, f"{source}: {error.strerror}") from None
    except FileNotFoundError:
        raise Miss(ORPHANED, f"{source} is gone") from None
    except OSError as error:
        raise Miss(IO_ERROR, f"{source}: {error.strerror or error}") from None
    expected = found.stamp(flags)
    if stamp != expected:
        raise Miss(STALE_SOURCE, f"entry has {stamp.hex()}, source has {expected.hex()}")
    if pyc.is_sealed(data) and pyc.second_hash(found.data()) != data[-16:-8]:
        raise Miss(STALE_SOURCE, "another source with the same source_hash")
    return pyc.is_sealed(data)


def _check_shared(cache_dir: str, path: str, owners: tuple[int, ...]) -> bool:
    """As `_check`. Of the source no more is asked than that the entry's name is right, if it is still where it was."""
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
    """Return where an entry of this interpreter's for this source may lie, at the optimization level that its name says."""
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


def _read_bodies(entries: list[Found]) -> Iterator[tuple[Found, str, str]]:
    environment: dict[str, Any] = {**os.environ, "PYCACHEHOOK_DISABLE": "1"}
    rest = entries
    while rest:
        lines = "".join(f"{json.dumps(each)}\n" for each in (_PACKAGES, *(found.path for found in rest)))
        command = [sys.executable, "-I", "-S", "-c", _READ_BODIES]  # nothing of the current directory runs
        child = subprocess.run(command, input=lines, capture_output=True, text=True, check=False, env=environment)
        verdicts = child.stdout.split()
        for found, verdict in zip(rest, verdicts, strict=False):
            yield found, verdict, "" if verdict == SOUND else "body"
        rest = rest[len(verdicts) :]
        if child.returncode > 0:
            raise PycacheHookError(
                f"The entries without a seal cannot be checked: {child.stderr.strip().splitlines()[-1]}"
            )
        if rest:
            yield rest[0], CORRUPT, f"reading it ended the process ({child.returncode})"
            rest = rest[1:]
