"""`pycachehook inspect`: shows the contents of a pyc, whichever tool wrote it."""

from __future__ import annotations

import importlib.util
import json
import os
import py_compile
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest

import pycachehook
from pycachehook.cli.main import main
from pycachehook.commands.inspect import version_of
from pycachehook.hook import loader as loader_for

if TYPE_CHECKING:
    from collections.abc import Callable

SOURCE = 'import os\n\n\ndef greet(name):\n    return "hello " + name\n\n\nraise SystemExit("has been imported")\n'
MODES = {"timestamp": 0, "unchecked-hash": 1, "checked-hash": 3}
THIS = "{}.{}".format(*sys.version_info)

# The magic number of each version's final release (Include/internal/pycore_magic_number.h, earlier Lib/importlib).
RELEASED = {62211: "2.7", 3394: "3.7", 3413: "3.8", 3425: "3.9", 3439: "3.10", 3495: "3.11", 3531: "3.12", 3571: "3.13"}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Return a source that must not be imported."""
    path = tmp_path / "some_module.py"
    path.write_text(SOURCE, encoding="utf-8")
    return path


@pytest.fixture
def inspect(no_hook: None, capsys: pytest.CaptureFixture[str]) -> Callable[..., dict[str, Any]]:
    """Return a function that runs the command with --json."""

    def run(*arguments: str | Path) -> dict[str, Any]:
        assert main(["inspect", "--json", *map(str, arguments)]) == 0
        said: dict[str, Any] = json.loads(capsys.readouterr().out)
        return said

    return run


@pytest.mark.parametrize("mode", MODES)
def test_an_entry_of_ours(
    mode: Literal["checked-hash", "unchecked-hash", "timestamp"],
    inspect: Callable[..., dict[str, Any]],
    source: Path,
    cache: Path,
) -> None:
    """The header is described in words, the source compared, the seal checked, the code listed."""
    with pycachehook.install(cache, invalidation_mode=mode):
        loader_for("some_module", str(source)).get_code("some_module")
    (entry,) = cache.rglob("some_module.*.pyc")
    said = inspect(entry)
    expected = {
        "path": str(entry), "bytes": entry.stat().st_size, "python": THIS, "readable_here": True, "flags": MODES[mode],
        "mode": mode, "seal": "holds", "source": str(source), "source_state": "same",
        "magic": int.from_bytes(importlib.util.MAGIC_NUMBER[:2], "little"),
    }  # fmt: skip
    assert {key: said[key] for key in expected} == expected
    if mode == "timestamp":
        assert said["source_bytes"] == len(SOURCE)
    else:
        assert said["source_hash"] == importlib.util.source_hash(SOURCE.encode()).hex()
    assert (said["code"]["name"], said["code"]["line"]) == ("<module>", 1)
    (greet,) = said["code"]["inside"]
    assert (greet["name"], greet["line"], greet["inside"]) == ("greet", 4, [])
    assert "'hello '" in greet["constants"]
    assert "os" in said["code"]["names"]
    source.write_text("changed", encoding="utf-8")
    assert inspect(entry)["source_state"] == "changed"
    source.unlink()
    assert inspect(entry)["source_state"] == "gone"
    data = bytearray(entry.read_bytes())
    data[9] ^= 1
    entry.write_bytes(data)
    assert inspect(entry)["seal"] == "broken"


def test_a_pyc_of_cpythons(inspect: Callable[..., dict[str, Any]], source: Path) -> None:
    """A pyc written by CPython is described as having no seal; damage after the header is no failure."""
    path = Path(py_compile.compile(str(source)) or "")
    said = inspect(path)
    assert (said["mode"], said["seal"], said["source_state"]) == ("timestamp", "none", "same")
    path.write_bytes(path.read_bytes()[:30])
    said = inspect(path)
    assert (said["code"], said["source_state"]) == (None, "unknown")


def others() -> list[str]:
    """Return the other interpreters of this machine."""
    names = (f"python3.{minor}" for minor in range(7, 20) if minor != sys.version_info.minor)
    installed = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    return [str(path) for path in installed.glob("*/bin/python")] + [
        path for name in names if (path := shutil.which(name))
    ]


def test_a_pyc_of_another_python(inspect: Callable[..., dict[str, Any]], source: Path, tmp_path: Path) -> None:
    """A pyc of another Python version is named as such; its header is read, its code is not."""
    tried = set()
    for interpreter in others():
        command = "import py_compile, sys; py_compile.compile(sys.argv[1], sys.argv[2]); print('%d.%d' % sys.version_info[:2])"
        target = tmp_path / "other.pyc"
        process = subprocess.run(
            [interpreter, "-c", command, source, target], capture_output=True, text=True, check=False
        )
        version = process.stdout.strip()
        if process.returncode == 0 and version != THIS:
            said = inspect(target)
            assert (said["python"], said["readable_here"], said["code"], said["mode"]) == (
                version,
                False,
                None,
                "timestamp",
            )
            assert said["source_bytes"] == (None if version == "2.7" else len(SOURCE))
            tried.add(version)
    if not tried:
        pytest.skip("there is no other Python on this machine")


@pytest.mark.parametrize(("magic", "version"), RELEASED.items())
def test_magic_numbers(magic: int, version: str) -> None:
    """Each release's magic number names its version."""
    assert version_of(magic.to_bytes(2, "little") + b"\r\n") == version


def test_a_module_by_name(
    inspect: Callable[..., dict[str, Any]], source: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A module's pyc is found without importing the module; a cache entry precedes the in-tree pyc."""
    monkeypatch.syspath_prepend(str(source.parent))
    monkeypatch.setenv("PYCACHEHOOK_CACHE_DIR", str(cache))
    shipped = py_compile.compile(str(source))
    assert inspect("some_module")["path"] == shipped
    with pycachehook.install(cache, in_tree="ignore"):
        loader_for("some_module", str(source)).get_code("some_module")
    (entry,) = cache.rglob("some_module.*.pyc")
    assert inspect("some_module")["path"] == str(entry)
    assert "some_module" not in sys.modules


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("no_such_module", "There is no module no_such_module on sys.path, to which PYTHONPATH adds."),
        ("sys", "sys has no source (built-in)."),
        ("text.txt", "text.txt is no pyc: it does not begin with a magic number and a header of 16 bytes."),
        ("folder", "folder cannot be read: "),
        ("uncompiled", "uncompiled has no pyc: neither "),
    ],
)
@pytest.mark.usefixtures("no_hook")
def test_what_cannot_be_inspected(
    name: str, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file that is no pyc, and a module without one, are reported in one sentence."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    Path("text.txt").write_text("text", encoding="utf-8")
    Path("uncompiled.py").touch()
    Path("folder").mkdir()
    assert main(["inspect", name]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"pycachehook: error: {sentence}")


@pytest.mark.usefixtures("no_hook")
def test_a_module_without_a_cache_directory(
    inspect: Callable[..., dict[str, Any]],
    source: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Where there is no default cache directory, the pyc in the source's own `__pycache__` is shown, if there is one."""
    monkeypatch.syspath_prepend(str(source.parent))
    monkeypatch.setenv("HOME", "/nonexistent/home")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert main(["inspect", "some_module"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("pycachehook: error: some_module has no pyc: ")
    assert "There is no default cache directory: the home directory /nonexistent/home does not exist" in line
    shipped = py_compile.compile(str(source))
    assert inspect("some_module")["path"] == shipped


def test_for_people(no_hook: None, source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without --json the same facts are printed as lines, the code as a tree, and disassembled on demand."""
    path = str(py_compile.compile(str(source)))
    assert main(["inspect", path]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert f"python         {THIS}" in lines
    assert "mode           timestamp" in lines
    assert any(line.startswith("  greet  line 4, ") for line in lines)
    assert not any("RETURN_VALUE" in line for line in lines)
    assert main(["inspect", "--dis", path]) == 0
    assert "RETURN_VALUE" in capsys.readouterr().out
