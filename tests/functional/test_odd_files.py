"""Files that are named `*.py` and are no sources, and files in place of an archive: one line each, and no waiting."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from conftest import clean_environment
from pycachehook.cli.main import main

from .conftest import NOBODY, PrivateMounts

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Python

pytestmark = [
    pytest.mark.usefixtures("no_hook"),
    pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="needs root: devices and other users"),
]

ODD = {
    "fifo.py": "a FIFO, no source",
    "socket.py": "a socket, no source",
    "folder.py": "a directory, no source",
    "zero.py": "a device, no source",
    ".#lock.py": "a link that leads nowhere",
    "loop.py": "a link that leads nowhere",
}


@pytest.fixture
def odd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a directory with one source, and every kind of non-file with the name of a source."""
    folder = tmp_path / "odd"
    folder.mkdir()
    (folder / "good.py").write_text("V = 1\n", encoding="utf-8")
    os.mkfifo(folder / "fifo.py")
    (folder / "folder.py").mkdir()
    (folder / "zero.py").symlink_to("/dev/zero")
    (folder / ".#lock.py").symlink_to("user@host.123:99")
    (folder / "loop.py").symlink_to("loop.py")
    monkeypatch.chdir(folder)  # the path of a socket must be short
    with socket.socket(socket.AF_UNIX) as each:
        each.bind("socket.py")
    return folder


@pytest.mark.parametrize("jobs", ["1", "2"])
@pytest.mark.parametrize("command", ["precompile", "archive build"])
def test_what_is_no_source_is_skipped(
    command: str, jobs: str, odd: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each non-file is described in one line and is no failure, because no import would read it."""
    for number in range(20):
        (odd / f"good_{number}.py").touch()
    if command == "precompile":
        words = [command, "--cache-dir", str(cache), "-j", jobs, str(odd)]
    else:
        words = [*command.split(), "-j", jobs, "--path", str(odd), str(cache)]
    assert main(words) == 0
    said = capsys.readouterr()
    assert said.err == ""
    *lines, last = said.out.splitlines()
    assert sorted(lines) == sorted(f"{odd / name}: skipped: {what}" for name, what in ODD.items())
    assert f"{len(ODD)} skipped" in last
    assert "21 " in last
    assert main([*words, "--json"]) == 0
    skipped = json.loads(capsys.readouterr().out)["skipped"]
    assert {each["path"]: each["reason"] for each in skipped} == {str(odd / name): what for name, what in ODD.items()}


def test_named_itself(odd: Path, cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A non-file that is named as an argument is an error, in one sentence."""
    for name, what in ODD.items():
        if name != "folder.py":
            assert main(["precompile", "--cache-dir", str(cache), str(odd / name)]) == 1
            expected = f"pycachehook: error: {odd / name} cannot be compiled: it is {what}.\n"
            assert capsys.readouterr() == ("", expected)


def test_unreadable(odd: Path, private_mounts: PrivateMounts, python: Python) -> None:
    """A source or directory that this user cannot read is a failure of one line."""
    hidden = odd / "hidden"
    hidden.mkdir()
    odd.parent.chmod(0o755)
    for path in (odd / "good.py", hidden):
        path.chmod(0)
    store = odd.parent / "store"
    store.mkdir()
    os.chown(store, NOBODY, NOBODY)
    words = ("-m", "pycachehook", "precompile", "--cache-dir", store, odd)
    done = private_mounts(python, *words, user=NOBODY, reach=[odd.parent], check=False)
    assert (done.returncode, done.stderr) == (1, "")
    assert f"{odd / 'good.py'}: PermissionError: Permission denied" in done.stdout.splitlines()
    assert f"{hidden}: the directory cannot be listed" in done.stdout.splitlines()
    assert ", 2 failed" in done.stdout


@pytest.mark.parametrize("words", [["inspect"], ["archive", "list"], ["archive", "verify"]])
def test_special_files_as_arguments(words: list[str], odd: Path, python: Python) -> None:
    """Given a FIFO, a device or a directory to read, a command says so in one sentence and does not wait."""
    for name in ("fifo.py", "zero.py", "folder.py", "socket.py"):
        done = python("-m", "pycachehook", *words, odd / name, check=False)
        assert done.returncode in (1, 2)
        assert done.stdout == ""
        assert done.stderr.count("\n") == 1
        assert str(odd / name) in done.stderr


def test_profile_that_is_a_fifo(odd: Path, python: Python, tmp_path: Path) -> None:
    """`archive build` does not wait for a profile that is a FIFO."""
    words = ("archive", "build", "--path", odd, "--profile", odd / "fifo.py", tmp_path / "a.pyca")
    done = python("-m", "pycachehook", *words, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)


def test_special_entries(odd: Path, python: Python, cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`verify` and `doctor` do not wait for entries, in-tree pycs or sources that are FIFOs."""
    tag = sys.implementation.cache_tag
    source = odd / "becomes.py"
    source.touch()
    assert main(["precompile", "--cache-dir", str(cache), str(odd)]) == 0
    source.unlink()
    os.mkfifo(source)
    os.mkfifo(cache / f"fifo.{tag}.pyc")
    capsys.readouterr()
    assert main(["verify", "--cache-dir", str(cache)]) == 1
    assert f"becomes.{tag}.pyc: io-error" in capsys.readouterr().out
    in_tree = odd / "lib" / "__pycache__"
    in_tree.mkdir(parents=True)
    (in_tree.parent / "m.py").touch()
    os.mkfifo(in_tree / f"m.{tag}.pyc")
    program = (
        f"from pycachehook.commands import doctor; print(doctor.is_stale({str(in_tree / f'm.{tag}.pyc')!r}, 'm.py'))"
    )
    assert python("-c", program).stdout == "True\n"


OUTS: dict[str, Callable[[Path], object]] = {
    "a program": lambda out: out.write_text("print(1)\n", encoding="utf-8"),
    "empty": lambda out: out.touch(),
    "another zip": lambda out: out.write_bytes(b"PK\x05\x06" + bytes(18)),
    "a link": lambda out: out.symlink_to(out.parent / "notes.txt"),
    "a dangling link": lambda out: out.symlink_to(out.parent / "nothing"),
    "a FIFO": os.mkfifo,
    "a directory": lambda out: out.mkdir(),
    "a device": lambda out: os.mknod(out, 0o020666, os.makedev(1, 3)),
}


@pytest.mark.parametrize("kind", OUTS)
def test_archive_replaces_only_archives(
    kind: str, tree: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Only an archive is replaced; `--force` also replaces other files and links, and nothing else."""
    root, out, notes = tree({"m.py": ""}), tmp_path / "out.pyca", tmp_path / "notes.txt"
    notes.write_text("precious", encoding="utf-8")
    OUTS[kind](out)
    before = out.lstat()
    words = ["archive", "build", "-j", "1", "--path", str(root), str(out)]
    assert main(words) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert said.err.startswith(f"pycachehook: error: {out} is no ")
    after = out.lstat()
    same = [getattr(after, name) == getattr(before, name) for name in ("st_ino", "st_mode", "st_size", "st_mtime_ns")]
    assert all(same)
    replaceable = kind not in ("a FIFO", "a directory", "a device")
    assert ("--force" in said.err) == replaceable
    assert main([*words, "--force"]) == (0 if replaceable else 1)
    if replaceable:
        assert main(words) == 0, "an archive is replaced without it"
        assert main(["archive", "verify", str(out)]) == 0
    assert notes.read_text(encoding="utf-8") == "precious"
    assert [each.name for each in tmp_path.iterdir() if each.name.endswith(".tmp")] == []


def _out_of_memory(*_: object) -> None:
    raise MemoryError


def test_source_that_has_become_huge(
    tree: Callable[..., Path], cache: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file of terabytes is no traceback of any command: its entry is reported, and it is not compiled."""
    source = tree({"m.py": ""}) / "m.py"
    assert main(["precompile", "--cache-dir", str(cache), str(source)]) == 0
    os.truncate(source, 1 << 42)
    capsys.readouterr()
    assert main(["verify", "--cache-dir", str(cache)]) == 1
    assert f"{source}: {1 << 42} bytes are too many" in capsys.readouterr().out
    monkeypatch.setattr("pycachehook.loader.Policy.look_up", _out_of_memory)
    assert main(["precompile", "--layout", "shared", "--cache-dir", str(cache), str(source)]) == 1
    assert f"{source}: MemoryError" in capsys.readouterr().out


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="needs root: gives files to other groups")
@pytest.mark.parametrize(
    ("private", "expected"),
    [
        ({}, (0o644, 0)),
        ({"a.py": (0o640, 4343)}, (0o640, 4343)),
        ({"a.py": (0o640, 4343), "b.py": (0o640, 4343)}, (0o640, 4343)),
        ({"a.py": (0o640, 4343), "b.py": (0o640, 4344)}, (0o600, None)),
        ({"a.py": (0o600, 4343)}, (0o600, None)),
        ({"a.py": (0o640, 4343), "b.py": (0o600, 4343)}, (0o600, None)),
    ],
    ids=["public", "one group", "one group for two", "two groups", "private", "private and group"],
)
def test_who_may_read_an_archive(
    private: dict[str, tuple[int, int]],
    expected: tuple[int, int | None],
    tree: Callable[..., Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Nobody who may not read all of its sources; a line says so."""
    root, out = tree({"a.py": "", "b.py": "", "c.py": ""}), tmp_path / "out.pyca"
    for name, (mode, group) in private.items():
        os.chown(root / name, 0, group)
        (root / name).chmod(mode)
    assert main(["archive", "build", "-j", "1", "--path", str(root), str(out)]) == 0
    mode, group = out.stat().st_mode & 0o777, out.stat().st_gid
    assert (mode, group if mode & 0o040 else None) == expected
    told = [f"{out}: not readable by everybody, as {root / 'a.py'} is not"] if private else []
    assert capsys.readouterr().err.splitlines() == told


def test_out_is_one_of_the_sources(tree: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    """A source that goes into the archive is not overwritten by it."""
    root = tree({"main.py": "print('my program')\n"})
    assert main(["archive", "build", "--path", str(root), str(root / "main.py")]) == 1
    assert (root / "main.py").read_text(encoding="utf-8") == "print('my program')\n"


HOSTILE = (
    "multiprocessing",
    "struct",
    "json",
    "pickle",
    "pycachehook",
    "concurrent",
    "runpy",
    "warnings",
    "subprocess",
)


def test_workers_import_nothing_from_the_current_directory(
    tree: Callable[..., Path], cache: Path, tmp_path: Path
) -> None:
    """Processes that compile import no module from the command's current directory."""
    root = tree({f"m_{number}.py": "" for number in range(30)})
    hostile = tmp_path / "hostile"
    hostile.mkdir()
    for name in HOSTILE:
        (hostile / f"{name}.py").write_text("import os\nos.write(2, b'ran')\n", encoding="utf-8")
    program = "import sys; sys.path.remove(''); from pycachehook.cli.main import main; sys.exit(main(sys.argv[1:]))"
    for words in (
        ["precompile", "--cache-dir", cache, root],
        ["archive", "build", "--path", root, tmp_path / "a.pyca"],
    ):
        command = [sys.executable, "-c", program, *map(str, words), "-j", "2"]
        done = subprocess.run(
            command, cwd=hostile, env=clean_environment(), capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")
    assert len(list(cache.rglob("m_*.pyc"))) == 30
