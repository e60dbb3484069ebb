"""Names of a bundle's three objects, where they are files or objects beside each other.

The manifest has the variant's name and is replaced by a push. The two others are named by digests, so an object of that
name never changes, and who reads while somebody pushes gets all of one bundle.
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
    """Return the directory that `path` names, and the name of the manifest in it, if it names one."""
    folder, _, name = path.rpartition("/")
    return (folder or ("/" if path.startswith("/") else "."), name) if name.endswith(MANIFEST_SUFFIX) else (path, None)
