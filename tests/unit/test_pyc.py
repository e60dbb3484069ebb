"""The format of entries: golden bytes, a reason for every defect, and compatibility with CPython in both directions."""

from __future__ import annotations

import importlib.util
import marshal
import os
import py_compile
import struct
from importlib.machinery import SourcelessFileLoader
from typing import TYPE_CHECKING

import pytest

from pycachehook import pyc
from pycachehook.events import CORRUPT, WRONG_MAGIC, Miss

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SOURCE = b"def answer():\n    return 42\n"
CODE = compile(SOURCE, "before.py", "exec", dont_inherit=True)
MTIME, SIZE = 1_700_000_000, len(SOURCE)
HASH = importlib.util.source_hash(SOURCE)
STAMPS = {
    "timestamp": struct.pack("<II", MTIME, SIZE),
    "unchecked-hash": HASH,
    "checked-hash": HASH,
}
MODES = list(STAMPS)
SEALED = pyc.encode(CODE, pyc.FLAGS["checked-hash"], HASH, bytes(8))


def sealed(data: bytes, key: int = int.from_bytes(importlib.util.MAGIC_NUMBER, "little")) -> bytes:
    """Return `data` with a manually computed seal, under another interpreter's `key` if one is given."""
    import _imp

    seal = b"PYCHOOK2" + bytes(4) + bytes(8)
    return data + seal + _imp.source_hash(key, data + seal)


@pytest.mark.parametrize(("mode", "flags"), [("timestamp", 0), ("unchecked-hash", 1), ("checked-hash", 3)])
def test_golden_bytes(mode: str, flags: int) -> None:
    """Every byte of an entry is the one that PEP 552 and the definition of the seal require."""
    data = pyc.encode(CODE, pyc.FLAGS[mode], STAMPS[mode], b"1second8", warned=True)
    body = len(data) - 44
    ranges = {
        "magic number": (0, 4, importlib.util.MAGIC_NUMBER),
        "flags": (4, 8, flags.to_bytes(4, "little")),
        "stamp": (8, 16, STAMPS[mode]),
        "marshalled code": (16, 16 + body, marshal.dumps(CODE)),
        "seal's magic": (16 + body, 24 + body, b"PYCHOOK2"),
        "seal's flags": (24 + body, 28 + body, b"\1\0\0\0"),
        "second hash": (28 + body, 36 + body, b"1second8"),
        "seal's hash": (36 + body, 44 + body, importlib.util.source_hash(data[: 36 + body])),
    }
    assert {name: data[start:end] for name, (start, end, _) in ranges.items()} == {
        name: expected for name, (*_, expected) in ranges.items()
    }
    assert sum(end - start for start, end, _ in ranges.values()) == len(data)


@pytest.mark.parametrize(
    ("mtime", "size", "expected"),
    [
        (0, 0, (0, 0)),
        (1.999, 5, (1, 5)),
        (2**32 + 7, 2**32 + 9, (7, 9)),
        (-1, 1, (2**32 - 1, 1)),
        (-1.5, 1, (2**32 - 1, 1)),
    ],
)
def test_timestamp_stamp(mtime: float, size: int, expected: tuple[int, int]) -> None:
    """A timestamp stamp holds whole seconds and bytes, each modulo 2**32, little-endian."""
    assert pyc.timestamp_stamp(mtime, size) == struct.pack("<II", *expected)


@pytest.mark.parametrize("mode", MODES)
def test_reads_what_cpython_writes(mode: str, tmp_path: Path) -> None:
    """A pyc from py_compile, which has no seal, is read with its flags and its stamp."""
    source, target = tmp_path / "m.py", tmp_path / "m.pyc"
    source.write_bytes(SOURCE)
    os.utime(source, (MTIME, MTIME))
    invalidation = py_compile.PycInvalidationMode[mode.upper().replace("-", "_")]
    py_compile.compile(str(source), str(target), doraise=True, invalidation_mode=invalidation)
    data = target.read_bytes()
    assert not pyc.is_sealed(data)
    assert pyc.read_header(data) == (pyc.FLAGS[mode], STAMPS[mode])
    assert pyc.load(data, "m.py")[3] == CODE


@pytest.mark.parametrize("mode", MODES)
def test_cpython_reads_a_sealed_entry(mode: str, tmp_path: Path) -> None:
    """CPython's own loader accepts a sealed entry."""
    path = tmp_path / "m.pyc"
    path.write_bytes(pyc.encode(CODE, pyc.FLAGS[mode], STAMPS[mode], bytes(8)))
    assert SourcelessFileLoader("m", str(path)).get_code("m") == CODE


def test_decode_sets_the_file_name_in_nested_code() -> None:
    """The code object and those nested in it get the requested path instead of the compiled one."""
    code = pyc.load(SEALED, "after.py")[3]
    nested = [each for each in code.co_consts if hasattr(each, "co_filename")]
    assert [each.co_filename for each in (code, *nested)] == ["after.py", "after.py"]


def test_is_sealed() -> None:
    """An entry is sealed; without its last 16 bytes it is not."""
    assert (pyc.is_sealed(SEALED), pyc.is_sealed(SEALED[:-16])) == (True, False)


OTHER_MAGIC = bytes([importlib.util.MAGIC_NUMBER[0] ^ 1, *importlib.util.MAGIC_NUMBER[1:]])
OTHER_KEY = int.from_bytes(OTHER_MAGIC, "little")


@pytest.mark.parametrize(
    ("damage", "reason", "detail"),
    [
        pytest.param(lambda _: b"", CORRUPT, "header", id="empty"),
        pytest.param(lambda data: data[:15], CORRUPT, "header", id="cut inside the header"),
        pytest.param(lambda data: data[:16], CORRUPT, "header", id="header alone"),
        pytest.param(lambda data: data[:4] + b"\2\0\0\0" + data[8:], CORRUPT, "header", id="flags of no mode"),
        pytest.param(lambda data: data[:4] + b"\2\0\0\0" + data[8:-16], CORRUPT, "header", id="the same, unsealed"),
        pytest.param(lambda data: data[:4] + b"\3\0\0\1" + data[8:], CORRUPT, "header", id="high flag bit"),
        pytest.param(lambda data: data[:2] + b"\n\r" + data[4:], CORRUPT, "header", id="no magic number"),
        pytest.param(lambda data: bytes(len(data)), CORRUPT, "header", id="zeros"),
        pytest.param(lambda data: OTHER_MAGIC + data[4:], CORRUPT, "header", id="magic number damaged under the seal"),
        pytest.param(lambda data: OTHER_MAGIC + data[4:-16], WRONG_MAGIC, "", id="another interpreter's, unsealed"),
        pytest.param(
            lambda data: sealed(OTHER_MAGIC + data[4:-16], OTHER_KEY),
            WRONG_MAGIC,
            "",
            id="another interpreter's, sealed",
        ),
        pytest.param(lambda data: data[:-1] + bytes([data[-1] ^ 1]), CORRUPT, "seal", id="seal's hash"),
        pytest.param(lambda data: data[:20] + bytes([data[20] ^ 1]) + data[21:], CORRUPT, "seal", id="body"),
        pytest.param(lambda data: data[:8] + b"\0" * 8 + data[16:], CORRUPT, "seal", id="stamp"),
    ],
)
def test_header_defects(damage: Callable[[bytes], bytes], reason: str, detail: str) -> None:
    """Every defect before the code has a reason, which is found without unmarshalling the code."""
    with pytest.raises(Miss) as caught:
        pyc.read_header(damage(SEALED))
    assert (caught.value.reason, caught.value.detail) == (reason, detail)


@pytest.mark.parametrize(
    ("data", "detail"),
    [
        pytest.param(sealed(SEALED[:16] + marshal.dumps(42)), "body is not a code object", id="no code"),
        pytest.param(SEALED[:-1], "broken seal", id="seal cut short"),
        pytest.param(SEALED[:-27], "broken seal", id="one letter of the seal left"),
        pytest.param(SEALED[:-28] + b"PYCHOOK3" + SEALED[-20:], "broken seal", id="letter of the seal changed"),
    ],
)
def test_body_defects(data: bytes, detail: str) -> None:
    """Every defect in or after the code of an entry without an intact seal has a reason."""
    assert pyc.read_header(data) == (3, HASH)
    with pytest.raises(Miss) as caught:
        pyc.load(data, "m.py")[3]
    assert (caught.value.reason, caught.value.detail) == (CORRUPT, detail)


def test_foreign_trailing_bytes_are_no_defect() -> None:
    """Bytes after the code that are no seal are ignored, as in CPython."""
    assert pyc.load(SEALED[:-28] + b"whatever it is that another tool keeps here", "m.py")[3] == CODE
