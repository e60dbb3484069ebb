"""The quick reading of a pull's arguments: the same as argparse's, or none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pycachehook.cli.arguments import parse
from pycachehook.cli.quick import parse_pull

PIN = "0123456789abcdef" * 4
ORDINARY = [
    ("place", "dest"),
    ("s3://bucket/env", "env.pyca", "--key", "env.pub", "--if-changed"),
    ("--json", "place", "--key=a", "dest", "--key", "b", "--allow-older", "--allow-unsigned"),
    ("place", "dest", "--pin", PIN, "--timeout", "30", "--max-size", "500M"),
    ("place", "dest", "--pin=sha256:" + PIN, "--timeout=5m", "--max-size=123456", "--timeout", "1h"),
]
UNUSUAL = [
    ("place",),
    ("place", "dest", "more"),
    ("place", "dest", "--help"),
    ("place", "dest", "--key"),
    ("place", "dest", "--key", "--json"),
    ("place", "dest", "--if-changed=yes"),
    ("--", "place", "dest"),
    ("place", "dest", "--timeout", "1.5s"),
    ("place", "dest", "--timeout", "999999h"),
    ("place", "dest", "--timeout", "0"),
    ("place", "dest", "--max-size", "5MiB"),
    ("place", "dest", "--pin", PIN[1:]),
    ("place", "dest", "--pin", PIN.upper()),
    ("", "dest"),
]
WORDS = [
    "a",
    "b",
    "",
    "-",
    "--",
    "-1",
    "30",
    "5m",
    "2G",
    "1.5s",
    "0",
    PIN,
    "sha256:" + PIN,
    "--key",
    "--key=x",
    "--pin",
]
WORDS += [
    "--pin=" + PIN,
    "--timeout",
    "--timeout=9s",
    "--max-size",
    "--max-size=1K",
    "--if-changed",
    "--json",
    "-h",
    "x=y",
]
WORDS += ["--allow-older", "--allow-unsigned", "--if", "--key=-x", "--timeout=", "\u0663"]


@pytest.mark.parametrize("words", ORDINARY)
def test_ordinary(words: tuple[str, ...]) -> None:
    """The result is argparse's."""
    read = parse_pull(["archive", "pull", *words])
    assert read is not None
    assert {**vars(read), "print_completion": None} == vars(parse(["archive", "pull", *words]))


@pytest.mark.parametrize("words", UNUSUAL)
def test_unusual(words: tuple[str, ...]) -> None:
    """Anything unusual or wrong is left to argparse."""
    assert parse_pull(["archive", "pull", *words]) is None


@pytest.mark.parametrize("words", [(), ("archive",), ("archive", "push", "a", "b"), ("status", "pull", "a", "b")])
def test_other_commands(words: tuple[str, ...]) -> None:
    """Only pulls are read."""
    assert parse_pull(words) is None


@given(st.lists(st.sampled_from(WORDS), max_size=8))
def test_what_is_read_is_what_argparse_reads(words: list[str]) -> None:
    """Whatever is accepted, argparse accepts, with the same result."""
    read = parse_pull(["archive", "pull", *words])
    if read is not None:
        assert {**vars(read), "print_completion": None} == vars(parse(["archive", "pull", *words]))
