"""Test how a `compile_ahead` worker determines the modules that a source may import."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from pycachehook.commands.ahead_worker import Worker, imported
from pycachehook.runtime import resolve

CASES = {
    "import a": ["a"],
    "import a.b as c, d": ["a", "a.b", "d"],
    "from a import b, c as d": ["a", "a.b", "a.c"],
    "from a.b import (\n    c,\n    d as e,\n)": ["a", "a.b", "a.b.c", "a.b.d"],
    "from . import b": ["pack", "pack.sub", "pack.sub.b"],
    "from .. import b": ["pack", "pack.b"],
    "from ..other import b": ["pack", "pack.other", "pack.other.b"],
    "from ... import b": [],
    "try:\n    import a\nexcept ImportError:\n    import b\nelse:\n    import c": ["a", "c"],
    "if X:\n    import a": ["a"],
    "if TYPE_CHECKING:\n    import a\nimport b": ["b"],
    "if __name__ == '__main__':\n    import a": [],
    "def f():\n    import a\n\nimport b": ["b"],
    "async def f():\n\n    import a": [],
    "@decorated\ndef f():\n    import a": [],
    "class C:\n    import a": [],
    "x = 'import a'": [],
    "imported = 1; important = 2": [],
    "import a  # import b": ["a"],
    "": [],
}


@pytest.mark.parametrize("source", CASES)
@pytest.mark.parametrize("newline", [b"\n", b"\r\n"])
def test_modules_that_a_source_imports(source: str, newline: bytes) -> None:
    """Import statements that run at import time count; those in functions and for type checkers do not."""
    data = source.encode().replace(b"\n", newline)
    assert list(dict.fromkeys(imported(data, "pack.sub"))) == CASES[source]


@pytest.fixture
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Worker:
    """Return a worker with its own cache, for a tree in `tmp_path / "tree"` that is on the path."""
    (tmp_path / "tree").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path / "tree"))
    return Worker(dict(resolve({"cache_dir": str(tmp_path / "cache")}, "test").values()), "", private=False)


def entries(folder: Path) -> set[str]:
    """Return the names of the sources that have entries below the folder."""
    return {path.name.split(".")[0] for path in folder.rglob("*.pyc")}


def work(worker: Worker) -> None:
    """Run the worker until it has nothing left to do."""
    while worker.todo:
        worker.step()


def test_imports_are_followed_without_running_anything(tmp_path: Path, worker: Worker) -> None:
    """The modules that a compiled module imports are compiled and stored in turn; no body runs."""
    tree = tmp_path / "tree"
    (tree / "first.py").write_text("import second\n")
    (tree / "second.py").write_text("from pack import third\nraise SystemExit\n")
    (tree / "pack").mkdir()
    (tree / "pack" / "__init__.py").write_text("raise SystemExit\n")
    (tree / "pack" / "third.py").write_text("import os, first, nowhere.below, sys\n")
    worker.add(["first"])
    work(worker)
    assert entries(tmp_path / "cache") == {"second", "__init__", "third"}
    assert worker.stats.compiled == worker.stats.stored == 3


@pytest.mark.parametrize("source", ["if:\n", "x = (\n", "\0", "'\\d'\n", "1 is 1\n", "x = '\ud800'\n"])
def test_what_does_not_compile_silently_is_left_to_the_program(tmp_path: Path, worker: Worker, source: str) -> None:
    """A source that causes an error or a warning is not stored, and the work continues."""
    tree = tmp_path / "tree"
    (tree / "first.py").write_text("import second, third\n")
    (tree / "second.py").write_bytes(source.encode("utf-8", "surrogatepass"))
    (tree / "third.py").write_text("")
    worker.add(["first"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        work(worker)
    assert entries(tmp_path / "cache") == {"third"}
