"""`oci://host/repository:tag`: an image in an OCI registry, by the library oras.

The tag is an image index with one image manifest per variant. Each image has one layer, a tar file that contains the
archive as `archive.pyca`, so that `skopeo` and `oras` can pull it and Kubernetes can mount it. The layer consists of
three Zstandard frames: the tar header, the payload as in every transport, and the end of the tar file. Therefore the
payload is at a known offset. The bundle's manifest and its signature are annotations of the image manifest.

Credentials are those of `docker login`, or in `REGISTRY_AUTH_FILE`. A registry on the loopback interface is accessed
without TLS, as by docker.
"""

import json
from functools import cached_property

from pycachehook.bundles.errors import BundleError, NotFoundAtSourceError, RangeIgnoredError, TransferError
from pycachehook.bundles.limits import BLOCK_SIZE, MANIFEST_LIMIT

from .base import Transport
from .oci_index import quick_index

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from pycachehook.bundles.manifest import Manifest

    from .oci_client import Client

INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar+zstd"
_ACCEPTED = f"{INDEX_TYPE}, {MANIFEST_TYPE}"
PREFIX = "io.pycachehook."
MEMBER = "archive.pyca"

_MACHINES = {"x86_64": "amd64", "aarch64": "arm64", "i386": "386", "arm": "arm"}
_OK, _PARTIAL = 200, 206


class OciTransport(Transport):
    """One tag of one repository."""

    def __init__(self, url: str, timeout: float) -> None:
        self._url = url
        self._timeout = timeout
        self._index: dict[str, Any] | None = None
        self._image: dict[str, Any] = {}

    @cached_property
    def _client(self) -> "Client":
        from .oci_client import Client

        return Client(self._url, self._timeout)

    def digest(self, variant: str) -> str | None:
        if self._index is None:
            self._index = quick_index(self._url, _ACCEPTED, self._timeout)
        digest = self._entry(variant)["annotations"].get(PREFIX + "sha256")
        return digest if isinstance(digest, str) else None

    def manifest(self, variant: str) -> bytes:
        digest = _text(self._entry(variant), "digest")
        data = self._client.read("manifests/" + digest, MANIFEST_LIMIT, accept=MANIFEST_TYPE)
        import hashlib

        if "sha256:" + hashlib.sha256(data).hexdigest() != digest:
            raise BundleError(f"The image manifest in {self._client.public} is damaged: its digest is wrong.")
        self._image = _annotated(_parse(data))
        return _text(self._image["annotations"], PREFIX + "manifest").encode("utf-8", "surrogatepass")

    def signature(self, manifest: bytes) -> bytes | None:  # noqa: ARG002 -- received with the manifest
        text = self._image["annotations"].get(PREFIX + "signature")
        return text.encode("utf-8", "surrogatepass") if isinstance(text, str) else None

    def payload(self, manifest: "Manifest", start: int) -> "Iterator[bytes]":
        layers = self._image.get("layers")
        layer = layers[0] if isinstance(layers, list) and layers and isinstance(layers[0], dict) else {}
        digest = _text(layer, "digest")
        skip = len(_header(manifest)) + start
        remaining = manifest.payload.size - start
        response = self._client.get("blobs/" + digest, start=skip)
        with response:
            if response.status_code == _OK and start:
                raise RangeIgnoredError(f"{self._client.public} does not send parts of a layer.")
            if response.status_code not in (_OK, _PARTIAL):
                raise self._client.failure(response)
            skip = 0 if response.status_code == _PARTIAL else skip
            for part in self._client.parts(response, BLOCK_SIZE):
                needed = part[skip : skip + remaining]
                skip = max(0, skip - len(part))
                remaining -= len(needed)
                yield needed
                if not remaining:
                    return
        raise TransferError(f"{self._client.public} ended before the end of the layer.")

    def publish(self, manifest: "Manifest", data: bytes, signature: bytes | None, payload: str) -> None:
        import hashlib

        layer = payload + ".layer"
        with open(payload, "rb") as source, open(layer, "x+b") as target:
            target.write(_header(manifest))
            while part := source.read(BLOCK_SIZE):
                target.write(part)
            target.write(_end(manifest))
        config = _canonical(_config(manifest, payload))
        described = {"mediaType": LAYER_TYPE, **self._client.upload(layer)}
        annotations = {
            PREFIX + "manifest": data.decode(),
            "org.opencontainers.image.created": _date(manifest.created),
            "org.opencontainers.image.title": MEMBER,
        }
        if signature is not None:
            annotations[PREFIX + "signature"] = signature.decode()
        image = _canonical(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST_TYPE,
                "config": {"mediaType": CONFIG_TYPE, **self._client.upload_bytes(config, payload + ".config")},
                "layers": [described],
                "annotations": annotations,
            }
        )
        digest = "sha256:" + hashlib.sha256(image).hexdigest()
        self._client.put_manifest(digest, image, MANIFEST_TYPE)
        variant = manifest.interpreter.variant
        entry = {
            "mediaType": MANIFEST_TYPE,
            "digest": digest,
            "size": len(image),
            "platform": _platform(manifest),
            "annotations": {PREFIX + "variant": variant, PREFIX + "sha256": manifest.archive.sha256},
        }
        others = [other for other in self._entries_or_none() if other["annotations"].get(PREFIX + "variant") != variant]
        entries = sorted([*others, entry], key=lambda item: str(item["annotations"].get(PREFIX + "variant")))
        index = {"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": entries}
        self._client.put_manifest(self._client.reference, _canonical(index), INDEX_TYPE)

    def _entries_or_none(self) -> "list[dict[str, Any]]":
        try:
            return self._entries()
        except NotFoundAtSourceError:
            return []

    def _entries(self) -> "list[dict[str, Any]]":
        if self._index is None:
            self._index = _parse(
                self._client.read("manifests/" + self._client.reference, MANIFEST_LIMIT, accept=_ACCEPTED)
            )
        listed = self._index.get("manifests")
        if not isinstance(listed, list):
            raise BundleError(f"{self._client.public} is no index of bundles.")
        return [_annotated(item) for item in listed if isinstance(item, dict)]

    def _entry(self, variant: str) -> "dict[str, Any]":
        for entry in self._entries():
            if entry["annotations"].get(PREFIX + "variant") == variant:
                return entry
        raise NotFoundAtSourceError(f"{self._client.public} has no bundle for {variant}.")


def _parse(data: bytes) -> "dict[str, Any]":
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise BundleError("The registry's answer is damaged: it is no JSON object.")
    return document


def _annotated(document: "dict[str, Any]") -> "dict[str, Any]":
    annotations = document.get("annotations")
    return {**document, "annotations": annotations if isinstance(annotations, dict) else {}}


def _text(document: "dict[str, Any]", field: str) -> str:
    value = document.get(field)
    if not isinstance(value, str) or (field == "digest" and not value.removeprefix("sha256:").isalnum()):
        raise BundleError(f"The registry's answer is damaged: {field} is missing or wrong.")
    return value


def _canonical(document: "dict[str, Any]") -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def _tar_header(manifest: "Manifest") -> bytes:
    import tarfile

    member = tarfile.TarInfo(MEMBER)
    member.size, member.mtime, member.mode = manifest.archive.size, manifest.created, 0o644
    return member.tobuf(tarfile.PAX_FORMAT)


def _tar_end(manifest: "Manifest") -> bytes:
    import tarfile

    return bytes(-manifest.archive.size % tarfile.BLOCKSIZE + 2 * tarfile.BLOCKSIZE)


def _header(manifest: "Manifest") -> bytes:
    return _raw_frame(_tar_header(manifest))


def _end(manifest: "Manifest") -> bytes:
    import io

    from pycachehook.bundles.compression import compress

    target = io.BytesIO()
    compress(io.BytesIO(_tar_end(manifest)), target)
    return target.getvalue()


def _raw_frame(data: bytes) -> bytes:
    """Return a Zstandard frame (RFC 8878) with uncompressed `data`, whose size does not depend on the library."""
    block = (len(data) << 3 | 1).to_bytes(3, "little")  # the last block, of type raw
    return b"\x28\xb5\x2f\xfd" + b"\xa0" + len(data).to_bytes(4, "little") + block + data


def _config(manifest: "Manifest", payload: str) -> "dict[str, Any]":
    """Return the configuration of an image with this layer, which is identified by the digest of the tar file."""
    import hashlib

    from pycachehook.bundles.compression import decompress

    digest = hashlib.sha256(_tar_header(manifest))
    with open(payload, "rb") as file:
        decompress(file, digest.update, manifest.archive.size)
    digest.update(_tar_end(manifest))
    return {
        **_platform(manifest),
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + digest.hexdigest()]},
    }


def _platform(manifest: "Manifest") -> dict[str, str]:
    machine, _, system = manifest.interpreter.platform.partition("-")
    return {"architecture": _MACHINES.get(machine, machine), "os": system.partition("-")[0] or "linux"}


def _date(seconds: int) -> str:
    from datetime import UTC, datetime

    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
    except (OverflowError, ValueError, OSError):
        return "1970-01-01T00:00:00Z"
