"""The manifest of a bundle: one JSON object that describes the archive and the interpreter that it is for.

The data may come from anybody: `decode` checks every type and bound, and raises `BundleError` only. The fields are
listed in `docs/pages/how-to/bundles.md`.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from .errors import BundleError
from .limits import MANIFEST_LIMIT
from .variant import variant_name

MANIFEST_FORMAT = "pycachehook bundle 1"
MODES = ("checked-hash", "unchecked-hash")

_SHA256 = re.compile(r"[0-9a-f]{64}")
_WORD = re.compile(r"[A-Za-z0-9_.+-]{1,80}")  # used in file names
_MAX_NUMBER = 1 << 62


class Blob(NamedTuple):
    """The SHA-256 digest, in hexadecimal, and the size in bytes of a file."""

    sha256: str
    size: int


class Interpreter(NamedTuple):
    """The properties of an interpreter that bytecode depends on.

    `magic_number` is in hexadecimal, `platform` is the multiarch triplet, and `abiflags` is "t" or "".
    """

    cache_tag: str
    magic_number: str
    optimization: int
    platform: str
    abiflags: str

    @property
    def variant(self) -> str:
        """The name of the bundle for this interpreter, among those in one place."""
        return variant_name(*self)

    def __str__(self) -> str:
        level = f" -{'O' * self.optimization}" if self.optimization else ""
        return f"{self.cache_tag}{self.abiflags}{level} (magic number {self.magic_number}) on {self.platform}"


class ManifestRoot(NamedTuple):
    """A directory that the archive covers, as in the archive's index; `listing_hash` in hexadecimal."""

    name: str
    location: str
    listing_hash: str


class Distribution(NamedTuple):
    """An installed distribution whose bytecode is in the archive."""

    name: str
    version: str


class Manifest(NamedTuple):
    """A bundle: `archive` is the file to be used, `payload` the transferred one, `created` in seconds since 1970."""

    archive: Blob
    payload: Blob
    interpreter: Interpreter
    invalidation_mode: str
    roots: tuple[ManifestRoot, ...]
    distributions: tuple[Distribution, ...]
    created: int


def encode(manifest: Manifest) -> bytes:
    """Return the manifest as JSON; equal manifests give equal bytes."""
    document = {
        "format": MANIFEST_FORMAT,
        "created": manifest.created,
        "archive": manifest.archive._asdict(),
        "payload": {**manifest.payload._asdict(), "compression": "zstd"},
        **manifest.interpreter._asdict(),
        "invalidation_mode": manifest.invalidation_mode,
        "roots": [root._asdict() for root in manifest.roots],
        "distributions": [distribution._asdict() for distribution in manifest.distributions],
    }
    return (json.dumps(document, indent=1, ensure_ascii=True) + "\n").encode()


def decode(data: bytes) -> Manifest:
    """Return the manifest encoded in `data`; raises `BundleError` for anything else. Unknown fields are ignored."""
    if len(data) > MANIFEST_LIMIT:
        raise BundleError(f"The manifest is larger than {MANIFEST_LIMIT} bytes.")
    try:
        document = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError):
        raise BundleError("The manifest is damaged: it is not JSON.") from None
    if not isinstance(document, dict) or not isinstance(document.get("format"), str):
        raise BundleError("This is no manifest of a bundle.")
    if document["format"] != MANIFEST_FORMAT:
        raise BundleError("The manifest has a format that this version of pycachehook does not know.")
    payload = _mapping(document, "payload")
    if payload.get("compression") != "zstd":
        raise BundleError("The manifest names a compression that this version of pycachehook does not know.")
    mode = _text(document, "invalidation_mode")
    if mode not in MODES:
        raise _wrong("invalidation_mode")
    return Manifest(
        archive=_blob(_mapping(document, "archive")),
        payload=_blob(payload),
        interpreter=Interpreter(
            cache_tag=_word(document, "cache_tag"),
            magic_number=_word(document, "magic_number"),
            optimization=_number(document, "optimization", 2),
            platform=_word(document, "platform"),
            abiflags=_text(document, "abiflags"),
        ),
        invalidation_mode=mode,
        roots=tuple(
            ManifestRoot(_text(root, "name"), _text(root, "location"), _text(root, "listing_hash"))
            for root in _mappings(document, "roots")
        ),
        distributions=tuple(
            Distribution(_text(distribution, "name"), _text(distribution, "version"))
            for distribution in _mappings(document, "distributions")
        ),
        created=_number(document, "created"),
    )


def _wrong(field: str) -> BundleError:
    return BundleError(f"The manifest is damaged: its field {field} is missing or wrong.")


def _mapping(document: Mapping[str, Any], field: str) -> Mapping[str, Any]:
    value = document.get(field)
    if not isinstance(value, dict):
        raise _wrong(field)
    return value


def _mappings(document: Mapping[str, Any], field: str) -> list[Mapping[str, Any]]:
    value = document.get(field)
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise _wrong(field)
    return value


def _text(document: Mapping[str, Any], field: str) -> str:
    value = document.get(field)
    if not isinstance(value, str) or "\0" in value or (not value.isascii() and not _encodable(value)):
        raise _wrong(field)
    return value


def _encodable(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _word(document: Mapping[str, Any], field: str) -> str:
    value = _text(document, field)
    if not _WORD.fullmatch(value):
        raise _wrong(field)
    return value


def _number(document: Mapping[str, Any], field: str, maximum: int = _MAX_NUMBER) -> int:
    value = document.get(field)
    if type(value) is not int or not 0 <= value <= maximum:
        raise _wrong(field)
    return value


def _blob(document: Mapping[str, Any]) -> Blob:
    digest = _text(document, "sha256")
    if not _SHA256.fullmatch(digest):
        raise _wrong("sha256")
    return Blob(digest, _number(document, "size"))
