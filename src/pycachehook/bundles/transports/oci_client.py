"""The requests of the OCI distribution protocol that bundles need, based on oras's client.

oras parses names and handles credentials, their helpers, and tokens. Its own transfer functions hold whole blobs in
memory and wait minutes between attempts, so each request here is a single, bounded, streamed attempt.
"""

import hashlib
import ipaddress
import logging
import os
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from pycachehook.bundles.errors import (
    BundleError,
    NotFoundAtSourceError,
    TransferError,
    missing_library,
    printable,
)
from pycachehook.bundles.limits import BLOCK_SIZE

from .base import proxy_hint, public

_CONNECT = 10.0  # seconds
_REDIRECTS = 5
_OK, _CREATED, _ACCEPTED, _UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND = 200, 201, 202, 401, 403, 404
_SERVER = 500


class Client:
    """A repository in a registry, and a tag or digest in it as `reference`."""

    def __init__(self, url: str, timeout: float) -> None:
        try:
            import requests
            from oras import auth, container, provider
        except ImportError:
            raise missing_library("oras") from None
        logging.getLogger("oras").setLevel(logging.CRITICAL + 1)  # its messages are contained in the errors raised here
        self._requests: Any = requests
        self._auth: Any = auth
        name = url.removeprefix("oci://")
        self.public = public(url)
        try:
            self._container: Any = container.Container(name)
        except ValueError:
            raise BundleError(
                f"{self.public} is not a place in a registry, such as oci://host/repository:tag."
            ) from None
        host = str(self._container.registry)
        if "@" in host or not name.startswith(host + "/"):
            raise BundleError(f"{self.public} is not a place in a registry, such as oci://host/repository:tag.")
        self.reference = str(self._container.digest or self._container.tag)
        insecure = _is_loopback(host)
        self._registry: Any = provider.Registry(insecure=insecure)
        self._session: Any = self._registry.session
        self._session.max_redirects = _REDIRECTS
        self._timeout = (min(_CONNECT, timeout), timeout)
        self._insecure = insecure
        self._base = f"{'http' if insecure else 'https'}://{host}/v2/{self._container.api_prefix}/"
        self._header: dict[str, str] = {}

    def get(self, path: str, start: int = 0, accept: str = "*/*") -> Any:
        """Return the response to a GET with an unread body, from the byte `start` on if the server supports that."""
        headers = {"Accept": accept, "Accept-Encoding": "identity"}
        if start:
            headers["Range"] = f"bytes={start}-"
        return self._request("GET", self._base + path, headers)

    def read(self, path: str, limit: int, accept: str) -> bytes:
        """Return the body of an answer of at most `limit` bytes."""
        data = b""
        with self.get(path, accept=accept) as response:
            if response.status_code != _OK:
                raise self.failure(response)
            for part in self.parts(response, 1 << 16):
                data += part
                if len(data) > limit:
                    raise BundleError(f"{self.public} sends more than {limit} bytes, so it is not a part of a bundle.")
        return data

    def parts(self, response: Any, size: int) -> Iterator[bytes]:
        """Yield the body in parts."""
        try:
            yield from response.iter_content(size)
        except self._requests.RequestException as error:
            raise self._broken(error) from None

    def upload(self, path: str) -> dict[str, Any]:
        """Upload a file as a blob, unless the registry has it, and return its digest and size."""
        digest, size = hashlib.sha256(), 0
        with open(path, "rb") as file:
            while part := file.read(BLOCK_SIZE):
                digest.update(part)
                size += len(part)
            described: dict[str, Any] = {"digest": "sha256:" + digest.hexdigest(), "size": size}
            with self._request("HEAD", self._base + "blobs/" + described["digest"], {}) as response:
                if response.status_code == _OK:
                    return described
            with self._request("POST", self._base + "blobs/uploads/", {"Content-Length": "0"}) as response:
                if response.status_code != _ACCEPTED:
                    raise self.failure(response)
                location = self._requests.compat.urljoin(response.url, response.headers.get("Location", ""))
            location += ("&" if urlsplit(location).query else "?") + "digest=" + described["digest"]
            file.seek(0)
            headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
            with self._request("PUT", location, headers, file) as response:
                if response.status_code != _CREATED:
                    raise self.failure(response)
        return described

    def upload_bytes(self, data: bytes, path: str) -> dict[str, Any]:
        """Upload bytes as a blob, through the new file `path`."""
        with open(path, "xb") as file:
            file.write(data)
        return self.upload(path)

    def put_manifest(self, reference: str, data: bytes, media_type: str) -> None:
        """Upload a manifest or an index."""
        with self._request(
            "PUT", self._base + "manifests/" + reference, {"Content-Type": media_type}, data
        ) as response:
            if response.status_code not in (_OK, _CREATED):
                raise self.failure(response)

    def failure(self, response: Any) -> BundleError:
        """Return the error for the status of an answer."""
        status = response.status_code
        if status == _NOT_FOUND:
            return NotFoundAtSourceError(f"{self.public} does not exist.")
        if status in (_UNAUTHORIZED, _FORBIDDEN):
            return BundleError(f"{self.public} refuses access: its credentials are missing or wrong.")
        kind = TransferError if status >= _SERVER else BundleError
        return kind(f"{self.public} answers with status {status}.")

    def _request(self, method: str, url: str, headers: dict[str, str], data: Any = None) -> Any:
        """Make one request, and repeat it with credentials if the registry asks for them."""
        own = urlsplit(url).netloc == urlsplit(self._base).netloc  # other hosts must not get the credentials
        response = self._send(method, url, {**headers, **(self._header if own else {})}, data)
        if response.status_code != _UNAUTHORIZED or not own:
            return response
        self._header = self._credentials(response)
        response.close()
        if data is not None and hasattr(data, "seek"):
            data.seek(0)
        return self._send(method, url, {**headers, **self._header}, data)

    def _send(self, method: str, url: str, headers: dict[str, str], data: Any) -> Any:
        try:
            return self._session.request(method, url, headers=headers, data=data, stream=True, timeout=self._timeout)
        except self._requests.TooManyRedirects:
            raise BundleError(f"{self.public} redirects in circles.") from None
        except self._requests.RequestException as error:
            raise self._broken(error) from None

    def _credentials(self, response: Any) -> dict[str, str]:
        """Return the header that answers the registry's challenge; raises `BundleError` without credentials."""
        challenge = response.headers.get("Www-Authenticate", "")
        basic = challenge.lower().startswith("basic")
        backend = self._auth.get_auth_backend("basic" if basic else "token", self._session, self._insecure)
        configs = [
            os.path.join(os.environ.get("DOCKER_CONFIG", ""), "config.json"),
            os.environ.get("REGISTRY_AUTH_FILE", ""),
        ]
        try:
            backend.load_configs(self._container, [path for path in configs if os.path.isfile(path)])
            if basic and not getattr(backend, "_basic_auth", None):
                raise self.failure(response)
            headers, answered = backend.authenticate_request(response, {}, refresh=True)
        except BundleError:
            raise
        except Exception as error:  # noqa: BLE001 -- credential helpers and token servers may fail in any way
            raise BundleError(
                f"{self.public} needs credentials, and none can be obtained: {type(error).__name__}."
            ) from None
        if not answered or "Authorization" not in headers:
            raise self.failure(response)
        return {"Authorization": headers["Authorization"]}

    def _broken(self, error: Exception) -> TransferError:
        if isinstance(error, self._requests.Timeout):
            return TransferError(f"{self.public} does not answer in time{proxy_hint()}.")
        if isinstance(error, self._requests.exceptions.SSLError):
            return TransferError(
                f"{self.public}: the server's TLS certificate is not accepted, or it does not use TLS."
            )
        if isinstance(error, self._requests.ConnectionError):
            return TransferError(f"{self.public} cannot be reached, or cut the connection{proxy_hint()}.")
        return TransferError(f"{self.public} failed: {type(error).__name__}: {printable(str(error), 160)}.")


def _is_loopback(host: str) -> bool:
    name = host.rpartition(":")[0] if ":" in host else host
    try:
        return name == "localhost" or ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False
