"""The `--json` output of every command is one JSON object whose keys are documented."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from conftest import PROJECT
from pycachehook.cli.arguments import parser
from pycachehook.cli.main import COMMANDS
from pycachehook.config import resolution

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from conftest import Python

PAGE = (PROJECT / "docs" / "pages" / "reference" / "json.md").read_text(encoding="utf-8")
DOCUMENTED = {
    section.partition("\n")[0]: set(re.findall(r"`(\w+)`", section)) for section in PAGE.split("\n## ")[1:]
}  # the words in the section of a command

# The objects under these keys have names as keys: of options, distributions, verdicts, reasons.
OPEN = {"options", "distributions", "counts", "rule"}

ARGUMENTS = {
    "precompile": ("{root}",),
    "explain": ("one",),
    "inspect": ("{entry}",),
    "verify": (),
    "prune": ("--max-files", "1", "--dry-run"),
    "clear": ("--dry-run",),
    "doctor": ("one",),
    "status": (),
    "archive build": ("--path", "{root}", "{archive}"),
    "archive list": ("{archive}",),
    "archive verify": ("{archive}",),
    "trace diff": ("{traces}", "{traces}"),
}


# `tests/bundles` tests the transfers with real servers; here only the names of keys are compared.
BUNDLES = {
    "archive push": {"destination", "variant", "sha256", "size", "payload_size", "created", "signed"},
    "archive pull": {"path", "changed", "sha256", "size", "created", "signer", "source", "received"},
    "archive spread": {"path", "sha256", "nodes"},
}


def keys(value: object) -> Iterator[str]:
    """Yield every key in a JSON value, except names that are data."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key
            below = inner.values() if key in OPEN and isinstance(inner, dict) else [inner]
            for each in below:
                yield from keys(each)
    elif isinstance(value, list):
        for each in value:
            yield from keys(each)


def commands_with_json() -> Iterator[str]:
    """Yield the names of the commands that take `--json`."""
    (commands,) = (
        action.choices for action in parser()._actions if hasattr(action, "choices") and action.dest == "==SUPPRESS=="
    )
    aliases = ("clean",)
    for name, command in commands.items():  # type: ignore[union-attr]
        if name in aliases:
            continue
        inner = [action.choices for action in command._actions if isinstance(action.choices, dict)]
        for verb, each in (inner[0] if inner else {"": command}).items():
            if any("--json" in action.option_strings for action in each._actions):
                yield f"{name} {verb}".strip()


def test_all_are_tried() -> None:
    """This module tests every command that takes `--json`."""
    assert set(commands_with_json()) == {*ARGUMENTS, *BUNDLES} == set(DOCUMENTED)
    assert {name.partition(" ")[0] for name in ARGUMENTS} < set(COMMANDS)


@pytest.mark.parametrize("command", BUNDLES)
def test_keys_of_bundles_are_documented(command: str) -> None:
    """The page names each key of the output of `push` and `pull`."""
    assert BUNDLES[command] <= DOCUMENTED[command]


def test_keys_of_bundles() -> None:
    """The documented keys are the fields of the results of `push` and `pull`."""
    pytest.importorskip("minisign", reason="needs the extra remote")
    from pycachehook.bundles.pull import Pulled
    from pycachehook.bundles.push import Pushed

    assert set(Pushed._fields) == BUNDLES["archive push"]
    assert set(Pulled.FIELDS) == BUNDLES["archive pull"]


@pytest.mark.alone
@pytest.mark.parametrize("command", ARGUMENTS)
def test_keys_are_documented(
    command: str, python: Python, tree: Callable[[Mapping[str, str]], Path], cache: Path, tmp_path: Path
) -> None:
    """The output is one object, and the page about JSON output names all its keys."""
    root = tree({"one.py": "def f():\n    pass\n", "two.py": "", "broken.py": "def (\n"})
    options = {"PYCACHEHOOK_CACHE_DIR": str(cache), "PYTHONPATH": str(root)}
    options["PYCACHEHOOK_STATS"] = str(tmp_path / "stats")
    archive = tmp_path / "a.pyca"
    python("-m", "pycachehook", "archive", "build", "--path", root, archive, check=False)
    traces = tmp_path / "traces"
    python.within({**options, "PYCACHEHOOK_TRACE": str(traces)})("-m", "pycachehook", "run", "-c", "import one, two")
    options["PYCACHEHOOK_ARCHIVES"] = str(archive)
    (root / "two.py").write_text("changed = 1\n")
    entry = next(cache.rglob("one.*.pyc"))
    words = [word.format(root=root, entry=entry, archive=archive, traces=traces) for word in ARGUMENTS[command]]
    process = python.within(options)("-m", "pycachehook", *command.split(), "--json", *words, check=False)
    assert process.stderr == ""
    said: dict[str, Any] = json.loads(process.stdout)
    assert isinstance(said, dict)
    assert process.stdout.count("\n") == 1
    found = set(keys(said))
    assert found
    assert found - DOCUMENTED[command] - set(resolution.NAMES) == set()
