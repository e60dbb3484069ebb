"""Properties of encoding and decoding entries, for any code, any stamp and any damage."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pycachehook import pyc
from pycachehook.events import CORRUPT, WRONG_MAGIC, Miss

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import CodeType

    from conftest import Python

MODES = sorted(pyc.FLAGS)

constants = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=8)
    | st.binary(max_size=8),
    lambda inner: st.lists(inner, max_size=3).map(tuple),
    max_leaves=6,
)
sources = st.lists(constants, max_size=4).map(
    lambda values: "".join(
        f"def f{number}(a, *b):\n    return lambda: {value!r}\n" for number, value in enumerate(values)
    )
)
file_names = st.binary(max_size=12).map(lambda name: name.replace(b"\0", b"").decode("utf-8", "surrogateescape"))
stamps = st.binary(min_size=8, max_size=8)
flags = st.sampled_from(sorted(pyc.FLAGS.values()))


def compiled(source: str, path: str = "m.py") -> CodeType:
    """Return the code object of `source`, compiled without this file's own future features."""
    code: CodeType = compile(source, path, "exec", dont_inherit=True)
    return code


def file_names_in(code: CodeType) -> Iterator[str]:
    """Yield the file names of a code object and of all code objects in it."""
    yield code.co_filename
    for each in code.co_consts:
        if isinstance(each, type(code)):
            yield from file_names_in(each)


@given(source=sources, flags=flags, stamp=stamps, path=file_names)
def test_round_trip(source: str, flags: int, stamp: bytes, path: str) -> None:
    """Decoding returns the encoded flags, stamp and code; the code has the requested path."""
    data = pyc.encode(compiled(source, "elsewhere.py"), flags, stamp, bytes(8))
    assert pyc.is_sealed(data)
    assert pyc.read_header(data) == (flags, stamp)
    code = pyc.load(data, path)[3]
    assert code == compiled(source, path)
    assert set(file_names_in(code)) == {path}


@given(source=sources, flags=flags, stamp=stamps)
def test_unsealed_round_trip(source: str, flags: int, stamp: bytes) -> None:
    """An entry without its seal, as CPython writes it, is decoded in the same way."""
    code = compiled(source)
    data = pyc.encode(code, flags, stamp, bytes(8))[: -pyc.SEAL_SIZE]
    assert pyc.read_header(data) == (flags, stamp)
    assert pyc.load(data, "m.py")[3] == code


@given(source=sources, flags=flags, stamp=stamps, position=st.integers(min_value=0), change=st.integers(1, 255))
def test_changed_byte_is_rejected_before_marshal(
    source: str, flags: int, stamp: bytes, position: int, change: int
) -> None:
    """A change of any byte, except in the seal's magic, is detected as corrupt when the header is read."""
    data = bytearray(pyc.encode(compiled(source), flags, stamp, bytes(8)))
    position %= len(data) - len(pyc.SEAL_MAGIC)
    if position >= len(data) - pyc.SEAL_SIZE:
        position += len(pyc.SEAL_MAGIC)
    data[position] ^= change
    with pytest.raises(Miss) as caught:
        pyc.read_header(bytes(data))
    assert caught.value.reason == CORRUPT


starts = st.builds(lambda flags: pyc.encode(compiled(""), flags, bytes(8), bytes(8))[:8], flags)


@given(st.binary(max_size=64) | st.builds(bytes.__add__, starts, st.binary(max_size=64)))
def test_header_of_any_bytes(data: bytes) -> None:
    """For any bytes, the header is returned or the defect named; no other exception is raised."""
    try:
        flags, stamp = pyc.read_header(data)
        sound = (data[4:8], data[8:16]) == (flags.to_bytes(4, "little"), stamp)
    except Miss as miss:
        sound = miss.reason in (CORRUPT, WRONG_MAGIC)
    assert sound


# Corrupt bytes may crash marshal, so a child reads them and prints the result for each damaged form of one entry.
READ_DAMAGED = """
import json, sys
from pycachehook import pyc
from pycachehook.events import Miss

data = open(sys.argv[1], "rb").read()
whole = pyc.read_header(data), pyc.load(data, "m.py")[3]
outcomes = []

def read(kind, where, damaged):
    step = "header"
    try:
        header = pyc.read_header(damaged)
        step = "body"
        code = pyc.load(damaged, "m.py")[3]
    except Miss as miss:
        outcome = step, miss.reason
    else:
        outcome = "read", "the same" if (header, code) == whole else "other code"
    outcomes.append((kind, where, *outcome))

for length in range(len(data)):
    read("cut to", length, data[:length])
for position, byte in enumerate(data):
    for other in set(range(256)) - {byte}:
        read("changed", position, data[:position] + bytes([other]) + data[position + 1:])
print(json.dumps(outcomes))
"""


@pytest.mark.parametrize("mode", MODES)
def test_every_truncation_and_every_changed_byte_is_detected(mode: str, python: Python, tmp_path: Path) -> None:
    """Each truncation and each changed byte of an entry has the reason "corrupt".

    Only the truncation of exactly the seal leaves a valid entry, as CPython writes it.
    """
    path = tmp_path / "m.pyc"
    source = "import sys\n\nclass A:\n    def f(self, x=1):\n        return (x, 'text', 2.5, sys.path)\n"
    data = pyc.encode(compiled(source), pyc.FLAGS[mode], b"\1\2\3\4\5\6\7\x08", bytes(8))
    path.write_bytes(data)
    outcomes = json.loads(python("-c", READ_DAMAGED, path).stdout)
    assert len(outcomes) == len(data) + 255 * len(data)

    seal = len(data) - pyc.SEAL_SIZE
    read = [(kind, where, outcome) for kind, where, step, outcome in outcomes if step == "read"]
    assert read == [("cut to", seal, "the same")]
    assert {outcome for *_, step, outcome in outcomes if step != "read"} == {CORRUPT}
    marshal_saw = {where for kind, where, step, _ in outcomes if kind == "changed" and step == "body"}
    assert marshal_saw == set(range(seal, seal + len(pyc.SEAL_MAGIC)))
