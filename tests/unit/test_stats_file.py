"""Reading of the statistics file, whose content may be anything."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from pycachehook.cli.main import main
from pycachehook.commands.stats_file import LONGEST_LINE, SHOWN_RUNS, read_stats_file

if TYPE_CHECKING:
    from pathlib import Path

GOOD = {"pid": 1, "argv0": "x", "hits": 3, "compiled": 1, "shared_bytes": 10}
WRONG = {
    "types": {**GOOD, "hits": "a"},
    "bool": {**GOOD, "hits": True},
    "float": {**GOOD, "hits": 1.5},
    "NaN": {**GOOD, "hits": float("nan")},
    "negative": {**GOOD, "compiled": -1},
    "huge": {**GOOD, "hits": 10**400},
    "name": {**GOOD, "argv0": ["x"]},
    "bytes": {**GOOD, "shared_bytes": "10"},
    "missing": {"argv0": "x"},
    "list": [GOOD],
    "number": 3,
    "long": {**GOOD, "argv0": "x" * LONGEST_LINE},
}
LINES = {name: json.dumps(value).encode() for name, value in WRONG.items()}
LINES |= {"nested": b"[" * 5000, "nested objects": b'{"hits":' * 5000, "digits": b"9" * 5000, "binary": b"\xff\0\x1b"}
LINES |= {"empty line": b"", "cut off": json.dumps(GOOD).encode()[:-5]}


@pytest.mark.parametrize("kind", LINES)
def test_wrong_lines(kind: str, tmp_path: Path) -> None:
    """An invalid line is skipped and counted; the others are used."""
    good = json.dumps(GOOD).encode()
    path = tmp_path / "stats"
    path.write_bytes(b"\n".join((good, LINES[kind], good)) + b"\n")
    found = read_stats_file(str(path))
    assert [each["hit_rate"] for each in found.runs] == [0.75, 0.75]
    assert found.bytes_saved == 20
    assert found.reason == f"1 of the last 3 lines in {path}, which PYCACHEHOOK_STATS names, are no statistics."


@pytest.mark.usefixtures("no_hook")
@pytest.mark.parametrize("kind", LINES)
def test_status(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """`status` says in one sentence what is wrong with the file, and its exit code does not change."""
    path = tmp_path / "stats"
    path.write_bytes(LINES[kind] + b"\n")
    monkeypatch.setenv("PYCACHEHOOK_STATS", str(path))
    monkeypatch.setenv("PYCACHEHOOK_CACHE_DIR", str(tmp_path / "cache"))
    assert main(["status"]) == 0
    assert f"1 of the last 1 lines in {path}, " in capsys.readouterr().out


def test_what_is_no_file(tmp_path: Path) -> None:
    """A FIFO does not block and a device is not read to its end; a missing file is no problem."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for path in (fifo, tmp_path, "/dev/zero", "\0"):
        assert read_stats_file(str(path)).reason
    for path in ("", tmp_path / "missing"):
        assert read_stats_file(str(path)).reason is None


def test_last_runs(tmp_path: Path) -> None:
    """The last runs are shown, the latest first, however many there are."""
    path = tmp_path / "stats"
    path.write_text("".join(f"{json.dumps({**GOOD, 'argv0': str(number)})}\n" for number in range(500)))
    found = read_stats_file(str(path))
    assert [each["argv0"] for each in found.runs] == [str(499 - number) for number in range(SHOWN_RUNS)]
    assert (found.bytes_saved, found.reason) == (5000, None)
