"""The command line in practice: terminals, Ctrl-C, closed and full streams, a removed directory, typos."""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from conftest import clean_environment
from pycachehook.cli.arguments import parser, subparsers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from conftest import Python
    from pycachehook.cli.parsing import Parser

REPORTS = [
    "status",
    "status --json",
    "doctor",
    "explain json",
    "inspect json",
    "help",
    "help run",
    "--version",
    "run -h",
]


class Shell:
    """Runs shell commands in which `$P` stands for `pycachehook`."""

    def __init__(self, python: Python, folder: Path, cache: Path) -> None:
        self.command = str(Path(python.executable).parent / "pycachehook")
        self.folder = folder
        self.environment = clean_environment(**python.environment, PYCACHEHOOK_CACHE_DIR=str(cache))

    def __call__(self, text: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Run it to the end."""
        return subprocess.run(
            ["bash", "-c", text.replace("$P", self.command)],
            cwd=self.folder,
            env={**self.environment, **more},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )


@pytest.fixture
def shell(python: Python, tmp_path: Path, cache: Path) -> Shell:
    """Return what runs the command."""
    return Shell(python, tmp_path, cache)


class Terminal:
    """A command on a separate terminal with `columns` columns."""

    def __init__(self, shell: Shell, *arguments: str | Path, columns: int = 80, **environment: str) -> None:
        self._controlling, terminal = pty.openpty()
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        self.process = subprocess.Popen(
            ["setsid", "--ctty", "--wait", shell.command, *map(str, arguments)],  # so that Ctrl-C reaches it
            cwd=shell.folder,
            env={**shell.environment, "TERM": "dumb", **environment},
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
        )
        os.close(terminal)

    def type(self, data: bytes) -> None:
        """Send this text."""
        os.write(self._controlling, data)

    def read_until(self, text: bytes) -> bytes:
        """Return the output up to `text`."""
        shown = b""
        while text not in shown:
            data = self._read()
            assert data, shown
            shown += data
        return shown

    def end(self) -> tuple[int, str]:
        """Return the exit code and the remaining output."""
        shown = b""
        while data := self._read():
            shown += data
        os.close(self._controlling)
        return self.process.wait(60), shown.decode().replace("\r\n", "\n")

    def _read(self) -> bytes:
        try:
            return os.read(self._controlling, 65536)
        except OSError:  # EIO: the other end has been closed
            return b""


@pytest.mark.parametrize("command", REPORTS)
def test_standard_output_is_full(command: str, shell: Shell) -> None:
    """Output that cannot be written is one line, and exit code 1."""
    for unbuffered in ("", "1"):
        process = shell(f"$P {command} > /dev/full", PYTHONUNBUFFERED=unbuffered)
        assert process.returncode == 1
        message = "pycachehook: error: Standard output cannot be written to: No space left on device.\n"
        assert process.stderr == message


@pytest.mark.parametrize("command", REPORTS)
def test_standard_output_is_closed(command: str, shell: Shell) -> None:
    """Without standard output or error, a command does its work and does not complain."""
    expected = shell(f"$P {command}").returncode
    for closed in (">&-", ">&- 2>&-", "2>&-", "<&-"):
        process = shell(f"$P {command} {closed}")
        assert (process.returncode, process.stderr) == (expected, "")


@pytest.mark.parametrize("command", REPORTS)
def test_nobody_reads_on(command: str, shell: Shell) -> None:
    """A closed reader ends a command without a message."""
    process = shell(f"$P {command} | true; echo ${{PIPESTATUS[0]}}")
    assert process.stderr == ""
    process = shell(f"set -o pipefail; $P {command} | head -n 1")
    assert process.stderr == ""


COMMANDS = [
    *("status", "doctor", "explain json", "inspect json", "verify", "prune", "clear --yes", "precompile --module json"),
    *("archive build x.pyca", "archive list x.pyca", "run -c pass", "run nonesuch.py", "enable --dry-run", "help"),
    *("doctor json", "status --cache-dir x", "explain --script x json", "verify --cache-dir x", "run -m this"),
]


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("how", ["command", "module"])
def test_removed_current_directory(command: str, how: str, shell: Shell, python: Python) -> None:
    """In a removed directory, commands work or say in one line why not."""
    program = "$P" if how == "command" else f"{python.executable} -m pycachehook"
    process = shell(f"mkdir gone && cd gone && rmdir ../gone && {program} {command}")
    assert "Traceback" not in process.stderr + process.stdout
    assert process.returncode in (0, 1, 2)
    if process.returncode and not process.stdout:
        assert re.fullmatch(r"pycachehook: error: .*\.\n", process.stderr)


@pytest.mark.parametrize(
    ("flag", "reason"),
    [
        ("--cache-dir x", "a directory, absolute because the current directory does not exist any more."),
        (
            "--archives /a:x",
            "a file, or a list of them, absolute because the current directory does not exist any more.",
        ),
        ("--cache-dir '~nonesuch/x'", "a directory, and there is no such home directory as ~nonesuch."),
    ],
)
def test_path_that_cannot_be_made_absolute(flag: str, reason: str, shell: Shell) -> None:
    """A path of the right form that leads nowhere is refused with the reason."""
    process = shell(f"mkdir gone && cd gone && rmdir ../gone && $P status {flag}")
    assert process.returncode == 2
    assert process.stderr.endswith(f"is not valid: it must be the path of {reason}\n")


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("statsu", "there is no command 'statsu'; did you mean status? See `pycachehook --help`."),
        ("xyz", "there is no command 'xyz'. See `pycachehook --help`."),
        ("help precompil", "there is no command 'precompil'; did you mean precompile? See `pycachehook --help`."),
        ("status --jsno", "unrecognized arguments: --jsno; did you mean --json? See `pycachehook status --help`."),
        (
            "run --cache-dri=x y.py",
            "unrecognized arguments: --cache-dri=x; did you mean --cache-dir? See `pycachehook run --help`.",
        ),
        ("archive lst", "there is no archive command 'lst'; did you mean list? See `pycachehook archive --help`."),
        ("archive list x --jsn", "unrecognized arguments: --jsn; did you mean --json? See `pycachehook archive list --help`."),
        ("", "no command was given. See `pycachehook --help`."),
        ("prune --max-size x", "argument --max-size: 'x' is not a size, such as 500M. See `pycachehook prune --help`."),
    ],
)  # fmt: skip
def test_typos(command: str, expected: str, shell: Shell) -> None:
    """Wrong usage is exit code 2 and one line, with a suggestion and a reference to the help."""
    process = shell(f"$P {command}")
    assert (process.returncode, process.stdout, process.stderr) == (2, "", f"pycachehook: error: {expected}\n")


def test_help(shell: Shell) -> None:
    """`help COMMAND` prints what `COMMAND --help` prints."""
    for words in ("", "run", "status", "archive", "archive build", "clear"):
        assert shell(f"$P help {words}").stdout == shell(f"$P {words} --help").stdout != ""
    assert shell("$P help clean").stdout == shell("$P help clear").stdout


def described(found: Parser) -> Iterator[tuple[str, str | None]]:
    """Yield each flag and argument of a command and its sub-commands, with its description."""
    for action in found._actions:
        name = " ".join((found.prog, *(action.option_strings[:1] or [action.dest])))
        if action.nargs != argparse.PARSER:
            yield name, action.help
    for each in subparsers(found).values():
        yield from described(each)


def test_every_flag_is_described(shell: Shell) -> None:
    """Every flag and argument of every command has a description, and choices are listed."""
    assert [name for name, text in described(parser()) if not text] == []
    text = shell("$P help run", COLUMNS="300").stdout
    assert "mirror|shared" in text
    assert "default|pause|freeze" in text


@pytest.mark.parametrize("columns", [12, 40])
@pytest.mark.parametrize("rich", [True, False])
@pytest.mark.parametrize("command", ["status", "doctor", "help run", "explain json.tool"])
def test_narrow_terminal(  # noqa: PLR0917
    command: str, rich: bool, columns: int, shell: Shell, tmp_path: Path, tree: Callable[[Mapping[str, str]], Path]
) -> None:
    """No word is broken on a narrow terminal, with or without rich."""
    shell(f"$P precompile --in-tree ignore {tree({'one.py': ''})}")
    (tmp_path / "site").mkdir()
    if not rich:
        (tmp_path / "site" / "rich.py").write_text("raise ImportError", encoding="utf-8")
    environment = {"PYTHONPATH": str(tmp_path / "site")}
    _, narrow = Terminal(shell, *command.split(), columns=columns, **environment).end()
    _, wide = Terminal(shell, *command.split(), columns=500, **environment).end()
    words = set(re.findall(r"[\w/.`:;,()-]+", narrow))
    assert words
    assert words - set(re.findall(r"[\w/.`:;,()-]+", wide)) == set()


def test_clear(shell: Shell, cache: Path, tree: Callable[[Mapping[str, str]], Path]) -> None:
    """`clear` removes every entry of a cache after a question, or with --yes, and nothing from other directories."""
    root = tree({"one.py": "", "two.py": ""})
    (root / "two.py").write_text("", encoding="utf-8")
    shell(f"$P precompile {root}")
    shell(f"$P precompile --layout shared {root}")
    assert len(list(cache.rglob("*.pyc"))) >= 3
    process = shell("$P clear")
    message = "pycachehook: error: Nothing is removed without a confirmation: give --yes.\n"
    assert (process.returncode, process.stdout, process.stderr) == (2, "", message)
    told = json.loads(shell("$P clear --dry-run --json").stdout)
    assert len(told["removed"]) == len(list(cache.rglob("*.pyc"))) > 0
    for answer, code in ((b"n\n", 1), (b"\n", 1), (b"y\n", 0)):
        terminal = Terminal(shell, "clear")
        terminal.read_until(b"[y/N] ")
        assert list(cache.rglob("*.pyc"))
        terminal.type(answer)
        assert terminal.end()[0] == code
    assert not list(cache.rglob("*.pyc"))
    shell(f"$P precompile {root}")
    assert shell("$P clean --yes").returncode == 0
    assert not list(cache.rglob("*.pyc"))
    (root / "three.cpython-311.pyc").touch()
    process = shell(f"$P clear --yes --cache-dir {root}")
    assert (process.returncode, process.stderr.count("\n")) == (1, 1)
    assert (root / "three.cpython-311.pyc").exists()


def test_ctrl_c(shell: Shell, tree: Callable[[Mapping[str, str]], Path], cache: Path) -> None:
    """Ctrl-C in a command is one line and exit code 130, without a traceback of any of its processes."""
    root = tree({f"module{number}.py": f"x = {number}\n" * 5000 for number in range(60)})
    for jobs in ("1", "2"):
        terminal = Terminal(shell, "precompile", "-j", jobs, root)
        while not list(cache.rglob("*.pyc")):
            assert terminal.process.poll() is None
        terminal.type(b"\x03")
        code, shown = terminal.end()
        assert code == 130, shown
        assert "Traceback" not in shown
        assert shown.rstrip().endswith("pycachehook: error: interrupted")
        shell("$P clear --yes")


def test_ctrl_c_at_a_question(shell: Shell, tree: Callable[[Mapping[str, str]], Path], cache: Path) -> None:
    """Nothing is removed if the question is interrupted."""
    shell(f"$P precompile {tree({'one.py': ''})}")
    terminal = Terminal(shell, "clear")
    terminal.read_until(b"[y/N] ")
    # Repeated, because `input` sees a signal only at the next key if it comes between the question and the reading.
    while terminal.process.poll() is None:
        terminal.type(b"\x03")
        with contextlib.suppress(subprocess.TimeoutExpired):
            terminal.process.wait(0.1)
    code, shown = terminal.end()
    assert (code, "Traceback" in shown) == (130, False)
    assert list(cache.rglob("*.pyc"))


@pytest.mark.parametrize("module", ["argparse", "pycachehook.commands.status", "pycachehook.cli.reports"])
def test_interrupted_while_loading(module: str, shell: Shell, tmp_path: Path) -> None:
    """A signal while the command is being loaded is one line and exit code 130, too."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(
        f"""
import os, signal, sys
class Finder:
    def find_spec(name, path=None, target=None):
        if name == {module!r}:
            sys.meta_path.remove(Finder)
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Finder)
""",
        encoding="utf-8",
    )
    config = tmp_path / "options.toml"
    config.write_text("[tool.pycachehook]\n", encoding="utf-8")
    process = shell(f"$P status --config {config}", PYTHONPATH=str(tmp_path / "site"))
    assert (process.returncode, process.stdout) == (130, "")
    assert process.stderr == "pycachehook: error: interrupted\n"


def test_a_program_is_interrupted_as_under_python(python: Python, tmp_path: Path, cache: Path) -> None:
    """Under `run` a signal reaches the program: its traceback and its end by the signal are those under python."""
    script = tmp_path / "waits.py"
    script.write_text("import signal\nprint('ready', flush=True)\nsignal.pause()\n", encoding="utf-8")
    ends = []
    for program in ([script], ["-m", "pycachehook", "run", "--cache-dir", cache, script]):
        with python.start(*program) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=60)
            place = re.compile(r"(?<=, )line [23], in <module>\n.*\n.*\^\n|(?<=, )line [23], in <module>\n.*\n")
            ends.append((process.returncode, place.sub("", errors)))  # it may not be waiting yet
    assert ends[0] == ends[1]
    assert ends[0][0] == -signal.SIGINT


def test_status_begins_with_what_matters(shell: Shell, tmp_path: Path) -> None:
    """`status` first shows whether the hook is active, then hits and size, and defaults only with --verbose."""
    stats = str(tmp_path / "stats")
    for _ in range(2):
        shell("$P run --in-tree ignore -c 'import json'", PYCACHEHOOK_STATS=stats)
    lines = shell("$P status", PYCACHEHOOK_STATS=stats).stdout.splitlines()
    names = [line.split()[0] for line in lines if line]
    assert names[:6] == ["active", "status", "reason", "hits", "entries", "bytes"]
    assert "lock_timeout" not in names
    assert "lock_timeout" in shell("$P status --verbose").stdout
    hits = next(line for line in lines if line.startswith("hits"))
    assert re.search(r"[\d.]+% of \d+ lookups in the last 2 runs", hits)


def test_status_says_what_would_happen(shell: Shell) -> None:
    """If Python is to write no bytecode, a start would only read, which `status` reports."""
    shell("$P precompile --module json")
    assert "status             disabled; writable, once it is active\n" in shell("$P status").stdout
    process = shell("$P status", PYTHONDONTWRITEBYTECODE="1")
    assert "status             disabled; read-only, once it is active\n" in process.stdout
    assert "PYTHONDONTWRITEBYTECODE" in process.stdout
    state = json.loads(shell("$P status --json", PYTHONDONTWRITEBYTECODE="1", PYCACHEHOOK_FORCE_WRITE="1").stdout)
    assert state["start"] == {"status": "writable", "reason": None}


def test_status_tells_what_was_recorded(environment: Python, purelib: Callable[[Python], Path], tmp_path: Path) -> None:
    """A process without the hook shows the options that `enable` recorded, too."""
    site = purelib(environment)
    environment("-m", "pycachehook", "enable", "--cache-dir", tmp_path / "recorded", "--layout", "shared")
    try:
        for name in ("pycachehook.pth", "pycachehook.start"):  # the file that calls the start-up module
            (site / name).unlink(missing_ok=True)
        state = json.loads(environment("-m", "pycachehook", "status", "--json").stdout)
        assert (state["active"], state["enabled"]) == (False, f"{site}/_pycachehook_startup.py")
        assert state["options"]["layout"] == {"value": "shared", "origin": f"{site}/_pycachehook_startup.py"}
        assert state["cache_dir"] == str(tmp_path / "recorded")
        text = environment("-m", "pycachehook", "status").stdout
        assert text.startswith("active             no, but enabled\n")
    finally:
        environment("-m", "pycachehook", "disable")


def test_without_rich_and_shtab(shell: Shell, tmp_path: Path) -> None:
    """Only completion needs the extra `cli`."""
    (tmp_path / "site").mkdir()
    for name in ("rich", "shtab"):
        (tmp_path / "site" / f"{name}.py").write_text("raise ImportError", encoding="utf-8")
    for command in ("status", "help", "precompile --module json", "doctor json"):
        _, shown = Terminal(shell, *command.split(), PYTHONPATH=str(tmp_path / "site")).end()
        assert "Traceback" not in shown
    assert sys.flags.safe_path is False


def test_a_command_alone_has_the_same_parser() -> None:
    """What is built for one command line takes what the parser of all commands takes."""
    commands = subparsers(parser())
    verbs = subparsers(commands["archive"])
    alone = {name: subparsers(parser([name])).get(name) for name in commands}
    assert {name: each.format_help() for name, each in commands.items()} == {
        name: each and each.format_help() for name, each in alone.items()
    }
    assert {verb: each.format_help() for verb, each in verbs.items()} == {
        verb: subparsers(subparsers(parser(["archive", verb]))["archive"])[verb].format_help() for verb in verbs
    }
    assert list(subparsers(parser(["prune"]))) == ["prune"]
