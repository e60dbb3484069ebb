"""`http(s)://`, `s3://`, `gs://`, `az://`: objects with a common prefix, by the library obstore.

The library itself finds credentials and endpoints: AWS_*, GOOGLE_* and AZURE_* variables, instance and workload
identities.
"""

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pycachehook.bundles.errors import (
    BundleError,
    NotFoundAtSourceError,
    RangeIgnoredError,
    TransferError,
    missing_library,
    printable,
)

from .base import proxy_hint, public
from .names import NamedFiles, manifest_name, payload_name, signature_name, split_manifest

if TYPE_CHECKING:
    from pycachehook.bundles.manifest import Manifest

_RETRIES = 2  # by the library, of one request; `download` resumes transfers


class ObjectStoreTransport(NamedFiles):
    """A prefix of bundles, or one manifest."""

    def __init__(self, url: str, timeout: float) -> None:
        from datetime import timedelta

        try:
            import obstore
            from obstore import exceptions, store
        except ImportError:
            raise missing_library("obstore") from None
        self._obstore: Any = obstore
        self._exceptions: Any = exceptions
        scheme, _, rest = url.partition("://")
        rest, self._manifest = split_manifest(rest.rstrip("/"))
        self._public = public(f"{scheme}://{rest}")
        wait = timedelta(seconds=max(1.0, timeout))
        client: dict[str, Any] = {"connect_timeout": min(wait, timedelta(seconds=10)), "timeout": wait}
        if scheme == "http" or _allows_http(scheme):
            client["allow_http"] = True
        retry: dict[str, Any] = {"max_retries": _RETRIES, "retry_timeout": wait}
        opened: Any = store.from_url
        try:
            self._store = opened(f"{scheme}://{rest}", client_options=client, retry_config=retry)
        except (exceptions.BaseError, ValueError) as error:
            raise BundleError(f"{self._public} cannot be used: {_reason(error)}.") from None

    def payload(self, manifest: "Manifest", start: int) -> Iterator[bytes]:
        name = payload_name(manifest)
        options = {"range": {"offset": start}} if start else None
        try:
            response = self._obstore.get(self._store, name, options=options)
            size = response.meta["size"]
            if size != manifest.payload.size:
                raise BundleError(
                    f"{self._public}/{name} has {size} bytes, but its manifest says {manifest.payload.size}."
                )
            yield from map(
                bytes, response.stream(min_chunk_size=1)
            )  # larger chunks would be lost if the connection breaks
        except (self._exceptions.BaseError, OSError) as error:
            if start and isinstance(error, self._exceptions.NotSupportedError):
                raise RangeIgnoredError(f"{self._public} does not send parts of an object.") from None
            raise self._failure(name, error) from None

    def publish(self, manifest: "Manifest", data: bytes, signature: bytes | None, payload: str) -> None:
        if signature is not None:
            self._put(signature_name(data), signature)
        with open(payload, "rb") as file:
            self._put(payload_name(manifest), file)
        self._put(self._manifest or manifest_name(manifest.interpreter.variant), data)

    def _small(self, name: str, limit: int) -> bytes:
        try:
            response = self._obstore.get(self._store, name)
            data = b""
            if response.meta["size"] <= limit:
                for part in response.stream(min_chunk_size=1):
                    data += part
                    if len(data) > limit:
                        break
                else:
                    return data
        except (self._exceptions.BaseError, OSError) as error:  # FileNotFoundError: the server's answer is 404
            raise self._failure(name, error) from None
        raise BundleError(f"{self._public}/{name} is larger than {limit} bytes, so it is not a part of a bundle.")

    def _put(self, name: str, content: object) -> None:
        try:
            self._obstore.put(self._store, name, content)
        except (self._exceptions.BaseError, OSError) as error:
            raise self._failure(name, error) from None

    def _failure(self, name: str, error: Exception) -> BundleError:
        where = f"{self._public}/{name}"
        if isinstance(error, (self._exceptions.NotFoundError, FileNotFoundError)):
            return NotFoundAtSourceError(f"{where} does not exist.")
        if isinstance(
            error, (self._exceptions.PermissionDeniedError, self._exceptions.UnauthenticatedError, PermissionError)
        ):
            return BundleError(f"{where} refuses access: its credentials are missing or wrong.")
        return TransferError(f"{where} cannot be read or written: {_reason(error)}.")


def _allows_http(scheme: str) -> bool:
    """Return whether the library's variable allows HTTP; client options override it and so must repeat it."""
    prefix = {"s3": "AWS", "gs": "GOOGLE", "az": "AZURE"}.get(scheme)
    return prefix is not None and os.environ.get(f"{prefix}_ALLOW_HTTP", "").lower() in ("true", "1", "yes", "on")


_CAUSES = {  # by a word in the library's description of an error
    "InvalidCertificate": "its TLS certificate is not accepted",
    "InvalidContentType": "it does not use TLS",
    "dns error": "its name cannot be resolved",
    "ConnectionRefused": "it refuses the connection",
    "TimedOut": "it does not answer in time",
    "kind: Timeout": "it does not answer in time",
    "kind: Connect": "it cannot be reached",
}


def _reason(error: Exception) -> str:
    """Return the cause of a failed connection; else the first line of the message, whose others are for developers."""
    text = str(error)
    line, _, described = text.strip().partition("Debug source")
    for word, cause in _CAUSES.items():
        if word in described:
            return cause + proxy_hint()
    return printable(line.partition("\n")[0]).rstrip(" .:") or type(error).__name__
