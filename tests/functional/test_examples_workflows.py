"""Run the examples about CI jobs, gunicorn workers, pytest in a clean tree and a function's bundle."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from conftest import PROJECT

from .conftest import NOBODY
from .examples import COUNTERS, EXAMPLES, rows

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Python

    from .conftest import PrivateMounts

WORKERS = 8
BUILDS = ("compileall", "compileall with hashes", "pycachehook precompile")


def test_ci_cache(run_example: Callable[[str], str]) -> None:
    """After a clone changed all mtimes, CPython compiles everything; the kept cache serves all unchanged sources."""
    output = run_example("ci_cache")
    found = rows(output, "job", "kept", "same mtime", "compiled")
    modules = str(len(list((EXAMPLES / "ci_cache" / "project").rglob("*.py"))))
    assert [row["job"] for row in found] == ["1", "2", "3"] * 3
    assert {row["same mtime"] for row in found if row["job"] != "1"} == {f"0 of {modules}"}
    stock = [row for row in found if row[""].startswith("CPython")]
    assert [row["compiled"] for row in stock] == [modules] * 6
    first, second, third = (row for row in found if row[""] == "pycachehook")
    assert (first["compiled"], first["from what was kept"]) == (modules, "0")
    assert (second["compiled"], second["from what was kept"]) == ("0", modules)
    assert (third["compiled"], third["from what was kept"]) == ("1", str(int(modules) - 1))


@pytest.mark.alone
@pytest.mark.slow
def test_shared_environments(run_example: Callable[[str], str]) -> None:
    """Of three environments with the shared layout, only the first compiles; with CPython all three do."""
    found = rows(run_example("shared_environments"), "environment", "compiled", "from the cache", "its own paths")
    mirror, shared, stock = (found[start : start + 3] for start in (0, 3, 6))
    assert {row["its own paths"] for row in found} == {"yes"}
    (compiled,) = {row["compiled"] for row in stock}
    assert int(compiled) > 50
    assert all(int(row["compiled"]) >= int(compiled) for row in (*mirror, shared[0]))
    assert [row["compiled"] for row in shared[1:]] == ["0", "0"]
    assert all(int(row["from the cache"]) >= int(compiled) for row in shared[1:])


@pytest.mark.full
@pytest.mark.slow
def test_gunicorn_workers(run_example: Callable[[str], str]) -> None:
    """With CPython every worker compiles every module; with the hook each module is compiled by one worker only."""
    output = run_example("gunicorn_workers")
    stock, first, second, writable = rows(output, "modules compiled", "once", f"{WORKERS} times", "compilations")
    modules, once, by_each = (int(stock[head]) for head in ("modules compiled", "once", f"{WORKERS} times"))
    assert once + by_each == modules, "the arbiter, or every worker"
    assert by_each > 50, "flask and what it imports"
    assert int(stock["compilations"]) == once + WORKERS * by_each
    assert int(writable["modules compiled"]) == modules

    compiled = str(modules - 1)  # all but gunicorn.conf.py, which gunicorn loads by its own loader
    assert list(first.values())[1:] == [compiled, compiled, "0", compiled]
    assert list(second.values())[1:] == ["0"] * 4

    cold, warm = rows(output, "processes", "compiled", "stored", "from the cache")
    assert (cold["processes"], warm["processes"]) == (str(WORKERS + 1), str(WORKERS + 1))
    assert int(cold["compiled"]) >= int(compiled)
    assert cold["stored"] == cold["compiled"]
    assert (warm["compiled"], warm["stored"]) == ("0", "0")
    assert int(warm["from the cache"]) == int(cold["compiled"]) + int(cold["from the cache"])
    assert f"entries in the cache: {int(cold['stored']) + 1}\n" in output
    assert "__pycache__ that are new in the tree: 0\n" in output
    assert output.count('GET /goods/tea: {"name":"tea","price":"2.40"}\n') == 4


@pytest.mark.full
@pytest.mark.slow
def test_pytest_clean_tree(run_example: Callable[[str], str]) -> None:
    """With the hook the project has no `__pycache__` after its tests, and pytest's rewritten modules are cached."""
    output = run_example("pytest_clean_tree")
    project = EXAMPLES / "pytest_clean_tree" / "project"
    rewritten = sorted(path.stem for path in (project / "tests").glob("*.py"))
    number = str(len(rewritten))
    found = rows(output, "run", "tests", "__pycache__ in the project", "rewritten into it", "into the cache")
    assert [tuple(row.values()) for row in found] == [
        ("CPython", "first", "5 passed", "2", number, "0"),
        ("CPython", "second", "5 passed", "2", "0", "0"),
        ("pycachehook", "first", "5 passed", "0", "0", number),
        ("pycachehook", "second", "5 passed", "0", "0", "0"),
    ]
    first, second = rows(output, "run", "compiled", "stored", "from the cache", "misses")
    modules = str(len(list((project / "ledger").glob("*.py"))))
    assert (first["compiled"], first["stored"]) == (modules, modules)
    assert (second["compiled"], second["from the cache"], second["misses"]) == ("0", modules, "{}")
    assert "new in the project with CPython alone: .pytest_cache, ledger/__pycache__, tests/__pycache__\n" in output
    assert "new in the project with pycachehook: .pytest_cache\n" in output
    listed = output.partition("in the cache, below the project's own path:\n")[2].splitlines()
    assert [path.partition(".")[0] for path in listed] == [f"tests/{name}" for name in rewritten]
    assert all("-pytest-" in path for path in listed)


@pytest.mark.full
@pytest.mark.slow
def test_lambda_bundle(run_example: Callable[[str], str]) -> None:
    """Cold starts from a read-only bundle with changed modification times compile nothing."""
    pytest.importorskip("rich", reason="needs rich, from the extra cli")
    output = run_example("lambda_bundle")
    assert_cold_starts_compile_nothing(output)


@pytest.mark.full
@pytest.mark.slow
def test_lambda_bundle_without_root(python: Python, private_mounts: PrivateMounts) -> None:
    """For a user who cannot mount, permissions make the bundle read-only."""
    pytest.importorskip("rich", reason="needs rich, from the extra cli")
    done = private_mounts(python, EXAMPLES / "lambda_bundle" / "run.py", user=NOBODY, reach=[PROJECT])
    assert_cold_starts_compile_nothing(done.stdout)
    assert done.stdout.endswith("Permission denied\n")


def assert_cold_starts_compile_nothing(output: str) -> None:
    """Check the output of the example about a function's bundle."""
    heads = ("cold start", "same mtime", "pycs in the tree", "pycs in the cache", "compiled by CPython")
    found = rows(output, *heads)
    assert [row["cold start"] for row in found] == ["first", "second"] * 3
    (same,) = {row["same mtime"] for row in found}
    assert same.startswith("0 of ")
    sources = same.removeprefix("0 of ")
    stock, hashes, hooked = ([row for row in found if row["built by"] == name] for name in BUILDS)
    assert int(stock[0]["compiled by CPython"]) > 50, "rich's modules too"
    assert stock[0]["compiled by CPython"] == stock[1]["compiled by CPython"]
    assert all(row["pycs in the tree"] == sources for row in (*stock, *hashes))
    assert all(row["pycs in the cache"] == sources for row in hooked)
    assert {row["compiled by CPython"] for row in (*hashes, *hooked)} == {"0"}
    for row in rows(output, *COUNTERS, "errors"):
        assert (row["compiled"], row["stored"], row["misses"], row["errors"]) == ("0", "0", "{}", "0")
        assert int(row["from the cache"]) > 40
    refusal = output.partition("a process that wants to write into the bundle: ")[2]
    assert refusal in {f"touch: cannot touch 'file': {why}\n" for why in ("Read-only file system", "Permission denied")}
