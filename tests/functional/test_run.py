"""`pycachehook run`: runs what Python would run, in the same way, with caching, `__main__` included."""

from __future__ import annotations

import json
import sys
import zipfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from conftest import Python

    from .conftest import Measure

MAIN = """
import json, sys
import helper
spec = __spec__ and __spec__.name
print(json.dumps([__name__, __package__, spec, __file__, sys.argv, sys.path[0], helper.VALUE, "__main__" in sys.modules,
                  sys.modules["__main__"].__dict__ is globals()]))
"""
SOURCES = {
    "helper.py": "VALUE = 7\n",
    "script.py": MAIN,
    "package/__init__.py": "",
    "package/__main__.py": MAIN,
    "package/module.py": MAIN,
    "directory/__main__.py": MAIN,
    "directory/helper.py": "VALUE = 8\n",
    "noext": MAIN,
    "exits.py": "import sys\nsys.exit(eval(sys.argv[1]))\n",
    "raises.py": "def fail():\n    raise RuntimeError('as told')\n\nfail()\n",
    "killed.py": "import os, signal\nos.kill(os.getpid(), signal.SIGTERM)\n",
    "interrupted.py": "raise KeyboardInterrupt\n",
    "broken.py": "x = (\n",
}


@pytest.fixture
def application(tree: Callable[[Mapping[str, str]], Path]) -> Path:
    """Return a directory with programs of all kinds."""
    root = tree(SOURCES)
    with zipfile.ZipFile(root / "archive.zip", "w") as archive:
        archive.writestr("__main__.py", MAIN)
        archive.writestr("helper.py", "VALUE = 9\n")
    return root


@pytest.mark.parametrize(
    ("program", "cached"),
    [
        (("script.py",), ["script", "helper"]),
        (("./script.py",), ["script", "helper"]),
        (("noext",), ["noext", "helper"]),
        (("-m", "script"), ["script", "helper"]),
        (("-m", "package"), ["package/__init__", "package/__main__", "helper"]),
        (("-m", "package.module"), ["package/__init__", "package/module", "helper"]),
        (("directory",), ["directory/__main__", "directory/helper"]),
        (("archive.zip",), []),
        (("-c", MAIN.replace("__file__", "'-'")), ["helper"]),
    ],
    ids=lambda value: " ".join(value)[:20] if isinstance(value, tuple) else "",
)
def test_same_as_python_and_cached(
    *, program: tuple[str, ...], cached: list[str], python: Python, application: Path, cache: Path, measure: Measure
) -> None:
    """Names, arguments and paths are those of `python`; the second run compiles nothing."""
    arguments = ("one", "--two", "-m", "-h", "--cache-dir=x", "")
    expected = json.loads(python("-B", *program, *arguments, cwd=application).stdout)
    for count in range(2):
        run = partial(python, "-m", "pycachehook", "run", "--cache-dir", cache, cwd=application)
        stats = measure(run, *program, *arguments)
        assert json.loads(measure.output) == expected
        if count:
            assert (stats["compiled"], stats["misses"]) == (0, {})
            assert stats["hits_by_place"]["store"] >= len(cached)
    below = cache / str(application)[1:]
    entries = (str(path.relative_to(below)) for path in below.rglob("*.pyc"))
    tag = f"{sys.implementation.cache_tag}.pyc"
    assert sorted(entry.removesuffix(tag).removesuffix(".") for entry in entries) == sorted(cached)
    assert not list(application.rglob("*.pyc"))


def test_script_in_another_directory(python: Python, application: Path, cache: Path, tmp_path: Path) -> None:
    """A script started through a link imports from the directory of the real file, as with `python`."""
    link = tmp_path / "link.py"
    link.symlink_to(application / "script.py")
    expected = json.loads(python("-B", link).stdout)
    assert json.loads(python("-m", "pycachehook", "run", "--cache-dir", cache, link).stdout) == expected


@pytest.mark.parametrize("variable", [{"PYTHONDONTWRITEBYTECODE": "1"}, {}], ids=["dont write", "write"])
@pytest.mark.parametrize("flags", [("-B",), ()], ids=["-B", "plain"])
def test_writes_whatever_python_was_told(
    *,
    flags: tuple[str, ...],
    variable: dict[str, str],
    python: Python,
    application: Path,
    cache: Path,
    measure: Measure,
) -> None:
    """`run` writes entries in spite of `PYTHONDONTWRITEBYTECODE` or `-B`, without a warning."""
    for count in range(2):
        run = partial(python.within(variable), *flags, "-m", "pycachehook", "run", "--cache-dir", cache)
        stats = measure(run, application / "script.py")
        assert (stats["compiled"] > 0) is (count == 0)
    assert len(list((cache / str(application)[1:]).rglob("*.pyc"))) == 2


def test_no_force_write(python: Python, application: Path, cache: Path) -> None:
    """With `--no-force-write` `PYTHONDONTWRITEBYTECODE` prevents writing, and a warning says so."""
    run = ("-m", "pycachehook", "run", "--no-force-write", "--cache-dir", cache, application / "script.py")
    process = python(*run, PYTHONDONTWRITEBYTECODE="1")
    assert "PYTHONDONTWRITEBYTECODE" in process.stderr
    assert not list(cache.rglob("*.pyc"))


@pytest.mark.parametrize(
    ("program", "code"),
    [
        (("exits.py", "0"), 0),
        (("exits.py", "7"), 7),
        (("exits.py", "None"), 0),
        (("exits.py", "'a text'"), 1),
        (("raises.py",), 1),
        (("broken.py",), 1),
        (("-m", "exits", "3"), 3),
        (("-c", "raise SystemExit(5)"), 5),
        (("killed.py",), -15),
        (("interrupted.py",), -2),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else str(value),
)
def test_exit_code_and_messages(
    program: tuple[str, ...], code: int, python: Python, application: Path, cache: Path
) -> None:
    """Exit code, traceback and signal are those of `python`, without a frame of this package."""
    expected = python("-B", *program, check=False, cwd=application)
    process = python("-m", "pycachehook", "run", "--cache-dir", cache, *program, check=False, cwd=application)
    assert expected.returncode == code
    assert process.returncode == code
    if program[0] != "-m":
        assert process.stderr == expected.stderr
    assert "pycachehook" not in process.stderr


@pytest.mark.parametrize(
    "program",
    [
        ("script.py", "--help"),
        ("script.py", "--version", "--json"),
        ("script.py", "--cache-dir", "/nowhere", "--config=x"),
        ("script.py", "--", "-c", "print(1)"),
        ("-m", "script", "-m", "other", "--read-only"),
        ("-c", "import sys, json; print(json.dumps(['', '', '', '', sys.argv]))", "-c", "--strict"),
    ],
    ids=" ".join,
)
def test_arguments_after_the_program_are_its_own(
    program: tuple[str, ...], python: Python, application: Path, cache: Path
) -> None:
    """Arguments after the program go to the program, even those that look like options of `run`."""
    skipped = 2 if program[0].startswith("-") else 1
    run = ("-m", "pycachehook", "run", f"--cache-dir={cache}", "--invalidation-mode", "unchecked-hash", *program)
    argv = json.loads(python(*run, cwd=application).stdout)[4]
    assert argv[1:] == list(program[skipped:])
    assert cache.is_dir()


def test_edited_script_runs_anew(python: Python, application: Path, cache: Path) -> None:
    """An edit of `__main__` that keeps its size and mtime is detected."""
    script = application / "exits.py"
    seen = []
    for digit in "12":
        script.write_text(f"print({digit})\n", encoding="utf-8")
        seen.append(python("-m", "pycachehook", "run", "--cache-dir", cache, script).stdout)
    assert seen == ["1\n", "2\n"]


def test_installed_command(python: Python, application: Path, cache: Path) -> None:
    """The `pycachehook` script has the same effect as `python -m pycachehook`."""
    script = Path(python.executable).parent / "pycachehook"
    process = type(python)(script, **python.environment)("run", "--cache-dir", cache, "script.py", cwd=application)
    assert json.loads(process.stdout)[0] == "__main__"
    assert list(cache.rglob("script.*.pyc"))


def test_kill_switch_runs_the_program(python: Python, application: Path, cache: Path) -> None:
    """With the kill switch set, `run` runs the program without a hook and without a message."""
    arguments = ("-m", "pycachehook", "run", "--cache-dir", cache, application / "script.py")
    process = python(*arguments, PYCACHEHOOK_DISABLE="1", PYTHONDONTWRITEBYTECODE="1")
    assert json.loads(process.stdout)[6] == 7
    assert process.stderr == ""
    assert not list(cache.rglob("*.pyc"))
