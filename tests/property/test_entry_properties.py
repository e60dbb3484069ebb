"""Whatever is at an entry's path, an import gets the code of the source, and the next one, too."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from importlib.util import MAGIC_NUMBER
from pathlib import Path
from tempfile import TemporaryDirectory
from types import CodeType
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import examples
from pycachehook import pyc
from pycachehook._compat import source_hash
from pycachehook.cache_dir import CacheDir
from pycachehook.content_store import SharedStore
from pycachehook.events import Stats
from pycachehook.loader import CachingLoader, Policies, Policy
from pycachehook.paths import Layout
from pycachehook.store import Store

if TYPE_CHECKING:
    from collections.abc import Sequence

SOURCES = {"m": b"VALUE = 'of m'\n", "n": b"VALUE = 'of n'\n"}  # of one size

Damage = Callable[[Path, Path], object]  # gets the paths of the entries for m and n


def cut(where: int) -> Damage:
    """Truncate the entry; exactly without its seal it would be one that CPython wrote, so then by a byte more."""

    def apply(entry: Path, _other: Path) -> None:
        data = entry.read_bytes()
        size = where % len(data)
        entry.write_bytes(data[: size - (size == len(data) - pyc.SEAL_SIZE)])

    return apply


def changed(places: Sequence[tuple[int, int]]) -> Damage:
    """Change bytes, except in the seal's magic: without it, too, the entry would be one that CPython wrote."""

    def apply(entry: Path, _other: Path) -> None:
        data = bytearray(entry.read_bytes())
        for place, change in places:
            position = place % (len(data) - len(pyc.SEAL_MAGIC))
            if position >= len(data) - pyc.SEAL_SIZE:
                position += len(pyc.SEAL_MAGIC)
            data[position] ^= change
        entry.write_bytes(data)

    return apply


def replaced(content: bytes) -> Damage:
    """Write other bytes."""
    return lambda entry, _other: entry.write_bytes(content)


def appended(content: bytes) -> Damage:
    """Write more bytes after the entry."""
    return lambda entry, _other: entry.write_bytes(entry.read_bytes() + content)


def exchanged(entry: Path, other: Path) -> None:
    """Exchange the entries of the two modules."""
    between = entry.with_suffix(".between")
    for source, target in ((entry, between), (other, entry), (between, other)):
        source.rename(target)


def linked(entry: Path, other: Path) -> None:
    """Put a link to the other module's entry there."""
    entry.unlink()
    entry.symlink_to(other)


def dangling(entry: Path, _other: Path) -> None:
    """Put a link to nothing there."""
    entry.unlink()
    entry.symlink_to("nowhere")


def directory(entry: Path, _other: Path) -> None:
    """Put a directory there."""
    entry.unlink()
    entry.mkdir()


def fifo(entry: Path, _other: Path) -> None:
    """Put a named pipe there."""
    entry.unlink()
    os.mkfifo(entry)


def stale(flags: int) -> Damage:
    """Put a sealed entry of another source there, whose code is that source's."""

    def apply(entry: Path, _other: Path) -> None:
        source = b"VALUE = 'stale'\n"
        code = compile(source, "m.py", "exec", dont_inherit=True)
        entry.write_bytes(pyc.encode(code, flags, source_hash(source), pyc.second_hash(source)))

    return apply


def gone(entry: Path, _other: Path) -> None:
    """Remove the entry's directory."""
    shutil.rmtree(entry.parent)


random = st.binary(max_size=80).filter(lambda data: not data.startswith(MAGIC_NUMBER))  # else `marshal` would read it
harmed = (
    st.builds(cut, st.integers(0, 1 << 12))
    | st.builds(changed, st.lists(st.tuples(st.integers(0, 1 << 12), st.integers(1, 255)), min_size=1, max_size=1))
    | st.builds(replaced, random)
    | st.builds(appended, st.binary(max_size=80))
    | st.sampled_from([dangling, directory, fifo, gone])
)
misplaced = st.sampled_from([exchanged, linked, stale(pyc.FLAGS[pyc.CHECKED_HASH])])


def mirror(directory: CacheDir, layout: Layout) -> Store:
    """Return a store that checks each source."""
    return Store(directory, layout, pyc.CHECKED_HASH)


KINDS: dict[str, tuple[Callable[[CacheDir, Layout], Store], st.SearchStrategy[Damage]]] = {
    "mirror": (mirror, harmed | misplaced),
    "shared": (SharedStore, harmed),  # the name is what identifies the source, see `content_store`
}


@pytest.mark.parametrize("layout_name", KINDS)
@examples(60)
@given(st.data())
def test_code_is_that_of_the_source(layout_name: str, data: st.DataObject) -> None:
    """After each damage, both modules have the source's code three times: on a miss, and on what it has left."""
    layout = Layout.current()
    assert layout is not None
    kind, damages = KINDS[layout_name]
    with TemporaryDirectory() as folder:
        root = Path(folder).resolve()
        (root / "cache").mkdir(0o755)
        store = kind(CacheDir(str(root / "cache")), layout)
        policies = Policies()
        policies.replace(Policy((store,), store, Stats()))
        paths = {name: root / f"{name}.py" for name in SOURCES}
        for name, path in paths.items():
            path.write_bytes(SOURCES[name])

        def check() -> None:
            for name, path in paths.items():
                code = CachingLoader(name, str(path), policies).get_code(name)
                assert isinstance(code, CodeType)
                assert (code.co_filename, code.co_consts[0]) == (str(path), f"of {name}")

        check()
        entries = [Path(store.location(str(path), SOURCES[name])) for name, path in paths.items()]
        for damage in data.draw(st.lists(damages, min_size=1, max_size=3)):
            if all(entry.is_file() for entry in entries):
                damage(*entries)
            for _ in range(3):
                check()
