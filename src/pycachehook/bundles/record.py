"""The record of a pulled archive: a small JSON file beside it, `<archive>.bundle.json`."""

import json
import os
import time
from contextlib import suppress

from pycachehook.paths import TEMPORARY_PREFIX, TEMPORARY_SUFFIX

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SUFFIX = ".bundle.json"
LIMIT = 1 << 16

_ABANDONED = 86400  # seconds
_TEMPORARY = r"bundle-([0-9a-f]{32})-([0-9a-f]{8})-(\d{1,20})-[0-9a-f]{16}\.(part|whole|record)"


class Record:
    """The record of one pull: digest, size and mtime in nanoseconds of the archive, and its origin.

    `created` and `pulled` are seconds since 1970. `signer` is the id of the key that signed the manifest, or None.
    `source` contains no passwords.
    """

    __slots__ = ("created", "mtime_ns", "pulled", "sha256", "signer", "size", "source")

    def __init__(
        self, *, sha256: str, size: int, mtime_ns: int, created: int, pulled: int, signer: str | None, source: str
    ) -> None:
        self.sha256 = sha256
        self.size = size
        self.mtime_ns = mtime_ns
        self.created = created
        self.pulled = pulled
        self.signer = signer
        self.source = source


FIELDS = ("sha256", "size", "mtime_ns", "created", "pulled", "signer", "source")


def read(archive: str) -> Record | None:
    """Return the record of an archive; None if there is none that can be read."""
    from .transports.files import read_small

    try:
        document = json.loads(read_small(archive + SUFFIX, LIMIT))
        record = Record(**{name: document[name] for name in FIELDS})
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    numbers = (record.size, record.mtime_ns, record.created, record.pulled)
    texts = (record.sha256, record.source, "" if record.signer is None else record.signer)
    sound = all(type(value) is int for value in numbers) and all(isinstance(value, str) for value in texts)
    return record if sound else None


def write(archive: str, record: Record) -> None:
    """Write the record of the archive by rename; raises OSError."""
    from pycachehook.commands.atomic_write import replacing

    document = {name: getattr(record, name) for name in FIELDS}
    with replacing(archive + SUFFIX) as file:
        file.write(json.dumps(document, indent=1).encode() + b"\n")


def remove(path: str) -> None:
    """Remove a file if it exists and can be removed."""
    with suppress(OSError):
        os.unlink(path)


def temporary_path(folder: str, digest: str, kind: str) -> str:
    """Return a path for a new file that no other process uses, on this machine or another.

    The name contains digest, machine, process and kind of content; see `Temporary`.
    """
    unique = f"{_host()}-{os.getpid()}-{os.urandom(8).hex()}"
    return os.path.join(folder, f"{TEMPORARY_PREFIX}bundle-{digest[:32]}-{unique}.{kind}{TEMPORARY_SUFFIX}")


def _host() -> str:
    import hashlib
    import platform

    return hashlib.sha256(platform.node().encode()).hexdigest()[:8]


class Temporary:
    """A file left by an ended process: its path and size, and the digest and kind in its name."""

    __slots__ = ("digest", "kind", "path", "size")

    def __init__(self, path: str, size: int, digest: str, kind: str) -> None:
        self.path = path
        self.size = size
        self.digest = digest
        self.kind = kind


def abandoned(folder: str) -> list[Temporary]:
    """Return the files in `folder` that are named by `temporary_path` and whose processes have ended; raises OSError.

    The processes of other machines cannot be checked; their files count as abandoned after a day without a write.
    """
    import re

    name = re.compile(re.escape(TEMPORARY_PREFIX) + _TEMPORARY + re.escape(TEMPORARY_SUFFIX))
    result = []
    now = time.time()
    with os.scandir(folder) as files:
        for file in files:
            match = name.fullmatch(file.name)
            if match is None or not file.is_file(follow_symlinks=False):
                continue
            digest, host, process, kind = match.groups()
            try:
                status = file.stat(follow_symlinks=False)
            except FileNotFoundError:  # its process has just renamed or removed it
                continue
            gone = host == _host() and not _alive(int(process))
            if gone or now - status.st_mtime > _ABANDONED:
                result.append(Temporary(file.path, status.st_size, digest, kind))
    return result


def _alive(process: int) -> bool:
    """Return whether a process with this id exists on this machine, or may exist."""
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
    """Return whether the file still has the recorded size and mtime."""
    try:
        status = os.stat(archive)
    except OSError:
        return False
    return record is not None and (record.size, record.mtime_ns) == (status.st_size, status.st_mtime_ns)


def describe(archive_path: str) -> "dict[str, Any]":
    """Return the recorded origin of an archive as plain data.

    `digest` is its SHA-256 digest; `created` and `pulled` are the times at which its bundle was made and pulled, in
    seconds since 1970; `age` is the number of seconds since `created`; `signer` is the id of the key that signed it;
    `source` is where it was pulled from. All are None if there is no record, or if the file is no longer the recorded
    one, in which case `changed` is true.
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
