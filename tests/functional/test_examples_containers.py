"""Run the examples `quickstart`, `monorepo_rules`, `read_only_container` and `docker` by the command in their READMEs.

The last two need root.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from conftest import PROJECT

from .conftest import NOBODY
from .examples import COUNTERS, EXAMPLES, rows

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Python

    from .conftest import PrivateMounts


def test_quickstart(run_example: Callable[[str], str]) -> None:
    """Each module is compiled once; an edit that keeps size and timestamp recompiles only its module."""
    output = run_example("quickstart")
    first, second, edited = rows(output, *COUNTERS)
    modules = len(list((EXAMPLES / "quickstart" / "outline").glob("*.py")))
    assert first["compiled"] == first["stored"]
    assert int(first["compiled"]) >= modules
    assert first["misses"] == str({"absent": int(first["compiled"])})
    assert (second["compiled"], second["misses"]) == ("0", "{}")
    assert int(second["from the cache"]) == int(first["compiled"])
    assert (edited["compiled"], edited["stored"], edited["misses"]) == ("1", "1", "{'stale-source': 1}")
    assert [row["first line"][0] for row in (first, second, edited)] == ["-", "-", "*"]
    assert f"entries in the cache: {first['stored']}\n" in output
    assert "__pycache__ beside the sources: 0\n" in output


def test_monorepo_rules(run_example: Callable[[str], str]) -> None:
    """Each pyc is in the directory and the mode of the rule for its source, and nowhere else."""
    pytest.importorskip("rich", reason="needs rich, from the extra cli")
    output = run_example("monorepo_rules")
    starts = rows(output, "service", *COUNTERS)
    assert [(row["service"], row["start"]) for row in starts] == [
        ("shop", "first"),
        ("mail", "first"),
        ("shop", "second"),
        ("mail", "second"),
    ]
    assert all(row["compiled"] == row["stored"] != "0" for row in starts[:2])
    assert all((row["compiled"], row["misses"]) == ("0", "{}") for row in starts[2:])
    assert {row["module"]: tuple(row.values())[1:] for row in rows(output, "module", "rule")} == {
        "basket": ("rule 3", "loaded from store", ".cache/shop", "checked-hash", "holds"),
        "letter": ("rule 4", "loaded from store", ".cache/mail", "checked-hash", "holds"),
        "money.amounts": ("none", "loaded from store", ".cache/common", "checked-hash", "holds"),
        "rich.table": ("rule 2", "loaded from store", ".cache/third-party", "unchecked-hash", "holds"),
        "api.orders": ("rule 1 excludes it", "left to CPython", ".cache/common", "timestamp", "none"),
    }
    assert "__pycache__ beside the sources: 0\n" in output


@pytest.mark.full
def test_read_only_container(run_example: Callable[[str], str]) -> None:
    """A user without write access uses what root has precompiled; without it each start compiles everything."""
    pytest.importorskip("rich", reason="needs rich, from the extra cli")
    output = run_example("read_only_container")
    bare, again, first, second = rows(output, *COUNTERS)
    modules = len(list((EXAMPLES / "read_only_container" / "usage").glob("*.py")))
    assert bare == {**again, "start": "first"}
    assert (bare["stored"], bare["from the cache"]) == ("0", "0")
    assert bare["misses"] == str({"absent": int(bare["compiled"])})
    assert int(bare["compiled"]) > modules + 20, "rich's modules too"
    for row in (first, second):
        assert (row["compiled"], row["stored"], row["misses"]) == ("0", "0", "{}")
        found = int(row["from the cache"]) + int(row["from __pycache__"])  # `precompile` itself may leave a pyc in it
        assert found == int(bare["compiled"]) + int(bare["from __pycache__"])
        assert int(row["from the cache"]) > modules + 20
    for user in (0, NOBODY):
        assert re.search(rf"^user {user}: .*: Read-only file system$", output, re.MULTILINE)
    assert "bytecode beside the sources in /app: 0\n" in output


@pytest.mark.full
def test_docker(run_example: Callable[[str], str]) -> None:
    """The Dockerfile's lines produce an image in which an unprivileged user compiles nothing."""
    pytest.importorskip("rich", reason="needs rich, from the extra cli")
    output = run_example("docker")
    dockerfile = (EXAMPLES / "docker" / "Dockerfile").read_text(encoding="utf-8")
    steps = [line for line in dockerfile.splitlines() if line and not line.startswith("#")]
    assert [line for line in output.splitlines() if line in steps] == steps
    assert sum(step.startswith("RUN pycachehook ") for step in steps) >= 3
    assert "    nothing is wrong here\n" in output
    first, second = rows(output, *COUNTERS)
    modules = len(list((EXAMPLES / "docker" / "pages").glob("*.py")))
    for row in (first, second):
        assert (row["user"], row["compiled"], row["stored"], row["misses"]) == (str(NOBODY), "0", "0", "{}")
        assert int(row["from the cache"]) > modules, "markdown_it's modules too"
    assert {**first, "": ""} == {**second, "": ""}
    assert "bytecode beside the sources in /app: 0\n" in output


@pytest.mark.full
@pytest.mark.parametrize("name", ["read_only_container", "docker"])
def test_without_root(name: str, python: Python, private_mounts: PrivateMounts) -> None:
    """A user who cannot mount gets one sentence and exit code 1."""
    done = private_mounts(python, EXAMPLES / name / "run.py", user=NOBODY, reach=[PROJECT], check=False)
    sentence = "This example needs root: it mounts, and runs as another user.\n"
    assert (done.returncode, done.stderr) == (1, sentence)
