"""Test that the stress program finds no failure of the hook, and that it detects failures."""

from __future__ import annotations

import errno
import json
import os
import random
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

import pytest

from conftest import run_tests_module

from .aftermath import left_overs
from .board import EDIT_FIELDS, Board
from .check import verdict
from .editor import edit
from .faulter import KINDS
from .faults import Target, entry, flip, truncate
from .report import failures, table
from .settings import Settings
from .tree import Module, Tree


def module_of(path: str) -> Module:
    """Return a module at `path`."""
    return Module("p00.m00", path, is_package=False, requires="", ships="nothing", multiplier=2**21 + 1)


def loaded(module: Module, version: int) -> ModuleType:
    """Return the result of importing the module in this version."""
    found = ModuleType(module.name)
    found.__file__ = module.path
    exec(compile(module.text(version), module.path, "exec"), found.__dict__)
    return found


@pytest.mark.parametrize(("before", "after"), [(5, 5), (4, 5), (5, 6), (1, 9)])
def test_version_held_meanwhile_is_right(before: int, after: int) -> None:
    """Any version that the source had between the two moments is right."""
    module = module_of("/tree/m.py")
    assert verdict(module, loaded(module, 5), before, after) is None


@pytest.mark.parametrize(("before", "after"), [(4, 4), (6, 6), (6, 9), (1, 4)])
def test_version_of_another_time_is_wrong(before: int, after: int) -> None:
    """A version that the source had only before or after the import is reported."""
    module = module_of("/tree/m.py")
    wrong = verdict(module, loaded(module, 5), before, after)
    assert wrong is not None
    assert "version 5" in wrong


def _other_module(found: ModuleType) -> None:
    found.__dict__["VALUE"] = module_of("/tree/m.py")._replace(name="p00.m01").value(5)


def _renamed(found: ModuleType) -> None:
    found.__dict__["__name__"] = "p00.m01"


def _without_version(found: ModuleType) -> None:
    del found.__dict__["VERSION"]


def _damaged_version(found: ModuleType) -> None:
    found.__dict__["VERSION"] = "0000000\x15"


def _compiled_elsewhere(found: ModuleType) -> None:
    code: CodeType = found.__dict__["derive"].__code__
    found.__dict__["derive"] = FunctionType(code.replace(co_filename="/elsewhere.py"), {})


@pytest.mark.parametrize(
    "spoil",
    [_other_module, _renamed, _without_version, _damaged_version, _compiled_elsewhere],
    ids=lambda f: f.__name__,
)
def test_spoiled_module_is_wrong(spoil: Any) -> None:
    """Another module's code, or damaged code, is reported even if it has the right version."""
    module = module_of("/tree/m.py")
    found = loaded(module, 5)
    spoil(found)
    assert verdict(module, found, 5, 5) is not None


def test_modules_have_values_of_their_own(tmp_path: Path) -> None:
    """No two modules of the tree, and no two versions of one, have the same value."""
    modules = Tree(str(tmp_path), 1).modules.values()
    values = {module.value(version) for module in modules for version in range(1, 4)}
    assert len(values) == 3 * len(modules)


def test_tree_is_the_seeds(tmp_path: Path) -> None:
    """The same seed gives the same tree, another seed another one."""
    assert Tree(str(tmp_path), 1).modules == Tree(str(tmp_path), 1).modules
    assert Tree(str(tmp_path), 1).modules != Tree(str(tmp_path), 2).modules


def test_edits_keep_the_size(tmp_path: Path) -> None:
    """Each edit writes the next version, in the same number of bytes, and some edits keep the mtime."""
    settings = Settings(str(tmp_path), 1)
    os.mkdir(settings.staging)
    module = module_of(str(tmp_path / "m.py"))
    size = (tmp_path / "m.py").write_text(module.text(1), encoding="utf-8")
    drawn, ways = random.Random(1), set()
    for version in range(2, 40):
        ways.add(edit(module, settings, drawn))
        assert module.version() == version
        assert (tmp_path / "m.py").read_text(encoding="utf-8") == module.text(version)
        assert (tmp_path / "m.py").stat().st_size == size
    assert len(ways) == 4


def test_board_outlives_its_writers(tmp_path: Path) -> None:
    """All mappings share the counters and the signal to stop."""
    first, second = (Board(str(tmp_path / "board"), EDIT_FIELDS, 3) for _ in range(2))
    first.add(0, "in place", 2)
    second.add(2, "in place")
    assert first.total("in place") == second.total("in place") == 3
    assert not second.stopping()
    first.stop()
    assert second.stopping()
    assert second.total("in-tree bytecode") == 0


def test_left_over_temporaries_are_told_apart(tmp_path: Path) -> None:
    """A temporary file is a killed process's, one that could not be removed, or unexplained."""
    settings = Settings(str(tmp_path), 1)
    folder = Path(settings.cache, "p00")
    folder.mkdir(parents=True)
    now = time.time_ns()
    names = [f".pycachehook-{pid}-{made:x}.tmp" for pid, made in ((7, now), (8, now), (9, now - 60 * 10**9))]
    for name in [*names, "other.tmp"]:
        (folder / name).touch()
    Path(settings.windows).write_text(json.dumps([str(folder), now - 10**9, now + 10**9]) + "\n", encoding="utf-8")
    found = left_overs(settings, {7})
    assert found.killed == [str(folder / names[0])]
    assert found.obstructed == [str(folder / names[1])]
    assert sorted(found.unexplained) == sorted([str(folder / names[2]), str(folder / "other.tmp")])


@pytest.mark.parametrize("fault", [flip, truncate])
def test_damage_is_done_once(fault: Any, tmp_path: Path, python: Any, tree: Any) -> None:
    """A complete entry is damaged, and a damaged one is left alone."""
    root = tree({"m.py": "VALUE = 1\n"})
    python(
        "-c", f"import pycachehook; pycachehook.install({str(tmp_path / 'cache')!r}); import m", PYTHONPATH=str(root)
    )
    (path,) = map(str, (tmp_path / "cache").rglob("m.*.pyc"))
    target = Target(path, module_of(str(root / "m.py")), path, random.Random(1), [], aside=str(tmp_path / "aside"))
    assert entry(path)
    assert fault(target)
    assert not entry(path)
    assert not fault(target)


@pytest.mark.parametrize("there", ["", "directory"])
def test_nothing_is_left_beside_an_entry(there: str, tmp_path: Path) -> None:
    """A replacement that a full disk or an obstruction prevents leaves no file in the cache, nor beside it."""
    cache = tmp_path / "cache"
    (cache / there).mkdir(parents=True)
    target = Target(str(cache / "m.pyc"), module_of("/m.py"), "", random.Random(1), [], aside=str(tmp_path / "aside"))

    def make(path: str) -> None:
        Path(path).touch()
        assert list(cache.rglob("*")) == [cache / there][: bool(there)]
        if not there:
            raise OSError(errno.ENOSPC, "in the middle of the file")

    target.path = str(cache / (there or "m.pyc"))
    with pytest.raises(OSError, match=r"directory|middle"):
        target.put(make)
    assert [path for path in tmp_path.rglob("*") if not path.is_dir()] == []


@pytest.fixture
def folder() -> Iterator[Path]:
    """Return a directory that other users can enter, unlike pytest's own."""
    with tempfile.TemporaryDirectory(prefix="stress-test-") as path:
        os.chmod(path, 0o755)
        yield Path(path)


def run(folder: Path, *arguments: str) -> dict[str, Any]:
    """Run the program; return its figures, which must agree with its exit code."""
    report = folder / "figures.json"
    done = run_tests_module("stress", "--json", report, "--directory", folder, *arguments, timeout=300)
    assert report.exists(), done.stdout + done.stderr
    figures: dict[str, Any] = json.loads(report.read_text(encoding="utf-8"))
    assert done.returncode == bool(failures(figures)), done.stdout + done.stderr
    assert done.stdout == table(figures) + "\n"
    return figures


@pytest.mark.full
def test_short_run(folder: Path) -> None:
    """Ten seconds of edits, faults and kills cause no wrong result, exception, hang or left-over file."""
    figures = run(folder, "--seconds", "10", "--seed", "1")
    assert failures(figures) == {}, table(figures)
    assert figures["counters"]["imports"] > 0
    assert sum(figures["kills"].values()) > 0
    assert sum(figures["faults"].values()) > 0
    assert set(figures["faults"]) | set(figures["unavailable"]) | set(figures["left out"]) == set(KINDS)
    assert list(folder.iterdir()) == [folder / "figures.json"]


@pytest.mark.full
@pytest.mark.slow
@pytest.mark.parametrize(
    ("subject", "found"),
    [
        ("stock", "wrong results"),
        ("raising", "exceptions"),
        ("crashing", "exceptions"),
        ("stuck", "hangs"),
        ("littering", "unexplained left-over temporaries"),
    ],
)
def test_checks_can_fail(subject: str, found: str, folder: Path) -> None:
    """CPython's own cache gives wrong results, and the program detects each saboteur."""
    figures = run(folder, "--seconds", "4", "--seed", "1", "--patience", "3", "--subject", subject)
    assert found in failures(figures), table(figures)
