"""Removal of entries that are not needed any more: `pycachehook prune`, the only command that deletes valid entries.

It may run at the same time as imports and other prunes: an entry that vanishes is a miss, and one that has been written
or used since it was examined is kept. Nothing outside the cache is touched, because no link is followed. A directory is
removed with its last file.
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
    CachedFile,
    holds_bytecode_alone,
    remove,
    remove_emptied,
    require_mark,
    source_of,
    walk,
)

HOUR = 3600.0  # seconds: an older temporary file has been abandoned

_OTHERS_TEMPORARY = re.compile(r".*\.pyc\.\d+", re.DOTALL)  # temporary files of CPython


@dataclass(frozen=True)
class Limits:
    """The limits of a cache: bytes, files, seconds since a file was last used; None is no limit."""

    size: int | None = None
    files: int | None = None
    age: float | None = None
    orphans: bool = False


@dataclass
class Pruned:
    """The removed paths with reasons, and what is left; `marked` is whether the directory is a cache of pycachehook."""

    removed: list[tuple[str, str]] = field(default_factory=list)
    removed_bytes: int = 0
    files: int = 0
    bytes: int = 0
    marked: bool = True

    def as_dict(self) -> dict[str, object]:
        """Return the result as plain data, as printed by `prune --json`."""
        removed = [{"path": path, "reason": reason} for path, reason in self.removed]
        return {"removed": removed, "removed_bytes": self.removed_bytes, "files": self.files, "bytes": self.bytes}


def prune(cache_dir: str, limits: Limits, *, dry_run: bool = False) -> Pruned:
    """Remove files beyond the limits, the least recently used first, and any abandoned files.

    Bytecode of other tools and interpreters is treated in the same way; other files are kept. Raises `PycacheHookError`
    for a directory that is not pycachehook's cache. A directory that is empty, or contains only bytecode written by
    other tools below `sys.pycache_prefix`, may become one; nothing is removed from it.
    """
    if not is_marked(cache_dir) and holds_bytecode_alone(cache_dir):
        return Pruned(marked=False)
    require_mark(cache_dir)
    now = time.time()
    outcome = Pruned()
    ranked = limits.size is not None or limits.files is not None
    kept = []  # collected only if they have to be sorted: there may be a million
    files = size = 0
    for file in walk(cache_dir):
        reason = _reason(file, limits, now)
        if reason:
            _remove(cache_dir, file, reason, outcome, dry_run=dry_run)
        elif file.bytecode:
            files, size = files + 1, size + file.size
            if ranked:
                kept.append(file)
    kept.sort(key=lambda file: file.used)
    for file in kept:
        over_size = limits.size is not None and size > limits.size
        if not over_size and (limits.files is None or files <= limits.files):
            break
        _remove(cache_dir, file, "size" if over_size else "files", outcome, dry_run=dry_run)
        files, size = files - 1, size - file.size
    outcome.files, outcome.bytes = files, size
    if not dry_run:
        remove_emptied(cache_dir, (path for path, _ in outcome.removed))
    return outcome


def _reason(file: CachedFile, limits: Limits, now: float) -> str:
    name = os.path.basename(file.path)
    if file.kind == TEMPORARY or _OTHERS_TEMPORARY.fullmatch(name):
        return "temporary" if now - file.used > HOUR else ""
    if not file.bytecode:
        return ""
    if limits.age is not None and now - file.used > limits.age:
        return "age"
    if limits.orphans and file.kind == ENTRY and not os.path.lexists(file.source) and _is_orphan(file):
        return "orphan"
    return ""


def _remove(cache_dir: str, file: CachedFile, reason: str, outcome: Pruned, *, dry_run: bool) -> None:
    if dry_run or remove(cache_dir, file):
        outcome.removed.append((file.path, reason))
        outcome.removed_bytes += file.size


def _is_orphan(file: CachedFile) -> bool:
    try:
        data, _ = read_file(file.path, ENTRY_FLAGS)
        return not os.path.lexists(source_of(data, file.source))
    except (OSError, Miss):  # damaged entries are for `verify`
        return False
