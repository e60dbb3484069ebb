"""Cache directories: whether this process may use them, and if not, why."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import struct
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from pycachehook.cache_dir import CacheDir, fault_of, is_marked, make_directories, trusted_owners, why_untrusted
from pycachehook.errors import CacheDirError
from pycachehook.events import Miss
from pycachehook.paths import Layout
from pycachehook.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

OTHER = 65534
posix = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="there are no owners and modes here")
root = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give files away")


@pytest.fixture(autouse=True)
def _writing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Python write bytecode, whatever the environment of the tests is."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)


@pytest.fixture
def umask() -> Iterator[None]:
    """Run with the usual umask, so that modes are known."""
    found = os.umask(0o022)
    yield
    os.umask(found)


def mode_of(path: Path) -> int:
    """Return the permission bits of `path`."""
    return stat.S_IMODE(path.stat().st_mode)


@posix
@pytest.mark.usefixtures("umask")
@pytest.mark.parametrize(("private", "mode"), [(True, 0o700), (False, 0o755)])
def test_missing_directory_is_made(private: bool, mode: int, tmp_path: Path) -> None:
    """A missing directory is created with its parents; the user's default one is private."""
    directory = CacheDir(str(tmp_path / "a" / "b"), private=private)
    assert (directory.status, directory.reason, directory.writable()) == ("writable", None, True)
    assert [mode_of(tmp_path / "a"), mode_of(tmp_path / "a" / "b")] == [mode, mode]


def test_missing_directory_is_made_where_others_are_allowed(tmp_path: Path) -> None:
    """Under allow_shared a missing directory is created as well."""
    directory = CacheDir(str(tmp_path / "new"), allow_shared=True)
    assert (directory.status, directory.reason) == ("writable", None)
    assert (tmp_path / "new").is_dir()


def test_existing_directory_is_left_as_it_is(tmp_path: Path) -> None:
    """Opening an existing directory changes nothing in it."""
    tmp_path.chmod(0o711)
    assert CacheDir(str(tmp_path)).status == "writable"
    assert mode_of(tmp_path) == 0o711
    assert list(tmp_path.iterdir()) == []


def test_read_only(tmp_path: Path) -> None:
    """A directory opened read-only is not written to, even with force_write."""
    directory = CacheDir(str(tmp_path), read_only=True, force_write=True)
    assert (directory.status, directory.reason, directory.writable()) == ("read-only", "read_only is set.", False)


@pytest.mark.parametrize(("force_write", "expected"), [(False, False), (True, True)])
def test_dont_write_bytecode(
    force_write: bool, expected: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under -B nothing is written without force_write; the current value in `sys` counts."""
    directory = CacheDir(str(tmp_path), force_write=force_write)
    assert directory.writable()
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    assert directory.writable() is expected


def make_file(path: Path) -> Path:
    """Create the file `path`, and return its path."""
    path.touch()
    return path


def make_dangling(path: Path) -> Path:
    """Make `path` a dangling link, and return the path of a directory below it."""
    path.symlink_to("/no/such/place")
    return path / "cache"


def make_loop(path: Path) -> Path:
    """Make `path` a link to itself, and return it."""
    path.symlink_to(path)
    return path


@pytest.mark.parametrize(
    ("make", "options", "complaint"),
    [
        pytest.param(lambda path: path, {"read_only": True}, "does not exist, and read_only is set.", id="missing"),
        pytest.param(make_file, {}, "is not a directory.", id="file"),
        pytest.param(make_file, {"allow_shared": True}, "is not a directory.", id="file, shared"),
        pytest.param(lambda path: make_file(path) / "x", {}, "is not in a directory.", id="below a file"),
        pytest.param(make_dangling, {}, "cannot be used: ", id="below a dangling link"),
        pytest.param(make_loop, {}, "", id="link to itself"),
    ],
)
@pytest.mark.parametrize("strict", [False, True])
def test_unusable_directory(
    make: Callable[[Path], Path], options: dict[str, bool], complaint: str, strict: bool, tmp_path: Path
) -> None:
    """A path that cannot be a cache directory is disabled with one sentence that names it, which strict raises."""
    path = make(tmp_path / "cache")
    if strict:
        with pytest.raises(CacheDirError) as caught:
            CacheDir(str(path), strict=True, **options)
        reason: str | None = str(caught.value)
    else:
        directory = CacheDir(str(path), **options)
        assert (directory.status, directory.writable()) == ("disabled", False)
        reason = directory.reason
    assert reason is not None
    assert str(path) in reason
    assert complaint in reason
    assert reason.endswith(".")


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="there is no /proc here")
def test_directory_that_nobody_can_make() -> None:
    """A directory whose creation fails with "no such file" is disabled like any other."""
    directory = CacheDir("/proc/no-such-process/cache")
    assert directory.status == "disabled"
    assert directory.reason is not None


def plain(path: Path) -> Path:
    """Make a directory that is trusted, and return it."""
    path.mkdir(mode=0o755)
    return path


def changed(path: Path, mode: int, owner: int = -1, group: int = -1) -> Path:
    """Make a directory with this mode, owner and group, and return it."""
    path.mkdir()
    os.chown(path, owner, group)
    path.chmod(mode)
    return path


def linked(path: Path, target: Path, owner: int = -1) -> Path:
    """Make `path` a link to the directory `target`, and return it."""
    path.symlink_to(target)
    os.chown(path, owner, owner, follow_symlinks=False)
    return path


@posix
@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        pytest.param(plain, None, id="own"),
        pytest.param(lambda path: plain(changed(path, 0o1777) / "x"), None, id="below a sticky one"),
        pytest.param(lambda path: linked(path, plain(path.with_name("other"))), None, id="own link"),
        pytest.param(lambda path: changed(path, 0o777), "is writable by everybody", id="everybody's"),
        pytest.param(lambda path: changed(path, 0o1777), "is writable by everybody", id="sticky itself"),
        pytest.param(lambda path: plain(changed(path, 0o777) / "x"), "is writable by everybody", id="below it"),
        pytest.param(
            lambda path: linked(path, changed(path.with_name("other"), 0o777)),
            "is writable by everybody",
            id="link to it",
        ),
        pytest.param(lambda path: changed(path, 0o775, OTHER + 1, OTHER + 1), "is owned by", id="theirs", marks=root),
        pytest.param(lambda path: changed(path, 0o775, 0, 0), "is writable by group 0", id="root's group", marks=root),
        pytest.param(lambda path: changed(path, 0o755, 0, OTHER), None, id="group that may only read", marks=root),
        pytest.param(lambda path: changed(path, 0o775, 0, OTHER), "is writable by group 65534", id="group", marks=root),
        pytest.param(lambda path: changed(path, 0o755, OTHER), "is owned by uid 65534", id="another's", marks=root),
        pytest.param(
            lambda path: plain(changed(path, 0o1777, OTHER) / "x"),
            "is owned by uid 65534",
            id="below another's",
            marks=root,
        ),
        pytest.param(
            lambda path: linked(path, plain(path.with_name("other")), OTHER),
            "is a link owned by uid 65534",
            id="another's link",
            marks=root,
        ),
    ],
)
def test_trust(make: Callable[[Path], Path], complaint: str | None, tmp_path: Path) -> None:
    """A directory that others could write to is refused with a reason and a remedy, unless allow_shared is set."""
    path = make(tmp_path / "cache")
    directory = CacheDir(str(path))
    sentence = why_untrusted(str(path), trusted_owners())
    if complaint is None:
        assert (directory.status, directory.reason, sentence) == ("writable", None, None)
    else:
        assert (directory.status, directory.reason) == ("disabled", sentence)
        assert sentence is not None
        assert complaint in sentence
        assert "fix it with `ch" in sentence
    assert CacheDir(str(path), allow_shared=True).status == "writable"


@posix
@pytest.mark.parametrize("name", ["plain", "it's got spaces", "$HOME; `x`"])
def test_refusal_where_nothing_more_can_be_loaded(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The refusal works without a readable standard library, and its command is quoted for a shell."""
    path = tmp_path / name
    path.mkdir()
    path.chmod(0o777)
    with monkeypatch.context() as poor:
        poor.setattr(sys, "path", [])
        poor.setattr(sys, "meta_path", [])
        poor.delitem(sys.modules, "shlex", raising=False)
        directory = CacheDir(str(path))
    assert directory.status == "disabled"
    assert directory.reason is not None
    command = directory.reason.partition("fix it with `")[2].partition("`, choose")[0]
    assert subprocess.run(["/bin/sh", "-c", command], check=False).returncode == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o755


@posix
def test_distrust_of_what_is_not_there(tmp_path: Path) -> None:
    """A missing component raises FileNotFoundError, whether or not owners matter."""
    for owners in (trusted_owners(), ()):
        with pytest.raises(FileNotFoundError):
            why_untrusted(str(tmp_path / "missing" / "x"), owners)


@posix
def test_trusted_owners() -> None:
    """This user and root are trusted, and nobody else."""
    assert set(trusted_owners()) == {os.geteuid(), 0}


@root
def test_trusted_owners_of_a_process_that_can_become_root() -> None:
    """A root process that acts as another user temporarily does not trust that user: loaded code stays loaded."""
    os.seteuid(4242)
    try:
        assert set(trusted_owners()) == {0}
    finally:
        os.seteuid(0)


def test_without_owners_everything_is_trusted(tmp_path: Path) -> None:
    """An empty tuple of owners means that everything is trusted."""
    tmp_path.chmod(0o777)
    assert fault_of(tmp_path.stat(), ()) is None


@pytest.mark.parametrize(
    ("number", "status"),
    [
        *(
            (number, "read-only")
            for number in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EIO)
        ),
        *((number, "writable") for number in (errno.EINTR, errno.ENOENT, errno.EISDIR, None)),
    ],
)
def test_fault(number: int | None, status: str, tmp_path: Path) -> None:
    """A fault is recorded as the reason; one that would happen again ends all writing."""
    directory = CacheDir(str(tmp_path))
    text = "never mind" if number is None else os.strerror(number)
    directory.fault(OSError(number, text), "write it")
    assert (directory.status, directory.reason) == (status, f"Could not write it: {text}.")
    assert directory.writable() is (status == "writable")


def test_fault_under_strict(tmp_path: Path) -> None:
    """Under strict a fault raises CacheDirError with the reason."""
    directory = CacheDir(str(tmp_path), strict=True)
    with pytest.raises(CacheDirError, match=r"^Could not write it: No space left on device\.$"):
        directory.fault(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "write it")


@pytest.mark.parametrize("depth", [1, 3])
def test_make_directories(depth: int, tmp_path: Path) -> None:
    """Missing directories are created; existing ones are no error."""
    path = tmp_path.joinpath(*"abc"[:depth])
    for _ in range(2):
        make_directories(str(path), 0o755)
        assert path.is_dir()


@pytest.mark.parametrize("below", ["", "/x", "/x/y"])
def test_make_directories_over_a_file(below: str, tmp_path: Path) -> None:
    """A file at the path is NotADirectoryError."""
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        make_directories(f"{tmp_path}/file{below}", 0o755)


def test_reopen_makes_it_again(tmp_path: Path) -> None:
    """A directory that was removed while in use is created again."""
    path = tmp_path / "cache"
    directory = CacheDir(str(path))
    path.rmdir()
    directory.reopen()
    assert (path.is_dir(), directory.status) == (True, "writable")


@posix
@pytest.mark.skipif(not hasattr(os, "setxattr"), reason="there are no extended attributes here")
@pytest.mark.parametrize("below", ["", "/x"])
def test_access_control_list(below: str, tmp_path: Path) -> None:
    """A directory that an access control list opens to other users is refused, even if its group is private."""
    path = tmp_path / "cache"
    path.mkdir()
    (path / "x").mkdir()
    if os.geteuid() == 0:
        os.chown(path, 4242, 4242)
    # Version 2; then tag, permission, id: owner, user 4243, group, mask, others (linux/posix_acl_xattr.h).
    rows = [(0x01, 7, -1), (0x02, 7, 4243), (0x04, 5, -1), (0x10, 7, -1), (0x20, 5, -1)]
    owners = (path.stat().st_uid, os.geteuid())
    path.chmod(0o775)
    assert why_untrusted(f"{path}{below}", owners) is None
    try:
        os.setxattr(
            path,
            "system.posix_acl_access",
            struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *row) for row in rows),
        )
    except OSError:
        pytest.skip("the file system has no access control lists")
    assert stat.S_IMODE(path.stat().st_mode) == 0o775
    sentence = why_untrusted(f"{path}{below}", owners)
    assert sentence is not None
    assert "is writable by an access control list" in sentence
    assert f"fix it with `setfacl -b {path}`" in sentence


@root
def test_remedy_for_the_root_directory() -> None:
    """No command is suggested that would change the owner of the root directory."""
    os.seteuid(4242)
    try:
        sentence = why_untrusted("/", (4242, 4243))
    finally:
        os.seteuid(0)
    assert sentence is not None
    assert "/ is owned by uid 0" in sentence
    assert "chown" not in sentence


TAG = sys.implementation.cache_tag

CACHES: dict[str, list[str]] = {
    "empty": [],
    "CPython's": [f"usr/lib/a.{TAG}.pyc", f"home/me/b.{TAG}.opt-2.pyc", f"c.{TAG}.pyc", "usr/lib/d.pypy310.pyc"],
    "CPython at work": [f"usr/lib/a.{TAG}.pyc.140234", f"usr/lib/a.{TAG}.pyc"],
    "fresh file system": ["lost+found/"],
    "ours, at work": [".pycachehook/.pycachehook-1-2.tmp", ".pycachehook-1-2.tmp", "CACHEDIR.TAG"],
    "ours, with anything": [".pycachehook/format", "README", "src/main.py"],
    "kept by git": [".gitkeep", ".gitignore"],
}
OTHERS: dict[str, tuple[list[str], str]] = {
    "project": (["main.py", ".git/HEAD"], ""),
    "one file": (["notes.txt"], "notes.txt"),
    "hidden file": ([".bashrc"], ".bashrc"),
    "file far below": ([f"a/b.{TAG}.pyc", "a/c/d/e.txt"], "a/c/d/e.txt"),
    "directories for something else": (["data/inbox/new/", "data/outbox/"], "data"),
    "sources and their bytecode": ([f"pkg/__pycache__/a.{TAG}.pyc"], "pkg/__pycache__"),
    "program without sources": (["app/main.pyc"], "app/main.pyc"),
    "lost+found elsewhere": ([f"a/b.{TAG}.pyc", "a/lost+found/x"], "a/lost+found/x"),
    "directory of ours without the mark": ([".pycachehook/", "x.txt"], "x.txt"),
}


def fill(folder: Path, names: list[str]) -> None:
    """Create a directory with these files, and directories for names that end with a slash."""
    folder.mkdir()
    for name in names:
        path = folder / name
        (path if name.endswith("/") else path.parent).mkdir(parents=True, exist_ok=True)
        if not name.endswith("/"):
            path.write_text("1\n" if name.endswith("format") else "", encoding="ascii")


@pytest.mark.parametrize("names", CACHES.values(), ids=CACHES)
def test_directory_that_may_become_a_cache(names: list[str], tmp_path: Path) -> None:
    """An empty directory, one filled by CPython, and a marked one are used as a cache."""
    fill(tmp_path / "cache", names)
    directory = CacheDir(str(tmp_path / "cache"))
    assert (directory.status, directory.reason) == ("writable", None)
    assert is_marked(directory.path) == (".pycachehook/format" in names)


@pytest.mark.parametrize(("names", "named"), OTHERS.values(), ids=OTHERS)
@pytest.mark.parametrize("allow_shared", [False, True])
def test_directory_of_other_data(names: list[str], named: str, allow_shared: bool, tmp_path: Path) -> None:
    """A directory that contains anything else is refused with a sentence that names it and says what to do."""
    fill(tmp_path / "cache", names)
    before = sorted(tmp_path.rglob("*"))
    directory = CacheDir(str(tmp_path / "cache"), allow_shared=allow_shared)
    assert (directory.status, directory.writable()) == ("disabled", False)
    assert directory.reason is not None
    assert f"{directory.path}/{named}" in directory.reason
    assert "choose a new or empty directory as cache_dir." in directory.reason
    assert sorted(tmp_path.rglob("*")) == before
    with pytest.raises(CacheDirError):
        CacheDir(str(tmp_path / "cache"), allow_shared=allow_shared, strict=True)
    assert CacheDir(str(tmp_path / "cache"), read_only=True).status == "read-only"


def test_look_into_a_directory_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check of a large unmarked cache does not examine all of its files."""
    fill(tmp_path / "cache", [f"{name}/m.{TAG}.pyc" for name in range(30)])
    monkeypatch.setattr("pycachehook.cache_dir._NAMES_EXAMINED", 40)
    listed: list[str] = []
    listdir = os.listdir

    def count(path: str) -> list[str]:
        listed.append(path)
        return listdir(path)

    monkeypatch.setattr("pycachehook.cache_dir.system.listdir", count)
    assert CacheDir(str(tmp_path / "cache")).status == "writable"
    assert 0 < len(listed) < 20


@pytest.mark.parametrize("damage", ["missing", "empty", "another format", "link", "linked directory", "directory"])
def test_no_mark(damage: str, tmp_path: Path) -> None:
    """Only a regular file with the known content in a directory that is no link is a mark."""
    cache, other = tmp_path / "cache", tmp_path / "other"
    fill(other, ["format"])
    cache.mkdir()
    own = cache / ".pycachehook"
    if damage == "linked directory":
        own.symlink_to(other)
    else:
        own.mkdir()
    if damage == "link":
        (own / "format").symlink_to(other / "format")
    elif damage == "directory":
        (own / "format").mkdir()
    elif damage in ("empty", "another format"):
        (own / "format").write_text("" if damage == "empty" else "1\n2\n", encoding="ascii")
    assert not is_marked(str(cache))


def test_no_default_cache_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without a default cache directory the status is disabled, with a reason."""
    monkeypatch.setenv("HOME", f"{tmp_path}/missing")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    directory = CacheDir(None)
    assert (directory.status, directory.path) == ("disabled", "")
    assert f"the home directory {tmp_path}/missing does not exist" in (directory.reason or "")


def test_home_directory_is_not_made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A chosen cache directory in a missing home directory does not create the home directory."""
    monkeypatch.setenv("HOME", f"{tmp_path}/missing")
    directory = CacheDir(f"{tmp_path}/missing/.cache/x")
    assert directory.status == "disabled"
    assert f"{tmp_path}/missing: this home directory does not exist" in (directory.reason or "")
    assert list(tmp_path.iterdir()) == []
    assert CacheDir(f"{tmp_path}/missing-no-home/x").status == "writable"


@posix
def test_entry_that_is_a_link(tmp_path: Path) -> None:
    """An entry that is a link is not read, and the miss names it."""
    source = tmp_path / "m.py"
    source.touch()
    store = Store(CacheDir(f"{tmp_path}/cache"), Layout(TAG), "checked-hash")
    entry = store.path(str(source))
    os.makedirs(os.path.dirname(entry))
    os.symlink(tmp_path / "real.pyc", entry)
    with pytest.raises(Miss) as caught:
        store.find(str(source))
    assert caught.value.args[-1] == f"{entry} is a link, and entries are not read through links"


@posix
def test_system_calls_of_the_check(tmp_path: Path) -> None:
    """The check of a marked cache makes one `lstat` per component and few other system calls."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("needs strace")
    fill(tmp_path / "cache", [".pycachehook/format"])
    program = """
import os, sys
from pycachehook.cache_dir import CacheDir
os.path.lexists("/begin")
directory = CacheDir(sys.argv[1])
os.path.lexists("/end")
assert directory.status == "writable", directory.reason
"""
    out = tmp_path / "calls"
    command = [strace, "-o", str(out), sys.executable, "-c", program, str(tmp_path / "cache")]
    subprocess.run(command, check=True)
    lines = out.read_text(encoding="utf-8").splitlines()
    begin, end = (next(at for at, line in enumerate(lines) if f'"/{mark}"' in line) for mark in ("begin", "end"))
    components = len((tmp_path / "cache").parts)
    assert end - begin - 1 <= components + 4, lines[begin:end]


def test_what_is_not_a_directory(tmp_path: Path) -> None:
    """The reason says what is there in place of a directory, and advises nothing for a device."""
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    (tmp_path / "device").symlink_to("/dev/zero")
    for name, complaint in (
        ("dangling", f"cannot be used: {tmp_path / 'dangling'} is a link that leads nowhere."),
        ("device", "is not a directory."),
    ):
        directory = CacheDir(str(tmp_path / name))
        assert directory.reason == f"The cache directory {tmp_path / name} {complaint}"
        assert directory.status == "disabled"


@posix
def test_no_mode_is_advised_for_a_device(tmp_path: Path) -> None:
    """A device is writable by everybody for a reason."""
    (tmp_path / "link").symlink_to("/dev/null")
    sentence = why_untrusted(str(tmp_path / "link"), trusted_owners())
    assert sentence is not None
    assert "/dev/null is writable by everybody" in sentence
    assert "fix it with" not in sentence
