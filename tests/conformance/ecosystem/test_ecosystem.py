"""One suite of others as a test; the rest is run by hand."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from conftest import PROJECT, clean_environment

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.full


def test_pluggy(tmp_path: Path) -> None:
    """Pluggy's own tests come out the same with the hook and without it."""
    command = [sys.executable, "-m", "tests.conformance.ecosystem", "pluggy", "--json", tmp_path / "found.json"]
    done = subprocess.run(command, cwd=PROJECT, env=clean_environment(), capture_output=True, text=True, check=False)
    if "Retrying (" in done.stderr:
        pytest.skip("needs packages from an index that cannot be reached")
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))["pluggy"]
    assert found["counts"]["passed"] > 100
    assert found["differences"] == {}
