"""The writer: who stays behind whom."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from pycachehook import writer
from pycachehook.cachedir import CacheDir

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_who_compiles_does_not_stay_behind_himself(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process stays behind others at work, and not behind what it has told others itself."""
    monkeypatch.delitem(sys.modules, "filelock", raising=False)
    monkeypatch.setattr(writer, "_hope", writer.AT_WORK)
    looks: list[str] = []
    monkeypatch.setattr(writer.time, "sleep", lambda _: looks.append("slept"))
    at_work, other = CacheDir(str(cache)), CacheDir(str(cache))
    writer._tell_others(at_work)
    assert writer.look_again(at_work, lambda: looks.append("looked")) is None
    assert looks == []
    assert writer.look_again(other, lambda: len(looks)) == 1
    assert looks == ["slept"]
