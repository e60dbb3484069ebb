"""The store and the in-tree place: hits, and the reason of each miss."""

from __future__ import annotations

import importlib.util
import json
import os
import py_compile
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pycachehook import pyc
from pycachehook.cache_dir import CacheDir
from pycachehook.events import Miss
from pycachehook.on_miss.writer import encode, read_source
from pycachehook.paths import Layout
from pycachehook.pyc import READ_SIZE
from pycachehook.store import DAY, InTree, Store
from pycachehook.system import read_file

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Python

TEXT = "answer = 42\n"
CODE = compile(TEXT, "m.py", "exec", dont_inherit=True)
LAYOUT = Layout(sys.implementation.cache_tag, sys.flags.optimize)
MODES = ["checked-hash", "unchecked-hash", "timestamp"]
LONG_AGO = 1_600_000_000 * 10**9  # nanoseconds
root = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give files away")
posix = pytest.mark.skipif(os.name != "posix", reason="there are no FIFOs, modes and links like these here")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a source file with an old mtime."""
    path = tmp_path / "tree" / "m.py"
    path.parent.mkdir()
    path.write_text(TEXT, encoding="utf-8")
    os.utime(path, ns=(LONG_AGO, LONG_AGO))
    return path


@pytest.fixture
def make_store(cache: Path) -> Callable[..., Store]:
    """Return a function that opens the cache directory as a store."""

    def make(mode: str = "checked-hash", **options: bool) -> Store:
        return Store(CacheDir(str(cache), **options), LAYOUT, mode)

    return make


def entry_of(store: Store, path: Path) -> Path:
    """Return the path of the store's entry for a source, with its directories created."""
    entry = Path(store.path(str(path)))
    entry.parent.mkdir(parents=True, exist_ok=True)
    return entry


def put(place: Store | InTree, path: Path, mode: str) -> Path:
    """Compile the source with CPython to its path in the place, and return the path."""
    entry = place.path(str(path))
    invalidation = py_compile.PycInvalidationMode[mode.upper().replace("-", "_")]
    py_compile.compile(str(path), entry, doraise=True, invalidation_mode=invalidation)
    return Path(entry)


def outcome(place: Store | InTree, path: Path) -> str:
    """Return "hit" if the place has the source's code, "other code", or the reason of the miss."""
    try:
        code = place.find(str(path))
    except Miss as miss:
        return miss.reason
    assert code.co_filename == str(path)
    return "hit" if code.co_consts[0] == 42 else "other code"


def change(path: Path, *, keep_time: bool = True, text: str = "answer = 43\n") -> None:
    """Write another text of the same size to a source, by default with the same mtime."""
    status = path.stat()
    path.write_text(text, encoding="utf-8")
    if keep_time:
        os.utime(path, ns=(status.st_mtime_ns, status.st_mtime_ns))


def test_source_is_read_once(path: Path) -> None:
    """The bytes and the status of a source come from one read, whatever happens to the file later."""
    source = read_source(str(path))
    path.unlink()
    assert source.data == TEXT.encode()
    assert source.status.st_mtime_ns == LONG_AGO
    assert source.stamp(0) == pyc.timestamp_stamp(LONG_AGO // 10**9, len(TEXT))
    assert source.stamp(1) == source.stamp(3) == importlib.util.source_hash(TEXT.encode())


def test_missing_source(tmp_path: Path) -> None:
    """A missing source raises the error of the file system."""
    with pytest.raises(FileNotFoundError):
        read_source(str(tmp_path / "missing.py"))


@pytest.mark.parametrize("beyond", [-1, 0, 1, 5000])
def test_sources_that_one_reading_does_not_bring(beyond: int, path: Path, make_store: Callable[..., Store]) -> None:
    """The part of a source after the first read counts as well: appended, truncated and changed."""
    store = make_store()
    text = f"answer = 42\n{'#' * (READ_SIZE + beyond - 13)}\n"
    path.write_text(text)
    put(store, path, "checked-hash")
    for changed in (f"{text}#", text[:-1], f"{text[:-1]}#", f"{text}{'#' * READ_SIZE}"):
        assert outcome(store, path) == "hit"
        path.write_text(changed)
        assert outcome(store, path) == "stale-source"
        path.write_text(text)


@pytest.mark.parametrize("size", [0, 1, 100_000])
def test_read_file(size: int, tmp_path: Path) -> None:
    """All bytes of a file are returned, with its status."""
    path = tmp_path / "file"
    path.write_bytes(bytes(size))
    data, status = read_file(str(path), os.O_RDONLY)
    assert (data, status.st_size, status.st_ino) == (bytes(size), size, path.stat().st_ino)


@pytest.mark.skipif(not os.path.isfile("/proc/self/status"), reason="there is no /proc here")
def test_read_file_of_unknown_size() -> None:
    """A file that is longer than its status says is read to its end."""
    data, status = read_file("/proc/self/status", os.O_RDONLY)
    assert status.st_size == 0
    assert data.startswith(b"Name:")
    assert data.endswith(b"\n")


@posix
def test_read_file_of_no_regular_file(tmp_path: Path) -> None:
    """Anything but a regular file is an OSError that says so."""
    with pytest.raises(OSError, match="not a regular file"):
        read_file(str(tmp_path), os.O_RDONLY)


@pytest.mark.parametrize("mode", MODES)
def test_in_tree_reads_what_cpython_would(mode: str, path: Path) -> None:
    """A pyc beside its source is a hit in any mode; after a change it is one only where CPython would not notice."""
    place = InTree(LAYOUT)
    assert outcome(place, path) == "absent"
    put(place, path, mode)
    assert outcome(place, path) == "hit"
    change(path)
    assert outcome(place, path) == ("stale-source" if mode == "checked-hash" else "hit")
    change(path, text="answer = 'longer'\n")
    assert outcome(place, path) == ("hit" if mode == "unchecked-hash" else "stale-source")


@pytest.mark.parametrize(("younger", "expected"), [(1, "stale-source"), (0, "hit"), (-1, "hit")])
def test_in_tree_timestamp_pyc_older_than_its_source(younger: int, expected: str, path: Path) -> None:
    """A timestamp pyc that was written before its source is stale, even within the same second (gh-75953)."""
    place = InTree(LAYOUT)
    entry = put(place, path, "timestamp")
    os.utime(entry, ns=(LONG_AGO, LONG_AGO - younger))
    assert outcome(place, path) == expected


def test_in_tree_of_another_interpreter(path: Path) -> None:
    """A pyc with the expected name but another magic number is a miss with that reason."""
    entry = put(InTree(LAYOUT), path, "checked-hash")
    data = entry.read_bytes()
    entry.write_bytes(bytes([data[0] ^ 1]) + data[1:])
    assert outcome(InTree(LAYOUT), path) == "wrong-magic"


@posix
@pytest.mark.parametrize("place", ["store", "in_tree"])
def test_fifo_is_not_waited_for(place: str, path: Path, cache: Path, python: Python) -> None:
    """A FIFO with an entry's name is an io-error at once: an import never hangs because of the cache."""
    program = """
import sys
from pycachehook.cache_dir import CacheDir
from pycachehook.events import Miss
from pycachehook.paths import Layout
from pycachehook.store import InTree, Store
place, path, cache = sys.argv[1:]
layout = Layout.current()
try:
    (InTree(layout) if place == "in_tree" else Store(CacheDir(cache), layout, "checked-hash")).find(path)
except Miss as miss:
    print(miss.reason)
"""
    entry = Path(InTree(LAYOUT).path(str(path)) if place == "in_tree" else LAYOUT.mirrored(str(cache), str(path)))
    entry.parent.mkdir(parents=True)
    os.mkfifo(entry)
    child = python.start("-c", program, place, path, cache)
    try:
        output, errors = child.communicate(timeout=10)
    finally:
        child.kill()
        child.communicate()
    assert (output, errors) == ("io-error\n", "")


def test_store_path_is_cpythons(path: Path, make_store: Callable[..., Store], monkeypatch: pytest.MonkeyPatch) -> None:
    """The path of an entry is CPython's with the cache directory as prefix."""
    store = make_store()
    monkeypatch.setattr(sys, "pycache_prefix", store.directory.path)
    assert store.path(str(path)) == importlib.util.cache_from_source(str(path))


@posix
def test_store_path_of_a_relative_source(
    path: Path, make_store: Callable[..., Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative path means another source after a change of the current directory, however often it is asked for."""
    store = make_store()
    places = []
    for folder in (path.parent, path.parent.parent):
        monkeypatch.chdir(folder)
        places.append(store.path("m.py"))
    assert places == [store.path(str(path)), store.path(str(path.parent.parent / "m.py"))]


@pytest.mark.parametrize("mode", MODES)
def test_store_finds_its_own(mode: str, path: Path, make_store: Callable[..., Store]) -> None:
    """A stored entry is a hit in the same store, sealed and in the store's mode."""
    store = make_store(mode)
    assert outcome(store, path) == "absent"
    entry = entry_of(store, path)
    entry.write_bytes(encode(store, CODE, read_source(str(path)), warned=False))
    assert outcome(store, path) == "hit"
    assert pyc.is_sealed(entry.read_bytes())
    assert pyc.read_header(entry.read_bytes())[0] == pyc.FLAGS[mode]


# The result of a store in each mode for an entry in each mode, with an unchanged source and with one that changed under its mtime.
VERDICTS = {
    ("checked-hash", "checked-hash"): ("hit", "stale-source"),
    ("checked-hash", "unchecked-hash"): ("hit", "stale-source"),
    ("checked-hash", "timestamp"): ("other-mode", "other-mode"),
    ("unchecked-hash", "checked-hash"): ("hit", "stale-source"),
    ("unchecked-hash", "unchecked-hash"): ("hit", "hit"),
    ("unchecked-hash", "timestamp"): ("other-mode", "other-mode"),
    ("timestamp", "checked-hash"): ("hit", "stale-source"),
    ("timestamp", "unchecked-hash"): ("hit", "stale-source"),
    ("timestamp", "timestamp"): ("hit", "hit"),
}


@pytest.mark.parametrize(("mode", "entry_mode"), VERDICTS)
def test_store_verdicts(mode: str, entry_mode: str, path: Path, make_store: Callable[..., Store]) -> None:
    """Entries of CPython are judged by the store's mode: checked-hash trusts neither mtimes nor unchecked entries."""
    store = make_store(mode)
    put(store, path, entry_mode)
    unchanged = outcome(store, path)
    change(path)
    assert (unchanged, outcome(store, path)) == VERDICTS[mode, entry_mode]


@pytest.mark.parametrize("setting", ["default", "always", "never"])
def test_check_hash_based_pycs(setting: str, path: Path, cache: Path, python: Python) -> None:
    """--check-hash-based-pycs has the same meaning as in CPython, for the store and for in-tree pycs."""
    program = """
import json, sys
from pycachehook.cache_dir import CacheDir
from pycachehook.events import Miss
from pycachehook.paths import Layout
from pycachehook.store import InTree, Store
def outcome(place):
    try:
        return "hit" if place.find(sys.argv[1]) else None
    except Miss as miss:
        return miss.reason
layout = Layout.current()
print(json.dumps([outcome(place(layout) if place is InTree else Store(CacheDir(sys.argv[2] + mode), layout, mode))
                  for mode in ("checked-hash", "unchecked-hash") for place in (Store, InTree)]))
"""
    for mode in ("checked-hash", "unchecked-hash"):
        put(Store(CacheDir(f"{cache}{mode}"), LAYOUT, mode), path, mode)
    put(InTree(LAYOUT), path, "unchecked-hash")
    change(path)
    answers = json.loads(python("--check-hash-based-pycs", setting, "-c", program, path, cache).stdout)
    assert (
        answers
        == {
            "default": ["stale-source", "hit", "hit", "hit"],
            "always": ["stale-source"] * 4,
            "never": ["hit"] * 4,
        }[setting]
    )


def damaged(data: bytes, position: int) -> bytes:
    """Return `data` with one bit changed."""
    changed = bytearray(data)
    changed[position] ^= 1
    return bytes(changed)


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (lambda data: data, "hit"),
        (lambda data: data[: -pyc.SEAL_SIZE], "hit"),
        (lambda _: b"", "corrupt"),
        (lambda data: data[:16], "corrupt"),
        (lambda data: damaged(data, 0), "corrupt"),
        (lambda data: damaged(data, 8), "corrupt"),
        (lambda data: damaged(data, 40), "corrupt"),
        (lambda data: damaged(data, -1), "corrupt"),
        (lambda data: damaged(data, 0)[: -pyc.SEAL_SIZE], "wrong-magic"),
        (lambda data: damaged(data, 8)[: -pyc.SEAL_SIZE], "stale-source"),
    ],
    ids=["whole", "no seal", "empty", "header alone", "magic", "stamp", "body", "seal", "other magic", "other stamp"],
)
def test_store_defects(
    damage: Callable[[bytes], bytes], expected: str, path: Path, make_store: Callable[..., Store]
) -> None:
    """Each defect of an entry is a miss with its reason, and an entry without a seal is accepted by its header."""
    store = make_store()
    entry_of(store, path).write_bytes(damage(encode(store, CODE, read_source(str(path)), warned=False)))
    assert outcome(store, path) == expected


def make_link(entry: Path) -> None:
    """Move an entry away and replace it by a link to it."""
    entry.rename(entry.with_name("elsewhere"))
    entry.symlink_to("elsewhere")


def make_groups(entry: Path) -> None:
    """Make an entry writable for another group."""
    os.chown(entry, 0, 65534)
    entry.chmod(0o664)


def make_anothers(entry: Path) -> None:
    """Change the owner of an entry."""
    os.chown(entry, 65534, 0)


def make_directory(entry: Path) -> None:
    """Replace an entry by a directory."""
    entry.unlink()
    entry.mkdir()


def make_file_above(entry: Path) -> None:
    """Replace the entry's directory by a file."""
    entry.unlink()
    entry.parent.rmdir()
    entry.parent.touch()


@posix
@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (make_link, "io-error"),
        (make_directory, "io-error"),
        (make_file_above, "absent"),
        (Path.unlink, "absent"),
        (lambda entry: entry.chmod(0o646), "untrusted"),
        pytest.param(make_groups, "untrusted", marks=root),
        pytest.param(make_anothers, "untrusted", marks=root),
    ],
    ids=["link", "directory", "file above", "nothing", "everybody's", "group's", "another's"],
)
def test_store_entry_that_is_no_plain_file_of_ours(
    spoil: Callable[[Path], object], expected: str, path: Path, make_store: Callable[..., Store]
) -> None:
    """An entry that is not a regular file, or that others could have written, is a miss with that reason."""
    store = make_store()
    entry = entry_of(store, path)
    entry.write_bytes(encode(store, CODE, read_source(str(path)), warned=False))
    assert outcome(store, path) == "hit"
    spoil(entry)
    assert outcome(store, path) == expected


@posix
def test_shared_store_takes_entries_of_others(path: Path, make_store: Callable[..., Store]) -> None:
    """Under allow_shared an entry that everybody may write to is accepted."""
    store = make_store(allow_shared=True)
    entry = entry_of(store, path)
    entry.write_bytes(encode(store, CODE, read_source(str(path)), warned=False))
    entry.chmod(0o666)
    assert outcome(store, path) == "hit"


def test_disabled_store(path: Path, cache: Path) -> None:
    """A store with an untrusted directory reads nothing, and reports the directory's reason."""
    cache.mkdir()
    store = Store(CacheDir(str(cache)), LAYOUT, "checked-hash")
    entry_of(store, path).write_bytes(encode(store, CODE, read_source(str(path)), warned=False))
    cache.chmod(0o777)
    disabled = Store(CacheDir(str(cache)), LAYOUT, "checked-hash")
    with pytest.raises(Miss) as caught:
        disabled.find(str(path))
    assert (caught.value.reason, caught.value.detail) == ("untrusted", disabled.directory.reason)


@pytest.mark.parametrize("mode", MODES)
def test_missing_source_of_an_entry(mode: str, path: Path, make_store: Callable[..., Store]) -> None:
    """If the source must be read and is missing, its error is raised, not a miss."""
    store = make_store(mode)
    entry_of(store, path).write_bytes(encode(store, CODE, read_source(str(path)), warned=False))
    path.unlink()
    if mode == "unchecked-hash":
        assert outcome(store, path) == "hit"
    else:
        with pytest.raises(FileNotFoundError):
            store.find(str(path))


@pytest.mark.parametrize(("read_only", "may_write"), [(False, True), (True, False)])
def test_only_a_writable_store_replaces_entries(
    read_only: bool, may_write: bool, cache: Path, make_store: Callable[..., Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store replaces a bad entry if it is writable; in-tree pycs are never replaced."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    cache.mkdir()
    store = make_store(read_only=read_only)
    assert (store.may_write, InTree(LAYOUT).may_write) == (may_write, False)


@posix
@pytest.mark.parametrize("mode", ["checked-hash", "unchecked-hash"])
@pytest.mark.parametrize("first", ["near", "far"])
def test_path_that_two_sources_share(first: str, mode: str, tmp_path: Path, make_store: Callable[..., Store]) -> None:
    """If a link and `..` give two sources the same entry path, neither gets the other's code."""
    (tmp_path / "near").mkdir()
    (tmp_path / "far" / "below").mkdir(parents=True)
    (tmp_path / "near" / "link").symlink_to(tmp_path / "far" / "below")
    near, far = f"{tmp_path}/near/m.py", f"{tmp_path}/near/link/../m.py"
    for path, text in ((near, "answer = 42\n"), (far, "answer = 43\n")):
        Path(path).write_text(text, encoding="utf-8")
        os.utime(path, ns=(LONG_AGO, LONG_AGO))
    store = make_store(mode)
    Path(store.path(far)).parent.parent.mkdir(parents=True)
    written, read = (near, far) if first == "near" else (far, near)
    code = compile(Path(written).read_bytes(), written, "exec", dont_inherit=True)
    Path(store.path(written)).write_bytes(encode(store, code, read_source(written), warned=False))
    assert os.path.samefile(store.path(near), store.path(far))
    with pytest.raises(Miss, match="stale-source"):
        store.find(read)


@pytest.mark.parametrize(
    ("age", "read_only", "refreshed"),
    [(2 * DAY, False, True), (DAY / 2, False, False), (2 * DAY, True, False)],
    ids=["long ago", "today", "read-only"],
)
def test_a_hit_is_noted_once_a_day(
    age: float, read_only: bool, refreshed: bool, path: Path, make_store: Callable[..., Store]
) -> None:
    """The mtime of an entry records the day of its last use, if the cache is writable."""
    store = make_store()
    entry = entry_of(store, path)
    entry.write_bytes(encode(store, CODE, read_source(str(path)), warned=False))
    used = time.time() - age
    os.utime(entry, (used, used))
    before = entry.stat().st_mtime
    make_store(read_only=read_only, force_write=True).find(str(path))
    assert (entry.stat().st_mtime > before) == refreshed


def test_what_is_read_ahead_is_for_one_source_and_one_time(path: Path, make_store: Callable[..., Store]) -> None:
    """An entry that `holds` has read is used by the next `find` of the same source only."""
    store = make_store("unchecked-hash")
    other = path.with_name("other.py")
    other.write_text("answer = 43\n", encoding="utf-8")
    for each in (path, other):
        put(store, each, "unchecked-hash")
    assert store.holds(str(path))
    assert outcome(store, other) == "other code"
    assert store.find(str(other)).co_filename == str(other)
    assert store.holds(str(path))
    assert outcome(store, path) == "hit"
    put(store, path, "timestamp")
    assert outcome(store, path) == "other-mode"
    assert not store.holds(str(path.with_name("nothing.py")))
