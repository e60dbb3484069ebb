"""What is known of a pulled archive: a small JSON file beside it, `<archive>.bundle.json`."""

import json
import os
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

from pycachehook.paths import TEMPORARY_PREFIX, TEMPORARY_SUFFIX

SUFFIX = ".bundle.json"
LIMIT = 1 << 16


@dataclass(frozen=True)
class Record:
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
        record = Record(**{name: document[name] for name in Record.__dataclass_fields__})
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    numbers = (record.size, record.mtime_ns, record.created, record.pulled)
    texts = (record.sha256, record.source, "" if record.signer is None else record.signer)
    sound = all(type(each) is int for each in numbers) and all(isinstance(each, str) for each in texts)
    return record if sound else None


def write(archive: str, record: Record) -> None:
    """Write the record of the archive, whole, by rename; raises OSError."""
    temporary = os.path.join(os.path.dirname(archive), f"{TEMPORARY_PREFIX}{unique()}{TEMPORARY_SUFFIX}")
    try:
        with open(temporary, "x", encoding="utf-8") as file:
            json.dump(asdict(record), file, indent=1)
            file.write("\n")
        os.replace(temporary, archive + SUFFIX)
    except BaseException:
        remove(temporary)
        raise


def remove(path: str) -> None:
    """Remove a file of ours, if it is there and can be removed."""
    with suppress(OSError):
        os.unlink(path)


def unique() -> str:
    """Return a part of a file name that no other process has, on this machine or another."""
    return f"{os.getpid()}-{os.urandom(8).hex()}"


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
