"""For any directory contents, an archive resolves names as `PathFinder` does, or leaves them to it."""

from __future__ import annotations

import os
import sys
import zipfile
from importlib.machinery import EXTENSION_SUFFIXES, PathFinder
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import strategies as st

from conftest import examples
from pycachehook.archive import Archive, ArchivedModules, Listings
from pycachehook.cache_dir import trusted_owners
from pycachehook.commands import archive_build
from pycachehook.path_search import NOT_FOUND, find_in_listings

NAMES = ("a", "b")
FILES = tuple(
    f"{name}{rest}"
    for name in NAMES
    for rest in (
        "",
        ".py",
        ".pyc",
        EXTENSION_SUFFIXES[0],
        EXTENSION_SUFFIXES[-1],
        "/__init__.py",
        "/__init__.pyc",
        "/a.py",
        "/b/__init__.py",
    )
)


@given(st.lists(st.sets(st.sampled_from(FILES), max_size=6), min_size=1, max_size=3), st.integers(0, 7))
@examples(150)
def test_resolution(directories: list[set[str]], covered: int) -> None:
    """One to three directories, any of which an archive covers, in the order of the path."""
    with TemporaryDirectory() as folder:
        roots = []
        for number, files in enumerate(directories):
            root = Path(folder, str(number))
            root.mkdir()
            roots.append(root)
            for name in sorted(files, key=len, reverse=True):  # a directory precedes the file that could have its name
                path = root / name
                path.parent.mkdir(parents=True, exist_ok=True)
                if not path.exists():
                    path.write_text("")
        opened = []
        for number, root in enumerate(roots):
            sources = sorted(str(path) for path in root.rglob("*.py"))
            if covered & (1 << number) and sources:
                out = Path(folder, f"{number}.pyca")
                archive_build.build(str(out), sources, paths=[str(root)], mode="unchecked-hash")
                opened.append(Archive(str(out), trusted_owners()))
        search = [str(root) for root in roots]
        sys.path_importer_cache.clear()
        for name in NAMES:
            expected = PathFinder.find_spec(name, search)
            found = find_in_listings(name, search, None, ArchivedModules(Listings(opened)))
            if found is NOT_FOUND:
                assert expected is None
            elif found is not None:
                assert expected is not None
                assert (found.origin, found.submodule_search_locations) == (
                    expected.origin,
                    expected.submodule_search_locations,
                )
                assert (type(found.loader), found.has_location) == (type(expected.loader), expected.has_location)


names = st.sampled_from(["one.py", "two.py", "pack/__init__.py", "pack/three.py", "absent.py"])


@given(st.lists(names.map(str.encode) | st.binary(max_size=20), max_size=8), st.sampled_from([b"\n", b"\r\n", b"\0"]))
@examples(60)
def test_any_profile(lines: list[bytes], separator: bytes) -> None:
    """Whatever is in a profile, the archive has every source; those that it names come first, in its order."""
    with TemporaryDirectory() as folder:
        root = Path(folder).resolve()
        sources = [root / name for name in ("one.py", "pack/__init__.py", "pack/three.py", "two.py")]
        (root / "pack").mkdir()
        for path in sources:
            path.write_text(f"VALUE = {path.name!r}\n", encoding="utf-8")
        profile = root / "profile.txt"
        profile.write_bytes(
            separator.join(bytes(root / os.fsdecode(each)) if each[-3:] == b".py" else each for each in lines)
        )
        wanted = archive_build.read_profile(str(profile))
        out = str(root / "out.pyca")
        files = [str(path) for path in sources]
        archive_build.build(out, files, paths=[str(root)], profile=wanted)
        archive = Archive(out, trusted_owners())
        assert [archive.find(path).co_consts[0] for path in files] == [path.name for path in sources]
        with zipfile.ZipFile(out) as members:
            offsets = {f"{out}/{each.filename}": each.header_offset for each in members.infolist()}
        named = [each for each in dict.fromkeys(wanted) if each in files]
        ordered = sorted(files, key=lambda path: offsets[archive.path(path)])
        assert ordered == [*named, *(path for path in files if path not in named)]
