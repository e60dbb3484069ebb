"""How bundles are carried: one small module for each kind of place, behind one interface.

At a place there can be bundles for several interpreters, each under its variant (`manifest.Interpreter.variant`). A
transport takes credentials by its library's own conventions; none are in our options, messages or records.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator

from pycachehook.bundles.errors import BundleError, printable
from pycachehook.bundles.manifest import Manifest

PART = 1 << 20  # bytes that are passed on at once, about


class Transport(ABC):
    """One place. Each method raises `BundleError`: `TransferError` where the same call may succeed later."""

    @abstractmethod
    def manifest(self, variant: str) -> bytes:
        """Return the manifest of the variant in one request, bounded; raises `NotFoundAtSourceError` if there is none."""

    @abstractmethod
    def signature(self, manifest: bytes) -> bytes | None:
        """Return the signature of a manifest that has just been read, bounded, or None if it is not signed."""

    @abstractmethod
    def payload(self, manifest: Manifest, start: int) -> Iterator[bytes]:
        """Yield the payload from the byte `start` on, which may be more than the manifest says: the caller counts.

        Raises `RangeIgnoredError` where only a transfer from the beginning is possible.
        """

    @abstractmethod
    def publish(self, manifest: Manifest, data: bytes, signature: bytes | None, payload: str) -> None:
        """Publish the file `payload` with its manifest (`data` as bytes), so that others see all of it or nothing."""

    def digest(self, variant: str) -> str | None:  # noqa: ARG002 -- for those who can tell
        """Return the archive's digest, where one request brings that but not the manifest; None elsewhere."""
        return None


def open_transport(url: str, timeout: float) -> Transport:
    """Return the transport for a place; `timeout` bounds, in seconds, how long its library waits for an answer."""
    scheme, separator, _ = url.partition("://")
    if not separator or len(scheme) == 1:  # a path, a Windows path with a drive included
        from .files import FileTransport

        return FileTransport(url)
    if scheme == "file":
        from .files import FileTransport, path_of

        return FileTransport(path_of(url))
    if scheme in ("http", "https", "s3", "gs", "az"):
        from .object_store import ObjectStoreTransport

        return ObjectStoreTransport(url, timeout)
    if scheme == "oci":
        from .oci import OciTransport

        return OciTransport(url, timeout)
    raise BundleError(
        f"{public(url)} is no place for bundles: known are paths, file://, https://, http://, s3://, gs://, az:// and oci://."
    )


def public(url: str) -> str:
    """Return a place as it may be printed and recorded: without user, password and query."""
    if "://" not in url:
        return printable(url, 1000)
    scheme, _, rest = url.partition("://")
    for mark in "#?":
        rest = rest.partition(mark)[0]
    host, slash, path = rest.partition("/")
    return printable(f"{scheme}://{host.rpartition('@')[2]}{slash}{path}", 1000)
