"""Whatever bytes stand for a manifest, it is read, or refused in one sentence."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import examples
from pycachehook.bundles.errors import BundleError
from pycachehook.bundles.manifest import Blob, Distribution, Interpreter, Manifest, ManifestRoot, decode, encode

GOLDEN = encode(
    Manifest(
        archive=Blob("a" * 64, 1_000_000),
        payload=Blob("b" * 64, 300_000),
        interpreter=Interpreter("cpython-312", "cb0d0d0a", 0, "x86_64-linux-gnu", ""),
        invalidation_mode="unchecked-hash",
        roots=(
            ManifestRoot("purelib", "", "0123456789abcdef"),
            ManifestRoot("application", "../src", "fedcba9876543210"),
        ),
        distributions=(Distribution("numpy", "2.1.0"), Distribution("ünï", "1")),
        created=1_700_000_000,
    )
).decode()

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
)


@examples(40)  # each takes long to draw
@given(st.sampled_from(sorted(json.loads(GOLDEN))), JSON)
def test_any_value(field: str, value: Any) -> None:
    """Any value of a field gives a manifest or an error in one sentence."""
    try:
        decode(json.dumps({**json.loads(GOLDEN), field: value}).encode())
    except BundleError as error:
        assert "\n" not in str(error)  # noqa: PT017


@given(st.binary())
def test_any_bytes(data: bytes) -> None:
    """Random bytes give an error in one sentence."""
    with pytest.raises(BundleError):
        decode(data)


def nodes(document: Any) -> list[tuple[Any, Any]]:
    """Return each container in a document with each of its keys or indices."""
    pairs = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    return [each for key, value in pairs for each in ((document, key), *nodes(value))]


@examples(60)
@given(st.data())
def test_any_value_anywhere(data: st.DataObject) -> None:
    """Any values in place of parts of a document, or none, give a manifest that can be written, or an error."""
    document = json.loads(GOLDEN)
    for _ in range(data.draw(st.integers(1, 3))):
        if found := nodes(document):
            container, key = data.draw(st.sampled_from(found))
            if data.draw(st.booleans()):
                container[key] = data.draw(
                    JSON | st.integers() | st.sampled_from(["../..", "/", "\0", "a\nb", "é" * 300])
                )
            else:
                del container[key]
    try:
        manifest = decode(json.dumps(document).encode())
    except BundleError as error:
        assert "\n" not in str(error)  # noqa: PT017
    else:
        assert decode(encode(manifest)) == manifest


@given(st.lists(st.tuples(st.integers(0, len(GOLDEN.encode()) - 1), st.integers(1, 255)), max_size=3), st.integers(0))
def test_changed_bytes(changes: list[tuple[int, int]], size: int) -> None:
    """Changed bytes and a lost end give a manifest that can be written, or an error in one sentence."""
    document = bytearray(GOLDEN.encode())
    for position, change in changes:
        document[position] ^= change
    try:
        manifest = decode(bytes(document[: size or None]))
    except BundleError as error:
        assert "\n" not in str(error)  # noqa: PT017
    else:
        assert decode(encode(manifest)) == manifest
