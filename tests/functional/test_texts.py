"""The texts in `examples`: every command in them prints the output shown."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from console import BLOCK, Console, commands, normalized

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
TEXTS = [path for path in sorted(EXAMPLES.rglob("*.md")) if BLOCK.search(path.read_text(encoding="utf-8"))]


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: str(text.relative_to(EXAMPLES)))
def test_console_sessions(text: Path, tmp_path: Path) -> None:
    """The commands of a text, in order, print the output shown, apart from versions and dates."""
    console = Console(tmp_path, sys.executable)
    played = 0
    for block in BLOCK.findall(text.read_text(encoding="utf-8")):
        for command, expected in commands(block):
            assert normalized(console.run(command)) == normalized(expected), command
            played += 1
    assert played


def test_there_is_a_text() -> None:
    """The text that explains `__pycache__` is among those tested."""
    assert "what_is_a_pycache" in {text.parent.name for text in TEXTS}
