"""A pytest plugin for tests that are scripts: each file is one test, which passes if a new interpreter ends with 0.

It is installed in both environments, and imports nothing of this project.
"""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest


class Script(pytest.File):
    """A script of tests."""

    def collect(self) -> Iterator[pytest.Item]:
        """Yield the only test."""
        yield Run.from_parent(self, name="run")


class Run(pytest.Item):
    """One run of a script."""

    def runtest(self) -> None:
        """Run it in its directory; raises AssertionError if it fails."""
        done = subprocess.run(
            [sys.executable, self.path],
            cwd=self.path.parent,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, (done.stdout + done.stderr).decode(errors="replace")


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Collect the files that are named as tests."""
    return Script.from_parent(parent, path=file_path) if file_path.name.startswith("test_") else None
