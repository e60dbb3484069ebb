"""The names of the three objects of a bundle, as files or objects beside each other.

The manifest is named by the variant, and a push replaces it. The other two are named by digests, so an object with such
a name never changes, and a reader gets one complete bundle during a push.
"""

from pycachehook.bundles.manifest import Manifest

MANIFEST_SUFFIX = ".json"


def manifest_name(variant: str) -> str:
    """Return the name of a variant's manifest."""
    return variant + MANIFEST_SUFFIX


def signature_name(manifest: bytes) -> str:
    """Return the name of the signature of a manifest."""
    import hashlib

    return hashlib.sha256(manifest).hexdigest() + ".minisig"


def payload_name(manifest: Manifest) -> str:
    """Return the name of the payload."""
    return manifest.payload.sha256 + ".pyca.zst"


def split_manifest(path: str) -> tuple[str, str | None]:
    """Split `path` into a directory and the name of a manifest in it, or None if it names no manifest."""
    folder, _, name = path.rpartition("/")
    return (folder or ("/" if path.startswith("/") else "."), name) if name.endswith(MANIFEST_SUFFIX) else (path, None)
