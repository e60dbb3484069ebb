"""The names of the three objects of a bundle, as files or objects beside each other.

The manifest is named by the variant, and a push replaces it. The other two are named by digests, so an object with such
a name never changes, and a reader gets one complete bundle during a push.
"""

from abc import abstractmethod

from pycachehook.bundles.errors import NotFoundAtSourceError
from pycachehook.bundles.limits import MANIFEST_LIMIT, SIGNATURE_LIMIT

from .base import Transport

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pycachehook.bundles.manifest import Manifest

MANIFEST_SUFFIX = ".json"


def manifest_name(variant: str) -> str:
    """Return the name of a variant's manifest."""
    return variant + MANIFEST_SUFFIX


def signature_name(manifest: bytes) -> str:
    """Return the name of the signature of a manifest."""
    import hashlib

    return hashlib.sha256(manifest).hexdigest() + ".minisig"


def payload_name(manifest: "Manifest") -> str:
    """Return the name of the payload."""
    return manifest.payload.sha256 + ".pyca.zst"


def split_manifest(path: str) -> tuple[str, str | None]:
    """Split `path` into a directory and the name of a manifest in it, or None if it names no manifest."""
    folder, _, name = path.rpartition("/")
    return (folder or ("/" if path.startswith("/") else "."), name) if name.endswith(MANIFEST_SUFFIX) else (path, None)


class NamedFiles(Transport):
    """A place whose bundles are files, or objects, with names of their own."""

    _manifest: str | None  # the manifest's name, where the place is one manifest
    _read: bytes | None = None  # the manifest, after `digest`

    def digest(self, variant: str) -> str | None:
        import json

        self._read = self.manifest(variant)
        try:
            digest = json.loads(self._read)["archive"]["sha256"]
        except (ValueError, KeyError, TypeError, RecursionError):
            return None
        return digest if isinstance(digest, str) else None

    def manifest(self, variant: str) -> bytes:
        if self._read is not None:
            return self._read
        return self._small(self._manifest or manifest_name(variant), MANIFEST_LIMIT)

    def signature(self, manifest: bytes) -> bytes | None:
        try:
            return self._small(signature_name(manifest), SIGNATURE_LIMIT)
        except NotFoundAtSourceError:
            return None

    @abstractmethod
    def _small(self, name: str, limit: int) -> bytes:
        """Return the bytes of a small file, bounded; raises `NotFoundAtSourceError`."""
