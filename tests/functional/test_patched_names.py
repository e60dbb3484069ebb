"""Every function and value that an import could use, replaced while a module is imported for the first time.

`patched_names.py` says what is replaced. The outcome must be the module as it is, with no call of the replacement; or,
where the stock import uses the name too, what the stock import comes to.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from conftest import clean_environment

from . import patched_names

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Python

    Outcomes = dict[str, str]

PROGRAM = Path(patched_names.__file__)
# A tool's `compile` is a replaced step of the loader: nothing cached is used, and the tool is called each time.
A_STEP = {"builtins.compile"}
# The stock import fails with these, too, as long as it has not looked at the directory.
NEEDED_BY_THE_FIRST_SEARCH = {"builtins.str", "builtins.type", "sys.platform"}


class Tree:
    """A module for each name, and the outcomes of the stock import."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.sources = folder / "tree"
        self.sources.mkdir()
        for number in range(2 * len(patched_names.names())):
            (self.sources / f"mocked{number}.py").write_text(f"value = {number}\n")
        prefix = str(folder / "stock")
        self.stock = [self.run(sys.executable, PYTHONPYCACHEPREFIX=prefix) for _ in ("cold", "warm")]

    def run(self, executable: str, *more: str, together: int = 16, **environment: str) -> Outcomes:
        """Run the program, and return the outcome of each name."""
        out = self.folder / "out"
        out.unlink(missing_ok=True)
        process = subprocess.run(
            [executable, PROGRAM, self.sources, out, str(together), *more],
            env=clean_environment(PYTHONPATH=str(PROGRAM.parents[2] / "src") if more else "", **environment),
            capture_output=True,
            text=True,
            check=True,
            timeout=600,
        )
        assert not process.stderr
        outcomes: Outcomes = ast.literal_eval(out.read_text())
        return outcomes

    def different(self, outcomes: Outcomes, index: int) -> dict[str, tuple[str, str | None]]:
        """Return the outcomes that are neither plain nor the stock import's, with that."""
        stock = self.stock[index]
        return {
            name: (outcome, stock.get(name))
            for name, outcome in outcomes.items()
            if outcome not in (patched_names.PLAIN, stock.get(name))
            and name not in A_STEP | NEEDED_BY_THE_FIRST_SEARCH
            # Fewer calls than the stock import makes are as good.
            and (not outcome.startswith(("('imported'", stock[name][:12])) or outcome > stock[name])
        }

    def archive(self, mode: str) -> str:
        """Return the path of an archive of the modules."""
        out = str(self.folder / f"{mode}.pyca")
        command = [sys.executable, "-m", "pycachehook", "archive", "build", "--path", str(self.sources)]
        subprocess.run(
            [*command, "--invalidation-mode", mode, out], env=clean_environment(), check=True, capture_output=True
        )
        return out


@pytest.fixture(scope="module")
def modules(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    """Return the modules."""
    return Tree(tmp_path_factory.mktemp("patched"))


def has_entries(cache: Path) -> bool:
    """Say whether the hook was at work: nearly every module has an entry, none where an archive answers for them."""
    entries = len([*cache.rglob("*.pyc")])
    assert not 0 < entries < 100
    return entries > 0


FULL = pytest.mark.full


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"layout": "shared"},
        pytest.param({"invalidation_mode": "unchecked-hash", "gc": "freeze"}, marks=FULL),
        pytest.param({"invalidation_mode": "timestamp", "open_code": "always"}, marks=FULL),
        pytest.param({"rules": [{"match": "*/mocked?.py", "read_only": True}]}, marks=FULL),
    ],
    ids=str,
)
def test_replaced_during_the_first_import(options: dict[str, object], modules: Tree, tmp_path: Path) -> None:
    """With a cold and with a warm cache."""
    keywords = repr({"cache_dir": str(tmp_path / "cache"), "in_tree": "ignore", **options})
    for index in range(2):
        assert modules.different(modules.run(sys.executable, keywords), index) == {}
    assert has_entries(tmp_path / "cache")


@pytest.mark.parametrize("mode", [pytest.param("checked-hash", marks=FULL), "unchecked-hash"])
def test_replaced_during_the_first_import_from_an_archive(mode: str, modules: Tree, tmp_path: Path) -> None:
    """An archive answers from the start."""
    keywords = {"cache_dir": str(tmp_path / "cache"), "in_tree": "ignore", "archives": [modules.archive(mode)]}
    assert modules.different(modules.run(sys.executable, repr(keywords)), 1) == {}
    assert not list((tmp_path / "cache").rglob("mocked*"))


@pytest.mark.full
@pytest.mark.parametrize(
    "options",
    [[], *(pytest.param(each, marks=pytest.mark.slow) for each in (["--layout", "shared"], ["--archives"]))],
    ids=str,
)
def test_replaced_before_the_hook_is_installed(
    options: list[str], modules: Tree, tmp_path: Path, environment: Python, purelib: Callable[[Python], Path]
) -> None:
    """In an environment where pycachehook is enabled, the first import installs the hook."""
    if options == ["--archives"]:
        options = [*options, modules.archive("unchecked-hash")]
    environment("-m", "pycachehook", "enable", "--cache-dir", tmp_path / "cache", *options)
    try:
        for index in range(2):
            assert modules.different(modules.run(environment.executable, together=1), index) == {}
        assert has_entries(tmp_path / "cache") is ("--archives" not in options)
    finally:
        environment("-m", "pycachehook", "disable")
