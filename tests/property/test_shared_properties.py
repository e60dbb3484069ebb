"""Properties of shared entries: a name identifies one source, cache tag, level and way of compiling."""

from __future__ import annotations

import marshal
import os
import tempfile
from pathlib import Path
from types import CodeType
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from conftest import examples
from pycachehook import pyc
from pycachehook.cache_dir import CacheDir
from pycachehook.content_store import Names, SharedStore
from pycachehook.events import ABSENT, Miss, Stats
from pycachehook.on_miss.compiling import declared_encodings
from pycachehook.on_miss.writer import encode, read_source, write_entry
from pycachehook.paths import Layout

if TYPE_CHECKING:
    from collections.abc import Iterable

TAGS = st.sampled_from(["cpython-311", "cpython-312", "cpython-313", "cpython-314", "cpython-315"]) | st.text(
    "abc.-opt12", min_size=1, max_size=12
)
LEVELS = st.integers(0, 3)
SOURCES = st.binary(max_size=40) | st.sampled_from([b"", b"x = 1\n", b"x = 1\r\n", b"x = 1"])
KEYS = st.tuples(TAGS, LEVELS, st.booleans(), SOURCES)


def name_of(key: tuple[str, int, bool, bytes]) -> str:
    """Return the path of the entry for this key."""
    tag, level, columns, source = key
    return Names(Layout(tag, level), columns=columns).entry("/cache", source)


def digest_of(key: tuple[str, int, bool, bytes]) -> str:
    """Return only the digest, without the tag and the level that follow it in the name for readers."""
    tag, level, columns, source = key
    return Names(Layout(tag, level), columns=columns).digest(source)


@given(KEYS, KEYS)
@examples(500)
def test_one_name_for_one_key(one: tuple[str, int, bool, bytes], two: tuple[str, int, bool, bytes]) -> None:
    """Two names, and two digests, are equal if and only if all parts of their keys are."""
    assert (name_of(one) == name_of(two)) == (one == two)
    assert (digest_of(one) == digest_of(two)) == (one == two)


@given(SOURCES, SOURCES)
def test_framing(prefix: bytes, source: bytes) -> None:
    """Moving bytes from the source's beginning to the cache tag's end changes the digest."""
    text = prefix.decode("latin-1")
    one = digest_of((f"cpython-311{text}", 0, True, source))
    assert (one == digest_of(("cpython-311", 0, True, prefix + source))) == (not prefix)


def code_that_says(what: object) -> CodeType:
    """Return code with a constant that identifies its key."""
    code = compile("0", "somewhere.py", "exec")
    return code.replace(co_consts=(repr(what), *code.co_consts))


@given(st.lists(st.tuples(TAGS.filter(lambda tag: "/" not in tag), LEVELS, SOURCES), min_size=1, max_size=12))
@examples(60)
def test_no_mix_up(keys: list[tuple[str, int, bytes]]) -> None:
    """In one directory, a lookup returns the code for the source's bytes, cache tag and level, or none."""
    written, asked = keys[::2], keys
    with tempfile.TemporaryDirectory() as folder:
        directory = CacheDir(str(Path(os.path.realpath(folder), "cache")), force_write=True)
        path = os.path.join(folder, "m.py")
        for tag, level, source in written:
            Path(path).write_bytes(source)
            store = SharedStore(directory, Layout(tag, level))
            data = encode(store, code_that_says((tag, level, source)), read_source(path), warned=False)
            assert write_entry(directory, store.location(path, source), data, os.stat(os.devnull), Stats())
        for tag, level, source in asked:
            Path(path).write_bytes(source)
            try:
                found = SharedStore(directory, Layout(tag, level)).find(path).co_consts[0]
            except Miss as miss:
                found = miss.reason
            assert found == (repr((tag, level, source)) if (tag, level, source) in written else ABSENT)


@given(st.lists(st.sampled_from([b"#", b" ", b"coding", b":", b"=", b"utf-8", b"latin-1", b"x", b"\n", b"\r", b"\f"])))
@examples(500)
def test_every_declared_encoding_is_seen(words: Iterable[bytes]) -> None:
    """The encoding that CPython uses for a source is among those that are detected."""
    source = b"".join(words) + b"\n'\xc3\xa9'\n"
    try:
        code = compile(source, "m.py", "exec", dont_inherit=True)
    except (SyntaxError, ValueError):
        return
    if "\u00c3\u00a9" in code.co_consts:  # read as latin-1
        assert "latin-1" in declared_encodings(source)


def test_the_code_that_says() -> None:
    """The constant that the properties above compare is preserved in an entry."""
    data = pyc.encode(code_that_says(("tag", 1)), 3, bytes(8), bytes(8))
    assert marshal.loads(data[pyc.HEADER_SIZE :]).co_consts[0] == "('tag', 1)"
