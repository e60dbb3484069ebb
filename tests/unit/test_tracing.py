"""Test the recorder of traces, in a process in which the environment has started it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from conftest import Python

pytestmark = pytest.mark.alone


def test_each_import_has_a_record(python: Python, tmp_path: Path, cache: Path) -> None:
    """One file for the process records every import with its outcome, failed imports too."""
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/subject.py").write_text("import outer; outer\n", encoding="utf-8")
    (tmp_path / "tree/outer.py").write_text(
        "try:\n    import no_such_module\nexcept ImportError:\n    pass\n", encoding="utf-8"
    )
    program = (
        "import sys, os; os.mkdir(sys.argv[2])\n"
        "import pycachehook; pycachehook.install(sys.argv[1])\n"
        "from pycachehook.own_modules import require\n"
        "require('tracing').Recorder(sys.argv[2]).start(); import subject; subject\n"
    )
    there = python.within({"PYTHONPATH": str(tmp_path / "tree")})
    for word in ("miss", "hit"):
        folder = tmp_path / word
        there("-c", program, cache, folder)
        (file,) = folder.iterdir()
        text = file.read_text(encoding="utf-8").rstrip().rstrip(",")
        records = {record["name"]: record for record in json.loads(text + "]")}
        assert {"subject", "outer", "no_such_module", "exit"} <= set(records)
        assert word in json.dumps(records["subject"]["args"])
        assert records["subject"]["dur"] >= records["outer"]["dur"] > 0
