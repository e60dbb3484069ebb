"""`archive push`: publish an archive, compressed and signed, for other machines to pull."""

import hashlib
import os
import tempfile
from typing import IO, Any, NamedTuple

from pycachehook.archive import Archive
from pycachehook.archive_format import hash_of_names
from pycachehook.commands import archive_verify
from pycachehook.errors import PycacheHookError

from .compression import compress
from .deadline import Deadline
from .environment import distributions, this_interpreter
from .errors import BundleError
from .limits import BLOCK_SIZE, MANIFEST_LIMIT
from .manifest import Blob, Manifest, ManifestRoot, encode
from .signatures import sign
from .transports import open_transport, public

TIMEOUT = 3600.0
_INSTALLED = ("purelib", "platlib")  # roots whose distributions the manifest lists


class Pushed(NamedTuple):
    """The result: destination and variant, the archive's digest for `--pin`, and sizes in bytes."""

    destination: str
    variant: str
    sha256: str
    size: int
    payload_size: int
    created: int
    signed: bool

    def as_dict(self) -> dict[str, Any]:
        """Return the result as plain data, as printed by `archive push --json`."""
        return self._asdict()


def push(archive: str, dest: str, key: str | None = None, timeout: float = TIMEOUT) -> Pushed:
    """Publish the file `archive` at `dest`, signed with the secret key in the file `key`; raises `BundleError`."""
    archive = os.path.abspath(archive)
    deadline = Deadline(timeout)
    opened = _open(archive)
    transport = deadline.call(lambda: open_transport(dest, timeout))
    with tempfile.TemporaryDirectory(prefix="pycachehook-") as folder:
        payload = os.path.join(folder, "payload")
        try:
            with open(archive, "rb") as source, open(payload, "x+b") as target:
                compress(source, target)
                manifest = describe_archive(opened, _blob(source), _blob(target), _created(source))
        except OSError as error:
            raise BundleError(f"{archive} cannot be compressed: {error.strerror or error}.") from None
        data = encode(manifest)
        if len(data) > MANIFEST_LIMIT:
            raise BundleError(f"The manifest would be larger than {MANIFEST_LIMIT} bytes.")
        signature = None if key is None else sign(data, key, manifest.created)
        deadline.call(lambda: transport.publish(manifest, data, signature, payload))
    return Pushed(
        destination=public(dest),
        variant=manifest.interpreter.variant,
        sha256=manifest.archive.sha256,
        size=manifest.archive.size,
        payload_size=manifest.payload.size,
        created=manifest.created,
        signed=signature is not None,
    )


def _open(path: str) -> Archive:
    try:
        archive = archive_verify.open_archive(path)
        bad = archive_verify.verify_archive(archive, sources=False).bad
    except (PycacheHookError, OSError) as error:
        raise BundleError(str(error) if isinstance(error, PycacheHookError) else f"{path}: {error.strerror}.") from None
    if bad:
        name, verdict, detail = bad[0]
        if verdict == archive_verify.MISPLACED:
            raise BundleError(f"{path} is not pushed: {detail}; build it again with `pycachehook archive build`.")
        raise BundleError(f"{path} is not pushed: {name} is {verdict}{detail and f' ({detail})'}.")
    return archive


def describe_archive(archive: Archive, whole: Blob, payload: Blob, created: int) -> Manifest:
    """Return the manifest of an archive; raises `BundleError` if its roots have changed since it was built."""
    for root in archive.roots:
        try:
            same = hash_of_names(root.directory, os.path.basename(archive.path_name)) == root.listing_hash
        except OSError:
            same = False
        if not same:
            raise BundleError(
                f"{root.directory or root.name} is no longer what the archive was built from: build it again."
            )
    ordered = sorted(archive.roots, key=lambda root: root.name)
    directories = [root.directory for root in ordered if root.name in _INSTALLED]
    mode = "unchecked-hash" if archive.mode == "unchecked-hash" else "checked-hash"
    return Manifest(
        archive=whole,
        payload=payload,
        interpreter=this_interpreter(),
        invalidation_mode=mode,
        roots=tuple(ManifestRoot(root.name, root.location, root.listing_hash.hex()) for root in ordered),
        distributions=distributions(directories) if directories else (),
        created=created,
    )


def _blob(file: IO[bytes]) -> Blob:
    digest = hashlib.sha256()
    file.seek(0)
    while part := file.read(BLOCK_SIZE):
        digest.update(part)
    return Blob(digest.hexdigest(), file.tell())


def _created(file: IO[bytes]) -> int:
    """Return SOURCE_DATE_EPOCH, or the archive's mtime: the same for each push of the same archive."""
    given = os.environ.get("SOURCE_DATE_EPOCH")
    if given is None:
        return max(0, int(os.fstat(file.fileno()).st_mtime))
    if not given.isascii() or not given.isdigit() or len(given) > 15:  # noqa: PLR2004 -- millions of years
        raise BundleError(f"SOURCE_DATE_EPOCH is {given!r}: it must be a number of seconds.")
    return int(given)
