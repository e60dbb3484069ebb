"""Running the examples by the command at the top of their READMEs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from conftest import PROJECT, clean_environment

if TYPE_CHECKING:
    from pathlib import Path

EXAMPLES = PROJECT / "examples"
LACKING = r"This example needs (root|\w+\(1\)|to make mount namespaces)"  # otherwise it is a failure
COUNTERS = ("compiled", "stored", "from the cache", "from __pycache__", "misses")


def block(name: str, kind: str) -> str:
    """Return the first block of code of a kind in an example's README."""
    text = (EXAMPLES / name / "README.md").read_text(encoding="utf-8")
    found = re.search(rf"^```{kind}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    assert found, f"no ```{kind} in the README of {name}"
    return found[1]


def shape(output: str) -> str:
    """Return an output without its numbers and column widths, which differ between machines."""
    return re.sub(r" {2,}", "  ", re.sub(r"\d+", "N", output))


def rows(output: str, *heads: str) -> list[dict[str, str]]:
    """Return the rows of the table with these column heads, each as a dict of cells by head."""
    lines = [re.split(r" {3,}", f" {line}") for line in output.splitlines()]
    at = next(number for number, cells in enumerate(lines) if set(heads) <= {cell.strip() for cell in cells})
    found = []
    for cells in lines[at + 1 :]:
        if len(cells) != len(lines[at]):
            break
        found.append({head.strip(): cell.strip() for head, cell in zip(lines[at], cells, strict=True)})
    return found


def run_command(name: str, commands: Path) -> str:
    """Run an example's command in the root of the clone and return its output.

    `commands` is a directory whose `python` the command uses. Skips if the example says that a requirement is missing.
    """
    (commands / "python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n', encoding="utf-8")
    (commands / "python").chmod(0o755)
    (command,) = block(name, "sh").splitlines()
    assert command == f"python examples/{name}/run.py"
    before = set((EXAMPLES / name).rglob("*"))
    done = subprocess.run(
        ["sh", "-c", command],
        cwd=PROJECT,
        env=clean_environment(PATH=f"{commands}{os.pathsep}{os.environ['PATH']}"),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    if done.returncode == 1 and re.match(LACKING, done.stderr):
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stdout + done.stderr
    assert shape(done.stdout) == shape(block(name, "text")), "the README shows other output"
    assert set((EXAMPLES / name).rglob("*")) == before, "an example leaves the clone as it was"
    return done.stdout
