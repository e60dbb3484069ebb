"""coverage: it measures lines of modules that come from the cache, in subprocesses too."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from .conftest import RUN_PYTEST

if TYPE_CHECKING:
    from .conftest import Workbench

pytestmark = pytest.mark.slow

PLAIN = """
    def size(number):
        if number > 9:
            return "large"
        return "small"
"""  # with the argument 1 all lines run but the third
PROGRAM = {
    "plain.py": PLAIN,
    "app.py": """
        INSTALL
        import subprocess, sys
        import plain
        print(plain.size(1), flush=True)
        subprocess.run([sys.executable, "child.py"], check=True)
    """,
    "beyond.py": PLAIN,
    "child.py": """
        INSTALL
        import beyond
        print(beyond.size(10))
    """,
    "test_sizes.py": """
        import plain

        def test_size():
            assert plain.size(1) == "small"
    """,
}


def measured(bench: Workbench, module: str) -> tuple[list[int], list[int]]:
    """Return the lines of a module that ran, and those that did not."""
    bench("-m", "coverage", "json", "-q", "-o", "report.json")
    lines = json.loads((bench.tree / "report.json").read_text(encoding="utf-8"))["files"][module]
    return lines["executed_lines"], lines["missing_lines"]


def test_lines_are_measured_in_subprocesses(bench: Workbench) -> None:
    """`coverage run` measures both processes, when modules are compiled and when they come from the cache."""
    settings = "[run]\nparallel = true\npatch = subprocess\nsource = .\n"
    bench.write({**PROGRAM, ".coveragerc": settings})
    for turn in range(2):
        assert bench("-m", "coverage", "run", "app.py") == "small\nlarge\n"
        counted = bench.counted()
        assert counted["processes"] == 2
        assert (counted["stored"], counted["from_store"]) == ((2, 0), (0, 2))[turn]
        bench("-m", "coverage", "combine", "-q")
        assert measured(bench, "plain.py") == ([1, 2, 4], [3])
        assert measured(bench, "beyond.py") == ([1, 2, 3], [4])
        bench.counted()
    bench.assert_clean()
    assert {"plain", "beyond"} <= bench.entries()


def test_lines_are_measured_by_the_plugin(bench: Workbench) -> None:
    """`pytest --cov` measures modules that come from the cache."""
    bench.write({**PROGRAM, **RUN_PYTEST})
    command = ("run_pytest.py", "-q", "-p", "no:cacheprovider", "--cov=.", "--cov-report=")
    assert "1 passed" in bench.twice(*command)
    assert measured(bench, "plain.py") == ([1, 2, 4], [3])
    assert "plain" in bench.entries()
