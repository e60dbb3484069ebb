"""A package tree that cannot be written to: the second start uses what the first has stored."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from .conftest import LARGE_IMPORT, NOBODY

if TYPE_CHECKING:
    import subprocess

    from conftest import Python

    from .conftest import Measure, PrivateMounts

pytestmark = pytest.mark.full

PROGRAM = f"""
import json, os, sys
{LARGE_IMPORT}
folder = os.path.dirname(pip.__file__)
modules = {{id(module): module for module in list(sys.modules.values())}}  # some are there under several names
ours = [module.__spec__.origin for module in modules.values()
        if type(getattr(getattr(module, "__spec__", None), "loader", None)).__name__ == "CachingLoader"]
packages = [path for path in ours if path.startswith(folder)]
print(json.dumps({{"user": os.getuid(), "may_write": os.access(folder, os.W_OK), "folder": folder,
                  "ours": len(ours), "packages": sorted(packages)}}))
"""


@pytest.mark.parametrize("situation", ["read-only mount", "another user"])
def test_second_start_compiles_nothing(
    situation: str, pip_environment: Python, private_mounts: PrivateMounts, measure: Measure, tmp_path: Path
) -> None:
    """The first start stores every module of a read-only package, and the second start has only hits."""
    prefix = Path(pip_environment.executable).parent.parent
    home = tmp_path / "home"
    other = situation == "another user"
    if other:
        os.chown(home, NOBODY, NOBODY)
    measure.file = home / "stats.jsonl"

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        if other:
            return private_mounts(pip_environment.within(environment), *arguments, reach=[home], user=NOBODY)
        return private_mounts(pip_environment.within(environment), *arguments, read_only=[prefix])

    before = sorted(prefix.rglob("site-packages/pip/**/*.pyc"))  # the environment is not this test's alone
    stats, seen = [], []
    for _ in range(2):
        stats.append(measure(run, "-m", "pycachehook", "run", "-c", PROGRAM))
        seen.append(json.loads(measure.output))

    cache = home / ".cache" / "pycachehook"
    entries = [*cache.rglob("site-packages/pip/**/*.pyc")]
    assert [each["user"] for each in seen] == [NOBODY if other else 0] * 2
    assert [each["may_write"] for each in seen] == [False, False]
    assert len(seen[0]["packages"]) > 200
    assert seen[0]["packages"] == seen[1]["packages"]
    assert len(entries) - len(seen[0]["packages"]) in (0, 1)  # pip tries to import what needs PySocks
    assert stats[0]["hits"] + stats[0]["compiled"] >= seen[0]["ours"]
    assert stats[0]["misses"] == {"absent": stats[0]["compiled"]}
    assert stats[0]["compiled"] >= len(entries)
    assert (stats[1]["compiled"], stats[1]["misses"], stats[1]["errors"]) == (0, {}, 0)
    assert stats[1]["hits"] == stats[0]["hits"] + stats[0]["compiled"]
    assert stats[1]["hits_by_place"]["store"] >= len(entries)
    assert sorted(prefix.rglob("site-packages/pip/**/*.pyc")) == before
