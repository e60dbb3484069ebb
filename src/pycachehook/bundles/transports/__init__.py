"""Transports of bundles: one small module for each kind of place, with the same interface.

One place can have bundles for several interpreters, each with the name of its variant (`manifest.Interpreter.variant`).
A transport takes credentials from where its library looks for them; options, messages and records contain none.
"""

import os
from abc import ABC, abstractmethod

from pycachehook.bundles.errors import BundleError, printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pycachehook.bundles.manifest import Manifest

BLOCK_SIZE = 1 << 20  # approximate number of bytes per read
MANIFEST_LIMIT = 4 << 20  # bytes; OCI registries accept manifests of at least this size
SIGNATURE_LIMIT = 4096  # bytes; every signature and key is smaller
_SCHEMES = ("http", "https", "s3", "gs", "az", "oci")


class Transport(ABC):
    """Access to one place. Every method raises `BundleError`: `TransferError` if the same call may succeed later."""

    @abstractmethod
    def manifest(self, variant: str) -> bytes:
        """Return the variant's manifest, bounded, by one request; raises `NotFoundAtSourceError`."""

    @abstractmethod
    def signature(self, manifest: bytes) -> bytes | None:
        """Return the signature, bounded, of a manifest that has just been read, or None if it is not signed."""

    @abstractmethod
    def payload(self, manifest: "Manifest", start: int) -> "Iterator[bytes]":
        """Yield the payload from the byte `start` on. The caller checks its length.

        Raises `RangeIgnoredError` if only a transfer from the beginning is possible.
        """

    @abstractmethod
    def publish(self, manifest: "Manifest", data: bytes, signature: bytes | None, payload: str) -> None:
        """Publish the file `payload` with its manifest `data`, so that readers see all of the bundle or nothing."""

    def digest(self, variant: str) -> str | None:  # noqa: ARG002 -- used by subclasses
        """Return the archive's digest by one request, which `manifest` does not repeat; None if that does not give it."""
        return None


def open_transport(url: str, timeout: float) -> Transport:
    """Return the transport for a place; `timeout` limits, in seconds, the wait for an answer."""
    scheme, separator, _ = url.partition("://")
    if not url:
        raise BundleError("The place of the bundle is empty.")
    if scheme == "file" or url[:5].lower() == "file:":  # RFC 8089 also allows file:/path
        from .files import FileTransport, path_of

        return FileTransport(path_of(url))
    begun = url.partition(":")[0].lower()
    if not separator and begun in _SCHEMES and not os.path.exists(url):
        raise BundleError(f"{printable(url, 1000)} is not a place for bundles: {begun}: must be followed by //.")
    if not separator or len(scheme) == 1:  # a path, possibly with a Windows drive
        from .files import FileTransport

        return FileTransport(url)
    if scheme in _SCHEMES and scheme != "oci":
        from .object_store import ObjectStoreTransport

        return ObjectStoreTransport(url, timeout)
    if scheme == "oci":
        from .oci import OciTransport

        return OciTransport(url, timeout)
    raise BundleError(
        f"{public(url)} is not a place for bundles: use a path, file://, https://, http://, s3://, gs://, az:// or oci://."
    )


def public(url: str) -> str:
    """Return a place in a form that may be printed and recorded: without user, password and query."""
    if "://" not in url:
        return printable(url, 1000)
    scheme, _, rest = url.partition("://")
    for mark in "#?":
        rest = rest.partition(mark)[0]
    host, slash, path = rest.partition("/")
    return printable(f"{scheme}://{host.rpartition('@')[2]}{slash}{path}", 1000)


def proxy_hint() -> str:
    """Return a remark for the end of a message about a failed connection if the environment names a proxy, or ""."""
    names = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY")
    found = next((name for name in names if os.environ.get(name) or os.environ.get(name.lower())), None)
    return f" ({found} is set)" if found else ""
