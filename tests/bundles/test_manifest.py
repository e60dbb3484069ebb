"""The manifest: its exact bytes, and the rejection of everything else."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pycachehook.bundles.errors import BundleError
from pycachehook.bundles.manifest import Blob, Distribution, Interpreter, Manifest, ManifestRoot, decode, encode

MANIFEST = Manifest(
    archive=Blob("a" * 64, 1_000_000),
    payload=Blob("b" * 64, 300_000),
    interpreter=Interpreter("cpython-312", "cb0d0d0a", 0, "x86_64-linux-gnu", ""),
    invalidation_mode="unchecked-hash",
    roots=(ManifestRoot("purelib", "", "0123456789abcdef"), ManifestRoot("application", "../src", "fedcba9876543210")),
    distributions=(Distribution("numpy", "2.1.0"), Distribution("ünï", "1")),
    created=1_700_000_000,
)

GOLDEN = """{
 "format": "pycachehook bundle 1",
 "created": 1700000000,
 "archive": {
  "sha256": "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
  "size": 1000000
 },
 "payload": {
  "sha256": "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb",
  "size": 300000,
  "compression": "zstd"
 },
 "cache_tag": "cpython-312",
 "magic_number": "cb0d0d0a",
 "optimization": 0,
 "platform": "x86_64-linux-gnu",
 "abiflags": "",
 "invalidation_mode": "unchecked-hash",
 "roots": [
  {
   "name": "purelib",
   "location": "",
   "listing_hash": "0123456789abcdef"
  },
  {
   "name": "application",
   "location": "../src",
   "listing_hash": "fedcba9876543210"
  }
 ],
 "distributions": [
  {
   "name": "numpy",
   "version": "2.1.0"
  },
  {
   "name": "\\u00fcn\\u00ef",
   "version": "1"
  }
 ]
}
"""


def test_its_bytes() -> None:
    """The format is exactly as documented."""
    assert encode(MANIFEST) == GOLDEN.encode()
    assert decode(GOLDEN.encode()) == MANIFEST


def test_unknown_fields_are_ignored() -> None:
    """Unknown fields are ignored, because a later version may add some."""
    assert decode(json.dumps({**json.loads(GOLDEN), "more": [1]}).encode()) == MANIFEST


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"format": "pycachehook bundle 2"}',
        b'{"format": ' + b"9" * 5000 + b"}",
        b" " * ((4 << 20) + 1),
    ],
    ids=lambda data: repr(data[:12]),
)
def test_what_is_no_manifest(data: bytes) -> None:
    """Other data is refused in one sentence."""
    with pytest.raises(BundleError, match=r"^[^\n]+\.$"):
        decode(data)


@pytest.mark.parametrize(
    "value", [None, -1, True, 1 << 70, 1.5, "x", [], {}, "../../etc", "a/b", "A" * 64, "\0", "\ud800"]
)
@pytest.mark.parametrize("field", [name for name in json.loads(GOLDEN) if name not in ("format", "abiflags")])
def test_a_wrong_value(field: str, value: Any) -> None:
    """Each field has its type and limits; names that become file names have no separators."""
    document = {**json.loads(GOLDEN), field: value}
    if field in ("roots", "distributions") and value == []:
        assert not getattr(decode(json.dumps(document).encode()), field)
        return
    if field in ("cache_tag", "magic_number", "platform") and value in ("x", "A" * 64):
        return
    with pytest.raises(BundleError, match=r"^[^\n]+\.$"):
        decode(json.dumps(document).encode())
