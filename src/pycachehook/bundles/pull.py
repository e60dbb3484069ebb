"""`archive pull`: fetch an archive before the first import that uses it.

The order of checks is that of python-tuf's client: first the small, signed metadata; then whether the bundle is wanted
here; then the large transfer, within bounds set by the signed part; then the verification of all data; and last the
rename. A failure at any point leaves the existing archive unchanged.
"""

import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

from . import record as records
from .deadline import Deadline
from .environment import check_environment, check_interpreter, this_interpreter
from .errors import BundleError, NotFoundAtSourceError
from .manifest import Manifest, decode
from .record import Record
from .signatures import key_id, read_public_key, verify_signature
from .transports import BLOCK_SIZE, Transport, open_transport, public

MAX_SIZE = 4 << 30
TIMEOUT = 600.0


class Policy(NamedTuple):
    """The conditions for a pull.

    `keys` are base64 lines, one of which must have signed the bundle; `pin` is the required SHA-256 digest of the
    archive.
    """

    keys: tuple[str, ...] = ()
    pin: str | None = None
    allow_unsigned: bool = False
    allow_older: bool = False
    max_size: int = MAX_SIZE
    timeout: float = TIMEOUT
    if_changed: bool = False


def policy(keys: "tuple[str, ...] | list[str]" = (), pin: str | None = None, **more: Any) -> Policy:
    """Return the policy for keys given as files or base64 lines; raises `BundleError` if it would accept any bundle."""
    made = Policy(tuple(map(read_public_key, keys)), pin, **more)
    if not made.keys and made.pin is None and not made.allow_unsigned:
        raise BundleError(
            "Nothing says which bundles are authentic: give --key PUB or --pin SHA256, or accept any with --allow-unsigned."
        )
    return made


class Pulled(NamedTuple):
    """The result: `changed` is whether the archive was replaced, `received` the number of received payload bytes."""

    path: str
    changed: bool
    sha256: str
    size: int
    created: int
    signer: str | None
    source: str
    received: int

    def as_dict(self) -> dict[str, Any]:
        """Return the result as plain data, as printed by `archive pull --json`."""
        return self._asdict()


def pull(
    source: str, dest: str, wanted: Policy, progress: Callable[[int, int], object] = lambda _done, _total: None
) -> Pulled:
    """Fetch the bundle at `source` for this interpreter into the file `dest`, unless it is there already.

    `progress` is called with the number of bytes just received and the total number. Raises `BundleError`.
    """
    return _Pull(source, os.path.abspath(dest), wanted).run(progress)


class _Pull:
    def __init__(self, source: str, dest: str, wanted: Policy) -> None:
        self.public = public(source)
        self.dest = dest
        self.wanted = wanted
        self.deadline = Deadline(wanted.timeout)
        self.transport = self.deadline.call(lambda: open_transport(source, wanted.timeout))
        self.record = records.read(dest)

    def run(self, progress: Callable[[int, int], object]) -> Pulled:
        variant = this_interpreter().variant
        offered = None if self.record is None else self.deadline.call(lambda: self.transport.digest(variant))
        if offered is not None and self._is_current(offered):
            return self._outcome(self.record, changed=False)
        data = fetch_manifest(self.transport, variant, self.public, self.deadline)
        manifest = decode(data)
        if offered is None and self._is_current(manifest.archive.sha256, manifest.archive.size):
            return self._outcome(self.record, changed=False)
        signer = authenticate(lambda: self.transport.signature(data), data, manifest, self.wanted, self.deadline)
        check_wanted(manifest, self.dest, self.wanted, self.record)
        from .download import Part, download
        from .staging import prepare_directory, stage

        prepare_directory(self.dest)
        with single_flight(self.dest, self.deadline):
            if file_digest(self.dest, manifest.archive.size, self.deadline) == manifest.archive.sha256:
                status = os.stat(self.dest)
                return self._outcome(write_record(self.dest, status, manifest, signer, self.public), changed=False)
            received = 0

            def count(size: int) -> None:
                nonlocal received
                received += size
                progress(size, manifest.payload.size)

            def fill(part: Part) -> None:
                part.take_over()
                download(self.transport, manifest, part, self.deadline, count)

            status = stage(manifest, self.dest, self.deadline, fill).commit()
            written = write_record(self.dest, status, manifest, signer, self.public)
        return self._outcome(written, changed=True, received=received)

    def _is_current(self, digest: str, size: int | None = None) -> bool:
        """Return whether the existing archive is the offered one, and was accepted under the same conditions."""
        record, wanted = self.record, self.wanted
        if record is None or record.sha256 != digest or wanted.pin not in (None, digest):
            return False
        if wanted.keys and record.signer not in [key_id(key) for key in wanted.keys]:
            return False
        return self._digest_of_existing(record.size if size is None else size, believe=wanted.if_changed) == digest

    def _digest_of_existing(self, size: int, *, believe: bool) -> str | None:
        """Return the digest of the existing archive if it has this size; with `believe`, from its record."""
        record = self.record
        if believe and record is not None and records.holds(record, self.dest):
            return record.sha256 if _opens(self.dest) else None
        return file_digest(self.dest, size, self.deadline)

    def _outcome(self, record: Record | None, *, changed: bool, received: int = 0) -> Pulled:
        assert record is not None
        return Pulled(
            path=self.dest,
            changed=changed,
            sha256=record.sha256,
            size=record.size,
            created=record.created,
            signer=record.signer,
            source=record.source,
            received=received,
        )


def file_digest(path: str, size: int, deadline: Deadline) -> str | None:
    """Return the SHA-256 digest of a file of this size; None for another size or an unreadable file."""
    import hashlib

    digest = hashlib.sha256()
    try:
        with open(path, "rb", buffering=0) as file:
            status = os.fstat(file.fileno())
            if status.st_size != size or not stat.S_ISREG(status.st_mode):
                return None
            while part := file.read(BLOCK_SIZE):
                digest.update(part)
                deadline.left()
    except OSError:
        return None
    return digest.hexdigest()


def write_record(dest: str, status: os.stat_result, manifest: Manifest, signer: str | None, source: str) -> Record:
    """Write a record of the archive's origin beside it, and return the record; raises `BundleError`."""
    record = Record(
        sha256=manifest.archive.sha256,
        size=status.st_size,
        mtime_ns=status.st_mtime_ns,
        created=manifest.created,
        pulled=int(time.time()),
        signer=signer,
        source=source,
    )
    try:
        records.write(dest, record)
    except OSError as error:
        reason = error.strerror or error
        raise BundleError(f"{dest} is in place, but its record cannot be written beside it: {reason}.") from None
    return record


def _opens(path: str) -> bool:
    from pycachehook.archive import Archive, Unusable
    from pycachehook.cache_dir import trusted_owners

    try:
        Archive(path, trusted_owners())
    except Unusable:
        return False
    return True


def fetch_manifest(transport: Transport, variant: str, where: str, deadline: Deadline) -> bytes:
    """Return the manifest for this interpreter; raises `BundleError` if there is none."""
    try:
        return deadline.call(lambda: transport.manifest(variant))
    except NotFoundAtSourceError:
        raise BundleError(f"{where} has no bundle for this interpreter, {this_interpreter()}.") from None


def authenticate(
    signature_of: Callable[[], bytes | None], data: bytes, manifest: Manifest, wanted: Policy, deadline: Deadline
) -> str | None:
    """Return the id of the key that signed the manifest, or None if no key was given; raises `BundleError`."""
    if wanted.pin not in (None, manifest.archive.sha256):
        raise BundleError(
            f"The bundle's archive has the digest {manifest.archive.sha256}, not the one given with --pin."
        )
    if not wanted.keys:
        return None
    signature = deadline.call(signature_of)
    if signature is None:
        raise BundleError("The bundle is not signed.")
    return verify_signature(data, signature, wanted.keys)


def check_wanted(manifest: Manifest, dest: str, wanted: Policy, record: Record | None) -> None:
    """Raise `BundleError` if an authentic bundle does not fit here, is too large, or is older than the existing one."""
    check_interpreter(manifest)
    older = record is not None and manifest.created < record.created and os.path.lexists(dest)
    if older and not wanted.allow_older and wanted.pin is None:
        raise BundleError("The bundle is older than the one in place: accept that with --allow-older.")
    check_environment(manifest, dest)
    largest = max(manifest.archive.size, manifest.payload.size)
    if largest > wanted.max_size:
        raise BundleError(
            f"The bundle has {largest} bytes, more than the {wanted.max_size} that are allowed (--max-size)."
        )


@contextmanager
def single_flight(dest: str, deadline: Deadline) -> Iterator[None]:
    """Hold the lock for an archive's final name, if locks work; otherwise the work may be done twice.

    At most half of the remaining time is spent waiting for another process.
    """
    from filelock import FileLock, Timeout

    from pycachehook.paths import TEMPORARY_PREFIX, TEMPORARY_SUFFIX

    folder, name = os.path.split(dest)
    lock = FileLock(os.path.join(folder, f"{TEMPORARY_PREFIX}{name}.lock{TEMPORARY_SUFFIX}"), mode=0o600)
    with suppress(Timeout, OSError, NotImplementedError):
        lock.acquire(timeout=deadline.left() / 2)
    try:
        yield
    finally:
        lock.release(force=True)
