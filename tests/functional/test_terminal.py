"""No command sends a control character from a file name, from code or from an argument to the terminal."""

from __future__ import annotations

import importlib.util
import json
import marshal
import os
import pty
import subprocess
import sys
import unicodedata
from typing import TYPE_CHECKING

import pytest

from conftest import clean_environment

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Python

EVIL = "\x1b]0;title\x07\x1b[31m\n\x9b\u202e\x7f"
NAMES = (f"fine{EVIL}.py", f"broken{EVIL}.py", "latin\udce9.py", "latinbroken\udce9.py")


def assert_harmless(text: str) -> None:
    """Check that the text contains no control character except line feeds."""
    assert {each for each in text if unicodedata.category(each) in ("Cc", "Cf", "Cs", "Zl", "Zp")} <= {"\n"}


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """Return a directory of sources with control characters in their names, some of which do not compile."""
    folder = tmp_path / "sources"
    folder.mkdir()
    for name in NAMES:
        (folder / name).write_text("V = = 1\n" if "broken" in name else "V = 1\n", encoding="utf-8")
    return folder


@pytest.fixture
def pyc(tmp_path: Path) -> Path:
    """Return a pyc whose code has names and constants with control characters."""
    code = compile("def f(argument):\n    return missing, 'constant'", "file", "exec")
    inner = code.co_consts[0].replace(co_name=EVIL, co_names=(EVIL,), co_varnames=(EVIL,), co_filename=EVIL)
    code = code.replace(co_name=EVIL, co_names=(EVIL,), co_consts=(inner, EVIL), co_filename=EVIL)
    path = tmp_path / f"names{EVIL}.pyc"
    path.write_bytes(importlib.util.MAGIC_NUMBER + bytes(12) + marshal.dumps(code))
    return path


def test_commands(python: Python, sources: Path, pyc: Path, cache: Path, tmp_path: Path) -> None:
    """Control characters are escaped in the output, in error messages and in the log."""
    stats = tmp_path / f"stats{EVIL}"
    stats.write_text(json.dumps({"argv0": EVIL, "hits": 1, "compiled": 1}) + "\n", encoding="utf-8")
    evil_cache, archive = tmp_path / f"cache{EVIL}", tmp_path / f"archive{EVIL}"
    importing = f"import sys; sys.path.insert(0, {str(sources)!r}); __import__({NAMES[0][:-3]!r})"
    commands: list[tuple[str | Path, ...]] = [
        ("precompile", "--cache-dir", evil_cache, sources),
        ("precompile", "-j", "2", "--cache-dir", cache, *[sources / name for name in NAMES] * 6),
        ("verify", "--cache-dir", evil_cache),
        ("prune", "--max-files", "0", "--dry-run", "--cache-dir", evil_cache),
        ("prune", "--max-files", "0", "--cache-dir", evil_cache),
        ("inspect", pyc),
        ("inspect", "--dis", pyc),
        ("inspect", EVIL),
        ("explain", EVIL),
        ("archive", "build", "--path", sources, archive),
        ("archive", "list", archive),
        ("archive", "verify", "--sources", archive),
        ("archive", "list", tmp_path / EVIL.replace("\n", "")),
        ("status",),
        ("doctor",),
        ("run", "--cache-dir", evil_cache, "-c", importing),
        ("run", EVIL),
        ("run", "--record", tmp_path / EVIL / "profile", "-c", "pass"),
        ("verify", "--cache-dir", EVIL),
        ("prune", "--max-age", EVIL),
        (EVIL,),
        ("status", "--config", tmp_path / EVIL),
    ]
    options = {"PYCACHEHOOK_STATS": str(stats), "PYCACHEHOOK_LOG": "stderr", f"PYCACHEHOOK_X{EVIL}": EVIL}
    said = ""
    for words in commands:
        done = python.within(options)("-m", "pycachehook", *words, check=False)
        assert "Traceback" not in done.stderr, words
        assert_harmless(done.stdout + done.stderr)
        said += done.stdout + done.stderr
        (sources / NAMES[0]).touch()
    assert said.count(r"\x1b]0;title\x07\x1b[31m\n\x9b\u202e\x7f") > len(commands)


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_any_encoding(encoding: str, python: Python, sources: Path, cache: Path) -> None:
    """A character that the terminal's encoding cannot represent is escaped, and raises no exception."""
    (sources / "ä€漢broken.py").write_text("V = = 1\n", encoding="utf-8")
    words = ("precompile", "--cache-dir", cache, sources)
    done = python("-m", "pycachehook", *words, check=False, PYTHONIOENCODING=encoding, PYTHONUTF8="1")
    assert (done.returncode, done.stderr) == (1, "")


def test_on_a_terminal(sources: Path, cache: Path, tmp_path: Path) -> None:
    """The tables of rich contain no control character except colours."""
    archive = tmp_path / "archive.pyca"
    environment = clean_environment(TERM="dumb", HOME=str(tmp_path))
    for words in (["build", "--path", str(sources)], ["list"]):
        ours, theirs = pty.openpty()
        command = [sys.executable, "-m", "pycachehook", "archive", *words, str(archive)]
        process = subprocess.Popen(command, env=environment, stdout=theirs, stderr=theirs)
        os.close(theirs)
        output = b""
        while True:
            try:
                part = os.read(ours, 1 << 16)
            except OSError:  # EIO: all writers have closed the terminal
                break
            output += part
        process.wait()
        os.close(ours)
        assert b"title" in output
        assert b"\x1b]0;" not in output
        assert b"\x07" not in output


def test_json_keeps_data(python: Python, sources: Path, cache: Path) -> None:
    """`--json` represents every name exactly, in ASCII characters."""
    done = python("-m", "pycachehook", "precompile", "--json", "--cache-dir", cache, sources, check=False)
    assert done.stdout.rstrip("\n").isprintable()
    failed = {each["path"] for each in json.loads(done.stdout)["failed"]}
    assert failed == {str(sources / name) for name in NAMES if "broken" in name}


def test_progress_without_rich(python: Python, tmp_path: Path) -> None:
    """On a terminal without rich there is a line now and then; elsewhere there is none."""
    folder = tmp_path / "plain"
    folder.mkdir()
    for number in range(3):
        (folder / f"m{number}.py").write_text("", encoding="utf-8")
    program = (
        "import sys; sys.modules['rich'] = None\n"
        "from pycachehook.cli import main, printing; printing.EVERY = 0; sys.exit(main.main())"
    )
    words = ("-c", program, "precompile", folder, "--cache-dir", tmp_path / "cache", "-j", "1")
    assert "compiling" not in python(*words).stderr
    main_end, terminal = pty.openpty()
    done = subprocess.run(
        [python.executable, *map(str, words)],
        env=clean_environment(),
        stderr=terminal,
        check=True,
        capture_output=False,
    )
    os.close(terminal)
    shown = os.read(main_end, 4096).decode()
    os.close(main_end)
    assert done.returncode == 0
    assert shown.splitlines() == [f"compiling: {number} of 3" for number in (1, 2, 3)]
