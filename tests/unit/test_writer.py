"""Writing of entries: trusted directories, permissions, and exceptions of a program's signal handlers."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import struct
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from pycachehook.cache_dir import CacheDir
from pycachehook.events import Stats
from pycachehook.on_miss.writer import IGNORE, TAG, put, read_source, readers_of, write_entry
from pycachehook.paths import Layout
from pycachehook.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import Python

STRANGER = 4242
GROUP = 4343

pytestmark = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="there are no owners and modes here")
root = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can become another user")


@pytest.fixture(autouse=True)
def _writing(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let Python write bytecode, with the usual umask."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    found = os.umask(0o022)
    yield
    os.umask(found)


@pytest.fixture
def source(public: Path) -> Path:
    """Return a source that everybody may read."""
    path = public / "m.py"
    path.write_text("VALUE = 1\n", encoding="utf-8")
    path.chmod(0o644)
    return path


def write(directory: CacheDir, name: str, source: Path) -> bool:
    """Write an entry with this name, below two directories, and return whether that succeeded."""
    return write_entry(directory, f"{directory.path}/a/b/{name}", b"entry", source.stat(), Stats())


def as_stranger(command: str) -> None:
    """Run a shell command as another user."""
    become = ["setpriv", f"--reuid={STRANGER}", f"--regid={STRANGER}", "--clear-groups"]
    subprocess.run([*become, "sh", "-ec", command], check=True, cwd="/")


def test_marks_of_a_new_cache(source: Path, public: Path) -> None:
    """The first entry also creates the mark, CACHEDIR.TAG for backup programs, and .gitignore."""
    assert write(CacheDir(f"{public}/cache"), "m.pyc", source)
    cache = public / "cache"
    assert (cache / ".pycachehook" / "format").read_text(encoding="ascii") == "1\n"
    assert (cache / "CACHEDIR.TAG").read_text(encoding="ascii") == TAG
    assert (cache / ".gitignore").read_text(encoding="ascii") == IGNORE
    assert "\n*\n" in IGNORE


def test_existing_marks_are_left_as_they_are(source: Path, public: Path) -> None:
    """An existing .gitignore or tag is not written again, even if it is a dangling link."""
    cache = public / "cache"
    cache.mkdir()
    (cache / ".gitignore").write_text("mine\n", encoding="ascii")
    (cache / "CACHEDIR.TAG").symlink_to("/no/such/file")
    assert write(CacheDir(str(cache)), "m.pyc", source)
    assert (cache / ".gitignore").read_text(encoding="ascii") == "mine\n"
    assert (cache / "CACHEDIR.TAG").is_symlink()


@root
@pytest.mark.parametrize("trap", ["directory", "link", "folder"])
def test_cache_that_another_user_has_made_anew(trap: str, source: Path, public: Path) -> None:
    """A cache in a sticky directory is not written to after another user has replaced it."""
    sticky, outside = public / "sticky", public / "outside"
    for folder, mode in ((sticky, 0o1777), (outside, 0o755)):
        folder.mkdir()
        folder.chmod(mode)
    directory = CacheDir(f"{sticky}/cache")
    assert write(directory, "first.pyc", source)
    shutil.rmtree(directory.path)
    traps = {
        "directory": f"umask 0; mkdir -p {directory.path}/a/b {directory.path}/.pycachehook",
        "link": f"ln -s {outside} {directory.path}",
        "folder": f"mkdir {directory.path}; ln -s {outside} {directory.path}/a; ln -s {outside} {directory.path}/.pycachehook",
    }
    as_stranger(traps[trap])
    before = sorted(sticky.rglob("*"))
    for _ in range(2):
        assert not write(directory, "second.pyc", source)
    assert (sorted(sticky.rglob("*")), list(outside.iterdir())) == (before, [])
    assert directory.status == "disabled"
    assert f"owned by uid {STRANGER}" in (directory.reason or "")


@root
def test_link_that_another_user_has_made_anew(source: Path, public: Path) -> None:
    """A link to the cache in a sticky directory is not followed after another user has replaced it."""
    sticky, place = public / "sticky", public / "place"
    for folder, mode in ((sticky, 0o1777), (place, 0o755)):
        folder.mkdir()
        folder.chmod(mode)
    (sticky / "link").symlink_to(place)
    directory = CacheDir(f"{sticky}/link/cache")
    assert write(directory, "first.pyc", source)
    (sticky / "link").unlink()
    as_stranger(f"ln -s {place} {sticky}/link")
    assert not write(directory, "second.pyc", source)
    assert directory.status == "disabled"
    assert f"is a link owned by uid {STRANGER}" in (directory.reason or "")


@root
@pytest.mark.parametrize("change", ["chmod 777 {cache}", "chown {user} {cache}", "chmod 777 {above}"])
def test_cache_that_others_may_write_to_now(change: str, source: Path, public: Path) -> None:
    """A cache directory whose owner or mode has changed is not written to, nor one below a replaced directory."""
    above = public / "above"
    directory = CacheDir(f"{above}/cache")
    assert write(directory, "first.pyc", source)
    subprocess.run(change.format(cache=directory.path, above=above, user=STRANGER), shell=True, check=True)
    if "{above}" in change:
        shutil.rmtree(directory.path)
    assert not write(directory, "second.pyc", source)
    assert directory.status == "disabled"


def test_removed_cache_is_made_again(source: Path, public: Path) -> None:
    """A removed cache is created again, with its marks, for the next entry."""
    directory = CacheDir(f"{public}/above/cache")
    for _ in range(2):
        assert write(directory, "m.pyc", source)
        assert os.path.exists(f"{directory.path}/.pycachehook/format")
        shutil.rmtree(public / "above")
    assert directory.status == "writable"


def test_cache_that_is_away_for_a_while(source: Path, public: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A temporarily missing home directory is not created, and does not end all writing."""
    home = public / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    directory = CacheDir(f"{home}/.cache/pycachehook", private=True)
    assert write(directory, "first.pyc", source)
    home.rename(public / "away")
    assert not write(directory, "second.pyc", source)
    assert not home.exists()
    assert directory.status == "writable"
    assert "does not exist" in (directory.reason or "")
    (public / "away").rename(home)
    assert write(directory, "third.pyc", source)


@pytest.mark.parametrize("mode", [0o777, 0o757, 0o1777], ids=oct)
def test_folder_in_the_cache_that_others_may_write_to(mode: int, source: Path, public: Path) -> None:
    """Nothing is written to or below a directory that others may change; the rest of the cache is used."""
    folder = public / "cache" / "a"
    folder.mkdir(parents=True)
    folder.chmod(mode)
    (folder / "x.cpython-311.pyc").touch()
    directory = CacheDir(f"{public}/cache")
    assert not write(directory, "m.pyc", source)
    assert not (folder / "b").exists()
    assert f"{folder} is writable by" in (directory.reason or "")
    assert write_entry(directory, f"{directory.path}/c/m.pyc", b"entry", source.stat(), Stats())


@pytest.mark.parametrize(
    ("target", "stays"),
    [
        ("{outside}", False),
        ("../outside", False),
        ("x/../../outside", False),
        ("to-x/../../outside", False),
        ("a", False),
        ("{cache}-other", False),
        ("x", True),
        ("./x/../x/", True),
        ("{cache}/x", True),
    ],
)
def test_link_in_the_cache(target: str, stays: bool, source: Path, public: Path) -> None:
    """Nothing is written through a link out of the cache; a link inside it is followed."""
    outside, cache = public / "outside", public / "cache"
    for folder in (outside, public / "cache-other", cache, cache / "x"):
        folder.mkdir()
    (cache / f"x/m.{sys.implementation.cache_tag}.pyc").touch()
    directory = CacheDir(str(cache))
    (cache / "to-x").symlink_to("x")
    (cache / "a").symlink_to(target.format(outside=outside, cache=cache))
    assert write(directory, "m.pyc", source) is stays
    assert [*outside.iterdir(), *(public / "cache-other").iterdir()] == []
    assert (cache / "x" / "b" / "m.pyc").exists() is stays
    assert stays or "link" in (directory.reason or "")


@pytest.mark.parametrize("umask", [0o000, 0o002, 0o022, 0o077], ids=oct)
def test_nothing_is_writable_for_others(umask: int, source: Path, public: Path) -> None:
    """Whatever umask and source mode are, others cannot write to any file or directory of a cache."""
    source.chmod(0o666)
    os.umask(umask)
    directory = CacheDir(f"{public}/above/cache")
    assert write(directory, "m.pyc", source)
    everything = [public / "above", *(public / "above").rglob("*")]
    assert len(everything) == 9
    assert [path for path in everything if path.stat().st_mode & 0o022] == []


# Writes an entry as the owner of the source, with the groups `primary` and `further` only.
PROGRAM = """
import os, sys
from pycachehook.cache_dir import CacheDir
from pycachehook.events import Stats
from pycachehook.on_miss.writer import write_entry
cache, source, user, primary, further, umask = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:])
os.umask(umask)
os.setgroups([further] if further else [])
os.setresgid(primary, primary, primary)
os.setresuid(user, user, user)
sys.dont_write_bytecode = False
assert write_entry(CacheDir(cache), f"{cache}/m.pyc", b"entry", os.stat(source), Stats())
"""


@root
@pytest.mark.parametrize(
    ("source_mode", "user", "expected"),
    [
        pytest.param(0o640, (100, 0, 0o022), (0o600, 100), id="not in the source's group"),
        pytest.param(0o640, (100, GROUP, 0o022), (0o640, GROUP), id="in the source's group"),
        pytest.param(0o640, (GROUP, 0, 0o022), (0o640, GROUP), id="with the source's group"),
        pytest.param(0o640, (100, GROUP, 0o077), (0o600, GROUP), id="umask"),
        pytest.param(0o660, (100, GROUP, 0o000), (0o640, GROUP), id="no umask"),
        pytest.param(0o604, (100, 0, 0o022), (0o600, 100), id="everybody but a group, from outside"),
        pytest.param(0o604, (GROUP, 0, 0o022), (0o604, GROUP), id="everybody but a group"),
        pytest.param(0o644, (100, 0, 0o022), (0o644, 100), id="everybody"),
        pytest.param(0o600, (100, GROUP, 0o022), (0o600, 100), id="the owner"),
        pytest.param(0o400, (100, GROUP, 0o022), (0o600, 100), id="the owner, not to write"),
    ],
)
def test_who_may_read_an_entry(
    source_mode: int,
    user: tuple[int, int, int],
    expected: tuple[int, int],
    *,
    python: Python,
    source: Path,
    public: Path,
) -> None:
    """An entry is readable by those who may read its source, through a group only if it is the source's group.

    `user` is the group, the further group and the umask of the writing process.
    """
    os.chown(source, STRANGER, GROUP)
    source.chmod(source_mode)
    cache = public / "cache"
    cache.mkdir()
    os.chown(cache, STRANGER, 100)
    cache.chmod(0o755)
    python("-c", PROGRAM, cache, source, *map(str, (STRANGER, *user)))
    status = (cache / "m.pyc").stat()
    assert (stat.S_IMODE(status.st_mode), status.st_gid) == expected
    assert [path.name for path in cache.iterdir() if path.name.endswith(".tmp")] == []


@pytest.mark.skipif(not hasattr(os, "setxattr"), reason="there are no extended attributes here")
@pytest.mark.parametrize(
    ("mode", "rows", "expected"),
    [
        # Tag, permissions, id (linux/posix_acl_xattr.h): 1 owner, 2 user, 4 group, 8 another group, 16 mask, 32 others.
        (0o600, [(1, 6, -1), (2, 4, 4243), (4, 0, -1), (16, 4, -1), (32, 0, -1)], 0),
        (0o600, [(1, 6, -1), (4, 4, -1), (8, 4, 4243), (16, 4, -1), (32, 0, -1)], 0o040),
        (0o600, [(1, 6, -1), (2, 4, 4243), (4, 4, -1), (16, 0, -1), (32, 4, -1)], 0o004),
        (0o600, [(1, 6, -1), (2, 0, 4243), (4, 4, -1), (16, 4, -1), (32, 4, -1)], 0),
        (0o600, [(1, 6, -1), (4, 4, -1), (8, 0, 4243), (16, 4, -1), (32, 4, -1)], 0),
        (0o644, [], 0o044),
        (0o640, [], 0o040),
        (0o604, [], 0o004),
    ],
)
def test_access_control_list_of_a_source(
    mode: int, rows: list[tuple[int, int, int]], expected: int, source: Path, cache: Path
) -> None:
    """The group's bits in the mode of a source with an ACL are a mask, and give nobody access to the entry."""
    source.chmod(mode)
    if rows:
        value = struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *row) for row in rows)
        try:
            os.setxattr(source, "system.posix_acl_access", value)
        except OSError:
            pytest.skip("the file system has no access control lists")
    assert readers_of(str(source), source.stat()) == expected
    layout = Layout.current()
    assert layout is not None
    store = Store(CacheDir(str(cache)), layout, "checked-hash")
    assert put(store, read_source(str(source)), compile("", str(source), "exec"), Stats(), warned=False)
    assert stat.S_IMODE(os.stat(store.path(str(source))).st_mode) == 0o600 | expected


@root
def test_group_of_the_directory(python: Python, source: Path, public: Path) -> None:
    """A setgid directory does not make an entry readable for its group."""
    os.chown(source, STRANGER, GROUP)
    source.chmod(0o640)
    cache = public / "cache"
    cache.mkdir()
    os.chown(cache, STRANGER, 100)
    cache.chmod(0o2755)
    python("-c", PROGRAM, cache, source, *map(str, (STRANGER, GROUP, 0, 0o022)))
    status = (cache / "m.pyc").stat()
    assert (stat.S_IMODE(status.st_mode), status.st_gid) == (0o640, GROUP)


@pytest.mark.filterwarnings(
    "ignore::ResourceWarning"
)  # a file that the exception interrupts is closed by its finalizer
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="there is no SIGALRM here")
def test_time_limit_of_the_program(source: Path, public: Path) -> None:
    """A TimeoutError of a signal handler during the writing of entries always reaches the program."""
    fired = False

    def out_of_time(*_: object) -> None:
        nonlocal fired
        fired = True
        raise TimeoutError("out of time")

    def write_until_then(
        delay: float,
    ) -> None:  # a function, because the jump of a loop may be outside the `try` in its frame
        signal.setitimer(signal.ITIMER_REAL, delay)
        while not fired:
            write(CacheDir(f"{public}/cache"), "m.pyc", source)

    found = signal.signal(signal.SIGALRM, out_of_time)
    missed = 0
    try:
        for count in range(150):
            fired = False
            try:
                write_until_then(0.0003 + count * 1e-6)
            except TimeoutError:
                continue
            missed += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, found)
    assert missed == 0


def test_price_of_the_look_at_the_directory(python: Python, source: Path, public: Path) -> None:
    """Writing one more entry to a known directory takes few system calls and does not examine its parents."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("needs strace")
    program = """
import os, sys
from pycachehook.cache_dir import CacheDir
from pycachehook.events import Stats
from pycachehook.on_miss.writer import write_entry
sys.dont_write_bytecode = False
cache, source = sys.argv[1:]
directory, status, stats = CacheDir(cache), os.stat(source), Stats()
write_entry(directory, f"{cache}/a/first.pyc", b"entry", status, stats)
os.path.lexists("/begin")
"""
    program += 'write_entry(directory, f"{cache}/a/second.pyc", b"entry", status, stats)\nos.path.lexists("/end")\n'
    out = public / "calls"
    command = [strace, "-o", str(out), python.executable, "-c", program, str(public / "cache"), str(source)]
    subprocess.run(command, check=True)
    lines = out.read_text(encoding="utf-8").splitlines()
    begin, end = (next(at for at, line in enumerate(lines) if f'"/{mark}"' in line) for mark in ("begin", "end"))
    calls = [line.partition("(")[0] for line in lines[begin + 1 : end]]
    assert (
        calls.count("newfstatat") + calls.count("lstat") <= 4
    )  # one by the package, the others by opening a file object
    assert len(calls) <= 12, calls


def test_functions_that_a_program_has_replaced(python: Python, source: Path, public: Path) -> None:
    """Functions that a program has replaced are not called, and change nothing."""
    program = """
import os, posixpath, genericpath, stat, time, builtins, io, sys, shutil, errno
from pycachehook.cache_dir import CacheDir, is_marked
from pycachehook.events import Stats
from pycachehook.on_miss.writer import write_entry
from pycachehook.paths import Layout, absolute, default_cache_dir
sys.dont_write_bytecode = False
cache, source = sys.argv[1:]
status, stats, rmtree, called = os.stat(source), Stats(), shutil.rmtree, []
write_entry, is_marked, default_cache_dir, absolute, CacheDir, Layout, errno  # lazy imports are resolved here
from pycachehook import own_modules; own_modules.remember()  # and those of the package

def replacement(name):
    def function(*args, **kwargs):
        called.append(name)
        raise TypeError(name)
    return function

kept = {}
for module in (os, posixpath, genericpath, stat, time, builtins, io):
    for name, value in list(vars(module).items()):
        if type(value) in (type(len), type(rmtree)) and name not in ("isinstance", "_exit"):  # os.environ calls the first
            kept[module, name] = value
            setattr(module, name, replacement(f"{module.__name__}.{name}"))
try:
    found = [default_cache_dir(), absolute("x"), Layout("cpython-311").mirrored(cache, "../x/m.py")]
    assert absolute("~") and absolute("~/x")
    directory = CacheDir(cache)
    for count in (1, 2):
        found.append(write_entry(directory, f"{cache}/a/m{count}.pyc", b"entry", status, stats))
    found += [is_marked(cache), CacheDir(cache).status, CacheDir(source).status]
    directory.fault(OSError(28, "full"), "write")
    found.append(directory.status)
finally:
    for (module, name), value in kept.items():
        setattr(module, name, value)
print(found[3:], called, os.path.isabs(found[0]), found[1] == os.path.abspath("x"), found[2].startswith(cache))
"""
    process = python("-c", program, public / "cache", source)
    expected = [True, True, True, "writable", "disabled", "read-only"]
    assert process.stdout == f"{expected} [] True True True\n"
