"""What is known of a pulled archive: a small JSON file beside it, `<archive>.bundle.json`."""

import json
import os
import time
from contextlib import suppress
from typing import Any, NamedTuple

from pycachehook.paths import TEMPORARY_PREFIX, TEMPORARY_SUFFIX

SUFFIX = ".bundle.json"
LIMIT = 1 << 16

_ABANDONED = 86400  # seconds
_TEMPORARY = r"bundle-([0-9a-f]{32})-([0-9a-f]{8})-(\d{1,20})-[0-9a-f]{16}\.(part|whole|record)"


class Record(NamedTuple):
    """One pull: the archive's digest, its size and mtime in nanoseconds then, and where it came from.

    `created` and `pulled` are seconds since 1970; `signer` is the id of the key that signed the manifest, None where it
    was not signed; `source` is without passwords.
    """

    sha256: str
    size: int
    mtime_ns: int
    created: int
    pulled: int
    signer: str | None
    source: str


def read(archive: str) -> Record | None:
    """Return what was recorded when the archive was pulled; None where nothing, or nothing readable, is."""
    try:
        with open(archive + SUFFIX, "rb") as file:
            document = json.loads(file.read(LIMIT))
        record = Record(**{name: document[name] for name in Record._fields})
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    numbers = (record.size, record.mtime_ns, record.created, record.pulled)
    texts = (record.sha256, record.source, "" if record.signer is None else record.signer)
    sound = all(type(each) is int for each in numbers) and all(isinstance(each, str) for each in texts)
    return record if sound else None


def write(archive: str, record: Record) -> None:
    """Write the record of the archive, whole, by rename; raises OSError."""
    temporary = temporary_path(os.path.dirname(archive), record.sha256, "record")
    try:
        with open(temporary, "x", encoding="utf-8") as file:
            json.dump(record._asdict(), file, indent=1)
            file.write("\n")
        os.replace(temporary, archive + SUFFIX)
    except BaseException:
        remove(temporary)
        raise


def remove(path: str) -> None:
    """Remove a file of ours, if it is there and can be removed."""
    with suppress(OSError):
        os.unlink(path)


def temporary_path(folder: str, digest: str, kind: str) -> str:
    """Return a path that no other process has, on this machine or another, for a file that is being written.

    Its name says what it is of, on which machine, and by which process: see `Temporary`.
    """
    unique = f"{_host()}-{os.getpid()}-{os.urandom(8).hex()}"
    return os.path.join(folder, f"{TEMPORARY_PREFIX}bundle-{digest[:32]}-{unique}.{kind}{TEMPORARY_SUFFIX}")


def _host() -> str:
    import hashlib
    import platform

    return hashlib.sha256(platform.node().encode()).hexdigest()[:8]


class Temporary(NamedTuple):
    """A file that a process left that is no more: its path, its size, and what its name says."""

    path: str
    size: int
    digest: str
    kind: str


def abandoned(folder: str) -> list[Temporary]:
    """Return the files below `folder` with names of `temporary_path`, of processes that are no more; raises OSError.

    Process ids say nothing of other machines: their files are nobody's after a day without a write.
    """
    import re

    name = re.compile(re.escape(TEMPORARY_PREFIX) + _TEMPORARY + re.escape(TEMPORARY_SUFFIX))
    found = []
    now = time.time()
    with os.scandir(folder) as files:
        for each in files:
            match = name.fullmatch(each.name)
            if match is None or not each.is_file(follow_symlinks=False):
                continue
            digest, host, process, kind = match.groups()
            status = each.stat(follow_symlinks=False)
            gone = host == _host() and not _alive(int(process))
            if gone or now - status.st_mtime > _ABANDONED:
                found.append(Temporary(each.path, status.st_size, digest, kind))
    return found


def _alive(process: int) -> bool:
    """Say whether there is such a process on this machine, as far as can be known."""
    if os.name != "posix":
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


def holds(record: Record | None, archive: str) -> bool:
    """Say whether the file is still the one that was recorded, by its size and mtime."""
    try:
        status = os.stat(archive)
    except OSError:
        return False
    return record is not None and (record.size, record.mtime_ns) == (status.st_size, status.st_mtime_ns)


def describe(archive_path: str) -> dict[str, Any]:
    """Return what is known of where an archive came from, as plain data.

    `digest` is its SHA-256 digest, `created` when its bundle was made and `pulled` when it came, in seconds since 1970,
    `age` seconds since `created`, `signer` the id of the key that signed it, `source` where it came from. All are None
    where nothing was recorded, or where the file is no longer the recorded one: then `changed` is true.
    """
    record = read(os.path.abspath(archive_path))
    if record is None or not holds(record, archive_path):
        names = ("digest", "created", "pulled", "age", "signer", "source")
        return {**dict.fromkeys(names), "changed": record is not None}
    return {
        "digest": record.sha256,
        "created": record.created,
        "pulled": record.pulled,
        "age": max(0, int(time.time()) - record.created),
        "signer": record.signer,
        "source": record.source,
        "changed": False,
    }
