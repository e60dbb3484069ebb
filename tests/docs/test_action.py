"""The composite action for other repositories: its steps, run like a runner would."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from conftest import PROJECT, clean_environment

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Python

ACTION = PROJECT / ".github" / "actions" / "pycachehook"


def summary(path: Path) -> str:
    """Return the text that the action would write into the job's summary."""
    command: list[str | Path] = [sys.executable, ACTION / "summary.py", path]
    return subprocess.run(command, env=clean_environment(), check=True, capture_output=True, text=True).stdout


def test_summary_of_nothing(tmp_path: Path) -> None:
    """Without counters the summary says so."""
    assert "No process has loaded a module" in summary(tmp_path / "none")


def test_summary_adds_up(tmp_path: Path) -> None:
    """The counters of all processes are added; truncated lines are ignored."""
    line = json.dumps({"hits": 9, "compiled": 1, "stored": 1})
    (tmp_path / "stats").write_text(f'{line}\n{line}\n{{"hits": 1', encoding="utf-8")
    assert "| 90.0% | 2 | 18 | 2 | 2 |" in summary(tmp_path / "stats")


@pytest.mark.full
def test_a_job(tmp_path: Path, wheel: Path, make_environment: Callable[..., Python]) -> None:
    """`start` enables the hook, the job's processes count, `finish` prunes and writes the summary."""
    python = make_environment()
    files = {name: tmp_path / name for name in ("GITHUB_ENV", "GITHUB_STEP_SUMMARY")}
    environment = clean_environment(
        **{name: str(path) for name, path in files.items()},
        GITHUB_ACTION_PATH=str(ACTION),
        RUNNER_TEMP=str(tmp_path),
        PYTHON=python.executable,
        REQUIREMENT=str(wheel),
        CACHE_DIR=".pycache-store",
        OPTIONS="--layout shared",
        MAX_SIZE="500M",
        MAX_AGE="30d",
        HOME=str(tmp_path),
    )
    step(ACTION / "start.sh", tmp_path, environment)
    told = dict(line.split("=", 1) for line in files["GITHUB_ENV"].read_text(encoding="utf-8").splitlines())
    environment |= told
    (tmp_path / "one.py").write_text("", encoding="utf-8")
    for _ in range(2):
        subprocess.run([python.executable, "-c", "import one"], cwd=tmp_path, env=environment, check=True)
    step(ACTION / "finish.sh", tmp_path, environment)
    assert "| hit rate | processes |" in files["GITHUB_STEP_SUMMARY"].read_text(encoding="utf-8")
    assert os.path.isdir(tmp_path / ".pycache-store" / ".pycachehook")


def step(script: Path, folder: Path, environment: dict[str, str]) -> None:
    """Run one step."""
    done = subprocess.run(["bash", script], cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
