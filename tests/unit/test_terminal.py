"""Escaping of text for terminals."""

from __future__ import annotations

import sys
import unicodedata

import pytest

from pycachehook.terminal import visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain /a b/ä€漢.py", "plain /a b/ä€漢.py"),
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("a\nb\rc\td\0", r"a\nb\rc\td\x00"),
        ("\x7f\x85\x9b31m", r"\x7f\x85\x9b31m"),
        ("\u202egnp.py\u2066\u200e", r"\u202egnp.py\u2066\u200e"),
        ("\u2028\u2029\ufeff", r"\u2028\u2029\ufeff"),
        ("latin\udce9.py", r"latin\udce9.py"),
        ("C:\\new\\table", "C:\\new\\table"),
    ],
)
def test_visible(text: str, shown: str) -> None:
    """Control characters, characters that change the direction of text, and surrogates are escaped."""
    assert visible(text) == shown


def test_no_control_character_passes() -> None:
    """No character that a terminal interprets, or that breaks a line or an encoding, is left unescaped."""
    passed = visible("".join(map(chr, range(sys.maxunicode + 1))))
    assert {unicodedata.category(each) for each in passed} & {"Cc", "Cf", "Cs", "Zl", "Zp"} == set()
