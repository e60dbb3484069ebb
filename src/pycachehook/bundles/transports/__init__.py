"""Transports of bundles: one small module for each kind of place, with the same interface.

One place can have bundles for several interpreters, each with the name of its variant (`manifest.Interpreter.variant`).
A transport takes credentials from where its library looks for them; options, messages and records contain none.
"""

import os

from pycachehook.bundles.errors import BundleError, printable

from .base import Transport, public

__all__ = ["Transport", "open_transport", "public"]

_SCHEMES = ("http", "https", "s3", "gs", "az", "oci")


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
