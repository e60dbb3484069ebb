"""The attack table: a few attacks of each kind here, all of them by hand."""

from __future__ import annotations

import pytest

from conftest import run_tests_module

from .attacks import KINDS, WAYS


def run(*arguments: str, timeout: float) -> str:
    """Run the program, which must find nothing wrong; return what it prints."""
    done = run_tests_module("stress.attack_table", *arguments, timeout=timeout)
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("\npassed\n")
    return done.stdout


@pytest.mark.full
@pytest.mark.alone
@pytest.mark.parametrize("way", ["mirror", "shared", "unchecked archive"])
def test_some_attacks(way: str) -> None:
    """Every twentieth attack: the import comes to what it comes to without the hook, and the next one finds order."""
    text = run("--every", "20", "--way", way, timeout=600)
    assert all(kind in text for kind in KINDS)


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.parametrize("way", WAYS)
def test_all_attacks(way: str) -> None:
    """All attacks."""
    run("--way", way, timeout=3600)
