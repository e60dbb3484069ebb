"""The attack table: a few attacks of each kind; all of them are run by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from conftest import run_tests_module

from . import system_call_filter
from .attacks import KINDS, WAYS, Field, judge


def run(*arguments: str, timeout: float) -> str:
    """Run the program, which must detect no failure; return its output."""
    done = run_tests_module("stress.attack_table", *arguments, timeout=timeout)
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("\npassed\n")
    return done.stdout


@pytest.mark.parametrize("call", ["getresuid", "readlink", "flock"])
def test_refused_system_call(call: str, tmp_path: Path) -> None:
    """A filter that refuses a system call for the whole process breaks neither `install()` nor an import."""
    if not system_call_filter.is_possible():
        pytest.skip("needs Linux on x86-64 or AArch64")
    field = Field(str(tmp_path), "mirror")
    field.prepare("cold")
    said = field.run(more=(json.dumps([[call], "EPERM"]),))
    assert judge(field, said).fault is None
    assert field.aftermath(allowed=0) is None


@pytest.mark.full
@pytest.mark.alone
@pytest.mark.parametrize(
    "way", ["mirror", *(pytest.param(way, marks=pytest.mark.slow) for way in ("shared", "unchecked archive"))]
)
def test_some_attacks(way: str) -> None:
    """After every twentieth attack, imports have the results that they have without the hook."""
    text = run("--every", "20", "--way", way, timeout=600)
    assert all(kind in text for kind in KINDS)


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.parametrize("way", WAYS)
def test_all_attacks(way: str) -> None:
    """The same after each attack."""
    run("--way", way, timeout=3600)
