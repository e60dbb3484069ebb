"""Wrong input: one sentence that names the problem, the right exit code, and never a traceback."""

from __future__ import annotations

import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator, Mapping

    from conftest import Python

# Option, wrong value as text, the same in TOML, and a part of the description of allowed values.
WRONG = [
    ("cache_dir", " ", '" "', "directory"),
    ("cache_dir", None, "5", "directory"),
    ("layout", "tree", '"tree"', "mirror"),
    ("invalidation_mode", "hash", '"hash"', "checked-hash"),
    ("invalidation_mode", "CHECKED-HASH", '"CHECKED-HASH"', "checked-hash"),
    ("in_tree", "write", '"write"', "ignore"),
    ("read_only", "perhaps", '"perhaps"', "true or false"),
    ("read_only", None, "2", "true or false"),
    ("force_write", "-1", "-1", "true or false"),
    ("allow_shared", "y", '"y"', "true or false"),
    ("strict", "None", '"None"', "true or false"),
    ("lock_timeout", "soon", '"soon"', "seconds"),
    ("lock_timeout", "-1", "-1", "seconds"),
    ("lock_timeout", "nan", "nan", "seconds"),
    ("lock_timeout", "inf", "inf", "seconds"),
    ("lock_timeout", "86401", "86401", "seconds"),
    ("lock_timeout", None, "true", "seconds"),
    ("rules", "[{", '"[{"', "TOML"),
    ("rules", "[1]", "[1]", "table"),
    ("rules", "{}", "{}", "list of tables"),
    ("rules", "[{match = '*'}]", "[{match = '*'}]", "changes nothing"),
    ("rules", "[{enabled = false}]", "[{enabled = false}]", "match"),
    ("rules", "[{match = 1, enabled = false}]", "[{match = 1, enabled = false}]", "string"),
    ("rules", "[{match = '*', color = 1}]", "[{match = '*', color = 1}]", "color"),
    ("rules", "[{match = '*', enabled = 'so'}]", "[{match = '*', enabled = 'so'}]", "true or false"),
    ("rules", "[{match = '*', strict = true}]", "[{match = '*', strict = true}]", "strict"),
    ("rules", "[{match = '*', in_tree = 'x'}]", "[{match = '*', in_tree = 'x'}]", "installed, all, hashed or ignore"),
]
TEXTS = [(name, text, allowed) for name, text, _, allowed in WRONG if text is not None]
TOMLS = [(name, toml, allowed) for name, _, toml, allowed in WRONG]
SWITCHES = ("read_only", "force_write", "allow_shared", "strict")

RUN = ("-m", "pycachehook", "run", "-c", "print('ran')")


def complaint(process: subprocess.CompletedProcess[str], code: int) -> str:
    """Return the only sentence on standard error of a command that did nothing else."""
    assert process.returncode == code, process.stderr
    assert process.stdout == ""
    assert process.stderr.startswith("pycachehook: error: ")
    assert process.stderr.count("\n") == 1
    assert process.stderr.rstrip().endswith(".")
    return process.stderr


@pytest.fixture(autouse=True)
def nothing_enabled() -> Iterator[None]:
    """Check that no wrong `enable` has changed the environment of the tests."""
    yield
    names = ("_pycachehook_startup.py", "pycachehook.pth", "pycachehook.start")
    written = [path for path in map(Path(sysconfig.get_path("purelib")).joinpath, names) if path.exists()]
    for path in written:
        path.unlink()
    assert not written


@pytest.fixture
def settings(tmp_path: Path) -> Callable[[str], Path]:
    """Return a function that writes a configuration file."""

    def write(text: str) -> Path:
        path = tmp_path / "settings.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.mark.parametrize(("name", "value", "allowed"), TEXTS)
def test_variable(name: str, value: str, allowed: str, python: Python) -> None:
    """A wrong variable stops a command with exit code 2 and the variable, the value and what is allowed."""
    variable = f"PYCACHEHOOK_{name.upper()}"
    error = complaint(python.within({variable: value})(*RUN, check=False), 2)
    assert name in error
    assert variable in error
    assert allowed in error


@pytest.mark.parametrize(("name", "value", "allowed"), [each for each in TEXTS if each[0] not in SWITCHES])
@pytest.mark.parametrize("command", [("run", "-c", "print('ran')"), ("enable",)], ids=["run", "enable"])
def test_flag(*, command: tuple[str, ...], name: str, value: str, allowed: str, python: Python, tmp_path: Path) -> None:
    """A wrong flag stops a command with exit code 2 and the option, the value and what is allowed."""
    first, *rest = command
    flag = f"--{name.replace('_', '-')}={value}"
    error = complaint(python("-m", "pycachehook", first, flag, *rest, check=False), 2)
    assert name in error
    assert "(flag)" in error or flag.partition("=")[0] in error
    assert allowed in error
    assert not list((tmp_path / "home").rglob("*"))


@pytest.mark.parametrize(
    "flag", ["--no-such-option", "--read-only=yes", "--cache-di=x", "--invalidation-mode", "--config"]
)
def test_flag_that_argparse_refuses(flag: str, python: Python) -> None:
    """An unknown, abbreviated or incomplete flag is a usage error of one line that refers to the help."""
    process = python("-m", "pycachehook", "enable", flag, check=False)
    assert process.returncode == 2
    (line,) = process.stderr.splitlines()
    assert line.startswith("pycachehook: error: ")
    assert line.endswith(" See `pycachehook enable --help`.")
    assert flag.partition("=")[0] in line


@pytest.mark.parametrize(("name", "value", "allowed"), TOMLS)
def test_file(name: str, value: str, allowed: str, python: Python, settings: Callable[[str], Path]) -> None:
    """A wrong value in a file stops a command with exit code 2 and the file, the option and what is allowed."""
    path = settings(f"[tool.pycachehook]\n{name} = {value}\n")
    error = complaint(python(*RUN[:3], "--config", path, *RUN[3:], check=False), 2)
    assert name in error
    assert str(path) in error
    assert allowed in error


@pytest.mark.parametrize(("name", "value", "allowed"), TOMLS)
def test_keyword(name: str, value: str, allowed: str, python: Python, cache: Path) -> None:
    """A wrong keyword raises `ConfigError`, a `ValueError` that names it, and installs nothing."""
    program = (
        "import pycachehook, sys, tomllib\n"
        f"options = {{'cache_dir': {str(cache)!r}, **tomllib.loads({f'{name} = {value}'!r})}}\n"
        "before = list(sys.meta_path)\n"
        "try: pycachehook.install(**options)\n"
        "except ValueError as error: print(type(error).__name__, error)\n"
        "print(sys.meta_path == before, pycachehook.active(), sys.pycache_prefix)\n"
    )
    error, state = python("-c", program).stdout.splitlines()
    assert error.startswith(f"ConfigError {name}")
    assert "keyword" in error
    assert allowed in error
    assert state == "True None None"
    assert not cache.exists()


def test_unknown_names(python: Python, settings: Callable[[str], Path]) -> None:
    """An unknown option is an error that lists the options, for a keyword and for a key of a file."""
    program = "import pycachehook\ntry: pycachehook.install(colour=1)\nexcept ValueError as error: print(error)"
    by_keyword = python("-c", program).stdout
    path = settings("[tool.pycachehook]\ncolour = 1\n")
    by_file = complaint(python(*RUN[:3], "--config", path, *RUN[3:], check=False), 2)
    for error in (by_keyword, by_file):
        assert "'colour'" in error
        assert "invalidation_mode" in error


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("[tool.pycachehook", "not valid TOML"),
        ("cache_dir = ", "not valid TOML"),
        ("[tool.pycachehook]\nstrict = true\nstrict = false\n", "not valid TOML"),
        ("", "no table [tool.pycachehook]"),
        ("[tool.other]\nx = 1\n", "no table [tool.pycachehook]"),
        ("tool = 3\n", "no table [tool.pycachehook]"),
        ("[tool]\npycachehook = 3\n", "no table [tool.pycachehook]"),
    ],
)
@pytest.mark.parametrize("command", ["run", "enable", "status"])
@pytest.mark.parametrize("by", ["flag", "variable"])
def test_malformed_file(
    *, by: str, command: str, text: str, word: str, python: Python, settings: Callable[[str], Path]
) -> None:
    """A file that is not TOML, or has no table for pycachehook, is one sentence with its name, and exit code 2."""
    path = settings(text)
    program = ("-c", "print('ran')") if command == "run" else ()
    if by == "flag":
        process = python("-m", "pycachehook", command, "--config", path, *program, check=False)
    else:
        process = python("-m", "pycachehook", command, *program, check=False, PYCACHEHOOK_CONFIG=str(path))
    error = complaint(process, 2)
    assert str(path) in error
    assert word in error


def test_file_that_is_not_text(python: Python, tmp_path: Path) -> None:
    """A file of arbitrary bytes is reported as not valid TOML."""
    path = tmp_path / "binary.toml"
    path.write_bytes(b"\xff\xfe\x00")
    assert "not valid TOML" in complaint(python(*RUN[:3], "--config", path, *RUN[3:], check=False), 2)


@pytest.mark.parametrize("kind", ["missing", "directory", "dangling link", "below a file"])
def test_unreadable_file(kind: str, python: Python, tmp_path: Path) -> None:
    """A file that cannot be opened is one sentence with its name and the system's reason, and exit code 2."""
    path = tmp_path / "settings.toml"
    if kind == "directory":
        path.mkdir()
    elif kind == "dangling link":
        path.symlink_to(tmp_path / "nowhere")
    elif kind == "below a file":
        path.write_text("", encoding="utf-8")
        path /= "settings.toml"
    error = complaint(python(*RUN[:3], "--config", path, *RUN[3:], check=False), 2)
    assert str(path) in error
    assert "cannot be read" in error


@pytest.mark.full
def test_file_that_this_user_may_not_read(python: Python, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """A file that this user may not read is one sentence that says so, and exit code 2."""
    environment, private_mounts = (request.getfixturevalue(name) for name in ("environment", "private_mounts"))
    folder = tmp_path / "theirs"
    folder.mkdir()
    path = folder / "settings.toml"
    path.write_text("[tool.pycachehook]\n", encoding="utf-8")
    path.chmod(0o600)
    arguments = (*RUN[:3], "--config", path, *RUN[3:])
    error = complaint(private_mounts(environment, *arguments, reach=[folder], user=65534, check=False), 2)
    assert str(path) in error
    assert "Permission denied" in error


@pytest.mark.parametrize("kind", ["file", "link to a file"])
@pytest.mark.parametrize("command", ["run", "enable"])
@pytest.mark.parametrize("by", ["flag", "variable", "file"])
def test_cache_dir_that_is_a_file(
    *, by: str, command: str, kind: str, python: Python, tmp_path: Path, settings: Callable[[str], Path]
) -> None:
    """A `cache_dir` that is a file is refused with its name and origin, and exit code 2."""
    path = tmp_path / "occupied"
    path.write_text("precious", encoding="utf-8")
    if kind != "file":
        path = tmp_path / "link"
        path.symlink_to(tmp_path / "occupied")
    program = ("-c", "print('ran')") if command == "run" else ()
    if by == "flag":
        process = python("-m", "pycachehook", command, "--cache-dir", path, *program, check=False)
    elif by == "variable":
        process = python("-m", "pycachehook", command, *program, check=False, PYCACHEHOOK_CACHE_DIR=str(path))
    else:
        config = settings(f"[tool.pycachehook]\ncache_dir = {str(path)!r}\n")
        process = python("-m", "pycachehook", command, "--config", config, *program, check=False)
    error = complaint(process, 2)
    assert "cache_dir" in error
    assert str(path) in error
    assert {"flag": "--cache-dir", "variable": "PYCACHEHOOK_CACHE_DIR", "file": "settings.toml"}[by] in error
    assert (tmp_path / "occupied").read_text(encoding="utf-8") == "precious"


def test_cache_dir_that_is_a_file_by_keyword(python: Python, tmp_path: Path) -> None:
    """For `install()` it is a fault of the environment: a disabled hook with a reason, or `CacheDirError` if strict."""
    path = tmp_path / "occupied"
    path.write_text("precious", encoding="utf-8")
    program = f"""
import pycachehook
hook = pycachehook.install({str(path)!r})
print(hook.status, "|", hook.reason)
import colorsys
try: pycachehook.install({str(path)!r}, strict=True)
except pycachehook.CacheDirError as error: print(error)
"""
    state, error = python("-c", program).stdout.splitlines()
    assert state == f"disabled | {error}"
    assert str(path) in error
    assert "not a directory" in error
    assert path.read_text(encoding="utf-8") == "precious"


@pytest.mark.parametrize(
    ("program", "code", "word"),
    [
        (("nowhere.py",), 2, "nowhere.py"),
        (("empty",), 1, "__main__.py"),
        (("text.txt/script.py",), 2, "text.txt/script.py"),
        ((), 2, "Nothing to run"),
        (("-m",), 2, "Nothing to run"),
        (("-c",), 2, "Nothing to run"),
        (("-m", "no_such_module"), 1, "no_such_module"),
        (("-m", "no_such.module"), 1, "no_such"),
        (("-m", "package"), 1, "package.__main__"),
        (("-m", "json.no_such"), 1, "json.no_such"),
        (("-m", ".relative"), 1, ".relative"),
        (("-m", "sys"), 1, "sys"),
    ],
    ids=lambda value: " ".join(value) or "nothing" if isinstance(value, tuple) else str(value),
)
def test_nothing_to_run(
    *,
    program: tuple[str, ...],
    code: int,
    word: str,
    python: Python,
    cache: Path,
    tree: Callable[[Mapping[str, str]], Path],
) -> None:
    """A missing program is one sentence that names it; usage errors exit with 2, failures with 1."""
    root = tree({"empty/module.py": "", "text.txt": "", "package/__init__.py": ""})
    process = python("-m", "pycachehook", "run", "--cache-dir", cache, *program, check=False, cwd=root)
    assert word in complaint(process, code)


@pytest.mark.full
@pytest.mark.parametrize("command", ["enable", "disable"])
def test_environment_that_cannot_be_written(command: str, request: pytest.FixtureRequest) -> None:
    """`enable` and `disable` in an environment on a read-only medium are one sentence, and exit code 1."""
    environment, private_mounts, purelib = (
        request.getfixturevalue(name) for name in ("environment", "private_mounts", "purelib")
    )
    folder = purelib(environment)
    if command == "disable":
        environment("-m", "pycachehook", "enable")
    try:
        process = private_mounts(environment, "-m", "pycachehook", command, read_only=[folder], check=False)
        left = sorted(path.name for path in folder.glob("*pycachehook*") if path.is_file())
    finally:
        environment("-m", "pycachehook", "disable")
    error = complaint(process, 1)
    assert str(folder) in error
    assert "Read-only file system" in error
    assert len(left) == (2 if command == "disable" else 0)


@pytest.mark.parametrize("arguments", [(), ("no-such-command",), ("status", "extra")], ids=" ".join)
def test_no_command(arguments: tuple[str, ...], python: Python) -> None:
    """No command, an unknown one, or a superfluous word is one line, and exit code 2."""
    process = python("-m", "pycachehook", *arguments, check=False)
    assert process.returncode == 2
    (line,) = process.stderr.splitlines()
    assert line.startswith("pycachehook: error: ")
    assert "See `pycachehook" in line


def test_reader_that_goes_away(python: Python) -> None:
    """Output into a pipe without a reader ends without a traceback, and with exit code 1."""
    program = (
        "import os, sys; read, write = os.pipe(); os.close(read); os.dup2(write, 1)\n"
        "os.execv(sys.executable, [sys.executable, '-m', 'pycachehook', 'status'])\n"
    )
    process = python("-c", program, check=False)
    assert process.stderr == ""
    assert process.returncode == 1
