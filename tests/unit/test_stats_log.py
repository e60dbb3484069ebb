"""The log and the statistics of a process: whole lines, one object per process, never an exception."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from conftest import clean_environment
from pycachehook.events import Stats
from pycachehook.stats_log import line, open_log

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Python

COUNT_AND_EXIT = """
import os, sys
from pycachehook.events import Stats
from pycachehook.stats_log import write_at_exit
stats = Stats()
write_at_exit(stats, sys.argv[1])
stats.hit("store", "a", "/a.py")
"""


def test_log_to_a_file(tmp_path: Path) -> None:
    """Lines of a log are appended to the file with the process id; undecodable characters are escaped."""
    target = tmp_path / "log"
    target.write_text("before\n", encoding="utf-8")
    log = open_log(str(target))
    log("one")
    log("zwö \udcff")
    pid = os.getpid()
    expected = f"before\npycachehook[{pid}]: one\npycachehook[{pid}]: zwö \\udcff\n"
    assert target.read_text(encoding="utf-8") == expected


def test_log_to_stderr(capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The target "stderr" is standard error, not a file of that name."""
    monkeypatch.chdir(tmp_path)
    open_log("stderr")("one")
    assert capfd.readouterr() == ("", f"pycachehook[{os.getpid()}]: one\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("target", ["missing/log", ".", "/dev/full", "/dev/null", "\0", ""])
def test_log_that_cannot_be_written_is_dropped(
    target: str, capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A log that cannot be written is silently dropped, because it must not break an import."""
    monkeypatch.chdir(tmp_path)
    open_log(target)("one")
    assert capfd.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == []


def test_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """The line of a process is one JSON object with the documented names."""
    monkeypatch.setattr(sys, "argv", ["prog\n", "argument"])
    stats = Stats()
    stats.miss("absent", "a", "/a.py", stored=True)
    text = line(stats)
    assert text.count("\n") == 1
    assert text.endswith("\n")
    record = {"pid": os.getpid(), "python": platform.python_version(), "argv0": "prog\n"}
    assert json.loads(text) == record | stats.as_dict()


def test_line_without_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process with an empty `sys.argv` has an empty name in its line."""
    monkeypatch.setattr(sys, "argv", [])
    assert json.loads(line(Stats()))["argv0"] == ""


@pytest.mark.parametrize(
    ("ending", "code"),
    [("", 0), ("sys.exit(3)", 3), ("raise KeyError", 1), ("os.chdir('/')", 0), ("sys.argv.clear()", 0)],
)
def test_written_at_exit(ending: str, code: int, python: Python, tmp_path: Path) -> None:
    """The counters are written when the process exits, in any way, to the target as it was at the start."""
    process = python("-c", COUNT_AND_EXIT + ending, "stats", check=False, cwd=tmp_path)
    assert process.returncode == code
    (record,) = map(json.loads, (tmp_path / "stats").read_text(encoding="utf-8").splitlines())
    assert (record["hits"], record["argv0"]) == (1, "" if "argv.clear" in ending else "-c")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_forked_child_writes_a_line_of_its_own(python: Python, tmp_path: Path) -> None:
    """A forked child starts from zero and writes a separate line, so that no lookup is counted twice."""
    forking = """
child = os.fork()
if child:
    assert os.waitpid(child, 0)[1] == 0
else:
    stats.hit("in_tree", "b", "/b.py")
    stats.hit("in_tree", "c", "/c.py")
"""
    target = tmp_path / "stats"
    python("-W", "ignore", "-c", COUNT_AND_EXIT + forking, target)
    child, parent = map(json.loads, target.read_text(encoding="utf-8").splitlines())
    assert child["hits_by_place"] == {"archive": 0, "store": 0, "in_tree": 2}
    assert parent["hits_by_place"] == {"archive": 0, "store": 1, "in_tree": 0}
    assert child["pid"] != parent["pid"]


def test_many_processes_do_not_mix_their_lines(python: Python, tmp_path: Path) -> None:
    """Lines that many processes write to one file at the same time stay whole."""
    target = tmp_path / "log"
    program = """
import sys
from pycachehook.stats_log import open_log
log = open_log(sys.argv[1])
for number in range(200):
    log("x" * 300)
"""
    children = [python.start("-c", program, target) for _ in range(4)]
    assert [child.communicate(timeout=60) for child in children] == [("", "")] * 4
    lines = target.read_text(encoding="utf-8").splitlines()
    assert len(lines) == 800
    assert {text.partition("]: ")[2] for text in lines} == {"x" * 300}
    assert {text.partition("]: ")[0] for text in lines} == {f"pycachehook[{child.pid}" for child in children}


def test_log_line_is_one_line_of_text(tmp_path: Path) -> None:
    """A name in a log line can neither end the line nor control a terminal."""
    target = tmp_path / "log"
    open_log(str(target))("a\x1b]0;title\x07\nforged\u2028\u202e\x9b\udce9")
    expected = rf"pycachehook[{os.getpid()}]: a\x1b]0;title\x07\nforged\u2028\u202e\x9b\udce9" + "\n"
    assert target.read_bytes() == expected.encode()


def test_line_has_any_name_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    """The line is ASCII, and preserves every character of the program's name."""
    name = '"\\/\0\n\x1b\x7f\x85ä€\U0001f40d\udce9\u2028'
    monkeypatch.setattr(sys, "argv", [name])
    text = line(Stats())
    assert text.rstrip("\n").isascii()
    assert text.rstrip("\n").isprintable()
    assert json.loads(text)["argv0"] == name


@pytest.mark.parametrize("arguments", [None, (), [b"bytes"], "text"])
def test_line_of_a_program_with_odd_arguments(arguments: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any content of `sys.argv` gives a valid line."""
    monkeypatch.setattr(sys, "argv", arguments)
    assert json.loads(line(Stats()))["argv0"] == ""


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no FIFOs here")
def test_only_regular_files_are_written_to(tmp_path: Path) -> None:
    """FIFOs, with or without a reader, and links are not written to; nothing waits for a reader."""
    fifo, link, file = tmp_path / "fifo", tmp_path / "link", tmp_path / "file"
    os.mkfifo(fifo)
    file.write_text("kept\n", encoding="utf-8")
    link.symlink_to(file)
    for target in (fifo, link):
        open_log(str(target))("one")
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    try:
        open_log(str(fifo))("two")
        assert os.read(reader, 100) == b""
    finally:
        os.close(reader)
    assert file.read_text(encoding="utf-8") == "kept\n"


def test_new_file_is_private(tmp_path: Path) -> None:
    """Whatever the umask is, nobody else can read which modules a program loads."""
    before = os.umask(0)
    try:
        open_log(str(tmp_path / "log"))("one")
    finally:
        os.umask(before)
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o600


def test_a_removed_current_directory(python: Python, tmp_path: Path) -> None:
    """A relative target in a directory that has been removed is dropped, without an exception."""
    gone = tmp_path / "gone"
    gone.mkdir()
    program = COUNT_AND_EXIT.replace(
        "import os, sys", f"import os, sys; os.chdir({str(gone)!r}); os.rmdir({str(gone)!r})"
    )
    logging = "\nfrom pycachehook.stats_log import open_log\nopen_log('log')('one')\n"
    done = python("-c", program + logging, "stats")
    assert (done.stdout, done.stderr) == ("", "")


def test_nothing_is_imported_for_it(python: Python, tmp_path: Path) -> None:
    """Writing statistics does not import a module `json` of the program."""
    (tmp_path / "json.py").write_text("raise SystemExit('run')\n", encoding="utf-8")
    done = python("-c", COUNT_AND_EXIT, "stats", cwd=tmp_path)
    assert (done.stdout, done.stderr) == ("", "")
    assert json.loads((tmp_path / "stats").read_text(encoding="utf-8"))["hits"] == 1


def test_closed_standard_error(python: Python, tmp_path: Path) -> None:
    """Where standard error was closed at the start, its number may be a file's of the program: nothing is written there."""
    program = (
        "import os\n"
        "file = open('program', 'w')\n"
        "assert file.fileno() == 2\n"
        "from pycachehook.stats_log import open_log\n"
        "open_log('stderr')('one')\n"
    )
    (tmp_path / "main.py").write_text(program, encoding="utf-8")
    command = 'exec "$0" main.py 2>&-'
    environment = clean_environment(**python.environment)
    subprocess.run(["sh", "-c", command, python.executable], cwd=tmp_path, check=True, env=environment)
    assert (tmp_path / "program").read_bytes() == b""
