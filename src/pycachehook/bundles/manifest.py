"""The manifest of a bundle: one JSON object that says what the archive is, and for whom. `docs/bundles.md` lists its fields.

Whatever is decoded here may come from anybody: decoding checks every type and bound, and raises `BundleError` only.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from .errors import BundleError

FORMAT = "pycachehook bundle 1"
LIMIT = 4 << 20  # bytes; also what OCI registries accept as a manifest at least
MODES = ("checked-hash", "unchecked-hash")

_SHA256 = re.compile(r"[0-9a-f]{64}")
_WORD = re.compile(r"[A-Za-z0-9_.+-]{1,80}")  # becomes a part of file names
_MOST = 1 << 62


class Blob(NamedTuple):
    """The SHA-256 digest, in hexadecimal, and the size in bytes of a file."""

    sha256: str
    size: int


class Interpreter(NamedTuple):
    """What bytecode is made for: `magic_number` in hexadecimal, `platform` the multiarch triplet, `abiflags` "t" or ""."""

    cache_tag: str
    magic_number: str
    optimization: int
    platform: str
    abiflags: str

    @property
    def variant(self) -> str:
        """The name of the bundle for this interpreter, among others at one place."""
        return f"{self.cache_tag}{self.abiflags}-{self.magic_number}-opt{self.optimization}-{self.platform}"

    def __str__(self) -> str:
        level = f" -{'O' * self.optimization}" if self.optimization else ""
        return f"{self.cache_tag}{self.abiflags}{level} (magic number {self.magic_number}) on {self.platform}"


class Root(NamedTuple):
    """A directory that the archive covers, as the archive's index has it; `listing_hash` in hexadecimal."""

    name: str
    location: str
    listing_hash: str


class Distribution(NamedTuple):
    """An installed distribution that the archive has bytecode of."""

    name: str
    version: str


class Manifest(NamedTuple):
    """A bundle: `archive` as it is used, `payload` as it travels, `created` in seconds since 1970."""

    archive: Blob
    payload: Blob
    interpreter: Interpreter
    invalidation_mode: str
    roots: tuple[Root, ...]
    distributions: tuple[Distribution, ...]
    created: int


def encode(manifest: Manifest) -> bytes:
    """Return the manifest's JSON, always the same for the same manifest."""
    document = {
        "format": FORMAT,
        "created": manifest.created,
        "archive": manifest.archive._asdict(),
        "payload": {**manifest.payload._asdict(), "compression": "zstd"},
        **manifest.interpreter._asdict(),
        "invalidation_mode": manifest.invalidation_mode,
        "roots": [each._asdict() for each in manifest.roots],
        "distributions": [each._asdict() for each in manifest.distributions],
    }
    return (json.dumps(document, indent=1, ensure_ascii=True) + "\n").encode()


def decode(data: bytes) -> Manifest:
    """Return the manifest that `data` encodes; raises `BundleError` for anything else. Unknown fields are ignored."""
    if len(data) > LIMIT:
        raise BundleError(f"The manifest is larger than {LIMIT} bytes.")
    try:
        document = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError):
        raise BundleError("The manifest is damaged: it is not JSON.") from None
    if not isinstance(document, dict) or not isinstance(document.get("format"), str):
        raise BundleError("This is no manifest of a bundle.")
    if document["format"] != FORMAT:
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
            Root(_text(each, "name"), _text(each, "location"), _text(each, "listing_hash"))
            for each in _mappings(document, "roots")
        ),
        distributions=tuple(
            Distribution(_text(each, "name"), _text(each, "version")) for each in _mappings(document, "distributions")
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
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
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


def _number(document: Mapping[str, Any], field: str, most: int = _MOST) -> int:
    value = document.get(field)
    if type(value) is not int or not 0 <= value <= most:
        raise _wrong(field)
    return value


def _blob(document: Mapping[str, Any]) -> Blob:
    digest = _text(document, "sha256")
    if not _SHA256.fullmatch(digest):
        raise _wrong("sha256")
    return Blob(digest, _number(document, "size"))
