"""What all transports have in common."""

import os
from abc import ABC, abstractmethod

from pycachehook.bundles.errors import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pycachehook.bundles.manifest import Manifest


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
