"""`archive pull`: fetch an archive before the first import that uses it.

The order of checks is that of python-tuf's client: first the small, signed metadata; then whether the bundle is wanted
here; then the large transfer, within bounds set by the signed part; then the verification of all data; and last the
rename. A failure at any point leaves the existing archive unchanged.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from . import record as records
from .deadline import Deadline
from .environment import check_environment, check_interpreter, this_interpreter
from .errors import BundleError, NotFoundAtSourceError
from .manifest import Manifest, decode
from .record import Record
from .signatures import verify_signature
from .transports import Transport
from .unchanged import Place, Policy, Pulled, file_digest, policy

__all__ = ["Policy", "Pulled", "fetch", "policy", "pull"]


def pull(
    source: str, dest: str, wanted: Policy, progress: Callable[[int, int], object] = lambda _done, _total: None
) -> Pulled:
    """Fetch the bundle at `source` for this interpreter into the file `dest`, unless it is there already.

    `progress` is called with the number of bytes just received and the total number. Raises `BundleError`.
    """
    place = Place(source, dest, wanted)
    return place.unchanged() or fetch(place, progress)


def fetch(place: Place, progress: Callable[[int, int], object]) -> Pulled:
    """Fetch the bundle of a place that has something else than the existing archive; see `pull`."""
    dest, deadline, transport, wanted = place.dest, place.deadline, place.transport, place.wanted
    data = fetch_manifest(transport, place.variant, place.public, deadline)
    manifest = decode(data)
    signer = authenticate(lambda: transport.signature(data), data, manifest, wanted, deadline)
    check_wanted(manifest, dest, wanted, place.record)
    from .download import Part, download
    from .staging import prepare_directory, stage

    prepare_directory(dest)
    with single_flight(dest, deadline):
        if file_digest(dest, manifest.archive.size, deadline) == manifest.archive.sha256:
            status = os.stat(dest)
            return Pulled(dest, write_record(dest, status, manifest, signer, place.public), changed=False)
        received = 0

        def count(size: int) -> None:
            nonlocal received
            received += size
            progress(size, manifest.payload.size)

        def fill(part: Part) -> None:
            part.take_over()
            download(transport, manifest, part, deadline, count)

        status = stage(manifest, dest, deadline, fill).commit()
        written = write_record(dest, status, manifest, signer, place.public)
    return Pulled(dest, written, changed=True, received=received)


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
    path = os.path.join(folder, f"{TEMPORARY_PREFIX}{name}.lock{TEMPORARY_SUFFIX}")
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        if not os.path.lexists(path):  # filelock would wait for a directory in which nothing can be created
            raise BundleError(f"Nothing can be written to {folder}: {error.strerror or error}.") from None
    lock = FileLock(path, mode=0o600)
    with suppress(Timeout, OSError, NotImplementedError):
        lock.acquire(timeout=deadline.left() / 2)
    try:
        yield
    finally:
        lock.release(force=True)
