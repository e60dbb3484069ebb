"""Test the parts of the archive's format: the tail, the listing hash, the names of the roots."""

from __future__ import annotations

import sysconfig
from pathlib import Path

import pytest

from pycachehook import archive_format
from pycachehook._compat import siphash
from pycachehook.archive_format import INDEX_KEY, TAIL_SIZE, hash_of_names, named_roots, read_tail, tail
from pycachehook.paths import TEMPORARY_PREFIX, TEMPORARY_SUFFIX

TOP = b"the top of an index"


def test_tail() -> None:
    """A written tail is read back unchanged, and has the documented size of 168 bytes."""
    data = tail(64, 128, TOP)
    assert len(data) == TAIL_SIZE == 168
    index, begin, end, expected = read_tail(data)
    assert (index, begin, end, expected) == (64, 128, 128 + len(TOP), siphash(INDEX_KEY, TOP))


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        tail(64, 128, TOP).replace(b"archive 1", b"archive 2"),
        tail(64, 128, TOP).replace(b"index", b"inbox"),
        tail(128, 64, TOP),
        tail(64, 128, b""),
        tail(64, 128, TOP).replace(b"0000000000000040", b"00000000000000zz"),
    ],
)
def test_damaged_tail(damaged: bytes) -> None:
    """A tail of another format, or with impossible offsets, raises ValueError."""
    with pytest.raises(ValueError):  # noqa: PT011 -- the caller writes the message
        read_tail(damaged)


def test_named_roots() -> None:
    """The named roots have the directories of `sysconfig`."""
    found = named_roots()
    assert {name: sysconfig.get_path(name) for name in found} == found
    assert {"stdlib", "purelib"} <= set(found)


def test_hash_of_names(tmp_path: Path) -> None:
    """An added or removed module changes the hash; the archive, caches and temporary files do not."""
    (tmp_path / "m.py").touch()
    before = hash_of_names(str(tmp_path), "app.pyca")
    for name in ("app.pyca", "app.pyca.bundle.json", "__pycache__", f"{TEMPORARY_PREFIX}1{TEMPORARY_SUFFIX}"):
        (tmp_path / name).touch()
        assert hash_of_names(str(tmp_path), "app.pyca") == before, name
    (tmp_path / "n.py").touch()
    assert hash_of_names(str(tmp_path), "app.pyca") != before


@pytest.mark.parametrize(("level", "suffix"), [(0, ".x-1.pyc"), (2, ".x-1.opt-2.pyc")])
def test_suffix(level: int, suffix: str) -> None:
    """A member's name has the suffix of an entry's file name."""
    assert archive_format.suffix_of("x-1", level) == suffix


@pytest.mark.parametrize("text", ["", "x" * 10, "x" * TAIL_SIZE])
def test_a_file_that_is_no_archive(text: str, tmp_path: Path) -> None:
    """A file that is too short is refused in one sentence; a longer one is mapped, and its tail is not checked."""
    path = tmp_path / "file"
    path.write_text(text, encoding="utf-8")
    if len(text) < TAIL_SIZE:
        with pytest.raises(archive_format.Unusable, match="is damaged, or"):
            archive_format.map_file(str(path), ())
    else:
        mapping, end = archive_format.map_file(str(path), ())
        assert (bytes(mapping), end) == (text.encode(), text.encode())
        mapping.close()  # type: ignore[union-attr]
    path.unlink()
