"""The activation files: their content, how they are written, and what they do at a start."""

from __future__ import annotations

import importlib.util
import json
import os
import runpy
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import pycachehook
from pycachehook import pyc
from pycachehook.commands.enable import (
    FILES,
    PTH,
    START,
    STARTUP,
    activation_problems,
    disable,
    enable,
    files,
)
from pycachehook.commands.startup_image import START_UP_MODULES
from pycachehook.config import resolution
from pycachehook.errors import PycacheHookError
from pycachehook.paths import Layout

if TYPE_CHECKING:
    from conftest import Python
    from pycachehook.config.options import Options

TAG = sys.implementation.cache_tag
OPTIMIZED = f".opt-{sys.flags.optimize}" if sys.flags.optimize else ""
ALONE = (3, 18)  # the first version that needs a `.start` file
WRITTEN = [FILES[0], START if sys.version_info >= ALONE else PTH]
OTHER = PTH if sys.version_info >= ALONE else START
BYTECODE = {f"__pycache__/{STARTUP}.{TAG}{OPTIMIZED}.{kind}" for kind in ("pyc", "image")}


pytestmark = pytest.mark.usefixtures("no_options")


@pytest.fixture
def purelib(tmp_path: Path) -> Path:
    """Return an empty directory for packages."""
    path = tmp_path / "purelib"
    path.mkdir()
    return path


class VersionInfo(tuple[int, ...]):
    """A `sys.version_info` with two numbers."""

    __slots__ = ()

    def __new__(cls, *numbers: int) -> VersionInfo:
        """Take the numbers as separate arguments."""
        return super().__new__(cls, numbers)

    major = property(lambda self: self[0])
    minor = property(lambda self: self[1])


def options(**keywords: object) -> Options:
    """Return resolved options, some of which are given."""
    return resolution.resolve(keywords)


def listing(folder: Path) -> dict[str, bytes]:
    """Return the contents of all files below `folder`."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("version", "name", "line"),
    [
        ((3, 11, 7), PTH, "import _pycachehook_startup; _pycachehook_startup.activate()\n"),
        ((3, 15, 0), PTH, "import _pycachehook_startup; _pycachehook_startup.activate()\n"),
        ((3, 17, 9), PTH, "import _pycachehook_startup; _pycachehook_startup.activate()\n"),
        ((3, 18, 0), START, "_pycachehook_startup:activate\n"),
        ((4, 0, 0), START, "_pycachehook_startup:activate\n"),
    ],
)
def test_names_and_lines(
    version: tuple[int, ...], name: str, line: str, purelib: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is the start-up module and a file with one line: `.pth` before Python 3.18, `.start` from then on."""
    monkeypatch.setattr(sys, "version_info", version)
    texts = dict(files(options(), purelib))
    assert list(texts) == ["_pycachehook_startup.py", name]
    assert texts[name] == line


@pytest.mark.parametrize(("before", "after"), [((3, 17), (3, 18)), ((3, 18), (3, 15))])
def test_the_file_of_another_version(
    before: tuple[int, ...], after: tuple[int, ...], purelib: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that only another version of Python needs is a problem, and is removed by `enable` and `disable`."""
    monkeypatch.setattr(sys, "version_info", VersionInfo(*before))
    enable(purelib, options())
    assert activation_problems(purelib) == []
    monkeypatch.setattr(sys, "version_info", VersionInfo(*after))
    (problem,) = activation_problems(purelib)
    names = [START, PTH] if after >= ALONE else [PTH, START]
    assert f"needs {names[0]}, but {names[1]} is there" in problem
    (purelib / names[0]).touch()
    (problem,) = activation_problems(purelib)
    assert f"does not need {names[1]}" in problem
    enable(purelib, options())
    assert {path.name for path in purelib.glob("pycachehook.*")} == {names[0]}
    assert activation_problems(purelib) == []
    (purelib / names[1]).touch()
    disable(purelib)
    assert listing(purelib) == {}


@pytest.mark.parametrize("damage", ["nothing", "module", "version", "image", "seal"])
def test_activation_problems(damage: str, purelib: Path) -> None:
    """Missing, damaged and foreign activation files are reported; an environment that is not enabled has no problem."""
    assert activation_problems(purelib) == []
    enable(purelib, options())
    (image,) = purelib.glob("__pycache__/*.image")
    module = purelib / FILES[0]
    if damage == "module":
        module.unlink()
    elif damage == "version":
        module.write_text(module.read_text().replace(pycachehook.__version__, "0.0.7"))
    elif damage == "image":
        image.unlink()
    elif damage == "seal":
        image.write_bytes(image.read_bytes()[:-1] + b"\xff")
    expected = {
        "nothing": [],
        "module": ["is missing"],
        "version": ["by version 0.0.7"],
        "image": ["image"],
        "seal": ["image"],
    }
    problems = activation_problems(purelib)
    assert len(problems) == len(expected[damage])
    assert all(word in problem for word, problem in zip(expected[damage], problems, strict=True))


@pytest.mark.parametrize(
    "keywords",
    [
        {},
        {"cache_dir": "/var/cache/py", "strict": True, "lock_timeout": 0.5, "in_tree": "ignore"},
        {"cache_dir": '/quote\'"""{braces}\\back\nline/ä€😀/' + "long " * 50},
        {"cache_dir": "/no-utf8-\udcff"},
        {"cache_dir": '/OPTIONS = {}/VERSION = ""'},
        {"rules": [{"match": "*/it's/*", "enabled": False}, {"distribution": "filelock", "in_tree": "ignore"}]},
    ],
    ids=["defaults", "some", "odd", "surrogate", "template", "rules"],
)
def test_start_up_module_holds_the_options(keywords: dict[str, object], tmp_path: Path) -> None:
    """The start-up module contains version and options as literals; `cache_dir` only if it was set explicitly."""
    resolved = options(**keywords)
    path = tmp_path / FILES[0]
    path.write_bytes(next(text for _, text in files(resolved, tmp_path)).encode())
    found = runpy.run_path(str(path))
    assert found["VERSION"] == pycachehook.__version__
    assert found["OPTIONS"] == {
        **resolved.values(),
        "cache_dir": resolved.cache_dir if "cache_dir" in keywords else None,
    }


def test_enable_writes_the_files_and_their_bytecode(purelib: Path) -> None:
    """Enabling writes the files, returns their paths in order, and adds the bytecode that a start needs."""
    resolved = options(cache_dir="/var/cache/py")
    assert enable(purelib, resolved) == [purelib / name for name in WRITTEN]
    found = listing(purelib)
    assert set(found) == {*WRITTEN, *BYTECODE}
    assert {name: found[name].decode() for name in WRITTEN} == dict(files(resolved, purelib))
    data = found[f"__pycache__/{STARTUP}.{TAG}{OPTIMIZED}.pyc"]
    assert pyc.read_header(data) == (pyc.FLAGS["checked-hash"], importlib.util.source_hash(found[FILES[0]]))


def test_enable_is_idempotent(purelib: Path) -> None:
    """Enabling twice has the same effect as once; enabling with other options replaces the files."""
    enable(purelib, options(cache_dir="/one"))
    once = listing(purelib)
    enable(purelib, options(cache_dir="/one"))
    assert listing(purelib) == once
    enable(purelib, options(cache_dir="/two"))
    assert set(listing(purelib)) == set(once)
    assert runpy.run_path(str(purelib / FILES[0]))["OPTIONS"]["cache_dir"] == "/two"


def test_enable_replaces_by_rename(purelib: Path, tmp_path: Path) -> None:
    """A file is replaced by rename, so that processes with the open old file read it to its end."""
    enable(purelib, options(cache_dir="/one"))
    before = listing(purelib)
    for number, name in enumerate(before):
        os.link(purelib / name, tmp_path / f"old{number}")
    enable(purelib, options(cache_dir="/two"))
    assert [(tmp_path / f"old{number}").read_bytes() for number in range(len(before))] == list(before.values())
    assert listing(purelib)[FILES[0]] != before[FILES[0]]


@pytest.mark.parametrize("blocked", WRITTEN)
def test_failed_enable_leaves_no_temporary_file(blocked: str, purelib: Path) -> None:
    """If a file cannot be renamed, an OSError is raised and no temporary file is left."""
    (purelib / blocked).mkdir()
    with pytest.raises(OSError, match="directory"):
        enable(purelib, options())
    assert set(listing(purelib)) == set(WRITTEN[: WRITTEN.index(blocked)])


def test_enable_where_there_is_no_such_directory(tmp_path: Path) -> None:
    """Enabling does not create an environment's package directory."""
    with pytest.raises(FileNotFoundError):
        enable(tmp_path / "missing", options())
    assert list(tmp_path.iterdir()) == []


def test_enable_drops_the_bytecode_of_other_interpreters(purelib: Path) -> None:
    """Bytecode of an earlier start-up module is removed for every interpreter; that of other modules stays."""
    (purelib / "__pycache__").mkdir()
    for name in (f"{STARTUP}.cpython-399.pyc", f"{STARTUP}.cpython-399.image", "other.cpython-399.pyc"):
        (purelib / "__pycache__" / name).touch()
    enable(purelib, options())
    assert set(listing(purelib)) == {*WRITTEN, *BYTECODE, "__pycache__/other.cpython-399.pyc"}


def test_disable(purelib: Path) -> None:
    """Disabling removes what enabling wrote and nothing else; a second time there is nothing to remove."""
    (purelib / "other.py").touch()
    enable(purelib, options())
    assert set(disable(purelib)) == {purelib / name for name in WRITTEN}
    assert set(listing(purelib)) == {"other.py"}
    assert disable(purelib) == []


def test_disable_removes_what_is_left(purelib: Path) -> None:
    """Disabling removes the files that exist, even a dangling link."""
    (purelib / FILES[2]).symlink_to("/no/such/file")
    assert disable(purelib) == [purelib / FILES[2]]
    assert list(purelib.iterdir()) == []


def test_start_up_modules_are_all_that_a_start_loads(python: Python) -> None:
    """The image contains exactly the modules that a start needs, each after those that it imports."""
    program = """
import json, sys
import pycachehook.runtime
pycachehook.runtime.own_modules.remember()  # resolves lazy imports
print(json.dumps([name.partition(".")[2] for name in sys.modules if name.startswith("pycachehook.")]))
"""
    loaded = json.loads(python("-c", program).stdout)
    assert sorted(loaded) == sorted(START_UP_MODULES)
    folder = Path(pyc.__file__).parent
    for place, name in enumerate(START_UP_MODULES):
        later = START_UP_MODULES[place:]
        lines = (folder / f"{name}.py").read_text(encoding="utf-8").splitlines()
        assert not [line for line in lines if line.startswith("from .") and line.split()[1].lstrip(".") in later]


def test_layout_without_bytecode(purelib: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For an interpreter without a cache tag no bytecode is written."""
    monkeypatch.setattr(sys.implementation, "cache_tag", None)
    assert Layout.current() is None
    enable(purelib, options())
    assert set(listing(purelib)) == set(WRITTEN)


def test_enable_from_a_zip_file(purelib: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy of this package in a zip file cannot be loaded by a start, and is refused before anything is written."""
    monkeypatch.setattr("pycachehook.commands.enable._PACKAGE", cache / "app.zip" / "pycachehook")
    with pytest.raises(PycacheHookError, match="is in a zip file"):
        enable(purelib, resolution.resolve({"cache_dir": cache}))
    assert list(purelib.iterdir()) == []
