"""`pycachehook run` compared with `python`: same output and same exit code for every kind of program, cold and warm."""

from __future__ import annotations

import contextlib
import os
import pty
import py_compile
import re
import select
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from conftest import clean_environment

if TYPE_CHECKING:
    from collections.abc import Sequence

    from conftest import Python

PROBE = """
import sys
names = {"__cached__", "__doc__", "__file__", "__loader__", "__name__", "__package__", "__spec__"}
told = {name: value for name, value in globals().items() if name in names}
told["__spec__"] = __spec__ and (__spec__.name, __spec__.origin, __spec__.parent)
told["__loader__"] = getattr(__loader__, "__name__", type(__loader__).__name__.replace("CachingLoader", "SourceFileLoader"))
told.update({"__cached__": bool(__cached__)} if "__cached__" in told else {})  # it is in the cache, which differs
print(sorted((name, str(value)) for name, value in told.items()))
print(sys.argv, sys.path[0], sys.modules["__main__"].__dict__ is globals(), sys.warnoptions)
"""
READS = "import sys\nprint([sys.stdin.read()])\nraise SystemExit(7)\n"
FAILS = "def fail():\n    raise ValueError('as told')\nfail()\n"
WARNS = "import re\nprint(re.match('\\d+', '12')[0])\nif 1 is 1:\n    pass\n"

# Commands for `bash -c`; `$P` stands for `python` or `pycachehook run`.
BATTERY = {
    "process substitution": "$P <(cat probe.py) a b",
    "process substitution that fails": "$P <(cat fails.py)",
    "pipe as /dev/stdin": "cat probe.py | $P /dev/stdin a",
    "file as /dev/stdin": "$P /dev/stdin a < probe.py",
    "file as /dev/stdin that is read": "$P /dev/stdin < reads.py",
    "descriptor": "$P /dev/fd/9 9< probe.py",
    "pipe as -": "cat probe.py | $P - a -m --json",
    "file as -": "$P - < probe.py",
    "file as - that is read": "$P - < reads.py",
    "- that fails": "$P - < fails.py",
    "- that does not compile": "echo 'x = (' | $P -",
    "- of nothing": "$P - < /dev/null",
    "- that is closed": "$P - <&-",
    "FIFO": "mkfifo fifo; (cat probe.py > fifo) & $P fifo a",
    "no program in a device": "$P /dev/null",
    "code": "$P -c 'import sys; print(sys.argv, sys.path[0])' -m a",
    "code in the same word": "$P '-cimport sys; print(sys.argv)' a",
    "code of nothing": "$P -c ''",
    "code indented": "$P -c '\n   x = 1\n   \n   print(x)'",
    "code that fails": "$P -c '1 / 0'",
    "code that warns": "$P -c 'if 1 is 1: pass'",
    "module": "$P -m probe a -c b",
    "module in the same word": "$P -mprobe a",
    "module that exits": "$P -m reads < fails.py",
    "--": "$P -- probe.py a",
    "--after": "$P probe.py -- a",
    "dots": "$P ./package/../probe.py",
    "link": "$P link.py",
    "directory": "$P directory a",
    "directory with a slash": "$P directory/",
    "directory by .": "cd directory; $P .",
    "zip": "$P archive.zip a",
    "zip without a suffix": "$P archive a",
    "pyc": "$P compiled.pyc a",
    "pyc without a suffix": "$P compiled a",
    "pyc of another Python": "$P other.pyc",
    "pyc with other contents": "$P seven.pyc",
    "byte-order mark": "$P bom.py",
    "encoding": "$P latin.py",
    "undecodable argument": "$P -c 'import sys; print(ascii(sys.argv))' $'\\xff'",
    "reads": "echo input | $P reads.py",
    "fails": "$P fails.py",
    "does not compile": "$P broken.py",
    "warns": "$P warns.py",
    "interrupted": "$P interrupted.py",
    "terminated": "$P -c 'import os, signal; os.kill(os.getpid(), signal.SIGTERM)'",
    "standard output is closed": "$P -c 'import sys; print(sys.stdout, file=sys.stderr)' >&-",
    "standard output is full": "$P probe.py > /dev/full",
    "standard error is closed": "$P -c 'import sys; print(sys.stderr)' 2>&-",
    "removed current directory": "mkdir gone; cd gone; rmdir ../gone; $P $ROOT/probe.py",
    "code in a removed current directory": "mkdir g2; cd g2; rmdir ../g2; $P -c 'import sys; print(sys.path)'",
    "module in a removed current directory": "mkdir g3; cd g3; rmdir ../g3; $P -m site",
}


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with programs, which a test must copy."""
    root = tmp_path_factory.mktemp("programs")
    sources = {
        "probe.py": PROBE,
        "reads.py": READS,
        "fails.py": FAILS,
        "warns.py": WARNS,
        "broken.py": "x = (\n",
        "interrupted.py": "raise KeyboardInterrupt\n",
        "package/__init__.py": "",
        "directory/__main__.py": PROBE,
        "bom.py": "\ufeff" + PROBE,
        "other.pyc": "hello",
    }
    for name, text in sources.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    (root / "latin.py").write_bytes(b"# coding: latin-1\nprint(ascii('\xe9'))\n")
    (root / "link.py").symlink_to("directory/__main__.py")
    with contextlib.chdir(root):  # because of the name in the code
        py_compile.compile("probe.py", "compiled.pyc")
    (root / "compiled").write_bytes((root / "compiled.pyc").read_bytes())
    (root / "seven.pyc").write_bytes((root / "compiled.pyc").read_bytes()[:16] + b"i\7\0\0\0")
    shutil.make_archive(str(root / "archive"), "zip", root / "directory")
    (root / "archive").write_bytes((root / "archive.zip").read_bytes())
    return root


@pytest.fixture
def root(programs: Path, tmp_path: Path) -> Path:
    """Return a copy of this directory."""
    return Path(shutil.copytree(programs, tmp_path / "tree", symlinks=True))


class Both:
    """Runs shell commands with `python` and with `pycachehook run`."""

    def __init__(self, python: Python, root: Path, cache: Path) -> None:
        self.root = root
        self.stock = [python.executable]
        self.ours = [python.executable, "-m", "pycachehook", "run", "--cache-dir", str(cache)]
        self.environment = clean_environment(**python.environment, ROOT=str(root))

    def __call__(self, program: Sequence[str], command: str) -> tuple[int, str, str]:
        """Return the exit code and the output, without the parts that differ between processes."""
        process = subprocess.run(
            ["bash", "-c", command.replace("$P", " ".join(program))],
            cwd=self.root,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="surrogateescape",
            check=False,
            timeout=60,
        )
        for name in ("fifo", "gone", "g2", "g3"):
            (self.root / name).unlink(missing_ok=True)
        output, errors = (
            re.sub(r"/dev/fd/\d+|/proc/\d+|bash: line.*", "X", text) for text in (process.stdout, process.stderr)
        )
        return process.returncode, output, errors


@pytest.fixture
def both(python: Python, root: Path, cache: Path) -> Both:
    """Return an object that runs commands in both ways."""
    return Both(python, root, cache)


@pytest.mark.parametrize("what", BATTERY)
def test_same_as_python(what: str, both: Both) -> None:
    """Output, errors and exit code are those of `python`, at the first run and at the second."""
    expected = both(both.stock, BATTERY[what])
    for _ in range(2):
        assert both(both.ours, BATTERY[what]) == expected


@pytest.mark.parametrize(
    ("command", "code"),
    [("$P nonesuch.py", 2), ("$P package", 1), ("$P -m nonesuch", 1), ("$P locked.py", 2)],
)
def test_no_such_program(command: str, code: int, both: Both) -> None:
    """A program that cannot be run has the exit code that it has with `python`, and one line."""
    (both.root / "locked.py").symlink_to("locked.py")
    assert both(both.stock, command)[0] == code
    found = both(both.ours, command)
    assert (found[0], found[1], found[2].count("\n")) == (code, "", 1)


@pytest.mark.parametrize(
    "filters", [[], ["-W", "error::SyntaxWarning"], ["-W", "ignore"], ["-W", "error"]], ids=" ".join
)
def test_warnings_of_the_main_module(filters: list[str], both: Both) -> None:
    """Warnings from compiling a script are shown, or are errors, at every start, cached or not."""
    stock, ours = ([program[0], *filters, *program[1:]] for program in (both.stock, both.ours))
    expected = both(stock, "$P warns.py")
    assert ("SyntaxWarning" in expected[2] or "SyntaxError" in expected[2]) is (filters != ["-W", "ignore"])
    assert [both(ours, "$P warns.py") for _ in range(3)] == [expected] * 3
    unfiltered = both(both.stock, "$P warns.py")
    assert [both(both.ours, "$P warns.py") for _ in range(2)] == [unfiltered] * 2
    assert both(ours, "$P warns.py") == expected


def test_a_pyc_in_the_tree_is_not_the_scripts(both: Both) -> None:
    """A pyc in `__pycache__` is not used for a script, as in CPython."""
    both(both.stock, "$P -m compileall -q --invalidation-mode unchecked-hash warns.py; sed -i s/12/34/ warns.py")
    expected = both(both.stock, "$P warns.py")
    assert expected[1] == "34\n"
    assert [both(both.ours, "$P warns.py") for _ in range(2)] == [expected] * 2


def test_tool_that_replaces_a_step_of_the_loader(both: Both) -> None:
    """A macro expander changes modules, but not the script, which `python` compiles itself."""
    (both.root / "site").mkdir()
    (both.root / "site" / "sitecustomize.py").write_text(
        "from importlib.machinery import SourceFileLoader as L\n"
        "stock = L.source_to_code\n"
        "L.source_to_code = lambda self, data, path, *a, **k: stock(self, data.replace(b'plain', b'expanded'), path, *a, **k)\n",
        encoding="utf-8",
    )
    (both.root / "script.py").write_text("import helper\nprint('plain', helper.WORD)\n", encoding="utf-8")
    (both.root / "helper.py").write_text("WORD = 'plain'\n", encoding="utf-8")
    command = f"PYTHONPATH={both.root}/site $P script.py"
    expected = both([*both.stock, "-B"], command)
    assert expected[1] == "plain expanded\n"
    assert [both(both.ours, command) for _ in range(2)] == [expected] * 2


def test_interactive_on_a_terminal(python: Python, cache: Path) -> None:
    """`run -` on a terminal is the interactive interpreter."""
    controlling, terminal = pty.openpty()
    process = subprocess.Popen(
        [python.executable, "-m", "pycachehook", "run", "--cache-dir", cache, "-"],
        env=clean_environment(**python.environment, TERM="dumb"),
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
    )
    os.close(terminal)
    os.write(controlling, b"6 * 7\nimport sys; sys.argv\nraise SystemExit(9)\n")
    output = b""
    while select.select([controlling], [], [], 60)[0]:
        try:
            data = os.read(controlling, 4096)
        except OSError:  # EIO: the other end has been closed
            break
        output += data
    os.close(controlling)
    assert process.wait(60) == 9
    assert b"Python %d.%d" % sys.version_info[:2] in output
    assert b">>> 42" in output.replace(b"\r\n", b" ").replace(b"6 * 7 ", b"") or b"42" in output
    assert b"['-']" in output
