"""Keeping a cache small: `pycachehook prune`, the only command that deletes entries.

It runs beside imports and other prunes: an entry that vanishes is a miss, and one that has been written or used since
it was looked at stays. Nothing outside the cache is touched, whatever links are in it: every directory on the way to a
file is opened as what it is, and no link is followed. A directory is removed if the last file in it has been.
"""

import os
import re
import time
from dataclasses import dataclass, field

from pycachehook.cache_dir import is_marked
from pycachehook.events import Miss
from pycachehook.system import ENTRY_FLAGS, read_file

from .cache_walk import (
    ENTRY,
    TEMPORARY,
    Found,
    holds_bytecode_alone,
    remove,
    remove_emptied,
    require_mark,
    source_of,
    walk,
)

HOUR = 3600.0  # seconds: a temporary file as old as that is nobody's any more

_OTHERS_TEMPORARY = re.compile(r".*\.pyc\.\d+", re.DOTALL)  # CPython's own


@dataclass(frozen=True)
class Limits:
    """What a cache may hold: bytes, files, seconds since a file was last used; None is no limit."""

    size: int | None = None
    files: int | None = None
    age: float | None = None
    orphans: bool = False


@dataclass
class Pruned:
    """What has been removed, each path with the reason, and what is left. `marked`: whether it is a cache of ours at all."""

    removed: list[tuple[str, str]] = field(default_factory=list)
    removed_bytes: int = 0
    files: int = 0
    bytes: int = 0
    marked: bool = True

    def as_dict(self) -> dict[str, object]:
        """Return the same as plain data, as `prune --json` prints it."""
        removed = [{"path": path, "reason": reason} for path, reason in self.removed]
        return {"removed": removed, "removed_bytes": self.removed_bytes, "files": self.files, "bytes": self.bytes}


def prune(cache_dir: str, limits: Limits, *, dry_run: bool = False) -> Pruned:
    """Remove what is over the limits, the longest unused first, and in any case what is nobody's any more.

    Bytecode of other tools and other interpreters ages like ours; other files stay. Raises `PycacheHookError` for a
    directory that is no cache of ours; one that holds no file, or nothing but what other tools have written by
    `sys.pycache_prefix`, is not one yet, and nothing is removed from it.
    """
    if not is_marked(cache_dir) and holds_bytecode_alone(cache_dir):
        return Pruned(marked=False)
    require_mark(cache_dir)
    now = time.time()
    outcome = Pruned()
    ranked = limits.size is not None or limits.files is not None
    kept = []  # only if it has to be put in order: there may be a million
    files = size = 0
    for found in walk(cache_dir):
        reason = _reason(found, limits, now)
        if reason:
            _remove(cache_dir, found, reason, outcome, dry_run=dry_run)
        elif found.bytecode:
            files, size = files + 1, size + found.size
            if ranked:
                kept.append(found)
    kept.sort(key=lambda found: found.used)
    for found in kept:
        over_size = limits.size is not None and size > limits.size
        if not over_size and (limits.files is None or files <= limits.files):
            break
        _remove(cache_dir, found, "size" if over_size else "files", outcome, dry_run=dry_run)
        files, size = files - 1, size - found.size
    outcome.files, outcome.bytes = files, size
    if not dry_run:
        remove_emptied(cache_dir, (path for path, _ in outcome.removed))
    return outcome


def _reason(found: Found, limits: Limits, now: float) -> str:
    name = os.path.basename(found.path)
    if found.kind == TEMPORARY or _OTHERS_TEMPORARY.fullmatch(name):
        return "temporary" if now - found.used > HOUR else ""
    if not found.bytecode:
        return ""
    if limits.age is not None and now - found.used > limits.age:
        return "age"
    if limits.orphans and found.kind == ENTRY and not os.path.lexists(found.source) and _is_orphan(found):
        return "orphan"
    return ""


def _remove(cache_dir: str, found: Found, reason: str, outcome: Pruned, *, dry_run: bool) -> None:
    if dry_run or remove(cache_dir, found):
        outcome.removed.append((found.path, reason))
        outcome.removed_bytes += found.size


def _is_orphan(found: Found) -> bool:
    try:
        data, _ = read_file(found.path, ENTRY_FLAGS)
        return not os.path.lexists(source_of(data, found.source))
    except (OSError, Miss):  # damaged entries are for `verify`
        return False
