"""Single flight: who stays behind whom."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from pycachehook.cache_dir import CacheDir
from pycachehook.on_miss import single_flight

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_who_compiles_does_not_stay_behind_himself(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process stays behind others at work, and not behind what it has told others itself."""
    monkeypatch.delitem(sys.modules, "filelock", raising=False)
    monkeypatch.setattr(single_flight, "_hope", single_flight.AT_WORK)
    looks: list[str] = []
    monkeypatch.setattr(single_flight.time, "sleep", lambda _: looks.append("slept"))
    at_work, other = CacheDir(str(cache)), CacheDir(str(cache))
    single_flight._tell_others(at_work)
    assert single_flight.look_again(at_work, lambda: looks.append("looked")) is None
    assert looks == []
    assert single_flight.look_again(other, lambda: len(looks)) == 1
    assert looks == ["slept"]
