"""Inspection of an archive: `pycachehook archive list` and `archive verify`."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pycachehook._compat import source_hash
from pycachehook.archive import Archive, Root, Unusable
from pycachehook.cache_dir import trusted_owners
from pycachehook.errors import PycacheHookError
from pycachehook.events import CORRUPT, STALE_SOURCE, Miss
from pycachehook.pyc import read_header
from pycachehook.system import READ_FLAGS, read_file

from .verify import NOT_BAD, ORPHANED, SOUND, UNKNOWN, Verified

MISPLACED = "root-changed"  # the names in the root have changed, so the archive is not used for it


@dataclass(frozen=True)
class Entry:
    """One entry: its root, its source's path below the root, and its offset and size in bytes."""

    root: Root
    source: str
    offset: int
    size: int


def open_archive(path: str, *, allow_shared: bool = False) -> Archive:
    """Return the archive at `path`; raises `PycacheHookError` if it cannot be used by this interpreter."""
    try:
        return Archive(os.path.abspath(path), () if allow_shared else trusted_owners())
    except Unusable as refusal:
        raise PycacheHookError(str(refusal)) from None


def entries(archive: Archive) -> Iterator[Entry]:
    """Yield the entries in the order of their offsets; raises `PycacheHookError` for a damaged listing."""
    result = []
    for root in archive.roots:
        listed = [pair for branch in list(root.branches) for pair in archive.positions(root, branch).items()]
        for directory, position in listed:
            listing = archive.read(*position) or {}
            for name, record in listing.items():
                if isinstance(record, tuple) and not record[2]:
                    source = f"{directory}/{name}.py" if directory else f"{name}.py"
                    result.append(Entry(root, source, record[0], record[1]))
    if archive.reason is not None and "is damaged" in archive.reason:
        raise PycacheHookError(archive.reason)
    yield from sorted(result, key=lambda entry: entry.offset)


def contents(archive: Archive) -> dict[str, Any]:
    """Return the contents of an archive as plain data; the keys are in the documentation."""
    roots = [
        {
            "name": root.name,
            "place": root.directory or None,
            "used": bool(root.directory and not root.fault),
            "why": root.fault,
        }
        for root in archive.roots
    ]
    listed = [{"root": entry.root.name, "source": entry.source, "bytes": entry.size} for entry in entries(archive)]
    return {
        "path": archive.path_name,
        "tag": archive.tag,
        "optimization": archive.optimization,
        "mode": archive.mode,
        "start_bytes": archive.start,
        "roots": roots,
        "entries": listed,
    }


def verify_archive(archive: Archive, *, sources: bool) -> Verified:
    """Check the digest of the file, each listing, each entry's seal, each root, and with `sources` each source."""
    from .archive_build import digest_of  # which loads what compiles

    outcome = Verified()
    with open(archive.path_name, "rb") as file:
        end = file.seek(0, os.SEEK_END) - 64
        if digest_of(file, end).encode() != file.read():
            outcome.bad.append((archive.path_name, CORRUPT, "the digest over the whole file"))
    for root in archive.roots:
        if root.fault is not None or not root.directory:
            outcome.bad.append((root.name, MISPLACED, root.fault or "there is no such directory here"))
    for entry in entries(archive):
        verdict, detail = _verdict(archive, entry, sources=sources)
        outcome.counts[verdict] += 1
        if verdict not in NOT_BAD:
            outcome.bad.append((f"{entry.root.name}/{entry.source}", verdict, detail))
    return outcome


def _verdict(archive: Archive, entry: Entry, *, sources: bool) -> tuple[str, str]:
    try:
        _, stamp = read_header(bytes(archive.data(entry.offset, entry.size)))
    except Miss as miss:
        return miss.reason, miss.detail
    if not sources or not entry.root.directory:
        return SOUND, ""
    path = os.path.join(entry.root.directory, entry.source)
    try:
        source_stamp = source_hash(read_file(path, READ_FLAGS)[0])
    except FileNotFoundError:
        return ORPHANED, "its source is gone"
    except OSError:
        return UNKNOWN, ""
    return (
        (SOUND, "")
        if source_stamp == stamp
        else (STALE_SOURCE, f"entry has {stamp.hex()}, source has {source_stamp.hex()}")
    )
